"""Tests of weeks and their resamples, and of what holds for all that rests on them."""

import doctest
import subprocess
import sys

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from played_games import played, staked
from sweeproute.significance import (
    SignificanceError,
    areas,
    brier_losses,
    confidence_set,
    holm_pairs,
    mean_intervals,
    paired_bootstrap,
    paired_test,
    roi_intervals,
    standing_of_pairs,
    standing_of_set,
    weeks_of,
)

FIXED = hypothesis.settings(derandomize=True, deadline=None, max_examples=40)


def everything(outcome, probability, profit, stake, weeks) -> dict[str, np.ndarray]:
    """All that a table could show, by name; the first axis, or both, are of models."""
    loss = brier_losses(outcome, probability)
    area, test, boot = areas(outcome, probability), paired_test(loss, weeks), paired_bootstrap(profit, weeks, stake)
    mean, roi, best = mean_intervals(loss, weeks), roi_intervals(profit, stake, weeks), confidence_set(loss, weeks)
    standing = standing_of_pairs(area.auc, holm_pairs(area.pairs.p_value), higher_is_better=True)
    by_week = areas(outcome, probability, weeks)
    found = {"auc": area.auc, "low": area.low, "set": best.p_value, "tied": standing.tied, "bold": standing.bold}
    found |= {"in the set": standing_of_set(best).tied}
    for name, pairs in {"areas": area.pairs, "areas by week": by_week.pairs, "test": test, "bootstrap": boot}.items():
        found |= {f"{name} {part}": getattr(pairs, part) for part in ("difference", "standard_error", "p_value")}
    for name, interval in {"mean": mean, "roi": roi}.items():
        found |= {f"{name} {part}": getattr(interval, part) for part in ("estimate", "low", "high", "dropped")}
    return found


@FIXED
@hypothesis.given(st.integers(1, 5), st.integers(2, 12), st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_the_order_of_models_does_not_matter(n_models, n_weeks, seed, chance) -> None:
    outcome, probability, week = played(n_weeks, n_models, seed)
    profit, stake = staked(outcome, probability, seed)
    weeks = weeks_of(week, n_resamples=60, seed=seed)
    place = chance.sample(range(n_models), n_models)
    plain = everything(outcome, probability, profit, stake, weeks)
    turned = everything(outcome, probability[place], profit[place], stake[place], weeks)
    for name, value in plain.items():
        expected = value[place] if value.ndim == 1 else value[np.ix_(place, place)]
        # To the last bit, except for the covariance, where a product over all models is taken at once.
        np.testing.assert_allclose(turned[name], expected, atol=0, rtol=1e-12 * (name == "low"), err_msg=name)


@FIXED
@hypothesis.given(st.integers(1, 5), st.integers(2, 12), st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_identical_models_tie_and_change_nothing_for_others(n_models, n_weeks, seed, chance) -> None:
    outcome, probability, week = played(n_weeks, n_models, seed)
    profit, stake = staked(outcome, probability, seed)
    weeks = weeks_of(week, n_resamples=60, seed=seed)
    place = [*range(n_models), *(chance.randrange(n_models) for _ in range(2))]
    plain = everything(outcome, probability, profit, stake, weeks)
    more = everything(outcome, probability[place], profit[place], stake[place], weeks)
    for name in plain.keys() - {"tied", "bold"}:
        # More pairs mean another adjustment by Holm, and nothing else.
        expected = plain[name][place] if plain[name].ndim == 1 else plain[name][np.ix_(place, place)]
        np.testing.assert_allclose(more[name], expected, atol=1e-12, err_msg=name)
    for one, other in enumerate(place[n_models:], n_models):
        assert more["tied"][one] == more["tied"][other]
        assert not more["bold"][[one, other]].any()
        for name in ("areas", "areas by week", "test", "bootstrap"):
            p = more[f"{name} p_value"][one, other]
            assert p == 1 or np.isnan(p), name


@FIXED
@hypothesis.given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_the_order_of_games_and_the_names_of_weeks_do_not_matter(seed, chance) -> None:
    outcome, probability, week = played(8, 3, seed)
    profit, stake = staked(outcome, probability, seed)
    order = list(range(len(week)))
    chance.shuffle(order)
    plain = everything(outcome, probability, profit, stake, weeks_of(week, 200))
    named = np.array([f"2023-{number:02}" for number in week[order]])
    other = everything(outcome[order], probability[:, order], profit[:, order], stake[:, order], weeks_of(named, 200))
    for name, value in plain.items():
        # p-values are counts, in which rounding could move one resample of 200.
        np.testing.assert_allclose(other[name], value, rtol=1e-9, atol=1e-9 + 0.006 * ("p_value" in name), err_msg=name)


def test_a_seed_gives_the_same_bits_and_another_gives_others() -> None:
    outcome, probability, week = played()
    profit, stake = staked(outcome, probability)
    first, again, other = (everything(outcome, probability, profit, stake, weeks_of(week, 300, s)) for s in (1, 1, 2))
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert first["roi low"].tobytes() != other["roi low"].tobytes()
    assert first["test p_value"].tobytes() == other["test p_value"].tobytes()


def test_as_many_weeks_are_drawn_as_there_are_each_as_often_as_another() -> None:
    weeks = weeks_of(np.repeat(np.arange(30), 3), n_resamples=5000)
    assert (weeks.n_weeks, weeks.n_resamples, weeks.counts.shape) == (30, 5000, (5000, 30))
    assert (weeks.counts.sum(axis=1) == 30).all()
    # The counts are those of 30 draws among 30: mean 1, variance 29 / 30.
    np.testing.assert_allclose(weeks.counts.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(weeks.counts.var(axis=0), 29 / 30, rtol=0.12)


def test_sums_and_totals_are_those_of_a_loop() -> None:
    chance = np.random.default_rng(0)
    value = chance.normal(size=(3, 40))
    value[:, ::7] = np.nan
    week = chance.integers(0, 6, 40)
    weeks = weeks_of(week, 10)
    sums = weeks.sums(value)
    np.testing.assert_allclose(sums, [[np.nansum(row[week == number]) for number in range(6)] for row in value])
    np.testing.assert_allclose(weeks.resampled(sums), [[counts @ row for counts in weeks.counts] for row in sums])


@pytest.mark.parametrize(
    ("label", "n_resamples", "words"),
    [
        ([[1, 2]], 10, r"Labels of weeks have shape \(1, 2\)"),
        ([1.0, float("nan"), 2.0], 10, "1 of 3 games have no week"),
        ([1, None, None], 10, "2 of 3 games have no week"),
        ([1, 2], 0, "n_resamples=0 draws nothing"),
    ],
)
def test_labels_and_numbers_that_cannot_be_are_refused(label, n_resamples, words) -> None:
    with pytest.raises(SignificanceError, match=words):
        weeks_of(label, n_resamples)


def test_labels_from_a_table_that_are_missing_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(SignificanceError, match="1 of 2 games have no week"):
        weeks_of(pandas.array([202301, None], dtype="Int64"))


def test_importing_it_loads_neither_scipy_nor_pandas() -> None:
    code = "import sys, sweeproute.significance; print({'scipy', 'pandas', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr


def test_the_examples_in_the_docstrings_hold() -> None:
    tried = doctest.testmod(sys.modules["sweeproute.significance.weeks"])
    assert tried.attempted > 0
    assert tried.failed == 0
