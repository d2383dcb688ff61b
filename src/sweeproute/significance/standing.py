"""Which models a table shows as best: one alone where it is significantly so, else all that tie with it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeproute.significance.confidence_set import ConfidenceSet
from sweeproute.significance.errors import SignificanceError


@dataclass(frozen=True, eq=False)
class Standing:
    """Who is best, and who ties with it.

    Attributes:
        best: Models with the best value, (n_models,); several where values are equal.
        tied: Models that are not significantly worse than the best, it included, (n_models,); none that has no value.
    """

    best: NDArray[np.bool_]
    tied: NDArray[np.bool_]

    @property
    def bold(self) -> NDArray[np.bool_]:
        """The model that is significantly better than all others, (n_models,); none where there is a tie."""
        return self.tied & (np.count_nonzero(self.tied) == 1)


def standing_of_pairs(
    value: NDArray[np.floating], adjusted: NDArray[np.floating], higher_is_better: bool, alpha: float = 0.05
) -> Standing:
    """Standing by tests of pairs.

    Args:
        value: The figure that is compared, (n_models,); NaN where a model has none.
        adjusted: p-values of pairs that allow for their number, (n_models, n_models), from `holm_pairs`. A pair without
            a test, NaN, is a tie: nothing says that one is worse.
        higher_is_better: Whether the best value is the highest.
        alpha: A model with at most this p-value against the best is worse; if several are best, against each of them.

    Returns:
        The standing. Without a value there is none to be best, nor tied.

    Raises:
        SignificanceError: Shapes do not fit.

    Example:
        >>> p = np.array([[1.0, 0.2, 0.01], [0.2, 1.0, 0.03], [0.01, 0.03, 1.0]])
        >>> standing = standing_of_pairs(np.array([0.71, 0.70, 0.62]), p, higher_is_better=True)
        >>> standing.tied.tolist(), standing.bold.tolist()
        ([True, True, False], [False, False, False])
    """
    if adjusted.shape != (len(value), len(value)):
        raise SignificanceError(
            f"p-values of pairs have shape {adjusted.shape}; for {len(value)} models they must be "
            f"{(len(value), len(value))}."
        )
    there = ~np.isnan(value)
    if not there.any():
        return Standing(there, there)
    best = value == (np.nanmax(value) if higher_is_better else np.nanmin(value))
    worse = (adjusted[:, best] <= alpha).all(axis=1)
    return Standing(best, best | (there & ~worse))


def standing_of_set(found: ConfidenceSet, alpha: float = 0.05) -> Standing:
    """Standing by a model confidence set: its members tie.

    Args:
        found: Losses and p-values.
        alpha: The set contains the best with confidence 1 - alpha.

    Returns:
        The standing. With too few weeks for a test, all tie.
    """
    there = ~np.isnan(found.mean_loss)
    if not there.any():
        return Standing(there, there)
    best = found.mean_loss == np.nanmin(found.mean_loss)
    return Standing(best, best | (there & ~(found.p_value <= alpha)))
