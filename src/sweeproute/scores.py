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


def ace(outcome: NDArray[np.integer], probability: NDArray[np.floating], bins: int = ECE_BINS) -> float:
    """Adaptive calibration error: as `ece`, over bins that hold about as many games each.

    Most games lie near the middle, where bins of equal width are too wide, and the outer ones next to empty (Nixon et
    al., "Measuring Calibration in Deep Learning", CVPR Workshops 2019). Games with the same probability share a bin.

    Args:
        outcome: 1 when the home side won, else 0, (n_games,).
        probability: Probability of a home win, (n_games,).
        bins: Number of bins.

    Returns:
        The error in [0, 1], lower is better; NaN without games.

    Example:
        >>> ace(np.array([1, 0, 1, 1]), np.array([0.5, 0.5, 0.75, 0.75]), bins=2)
        0.125
    """
    if len(outcome) == 0:
        return float("nan")
    edges = np.sort(probability)[len(probability) * np.arange(1, bins) // bins]
    number = np.searchsorted(edges, probability, side="right")
    stated = np.bincount(number, weights=probability, minlength=bins)
    won = np.bincount(number, weights=outcome, minlength=bins)
    return float(np.abs(stated - won).sum() / len(outcome))


def accuracy(outcome: NDArray[np.integer], probability: NDArray[np.floating]) -> float:
    """Share of the games whose likelier winner has won; half a game where both were given the same chance.

    Args:
        outcome: 1 when the home side won, else 0, (n_games,).
        probability: Probability of a home win, (n_games,).

    Returns:
        The share in [0, 1]; NaN without games.

    Example:
        >>> accuracy(np.array([1, 0]), np.array([0.7, 0.5]))
        0.75
    """
    if len(outcome) == 0:
        return float("nan")
    return float(np.mean((1 + np.sign(probability - 0.5) * (2 * outcome - 1)) / 2))


def brier_parts(outcome: NDArray[np.integer], probability: NDArray[np.floating]) -> tuple[float, float, float]:
    """What a Brier score is made of: reliability - resolution + uncertainty (Murphy, 1973), without any bins.

    In place of a share per bin stands the best curve that never falls, so that the parts add up and hang on no choice
    of bins (Dimitriadis, Gneiting and Jordan, "Stable reliability diagrams for probabilistic classifiers", PNAS 118,
    2021): reliability is what that curve would gain, resolution what its forecasts are better by than the share won.

    Args:
        outcome: 1 when the home side won, else 0, (n_games,).
        probability: Probability of a home win, (n_games,).

    Returns:
        Reliability, of which less is better; resolution, of which more is; uncertainty, which no forecast changes. NaN
        without games.

    Example:
        >>> brier_parts(np.array([0, 1, 1, 1]), np.array([0.5, 0.5, 0.5, 0.5]))
        (0.0625, 0.0, 0.1875)
    """
    if len(outcome) == 0:
        return (float("nan"),) * 3
    # Late: only trials need it.
    from scipy.optimize import isotonic_regression

    _, group, count = np.unique(probability, return_inverse=True, return_counts=True)
    share = np.bincount(group, weights=outcome) / count
    curve = isotonic_regression(share, weights=count).x[group]
    uncertainty = brier(outcome, np.full(len(outcome), outcome.mean()))
    recalibrated = brier(outcome, curve)
    return brier(outcome, probability) - recalibrated, uncertainty - recalibrated, uncertainty
