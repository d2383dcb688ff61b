"""The rule by which one of several scored trials is the best."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The metrics of a trial, and whether more is better.
_FINER = {
    **dict.fromkeys(("accuracy", "brier_resolution", "roi_kelly", "roi_flat", "log_growth", "log_growth_kelly"), True),
    **dict.fromkeys(("brier_reliability", "ace", "drawdown", "drawdown_kelly"), False),
}
HIGHER_IS_BETTER = {"auc": True, "roi": True, "brier": False, "log_loss": False, "ece": False, **_FINER}
# What one line about a trial leaves out; no model changes the uncertainty, so neither more nor less of it is better.
DETAILS = frozenset(_FINER) | {"brier_uncertainty"}
# All that a trial's metrics may be called, and some that each trial has.
OURS = frozenset(HIGHER_IS_BETTER) | DETAILS | {"n_bets", "n_games"}
ALWAYS = frozenset({"auc", "brier", "n_games"})
# What a trial has too whose model gives stakes and no probabilities.
OF_STAKES = ("roi", "log_growth", "drawdown", "n_bets", "n_games")
# The calibrations that a metric's name may begin with, as in platt/brier.
CALIBRATIONS = ("none", "platt", "isotonic")
# What may be made of several models together.
ENSEMBLES = ("average", "stacking", "best_of")
# A SQL store keeps an infinity as the largest number that it has.
LARGEST = 1.7976931348623157e308


class DirectionError(ValueError):
    """It is not known whether more or less of a metric is better."""


@dataclass(frozen=True)
class Objective:
    """A metric that decides, and which side of it is better."""

    metric: str
    maximize: bool

    @property
    def direction(self) -> str:
        """As it is written: maximize or minimize."""
        return "maximize" if self.maximize else "minimize"

    def loss(self, value: float) -> float:
        """The value with its sign such that less is better."""
        return -value if self.maximize else value


def objectives(
    metric: str | Sequence[str], direction: str | Sequence[str | None] | None = None
) -> tuple[Objective, ...]:
    """Say what decides, from a metric or several.

    Args:
        metric: One metric's name, or several.
        direction: maximize or minimize, one for each metric; None follows from the metric.

    Returns:
        One objective a metric, in their order.

    Raises:
        DirectionError: A direction that is not known, or another number of them than of metrics.

    Example:
        >>> [objective.direction for objective in objectives(["auc", "brier"])]
        ['maximize', 'minimize']
    """
    metrics = [metric] if isinstance(metric, str) else list(metric)
    if direction is None:
        directions: list[str | None] = [None] * len(metrics)
    else:
        directions = [direction] if isinstance(direction, str) else list(direction)
    if len(directions) != len(metrics):
        raise DirectionError(
            f"metric names {len(metrics)} ({', '.join(metrics)}), direction {len(directions)} "
            f"({', '.join(map(str, directions))}); give one direction for each metric, or none at all."
        )
    return tuple(Objective(name, maximize(name, side)) for name, side in zip(metrics, directions, strict=True))


@dataclass(frozen=True)
class Rule:
    """What a sweep chooses by."""

    objectives: tuple[Objective, ...]
    # Keys of overrides whose values are repeats of one configuration, such as its seeds.
    repeats: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that decide."""
        return tuple(objective.metric for objective in self.objectives)


def deciding(told: Mapping[str, Any], default: str = "auc") -> str | list[str]:
    """The name, or the names, of what a sweep chooses by.

    Args:
        told: Its record.
        default: The metric where the record says nothing of what decides.

    Returns:
        What the record names; where it has a direction alone, what numbers are called that a task
        returns without names.

    Example:
        >>> deciding({"direction": "minimize"}), deciding({"direction": ["minimize", "maximize"]}), deciding({})
        ('value', ['value.0', 'value.1'], 'auc')
    """
    if told.get("metric"):
        return told["metric"] if isinstance(told["metric"], str) else list(told["metric"])
    sides = told.get("direction")
    if not sides:
        return default
    return "value" if isinstance(sides, str) else [f"value.{place}" for place in range(len(sides))]


def rule(record: Mapping[str, Any] | None, metric: str = "auc") -> Rule:
    """Read from a sweep's record what it chooses by.

    Args:
        record: The record; None for a sweep that has none.
        metric: The metric that decides where the record names none.

    Returns:
        The rule.

    Raises:
        DirectionError: It is not known whether more of a metric is better.
    """
    told = record or {}
    return Rule(objectives(deciding(told, metric), told.get("direction") or None), tuple(told.get("repeats") or ()))


def maximize(metric: str, direction: str | None = None) -> bool:
    """Tell whether the largest value of a metric is the best one.

    Args:
        metric: The metric's name; of one as in platt/brier, what stands behind the calibration's name decides.
        direction: maximize or minimize; None follows from the metric.

    Returns:
        True where more is better.

    Raises:
        DirectionError: Another direction, or none for a metric that is not one of ours.
    """
    if direction is None:
        if (known := HIGHER_IS_BETTER.get(metric.rpartition("/")[2])) is not None:
            return known
        near = difflib.get_close_matches(metric, HIGHER_IS_BETTER, n=len(HIGHER_IS_BETTER), cutoff=0.4)
        names = ", ".join([*near, *(name for name in HIGHER_IS_BETTER if name not in near)])
        raise DirectionError(
            f"Whether more or less {metric!r} is better is not known. Metrics of a trial, nearest match first: "
            f"{names}. For another, say the direction, maximize or minimize."
        )
    if direction not in ("maximize", "minimize"):
        near = difflib.get_close_matches(direction, ["maximize", "minimize"], n=1, cutoff=0.3) or ["maximize"]
        raise DirectionError(f"direction={direction!r} is not known; did you mean {near[0]!r}? (maximize or minimize)")
    return direction == "maximize"


def finite(value: float) -> bool:
    """Whether a value may win: NaN and infinities never do."""
    return math.isfinite(value) and abs(value) < LARGEST
