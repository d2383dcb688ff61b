"""Writes a `journal:` folder to a real tracking store, once whatever interrupts it.

Each run and each logged model carries the id that it had in the folder as the tag `sweeproute.journal`, and that of the
folder as `sweeproute.journal_store`: one paged search finds what an earlier replay has made, and it is gone on with.
A run's end is written last, with the number of bytes that have been read of its journal, so that an ended run with the
right number is a whole one.
"""

import hashlib
import logging
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from sweeproute import mlflow_journal_entities as entities
from sweeproute.mlflow_journal_folder import ARTIFACTS, JournalFolder, experiment_id, now_ms
from sweeproute.mlflow_journal_records import ExperimentRecord, ModelRecord, Row, RunRecord
from sweeproute.mlflow_limits import batches
from sweeproute.store import DeletedExperimentError, Store, open_store
from sweeproute.store_run import found_runs

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

ID, FOLDER = "sweeproute.journal", "sweeproute.journal_store"
_READ, _OFFSET = "sweeproute.journal_read", "sweeproute.clock_offset_ms"
# Tags whose value is a run's id.
_RUN_IDS = ("mlflow.parentRunId", "mlflow.rootRunId")
_ENDED = ("FINISHED", "FAILED", "KILLED")
_PAGE = 1000


@dataclass
class _Made:
    """A run of the folder in the real store."""

    id: str
    offset_ms: int
    # As an earlier replay left it; None where this one has made it.
    found: "Run | None" = None


