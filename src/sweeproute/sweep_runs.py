"""Reads from the tracking store all finished runs of a sweep that count, further calibrations and holdout included."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeproute.configuration import RULE_TAGS, told_rule
from sweeproute.runs_query import DATA_TAG, Question, meets
from sweeproute.runs_where import RegistryError, identify, locate, nearest, open_runs
from sweeproute.selection import LARGEST
from sweeproute.store import masked

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from sweeproute.runs_query import Runs

# The sets of seasons that a number can come from, in the order of tables.
SELECTION, HOLDOUT = "selection", "holdout"
# What a run can be, as its tag sweeproute.kind says: those that are compared.
_TRIAL, _CALIBRATION, _HOLDOUT, _ENSEMBLE = "trial", "calibration", "holdout", "ensemble"
# What another app's launcher calls a job that results of others have called for.
_FOLLOW_UP = "follow_up"


@dataclass(frozen=True)
class FinishedRun:
    """A run that has come to its end, and counts."""

    run_id: str
    # trial, calibration (below a trial), holdout or ensemble.
    kind: str
    # The seasons that its numbers are from: selection or holdout.
    set: str
    model: str
    calibration: str
    # The number of its job; None where it was none.
    job: int | None
    # The overrides that reproduce it.
    overrides: tuple[str, ...]
    params: Mapping[str, str]
    # Over all tested seasons; without those of its other calibrations, which are runs of their own.
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def data_hash(self) -> str:
        """The hash of the data that it was made from; empty where that was not recorded."""
        return self.tags.get(DATA_TAG, "")

    @property
    def device_class(self) -> str:
        """What has to agree for two results to be bitwise equal; empty where that was not recorded."""
        return self.tags.get("sweeproute.device_class", self.tags.get("sweeproute.device", ""))


@dataclass(frozen=True)
class Attempt:
    """A try at a job, however it ended; seconds are since 1970."""

    # trial, holdout, ensemble, or follow_up of another app.
    kind: str
    job: int | None
    model: str
    platform: str
    # As the launcher says it: FINISHED, PRUNED, FAILED, KILLED, LOST or RUNNING.
    state: str
    started: float | None
    ended: float | None
    # Seconds that it ran by its machine's own clock.
    run_s: float | None
    # Whether its result is the job's.
    current: bool
    # Whether the result was taken from an earlier sweep.
    reused: bool


@dataclass(frozen=True)
class SweepRuns:
    """A sweep as the tracking store has it."""

    id: str
    # The id of its own run; None where there is none.
    run_id: str | None
    # What it chooses by, as `configuration.told_rule` gives it.
    rule: Mapping[str, object]
    # In the order of jobs, a trial before its calibrations.
    runs: tuple[FinishedRun, ...]
    uri: str
    # What answers the further questions.
    reader: "Runs"
    client: "MlflowClient"
    # Every try at each of its jobs, also those that came to nothing, in the order of jobs.
    attempts: tuple[Attempt, ...]
    # The tags of its own run.
    told: Mapping[str, str]


def read(
    sweep: str, experiment: str | None = None, uri: str | None = None, where: Mapping[str, str] | None = None
) -> SweepRuns:
    """Read a sweep.

    Args:
        sweep: Its id, its name, or `last`.
        experiment: An experiment's name; None for all.
        uri: The tracking store; see `runs_best.best`.
        where: Values that parameters of a run, or its tags without `sweeproute.`, have to have; of the data's hash its
            first digits will do. Other runs are left out.

    Returns:
        Its finished runs that count: of a job's attempts the one, and what is below that.

    Raises:
        RegistryError: No such store or experiment, or no run has finished.
        sweeproute.pointers.NoSuchSweepError: No such sweep.
    """
    from sweeproute.runs_api import ApiRuns

    pointer, uri = locate(sweep, uri)
    reader, api = open_runs(uri), ApiRuns(uri)
    id = pointer.id if pointer is not None else identify(sweep, reader)
    if experiment is not None and experiment not in (known := reader.experiments()):
        raise RegistryError(
            f"There is no experiment {experiment!r} in {masked(uri)}; there are {nearest(experiment, known)}."
        )
    found = list(api.search(Question("", True, id, experiment), []))
    own = next((run for run in found if run.data.tags.get("sweeproute.kind") == "sweep"), None)
    counting = _counting(found)
    if not counting:
        raise RegistryError(_why_none(id, found, uri))
    kept = [run for run in counting if _meets(run, where or {})]
    if not kept:
        raise RegistryError(_why_not_there(where or {}, counting))
    told = own.data.tags if own is not None else {}
    return SweepRuns(
        id=id,
        run_id=own.info.run_id if own is not None else None,
        rule=told_rule({tag: told[tag] for tag in RULE_TAGS if tag in told}),
        runs=tuple(kept),
        uri=uri,
        reader=reader,
        client=api.client,
        attempts=tuple(sorted(_attempts(found), key=_order)),
        told=dict(told),
    )


def by_season(sweep: SweepRuns, runs: Sequence[FinishedRun]) -> dict[str, dict[int, dict[str, float]]]:
    """The metrics of runs season by season.

    Args:
        sweep: Their sweep.
        runs: The runs.

    Returns:
        By run id, season and name. The last step of a run is not a season, but all of them together.
    """
    found: dict[str, dict[int, dict[str, float]]] = {}
    for run_id, metrics in sweep.reader.histories([run.run_id for run in runs]).items():
        steps = sorted({step for name, values in metrics.items() for step in values if name == "n_games"})
        found[run_id] = {
            step: {name: _number(values[step]) for name, values in sorted(metrics.items()) if step in values}
            for step in steps[:-1]
        }
    return found


def _counting(found: Sequence["Run"]) -> list[FinishedRun]:
    finished = {run.info.run_id: run for run in found if run.info.status == "FINISHED"}
    tops = [
        _run(run, _set(run.data.tags))
        for run in finished.values()
        if run.data.tags.get("sweeproute.kind") in (_TRIAL, _HOLDOUT, _ENSEMBLE) and _is_current(run.data.tags)
    ]
    sets = {run.run_id: run.set for run in tops}
    below = [
        _run(run, _set(run.data.tags, sets[parent]))
        for run in finished.values()
        if run.data.tags.get("sweeproute.kind") == _CALIBRATION
        and (parent := run.data.tags.get("mlflow.parentRunId", "")) in sets
    ]

    def place(run: FinishedRun) -> tuple[bool, int, bool, str, str]:
        return run.set == HOLDOUT, -1 if run.job is None else run.job, run.kind == _CALIBRATION, *_name(run)

    return sorted([*tops, *below], key=place)


def _attempts(found: Sequence["Run"]) -> Iterator[Attempt]:
    for run in found:
        tags, params = run.data.tags, run.data.params
        if tags.get("sweeproute.kind") not in (_TRIAL, _HOLDOUT, _ENSEMBLE, _FOLLOW_UP):
            continue
        job, run_s = tags.get("sweeproute.trial", ""), tags.get("sweeproute.run_s")
        yield Attempt(
            kind=tags["sweeproute.kind"],
            job=int(job) if job.isdecimal() else None,
            model=tags.get("sweeproute.model_type") or params.get("model.type", "model"),
            platform=tags.get("sweeproute.platform", "this machine"),
            state=tags.get("sweeproute.state", run.info.status),
            started=run.info.start_time / 1000 if run.info.start_time else None,
            ended=run.info.end_time / 1000 if run.info.end_time else None,
            run_s=float(run_s) if run_s is not None else None,
            current=_is_current(tags),
            reused="sweeproute.reused" in tags,
        )


def _order(one: Attempt) -> tuple[int, float]:
    return -1 if one.job is None else one.job, one.ended or 0.0


def _name(run: FinishedRun) -> tuple[str, str]:
    return run.calibration, run.run_id


def _is_current(tags: Mapping[str, str]) -> bool:
    # A trial that counts says so; of what nothing is chosen by it is enough that no other has taken its place.
    default = "false" if tags.get("sweeproute.kind") == _TRIAL else "true"
    return tags.get("sweeproute.current", default) == "true" and tags.get("sweeproute.superseded") != "true"


def _set(tags: Mapping[str, str], of_parent: str = SELECTION) -> str:
    return tags.get("sweeproute.set", HOLDOUT if tags.get("sweeproute.kind") == _HOLDOUT else of_parent)


def _run(run: "Run", set: str) -> FinishedRun:
    tags, params = dict(run.data.tags), dict(run.data.params)
    job = tags.get("sweeproute.trial", "")
    return FinishedRun(
        run_id=run.info.run_id,
        kind=tags["sweeproute.kind"],
        set=set,
        model=tags.get("sweeproute.model_type") or params.get("model.type", "model"),
        calibration=tags.get("sweeproute.calibration") or params.get("calibration", "none"),
        job=int(job) if job.isdecimal() else None,
        overrides=tuple(json.loads(tags.get("sweeproute.overrides", "[]"))),
        params=params,
        metrics={name: _number(value) for name, value in sorted(run.data.metrics.items()) if "/" not in name},
        tags=tags,
    )


def _number(value: float) -> float:
    """A SQL store keeps an infinity as the largest number that it has."""
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else value


def _meets(run: FinishedRun, where: Mapping[str, str]) -> bool:
    return meets(run.params, run.tags, where.items())


def _values(run: FinishedRun) -> dict[str, str]:
    tags = {name.removeprefix("sweeproute."): value for name, value in run.tags.items()}
    return {**tags, **run.params}


def _why_none(id: str, found: Sequence["Run"], uri: str) -> str:
    states: dict[str, int] = {}
    for run in found:
        if run.data.tags.get("sweeproute.kind") == _TRIAL:
            state = run.data.tags.get("sweeproute.state", run.info.status)
            states[state] = states.get(state, 0) + 1
    if not states:
        return f"No trial of sweep {id} is in {masked(uri)}; `sweeproute sync {id}` writes what is not tracked yet."
    counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return f"No trial of sweep {id} has finished ({counted}); `sweeproute resume {id}` goes on with it."


def _why_not_there(where: Mapping[str, str], runs: Sequence[FinishedRun]) -> str:
    for key, wanted in where.items():
        known = sorted({_values(run)[key] for run in runs if key in _values(run)})
        if not known:
            names = sorted({name for run in runs for name in _values(run)})
            return f"No run has {key!r}; what a run is told apart by, nearest match first: {nearest(key, names)}."
        if not any(_meets(run, {key: wanted}) for run in runs):
            return f"No run has {key}={wanted}; there are {nearest(wanted, known)}."
    told = " and ".join(f"{key}={wanted}" for key, wanted in where.items())
    return f"No run has {told} together; leave one of them out."
