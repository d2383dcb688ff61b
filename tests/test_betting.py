"""Tests of odds, bets and their settlement."""

import doctest
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeproute.betting import (
    NO_BET,
    BettingError,
    BettingRule,
    american_to_decimal,
    decimal_to_american,
    implied_probability,
    overround,
    roi,
    settle,
)


def test_american_odds_become_decimal() -> None:
    assert american_to_decimal([100, -100, 150, -200, 1000]) == pytest.approx([2, 2, 2.5, 1.5, 11])


def test_decimal_odds_become_american() -> None:
    assert decimal_to_american([2, 2.5, 1.5, 11]) == pytest.approx([100, 150, -200, 1000])


@given(st.floats(1.001, 1000))
def test_odds_survive_the_way_there_and_back(decimal: float) -> None:
    assert american_to_decimal(decimal_to_american(decimal)) == pytest.approx(decimal)


def test_absent_odds_stay_absent() -> None:
    assert np.isnan(american_to_decimal([np.nan])).all()
    assert np.isnan(decimal_to_american([np.nan])).all()
    assert np.isnan(implied_probability(np.array([[np.nan, 2.0]]))).all()


def test_numbers_that_are_no_odds_are_named() -> None:
    with pytest.raises(BettingError, match=r"1\.91 is not American odds"):
        american_to_decimal([150, 1.91])
    with pytest.raises(BettingError, match="odds of 1 pay no profit"):
        decimal_to_american([2.0, 1.0])


def test_the_overround_is_the_margin_and_is_removed() -> None:
    odds = np.array([[1.9, 1.9], [1.25, 4.0]])
    assert overround(odds) == pytest.approx([2 / 1.9 - 1, 0.05])
    assert implied_probability(odds) == pytest.approx([0.5, 0.8 / 1.05])


def test_the_better_side_is_bet_on_and_settled() -> None:
    bets = settle(
        np.array([0.6, 0.6, 0.3, 0.3]),
        np.array([[2.0, 1.8]] * 4),
        np.array([1, 0, 0, 1]),
        BettingRule(min_edge=0.02, stake=0.1),
    )
    assert bets.side.tolist() == [0, 0, 1, 1]
    assert bets.stake == pytest.approx([0.1] * 4)
    assert bets.profit == pytest.approx([0.1, -0.1, 0.08, -0.1])


def test_no_bet_is_missing_and_not_zero() -> None:
    bets = settle(np.array([0.5, 0.9]), np.array([[1.9, 1.9], [np.nan, 1.1]]), np.array([1, 1]), BettingRule())
    assert bets.side.tolist() == [NO_BET, NO_BET]
    assert np.isnan(bets.stake).all()
    assert np.isnan(bets.profit).all()
    assert np.isnan(roi(bets.profit, bets.stake))


def test_a_bet_needs_the_least_edge() -> None:
    odds, outcome = np.array([[2.0, 2.0]]), np.array([1])
    assert settle(np.array([0.75]), odds, outcome, BettingRule(min_edge=0.5)).side.tolist() == [0]
    assert settle(np.array([0.75]), odds, outcome, BettingRule(min_edge=0.51)).side.tolist() == [NO_BET]


def test_at_most_one_side_of_a_game_is_bet_on_even_when_both_are_underpriced() -> None:
    bets = settle(np.array([0.5, 0.5]), np.array([[2.2, 2.5], [2.2, 2.2]]), np.array([0, 0]), BettingRule())
    assert bets.side.tolist() == [1, 0]


def test_roi_is_profit_over_total_staked() -> None:
    assert roi(np.array([0.2, np.nan, -0.1, -0.1]), np.array([0.1, np.nan, 0.1, 0.1])) == pytest.approx(0.0, abs=1e-12)
    assert roi(np.array([0.3, np.nan]), np.array([0.1, np.nan])) == pytest.approx(3.0)


@pytest.mark.parametrize("settings", [{"min_edge": -0.01}, {"stake": 0.0}, {"stake": 1.5}, {"min_edge": float("nan")}])
def test_a_rule_that_cannot_be_is_named_with_its_key(settings: dict[str, float]) -> None:
    with pytest.raises(BettingError, match=f"betting.{next(iter(settings))}="):
        BettingRule(**settings)


def test_the_examples_in_the_docstrings_hold() -> None:
    tried = doctest.testmod(sys.modules["sweeproute.betting"])
    assert tried.attempted > 0
    assert tried.failed == 0
