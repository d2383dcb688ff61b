"""Tests of the scores, against scikit-learn where it has them."""

import doctest
import itertools
import sys

import numpy as np
import pytest
from sklearn import metrics
from sklearn.isotonic import IsotonicRegression

from sweeproute import scores

GENERATOR = np.random.default_rng(3)
PROBABILITY = GENERATOR.random(500)
OUTCOME = (GENERATOR.random(500) < PROBABILITY).astype(np.int8)
TIED = np.round(PROBABILITY, 1)


@pytest.mark.parametrize("probability", [PROBABILITY, TIED, np.full(500, 0.5)], ids=["distinct", "tied", "constant"])
def test_scores_are_those_of_scikit_learn(probability: np.ndarray) -> None:
    assert scores.auc(OUTCOME, probability) == pytest.approx(metrics.roc_auc_score(OUTCOME, probability), abs=1e-12)
    assert scores.brier(OUTCOME, probability) == pytest.approx(
        metrics.brier_score_loss(OUTCOME, probability), abs=1e-12
    )
    assert scores.log_loss(OUTCOME, probability) == pytest.approx(metrics.log_loss(OUTCOME, probability), abs=1e-12)


def test_a_sure_and_wrong_game_costs_what_scikit_learn_says() -> None:
    outcome, probability = np.array([1, 0]), np.array([0.0, 1.0])
    assert scores.log_loss(outcome, probability) == pytest.approx(metrics.log_loss(outcome, probability))
    assert np.isfinite(scores.log_loss(outcome, probability))


def test_auc_of_one_kind_of_outcome_is_missing() -> None:
    assert np.isnan(scores.auc(np.ones(3, dtype=np.int8), np.array([0.1, 0.5, 0.9])))
    assert np.isnan(scores.auc(np.zeros(3, dtype=np.int8), np.array([0.1, 0.5, 0.9])))


@pytest.mark.parametrize(
    "score",
    [scores.auc, scores.brier, scores.log_loss, scores.ece, scores.ace, scores.accuracy, scores.brier_parts],
)
def test_scores_without_games_are_missing(score) -> None:
    assert np.isnan(score(np.array([], dtype=np.int8), np.array([]))).all()


def test_calibration_error_weights_ten_equal_bins_by_their_games() -> None:
    outcome = np.array([0, 1, 1, 1, 1])
    probability = np.array([0.05, 0.07, 0.92, 0.94, 1.0])
    expected = 2 / 5 * abs(0.06 - 0.5) + 3 / 5 * abs((0.92 + 0.94 + 1.0) / 3 - 1)
    assert scores.ece(outcome, probability) == pytest.approx(expected)


def test_calibration_error_is_the_bin_by_bin_sum() -> None:
    expected = 0.0
    for number in range(10):
        inside = np.floor(PROBABILITY * 10) == number
        if inside.any():
            expected += inside.mean() * abs(PROBABILITY[inside].mean() - OUTCOME[inside].mean())
    assert scores.ece(OUTCOME, PROBABILITY) == pytest.approx(expected)


def drawn(seed: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    """Games whose probabilities are tied the more, the fewer decimals they have."""
    generator = np.random.default_rng(seed)
    n_games = int(generator.integers(1, 300))
    probability = np.round(generator.beta(4, 3, n_games), decimals)
    return (generator.random(n_games) < 0.2 + 0.6 * probability).astype(np.int8), probability


@pytest.mark.parametrize("decimals", [1, 2, 12])
@pytest.mark.parametrize("seed", range(6))
def test_the_parts_of_a_brier_score_are_those_of_scikit_learns_isotonic_curve(seed: int, decimals: int) -> None:
    outcome, probability = drawn(seed, decimals)
    curve = IsotonicRegression().fit_transform(probability, outcome)
    best, level = np.mean((curve - outcome) ** 2), np.mean((np.mean(outcome) - outcome) ** 2)
    reliability, resolution, uncertainty = scores.brier_parts(outcome, probability)
    assert reliability == pytest.approx(np.mean((probability - outcome) ** 2) - best, abs=1e-12)
    assert resolution == pytest.approx(level - best, abs=1e-12)
    assert uncertainty == pytest.approx(np.mean(outcome) * (1 - np.mean(outcome)), abs=1e-12)
    assert min(reliability, resolution) > -1e-12
    assert reliability - resolution + uncertainty == pytest.approx(scores.brier(outcome, probability), abs=1e-12)


@pytest.mark.parametrize("bins", [1, 4, 10])
@pytest.mark.parametrize("decimals", [1, 2, 12])
@pytest.mark.parametrize("seed", range(6))
def test_adaptive_calibration_error_is_the_sum_over_bins_of_equal_size(seed: int, decimals: int, bins: int) -> None:
    outcome, probability = drawn(seed, decimals)
    n_games = len(outcome)
    cuts = [n_games * number // bins for number in range(1, bins)]
    held: list[list[tuple[float, int]]] = [[] for _ in range(bins)]
    place = 0
    # In ascending order; those with one probability go together, to where the last of them would go.
    for _, tied in itertools.groupby(sorted(zip(probability, outcome, strict=True)), key=lambda game: game[0]):
        games = list(tied)
        place += len(games)
        held[sum(cut < place for cut in cuts)] += games
    expected = sum(abs(sum(says - won for says, won in games)) for games in held) / n_games
    assert scores.ace(outcome, probability, bins) == pytest.approx(expected, abs=1e-12)
    if decimals == 12:
        sizes = [len(games) for games in held]
        assert max(sizes) - min(sizes) <= 1


def test_a_forecast_that_comes_true_has_no_calibration_error() -> None:
    assert scores.ece(np.array([1, 0, 1, 0]), np.array([0.5, 0.5, 0.5, 0.5])) == 0


def test_the_examples_in_the_docstrings_hold() -> None:
    tried = doctest.testmod(sys.modules["sweeproute.scores"])
    assert tried.attempted > 0
    assert tried.failed == 0
