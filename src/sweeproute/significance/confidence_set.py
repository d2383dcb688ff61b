"""The model confidence set: the models among which the best one is, with a stated confidence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeproute.significance.differences import complete
from sweeproute.significance.pairs import standardised
from sweeproute.significance.weeks import Weeks


@dataclass(frozen=True, eq=False)
class ConfidenceSet:
    """Which models cannot be told from the best.

    Attributes:
        mean_loss: Mean loss over games, (n_models,).
        p_value: The set with confidence 1 - alpha holds the models with more than alpha, (n_models,); 1 for the best,
            NaN with fewer than two weeks.
    """

    mean_loss: NDArray[np.float64]
    p_value: NDArray[np.float64]

    def members(self, alpha: float = 0.05) -> NDArray[np.bool_]:
        """Which models the set holds that contains the best with confidence 1 - alpha, (n_models,)."""
        return np.asarray(self.p_value > alpha)


def confidence_set(loss: NDArray[np.floating], weeks: Weeks) -> ConfidenceSet:
    """The model confidence set of Hansen, Lunde and Nason [1]_ by their range statistic.

    From all models, the one that is worst against another is taken out as long as the largest difference between two,
    in its standard errors, is larger than chance allows. Standard errors and chance come from resamples of whole weeks.
    The range statistic looks at pairs, so that two models that go together are told apart by a small difference between
    them, which the other statistic of the paper, each against the mean of all, may drown.

    Models with equal losses leave together, and stay together. A p-value counts the resamples that are at least as far
    as what was seen, with one more in both counts, as in `paired_bootstrap`. With few weeks the set is too small: in
    simulations of five equal models, 30 weeks kept all in 84 of 100 sets where 90 are meant, 60 weeks in 89.

    Args:
        loss: Loss of each game, (n_models, n_games), such as that of `brier_losses`; of at least one model.
        weeks: The games' weeks and the resamples.

    Returns:
        Mean losses and p-values.

    Raises:
        SignificanceError: Shapes do not fit, or a loss is missing or infinite.

    References:
        .. [1] Hansen, P. R., Lunde, A. and Nason, J. M. (2011). The model confidence set. Econometrica 79, 453-497.
    """
    complete(loss)
    sums, size = weeks.sums(loss), np.bincount(weeks.index, minlength=weeks.n_weeks).astype(np.float64)
    n_models, n_games = len(loss), len(weeks.index)
    mean = sums.sum(axis=1) / n_games if n_games else np.full(n_models, np.nan)
    if weeks.n_weeks < 2:
        return ConfidenceSet(mean, np.full(n_models, np.nan))
    # How far each resample's mean is from the one that was seen, (n_models, n_resamples).
    away = weeks.resampled(sums) / weeks.resampled(size[None]) - mean[:, None]
    one, other = np.triu_indices(n_models, 1)
    chance = np.abs(away[one] - away[other])  # (n_pairs, n_resamples)
    error = np.sqrt((chance**2).mean(axis=1))
    chance = standardised(chance, error[:, None])
    worse = np.zeros((n_models, n_models))
    worse[one, other] = standardised(mean[one] - mean[other], error)
    worse -= worse.T

    p_value = np.ones(n_models)
    left = np.ones(n_models, dtype=bool)
    reached = 0.0
    while left.sum() > 1:
        furthest = worse[:, left].max(axis=1)  # of each model from the best that is left
        range_ = furthest[left].max()
        among = chance[left[one] & left[other]].max(axis=0)  # (n_resamples,)
        reached = max(reached, (1 + np.count_nonzero(among >= range_)) / (1 + weeks.n_resamples))
        leaving = left & (furthest == range_)
        p_value[leaving] = reached
        left &= ~leaving
    return ConfidenceSet(mean, p_value)
