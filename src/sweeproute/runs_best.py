"""Finds what a sweep chose among its runs in the tracking store."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweeproute.choice import Scored, choose
from sweeproute.configuration import TAG, Estimate, estimates, split, told_rule
from sweeproute.journal import SYSTEM
from sweeproute.runs_query import DATA_TAG, SEASONS_TAG, Answer, FoundRun, Question, Runs, Trial, answer
from sweeproute.runs_where import RegistryError, identify, locate, nearest, open_runs
from sweeproute.score_text import lacking
from sweeproute.selection import Rule, deciding, finite, objectives
from sweeproute.store import masked


@dataclass(frozen=True)
class Repeats:
    """The finished repeats of one configuration."""

    # The overrides' keys whose values tell them apart, such as the seed.
    keys: tuple[str, ...]
    # How many were compared, and how many a configuration of the sweep is to have.
    n: int
    of: int
    run_ids: tuple[str, ...]
    # Their numbers in the sweep, and what each of them sets beside the configuration's overrides.
    jobs: tuple[int | None, ...]
    overrides: tuple[tuple[str, ...], ...]
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True)
class ChosenRun:
    """A run that was chosen, or the first of the repeats that were."""

    run_id: str
    # Its number in its sweep; None for a trial that ran alone.
    job: int | None
    sweep: str | None
    # Means, over repeats.
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    # The overrides that reproduce it, as they were requested; of repeats what they share.
    overrides: tuple[str, ...]
    platform: str | None
    device: str | None
    experiment: str
    artifact_uri: str
    # None where the sweep repeats nothing.
    repeats: Repeats | None


@dataclass(frozen=True)
class BestRun(ChosenRun):
    """The best run by one metric, and how it was chosen."""

    metric: str
    # The mean, over repeats.
    value: float
    # maximize or minimize.
    direction: str
    # Runs that could not win, since their value is not finite.
    not_finite: int
    # What makes the comparison doubtful, in sentences.
    warnings: tuple[str, ...]
    # How the store was asked.
    how: str


@dataclass(frozen=True)
class Front:
    """What no other run beats in one of several metrics without losing in another, and how it was chosen."""

    metrics: tuple[str, ...]
    # maximize or minimize, one a metric.
    directions: tuple[str, ...]
    # The best in the first metric first.
    front: tuple[ChosenRun, ...]
    # The position of the one where the front bulges most; see sweeproute.pareto.
    knee: int
    # Runs, or configurations that were repeated, that were compared.
    compared: int
    not_finite: int
    warnings: tuple[str, ...]
    how: str


def best(
    sweep: str | None = None,
    metric: str = "auc",
    direction: str | None = None,
    experiment: str | None = None,
    uri: str | None = None,
    where: Mapping[str, str] | None = None,
    mixed: bool = False,
) -> BestRun:
    """Find the best of the finished runs that count, or the configuration whose repeats are the best on average.

    Args:
        sweep: A sweep's id, its name, or `last` for the newest that was started on this machine; None for all, whose
            repeats are then compared one by one.
        metric: The metric's name.
        direction: maximize or minimize; follows from the metric when None (auc, roi up; brier, log_loss, ece down).
        experiment: An experiment's name; None for all.
        uri: The tracking store; where the sweep's runs went, else MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
        where: Values that a run's parameters, or its tags without `sweeproute.`, have to have; of a hash its beginning.
        mixed: Whether runs of different data, or tested on different seasons, are compared all the same.

    Returns:
        The run. Of equals the earlier trial wins; a value that is not finite never does, and is counted.

    Raises:
        RegistryError: No such store, experiment or metric, no run that could win, or runs that do not compare.
        sweeproute.pointers.NoSuchSweepError: No such sweep.
        sweeproute.selection.DirectionError: It is not known whether more of the metric is better.
    """
    found = chosen(sweep, metric, direction, experiment, uri, where, mixed)
    assert isinstance(found, BestRun)
    return found


def chosen(
    sweep: str | None = None,
    metric: str | None = None,
    direction: str | None = None,
    experiment: str | None = None,
    uri: str | None = None,
    where: Mapping[str, str] | None = None,
    mixed: bool = False,
) -> BestRun | Front:
    """Find what a sweep chose by its own rule: the best by its metric, or the front of its several metrics.

    Args:
        sweep: See `best`.
        metric: One metric's name; the sweep's own, or auc, when None.
        direction: See `best`; None follows from what the sweep says of the metric first.
        experiment: See `best`.
        uri: See `best`.
        where: See `best`.
        mixed: See `best`.

    Returns:
        The best run, or the front where several metrics decide.

    Raises:
        RegistryError: See `best`.
        sweeproute.pointers.NoSuchSweepError: See `best`.
        sweeproute.selection.DirectionError: See `best`.
    """
    if metric is not None and direction is not None:
        objectives(metric, direction)
    pointer, uri = locate(sweep, uri)
    runs = open_runs(uri)
    identifier = pointer.id if pointer is not None else None
    if sweep is not None and identifier is None:
        identifier = identify(sweep, runs)
    if experiment is not None and experiment not in (known := runs.experiments()):
        raise RegistryError(
            f"There is no experiment {experiment!r} in {masked(uri)}; there are {nearest(experiment, known)}."
        )
    rule = rule_of(told_rule(runs.sweep_tags(identifier)) if identifier is not None else {}, metric, direction)
    kinds = tuple((where or {}).items())
    question = Question(rule.metrics[0], rule.objectives[0].maximize, identifier, experiment, kinds)
    if question.metric.startswith(SYSTEM):
        raise RegistryError(
            f"{question.metric} is of the machine that a trial ran on, and says nothing of its model. Metrics, nearest "
            f"match first: {nearest(question.metric.removeprefix(SYSTEM), runs.metric_names(question))}."
        )
    if len(rule.objectives) > 1:
        return _compared(question, rule, runs, uri, mixed)
    found = runs.best(question)
    if found.run is not None and rule.repeats and TAG in found.run.tags:
        return _compared(question, rule, runs, uri, mixed)
    return _single(found, question, rule, runs, uri, mixed)


def rule_of(told: Mapping[str, Any], metric: str | None, direction: str | None) -> Rule:
    """What decides: what is asked for, before what the sweep says.

    Args:
        told: What the sweep says, as `configuration.told_rule` gives it.
        metric: One metric's name; what the sweep says when None.
        direction: maximize or minimize; None follows from what the sweep says of the metric, else from the metric.

    Raises:
        sweeproute.selection.DirectionError: It is not known whether more of a metric is better.
    """
    named, sides = deciding(told), told.get("direction")
    if metric is not None:
        names = [named] if isinstance(named, str) else list(named)
        own = [sides] * len(names) if isinstance(sides, str) or sides is None else sides
        named, sides = metric, dict(zip(names, own, strict=True)).get(metric)
    return Rule(objectives(named, direction or sides), tuple(told.get("repeats") or ()))


def _single(answer: Answer, question: Question, rule: Rule, runs: Runs, uri: str, mixed: bool) -> BestRun:
    """The best run by one metric, each run for itself."""
    if answer.run is None:
        raise RegistryError(_why_none(question, rule, answer.not_finite, runs, uri))
    if not mixed:
        _refuse_mixed(answer, answer.run)
    warnings = _warnings(answer)
    configuration, owner = answer.run.tags.get(TAG), answer.run.tags.get("sweeproute.sweep")
    if configuration is not None:
        trials = runs.trials(replace(question, sweep=owner), ())
        if sum(trial.tags.get(TAG) == configuration for trial in trials) > 1:
            warnings = (
                *warnings,
                "The run is one of several repeats of its configuration, and may be the luckiest; "
                f"`sweeproute best --sweep {owner}` compares their means.",
            )
    return BestRun(
        **_facts([answer.run], replace(rule, repeats=()), 1),
        metric=question.metric,
        value=answer.run.metrics[question.metric],
        direction=rule.objectives[0].direction,
        not_finite=answer.not_finite,
        warnings=warnings,
        how=runs.how,
    )


def _compared(question: Question, rule: Rule, runs: Runs, uri: str, mixed: bool) -> BestRun | Front:
    """What is chosen among the trials of one sweep together."""
    trials = runs.trials(question, rule.metrics)
    choice = choose([_scored(trial, rule) for trial in trials], rule)
    if choice.winner is None:
        raise RegistryError(_why_none(question, rule, choice.not_finite, runs, uri))
    rule = choice.rule
    points = []
    for point in choice.front:
        points.append(_facts([runs.run(trial.run_id) for trial in point.repeats], rule, choice.repeats))
    first = runs.run(choice.winner.repeats[0].run_id)
    able = [
        trial.tags
        for trial in trials
        if trial.finished and all(finite(trial.metrics.get(metric, math.nan)) for metric in rule.metrics)
    ]
    among = answer(first, choice.not_finite, able)
    if not mixed:
        _refuse_mixed(among, first)
    warnings = _warnings(among)
    if said := lacking(choice):
        warnings = (said, *warnings)
    if len(rule.objectives) == 1:
        return BestRun(
            **points[0],
            metric=question.metric,
            value=choice.winner.estimates[question.metric].mean,
            direction=rule.objectives[0].direction,
            not_finite=choice.not_finite,
            warnings=warnings,
            how=runs.how,
        )
    return Front(
        metrics=rule.metrics,
        directions=tuple(objective.direction for objective in rule.objectives),
        front=tuple(ChosenRun(**point) for point in points),
        knee=choice.knee,
        compared=choice.compared,
        not_finite=choice.not_finite,
        warnings=warnings,
        how=runs.how,
    )


def _scored(trial: Trial, rule: Rule) -> Scored[Trial]:
    _, repeat = split(_overrides(trial.tags), rule.repeats)
    return Scored(trial, trial.finished, trial.tags.get(TAG, trial.run_id), repeat, trial.metrics)


def _facts(found: Sequence[FoundRun], rule: Rule, of: int) -> dict[str, Any]:
    """What is said of a chosen run, or of the repeats that were chosen together."""
    first = found[0]
    kept, _ = split(_overrides(first.tags), rule.repeats)
    together = None
    metrics, params = first.metrics, first.params
    if rule.repeats:
        scored = estimates([run.metrics for run in found])
        metrics = {name: estimate.mean for name, estimate in scored.items()}
        params = {name: value for name, value in params.items() if name not in rule.repeats}
        together = Repeats(
            keys=rule.repeats,
            n=len(found),
            of=of,
            run_ids=tuple(run.run_id for run in found),
            jobs=tuple(_job(run.tags) for run in found),
            overrides=tuple(split(_overrides(run.tags), rule.repeats)[1] for run in found),
            metrics=scored,
        )
    return {
        "run_id": first.run_id,
        "job": _job(first.tags),
        "sweep": first.tags.get("sweeproute.sweep"),
        "metrics": metrics,
        "params": params,
        "overrides": kept,
        "platform": _shared(found, "sweeproute.platform"),
        "device": _shared(found, "sweeproute.device"),
        "experiment": first.experiment,
        "artifact_uri": first.artifact_uri,
        "repeats": together,
    }


def _overrides(tags: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(json.loads(tags.get("sweeproute.overrides", "[]")))


def _job(tags: Mapping[str, str]) -> int | None:
    trial = tags.get("sweeproute.trial", "")
    return int(trial) if trial.isdecimal() else None


def _shared(found: Sequence[FoundRun], tag: str) -> str | None:
    """The values of a tag, each once."""
    return ", ".join(dict.fromkeys(run.tags[tag] for run in found if tag in run.tags)) or None


def _why_none(question: Question, rule: Rule, not_finite: int, runs: Runs, uri: str) -> str:
    among = f"sweep {question.sweep}" if question.sweep is not None else question.experiment or masked(uri)
    states = runs.states(question)
    if not states and question.where:
        told = " and ".join(f"{key}={wanted}" for key, wanted in question.where)
        return f"No trial of {among} has {told}; `sweeproute.registry.frame` shows what its runs are told apart by."
    if not states:
        cure = f"; `sweeproute sync {question.sweep}` writes what is not tracked yet" if question.sweep else ""
        return f"No trial of {among} is in {masked(uri)}{cure}."
    names = runs.metric_names(question)
    for metric in rule.metrics:
        if metric not in names:
            logged = nearest(metric, names) if names else "none yet"
            return f"No run of {among} has a metric {metric!r}; logged are {logged}."
    counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    unable = f", {not_finite} finished with a value that is not finite" if not_finite else ""
    return f"No run of {among} can be the best by {' and '.join(rule.metrics)}: {counted}{unable}."


def _refuse_mixed(answer: Answer, best: FoundRun) -> None:
    """Refuse a best run whose rivals had other games: it may only have had the easier ones.

    Raises:
        RegistryError: In a sentence.
    """
    told = (
        ("made from different data, of other games", DATA_TAG, answer.other_games, 12),
        ("tested on different seasons", SEASONS_TAG, answer.other_seasons, None),
    )
    for how, tag, other, length in told:
        if other is not None:
            own, theirs, key = best.tags.get(tag, "")[:length], other[:length], tag.removeprefix("sweeproute.")
            raise RegistryError(
                f"The runs were {how} ({own or 'not recorded'} and {theirs}), so that their scores do not compare. "
                f"Ask for those of one kind, --where {key}={own or theirs}, or compare them all the same: --mixed."
            )


def _warnings(answer: Answer) -> tuple[str, ...]:
    said = []
    if answer.not_finite:
        said.append(f"{answer.not_finite} runs have a value that is not finite, and cannot win.")
    if answer.other_data is not None:
        and_so = "do not compare" if answer.other_games is not None else "are of the same games"
        said.append(f"The runs were made from different data; their scores {and_so}.")
    if answer.other_seasons is not None:
        said.append("The runs were tested on different seasons; their scores do not compare.")
    if answer.other_device is not None and answer.run is not None:
        own = answer.run.tags.get(answer.run.device_tag, "not recorded")
        said.append(
            f"The runs were made on different classes of device ({_difference(own, answer.other_device)}); their last "
            "digits do not compare."
        )
    return tuple(said)


def _difference(own: str, other: str) -> str:
    """Where two classes of device differ, part by part."""
    mine, theirs = re.split("[;,]", own), re.split("[;,]", other)
    if len(mine) != len(theirs):
        return f"{own}; {other}"
    return ", ".join(f"{a} and {b}" for a, b in zip(mine, theirs, strict=True) if a != b)
