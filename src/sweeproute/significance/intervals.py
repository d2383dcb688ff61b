"""Intervals of a model's own figures, by resampling weeks.

There is none of the expected calibration error. Resampling adds noise to each bin, whose distance cannot be negative,
so the error grows: of a calibrated model, no resample reaches its true error of 0, nor does an interval.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeproute.significance.differences import ratio, ratio_sums
from sweeproute.significance.errors import SignificanceError
from sweeproute.significance.weeks import Weeks


@dataclass(frozen=True, eq=False)
class Intervals:
    """Figures with their intervals.

    Attributes:
        estimate: The figure on all games, (n_models,); NaN where it is undefined.
        low: Lower end, (n_models,); NaN where there is no interval.
        high: Upper end, (n_models,); NaN where there is no interval.
        dropped: Resamples in which the figure is undefined, which are left out, (n_models,).
    """

    estimate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    dropped: NDArray[np.intp]


def mean_intervals(value: NDArray[np.floating], weeks: Weeks, level: float = 0.95) -> Intervals:
    """Means over games with their intervals; see `ratio_intervals`.

    Args:
        value: What is averaged, (n_models, n_games), such as a loss; NaN where there is nothing.
        weeks: The games' weeks and the resamples.
        level: Share of intervals that should contain the true mean, in (0, 1).
    """
    return ratio_intervals(value, None, weeks, level)


def roi_intervals(
    profit: NDArray[np.floating], stake: NDArray[np.floating], weeks: Weeks, level: float = 0.95
) -> Intervals:
    """Returns on investment, profit over stake, with their intervals; see `ratio_intervals`.

    Args:
        profit: Profit of each bet, (n_models, n_games); NaN where there is no bet.
        stake: Stake of each bet in the same unit, (n_models, n_games); NaN where there is no bet.
        weeks: The games' weeks and the resamples.
        level: Share of intervals that should contain the true return, in (0, 1).

    Example:
        >>> from sweeproute.significance.weeks import weeks_of
        >>> profit, stake = np.array([[0.9, np.nan, -1.0, 0.9]]), np.array([[1.0, np.nan, 1.0, 1.0]])
        >>> found = roi_intervals(profit, stake, weeks_of([1, 1, 2, 3]))
        >>> found.estimate.round(3).tolist(), found.low.tolist(), found.high.tolist()
        ([0.267], [-1.0], [0.9])
    """
    return ratio_intervals(profit, stake, weeks, level)


def ratio_intervals(
    numerator: NDArray[np.floating], denominator: NDArray[np.floating] | None, weeks: Weeks, level: float = 0.95
) -> Intervals:
    """Ratios of sums with their intervals, from resamples of whole weeks.

    The ends are quantiles of the resamples' ratios, chosen by the bias-corrected and accelerated method, which allows
    for the skewness of a ratio and is right to second order where plain percentiles are to first [1]_ [2]_; the
    acceleration comes from leaving out each week in turn.

    Args:
        numerator: What is added up, (n_models, n_games); NaN where there is nothing.
        denominator: What its sum is divided by, (n_models, n_games); NaN where there is nothing. None counts the games
            that have a numerator.
        weeks: The games' weeks and the resamples.
        level: Share of intervals that should contain the true ratio, in (0, 1).

    Returns:
        Ratios and intervals. Both are NaN where nothing was staked; the ends are where stakes lie in one week alone, of
        which nothing can be learnt about another.

    Raises:
        SignificanceError: Shapes do not fit, or the level is not in (0, 1).

    References:
        .. [1] Efron, B. (1987). Better bootstrap confidence intervals. Journal of the American Statistical Association
           82, 171-185.
        .. [2] DiCiccio, T. J. and Efron, B. (1996). Bootstrap confidence intervals. Statistical Science 11, 189-228.
    """
    if not 0 < level < 1:
        raise SignificanceError(f"level={level} is no share of intervals; use one between 0 and 1, such as 0.95.")
    over, under = ratio_sums(numerator, denominator, weeks)
    all_over, all_under = over.sum(axis=1, keepdims=True), under.sum(axis=1, keepdims=True)
    estimate = ratio(all_over, all_under)[:, 0]
    drawn = ratio(weeks.resampled(over), weeks.resampled(under))  # (n_models, n_resamples)
    staked = under != 0
    low, high = np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    for model in np.flatnonzero(staked.sum(axis=1) >= 2):
        # A week without a stake says nothing, and leaving it out changes nothing.
        without = ratio(all_over[model] - over[model], all_under[model] - under[model])
        low[model], high[model] = _ends(estimate[model], drawn[model], without, level)
    return Intervals(estimate, low, high, np.isnan(drawn).sum(axis=1))


def _ends(
    estimate: float, drawn: NDArray[np.float64], without: NDArray[np.float64], level: float
) -> tuple[float, float]:
    """Ends of the bias-corrected and accelerated interval.

    Args:
        estimate: The figure on all games.
        drawn: The figure of each resample, (n_resamples,); NaN where undefined.
        without: The figure without each week, (n_weeks,); NaN where undefined.
        level: Share of intervals that should contain the truth.
    """
    from scipy.special import ndtr, ndtri

    drawn, without = drawn[~np.isnan(drawn)], without[~np.isnan(without)]
    # What differs from the estimate by rounding alone is neither below nor above it.
    same = np.isclose(drawn, estimate, rtol=1e-12, atol=1e-15)
    below = np.count_nonzero((drawn < estimate) & ~same) + np.count_nonzero(same) / 2
    if below in (0, len(drawn)):
        # All resamples lie on one side of the estimate: whatever they are quantiles of, it is not what was seen.
        return float("nan"), float("nan")
    bias = ndtri(below / len(drawn))
    away = without.mean() - without
    spread = (away**2).sum() ** 1.5
    acceleration = (away**3).sum() / (6 * spread) if spread else 0.0
    normal = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(drawn, ndtr(bias + normal / (1 - acceleration * normal)))
    return float(low), float(high)