class JournalReplay:
    """The writer of one folder."""

    def __init__(
        self, files: JournalFolder, uri: str, clock_offset_ms: int | None = None, adopted: Collection[str] = ()
    ) -> None:
        """Store the arguments; `attach` looks into the store.

        Args:
            files: What to write.
            uri: Where to, an absolute tracking URI.
            clock_offset_ms: What is added to every time, in milliseconds; what the journals say when None. A run that
                an earlier replay has made keeps what that has added.
            adopted: Runs that have stood in the store under this very id before the folder was begun.
        """
        self._files = files
        self._uri = uri
        self._clock_offset_ms = clock_offset_ms
        self._store_id = str(files.id())
        self._adopted = adopted
        self._heads: dict[str, RunRecord] = {}
        self._model_records: dict[str, ModelRecord] = {}
        # The models that came out of each run; of none, under an empty id.
        self._models_of: dict[str, list[str]] = {}
        self._stores: dict[str, Store] = {}
        self._runs: dict[str, _Made] = {}
        self._models: dict[str, LoggedModel] = {}
        self._whole_models: set[str] = set()

    @property
    def _client(self) -> "MlflowClient":
        return next(iter(self._stores.values())).client

    def attach(self) -> list[str]:
        """Find what an earlier replay has made, and make the experiments.

        Returns:
            The ids of the folder's runs, in the order of their start.
        """
        heads = (RunRecord.head(self._files.run(id)) for id in self._files.runs())
        self._heads = {head.id: head for head in heads if head.id}
        models = (ModelRecord.of(self._files.model(id)) for id in self._files.models())
        self._model_records = {model.id: model for model in models if model.id}
        for model in self._model_records.values():
            run_id = model.run if model.run in self._heads else None
            self._models_of.setdefault(run_id or "", []).append(model.id)
        named = [head.experiment for head in self._heads.values()]
        named += [model.experiment for model in self._model_records.values()]
        for name in dict.fromkeys(named):
            try:
                self._stores[name] = self._experiment(name)
            except DeletedExperimentError:
                self._leave_out(name)
        if not self._stores:
            return []
        experiments = [store.experiment_id for store in self._stores.values()]
        for run in found_runs(self._client, experiments, FOLDER, self._store_id):
            made = _Made(run.info.run_id, int(run.data.tags.get(_OFFSET, 0)), run)
            self._runs[run.data.tags.get(ID, "")] = made
        for id in self._heads.keys() & set(self._adopted):
            self._runs[id] = self._adopt(id)
        if self._model_records:
            self._models = {model.tags[ID]: model for model in self._found_models(experiments)}
        return sorted(self._heads, key=lambda id: (self._heads[id].started, id))

    def write(self, id: str) -> bool:
        """Write what is not there yet of a run.

        Returns:
            Whether it has ended, and stands there whole.
        """
        folder = self._files.run(id)
        known = self._runs.get(id)
        found = known.found if known is not None else None
        if found is not None and found.info.lifecycle_stage == "deleted":
            # By a person: it is left alone, and not made again.
            return True
        ended = found is not None and found.info.status in _ENDED
        read, _, files = (found.data.tags.get(_READ, "") if found is not None and ended else "").rpartition("+")
        if read and read == self._mark(id, self._files.size(folder)):
            return self._write_late(id, read, files)
        record = RunRecord.of(folder, rows=True)
        if read and read == self._mark(id, record.offset):
            # The journal's last line is torn.
            return self._write_late(id, read, files)
        made = self._made(id)
        if read:
            # It ran again since, or something was added behind its end. Until that is written it counts as unwritten.
            self._client.update_run(made.id, "RUNNING")
        for model in self._models_of.get(id, ()):
            self._model(model)
        self._write_inputs(record, made)
        # Before they are read: what comes meanwhile is another look at the next time.
        files = _look(folder / ARTIFACTS)
        if files:
            self._client.log_artifacts(made.id, str(folder / ARTIFACTS))
        self._write_data(record, made, files)
        if record.status not in _ENDED:
            return False
        self._client.set_terminated(made.id, record.status, (record.ended or now_ms()) + made.offset_ms)
        return True

    def write_models(self) -> int:
        """Write the logged models that belong to no run.

        Returns:
            How many logged models the folder has.
        """
        for id in self._models_of.get("", ()):
            self._model(id)
        return sum(len(ids) for ids in self._models_of.values())

    def _mark(self, id: str, offset: int) -> str:
        """What is written of a whole run: bytes of its journal, and models, of which one may come after its end.

        The tag holds the look of its files besides, which may come then, too.
        """
        return f"{offset}+{len(self._models_of.get(id, ()))}"

    def _write_late(self, id: str, read: str, files: str) -> bool:
        """What leaves no line in a whole run's journal: its files, and the tags of its models.

        A model that is missing was deleted by a person.
        """
        folder = self._files.run(id) / ARTIFACTS
        if (now := _look(folder)) != files:
            made = self._made(id)
            self._client.log_artifacts(made.id, str(folder))
            self._client.set_tag(made.id, _READ, f"{read}+{now}")
        for model in self._models_of.get(id, ()):
            if model in self._models:
                self._model(model)
        return True

    def _leave_out(self, experiment: str) -> None:
        """Leave what belongs to an experiment where it is: a person has deleted that in the store."""
        self._heads = {id: head for id, head in self._heads.items() if head.experiment != experiment}
        of_it = {id for id, model in self._model_records.items() if model.experiment == experiment}
        self._model_records = {id: model for id, model in self._model_records.items() if id not in of_it}
        for run, models in self._models_of.items():
            self._models_of[run] = [id for id in models if id not in of_it]
        log.warning("The experiment %r was deleted in the store: what belongs to it is left out.", experiment)

    def _experiment(self, name: str) -> Store:
        record = ExperimentRecord.of(self._files.experiment(experiment_id(name)))
        store = open_store(self._uri, name, location=record.location)
        if record.tags:
            known = store.client.get_experiment(store.experiment_id).tags
            for key, value in record.tags.items():
                # Who works in the real store may have set it anew: theirs stands.
                if key not in known:
                    store.client.set_experiment_tag(store.experiment_id, key, value)
        return store

    def _made(self, id: str) -> _Made:
        """The run in the real store, made now where there is none; its parent before it."""
        made = self._runs.get(id)
        if made is not None:
            return made
        head = self._heads[id]
        offset_ms = head.offset_ms if self._clock_offset_ms is None else self._clock_offset_ms
        tags = self._translated(head.first_tags) | {ID: id, FOLDER: self._store_id}
        if offset_ms:
            tags[_OFFSET] = str(offset_ms)
        experiment = self._stores[head.experiment].experiment_id
        run = self._client.create_run(experiment, head.started + offset_ms, tags, head.name)
        made = self._runs[id] = _Made(run.info.run_id, offset_ms)
        return made

    def _adopt(self, id: str) -> _Made:
        """Go on with a run that was there before; it is known as the folder's from now on."""
        run = self._client.get_run(id)
        for key, value in {ID: id, FOLDER: self._store_id}.items():
            if key not in run.data.tags:
                self._client.set_tag(id, key, value)
        return _Made(id, self._clock_offset_ms or 0, run)

    def _translated(self, tags: dict[str, str]) -> dict[str, str]:
        """Tags with the ids of the folder's runs made those of the real store."""
        ids = {key: self._made(tags[key]).id for key in _RUN_IDS if tags.get(key) in self._heads}
        return {**tags, **ids}

    def _write_inputs(self, record: RunRecord, made: _Made) -> None:
        from mlflow.entities import LoggedModelInput, LoggedModelOutput

        # The same data set twice is one input, the first.
        datasets = {(entry["name"], entry["digest"]): entry for entry in reversed(record.inputs)}
        models = [LoggedModelInput(self._model_id(id)) for id in record.model_inputs]
        if datasets or models:
            inputs = [entities.dataset_input(entry) for entry in reversed(datasets.values())]
            self._client.log_inputs(made.id, inputs, models)
        before = made.found.outputs if made.found is not None else None
        known = {output.model_id for output in (before.model_outputs if before is not None else ())}
        outputs = [LoggedModelOutput(self._model_id(id), step) for id, step in record.outputs.items()]
        if new := [output for output in outputs if output.model_id not in known]:
            self._client.log_outputs(made.id, new)

    def _write_data(self, record: RunRecord, made: _Made, files: str) -> None:
        from mlflow.entities import Param, RunTag

        found = made.found.data if made.found is not None else None
        before = found.tags if found is not None else self._translated(record.first_tags)
        told = record.tags
        if record.id in self._adopted:
            # What it was begun with is the store's own, where it may have changed meanwhile.
            head = self._heads[record.id].tags
            told = {key: value for key, value in told.items() if head.get(key) != value}
        mark = f"{self._mark(record.id, record.offset)}+{files}"
        wanted = {**self._translated(told), _READ: mark}
        tags = [(key, value) for key, value in wanted.items() if before.get(key) != value]
        params = [(key, value) for key, value in record.params.items() if found is None or key not in found.params]
        rows = _once(
            row._replace(time=row.time + made.offset_ms, model=row.model and self._model_id(row.model))
            for row in record.rows or ()
        )
        for some_rows, some_params, some_tags in batches([entities.metric(row) for row in rows], params, tags):
            self._client.log_batch(
                made.id,
                some_rows,
                [Param(key, value) for key, value in some_params],
                [RunTag(key, value) for key, value in some_tags],
            )

    def _model_id(self, id: str) -> str:
        """A model's id in the real store; one that is none of the folder's stays."""
        return self._model(id).model_id if id in self._model_records else id

    def _model(self, id: str) -> "LoggedModel":
        """The logged model in the real store, written where it is not there yet."""
        from mlflow.entities import LoggedModelStatus

        model = self._models.get(id)
        if model is not None and id in self._whole_models:
            return model
        record = self._model_records[id]
        run_id = self._made(record.run).id if record.run in self._heads else record.run
        if model is None:
            tags = {**record.tags, ID: id, FOLDER: self._store_id}
            experiment = self._stores[record.experiment].experiment_id
            model = self._client.create_logged_model(
                experiment, record.name, run_id, tags, dict(record.params), record.type
            )
            self._models[id] = model
        else:
            if tags := {key: value for key, value in record.tags.items() if model.tags.get(key) != value}:
                self._client.set_logged_model_tags(model.model_id, tags)
            if params := {key: value for key, value in record.params.items() if key not in model.params}:
                self._client.log_model_params(model.model_id, params)
        if model.status is LoggedModelStatus.PENDING:
            self._write_files(record.folder / ARTIFACTS, model, run_id)
            if record.status != LoggedModelStatus.PENDING.value:
                model = self._client.finalize_logged_model(model.model_id, LoggedModelStatus(record.status))
                self._models[id] = model
        self._whole_models.add(id)
        return model

    def _write_files(self, files: Path, model: "LoggedModel", run_id: str | None) -> None:
        """A model's files; what its description says of itself is made true for where it is now."""
        if not _holds_files(files):
            return
        self._client.log_model_artifacts(model.model_id, str(files))
        try:
            said = yaml.safe_load((files / "MLmodel").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        new = {
            **{"model_id": model.model_id, "model_uuid": model.model_id},
            **{"run_id": run_id, "artifact_path": model.artifact_location},
        }
        said |= {key: value for key, value in new.items() if key in said}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "MLmodel"
            path.write_text(yaml.safe_dump(said, sort_keys=False, allow_unicode=True), encoding="utf-8")
            self._client.log_model_artifact(model.model_id, str(path))

    def _found_models(self, experiments: list[str]) -> "list[LoggedModel]":
        condition = f"tags.`{FOLDER}` = '{self._store_id}'"
        found: list[LoggedModel] = []
        token = None
        while True:
            page = self._client.search_logged_models(experiments, condition, max_results=_PAGE, page_token=token)
            found += page
            token = page.token
            if not token:
                return found


def _once(rows: Iterable[Row]) -> list[Row]:
    """Rows without those that the store would find twice: `log_model` says values of the run again as the model's."""
    of_models: dict[tuple[object, ...], dict[Row, None]] = {}
    for row in rows:
        of_models.setdefault(row[:4], {})[row] = None
    return [row for same in of_models.values() for row in same if len(same) == 1 or row.model is not None]


def _look(folder: Path) -> str:
    """What the files of a run look like from outside; empty where there are none."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    looks = [(path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(looks).encode()).hexdigest()[:16] if looks else ""


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))
