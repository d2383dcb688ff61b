"""Reads the trials of a sweep for its plots, from the sweep's own records alone."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeproute import history
from sweeproute.configuration import estimate, split
from sweeproute.selection import Objective, Rule, deciding, finite, objectives, rule
from sweeproute.sweep_folder import Outcome, SweepFolder, own, sweep_record

Value = float | str

# A parameter of more texts than this tells trials apart rather than settings.
_MOST_CHOICES = 20
# A parameter whose largest value is not this many times its smallest was not searched on a log scale.
_DECADES = 100.0
# States that a trial comes out of only in a later session.
_UNENDED = ("RUNNING", "QUEUED", "KILLED")


class PlotError(ValueError):
    """There is nothing to draw, and a person can do something about it."""


@dataclass(frozen=True)
class Parameter:
    """What varies between the trials."""

    # Its dotted key, and the shortest end of that which no other parameter has.
    key: str
    label: str
    # The texts that it takes, in their order; None where all are numbers.
    choices: tuple[str, ...] | None
    # Whether it was searched on a log scale; whether its numbers are whole.
    log: bool
    whole: bool


@dataclass(frozen=True)
class Trial:
    """A configuration with what came out of it, the repeats of it averaged."""

    # Counts from 0, in the order in which the trials were begun.
    number: int
    # By the label of a parameter; what does not exist in this trial is absent.
    params: Mapping[str, Value]
    # FINISHED, PRUNED or FAILED.
    state: str
    # One an objective: the mean over the finished repeats, and its standard error; no values unless it is FINISHED.
    values: tuple[float, ...]
    errors: tuple[float | None, ...]
    # Whether it has finished as many repeats as any trial has: only such a one can be the best.
    whole: bool
    # What it reported of the first objective: step to value.
    reports: Mapping[int, float]


@dataclass(frozen=True)
class Trials:
    """The trials of one sweep."""

    objectives: tuple[Objective, ...]
    parameters: tuple[Parameter, ...]
    trials: tuple[Trial, ...]
    # What tells these from others of the same sweep, as in "xgboost"; empty for all of them.
    family: str = ""

    @property
    def finished(self) -> list[Trial]:
        """Those with values."""
        return [trial for trial in self.trials if trial.values]

    def families(self) -> list["Trials"]:
        """Split by what decides which parameters a trial has, such as its model; one alone where nothing does.

        Returns:
            The families in the order of their first trials, each with the parameters that vary in it.
        """
        candidates = [one.label for one in self.parameters if one.choices is not None and "." not in one.key]
        names: list[str] = []
        while candidates and (lacking := self._lacking(names)):
            best = min(candidates, key=lambda name: self._lacking([*names, name]))
            # Whatever splits the trials leaves a little less by chance.
            if self._lacking([*names, best]) > lacking / 2:
                break
            names.append(best)
            candidates.remove(best)
        parts = self._parts(names)
        if len(parts) < 2:
            return [self]
        return [replace(_varying(self, trials), family=" ".join(values)) for values, trials in parts.items()]

    def _parts(self, names: Sequence[str]) -> dict[tuple[str, ...], list[Trial]]:
        parts: dict[tuple[str, ...], list[Trial]] = {}
        for trial in self.trials:
            parts.setdefault(tuple(str(trial.params.get(name, "none")) for name in names), []).append(trial)
        return parts

    def _lacking(self, names: Sequence[str]) -> int:
        """How many parameters the trials lack that others of their part have, where these names split them."""
        return sum(
            len(trials) * len({name for one in trials for name in one.params}) - sum(len(one.params) for one in trials)
            for trials in self._parts(names).values()
        )


def read(
    root: Path, metric: str | Sequence[str] | None = None, direction: str | None = None, default: str = "auc"
) -> Trials:
    """Read the trials of a sweep.

    Args:
        root: The folder of the sweep.
        metric: What takes the place of the metrics that the sweep chose by.
        direction: maximize or minimize, where that does not follow from the metric or the sweep's record.
        default: The metric of a sweep whose record names none.

    Returns:
        The trials that have ended.

    Raises:
        PlotError: No finished job has the metric.
        sweeproute.selection.DirectionError: It is not known whether more of a metric is better.
    """
    record = sweep_record(root)
    decides = rule(record, default) if metric is None else _asked(record, metric, direction)
    outcomes = [one for one in SweepFolder(root).outcomes() if one.state not in _UNENDED and not one.follow_up]
    groups: dict[frozenset[str], list[Outcome]] = {}
    for position, outcome in enumerate(outcomes):
        kept, _ = split(outcome.overrides, decides.repeats)
        # Without repeats the same configuration twice is two trials.
        configuration = frozenset(kept) if decides.repeats else frozenset([str(position)])
        groups.setdefault(configuration, []).append(outcome)
    trials = [_trial(number, group, decides) for number, group in enumerate(groups.values())]
    if not any(trial.values for trial in trials):
        _refuse(outcomes, decides)
    most = max(len(_able(group, decides)) for group in groups.values())
    trials = [
        replace(trial, whole=len(_able(group, decides)) == most)
        for trial, group in zip(trials, groups.values(), strict=True)
    ]
    return _named(Trials(decides.objectives, (), tuple(trials)), _scales(root))


def _asked(record: Mapping[str, Any] | None, metric: str | Sequence[str], direction: str | None) -> Rule:
    told = dict(record or {})
    names = [metric] if isinstance(metric, str) else list(metric)
    decides = deciding(told)
    known = [decides] if isinstance(decides, str) else decides
    sides = [told["direction"]] if isinstance(told.get("direction"), str) else list(told.get("direction") or ())
    side_of = dict(zip(known, sides, strict=False))
    found = objectives(names, [direction or side_of.get(name) for name in names])
    return Rule(found, tuple(told.get("repeats") or ()))


def _able(group: Sequence[Outcome], decides: Rule) -> list[Outcome]:
    """The repeats that count: finished, with a finite value of each metric."""
    return [
        outcome
        for outcome in group
        if outcome.state == "FINISHED"
        and all(name in outcome.metrics and finite(outcome.metrics[name]) for name in decides.metrics)
    ]


def _trial(number: int, group: Sequence[Outcome], decides: Rule) -> Trial:
    able = _able(group, decides)
    told = [estimate([outcome.metrics[name] for outcome in able]) for name in decides.metrics] if able else []
    state = "FINISHED" if able else "PRUNED" if any(one.state == "PRUNED" for one in group) else "FAILED"
    kept, _ = split(group[0].overrides, decides.repeats)
    params: dict[str, Value] = dict(_parted(override) for override in kept)
    return Trial(
        number,
        params,
        state,
        tuple(one.mean for one in told),
        tuple(one.sem for one in told),
        True,
        _reports(group, decides.metrics[0]),
    )


def _parted(override: str) -> tuple[str, str]:
    key, _, text = override.partition("=")
    return key.lstrip("+~"), "(deleted)" if key.startswith("~") else text


def _reports(group: Sequence[Outcome], metric: str) -> dict[int, float]:
    """What the repeats reported of a metric, averaged by step; a step that was done twice counts as it was last."""
    steps: dict[int, list[float]] = {}
    for outcome in group:
        told: dict[int, float] = {}
        for line in history.lines(outcome.attempt.folder / "progress.jsonl"):
            try:
                step, value = int(line["step"]), float(line[metric] if metric in line else line["value"])
            except (KeyError, TypeError, ValueError):
                continue
            if finite(value):
                told[step] = value
        for step, value in told.items():
            steps.setdefault(step, []).append(value)
    return {step: sum(values) / len(values) for step, values in sorted(steps.items())}


def _refuse(outcomes: Sequence[Outcome], decides: Rule) -> None:
    # lazy import: it brings Hydra, and the tracker takes a name from here
    from sweeproute.errors import nearest_first

    names = {name for outcome in outcomes if outcome.state == "FINISHED" for name in outcome.metrics}
    missing = next((metric for metric in decides.metrics if metric not in names), None)
    if names and missing is not None:
        raise PlotError(f"No finished job has a metric {missing}; there are {nearest_first(missing, names)}.")
    raise PlotError(f"No job has finished with a finite {' and '.join(decides.metrics)} yet.")


def _scales(root: Path) -> dict[str, bool]:
    """Whether a study of the sweep searched a key on a log scale; nothing where there was none, or another storage."""
    found: dict[str, bool] = {}
    for line in history.lines(own(root, "study.log")):
        attributes = line.get("user_attr")
        space = attributes.get("space") if isinstance(attributes, dict) else None
        for dimension in (space or {}).get("dimensions", ()):
            if dimension.get("choices") is None:
                found[str(dimension.get("key", "")).lstrip("+")] = bool(dimension.get("log"))
    return found


def _named(trials: Trials, scales: Mapping[str, bool]) -> Trials:
    """Keep what varies, read as numbers where all are numbers, under the shortest names that tell them apart."""
    texts: dict[str, dict[str, None]] = {}
    for trial in trials.trials:
        for key, text in trial.params.items():
            texts.setdefault(key, {})[str(text)] = None
    numbers = {key: _numbers(values) for key, values in texts.items()}
    varying = [
        key
        for key, values in texts.items()
        if len(values) > 1 and (numbers[key] is not None or len(values) <= _MOST_CHOICES)
    ]
    labels = _labels(varying)
    parameters = []
    for key in varying:
        told = numbers[key]
        parameters.append(
            Parameter(
                key,
                labels[key],
                None if told is not None else _in_order(texts[key]),
                log=told is not None and min(told.values()) > 0 and scales.get(key, _spreads_on_log(told.values())),
                whole=told is not None and all(value.is_integer() for value in told.values()),
            )
        )
    return replace(
        trials,
        parameters=tuple(parameters),
        trials=tuple(
            replace(
                trial,
                params={
                    labels[key]: numbers[key][str(text)] if numbers[key] is not None else text  # type: ignore[index]
                    for key, text in trial.params.items()
                    if key in labels
                },
            )
            for trial in trials.trials
        ),
    )


def _varying(whole: Trials, trials: Sequence[Trial]) -> Trials:
    """Some of the trials, with the parameters that vary among them."""
    kept = []
    for parameter in whole.parameters:
        there = {trial.params[parameter.label] for trial in trials if parameter.label in trial.params}
        if len(there) > 1:
            choices = parameter.choices
            kept.append(replace(parameter, choices=choices and tuple(text for text in choices if text in there)))
    return replace(whole, parameters=tuple(kept), trials=tuple(trials))


def _numbers(texts: Iterable[str]) -> dict[str, float] | None:
    """Each text as a number; None where one is none."""
    found = {}
    for text in texts:
        try:
            found[text] = float(text)
        except ValueError:
            return None
        if not finite(found[text]):
            return None
    return found


def _spreads_on_log(values: Iterable[float]) -> bool:
    """Whether positive numbers are spread over decades: their median then lies nearer the middle of a log scale."""
    low, *_, high = ordered = sorted(values)
    if low <= 0 or high < _DECADES * low:
        return False
    middle = statistics.median(ordered)
    on_log = math.log(middle / low) / math.log(high / low)
    return abs(on_log - 0.5) < abs((middle - low) / (high - low) - 0.5)


def _in_order(texts: Iterable[str]) -> tuple[str, ...]:
    """Numbers by their size, then words as they stand in a dictionary."""
    read = {text: _numbers([text]) for text in texts}
    return tuple(sorted(read, key=lambda text: (read[text] is None, (read[text] or {}).get(text, 0.0), text)))


def _labels(keys: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in keys:
        parts = key.split(".")
        for length in range(1, len(parts) + 1):
            label = ".".join(parts[-length:])
            if not any(other != key and f".{other}".endswith(f".{label}") for other in keys):
                break
        found[key] = label
    return found


def shown(text: str, width: int = 16) -> str:
    """A text as it stands at an axis: without its quotes, cut where it is long.

    Example:
        >>> shown("'a b'"), shown("x" * 30)
        ('a b', 'xxxxxxxxxxxxxxx…')
    """
    plain = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    return plain if len(plain) <= width else f"{plain[: width - 1]}…"
