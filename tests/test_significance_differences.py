"""Tests of paired differences by week, against statsmodels, scipy and plain loops."""

import doctest
import math
import sys

import numpy as np
import pytest
import statsmodels.api
from scipy import stats

from played_games import furthest_from_uniform, played, staked
from sweeproute import betting, scores
from sweeproute.significance import (
    SignificanceError,
    brier_losses,
    log_losses,
    paired_bootstrap,
    paired_test,
    weeks_of,
)


def test_losses_have_the_means_of_the_scores() -> None:
    outcome, probability, _ = played()
    probability[0, :2] = 0.0, 1.0
    for row, brier, log in zip(
        probability, brier_losses(outcome, probability), log_losses(outcome, probability), strict=True
    ):
        assert brier.mean() == pytest.approx(scores.brier(outcome, row), abs=1e-14)
        assert log.mean() == pytest.approx(scores.log_loss(outcome, row), abs=1e-14)


def test_the_paired_test_has_the_cluster_robust_errors_of_statsmodels() -> None:
    outcome, probability, week = played()
    loss = brier_losses(outcome, probability)
    found = paired_test(loss, weeks_of(week))
    for one, other in zip(*np.triu_indices(4, 1), strict=True):
        # G / (G - 1) is among its corrections, the other is 1 for a mean.
        fit = statsmodels.api.OLS(loss[one] - loss[other], np.ones(len(week))).fit(
            cov_type="cluster", cov_kwds={"groups": week}, use_t=True
        )
        assert found.difference[one, other] == pytest.approx(fit.params[0], abs=1e-13)
        assert found.standard_error[one, other] == pytest.approx(fit.bse[0], abs=1e-13)
        assert found.p_value[one, other] == pytest.approx(fit.pvalues[0], abs=1e-10)


def test_with_weeks_of_one_size_it_is_diebold_mariano_with_the_small_sample_correction() -> None:
    loss = np.random.default_rng(2).normal(size=(2, 30 * 16))
    found = paired_test(loss, weeks_of(np.repeat(np.arange(30), 16)))
    weekly = (loss[0] - loss[1]).reshape(30, 16).mean(axis=1)
    diebold_mariano = weekly.mean() / math.sqrt(weekly.var() / 30)
    h = 1
    correction = math.sqrt((30 + 1 - 2 * h + h * (h - 1) / 30) / 30)
    statistic = found.difference[0, 1] / found.standard_error[0, 1]
    assert statistic == pytest.approx(correction * diebold_mariano)
    assert found.p_value[0, 1] == pytest.approx(2 * stats.t(df=29).sf(abs(correction * diebold_mariano)))
    assert found.p_value[0, 1] == pytest.approx(stats.ttest_1samp(weekly, 0).pvalue)


