"""Scores of predicted probabilities against what happened."""

import numpy as np
from numpy.typing import NDArray

ECE_BINS = 10


def auc(outcome: NDArray[np.integer], probability: NDArray[np.floating]) -> float:
    """Area under the ROC curve: the chance that a won game was given a higher probability than a lost one.

    Computed from the rank sum with midranks for ties (Mann and Whitney, 1947; Hanley and McNeil, 1982).

    Args:
        outcome: 1 when the home side won, else 0, (n_games,).
        probability: Probability of a home win, (n_games,).

    Returns:
        Area in [0, 1]; NaN where it is undefined, which is when all outcomes are the same.

    Example:
        >>> auc(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.7]))
        0.75
    """
    won = outcome == 1
    n_won = int(won.sum())
    n_lost = len(outcome) - n_won
    if n_won == 0 or n_lost == 0:
        return float("nan")
    _, group, count = np.unique(probability, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(count)
    midrank = last_rank - (count - 1) / 2
    rank_sum = midrank[group][won].sum()
    return float((rank_sum - n_won * (n_won + 1) / 2) / (n_won * n_lost))


def brier(outcome: NDArray[np.integer], probability: NDArray[np.floating]) -> float:
    """Mean squared distance of probability from outcome (Brier, 1950), in [0, 1]; NaN without games.

    Args:
        outcome: 1 when the home side won, else 0, (n_games,).
        probability: Probability of a home win, (n_games,).

    Returns:
        The score; lower is better, always saying 0.5 scores 0.25.

    Example:
        >>> brier(np.array([1, 0]), np.array([0.5, 0.5]))
        0.25
    """
    if len(outcome) == 0:
        return float("nan")
    return float(np.mean((probability - outcome) ** 2))


def log_loss(outcome: NDArray[np.integer], probability: NDArray[np.floating]) -> float:
    """Mean negative log likelihood in nats; NaN without games.

    A probability of 0 or 1 is moved by the spacing of float64 at 1 (2.2e-16), so one sure and wrong game costs 36 nats,
    not infinity.

    Args:
        outcome: 1 when the home side won, else 0, (n_games,).
        probability: Probability of a home win, (n_games,).

    Returns:
        The loss; lower is better, always saying 0.5 costs log(2) = 0.693.
    """
    if len(outcome) == 0:
        return float("nan")
    edge = np.finfo(np.float64).eps
    inside = np.clip(probability.astype(np.float64), edge, 1 - edge)
    return float(-np.mean(np.where(outcome == 1, np.log(inside), np.log1p(-inside))))


def ece(outcome: NDArray[np.integer], probability: NDArray[np.floating], bins: int = ECE_BINS) -> float:
    """Expected calibration error: how far stated probabilities are from the share of games won, on average.

    The probabilities of a home win are put into equal-width bins [0, 0.1), ..., [0.9, 1]; each bin's distance between
    mean probability and share won is weighted with its share of the games (Naeini, Cooper and Hauskrecht, "Obtaining
    Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015).

    Args:
        outcome: 1 when the home side won, else 0, (n_games,).
        probability: Probability of a home win, (n_games,).
        bins: Number of bins.

    Returns:
        The error in [0, 1], lower is better; NaN without games.

    Example:
        >>> ece(np.array([1, 0]), np.array([0.75, 0.75]))
        0.25
    """
    if len(outcome) == 0:
        return float("nan")
    number = np.minimum((probability * bins).astype(np.int64), bins - 1)
    stated = np.bincount(number, weights=probability, minlength=bins)
    won = np.bincount(number, weights=outcome, minlength=bins)
    return float(np.abs(stated - won).sum() / len(outcome))
