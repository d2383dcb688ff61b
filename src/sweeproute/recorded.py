"""Finds in the tracking store what is to be reproduced, and reads what is on record of it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeproute import code_snapshot, pointers
from sweeproute.run_difference import Results
from sweeproute.runs_query import Question
from sweeproute.runs_where import identify, locate_of_any, open_runs
from sweeproute.store import masked
from sweeproute.sweep_runs import SweepRuns, read

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from sweeproute.runs_api import ApiRuns
    from sweeproute.runs_query import Runs

_PREDICTIONS = "predictions.parquet"
# The beginning of a run's id: fewer digits are more likely a name.
_RUN = re.compile(r"[0-9a-f]{6,32}")
# What can be run again, as the tag sweeproute.kind says.
_TRIALS = ("trial", "holdout", "ensemble")
_SWEEP, _CALIBRATION = "sweep", "calibration"


class NotRecordedError(LookupError):
    """There is nothing in the store that could be reproduced as it was asked for."""


@dataclass(frozen=True)
class Recorded:
    """A trial on record.

    Attributes:
        run_id: The run's id.
        tags: The run's tags, those that are ours without `sweeproute.`.
        below: The ids of the runs of its further calibrations, by calibration.
    """

    run_id: str
    tags: Mapping[str, str]
    below: Mapping[str, str]

    @property
    def overrides(self) -> tuple[str, ...]:
        """The words that made it."""
        return tuple(json.loads(self.tags["overrides"]))

    @property
    def method(self) -> str:
        """Its own calibration."""
        return self.tags.get("calibration", "none")

    @property
    def scored(self) -> bool:
        """Whether it was scored on the holdout."""
        return self.tags.get("set") == "holdout"

    @property
    def origin(self) -> str | None:
        """The sweep whose code it was made by; None for a run alone."""
        reused = self.tags.get("reused", "").rpartition("/")[0]
        return reused or self.tags.get("sweep")

    @property
    def title(self) -> str:
        """What it is, for people."""
        kind = self.tags.get("model_type", "model") + (" on the holdout" if self.scored else "")
        return f"{kind}, job {self.tags['trial']} of {self.tags.get('sweep')}" if "trial" in self.tags else kind


@dataclass(frozen=True)
class Asked:
    """What is to be reproduced.

    Attributes:
        sweep: Id of the sweep, where a sweep was asked for; None for a run.
        sweep_run: Id of the run of that sweep itself.
        runs: The trials, in the order of their jobs.
        left: How many attempts of jobs are left out, by how they ended.
        pointer: The pointer to the sweep that they are of, where it was started on this machine.
        store: Where they are on record.
    """

    sweep: str | None
    sweep_run: str | None
    runs: tuple[Recorded, ...]
    left: Mapping[str, int]
    pointer: pointers.Pointer | None
    store: "RecordedIn"


class RecordedIn:
    """A store with runs on record.

    Args:
        uri: Its address.
        reader: What answers in the fastest way.
        api: What answers through MLflow.
    """

    def __init__(self, uri: str, reader: "Runs", api: "ApiRuns") -> None:
        self.uri = uri
        self._reader = reader
        self._api = api

    @property
    def client(self) -> "MlflowClient":
        """MLflow's own client."""
        return self._api.client

    def results(self, run_id: str, into: Path) -> Results:
        """What a run has come to; `into` is a folder for what is downloaded."""
        import pandas as pd

        metrics = self._reader.histories([run_id])[run_id]
        if _PREDICTIONS not in self._artifacts(run_id):
            return Results(metrics, None)
        into.mkdir(parents=True, exist_ok=True)
        return Results(metrics, pd.read_parquet(self.client.download_artifacts(run_id, _PREDICTIONS, str(into))))

    def config(self, run: Recorded, into: Path) -> Path | None:
        """The config of a run, downloaded to a folder; None where it has none."""
        into.mkdir(parents=True, exist_ok=True)
        there = "config.yaml" in self._artifacts(run.run_id)
        return Path(self.client.download_artifacts(run.run_id, "config.yaml", str(into))) if there else None

    def patches(self, run: Recorded, into: Path) -> list[Path]:
        """The snapshots of the code that a run was made by, from the store, else from the folder of its sweep.

        Args:
            run: The run.
            into: A folder for what is downloaded.
        """
        holder = run.run_id
        if run.origin is not None:
            own = next(iter(self._search([_of(_SWEEP)], run.origin)), None)
            holder = own.info.run_id if own is not None else ""
        names = (
            [name for name in self._artifacts(holder) if re.fullmatch(r"code(-\d+)?\.patch", name)] if holder else []
        )
        into.mkdir(parents=True, exist_ok=True)
        found = [Path(self.client.download_artifacts(holder, name, str(into))) for name in names]
        if not found and run.origin is not None:
            folders = [one.folder for one in pointers.pointers() if one.id == run.origin]
            found = [path for folder in folders for path in code_snapshot.kept(folder)]
        return code_snapshot.ordered(found)

    def note(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Write tags on a run, those of ours without `sweeproute.`."""
        for name, value in tags.items():
            self.client.set_tag(run_id, f"sweeproute.{name}", value)

    def find(self, beginning: str) -> "Run":
        """The run whose id begins so.

        Raises:
            NotRecordedError: There is none, or there are several.
        """
        found = self._search([f"attributes.run_id LIKE '{beginning}%'"])
        if not found:
            raise NotRecordedError(f"There is no run whose id begins with {beginning} in {masked(self.uri)}.")
        if len(found) > 1:
            shown = ", ".join(run.info.run_id for run in found[:3])
            raise NotRecordedError(f"{beginning} is the beginning of {len(found)} runs, as {shown}; give more digits.")
        return found[0]

    def below(self, run_id: str) -> dict[str, str]:
        """The ids of the runs of a trial's further calibrations, by calibration."""
        found = self._search([f"tags.`mlflow.parentRunId` = '{run_id}'", _of(_CALIBRATION)])
        return {run.data.tags.get("sweeproute.calibration", ""): run.info.run_id for run in found}

    def _search(self, conditions: list[str], sweep: str | None = None) -> "list[Run]":
        return list(self._api.search(Question("", True, sweep), conditions))

    def _artifacts(self, run_id: str) -> list[str]:
        return [artifact.path for artifact in self.client.list_artifacts(run_id)]


def find(what: str, uri: str | None = None) -> Asked:
    """Find what is to be reproduced.

    Args:
        what: A sweep's id, its name or `last`; or a run's id, or its beginning of six characters or more.
        uri: The tracking store; that of the sweep, else MLFLOW_TRACKING_URI, else that of the newest sweep, when None.

    Returns:
        Of a sweep the trials that count, with those of the holdout; of a run itself, or the trial that it is below.

    Raises:
        NotRecordedError: There is no such run, or nothing that could be run again.
        sweeproute.runs_where.RegistryError: There is no such store, or no trial of the sweep has finished.
        sweeproute.pointers.NoSuchSweepError: There is no such sweep, and it is no run's id either.
    """
    if any(what in (pointers.LAST, one.id, one.name) for one in pointers.pointers()) or not _RUN.fullmatch(what):
        return _sweep(what, uri)
    uri = locate_of_any(uri)
    try:
        return _sweep(identify(what, open_runs(uri)), uri)
    except pointers.NoSuchSweepError:
        return _run(what, uri)


def _sweep(sweep: str, uri: str | None) -> Asked:
    found = read(sweep, uri=uri)
    below: dict[str, dict[str, str]] = {}
    for run in found.runs:
        if run.kind == _CALIBRATION:
            below.setdefault(run.tags.get("mlflow.parentRunId", ""), {})[run.calibration] = run.run_id
    tops = [run for run in found.runs if run.kind in _TRIALS]
    runs = tuple(_recorded(run.run_id, run.tags, below.get(run.run_id, {})) for run in tops)
    return Asked(found.id, found.run_id, runs, _left(found), _pointer(found.id), _store(found.uri))


def _run(beginning: str, uri: str) -> Asked:
    store = _store(uri)
    run = store.find(beginning)
    if run.data.tags.get("sweeproute.kind") == _CALIBRATION:
        # It was fitted with the trial that it is below.
        run = store.client.get_run(run.data.tags["mlflow.parentRunId"])
    tags, id = run.data.tags, run.info.run_id
    kind, sweep = tags.get("sweeproute.kind"), tags.get("sweeproute.sweep")
    if kind == _SWEEP and sweep is not None:
        return _sweep(sweep, uri)
    if kind not in _TRIALS or "sweeproute.overrides" not in tags or "sweeproute.fingerprint" not in tags:
        raise NotRecordedError(
            f"Run {id} does not say by which words it was made, and what its fingerprint is: it is no trial of ours."
        )
    if run.info.status != "FINISHED":
        state = tags.get("sweeproute.state", run.info.status).lower()
        raise NotRecordedError(f"Run {id} has not finished ({state}), so that there is nothing to compare with.")
    return Asked(None, None, (_recorded(id, tags, store.below(id)),), {}, _pointer(sweep), store)


def _recorded(run_id: str, tags: Mapping[str, str], below: Mapping[str, str]) -> Recorded:
    return Recorded(run_id, {name.removeprefix("sweeproute."): value for name, value in tags.items()}, below)


def _store(uri: str) -> RecordedIn:
    from sweeproute.runs_api import ApiRuns

    return RecordedIn(uri, open_runs(uri), ApiRuns(uri))


def _pointer(sweep: str | None) -> pointers.Pointer | None:
    return next((one for one in pointers.pointers() if one.id == sweep), None)


def _left(sweep: SweepRuns) -> dict[str, int]:
    """How many jobs have no result that counts, by how their last attempt ended."""
    states: dict[int | None, list[str]] = {}
    done: set[int | None] = set()
    for one in sweep.attempts:
        states.setdefault(one.job, []).append(one.state)
        done |= {one.job} if one.state == "FINISHED" and one.current else set()
    ended: Sequence[str] = [of_job[-1].lower() for job, of_job in states.items() if job not in done]
    return {state: ended.count(state) for state in sorted(set(ended))}


def _of(kind: str) -> str:
    return f"tags.`sweeproute.kind` = '{kind}'"
