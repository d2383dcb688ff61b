"""Puts the best configuration of each model and calibration of a sweep side by side, from the tracking store alone."""

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from sweeproute import importance
from sweeproute.baselines import Baseline, baselines
from sweeproute.betting import BettingRule
from sweeproute.calibration import METHODS
from sweeproute.choice import Choice, Scored, choose
from sweeproute.comparable import FOLDS, check_data, check_games, check_sizes
from sweeproute.configuration import TAG, Estimate, estimates, split
from sweeproute.ensemble import MEMBERS_OF_TAG
from sweeproute.runs_best import rule_of
from sweeproute.runs_where import RegistryError, nearest
from sweeproute.selection import Rule, finite
from sweeproute.sweep_runs import HOLDOUT, FinishedRun, SweepRuns, by_season

_PREDICTIONS = "predictions.parquet"
# Bytes that a table of predictions may take.
_ROOM = 1 << 20
# What a job on the holdout sets beside the overrides of the one that was chosen.
_OF_SCORING = ("calibration", "calibration.methods", "validation.scoring")


@dataclass(frozen=True, eq=False)
class Row:
    """The best configuration of a model under a calibration."""

    model: str
    calibration: str
    # Its finished repeats, or the one run.
    runs: tuple[FinishedRun, ...]
    # What reproduces it, without what tells its repeats apart.
    overrides: tuple[str, ...]
    # What tells it from other configurations; calibrations of one fit, and its scoring on the holdout, have the same.
    configuration: frozenset[str]
    # Means over repeats.
    metrics: Mapping[str, Estimate]
    seasons: Mapping[int, Mapping[str, Estimate]]
    # The predictions of each repeat, of the same games in the same order; see `registry.predictions`.
    games: tuple[pd.DataFrame, ...]
    # By season and feature, means over repeats, with the columns of `importance.COLUMNS`; None where none were found.
    importances: pd.DataFrame | None = None

    @property
    def seeds(self) -> tuple[str, ...]:
        """The seeds of its repeats."""
        return tuple(dict.fromkeys(run.tags.get("sweeproute.seed", run.params.get("seed", "")) for run in self.runs))

    @property
    def device_classes(self) -> tuple[str, ...]:
        """On what its repeats were made, each class once."""
        return tuple(dict.fromkeys(run.device_class for run in self.runs))

    @property
    def folds(self) -> dict[str, str]:
        """Which seasons train, calibrate and test."""
        return {name: value for name, value in self.runs[0].params.items() if name.startswith(FOLDS)}

    @property
    def gives_stakes(self) -> bool:
        """Whether it bets by itself and has no probabilities."""
        return bool(self.games[0]["probability"].isna().all())

    @property
    def scoring(self) -> int:
        """Which look at the holdout its score is, 1 for the first; 0 where it has none."""
        return max(_scoring(run) for run in self.runs)


@dataclass(frozen=True, eq=False)
class SetOfSeasons:
    """What was found on the same games: rows that may stand in one table."""

    # selection or holdout.
    name: str
    rows: tuple[Row, ...]
    rule: Rule
    # The games of the seasons that were tested before it: on the holdout those of the selection. None where none were.
    before: pd.DataFrame | None = None

    @property
    def games(self) -> pd.DataFrame:
        """The tested games; of the columns that differ between rows, those of the first."""
        return self.rows[0].games[0]

    @property
    def leaning(self) -> dict[str, pd.DataFrame]:
        """By model the features on which it leans, of those of which that is known."""
        return {row.model: row.importances for row in self.shuffled if row.importances is not None}

    @property
    def shuffled(self) -> tuple[Row, ...]:
        """Of each model of which it is known on which features it leans a row; calibrations share their fit."""
        found: dict[str, Row] = {}
        for row in self.rows:
            if row.importances is not None:
                found.setdefault(row.model, row)
        return tuple(found.values())

    @property
    def shuffles(self) -> tuple[int, ...]:
        """How many times features were shuffled to know it: one number, unless models differ."""
        told = {run.tags.get(importance.TAG, "") for row in self.shuffled for run in row.runs}
        return tuple(sorted(int(one) for one in told if one.isdecimal()))

    @property
    def data_hash(self) -> str:
        """The hash of the data that all of its rows were made from."""
        return self.rows[0].runs[0].data_hash

    @property
    def betting(self) -> BettingRule:
        """The betting rule of the first row."""
        told = self.rows[0].runs[0].params
        names = ("min_edge", "stake", "kelly_fraction")
        return BettingRule(**{name: float(told[f"betting.{name}"]) for name in names if f"betting.{name}" in told})

    @cached_property
    def baselines(self) -> tuple[Baseline, ...]:
        """What needs no model, on the same games."""
        return baselines(self.games, self.betting, self.before)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A sweep's best, model by model and calibration by calibration."""

    sweep: SweepRuns
    # What decided among the configurations of a row: metrics without the name of a calibration.
    rule: Rule
    # selection, then holdout where there is one.
    sets: tuple[SetOfSeasons, ...]


