"""Says whether models grow better with the seasons that they learn from, by how far they are ahead of a baseline.

Seasons differ in how well they can be foretold by anybody, which the distance from a baseline that learns nothing takes
out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Fewer seasons are no curve.
LEAST = 6
_PARTS = 3


@dataclass(frozen=True, eq=False)
class Gain:
    """How far ahead a model was.

    Attributes:
        parts: Mean over the seasons of the first, the second and the last third, (3,).
        slope: What is gained with each season more, by least squares.
        error: Its standard error.
    """

    parts: NDArray[np.float64]
    slope: float
    error: float


def thirds(of_seasons: NDArray[Any]) -> list[NDArray[Any]]:
    """Divide what stands for rising seasons, (n_seasons,), into three parts as even as can be."""
    return np.array_split(of_seasons, _PARTS)


def gain(of_model: Mapping[int, float], of_baseline: Mapping[int, float], *, maximize: bool) -> Gain:
    """Tell how far a model is ahead of a baseline, from season to season.

    The slope is that of simple linear regression on the season, its error the usual one under independent seasons
    (Montgomery, Peck & Vining 2012, Introduction to Linear Regression Analysis, chapter 2).

    Args:
        of_model: A metric by season, `LEAST` of them or more; the model was fitted on what lay before each.
        of_baseline: The same metric of what learns nothing, of the same seasons.
        maximize: Whether more of it is better.

    Returns:
        Positive where the model is better; NaN where one of the two is undefined in a season.

    Raises:
        ValueError: There are fewer seasons.
    """
    seasons = np.array(sorted(of_model))
    if seasons.size < LEAST:
        raise ValueError(f"{seasons.size} seasons are no curve; it takes {LEAST}.")
    ahead = np.array([of_model[one] - of_baseline.get(one, np.nan) for one in seasons.tolist()])
    ahead = ahead if maximize else -ahead
    parts = np.array([part.mean() for part in thirds(ahead)])
    x = seasons - seasons.mean()
    slope = float((x * ahead).sum() / (x**2).sum())
    residual = ahead - ahead.mean() - slope * x
    error = float(np.sqrt((residual**2).sum() / (seasons.size - 2) / (x**2).sum()))
    return Gain(parts, slope, error)
