"""What the journals of a `journal:` folder say of a run, a logged model and an experiment, read line by line.

A run's journal has the verbs of a trial's own (`create_run`, `log_batch`, `log_input`, `end_run`), which may say more:
`create_run` the experiment, `log_batch` which model and data set a metric belongs to, `log_input` the data set in
MLflow's own words. `update_run`, `log_model_input` and `log_model_output` are added. No MLflow is needed here.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sweeproute import journal
from sweeproute.mlflow_journal_folder import ARTIFACTS, Entry, first

RUN_NAME = "mlflow.runName"


class Row(NamedTuple):
    """A metric's value at a step."""

    name: str
    value: float
    step: int
    # Milliseconds since 1970.
    time: int
    # The logged model, and name and digest of the data set, that it was measured on.
    model: str | None = None
    dataset: tuple[str, str] | None = None


@dataclass
class RunRecord:
    """A run as far as its journal tells."""

    folder: Path
    id: str = ""
    experiment: str = ""
    user: str = ""
    name: str = ""
    status: str = "RUNNING"
    # Milliseconds since 1970.
    started: int = 0
    ended: int | None = None
    # Milliseconds that the writer's clock was behind.
    offset_ms: int = 0
    # Tags that it was made with, and those that it has.
    first_tags: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    # Of each metric the row that counts, as it stands in the journal.
    _newest: dict[str, list[Any]] = field(default_factory=dict)
    # Every row, for whoever wants them.
    rows: list[Row] | None = None
    inputs: list[Entry] = field(default_factory=list)
    model_inputs: list[str] = field(default_factory=list)
    # Step of each model that came out of the run.
    outputs: dict[str, int] = field(default_factory=dict)
    # Bytes that have been read.
    offset: int = 0

    @classmethod
    def of(cls, folder: Path, rows: bool = False) -> "RunRecord":
        """Read a run's journal; without a beginning its `id` is empty.

        Args:
            folder: The run's folder.
            rows: Whether every row of every metric is wanted.
        """
        record = cls(folder, rows=[] if rows else None)
        record.catch_up()
        return record

    @classmethod
    def head(cls, folder: Path) -> "RunRecord":
        """A run as it began; without a beginning its `id` is empty."""
        record, entry = cls(folder), first(folder)
        if entry is not None:
            record.take(entry)
        return record

    def catch_up(self) -> None:
        """Read on."""
        entries, self.offset = journal.read(self.folder, self.offset)
        for entry in entries:
            self.take(entry)

    def take(self, entry: Mapping[str, Any]) -> None:
        """Add what one entry says."""
        match entry["verb"]:
            case "log_batch":
                for name, value in (entry.get("params") or {}).items():
                    self.params.setdefault(name, value)
                self._take_tags(entry.get("tags") or {})
                newest = self._newest
                for row in entry.get("metrics") or ():
                    known = newest.get(row[0])
                    if known is None or row[2] > known[2] or (row[2] == known[2] and _outweighs(row, known)):
                        newest[row[0]] = row
                if self.rows is not None:
                    self.rows += rows_of(entry)
            case "create_run" if not self.id:
                self.id, self.started = entry["journal"], entry["time"]
                self.experiment, self.user = entry["experiment"], entry.get("user") or ""
                self.offset_ms = entry.get("offset_ms") or 0
                self.first_tags = dict(entry.get("tags") or {})
                self._take_tags(self.first_tags)
                self._rename(entry["name"])
            case "log_input":
                self.inputs.append(dict(entry))
            case "log_model_input":
                self.model_inputs += [model for model in entry["models"] if model not in self.model_inputs]
            case "log_model_output":
                for model, step in entry["models"]:
                    self.outputs.setdefault(model, step)
            case "update_run" | "end_run":
                self.status, self.ended = entry["status"], entry["time"]
                if entry.get("name"):
                    self._rename(entry["name"])

    @property
    def newest(self) -> list[Row]:
        """Of each metric the value that counts: of the highest step, and there the latest."""
        return [Row(name, float(value), step, time) for name, value, step, time in self._newest.values()]

    @functools.cached_property
    def artifacts(self) -> str:
        """The address of the run's artifacts."""
        return (self.folder / ARTIFACTS).as_uri()

    def _take_tags(self, tags: Mapping[str, str]) -> None:
        self.tags.update(tags)
        self.name = tags.get(RUN_NAME, self.name)

    def _rename(self, name: str) -> None:
        self.name = self.tags[RUN_NAME] = name


@dataclass
class ModelRecord:
    """A logged model as far as its journal tells."""

    folder: Path
    id: str = ""
    experiment: str = ""
    name: str = ""
    run: str | None = None
    type: str | None = None
    status: str = "PENDING"
    # Milliseconds since 1970.
    created: int = 0
    updated: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    # Runs in which metrics of it were logged.
    measured_in: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path) -> "ModelRecord":
        """Read a model's journal; without a beginning its `id` is empty."""
        record = cls(folder)
        for entry in journal.read(folder)[0]:
            record._take(entry)
        return record

    def _take(self, entry: Mapping[str, Any]) -> None:
        match entry["verb"]:
            case "create_model" if not self.id:
                self.id, self.experiment, self.name = entry["model"], entry["experiment"], entry["name"]
                self.run, self.type = entry.get("run"), entry.get("type")
                self.created = self.updated = entry["time"]
                self.tags.update(entry.get("tags") or {})
                self.params.update(entry.get("params") or {})
            case "log_model":
                self.tags.update(entry.get("tags") or {})
                self.params.update(entry.get("params") or {})
            case "measured_model":
                self.measured_in += [entry["run"]] if entry["run"] not in self.measured_in else []
            case "end_model":
                self.status, self.updated = entry["status"], entry["time"]


@dataclass
class ExperimentRecord:
    """An experiment as far as its journal tells."""

    name: str = ""
    created: int = 0
    # Where the person wanted artifacts to go in a real store.
    location: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> "ExperimentRecord":
        """Read an experiment's journal; without a beginning its `name` is empty."""
        record = cls()
        for entry in journal.read(folder)[0]:
            if entry["verb"] == "create_experiment" and not record.name:
                record.name, record.created, record.location = entry["name"], entry["time"], entry.get("location")
            if entry["verb"] in ("create_experiment", "tag_experiment"):
                record.tags.update(entry.get("tags") or {})
        return record


def _outweighs(row: list[Any], other: list[Any]) -> bool:
    """Whether of two values of the same step one counts: the later, then the larger, as in MLflow's own stores."""
    one, two = (0.0 if math.isnan(float(value)) else float(value) for value in (row[1], other[1]))
    return (row[3], one) > (other[3], two)


def rows_of(entry: Mapping[str, Any]) -> list[Row]:
    """The metrics of a `log_batch`."""
    metrics = entry.get("metrics") or ()
    belonging = entry.get("of")
    if belonging is None:
        return [Row(name, float(value), step, time) for name, value, step, time in metrics]
    rows = []
    for (name, value, step, time), of in zip(metrics, belonging, strict=True):
        model, *dataset = of or (None,)
        rows.append(Row(name, float(value), step, time, model, (dataset[0], dataset[1]) if dataset else None))
    return rows


def number(value: float) -> float | str:
    """A number as JSON can hold it; see `sweeproute.journal`."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
