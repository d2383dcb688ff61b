"""Games grouped by the week in which they were played, and resamples of whole weeks.

Games of one week are no independent observations: all are predicted from what was known at its start, by models that
were fitted to the same past, and what is unusual about a week bears on all of them. So the week is the unit that is
resampled, and that a variance is taken over.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sweeproute.significance.errors import SignificanceError


@dataclass(frozen=True, eq=False)
class Weeks:
    """The week of each game, and how often each week is drawn in each resample.

    Made once for a table and given to all that is computed for it, so that its numbers rest on the same resamples.

    Attributes:
        index: Number of each game's week, (n_games,), from 0 to n_weeks - 1.
        counts: How often each week is in each resample, (n_resamples, n_weeks) float64.
    """

    index: NDArray[np.intp]
    counts: NDArray[np.float64]

    @property
    def n_weeks(self) -> int:
        """Number of weeks."""
        return self.counts.shape[1]

    @property
    def n_resamples(self) -> int:
        """Number of resamples."""
        return self.counts.shape[0]

    def sums(self, value: NDArray[Any]) -> NDArray[np.float64]:
        """Sums over the games of each week, (n_rows, n_weeks), of (n_rows, n_games); NaN counts as nothing.

        Raises:
            SignificanceError: The values are not of as many games as the weeks.
        """
        if value.ndim != 2 or value.shape[1] != len(self.index):
            raise SignificanceError(
                f"Values have shape {value.shape}; they must be (n_models, n_games) with the {len(self.index)} games "
                "whose weeks are known."
            )
        filled = np.nan_to_num(value.astype(np.float64), nan=0.0)
        return np.array([np.bincount(self.index, weights=row, minlength=self.n_weeks) for row in filled]).reshape(
            len(value), self.n_weeks
        )

    def resampled(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Totals of each resample, (n_rows, n_resamples), of (n_rows, n_weeks).

        Equal rows are taken once, and each by itself. So they have equal totals, and neither the order of rows nor what
        other rows there are matters, to the last bit, which one product over all rows would not promise.
        """
        # Zero is added to make the negative zero positive.
        distinct, which = np.unique(sums + 0.0, axis=0, return_inverse=True)
        totals = np.array([self.counts @ row for row in distinct]).reshape(len(distinct), self.n_resamples)
        return totals[which.ravel()]


def weeks_of(label: ArrayLike, n_resamples: int = 2000, seed: int = 0) -> Weeks:
    """Group games by week and draw resamples: as many weeks as there are, with replacement.

    Whole weeks are drawn because resampling games would take them for independent (Davison and Hinkley, 1997, section
    3.8; Field and Welsh, 2007).

    Args:
        label: The week of each game, (n_games,): any values that sort, such as 202301 for the first week of 2023. Weeks
            of different seasons need different labels. Labels of seasons give a test that allows for dependence
            throughout a season, at the price of few units.
        n_resamples: Number of resamples, at least 1.
        seed: Seed of the draws; the same seed gives the same bits.

    Returns:
        The groups and the resamples.

    Raises:
        SignificanceError: A label is missing, labels are not one-dimensional, or there is no resample.

    References:
        .. [1] Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. Cambridge University
           Press.
        .. [2] Field, C. A. and Welsh, A. H. (2007). Bootstrapping clustered data. Journal of the Royal Statistical
           Society B 69, 369-390.

    Example:
        >>> weeks = weeks_of(["2023-1", "2023-1", "2023-2"], n_resamples=5)
        >>> weeks.index.tolist(), weeks.counts.sum(axis=1).tolist()
        ([0, 0, 1], [2.0, 2.0, 2.0, 2.0, 2.0])
    """
    labels = np.asarray(label)
    if labels.ndim != 1:
        raise SignificanceError(f"Labels of weeks have shape {labels.shape}; give one label a game, (n_games,).")
    missing = np.array([one is None or one != one for one in labels.tolist()], dtype=bool)
    if missing.any():
        raise SignificanceError(
            f"{int(missing.sum())} of {len(labels)} games have no week; label each game, by its date where weeks are "
            "not known."
        )
    if n_resamples < 1:
        raise SignificanceError(f"n_resamples={n_resamples} draws nothing; use 1 or more, such as 2000.")
    distinct, index = np.unique(labels, return_inverse=True)
    counts = np.zeros((n_resamples, len(distinct)))
    if len(distinct):
        drawn = np.random.default_rng(seed).integers(len(distinct), size=(n_resamples, len(distinct)))
        row = np.arange(n_resamples)[:, None] * len(distinct)
        counts = np.bincount((drawn + row).ravel(), minlength=counts.size).reshape(counts.shape).astype(np.float64)
    return Weeks(index, counts)
