"""Areas under ROC curves of several models on the same games, with their covariance, by DeLong's method."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeproute.significance.errors import SignificanceError
from sweeproute.significance.pairs import Pairs, standardised


@dataclass(frozen=True, eq=False)
class Areas:
    """Areas under ROC curves, how they vary together, and how they differ.

    Attributes:
        auc: Areas, (n_models,); NaN where all games ended the same way.
        covariance: Their covariance, (n_models, n_models); NaN unless there are two games of either outcome.
        low: Lower end of each area's interval, (n_models,).
        high: Upper end of each area's interval, (n_models,).
        pairs: Differences between areas, and the tests that two are the same.
    """

    auc: NDArray[np.float64]
    covariance: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    pairs: Pairs


def areas(outcome: NDArray[np.integer], probability: NDArray[np.floating], level: float = 0.95) -> Areas:
    """Areas under ROC curves with the covariance of DeLong, DeLong and Clarke-Pearson [1]_.

    An area is the chance that a won game was given a higher probability than a lost one, ties counting half. A won
    game's component is the share of lost games that are below it, and the other way round; the covariance of areas is
    that of the components over their number. The shares come from midranks, in O(n log n) for n games [2]_.

    The interval is the normal one, cut off at 0 and 1. The test of a pair compares the difference with the normal
    distribution; models that order all games in the same way have a difference of 0 and p = 1. Where both areas are
    free of error, as those of a constant and of a perfect model are, p is 0.

    The games count as independent here. Where those of a week are not, `paired_test` of a loss does not need that.

    Args:
        outcome: 1 when the home side won, else 0, (n_games,).
        probability: Probability of a home win, (n_models, n_games); any score that orders games will do.
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

    Example:
        >>> found = areas(np.array([0, 0, 1, 1]), np.array([[0.1, 0.6, 0.4, 0.8], [0.2, 0.2, 0.2, 0.9]]))
        >>> found.auc.tolist(), found.covariance.tolist()
        ([0.75, 0.75], [[0.125, 0.0625], [0.0625, 0.0625]])
    """
    from scipy.special import ndtr, ndtri

    checked(outcome, probability)
    if not 0 < level < 1:
        raise SignificanceError(f"level={level} is no share of intervals; use one between 0 and 1, such as 0.95.")
    won = outcome == 1
    n_models, n_won, n_lost = len(probability), int(won.sum()), int((~won).sum())
    if n_won == 0 or n_lost == 0:
        nothing, no_pair = np.full(n_models, np.nan), np.full((n_models, n_models), np.nan)
        return Areas(nothing, no_pair, nothing, nothing, Pairs(no_pair, no_pair, no_pair))

    of_won = np.empty((n_models, n_won))  # share of lost games below each won one
    of_lost = np.empty((n_models, n_lost))  # share of won games above each lost one
    auc = np.empty(n_models)
    for model, row in enumerate(probability):
        rank = _midranks(row)
        # Sums of midranks are exact, so that areas are equal where they should be.
        auc[model] = (rank[won].sum() - n_won * (n_won + 1) / 2) / (n_won * n_lost)
        of_won[model] = (rank[won] - _midranks(row[won])) / n_lost
        of_lost[model] = 1 - (rank[~won] - _midranks(row[~won])) / n_won
    covariance = _covariance(of_won) + _covariance(of_lost)

    # Straight from the differences of components: taken from the covariance, what is small would be lost to rounding.
    variance = np.stack([_variance(of_won - own) for own in of_won]) + np.stack(
        [_variance(of_lost - own) for own in of_lost]
    )
    difference = np.subtract.outer(auc, auc)
    error = np.sqrt(variance)
    p_value = 2 * ndtr(-np.abs(standardised(difference, error)))
    half = -ndtri((1 - level) / 2) * np.sqrt(np.diagonal(covariance))
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


def _variance(component: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of the mean of each row, (n_models,); NaN of one game alone."""
    n_games = component.shape[1]
    if n_games < 2:
        return np.full(len(component), np.nan)
    return np.asarray(component.var(axis=1, ddof=1) / n_games)


def _covariance(component: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of the means of rows, (n_models, n_models); NaN of one game alone."""
    n_models, n_games = component.shape
    if n_games < 2:
        return np.full((n_models, n_models), np.nan)
    centred = component - component.mean(axis=1, keepdims=True)
    return np.asarray(centred @ centred.T / ((n_games - 1) * n_games))
