"""Tests of the model confidence set, against the one in arch on the same resamples."""

import numpy as np
import pytest
from arch.bootstrap import MCS

from played_games import played
from sweeproute.significance import SignificanceError, Weeks, brier_losses, confidence_set, weeks_of


@pytest.mark.parametrize("seed", range(5))
def test_the_set_is_that_of_arch_on_the_same_resamples(seed: int) -> None:
    # Weeks of one game each: arch knows neither more, nor weeks that differ in size.
    chance = np.random.default_rng(seed)
    loss = chance.normal(size=200) + chance.normal(size=(7, 200)) + np.linspace(0, 0.5, 7)[:, None]
    peer = MCS(loss.T, size=0.1, reps=300, block_size=1, method="R", bootstrap="circular", seed=seed)
    peer.compute()
    drawn = np.array([np.bincount(index, minlength=200) for index in peer._bootstrap_indices], dtype=float)
    found = confidence_set(loss, Weeks(np.arange(200), drawn))
    theirs = peer.pvalues["Pvalue"].sort_index().to_numpy()
    # They count resamples alone, we one more in both counts.
    expected = np.where(theirs == 1, 1, (300 * theirs + 1) / 301)
    np.testing.assert_allclose(found.p_value, expected, atol=1e-12)
    assert len(set(found.p_value)) > 2


def test_the_set_holds_the_best_about_as_often_as_it_says_and_leaves_out_who_is_worse() -> None:
    chance, week = np.random.default_rng(3), np.repeat(np.arange(40), 8)
    held = sent_off = 0
    for seed in range(300):
        # Two are best, one is a little worse, one much; the games of a week are alike.
        loss = chance.normal(size=320) + chance.normal(size=(4, 320)) + chance.normal(size=(4, 40))[:, week] * 0.3
        loss += np.array([0.0, 0.0, 0.1, 0.6])[:, None]
        members = confidence_set(loss, weeks_of(week, 300, seed)).members(0.1)
        held += bool(members[:2].all())
        sent_off += not members[3]
    # Both stay in at least 0.9 of all runs; three standard deviations of 300 runs are 0.05.
    assert held / 300 > 0.85
    assert sent_off / 300 > 0.9


def test_where_all_are_equally_good_one_set_in_ten_leaves_somebody_out() -> None:
    chance, whole = np.random.default_rng(5), 0
    for seed in range(600):
        loss = chance.normal(size=(5, 200))
        whole += bool(confidence_set(loss, weeks_of(np.arange(200), 300, seed)).members(0.1).all())
    # Three standard deviations of 600 runs are 0.037.
    assert 0.863 < whole / 600 < 0.937


@pytest.mark.filterwarnings("error")
def test_identical_models_stay_and_leave_together() -> None:
    outcome, probability, week = played()
    loss, weeks = brier_losses(outcome, probability), weeks_of(week)
    alone = confidence_set(loss, weeks)
    doubled = confidence_set(np.vstack([loss, loss]), weeks)
    assert doubled.p_value[:4].tolist() == doubled.p_value[4:].tolist() == alone.p_value.tolist()
    assert alone.p_value.min() < 0.05
    same = confidence_set(loss[[2, 2, 2]], weeks)
    assert same.p_value.tolist() == [1, 1, 1]


@pytest.mark.filterwarnings("error")
def test_who_is_worse_by_the_same_in_every_week_is_out() -> None:
    loss = np.full((1, 40), 0.25) + np.array([[0.0], [0.125], [0.0]])
    found = confidence_set(loss, weeks_of(np.arange(40) // 4, n_resamples=99))
    assert found.p_value.tolist() == [1, 0.01, 1]
    assert found.members().tolist() == [True, False, True]


def test_the_lowest_loss_is_always_in() -> None:
    outcome, probability, week = played(n_models=6)
    found = confidence_set(brier_losses(outcome, probability), weeks_of(week))
    assert found.p_value[found.mean_loss.argmin()] == 1


@pytest.mark.filterwarnings("error")
def test_one_week_or_one_model_is_no_comparison() -> None:
    outcome, probability, week = played()
    loss = brier_losses(outcome, probability)
    assert np.isnan(confidence_set(loss, weeks_of(np.zeros(len(outcome)))).p_value).all()
    assert confidence_set(loss[:1], weeks_of(week)).p_value.tolist() == [1]
    assert np.isnan(confidence_set(np.empty((2, 0)), weeks_of([])).mean_loss).all()


def test_a_missing_loss_is_refused() -> None:
    with pytest.raises(SignificanceError, match="A loss of model 0 is inf"):
        confidence_set(np.array([[np.inf, 0.1]]), weeks_of([1, 2]))
