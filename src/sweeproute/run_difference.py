"""Finds the first thing in which two results of one trial differ: a metric at a step, or what is said of a game."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeproute.selection import LARGEST

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

# Metrics that are measured by a clock, and what MLflow measures of the machine.
_BY_CLOCK, _OF_MACHINE = ("fit_s", "predict_s"), "system/"
# What tells the rows of predictions apart.
_GAME = "game_id"


@dataclass(frozen=True)
class Results:
    """What a trial has come to under one calibration."""

    # By name and step.
    metrics: Mapping[str, Mapping[int, float]]
    # One row a game; None where there are none.
    predictions: "pd.DataFrame | None"

    @property
    def compared(self) -> dict[tuple[int, str], float]:
        """The metrics that are the same whenever and wherever a trial runs, by step and name."""
        return {
            # A SQL store keeps an infinity as the largest number that it has.
            (step, name): math.copysign(math.inf, value) if abs(value) >= LARGEST else value
            for name, values in self.metrics.items()
            if name not in _BY_CLOCK and not name.startswith(_OF_MACHINE)
            for step, value in values.items()
        }


def first_difference(before: Results, after: Results, tolerance: float = 0.0) -> str | None:
    """Compare two results, metrics first.

    Args:
        before: As they are on record.
        after: As they came out again.
        tolerance: By how much numbers may differ, absolutely; 0 for not at all. NaN equals NaN.

    Returns:
        What differs first, as a clause: of the metrics in the order of steps and names, of the predictions in the order
        of games and columns. None where nothing differs.
    """
    return _of_metrics(before.compared, after.compared, tolerance) or _of_predictions(
        before.predictions, after.predictions, tolerance
    )


def largest_difference(before: Results, after: Results) -> float:
    """The largest absolute difference of numbers in two results that have the same metrics, games and columns."""
    one, other = before.compared, after.compared
    apart = [abs(one[key] - other[key]) for key in one if _differ(one[key], other[key], 0.0)]
    if before.predictions is not None and after.predictions is not None:
        first, second = _by_game(before.predictions), _by_game(after.predictions)
        for column in first.columns:
            now = second[column].loc[first.index]
            if _are_numbers(first[column], now):
                differs = _differing(first[column], now, 0.0)
                apart += abs(_numbers(first[column])[differs] - _numbers(now)[differs]).tolist()
    return max(apart, default=0.0)


def _of_metrics(
    before: Mapping[tuple[int, str], float], after: Mapping[tuple[int, str], float], tolerance: float
) -> str | None:
    for key in sorted(before.keys() | after.keys()):
        step, name = key
        if key not in after:
            return f"metric {name} at step {step} is {before[key]!r} on record, and was not made again"
        if key not in before:
            return f"metric {name} at step {step} is not on record, and came out as {after[key]!r}"
        if _differ(before[key], after[key], tolerance):
            return f"metric {name} at step {step} is {before[key]!r} on record, and came out as {after[key]!r}"
    return None


def _differ(one: float, other: float, tolerance: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) != math.isnan(other)
    return one != other and not abs(one - other) <= tolerance


def _of_predictions(before: "pd.DataFrame | None", after: "pd.DataFrame | None", tolerance: float) -> str | None:
    if before is None or after is None:
        there = "on record, and were not made again" if after is None else "not on record, and were made again"
        return None if before is after else f"predictions are {there}"
    for table, where in ((before, "those on record"), (after, "those that came out")):
        if _GAME not in table.columns:
            return f"predictions have no column {_GAME} in {where}"
        if table[_GAME].duplicated().any():
            return f"game {table[_GAME][table[_GAME].duplicated()].iloc[0]} is there twice in {where}"
    first, second = _by_game(before), _by_game(after)
    for one, other, where in ((first, second, "was not predicted again"), (second, first, "is not on record")):
        for place, what in ((one.index.difference(other.index), "game"), (one.columns, "column")):
            missing = [name for name in place if what == "game" or name not in other.columns]
            if missing:
                return f"{what} {missing[0]} of the predictions {where}"
    return _first_cell(first, second.loc[first.index], tolerance)


def _first_cell(before: "pd.DataFrame", after: "pd.DataFrame", tolerance: float) -> str | None:
    """The first cell that differs in two tables of the same games, in the same order, and the same columns."""
    found: tuple[int, str] | None = None
    for column in before.columns:
        differs = _differing(before[column], after[column], tolerance)
        if differs.any() and (found is None or int(differs.argmax()) < found[0]):
            found = int(differs.argmax()), str(column)
    if found is None:
        return None
    row, column = found
    one, other = before[column].iloc[row], after[column].iloc[row]
    return f"game {before.index[row]}, {column} is {_said(one)} on record, and came out as {_said(other)}"


def _differing(one: "pd.Series", other: "pd.Series", tolerance: float) -> "NDArray[np.bool_]":
    import numpy as np

    if _are_numbers(one, other):
        x, y = _numbers(one), _numbers(other)
        with np.errstate(invalid="ignore"):  # of an infinity and itself
            return ~((x == y) | (np.isnan(x) & np.isnan(y)) | (np.abs(x - y) <= tolerance))
    cells = zip(one.astype(object), other.astype(object), one.isna(), other.isna(), strict=True)
    return np.array([gone != missing or (not gone and value != now) for value, now, gone, missing in cells], dtype=bool)


def _are_numbers(one: "pd.Series", other: "pd.Series") -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return all(is_numeric_dtype(values) and not is_bool_dtype(values) for values in (one, other))


def _numbers(values: "pd.Series") -> "NDArray[np.float64]":
    import numpy as np

    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _by_game(table: "pd.DataFrame") -> "pd.DataFrame":
    return table.set_index(_GAME)


def _said(value: Any) -> str:
    """A cell, with all of its digits."""
    import numpy as np

    return (
        repr(value.item()) if isinstance(value, np.generic) else repr(value) if isinstance(value, float) else str(value)
    )
