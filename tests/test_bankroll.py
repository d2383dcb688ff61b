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


def test_kelly_stakes_by_what_the_bankroll_is():
    says, outcome = np.array([0.6, 0.6, 0.7, 0.5]), np.array([1, 0, 0, 1])
    flat = settle(says, EVEN, outcome, BettingRule(min_edge=0.02))
    bets = bankroll.kelly(says, EVEN, outcome, DAYS, flat, 0.5)
    # At even odds Kelly's stake is 2 p - 1; the two games of the first day see the same bankroll, and cancel out.
    np.testing.assert_allclose(bets.stake, [0.1, 0.1, 0.2, np.nan])
    np.testing.assert_allclose(bets.profit, [0.1, -0.1, -0.2, np.nan])
    assert bets.side.tolist() == [0, 0, 0, NO_BET]


def test_bets_of_a_day_do_not_know_how_its_earlier_games_end():
    kickoff = np.array(["2024-09-08T13:00", "2024-09-08T16:05", "2024-09-08T20:20", "2024-09-09T00:00"], "M8[ns]")
    says = np.full(4, 0.6)
    first_wins, first_loses = np.array([1, 0, 1, 1]), np.array([0, 0, 1, 1])
    stakes = []
    for outcome in (first_wins, first_loses):
        flat = settle(says, EVEN, outcome, BettingRule())
        stakes.append(bankroll.kelly(says, EVEN, outcome, kickoff, flat, 0.5).stake)
    np.testing.assert_allclose(stakes[0], [0.1, 0.1, 0.1, 0.11])
    np.testing.assert_allclose(stakes[1], [0.1, 0.1, 0.1, 0.09])


@pytest.mark.parametrize("apart", ["0 hours", "3 hours"])
def test_bets_of_one_day_are_at_most_the_bankroll(apart):
    odds = [2.1, 2.0, 1.7]
    hours = int(apart.split()[0]) * np.arange(3).astype("timedelta64[h]")
    kickoff = np.datetime64("2024-09-08T13:00", "ns") + hours
    says, odds, lost = np.full(3, 0.9), np.column_stack([odds, odds]), np.zeros(3, int)
    flat = settle(says, odds, lost, BettingRule())
    bets = bankroll.kelly(says, odds, lost, kickoff, flat, 1.0)
    assert bets.stake.sum() == pytest.approx(1.0)
    moments = bankroll.path(bets.profit, kickoff)
    assert moments[-1] == pytest.approx(0.0, abs=1e-12)
    assert bankroll.drawdown(moments) == pytest.approx(1.0)
    assert bankroll.log_growth(moments) == float("-inf")


@pytest.mark.filterwarnings("error")
def test_odds_that_pay_nothing_or_are_not_there_get_no_stake():
    says, odds = np.array([1.0, 0.9, 0.6]), np.array([[1.0, 3.0], [np.nan, np.nan], [2.0, 2.0]])
    flat = settle(says, odds, np.array([1, 1, 1]), BettingRule(), on_every_game=True)
    bets = bankroll.kelly(says, odds, np.array([1, 1, 1]), DAYS[:3], flat, 1.0)
    np.testing.assert_allclose(bets.stake, [np.nan, np.nan, 0.2])


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
    # Flat stakes go on below 0, and may come back; whoever is ruined does not.
    assert bankroll.log_growth(np.array([1.0, -0.1, 2.0])) == float("-inf")
    assert bankroll.log_growth(np.array([1.0, 0.0, 2.0])) == float("-inf")
    assert bankroll.log_growth(np.array([1.0, 1e-9])) == pytest.approx(np.log(1e-9))
    assert bankroll.path(np.array([np.nan, np.nan]), DAYS[:2]).tolist() == [1.0, 1.0]
    assert bankroll.path(np.empty(0), DAYS[:0]).tolist() == [1.0]


def test_no_more_than_all_can_be_lost():
    assert bankroll.drawdown(np.array([1.0, 2.0, -0.5, 3.0])) == 1.0
    assert bankroll.drawdown(np.array([1.0, 0.0])) == 1.0
