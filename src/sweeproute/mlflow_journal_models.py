"""Answers MLflow's calls about logged models from a folder of journals."""

import re
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import LoggedModel, LoggedModelParameter, LoggedModelStatus, LoggedModelTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, RESOURCE_DOES_NOT_EXIST
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.utils.name_utils import _generate_random_name
from mlflow.utils.validation import _validate_logged_model_name

from sweeproute import mlflow_journal_entities as entities
from sweeproute.mlflow_journal_contract import refuse
from sweeproute.mlflow_journal_folder import Entry, JournalFolder, experiment_id, now_ms
from sweeproute.mlflow_journal_records import ModelRecord

_BY_NAME = re.compile(r"\s*name\s*=\s*'([^']*)'\s*")


class ModelJournals(AbstractStore):
    """A store of logged models, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.files = JournalFolder(folder)
        self._lock = threading.RLock()
        self._begun = False
        # Experiments by their id; none is ever renamed.
        self._names: dict[str, str] = {}
        # Models and the runs in which they were measured, as far as this process has written that down.
        self._measured: set[tuple[str, str]] = set()

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: Sequence[LoggedModelTag] | None = None,
        params: Sequence[LoggedModelParameter] | None = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        """Begin a logged model, in a folder of its own."""
        _validate_logged_model_name(name)
        experiment = self._experiment_name(experiment_id)
        id = f"m-{uuid.uuid4().hex}"
        entry = {
            **{"verb": "create_model", "model": id, "experiment": experiment, "name": name or _generate_random_name()},
            **{"run": source_run_id, "type": model_type, "time": now_ms()},
            **{"tags": _texts(tags), "params": _texts(params)},
        }
        with self._lock:
            self._begin()
            self.files.claim(self.files.model(id), entry)
        return self.get_logged_model(id)

    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        """Say that a model's files are there, or that they failed to come."""
        self._write_model(model_id, {"verb": "end_model", "status": LoggedModelStatus(status).value, "time": now_ms()})
        return self.get_logged_model(model_id)

    def set_logged_model_tags(self, model_id: str, tags: Sequence[LoggedModelTag]) -> None:
        """Set tags of a model."""
        self._write_model(model_id, {"verb": "log_model", "tags": _texts(tags)})

    def log_logged_model_params(self, model_id: str, params: Sequence[LoggedModelParameter]) -> None:
        """Add parameters to a model."""
        self._write_model(model_id, {"verb": "log_model", "params": _texts(params)})

    def get_logged_model(self, model_id: str, allow_deleted: bool = False) -> LoggedModel:  # noqa: ARG002
        """A logged model by its id."""
        record = ModelRecord.of(self.files.model(model_id))
        if not record.id:
            raise MlflowException(f"Logged model with ID '{model_id}' not found.", RESOURCE_DOES_NOT_EXIST)
        return entities.model(record, self.files)

    def search_logged_models(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None = None,
        datasets: Sequence[Mapping[str, Any]] | None = None,
        max_results: int | None = None,
        order_by: Sequence[Mapping[str, Any]] | None = None,
        page_token: str | None = None,  # noqa: ARG002 (all come at once)
    ) -> PagedList:
        """The models of some experiments by their name, which `runs:/RUN/NAME` asks for, and nothing further."""
        name = _BY_NAME.fullmatch(filter_string or "")
        if name is None or datasets or order_by:
            refuse("search_logged_models but by name = '...'", self.files.root)
        records = [ModelRecord.of(self.files.model(id)) for id in self.files.models()]
        found = [
            entities.model(record, self.files)
            for record in records
            if record.name == name.group(1) and experiment_id(record.experiment) in experiment_ids
        ]
        newest_first = sorted(found, key=lambda model: -model.creation_timestamp)
        return PagedList(newest_first[:max_results], None)

    def _write_model(self, model_id: str, entry: Entry) -> None:
        folder = self.files.model(model_id)
        with self._lock:
            if not ModelRecord.of(folder).id:
                raise MlflowException(f"Logged model with ID '{model_id}' not found.", RESOURCE_DOES_NOT_EXIST)
            self._append(folder, entry)
            self.files.close(folder)

    def _measure(self, model_id: str, run_id: str) -> None:
        """Have a model know in which runs it was measured, so that its metrics are found without a search."""
        folder = self.files.model(model_id)
        if (model_id, run_id) not in self._measured and folder.is_dir():
            self._append(folder, {"verb": "measured_model", "run": run_id})
            self.files.close(folder)
            self._measured.add((model_id, run_id))

    def _experiment_name(self, id: str) -> str:
        name = self._names.get(id)
        if name is None:
            name = self._names[id] = self.get_experiment(id).name
        return name

    def _begin(self) -> None:
        if not self._begun:
            self.files.begin()
            self._begun = True

    def _append(self, folder: Path, *entries: Entry) -> int:
        try:
            return self.files.append(folder, entries)
        except OSError as error:
            raise MlflowException(
                f"Nothing can be added to the journal in {str(folder)!r} ({error.strerror}); make room, and go on: "
                "what stands there is whole.",
                INTERNAL_ERROR,
            ) from error


def _texts(pairs: Sequence[LoggedModelTag] | Sequence[LoggedModelParameter] | None) -> dict[str, str]:
    return {str(pair.key): str(pair.value) for pair in pairs or ()}
