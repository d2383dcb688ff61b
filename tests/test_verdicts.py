"""Tests of what a report calls significant, against what it rests on and against plain arithmetic."""

import numpy as np
import pytest

from reported_sweep import RULE, forecasts, games, predictions
from sweeproute import scores, significance
from sweeproute.baselines import baselines
from sweeproute.measures import metrics_of
from sweeproute.verdicts import TESTED, Settings, difference, intervals, judge

PLAYED = games()
OUTCOME = PLAYED["outcome"].to_numpy()
SETTINGS = Settings(resamples=300)
WEEKS = significance.weeks_of(PLAYED["season"] * 100 + PLAYED["week"].astype(int), 300, 0)


def rows(*noises: float, played=PLAYED):
    return [[predictions(played, forecasts(played, noise, number))] for number, noise in enumerate(noises)]


def judged(told, played=PLAYED, against=None):
    metrics = [[metrics_of(one, RULE) for one in repeats] for repeats in told]
    values = {name: np.array([np.mean([one[name] for one in row]) for row in metrics]) for name in TESTED}
    frames = [one.games for one in baselines(told[0][0], RULE)] if against is None else against
    return judge(told, values, frames, RULE, SETTINGS)


def test_single_runs_are_tested_as_the_library_of_significance_tests_them():
    told = rows(0.2, 0.6, 3.0)
    found = judged(told)
    says = np.stack([one["probability"].to_numpy() for (one,) in told])
    areas = significance.areas(OUTCOME, says, WEEKS)
    np.testing.assert_array_equal(found.tests["auc"].pairs.p_value, areas.pairs.p_value)
    np.testing.assert_array_equal(found.intervals["auc"][0], areas.low)
    test = significance.paired_test(significance.brier_losses(OUTCOME, says), WEEKS)
    np.testing.assert_array_equal(found.tests["brier"].pairs.p_value, test.p_value)
    np.testing.assert_array_equal(found.tests["brier"].adjusted, significance.holm_pairs(test.p_value))
    money = [np.stack([one[name].to_numpy() for (one,) in told]) for name in ("profit", "stake")]
    interval = significance.roi_intervals(*money, WEEKS)
    np.testing.assert_array_equal(found.intervals["roi"], (interval.low, interval.high))
    assert found.n_weeks == WEEKS.n_weeks == 34


def test_differences_are_those_of_the_metrics():
    told = rows(0.2, 3.0)
    found = judged(told)
    metrics = [metrics_of(one, RULE) for (one,) in told]
    for metric in TESTED:
        difference = found.tests[metric].pairs.difference[0, 1]
        assert difference == pytest.approx(metrics[0][metric] - metrics[1][metric], abs=1e-12), metric


def test_two_models_alone_differ_as_in_a_table_within_students_interval():
    from scipy.stats import t

    ((one,), (other,)) = told = rows(0.2, 3.0)
    found, pairs = difference(one, other, SETTINGS), judged(told).tests["brier"].pairs
    assert (found.difference, found.p_value) == (pairs.difference[0, 1], pairs.p_value[0, 1])
    ends = t.interval(0.95, WEEKS.n_weeks - 1, loc=found.difference, scale=pairs.standard_error[0, 1])
    np.testing.assert_allclose((found.low, found.high), ends)
    back = difference(other, one, SETTINGS)
    assert (back.difference, back.low, back.high) == pytest.approx((-found.difference, -found.high, -found.low))
    week = one[(one["season"] == one["season"].min()) & (one["week"] == one["week"].min())]
    assert np.isnan(difference(week, other.loc[week.index], SETTINGS).p_value)


def test_the_intervals_of_one_model_are_those_of_its_row():
    told = rows(0.2, 3.0)
    table = judged(told).intervals
    alone = intervals(told[1][0], RULE, SETTINGS)
    assert alone.keys() == table.keys()
    for metric, ends in alone.items():
        assert ends == tuple(float(end[1]) for end in table[metric])


def test_the_one_that_is_better_is_best_and_equals_tie():
    far = judged(rows(0.1, 3.0)).tests["brier"].standing
    assert far.bold.tolist() == [True, False]
    near = judged(rows(0.5, 0.5)).tests["brier"].standing
    assert near.tied.tolist() == [True, True]
    assert not near.bold.any()


