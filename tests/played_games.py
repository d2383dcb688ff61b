"""Games in weeks with what several models say about them, for the tests of comparisons."""

import numpy as np
from numpy.typing import NDArray


def played(
    n_weeks: int = 40, n_models: int = 4, seed: int = 0
) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.int64]]:
    """Outcomes (n_games,), probabilities (n_models, n_games) of models that get worse, and weeks (n_games,).

    Most weeks have 16 games, some have 4. The probabilities are rounded, so that some are equal.
    """
    chance = np.random.default_rng(seed)
    week = np.repeat(np.arange(n_weeks), np.where(np.arange(n_weeks) % 5 < 4, 16, 4))
    strength = chance.normal(size=len(week))
    noise = chance.normal(size=(n_models, len(week))) * np.linspace(0.3, 1.5, n_models)[:, None]
    outcome = (chance.random(len(week)) < 1 / (1 + np.exp(-strength))).astype(np.int8)
    return outcome, np.round(1 / (1 + np.exp(-strength - noise)), 2), week


def staked(
    outcome: NDArray[np.int8], probability: NDArray[np.float64], seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Profit and stake, (n_models, n_games): each model bets where it sees more than the odds do."""
    chance = np.random.default_rng(seed)
    odds = 0.97 / chance.uniform(0.2, 0.8, len(outcome))
    placed = probability * odds > 1.3
    stake = np.where(placed, 1.0, np.nan)
    return np.where(placed, np.where(outcome == 1, odds - 1, -1.0), np.nan), stake


def furthest_from_uniform(p_value: NDArray[np.float64]) -> float:
    """Kolmogorov's distance between p-values, (n_tests,), and the uniform distribution."""
    ordered, number = np.sort(p_value), len(p_value)
    return float(max((np.arange(1, number + 1) / number - ordered).max(), (ordered - np.arange(number) / number).max()))