def compare(sweep: SweepRuns, metric: str | None = None, direction: str | None = None) -> Comparison:
    """Choose a configuration for each model and calibration, and read what came of it.

    A row is chosen among the runs of its model that have its calibration, by their own scores, with the rule of the
    sweep: `best` chooses among trials in the same way. Of several metrics the knee of the front is taken; of a model
    that lacks what decides, as stakes lack a Brier score, the first configuration while others have it. On the
    holdout nothing is chosen: the row is what was scored there.

    Args:
        sweep: The sweep's runs.
        metric: What decides; the sweep's own metrics when None.
        direction: maximize or minimize; None follows from the metric.

    Returns:
        Rows in the order in which models come up in the sweep, each with its calibrations from none on.

    Raises:
        sweeproute.comparable.ComparisonError: Runs were made from different data, or tested on different games.
        RegistryError: No run has the metric, or one has no predictions.
        sweeproute.selection.DirectionError: It is not known whether more of the metric is better.
    """
    check_data(sweep.runs)
    rule = _rule(sweep, metric, direction)
    sets: list[SetOfSeasons] = []
    for name in dict.fromkeys(run.set for run in sweep.runs):
        groups: dict[tuple[str, str], list[FinishedRun]] = {}
        check_sizes([run for run in sweep.runs if run.set == name])
        for run in sweep.runs:
            if run.set == name:
                groups.setdefault((run.model, run.calibration), []).append(run)
        models = list(dict.fromkeys(model for model, _ in groups))
        methods = list(dict.fromkeys((*METHODS, *(calibration for _, calibration in groups))))
        order = sorted(groups, key=lambda group: (models.index(group[0]), methods.index(group[1])))
        if name == HOLDOUT:
            before = {(row.model, row.calibration): row for one in sets for row in one.rows}
            chosen = [_scored(groups[group], rule, before.get(group)) for group in order]
        else:
            groups = {group: _newest(runs, sweep.id) for group, runs in groups.items()}
            able = [group for group in order if _able(groups[group], rule)]
            chosen = [
                _unranked(groups[group], rule)
                if able and group not in able and _has(groups[group], rule)
                else _choose(groups[group], rule, sweep)
                for group in order
            ]
        found = _read(sweep, name, chosen, rule.repeats)
        sets.append(replace(found, before=sets[0].games) if sets else found)
    return Comparison(sweep, rule, tuple(sets))


def _rule(sweep: SweepRuns, metric: str | None, direction: str | None) -> Rule:
    """What decides among runs of one calibration: of platt/brier what stands behind the calibration's name."""
    told = rule_of(sweep.rule, metric, direction)
    return Rule(
        tuple(replace(one, metric=one.metric.rpartition("/")[2]) for one in told.objectives),
        told.repeats,
    )


def _newest(runs: list[FinishedRun], sweep: str) -> list[FinishedRun]:
    """Runs to choose among: of ensembles of the sweep's own models the last alone, as those before it are of what had
    won before the sweep went further."""
    return runs[-1:] if runs[-1].tags.get(MEMBERS_OF_TAG) == sweep else runs


def _choose(runs: Sequence[FinishedRun], rule: Rule, sweep: SweepRuns) -> tuple[tuple[FinishedRun, ...], Rule]:
    """The repeats that were chosen, and the rule with what is repeated."""
    scored = [
        Scored(
            run,
            True,
            run.tags.get(TAG, run.run_id),
            split(run.overrides, rule.repeats)[1],
            run.metrics,
        )
        for run in runs
    ]
    choice: Choice[FinishedRun] = choose(scored, rule)
    if choice.winner is None:
        names = sorted({name for run in runs for name in run.metrics})
        who = f"{runs[0].model} {runs[0].calibration}"
        for name in rule.metrics:
            if name not in names:
                raise RegistryError(f"No run of {who} has a metric {name!r}; logged are {nearest(name, names)}.")
        raise RegistryError(
            f"No run of {who} in sweep {sweep.id} has a finite {' and '.join(rule.metrics)}; "
            "choose by another metric: --metric brier."
        )
    return choice.winner.repeats, choice.rule


def _has(runs: Sequence[FinishedRun], rule: Rule) -> bool:
    return all(any(name in run.metrics for run in runs) for name in rule.metrics)


