"""A run in the tracking store, with what it holds already."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeproute.mlflow_limits import KEY_LENGTH, batches, clean_key, clean_params, clean_tags
from sweeproute.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

_PAGE = 1000

# (name, value, step, milliseconds since 1970)
MetricRow = tuple[str, float, int, int]


class StoreRun:
    """Writes to one run what it does not hold yet, so that writing it all again changes nothing."""

    def __init__(self, store: Store, id: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        self.id = id
        self.tags = dict(tags)
        self.status = "RUNNING"
        # Deleted by a person: it is left alone, and not made again.
        self.deleted = False
        self._client = store.client
        self._params = dict(params)

    @classmethod
    def found(cls, store: Store, run: "Run") -> "StoreRun":
        """Go on with a run that stands in the store."""
        known = cls(store, run.info.run_id, run.data.params, run.data.tags)
        known.status = run.info.status
        known.deleted = run.info.lifecycle_stage == "deleted"
        return known

    @classmethod
    def create(cls, store: Store, name: str, started_ms: int | None, tags: Mapping[str, str]) -> "StoreRun":
        """Make a run; its tags are there with it, so that a writer that dies now leaves a run that is found again."""
        clean = dict(clean_tags(tags))
        run = store.client.create_run(store.experiment_id, started_ms, clean, name[:KEY_LENGTH])
        return cls(store, run.info.run_id, {}, clean)

    @property
    def ended(self) -> bool:
        """Whether the run has its end in the store."""
        return self.status not in ("RUNNING", "SCHEDULED")

    def write(
        self,
        params: Mapping[str, str] | None = None,
        metrics: Sequence[MetricRow] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write parameters, metrics and tags in as few requests as MLflow's limits allow.

        Args:
            params: Name to value; of a name that has a value already the first one stands.
            metrics: Rows; the same row again is no second one.
            tags: Name to value.
        """
        from mlflow.entities import Metric, Param, RunTag

        new_params = {}
        for key, value in clean_params(params or {}):
            if key not in self._params:
                new_params[key] = value
            elif self._params[key] != value:
                log.warning("run %s: the parameter %s keeps its first value", self.id, key)
        new_tags = {key: value for key, value in clean_tags(tags or {}) if self.tags.get(key) != value}
        rows = [Metric(clean_key(name), value, moment, step) for name, value, step, moment in metrics]
        for some_rows, some_params, some_tags in batches(rows, list(new_params.items()), list(new_tags.items())):
            self._client.log_batch(
                self.id,
                some_rows,
                [Param(key, value) for key, value in some_params],
                [RunTag(key, value) for key, value in some_tags],
            )
        self._params |= new_params
        self.tags |= new_tags

    def keep(self, files: Sequence[Path], base: Path, tag: str, to: str | None = None) -> None:
        """Keep files as artifacts, again only where they have changed.

        Args:
            files: The files.
            base: The folder that they lie in, or below; nothing else does where it becomes an artifact folder.
            tag: The tag that says which they are, by a hash.
            to: The artifact folder that the base becomes; None for files at the root.
        """
        if self.deleted or not files:
            return
        digest = hashlib.sha256()
        for path in files:
            digest.update(f"{path.relative_to(base)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
        if self.tags.get(tag) == digest.hexdigest():
            return
        if to is not None:
            self._client.log_artifacts(self.id, str(base), to)
        for path in files if to is None else ():
            self._client.log_artifact(self.id, str(path))
        self.write(tags={tag: digest.hexdigest()})

    def end(self, status: str, ended_ms: int | None) -> None:
        """End the run, or change how it ended.

        Args:
            status: FINISHED, FAILED or KILLED.
            ended_ms: Milliseconds since 1970; now when None.
        """
        if status != self.status:
            self._client.set_terminated(self.id, status, ended_ms)
            self.status = status

    def reopen(self) -> None:
        """Let an ended run run again."""
        if self.ended:
            self._client.update_run(self.id, "RUNNING")
            self.status = "RUNNING"

    def check_deleted(self) -> bool:
        """Look whether a person has deleted the run meanwhile."""
        try:
            self.deleted = self._client.get_run(self.id).info.lifecycle_stage == "deleted"
        except Exception:
            # The store does not answer either: that is the error to report, and it has been raised already.
            return False
        return self.deleted


def found_runs(client: "MlflowClient", experiments: list[str], tag: str, value: str) -> Iterator["Run"]:
    """The runs of some experiments that have a tag, deleted ones included: a person's deletion is not undone."""
    from mlflow.entities import ViewType

    quote = '"' if "'" in value else "'"
    condition = f"tags.`{tag}` = {quote}{value}{quote}"
    token = None
    while True:
        runs = client.search_runs(experiments, condition, ViewType.ALL, _PAGE, page_token=token)
        yield from runs
        token = runs.token
        if not token:
            return
