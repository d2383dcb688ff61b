"""Tests that the bookmaker's beliefs follow from what he saw, and that his quotes are a bookmaker's."""

import numpy as np
import pytest

from sweeproute.betting import american_to_decimal, implied_probability, overround
from sweeproute.data.bookmaker import Beliefs, moneylines


def test_a_value_and_a_belief_of_equal_doubt_meet_halfway() -> None:
    beliefs = Beliefs(2, 4.0)
    beliefs.see(np.array([[1.0, 0.0]]), np.array([6.0]), 4.0)
    assert beliefs.mean == pytest.approx([3, 0])
    assert beliefs.variance_of(np.eye(2)) == pytest.approx([2, 4])


def test_a_difference_that_was_seen_tells_nothing_of_the_sum() -> None:
    beliefs = Beliefs(2, 4.0)
    difference, total = np.array([[1.0, -1.0]]), np.array([[1.0, 1.0]])
    beliefs.see(difference, np.array([8.0]), 8.0)
    assert beliefs.mean == pytest.approx([2, -2])
    assert beliefs.variance_of(difference) == pytest.approx(4)
    assert beliefs.variance_of(total) == pytest.approx(8)


def test_time_shrinks_what_was_believed_and_adds_doubt() -> None:
    beliefs = Beliefs(2, 4.0)
    beliefs.see(np.eye(2), np.array([6.0, -2.0]), 4.0)
    beliefs.move(0.5 * np.eye(2), 1.0)
    assert beliefs.mean == pytest.approx([1.5, -0.5])
    assert beliefs.variance_of(np.eye(2)) == pytest.approx([1.5, 1.5])


def test_the_order_of_what_is_seen_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    design, values = rng.normal(size=(6, 4)), rng.normal(size=6)
    at_once, one_by_one = Beliefs(4, 3.0), Beliefs(4, 3.0)
    at_once.see(design, values, 2.0)
    for row in reversed(range(6)):
        one_by_one.see(design[row : row + 1], values[row : row + 1], 2.0)
    assert one_by_one.mean == pytest.approx(at_once.mean)
    assert one_by_one.covariance == pytest.approx(at_once.covariance)


def test_quotes_carry_the_probability_and_the_overround() -> None:
    probability, margin = np.array([0.1, 0.5, 0.83]), np.array([0.03, 0.04, 0.045])
    quotes = moneylines(probability, margin)
    assert (quotes == np.round(quotes)).all()
    odds = american_to_decimal(quotes)
    assert implied_probability(odds) == pytest.approx(probability, abs=0.003)
    assert overround(odds) == pytest.approx(margin, abs=0.005)


def test_a_sure_thing_still_has_a_price() -> None:
    odds = american_to_decimal(moneylines(np.array([0.999, 0.001]), np.array([0.03, 0.03])))
    assert (odds > 1).all()
    assert odds.max() <= 51
