"""Tests of areas under ROC curves, against R's pROC where it is, and against what it once said where it is not."""

import doctest
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from played_games import furthest_from_uniform, played
from sweeproute import scores
from sweeproute.significance import SignificanceError, areas, weeks_of

# R reads games and models from a table and prints intervals, covariances and p-values, one model a line.
IN_R = """
suppressPackageStartupMessages(library(pROC))
games <- read.csv(commandArgs(TRUE)[1])
curves <- lapply(games[-1], function(model)
  roc(games[[1]], model, levels = c(0, 1), direction = "<", quiet = TRUE))
say <- function(numbers) cat(sprintf("%.17g", numbers), "\\n")
for (curve in curves) say(ci.auc(curve, method = "delong", conf.level = 0.9))
for (curve in curves) say(sapply(curves, function(other) cov(curve, other, method = "delong")))
for (curve in curves) say(sapply(curves, function(other)
  roc.test(curve, other, method = "delong", paired = TRUE)$p.value))
"""


def r_or_skip() -> None:
    """Skip the test that asks where there is no R with pROC; fail it where the machine is said to have one."""
    why = ""
    if shutil.which("Rscript") is None:
        why = "no Rscript here: apt-get install r-base-core r-cran-proc"
    elif subprocess.run(["Rscript", "-e", "library(pROC)"], capture_output=True, check=False).returncode:
        why = "R has no pROC here: apt-get install r-cran-proc"
    if why and os.environ.get("SWEEPROUTE_EXPECT_R") == "1":
        pytest.fail(f"SWEEPROUTE_EXPECT_R=1, and {why}")
    if why:
        pytest.skip(why)


@pytest.mark.parametrize(("n_weeks", "n_models", "seed"), [(2, 3, 1), (40, 4, 2), (60, 6, 3)])
def test_areas_covariances_intervals_and_tests_are_those_of_proc(
    n_weeks: int, n_models: int, seed: int, tmp_path: Path
) -> None:
    r_or_skip()
    outcome, probability, _ = played(n_weeks, n_models, seed)
    table = tmp_path / "games.csv"
    names = ",".join(["outcome", *(f"m{number}" for number in range(n_models))])
    np.savetxt(table, np.column_stack([outcome, probability.T]), delimiter=",", header=names, comments="", fmt="%.17g")
    script = tmp_path / "delong.R"
    script.write_text(IN_R, encoding="utf-8")
    done = subprocess.run(["Rscript", str(script), str(table)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
    interval, covariance, p_value = (np.array(said[n : n + n_models]) for n in range(0, 3 * n_models, n_models))
    found = areas(outcome, probability, level=0.9)
    exact = {"rtol": 0, "atol": 1e-9}
    np.testing.assert_allclose(np.column_stack([found.low, found.auc, found.high]), interval, **exact)
    np.testing.assert_allclose(found.covariance, covariance, **exact)
    np.testing.assert_allclose(found.pairs.p_value, p_value, **exact)
    assert found.pairs.p_value[~np.eye(n_models, dtype=bool)].min() < 0.9


def test_a_small_example_is_as_proc_once_said() -> None:
    # Said by pROC 1.18.0 under R 4.2.2, at a level of 0.95.
    outcome = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0])
    probability = np.array(
        [
            [0.2, 0.6, 0.7, 0.4, 0.5, 0.5, 0.3, 0.9, 0.4, 0.1, 0.8, 0.6],
            [0.3, 0.5, 0.8, 0.3, 0.3, 0.6, 0.2, 0.7, 0.5, 0.5, 0.6, 0.4],
            [0.6, 0.6, 0.6, 0.5, 0.4, 0.4, 0.5, 0.7, 0.5, 0.6, 0.5, 0.6],
        ]
    )
    found = areas(outcome, probability)
    assert found.auc == pytest.approx([0.875, 0.79166666666666663, 0.54166666666666663], abs=1e-12)
    assert found.low == pytest.approx([0.67945782324222648, 0.52662157667199039, 0.20297768149958884], abs=1e-12)
    assert found.high == pytest.approx([1, 1, 0.88035565183374442], abs=1e-12)
    assert found.covariance[np.triu_indices(3)] == pytest.approx(
        [
            *(0.0099537037037037042, 0.0067129629629629631, 0.0055555555555555566),
            *(0.018287037037037036, 0.0071759259259259276, 0.029861111111111113),
        ],
        abs=1e-12,
    )
    assert found.pairs.p_value[np.triu_indices(3, 1)] == pytest.approx(
        [0.49356278970338913, 0.049128186522356856, 0.17386307696481121], abs=1e-12
    )


