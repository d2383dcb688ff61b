"""Answers MLflow's logging calls from a folder of journals, with no server and no database.

What it serves is `sweeproute.mlflow_journal_contract.SERVED`; the rest of MLflow's contract is refused in a sentence.
"""

import math
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import (
    DatasetInput,
    Experiment,
    ExperimentTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunInfo,
    RunStatus,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
)
from mlflow.store.entities.paged_list import PagedList
from mlflow.utils.name_utils import _generate_random_name
from mlflow.utils.validation import (
    _validate_experiment_name,
    _validate_experiment_tag,
    _validate_metric,
    _validate_param,
    _validate_param_keys_unique,
    _validate_tag,
)

from sweeproute import mlflow_journal_entities as entities
from sweeproute.mlflow_journal_contract import only_served
from sweeproute.mlflow_journal_folder import DEFAULT_EXPERIMENT, Entry, experiment_id, now_ms
from sweeproute.mlflow_journal_models import ModelJournals
from sweeproute.mlflow_journal_records import RUN_NAME, ExperimentRecord, Row, RunRecord, number

# How far behind this machine's clock is, in milliseconds; whoever replays adds it.
CLOCK_OFFSET = "SWEEPROUTE_CLOCK_OFFSET_MS"
# Texts that are no longer than this are within every limit of MLflow's.
_SHORT = 250