def test_repeats_that_are_the_same_are_as_one_run():
    single, several = rows(0.2, 0.9), [repeats * 3 for repeats in rows(0.2, 0.9)]
    one, three = judged(single), judged(several)
    for metric in TESTED:
        for name in ("difference", "standard_error", "p_value"):
            np.testing.assert_allclose(
                getattr(three.tests[metric].pairs, name), getattr(one.tests[metric].pairs, name), atol=1e-7
            )
    for metric, ends in one.intervals.items():
        np.testing.assert_allclose(three.intervals[metric], ends, atol=1e-9)


def test_of_repeats_the_mean_is_tested():
    seeds = [predictions(PLAYED, forecasts(PLAYED, 0.9, seed)) for seed in range(3)]
    found = judged([seeds, rows(0.2)[0]])
    mean = np.mean([scores.auc(OUTCOME, one["probability"].to_numpy()) for one in seeds])
    other = scores.auc(OUTCOME, forecasts(PLAYED, 0.2))
    assert found.tests["auc"].pairs.difference[0, 1] == pytest.approx(mean - other)
    assert found.intervals["auc"][0][0] < mean < found.intervals["auc"][1][0]
    loss = np.mean([(one["probability"] - OUTCOME) ** 2 for one in seeds], axis=0)
    test = significance.paired_test(np.stack([loss, (forecasts(PLAYED, 0.2) - OUTCOME) ** 2]), WEEKS)
    assert found.tests["brier"].pairs.p_value[0, 1] == pytest.approx(test.p_value[0, 1])


def test_the_market_is_compared_on_the_games_that_it_prices():
    played = games(priced=0.5)
    told = rows(0.5, played=played)
    found = judged(told, played)
    there = played["odds_home"].notna().to_numpy()
    market = baselines(told[0][0], RULE)[0].games
    expected = scores.brier(OUTCOME[there], told[0][0]["probability"].to_numpy()[there]) - scores.brier(
        OUTCOME[there], market["probability"].to_numpy()
    )
    assert found.tests["brier"].against.difference[0, 0] == pytest.approx(expected)
    assert np.isnan(judged(rows(0.5, played=games(priced=0.0))).tests["brier"].against.p_value[0, 0])


def test_comparisons_with_baselines_are_adjusted_by_themselves():
    found = judged(rows(0.2, 0.6)).tests["brier"]
    np.testing.assert_allclose(found.against_adjusted.ravel(), significance.holm(found.against.p_value.ravel()))
    assert (found.against_adjusted >= found.against.p_value).all()


def test_a_row_without_probabilities_is_tested_by_its_return_alone_and_changes_no_other_test():
    units = np.random.default_rng(8).integers(-2, 3, len(PLAYED))
    stakes = [predictions(PLAYED, np.full(len(PLAYED), np.nan), units)]
    one, two = rows(0.3, 0.9)
    plain, mixed = judged([one, two]), judged([one, stakes, two])
    for metric in TESTED:
        own, more = plain.tests[metric].pairs, mixed.tests[metric].pairs
        for part in ("difference", "standard_error", "p_value"):
            np.testing.assert_allclose(getattr(more, part)[::2, ::2], getattr(own, part), atol=1e-12)
            assert np.isnan(getattr(more, part)[1, ::2]).all() == (metric != "roi")
        assert np.isnan(mixed.intervals[metric][0][1]) == (metric != "roi")
        for end in (0, 1):
            np.testing.assert_allclose(mixed.intervals[metric][end][::2], plain.intervals[metric][end])
        if metric != "roi":
            standing = mixed.tests[metric].standing
            assert not standing.best[1]
            assert not standing.tied[1]
            assert np.isnan(mixed.tests[metric].against.p_value[1]).all()
    for stakes_of in ("roi_kelly", "roi_flat"):
        assert np.isnan(mixed.intervals[stakes_of][0][1])
    alone = judged([stakes, stakes])
    assert np.isnan(alone.tests["auc"].adjusted).all()
    assert np.isfinite(alone.intervals["roi"][0]).all()


def test_games_without_numbers_of_weeks_are_grouped_by_their_kick_off():
    played = PLAYED.assign(week=PLAYED["week"].mask(PLAYED["week"] > 0))
    assert judged(rows(0.2, 0.6, played=played), played).n_weeks == 34


def test_without_a_bet_there_is_no_return_to_compare():
    told = rows(0.2, 0.6, played=games(priced=0.0))
    found = judged(told)
    assert np.isnan(found.tests["roi"].pairs.p_value).all()
    assert not found.tests["roi"].standing.tied.any()
    assert np.isnan(found.intervals["roi_flat"]).all()
