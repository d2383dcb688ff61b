"""Tests of intervals by resampling weeks, against scipy's on the same resamples."""

import doctest
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from played_games import played, staked
from sweeproute import betting
from sweeproute.significance import (
    SignificanceError,
    brier_losses,
    mean_intervals,
    paired_test,
    ratio_intervals,
    roi_intervals,
    weeks_of,
)


def test_intervals_of_returns_are_scipys_on_the_same_resamples() -> None:
    outcome, probability, week = played()
    profit, stake = staked(outcome, probability)
    weeks = weeks_of(week, 500, seed=1)
    found = roi_intervals(profit, stake, weeks, level=0.9)
    for model in range(4):
        won, put = weeks.sums(profit)[model], weeks.sums(stake)[model]
        drawn = np.array([(counts @ won) / (counts @ put) for counts in weeks.counts])
        peer = stats.bootstrap(
            (won, put),
            lambda won, put, axis=-1: won.sum(axis) / put.sum(axis),
            paired=True,
            vectorized=True,
            n_resamples=0,
            confidence_level=0.9,
            method="BCa",
            bootstrap_result=SimpleNamespace(bootstrap_distribution=drawn),
        ).confidence_interval
        assert found.estimate[model] == pytest.approx(betting.roi(profit[model], stake[model]))
        assert (found.low[model], found.high[model]) == pytest.approx((peer.low, peer.high), abs=1e-12)
        assert (found.low[model], found.high[model]) != pytest.approx(np.quantile(drawn, [0.05, 0.95]), abs=1e-6)
    assert found.dropped.tolist() == [0] * 4


def test_intervals_of_means_are_nearly_those_of_the_normal_distribution_where_there_are_many_weeks() -> None:
    outcome, probability, week = played(n_weeks=300)
    loss, weeks = brier_losses(outcome, probability), weeks_of(week, 5000)
    found = mean_intervals(loss, weeks)
    # A model that never loses anything, beside each: their difference is the loss, its error that of the mean.
    error = paired_test(np.vstack([loss, np.zeros(len(week))]), weeks).standard_error[:4, 4]
    np.testing.assert_allclose(found.estimate, loss.mean(axis=1))
    np.testing.assert_allclose(found.high - found.low, 2 * 1.96 * error, rtol=0.08)


def test_intervals_of_returns_hold_the_truth_about_as_often_as_they_say() -> None:
    chance, n_weeks = np.random.default_rng(6), 60
    week = np.repeat(np.arange(n_weeks), 16)
    held = 0
    for seed in range(300):
        likely = chance.uniform(0.1, 0.8, len(week))
        placed = chance.random(len(week)) < 0.3
        won = chance.random(len(week)) < likely
        profit = np.where(placed, np.where(won, 0.97 / likely - 1, -1.0), np.nan)[None]
        found = roi_intervals(profit, np.where(placed, 1.0, np.nan)[None], weeks_of(week, 500, seed))
        held += bool(found.low[0] <= -0.03 <= found.high[0])
    # Three standard deviations below 0.95 of 300 are 0.91.
    assert 0.91 <= held / 300 <= 0.99


@pytest.mark.filterwarnings("error")
def test_without_a_stake_there_is_neither_return_nor_interval() -> None:
    profit = np.array([[np.nan] * 4, [0.9, np.nan, -1.0, np.nan], [0.9, -1.0, np.nan, np.nan], [0.9, -1, 0.9, -1]])
    stake = np.where(np.isnan(profit), np.nan, 1.0)
    weeks = weeks_of([1, 1, 2, 3], n_resamples=400)
    found = roi_intervals(profit, stake, weeks)
    assert np.isnan([found.estimate[0], found.low[0], found.high[0]]).all()
    # Bets in one week alone say nothing about another.
    assert found.estimate[2] == pytest.approx(-0.05)
    assert np.isnan([found.low[2], found.high[2]]).all()
    assert np.isfinite([found.low[[1, 3]], found.high[[1, 3]]]).all()
    without = weeks.counts[:, :2].sum(axis=1) == 0
    assert found.dropped.tolist() == [400, without.sum(), (weeks.counts[:, 0] == 0).sum(), 0]
    assert found.dropped[1] > 5


def test_a_game_without_a_value_does_not_count() -> None:
    value = np.array([[1.0, np.nan, 3.0, 5.0], [1.0, 1.0, 1.0, 1.0]])
    weeks = weeks_of([1, 1, 2, 3])
    found = mean_intervals(value, weeks)
    assert found.estimate.tolist() == [3.0, 1.0]
    assert (found.low[1], found.high[1]) == (1.0, 1.0)
    assert found.low[0] < 3 < found.high[0]


@pytest.mark.filterwarnings("error")
def test_what_never_varies_has_an_interval_of_no_length() -> None:
    # 0.1 has no exact sum, so that resamples differ by rounding.
    found = mean_intervals(np.full((1, 30), 0.1), weeks_of(np.arange(30) // 3))
    assert (found.low[0], found.high[0]) == pytest.approx((0.1, 0.1), abs=1e-15)


@pytest.mark.filterwarnings("error")
def test_one_resample_gives_no_interval() -> None:
    found = mean_intervals(np.array([[1.0, 2.0, 4.0]]), weeks_of([1, 2, 3], n_resamples=1, seed=1))
    assert np.isnan([found.low, found.high]).all()


def test_levels_and_shapes_that_cannot_be_are_refused() -> None:
    weeks = weeks_of([1, 2])
    with pytest.raises(SignificanceError, match="level=95 is no share"):
        mean_intervals(np.zeros((1, 2)), weeks, level=95)
    with pytest.raises(SignificanceError, match=r"Numerators have shape \(1, 2\) and denominators \(1, 3\)"):
        ratio_intervals(np.zeros((1, 2)), np.zeros((1, 3)), weeks)


def test_the_examples_in_the_docstrings_hold() -> None:
    tried = doctest.testmod(sys.modules["sweeproute.significance.intervals"])
    assert tried.attempted > 0
    assert tried.failed == 0
