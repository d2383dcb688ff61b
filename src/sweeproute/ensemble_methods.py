"""Makes one probability of what several models say of a game, from games of earlier seasons alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeproute.selection import ENSEMBLES

AVERAGE, STACKING, BEST_OF = ENSEMBLES


@dataclass(frozen=True, eq=False)
class Weights:
    """What each member counts in one season.

    Attributes:
        season: The season.
        method: What made them: average, stacking or best_of. Where no earlier season tells anything it is average.
        members: Of each member, (n_members,): of probabilities, or in stacking of log odds.
        intercept: In stacking the log odds that are added.
    """

    season: int
    method: str
    members: NDArray[np.float64]
    intercept: float = 0.0


def combine(
    method: str,
    says: NDArray[np.float64],
    outcome: NDArray[np.int8],
    season: NDArray[np.int64],
    loss: Callable[[int, NDArray[np.bool_]], float],
    strength: float = 1.0,
    edge: float = 0.001,
) -> tuple[NDArray[np.float64], list[Weights]]:
    """Combine what members say, season after season.

    What is said of a season follows from what the members say of it, and from what they said of the games of earlier
    seasons and how these ended; later games and the season's own outcomes take no part. In the first season, of which
    nothing earlier is known, it is the average whatever the method.

    average: the mean of the members' probabilities. stacking: a logistic regression on the log odds of the members,
    fitted on all earlier seasons [1]_, [2]_: each member had said what it did of a game before it was told how that
    ended, so these are out-of-fold predictions in the order of time. best_of: the member with the least loss over all
    earlier seasons, of equals the first.

    Args:
        method: average, stacking or best_of.
        says: Probabilities of a home win by the members, (n_members, n_games).
        outcome: 1 when the home side won, else 0, (n_games,).
        season: Of each game, (n_games,).
        loss: How badly a member, by its position, did in the games of a mask (n_games,); what is not finite never wins.
            Asked of earlier seasons alone.
        strength: Inverse of the strength of stacking's ridge penalty on the coefficients, not on the intercept.
        edge: How far from 0 and 1 stacking holds a probability, since the log odds of these are infinite.

    Returns:
        Probabilities, (n_games,), and the weights of each season in the order of time.

    References:
        .. [1] Wolpert, D. H. (1992). Stacked generalization. Neural Networks 5(2), 241-259.
        .. [2] Breiman, L. (1996). Stacked regressions. Machine Learning 24, 49-64.

    Example:
        >>> says = np.array([[0.6, 0.8], [0.4, 0.6]])
        >>> combine("average", says, np.array([1, 0]), np.array([2018, 2019]), lambda member, games: 0.0)[0]
        array([0.5, 0.7])
    """
    combined = np.empty(says.shape[1])
    weights = []
    for one in np.unique(season):
        now, past = season == one, season < one
        of_season = Weights(int(one), AVERAGE, np.full(len(says), 1 / len(says)))
        if method == STACKING and np.unique(outcome[past]).size == 2:
            of_season = _stacked(int(one), _log_odds(says[:, past], edge), outcome[past], strength)
        elif method == BEST_OF and past.any():
            losses = np.array([loss(member, past) for member in range(len(says))])
            losses[~np.isfinite(losses)] = np.inf
            if np.isfinite(losses).any():
                of_season = Weights(int(one), BEST_OF, np.eye(len(says))[int(np.argmin(losses))])
        weights.append(of_season)
        combined[now] = _weighed(of_season, says[:, now], edge)
    return combined, weights


def _weighed(weights: Weights, says: NDArray[np.float64], edge: float) -> NDArray[np.float64]:
    if weights.method == AVERAGE:
        return says.mean(axis=0)
    if weights.method == BEST_OF:
        return says[int(np.argmax(weights.members))]
    # Late: not every method needs it.
    from scipy.special import expit

    return np.asarray(expit(weights.members @ _log_odds(says, edge) + weights.intercept))


def _stacked(season: int, log_odds: NDArray[np.float64], outcome: NDArray[np.int8], strength: float) -> Weights:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=strength, tol=1e-8, max_iter=1000).fit(log_odds.T, outcome)
    return Weights(season, STACKING, fitted.coef_[0], float(fitted.intercept_[0]))


def _log_odds(says: NDArray[np.float64], edge: float) -> NDArray[np.float64]:
    held = np.clip(says, edge, 1 - edge)
    return np.log(held / (1 - held))
