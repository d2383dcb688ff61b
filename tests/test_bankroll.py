"""What bets do to a bankroll."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeproute import bankroll
from sweeproute.betting import NO_BET, BettingRule, settle

DAYS = np.array(["2024-09-08", "2024-09-08", "2024-09-15", "2024-09-22"], "datetime64[ns]")
EVEN = np.full((4, 2), 2.0)


def test_the_examples_hold():
    assert doctest.testmod(bankroll).failed == 0


def test_kelly_stakes_what_the_bankroll_is_at_kick_off():
    says, outcome = np.array([0.6, 0.6, 0.7, 0.5]), np.array([1, 0, 0, 1])
    flat = settle(says, EVEN, outcome, BettingRule(min_edge=0.02))
    bets = bankroll.kelly(says, EVEN, outcome, DAYS, flat, 0.5)
    # At even odds Kelly's stake is 2 p - 1; the two games of the first day see the same bankroll, and cancel out.
    np.testing.assert_allclose(bets.stake, [0.1, 0.1, 0.2, np.nan])
    np.testing.assert_allclose(bets.profit, [0.1, -0.1, -0.2, np.nan])
    assert bets.side.tolist() == [0, 0, 0, NO_BET]


def test_bets_of_one_kick_off_are_at_most_the_bankroll():
    says, odds = np.array([0.9, 0.9]), np.full((2, 2), 2.0)
    flat = settle(says, odds, np.array([0, 0]), BettingRule())
    bets = bankroll.kelly(says, odds, np.array([0, 0]), DAYS[:2], flat, 1.0)
    assert bets.stake.sum() == pytest.approx(1.0)
    moments = bankroll.path(bets.profit, DAYS[:2])
    assert moments[-1] == pytest.approx(0.0, abs=1e-12)
    assert bankroll.drawdown(moments) == pytest.approx(1.0)


def test_a_bet_at_an_expected_loss_is_not_staked():
    says, odds, outcome = np.array([0.5]), np.array([[1.9, 1.9]]), np.array([1])
    flat = settle(says, odds, outcome, BettingRule(), on_every_game=True)
    assert flat.side.tolist() == [0]
    sized = bankroll.kelly(says, odds, outcome, DAYS[:1], flat, 0.25)
    assert sized.side.tolist() == [NO_BET]
    assert np.isnan(sized.stake).all()


@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.booleans(), st.integers(0, 3)), min_size=1, max_size=30))
def test_a_bankroll_is_never_negative_and_does_not_hang_on_the_order_of_rows(games):
    says, won, day = (np.array(column) for column in zip(*games, strict=True))
    outcome, kickoff = won.astype(int), DAYS[0] + 7 * day.astype("timedelta64[D]")
    odds = np.tile([2.1, 1.8], (len(says), 1))

    def moments(order) -> np.ndarray:
        flat = settle(says[order], odds, outcome[order], BettingRule(min_edge=0.0))
        return bankroll.path(
            bankroll.kelly(says[order], odds, outcome[order], kickoff[order], flat, 1.0).profit, kickoff[order]
        )

    forward = moments(np.arange(len(says)))
    assert (forward > -1e-9).all()
    np.testing.assert_allclose(moments(np.arange(len(says))[::-1]), forward, atol=1e-9)
    assert 0 <= bankroll.drawdown(forward) <= 1 + 1e-9


def test_growth_is_a_logarithm_and_ruin_is_minus_infinity():
    assert bankroll.log_growth(np.array([1.0, 0.5, 2.0])) == pytest.approx(np.log(2))
    assert bankroll.log_growth(np.array([1.0, -0.1])) == float("-inf")
    assert bankroll.path(np.array([np.nan, np.nan]), DAYS[:2]).tolist() == [1.0, 1.0]
    assert bankroll.path(np.empty(0), DAYS[:0]).tolist() == [1.0]
