"""Areas under ROC curves of several models on the same games, with their covariance, game by game or week by week."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeproute.significance.errors import SignificanceError
from sweeproute.significance.pairs import Pairs, standardised
from sweeproute.significance.weeks import Weeks


@dataclass(frozen=True, eq=False)
class Areas:
    """Areas under ROC curves, how they vary together, and how they differ.

    Attributes:
        auc: Areas, (n_models,); NaN where all games ended the same way.
        covariance: Their covariance, (n_models, n_models); NaN unless two games, or two weeks, have either outcome.
        low: Lower end of each area's interval, (n_models,).
        high: Upper end of each area's interval, (n_models,).
        pairs: Differences between areas, and the tests that two are the same.
    """

    auc: NDArray[np.float64]
    covariance: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    pairs: Pairs


def areas(
    outcome: NDArray[np.integer],
    probability: NDArray[np.floating],
    weeks: Weeks | None = None,
    level: float = 0.95,
) -> Areas:
    """Areas under ROC curves with the covariance of DeLong, DeLong and Clarke-Pearson [1]_.

    An area is the chance that a won game was given a higher probability than a lost one, ties counting half. A won
    game's component is the share of lost games that are below it, and the other way round; the covariance of areas is
    that of the components over their number. The shares come from midranks, in O(n log n) for n games [2]_.

    That takes games for independent. With weeks, those of one week may depend on each other in any way: components are
    added up by week, and products of those of won games with those of lost ones join the covariance [3]_. With one game
    a week, both are the same.

    The interval is the normal one, cut off at 0 and 1. The test of a pair compares the difference with the normal
    distribution; models that order all games in the same way have a difference of 0 and p = 1. Where both areas are
    free of error, as those of a constant and of a perfect model are, p is 0.

    Args:
        outcome: 1 when the home side won, else 0, (n_games,).
        probability: Probability of a home win, (n_models, n_games); any score that orders games will do.
        weeks: The games' weeks, whose resamples are not used; None where games are independent.
        level: Share of intervals that should contain the true area, in (0, 1).

    Returns:
        Areas, covariance, intervals and tests.

    Raises:
        SignificanceError: Shapes do not fit, an outcome is neither 0 nor 1, or a probability is missing.

    References:
        .. [1] DeLong, E. R., DeLong, D. M. and Clarke-Pearson, D. L. (1988). Comparing the areas under two or more
           correlated receiver operating characteristic curves: a nonparametric approach. Biometrics 44, 837-845.
        .. [2] Sun, X. and Xu, W. (2014). Fast implementation of DeLong's algorithm for comparing the areas under
           correlated receiver operating characteristic curves. IEEE Signal Processing Letters 21, 1389-1393.
        .. [3] Obuchowski, N. A. (1997). Nonparametric analysis of clustered ROC curve data. Biometrics 53, 567-578.

    Example:
        >>> found = areas(np.array([0, 0, 1, 1]), np.array([[0.1, 0.6, 0.4, 0.8], [0.2, 0.2, 0.2, 0.9]]))
        >>> found.auc.tolist(), found.covariance.tolist()
        ([0.75, 0.75], [[0.125, 0.0625], [0.0625, 0.0625]])
    """
    from scipy.special import ndtr, ndtri

    checked(outcome, probability)
    if not 0 < level < 1:
        raise SignificanceError(f"level={level} is no share of intervals; use one between 0 and 1, such as 0.95.")
    if weeks is not None and len(weeks.index) != len(outcome):
        raise SignificanceError(f"There are weeks of {len(weeks.index)} games and outcomes of {len(outcome)}.")
    won = outcome == 1
    n_models, n_won, n_lost = len(probability), int(won.sum()), int((~won).sum())
    if n_won == 0 or n_lost == 0:
        nothing, no_pair = np.full(n_models, np.nan), np.full((n_models, n_models), np.nan)
        return Areas(nothing, no_pair, nothing, nothing, Pairs(no_pair, no_pair, no_pair))

    auc = np.empty(n_models)
    share = np.empty(probability.shape)  # of lost games below each won one, and of won games above each lost one
    for model, row in enumerate(probability):
        rank = _midranks(row)
        # Sums of midranks are exact, so that areas are equal where they should be.
        auc[model] = (rank[won].sum() - n_won * (n_won + 1) / 2) / (n_won * n_lost)
        share[model, won] = (rank[won] - _midranks(row[won])) / n_lost
        share[model, ~won] = 1 - (rank[~won] - _midranks(row[~won])) / n_won
    share -= auc[:, None]
    group = np.arange(len(outcome)) if weeks is None else weeks.index
    of_won, of_lost = (_sums(share * side / side.sum(), group) for side in (won, ~won))  # (n_models, n_groups)

    # NaN of one unit alone.
    units = [len(np.unique(group[side])) for side in (won, ~won, won | ~won)]
    for_won, for_lost, for_both = (n / (n - 1) if n > 1 else np.nan for n in units)
    both = for_both * of_won @ of_lost.T
    covariance = for_won * of_won @ of_won.T + for_lost * of_lost @ of_lost.T + both + both.T
    # Straight from the differences of components: taken from the covariance, what is small would be lost to rounding.
    variance = np.empty((n_models, n_models))
    for model in range(n_models):
        more_won, more_lost = of_won[model] - of_won, of_lost[model] - of_lost
        squares = for_won * more_won**2 + for_lost * more_lost**2 + 2 * for_both * more_won * more_lost
        variance[model] = squares.sum(axis=1)
    with np.errstate(invalid="ignore"):
        # With weeks of few games it can be negative, and nothing is known of the error.
        error, own_error = np.sqrt(variance), np.sqrt(np.diagonal(covariance))
    difference = np.subtract.outer(auc, auc)
    p_value = 2 * ndtr(-np.abs(standardised(difference, error)))
    half = -ndtri((1 - level) / 2) * own_error
    low, high = np.maximum(auc - half, 0.0), np.minimum(auc + half, 1.0)
    return Areas(auc, covariance, low, high, Pairs(difference, error, p_value))


def checked(outcome: NDArray[np.integer], probability: NDArray[np.floating]) -> None:
    """Refuse outcomes and probabilities that do not belong together.

    Raises:
        SignificanceError: Shapes do not fit, an outcome is neither 0 nor 1, or a probability is missing.
    """
    if probability.ndim != 2 or outcome.shape != probability.shape[1:]:
        raise SignificanceError(
            f"Outcomes have shape {outcome.shape} and probabilities {probability.shape}; they must be (n_games,) and "
            "(n_models, n_games), of the same games in the same order."
        )
    strange = ~np.isin(outcome, (0, 1))
    if strange.any():
        raise SignificanceError(f"An outcome is {outcome[strange][0]}; it must be 1 for a home win, else 0.")
    absent = np.isnan(probability).any(axis=1)
    if absent.any():
        raise SignificanceError(
            f"Model {int(np.flatnonzero(absent)[0])} has no probability for a game; compare models on the games that "
            "all of them predict."
        )


def _midranks(value: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks from 1, those of equal values being their mean, (n,)."""
    _, group, count = np.unique(value, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[group])


def _sums(value: NDArray[np.float64], group: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sums of each row over the games of each group, (n_models, n_groups)."""
    n_groups = group.max() + 1
    return np.array([np.bincount(group, weights=row, minlength=n_groups) for row in value]).reshape(-1, n_groups)
