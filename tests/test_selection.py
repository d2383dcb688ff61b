"""Tests of the rule by which the best is chosen."""

import math

import pytest

from sweeproute.selection import DirectionError, finite, maximize


def test_the_direction_follows_from_our_metrics_and_may_be_said():
    assert [name for name in ("auc", "roi", "brier", "log_loss", "ece") if maximize(name)] == ["auc", "roi"]
    assert maximize("brier", "maximize")
    assert not maximize("sharpe", "minimize")


def test_a_direction_that_is_not_known_is_answered_with_those_that_are():
    with pytest.raises(DirectionError, match="'sharpe' is better is not known"):
        maximize("sharpe")
    with pytest.raises(DirectionError, match="nearest match first: auc, roi"):
        maximize("acu")
    with pytest.raises(DirectionError, match="did you mean 'minimize'"):
        maximize("auc", "min")


def test_what_the_store_makes_of_an_infinity_is_not_finite_either():
    values = [0.5, -1e300, math.nan, math.inf, -math.inf, 1.7976931348623157e308]
    assert [finite(value) for value in values] == [True, True, False, False, False, False]