@only_served
class JournalStore(ModelJournals):
    """The tracking store of one folder; threads and processes may share it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._records: dict[str, RunRecord] = {}
        # Names of metrics, parameters and tags that MLflow has found right.
        self._right: set[str] = set()
        # Experiments that this process was told do not exist.
        self._missing: set[str] = set()
        # The journal whose whole history was read last: its run, how far, and the record.
        self._history: tuple[str, int, RunRecord] | None = None

    # Experiments

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Sequence[ExperimentTag] | None = None
    ) -> str:
        """Make an experiment.

        Args:
            name: Its name.
            artifact_location: Where its artifacts go in the real store; here they lie beside the journals.
            tags: Its tags.

        Returns:
            Its id, which follows from the name.
        """
        _validate_experiment_name(name)
        for tag in tags or ():
            _validate_experiment_tag(tag.key, tag.value)
        id = experiment_id(name)
        entry = {
            **{"verb": "create_experiment", "name": name, "time": now_ms()},
            **{"location": artifact_location, "tags": {tag.key: tag.value for tag in tags or ()}},
        }
        with self._lock:
            known = ExperimentRecord.of(self.files.experiment(id)).name
            # Of processes that start at once each may have been told that there is none. MLflow's `set_experiment`
            # lets the slower ones log elsewhere when they are refused.
            if known and name not in self._missing:
                raise MlflowException(f"The experiment {name!r} exists already.", RESOURCE_ALREADY_EXISTS)
            self._begin()
            self.files.claim(self.files.experiment(id), entry)
            self._missing.discard(name)
        return id

    def get_experiment(self, experiment_id: str) -> Experiment:
        """An experiment by its id."""
        record = ExperimentRecord.of(self.files.experiment(str(experiment_id)))
        if not record.name and str(experiment_id) == "0":
            record.name = DEFAULT_EXPERIMENT
        if not record.name:
            raise MlflowException(
                f"There is no experiment with the id {experiment_id} in {self.files.root}.", RESOURCE_DOES_NOT_EXIST
            )
        return entities.experiment(record, self.files)

    def get_experiment_by_name(self, experiment_name: str) -> Experiment | None:
        """An experiment by its name, or None."""
        id = experiment_id(experiment_name)
        if id != "0" and not ExperimentRecord.of(self.files.experiment(id)).name:
            self._missing.add(experiment_name)
            return None
        return self.get_experiment(id)

    def set_experiment_tag(self, experiment_id: str, tag: ExperimentTag) -> None:
        """Set a tag of an experiment."""
        _validate_experiment_tag(tag.key, tag.value)
        name = self.get_experiment(experiment_id).name
        folder = self.files.experiment(str(experiment_id))
        with self._lock:
            self._begin()
            self.files.claim(folder, {"verb": "create_experiment", "name": name, "time": now_ms()})
            self._append(folder, {"verb": "tag_experiment", "tags": {tag.key: tag.value}})
            self.files.close(folder)

    # Runs

    def create_run(
        self, experiment_id: str, user_id: str, start_time: int, tags: Sequence[RunTag], run_name: str | None
    ) -> Run:
        """Begin a run, in a folder of its own."""
        experiment = self._experiment_name(experiment_id)
        named = {tag.key: tag.value for tag in (self._tag(RunTag(tag.key, str(tag.value))) for tag in tags or ())}
        if run_name and named.get(RUN_NAME, run_name) != run_name:
            raise MlflowException.invalid_parameter_value(
                f"The run is to be named {run_name!r}, and by its tag {RUN_NAME} {named[RUN_NAME]!r}; name it once."
            )
        name = run_name or named.get(RUN_NAME) or _generate_random_name()
        id = uuid.uuid4().hex
        entry: Entry = {
            **{"verb": "create_run", "journal": id, "name": name, "time": int(start_time or now_ms())},
            **{"tags": {RUN_NAME: name, **named}, "experiment": experiment, "user": user_id},
        }
        if offset := _clock_offset():
            entry["offset_ms"] = offset
        folder = self.files.run(id)
        with self._lock:
            self._begin()
            self._make(folder)
            record = self._records[id] = RunRecord(folder)
            self._write(record, entry)
        return entities.run(record)

    def get_run(self, run_id: str) -> Run:
        """A run as it is by now, whoever wrote it."""
        with self._lock:
            return entities.run(self._record(run_id))

    def update_run_info(
        self, run_id: str, run_status: int | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        """End a run, let it run again, or name it."""
        with self._lock:
            record = self._record(run_id)
            status = record.status if run_status is None else RunStatus.to_string(run_status)
            end = record.ended if end_time is None else int(end_time)
            ends = status in ("FINISHED", "FAILED", "KILLED") and status != record.status
            entry: Entry = {"verb": "end_run" if ends else "update_run", "status": status, "time": end}
            if run_name:
                entry["name"] = run_name
            self._write(record, entry)
            if status not in ("RUNNING", "SCHEDULED"):
                # Who makes thousands of runs keeps none that is over; it can still be read, and added to.
                self.files.close(record.folder)
                self._records.pop(run_id)
            return entities.run_info(record)

    def log_batch(
        self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[RunTag]
    ) -> None:
        """Add metrics, parameters and tags in one line."""
        entry: Entry = {"verb": "log_batch", "time": now_ms()}
        with self._lock:
            record = self._record(run_id, fresh=bool(params))
            if params:
                _validate_param_keys_unique(params)
                if new := self._new_params(record, params):
                    entry["params"] = new
            if metrics:
                entry["metrics"], of = self._rows(metrics)
                if of is not None:
                    entry["of"] = of
                    for model in {metric.model_id for metric in metrics if metric.model_id}:
                        self._measure(model, run_id)
            if tags:
                entry["tags"] = {tag.key: tag.value for tag in map(self._tag, tags)}
            if len(entry) > 2:
                self._write(record, entry)

    def get_metric_history(
        self, run_id: str, metric_key: str, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList:
        """All values of a metric, in the order in which they were logged."""
        with self._lock:
            current = self._record(run_id)
            if self._history is None or self._history[:2] != (run_id, current.offset):
                self._history = (run_id, current.offset, RunRecord.of(current.folder, rows=True))
            rows = [row for row in self._history[2].rows or () if row.name == metric_key]
        # What is logged of a model once more is one value of the run.
        found = [entities.metric(Row(*values), run_id) for values in dict.fromkeys(row[:4] for row in rows)]
        start = int(page_token or 0)
        end = len(found) if max_results is None else start + max_results
        return PagedList(found[start:end], str(end) if end < len(found) else None)

    def log_inputs(
        self,
        run_id: str,
        datasets: Sequence[DatasetInput] | None = None,
        models: Sequence[LoggedModelInput] | None = None,
    ) -> None:
        """Add data sets and logged models that a run has used."""
        entries = [entities.input_entry(used) for used in datasets or ()]
        if models:
            entries.append({"verb": "log_model_input", "models": [model.model_id for model in models]})
        with self._lock:
            self._write(self._record(run_id, fresh=False), *entries)

    def log_outputs(self, run_id: str, models: Sequence[LoggedModelOutput]) -> None:
        """Add logged models that came out of a run."""
        outputs = [[model.model_id, model.step] for model in models]
        with self._lock:
            self._write(self._record(run_id, fresh=False), {"verb": "log_model_output", "models": outputs})

    # What these share

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir()
        except FileNotFoundError:
            folder.mkdir(parents=True)

    def _record(self, run_id: str, fresh: bool = True) -> RunRecord:
        """What a run's journal says.

        Args:
            run_id: The run.
            fresh: Whether it matters what another process has added since; looking costs as much as adding a line.
        """
        record = self._records.get(run_id)
        if record is None or (fresh and self.files.size(record.folder) != record.offset):
            record = RunRecord.of(self.files.run(run_id))
        if not record.id:
            raise MlflowException(f"Run with id={run_id} not found in {self.files.root}", RESOURCE_DOES_NOT_EXIST)
        self._records[run_id] = record
        return record

    def _write(self, record: RunRecord, *entries: Entry) -> None:
        if entries:
            # Where another process has added to the run, too, this is not where the journal ends: it is read anew then.
            record.offset += self._append(record.folder, *entries)
            for entry in entries:
                record.take(entry)

    def _new_params(self, record: RunRecord, params: Sequence[Param]) -> dict[str, str]:
        new = {}
        for param in params:
            key, value = param.key, param.value
            if key not in self._right or len(value) > _SHORT:
                value = _validate_param(key, value).value
                self._right.add(key)
            known = record.params.get(key)
            if known is None:
                new[key] = value
            elif known != value:
                raise MlflowException(
                    f"Changing param values is not allowed. Param with key='{key}' was already logged with "
                    f"value='{known}' for run ID='{record.id}'. Attempted logging new value '{value}'.",
                    INVALID_PARAMETER_VALUE,
                )
        return new

    def _rows(self, metrics: Sequence[Metric]) -> tuple[list[list[Any]], list[list[str | None] | None] | None]:
        """Metrics as a journal has them, and what each belongs to beside its run; None where none does."""
        rows: list[list[Any]] = []
        of: list[list[str | None] | None] = []
        more = False
        for metric in metrics:
            key, value, time, step = metric.key, metric.value, metric.timestamp, metric.step
            if key not in self._right or type(value) is not float or type(time) is not int or type(step) is not int:
                _validate_metric(key, value, time, step)
                self._right.add(key)
                value, time, step = float(value), int(time), int(step)
            rows.append([key, value if math.isfinite(value) else number(value), step, time])
            if metric.model_id or metric.dataset_name:
                more = True
                of.append(_of(metric))
            else:
                of.append(None)
        return rows, of if more else None

    def _tag(self, tag: RunTag) -> RunTag:
        if tag.key in self._right and len(tag.value) <= _SHORT:
            return tag
        right = _validate_tag(tag.key, tag.value)
        self._right.add(tag.key)
        return right


def _of(metric: Metric) -> list[str | None] | None:
    """What a metric belongs to beside its run."""
    if metric.dataset_name:
        return [metric.model_id, metric.dataset_name, metric.dataset_digest]
    return [metric.model_id] if metric.model_id else None


def _clock_offset() -> int:
    text = os.environ.get(CLOCK_OFFSET) or "0"
    try:
        return int(text)
    except ValueError:
        raise MlflowException.invalid_parameter_value(
            f"{CLOCK_OFFSET} is {text!r}; it takes whole milliseconds, for example 1500 or -200."
        ) from None