def in_weeks(chance: np.random.Generator, n_models: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Losses of equally good models, and weeks in which all games suit one of them more."""
    week = np.repeat(np.arange(30), np.where(np.arange(30) % 5 < 4, 16, 4))
    effect = chance.normal(scale=0.5, size=(n_models, 30))
    return effect[:, week] + chance.normal(size=(n_models, len(week))), week


def test_p_values_are_uniform_where_models_are_equally_good_and_games_of_a_week_are_alike() -> None:
    chance = np.random.default_rng(1)
    ours, naive = [], []
    for _ in range(2000):
        loss, week = in_weeks(chance)
        ours.append(paired_test(loss, weeks_of(week, 1)).p_value[0, 1])
        naive.append(stats.ttest_rel(*loss).pvalue)
    # Of uniform p-values, one set of 2,000 in a hundred is further than 0.036.
    assert furthest_from_uniform(np.array(ours)) < 0.036
    assert 0.035 < np.mean(np.array(ours) <= 0.05) < 0.065
    assert np.mean(np.array(naive) <= 0.05) > 0.2


def test_p_values_of_the_bootstrap_are_near_uniform_there_too() -> None:
    chance = np.random.default_rng(1)
    found = []
    for seed in range(400):
        loss, week = in_weeks(chance)
        found.append(paired_bootstrap(loss, weeks_of(week, 499, seed)).p_value[0, 1])
    # One set of 400 in a hundred is further than 0.081; 30 weeks make the bootstrap somewhat eager.
    assert furthest_from_uniform(np.array(found)) < 0.081
    assert 0.03 < np.mean(np.array(found) <= 0.05) < 0.1


def test_p_values_of_returns_are_near_uniform_where_nobody_knows_more_than_the_odds() -> None:
    chance = np.random.default_rng(4)
    week = np.repeat(np.arange(60), 16)
    found = []
    for seed in range(300):
        won_at = chance.uniform(0.2, 0.8, len(week))
        won, placed = chance.random(len(week)) < won_at, chance.random((2, len(week))) < 0.3
        profit = np.where(placed, np.where(won, 0.97 / won_at - 1, -1.0), np.nan)
        weeks = weeks_of(week, 499, seed)
        found.append(paired_bootstrap(profit, weeks, np.where(placed, 1.0, np.nan)).p_value[0, 1])
    # One set of 300 in a hundred is further than 0.094.
    assert furthest_from_uniform(np.array(found)) < 0.094


def test_the_bootstrap_is_that_of_a_plain_loop_over_resamples() -> None:
    outcome, probability, week = played(n_weeks=12)
    profit, stake = staked(outcome, probability)
    weeks = weeks_of(week, n_resamples=50, seed=3)
    found = paired_bootstrap(profit, weeks, stake)
    games = [np.flatnonzero(week == number) for number in range(12)]
    seen = betting.roi(profit[0], stake[0]) - betting.roi(profit[3], stake[3])
    drawn = []
    for counts in weeks.counts.astype(int):
        picked = np.concatenate([games[number] for number in np.repeat(np.arange(12), counts)])
        drawn.append(
            betting.roi(profit[0, picked], stake[0, picked]) - betting.roi(profit[3, picked], stake[3, picked])
        )
    beyond = sum(abs(one - seen) >= abs(seen) for one in drawn)
    assert found.difference[0, 3] == pytest.approx(seen)
    assert found.standard_error[0, 3] == pytest.approx(np.std(drawn, ddof=1))
    assert found.p_value[0, 3] == pytest.approx((1 + beyond) / 51)
    assert 1 < beyond < 50


def test_the_two_ways_agree_on_means() -> None:
    outcome, probability, week = played(n_weeks=200)
    loss, weeks = log_losses(outcome, probability), weeks_of(week, 4000)
    test, bootstrap = paired_test(loss, weeks), paired_bootstrap(loss, weeks)
    np.testing.assert_allclose(bootstrap.difference, test.difference, atol=1e-13)
    np.testing.assert_allclose(bootstrap.standard_error, test.standard_error, rtol=0.05)
    np.testing.assert_allclose(bootstrap.p_value, test.p_value, atol=0.02)


@pytest.mark.filterwarnings("error")
def test_identical_models_cannot_be_told_apart() -> None:
    outcome, probability, week = played()
    loss, weeks = log_losses(outcome, probability[[0, 1, 0]]), weeks_of(week)
    for found in (paired_test(loss, weeks), paired_bootstrap(loss, weeks)):
        assert found.p_value[0, 2] == 1
        assert found.difference[0, 2] == found.standard_error[0, 2] == 0
        assert found.p_value[0, 1] == found.p_value[2, 1] == found.p_value[1, 2]
        assert (np.diagonal(found.p_value) == 1).all()


@pytest.mark.filterwarnings("error")
def test_one_week_is_no_test() -> None:
    outcome, probability, _ = played(n_weeks=1)
    loss, weeks = brier_losses(outcome, probability), weeks_of(np.zeros(len(outcome)))
    for found in (paired_test(loss, weeks), paired_bootstrap(loss, weeks)):
        assert np.isnan(found.p_value).all()
        assert np.isfinite(found.difference).all()
    none = paired_test(np.empty((2, 0)), weeks_of([]))
    assert np.isnan(none.p_value).all()
    assert np.isnan(none.difference).all()


@pytest.mark.filterwarnings("error")
def test_who_never_bets_is_compared_with_nobody_and_who_bets_in_one_week_is_not_tested() -> None:
    outcome, probability, week = played()
    profit, stake = staked(outcome, probability)
    profit[0] = stake[0] = np.nan
    profit[1, week > 0] = stake[1, week > 0] = np.nan
    profit[1, 0], stake[1, 0] = 0.5, 1.0
    found = paired_bootstrap(profit, weeks_of(week), stake)
    assert np.isnan(found.difference[0]).all()
    assert np.isnan(found.p_value[:2]).all()
    assert np.isfinite(found.difference[1:, 1:]).all()
    assert np.isfinite(found.p_value[2, 3])


def test_resamples_without_a_bet_do_not_count() -> None:
    # Both bet in two of three weeks, so that a resample of the third alone has no bet.
    week = np.array([1, 2, 3])
    profit = np.array([[1.0, -1.0, np.nan], [-1.0, 1.0, np.nan]])
    weeks = weeks_of(week, 500)
    empty = int((weeks.counts[:, :2].sum(axis=1) == 0).sum())
    assert empty > 5
    found = paired_bootstrap(profit, weeks, np.where(np.isnan(profit), np.nan, 1.0))
    assert found.p_value[0, 1] == 1
    assert found.difference[0, 1] == 0
    drawn = weeks.counts[weeks.counts[:, :2].sum(axis=1) > 0]
    between = 2 * (drawn[:, 0] - drawn[:, 1]) / (drawn[:, 0] + drawn[:, 1])
    assert found.standard_error[0, 1] == pytest.approx(between.std(ddof=1))


def test_losses_that_are_missing_or_of_other_games_are_refused() -> None:
    weeks = weeks_of([1, 1, 2])
    with pytest.raises(SignificanceError, match="A loss of model 1 is nan"):
        paired_test(np.array([[0.1, 0.2, 0.3], [0.1, 0.2, np.nan]]), weeks)
    with pytest.raises(SignificanceError, match=r"Values have shape \(1, 2\); .* the 3 games"):
        paired_test(np.array([[0.1, 0.2]]), weeks)
    with pytest.raises(SignificanceError, match=r"Numerators have shape \(1, 3\) and denominators \(2, 3\)"):
        paired_bootstrap(np.zeros((1, 3)), weeks, np.zeros((2, 3)))


def test_the_examples_in_the_docstrings_hold() -> None:
    tried = doctest.testmod(sys.modules["sweeproute.significance.differences"])
    assert tried.attempted > 0
    assert tried.failed == 0