def test_areas_are_those_of_the_scores_to_the_last_bit() -> None:
    outcome, probability, _ = played()
    assert areas(outcome, probability).auc.tolist() == [scores.auc(outcome, row) for row in probability]


def test_standard_errors_of_differences_are_those_of_the_covariance() -> None:
    outcome, probability, _ = played()
    found = areas(outcome, probability)
    variance = np.diagonal(found.covariance)
    between = variance[:, None] + variance - 2 * found.covariance
    np.testing.assert_allclose(found.pairs.standard_error**2, between, atol=1e-15)


def test_models_that_order_the_games_alike_cannot_be_told_apart() -> None:
    outcome, probability, _ = played()
    squared = np.vstack([probability, probability[1] ** 2])
    found = areas(outcome, squared)
    assert found.pairs.p_value[1, 4] == 1
    assert found.pairs.standard_error[1, 4] == 0
    assert found.pairs.p_value[0, 4] == found.pairs.p_value[0, 1]
    assert (np.diagonal(found.pairs.p_value) == 1).all()


@pytest.mark.filterwarnings("error")
def test_what_is_undefined_is_nan_without_a_warning() -> None:
    probability = np.array([[0.2, 0.4, 0.6], [0.5, 0.5, 0.5]])
    for outcome in ([1, 1, 1], [0, 0, 0]):
        found = areas(np.array(outcome), probability)
        everything = [found.auc, found.covariance, found.low, found.high, found.pairs.difference, found.pairs.p_value]
        assert all(np.isnan(one).all() for one in everything)
    lonely = areas(np.array([1, 0, 0]), probability)
    assert lonely.auc.tolist() == [0.0, 0.5]
    assert np.isnan(lonely.covariance).all()
    assert np.isnan(lonely.pairs.p_value).all()
    nobody = areas(np.array([], dtype=int), np.empty((2, 0)))
    assert np.isnan(nobody.auc).all()