def _able(runs: Sequence[FinishedRun], rule: Rule) -> bool:
    """Whether one of them may win."""
    return any(all(finite(run.metrics.get(name, math.nan)) for name in rule.metrics) for run in runs)


def _unranked(runs: Sequence[FinishedRun], rule: Rule) -> tuple[tuple[FinishedRun, ...], Rule]:
    """The first configuration of a model that has not what decides: one without a bet, or without probabilities."""
    first = _configuration(runs[0].overrides, rule.repeats)
    group: dict[tuple[str, ...], FinishedRun] = {}
    for run in runs:
        if _configuration(run.overrides, rule.repeats) == first:
            group.setdefault(split(run.overrides, rule.repeats)[1], run)
    return tuple(group.values()), rule if len(group) > 1 else replace(rule, repeats=())


def _scored(runs: Sequence[FinishedRun], rule: Rule, chosen: Row | None) -> tuple[tuple[FinishedRun, ...], Rule]:
    """What was scored on the holdout, the last time that it was; never what scored best.

    Of several configurations it is the one that was chosen, else that of the latest job.
    """
    last = max(_scoring(run) for run in runs)
    groups: dict[frozenset[str], dict[tuple[str, ...], FinishedRun]] = {}
    for run in runs:
        if _scoring(run) == last:
            _, repeat = split(run.overrides, rule.repeats)
            groups.setdefault(_configuration(run.overrides, rule.repeats), {}).setdefault(repeat, run)
    group = list(groups.values())[-1]
    if chosen is not None:
        group = groups.get(chosen.configuration, group)
    return tuple(group.values()), rule if len(group) > 1 else replace(rule, repeats=())


def _scoring(run: FinishedRun) -> int:
    number = run.tags.get("sweeproute.scoring", "")
    return int(number) if number.isdecimal() else int(run.set == HOLDOUT)


def _configuration(overrides: Sequence[str], repeated: Sequence[str]) -> frozenset[str]:
    kept, _ = split(overrides, (*repeated, *_OF_SCORING))
    return frozenset(kept)


def _read(
    sweep: SweepRuns, name: str, chosen: Sequence[tuple[tuple[FinishedRun, ...], Rule]], repeated: Sequence[str]
) -> SetOfSeasons:
    runs = [run for repeats, _ in chosen for run in repeats]
    seasons = by_season(sweep, runs)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        games = {run.run_id: _predictions(sweep, run, Path(folder)) for run in runs}
        found_by = {run.run_id: _importances(sweep, run, Path(folder)) for run in runs}
    check_games(runs, games)
    for repeats, rule in chosen:
        found = [seasons[run.run_id] for run in repeats]
        rows.append(
            Row(
                model=repeats[0].model,
                calibration=repeats[0].calibration,
                runs=repeats,
                overrides=split(repeats[0].overrides, rule.repeats)[0],
                configuration=_configuration(repeats[0].overrides, repeated),
                metrics=estimates([run.metrics for run in repeats]),
                seasons={one: estimates([told.get(one, {}) for told in found]) for one in sorted(found[0])},
                games=tuple(games[run.run_id] for run in repeats),
                importances=_mean([found_by[run.run_id] for run in repeats]),
            )
        )
    return SetOfSeasons(name, tuple(rows), chosen[0][1])


def _predictions(sweep: SweepRuns, run: FinishedRun, folder: Path) -> pd.DataFrame:
    from mlflow.exceptions import MlflowException

    into = folder / run.run_id
    into.mkdir()
    try:
        return pd.read_parquet(sweep.client.download_artifacts(run.run_id, _PREDICTIONS, str(into)))
    except (MlflowException, OSError):
        # MLflow does not say that this was why.
        if shutil.disk_usage(folder).free < _ROOM:
            raise RegistryError(f"There is no room in {folder.parent}; free some, or say TMPDIR=DIR.") from None
        raise RegistryError(
            f"The run {run.run_id} ({run.model} {run.calibration}) has no {_PREDICTIONS} in the store; "
            f"`sweeproute sync {sweep.id}` writes it if the sweep's folder has it."
        ) from None


def _importances(sweep: SweepRuns, run: FinishedRun, folder: Path) -> pd.DataFrame | None:
    if importance.TAG not in run.tags:
        return None
    from mlflow.exceptions import MlflowException

    try:
        return pd.read_csv(sweep.client.download_artifacts(run.run_id, importance.FILE, str(folder / run.run_id)))
    except (MlflowException, OSError):
        return None  # deleted since, and worth no more than that they are missing


def _mean(found: Sequence[pd.DataFrame | None]) -> pd.DataFrame | None:
    there = [one for one in found if one is not None]
    if not there:
        return None
    return pd.concat(there).groupby(["season", "feature"], sort=False, as_index=False).mean()
