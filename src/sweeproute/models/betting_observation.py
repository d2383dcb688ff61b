"""What a bettor sees of a game before it begins: its features, and what the odds say."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeproute.betting import implied_probability, overround

# What the odds say: the implied probability of a home win, the overround, the decimal odds of both sides.
MARKET = 4
# Deviations from the mean beyond which a value is cut: one wild feature is not to drive a network alone.
LIMIT = 5.0


@dataclass(frozen=True, eq=False)
class Scale:
    """Mean and deviation of each value of an observation, by which it has mean 0 and deviation 1.

    Attributes:
        mean: (n_features + 4,) float64.
        deviation: (n_features + 4,) float64, 1 where a value never changes.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float64], odds: NDArray[np.float64]) -> "Scale":
        """That of training games, by what is known of them.

        Args:
            features: (n_games, n_features), NaN where nothing is known.
            odds: Decimal odds of home and away, (n_games, 2), NaN where absent.
        """
        values = _values(features, odds)
        known = ~np.isnan(values)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, values, 0.0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / count)
        return cls(mean, np.where(spread > 0, spread, 1.0))


def observe(features: NDArray[np.float64], odds: NDArray[np.float64], scale: Scale) -> NDArray[np.float32]:
    """What a bettor sees of games; of each what is known before it begins, and nothing of any other.

    Args:
        features: (n_games, n_features), NaN where nothing is known.
        odds: Decimal odds of home and away, (n_games, 2), NaN where absent.
        scale: That of the training games.

    Returns:
        (n_games, n_features + 4) float32 within `LIMIT`, what is not known at the mean.
    """
    seen = np.nan_to_num((_values(features, odds) - scale.mean) / scale.deviation, nan=0.0)
    return np.clip(seen, -LIMIT, LIMIT).astype(np.float32)


def _values(features: NDArray[np.float64], odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([features, implied_probability(odds), overround(odds), odds])
