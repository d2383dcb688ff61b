"""Reads out of what a task returned the numbers that steer a search."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import ListConfig

from ._errors import SettingsError, SweepError, nearest_first
from ._pruning import OF_STEP

DIRECTIONS = ("maximize", "minimize")
# Of the metrics whose better side is plain; for any other a person says it, or it stays open.
_DIRECTIONS = dict.fromkeys(
    ("auc", "roi", "roi_kelly", "roi_flat", "accuracy", "brier_resolution", "log_growth", "log_growth_kelly"),
    "maximize",
) | dict.fromkeys(
    (
        "brier",
        "brier_reliability",
        "log_loss",
        "ece",
        "ace",
        "drawdown",
        "drawdown_kelly",
        "loss",
        "error",
        "rmse",
        "mae",
    ),
    "minimize",
)


@dataclass(frozen=True)
class Objective:
    """What a sweep is after.

    Attributes:
        metrics: Names in the mapping that a task returns; none where it returns the number itself.
        directions: maximize or minimize of each, or of the number; none where it is not known.
    """

    metrics: tuple[str, ...]
    directions: tuple[str, ...]

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return len(self.directions) > 1

    @property
    def metric(self) -> str | list[str] | None:
        """As a sweep's record has it."""
        return list(self.metrics) if self.several else self.metrics[0] if self.metrics else None

    @property
    def direction(self) -> str | list[str] | None:
        """As a sweep's record has it."""
        return list(self.directions) if self.several else self.directions[0] if self.directions else None

    def pruned(self, returned: JobReturn) -> bool:
        """Whether a job ended early, since the rest of it was not needed."""
        if returned.status != JobStatus.COMPLETED:
            return False
        value = _value(returned)
        return isinstance(value, Mapping) and value.get("status") == "pruned"

    def on_the_way(self, metrics: Mapping[str, float], *, alone: bool = False) -> float | None:
        """What a running job says of the only objective.

        Args:
            metrics: What it has reported after a step.
            alone: Whether that step by itself is asked for, where it reports that too, rather than all steps so far.

        Returns:
            The number; None where it says nothing of it, or it is not finite.
        """
        name = self.metrics[0] if self.metrics else "value"
        value = metrics.get(name, metrics.get("value"))
        if alone:
            value = metrics.get(f"{OF_STEP}{name}", value)
        return float(value) if value is not None and math.isfinite(value) else None

    def values(self, returned: JobReturn) -> tuple[float, ...] | None:
        """The numbers of one job.

        Args:
            returned: How it ended.

        Returns:
            One for each direction; None where it failed or was pruned, or where one of them is not finite.

        Raises:
            SweepError: The task returned something else.
        """
        if returned.status != JobStatus.COMPLETED or self.pruned(returned):
            return None
        value = _value(returned)
        if self.metrics and isinstance(value, Mapping):
            missing = [name for name in self.metrics if name not in value]
            if missing:
                raise SweepError(
                    f"hydra.sweeper.metric is {missing[0]!r}, and the task returned none. It returned, nearest match "
                    f"first: {nearest_first(missing[0], value)}. Start again with one of these."
                )
        found = self._picked(value)
        if len(found) != len(self.directions) or None in map(_number, found):
            wanted = f"{len(self.directions)} numbers" if self.several else "a number"
            way = "hydra.sweeper.metric names one in a mapping." if isinstance(value, Mapping) else ""
            raise SweepError(f"A search is steered by {wanted}; the task returned {_short(value)}. {way}".rstrip())
        return self.numbers(value)

    def numbers(self, value: Any) -> tuple[float, ...] | None:
        """The numbers in what a task has returned; None where they are not all there, or not finite."""
        found = [_number(one) for one in self._picked(value)]
        numbers = tuple(one for one in found if one is not None)
        if len(numbers) != len(self.directions) or len(found) != len(numbers):
            return None
        return numbers if all(map(math.isfinite, numbers)) else None

    def _picked(self, value: Any) -> list[Any]:
        if self.metrics and isinstance(value, Mapping):
            return [value.get(name) for name in self.metrics]
        return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def objective(metric: Any, direction: Any, *, searched: bool) -> Objective:
    """Read what a sweep is after from its settings.

    Args:
        metric: A name, several, or None.
        direction: maximize or minimize, one for each metric, or None where it follows from the metric.
        searched: Whether a search is steered by it, so that the direction has to be known.

    Raises:
        SettingsError: A direction that is none, is missing, or is one of a number that differs from the metrics'.
    """
    metrics, directions = _listed(metric), _listed(direction)
    for one in directions:
        if one not in DIRECTIONS:
            allowed = nearest_first(one, DIRECTIONS)
            raise SettingsError(f"hydra.sweeper.direction is {one!r}. Allowed: {allowed}.")
    if not directions:
        # As in platt/brier: what stands last says what it is.
        known = [_DIRECTIONS.get(name.rpartition("/")[2], "") for name in metrics]
        if all(known):
            directions = known
    if len(set(metrics)) < len(metrics):
        raise SettingsError(f"hydra.sweeper.metric names one twice: {', '.join(metrics)}.")
    if metrics and directions and len(directions) != len(metrics):
        raise SettingsError(
            f"hydra.sweeper.direction has {len(directions)} and hydra.sweeper.metric {len(metrics)}: "
            "each metric has one direction, in the same order."
        )
    if searched and not directions:
        unknown = [name for name in metrics if name.rpartition("/")[2] not in _DIRECTIONS]
        named = f" {', '.join(unknown)}" if unknown else ""
        near = f" It is of {nearest_first(unknown[0], _DIRECTIONS)}." if unknown else ""
        raise SettingsError(
            f"Whether more or less{named} is better is not known.{near} "
            f"Say hydra.sweeper.direction={'[' * (len(metrics) > 1)}maximize or minimize"
            f"{', one for each metric]' if len(metrics) > 1 else ''}."
        )
    return Objective(tuple(metrics), tuple(directions))


def _listed(setting: Any) -> list[str]:
    if setting is None:
        return []
    return [str(one) for one in setting] if isinstance(setting, (list, tuple, ListConfig)) else [str(setting)]


def _value(returned: JobReturn) -> Any:
    try:
        return returned.return_value
    except TypeError as error:  # it did not fit into JSON
        raise SweepError(f"A search is steered by what the task returns. {error}") from error


def _number(value: Any) -> float | None:
    """A number, or an array or tensor that holds one alone; None for anything else."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    return float(value.item()) if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else None


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a mapping of {nearest_first('', value)}"
    return f"{value!r:.80}"