@pytest.mark.filterwarnings("error")
def test_areas_without_error_are_the_same_or_differ_for_sure() -> None:
    found = areas(np.array([0, 0, 1, 1]), np.array([[0.1, 0.2, 0.3, 0.4], [0.1, 0.1, 0.9, 0.9], [0.5] * 4]))
    assert found.auc.tolist() == found.high.tolist() == found.low.tolist() == [1.0, 1.0, 0.5]
    assert found.pairs.p_value.tolist() == [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def test_p_values_are_uniform_where_models_are_equally_good() -> None:
    chance = np.random.default_rng(8)
    found = []
    for _ in range(600):
        outcome = chance.integers(0, 2, 200)
        shared = outcome + chance.normal(size=200)
        found.append(areas(outcome, shared + chance.normal(size=(2, 200))).pairs.p_value[0, 1])
    # Of uniform p-values, one set of 600 in a hundred is further than 0.066.
    assert furthest_from_uniform(np.array(found)) < 0.066


def test_with_one_game_a_week_weeks_change_nothing() -> None:
    outcome, probability, _ = played()
    alone, grouped = areas(outcome, probability), areas(outcome, probability, weeks_of(np.arange(len(outcome)), 1))
    np.testing.assert_array_equal(grouped.covariance, alone.covariance)
    np.testing.assert_array_equal(grouped.pairs.p_value, alone.pairs.p_value)


def test_the_covariance_by_week_is_that_of_sums_over_pairs_of_games() -> None:
    # As in the paper, with each component counted from its pairs of games.
    outcome, probability, week = played(n_weeks=6, n_models=2, seed=4)
    won, lost = np.flatnonzero(outcome == 1), np.flatnonzero(outcome == 0)
    sums_won, sums_lost, auc = np.zeros((2, 6)), np.zeros((2, 6)), []
    for model, row in enumerate(probability):
        above = (row[won][:, None] > row[lost]) + (row[won][:, None] == row[lost]) / 2
        auc.append(above.mean())
        for number in range(6):
            here_won, here_lost = week[won] == number, week[lost] == number
            sums_won[model, number] = above.mean(axis=1)[here_won].sum() - here_won.sum() * auc[model]
            sums_lost[model, number] = above.mean(axis=0)[here_lost].sum() - here_lost.sum() * auc[model]
    weeks_won, weeks_lost = len(set(week[won])), len(set(week[lost]))
    s10 = weeks_won / ((weeks_won - 1) * len(won)) * sums_won @ sums_won.T
    s01 = weeks_lost / ((weeks_lost - 1) * len(lost)) * sums_lost @ sums_lost.T
    s11 = 6 / 5 * sums_won @ sums_lost.T
    expected = s10 / len(won) + s01 / len(lost) + (s11 + s11.T) / (len(won) * len(lost))
    found = areas(outcome, probability, weeks_of(week, 1))
    assert found.auc == pytest.approx(auc)
    np.testing.assert_allclose(found.covariance, expected, atol=1e-14)
    between = expected[0, 0] + expected[1, 1] - 2 * expected[0, 1]
    assert found.pairs.standard_error[0, 1] == pytest.approx(np.sqrt(between))


def test_where_games_of_a_week_are_alike_the_test_by_week_is_right_and_the_one_by_game_is_not() -> None:
    chance, week = np.random.default_rng(2), np.repeat(np.arange(80), 8)
    weeks = weeks_of(week, 1)
    by_week, by_game = [], []
    for _ in range(600):
        outcome = chance.integers(0, 2, 640)
        # In a week, a model leans to the home sides or away from them, and sees well or badly.
        lean, sight = chance.normal(scale=0.7, size=(2, 80)), chance.normal(scale=0.7, size=(2, 80))
        seen = (outcome * 2 - 1) * (0.7 + sight[:, week]) + lean[:, week] + chance.normal(size=(2, 640))
        by_week.append(areas(outcome, seen, weeks).pairs.p_value[0, 1])
        by_game.append(areas(outcome, seen).pairs.p_value[0, 1])
    assert furthest_from_uniform(np.array(by_week)) < 0.066
    assert 0.03 < np.mean(np.array(by_week) <= 0.05) < 0.08
    assert np.mean(np.array(by_game) <= 0.05) > 0.12


@pytest.mark.filterwarnings("error")
def test_one_week_gives_no_covariance() -> None:
    outcome, probability, week = played(n_weeks=1)
    found = areas(outcome, probability, weeks_of(week, 1))
    assert np.isfinite(found.auc).all()
    assert np.isnan(found.covariance).all()
    assert np.isnan(found.pairs.p_value).all()
    with pytest.raises(SignificanceError, match="weeks of 2 games and outcomes of 16"):
        areas(outcome, probability, weeks_of([1, 2]))


@pytest.mark.parametrize(
    ("outcome", "probability", "words"),
    [
        ([0, 1, 1], [[0.1, 0.2]], r"Outcomes have shape \(3,\) and probabilities \(1, 2\)"),
        ([0, 1], [0.1, 0.2], r"Outcomes have shape \(2,\) and probabilities \(2,\)"),
        ([0, 2], [[0.1, 0.2]], "An outcome is 2; it must be 1"),
        ([0, 1], [[0.1, 0.2], [0.1, float("nan")]], "Model 1 has no probability for a game"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(outcome: list, probability: list, words: str) -> None:
    with pytest.raises(SignificanceError, match=words):
        areas(np.array(outcome), np.array(probability))


def test_a_level_is_a_share() -> None:
    with pytest.raises(SignificanceError, match="level=95 is no share"):
        areas(np.array([0, 1]), np.array([[0.1, 0.2]]), level=95)


def test_the_examples_in_the_docstrings_hold() -> None:
    tried = doctest.testmod(sys.modules["sweeproute.significance.delong"])
    assert tried.attempted > 0
    assert tried.failed == 0
