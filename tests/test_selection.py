"""Tests of the rule by which the best is chosen."""

import doctest
import math

import pytest

from sweeproute import selection
from sweeproute.selection import DirectionError, Objective, finite, maximize, objectives


def test_the_direction_follows_from_our_metrics_and_may_be_said():
    assert [name for name in ("auc", "roi", "brier", "log_loss", "ece") if maximize(name)] == ["auc", "roi"]
    assert maximize("brier", "maximize")
    assert maximize("platt/auc")
    assert not maximize("isotonic/brier")
    assert not maximize("sharpe", "minimize")


def test_a_direction_that_is_not_known_is_answered_with_those_that_are():
    with pytest.raises(DirectionError, match="'sharpe' is better is not known"):
        maximize("sharpe")
    with pytest.raises(DirectionError, match="nearest match first: auc, ace, accuracy, roi"):
        maximize("acu")
    with pytest.raises(DirectionError, match="did you mean 'minimize'"):
        maximize("auc", "min")


def test_what_no_model_changes_cannot_be_chosen_by_though_it_is_a_detail():
    with pytest.raises(DirectionError, match="'platt/brier_uncertainty' is better is not known"):
        maximize("platt/brier_uncertainty")
    assert "brier_uncertainty" in selection.DETAILS & selection.OURS
    assert maximize("brier_uncertainty", "minimize") is False


def test_what_the_store_makes_of_an_infinity_is_not_finite_either():
    values = [0.5, -1e300, math.nan, math.inf, -math.inf, 1.7976931348623157e308]
    assert [finite(value) for value in values] == [True, True, False, False, False, False]


def test_one_metric_or_several_decide_each_with_its_direction():
    assert objectives("auc") == (Objective("auc", True),)
    assert objectives(["auc", "brier"]) == (Objective("auc", True), Objective("brier", False))
    assert objectives(["sharpe", "auc"], ["maximize", None]) == (Objective("sharpe", True), Objective("auc", True))
    with pytest.raises(DirectionError, match=r"metric names 2 \(auc, brier\), direction 1 \(maximize\); give one"):
        objectives(["auc", "brier"], "maximize")
    with pytest.raises(DirectionError, match="'sharpe' is better is not known"):
        objectives(["auc", "sharpe"])


def test_less_of_a_loss_is_better_whatever_the_direction():
    up, down = objectives(["auc", "brier"])
    assert (up.loss(0.8), down.loss(0.2)) == (-0.8, 0.2)
    assert (up.direction, down.direction) == ("maximize", "minimize")


def test_the_examples_run():
    assert doctest.testmod(selection).failed == 0
