"""What models say together follows from the formulas, and from nothing later than what is said."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeproute.ensemble_methods import combine
from sweeproute.selection import ENSEMBLES

SEASONS = np.repeat([2016, 2017, 2018, 2019], 120)


def played(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """What three members say, (3, n_games), each with its own noise, and how the games ended."""
    chance = np.random.default_rng(seed)
    strength = chance.normal(0.2, 1.0, SEASONS.size)
    outcome = (chance.random(SEASONS.size) < 1 / (1 + np.exp(-strength))).astype(np.int8)
    noise = chance.normal(0, [[0.1], [1.5], [3.0]], (3, SEASONS.size))
    return 1 / (1 + np.exp(-(strength + noise))), outcome


def brier(says: np.ndarray, outcome: np.ndarray):
    return lambda member, games: float(np.mean((says[member, games] - outcome[games]) ** 2))


def together(method: str, says: np.ndarray, outcome: np.ndarray, **more):
    return combine(method, says, outcome, SEASONS, brier(says, outcome), **more)


def test_the_average_is_the_mean_of_probabilities():
    says, outcome = played()
    combined, weights = together("average", says, outcome)
    for game in range(SEASONS.size):
        assert combined[game] == pytest.approx(sum(says[member][game] for member in range(3)) / 3, abs=1e-15)
    assert [one.season for one in weights] == [2016, 2017, 2018, 2019]
    assert all(np.allclose(one.members, 1 / 3) for one in weights)


def test_best_of_says_what_was_best_in_the_seasons_before_says():
    says, outcome = played()
    says[:, SEASONS == 2016] = says[::-1, SEASONS == 2016]  # the last is the best in the first season, and never again
    combined, weights = together("best_of", says, outcome)
    for season in (2017, 2018, 2019):
        scores = []
        for member in range(3):
            squares = [(says[member][g] - outcome[g]) ** 2 for g in range(SEASONS.size) if SEASONS[g] < season]
            scores.append(sum(squares) / len(squares))
        best = scores.index(min(scores))
        assert (combined[season == SEASONS] == says[best, season == SEASONS]).all()
        assert weights[season - 2016].members.tolist() == [float(member == best) for member in range(3)]
    assert weights[1].members[2] == 1.0
    assert weights[3].members[0] == 1.0


def test_of_equals_the_first_is_the_best_and_what_has_no_score_never():
    says, outcome = played()
    for losses, best in (([1.0, 1.0, 2.0], 0), ([math.nan, 3.0, 2.0], 2), ([math.inf, 3.0, math.nan], 1)):
        combined, _ = combine("best_of", says, outcome, SEASONS, lambda member, games, of=losses: of[member])
        assert (combined[SEASONS == 2019] == says[best, SEASONS == 2019]).all()
    combined, weights = combine("best_of", says, outcome, SEASONS, lambda member, games: math.nan)
    assert {one.method for one in weights} == {"average"}
    assert (combined == says.mean(axis=0)).all()


def newton(log_odds: np.ndarray, outcome: np.ndarray, strength: float) -> np.ndarray:
    """Coefficients, then the intercept, of a logistic regression with a ridge penalty, by Newton's steps."""
    design = np.column_stack([log_odds.T, np.ones(outcome.size)])
    penalty = np.diag([1 / strength] * len(log_odds) + [0.0])
    at = np.zeros(design.shape[1])
    for _ in range(50):
        chances = 1 / (1 + np.exp(-design @ at))
        gradient = design.T @ (chances - outcome) + penalty @ at
        hessian = design.T @ (design * (chances * (1 - chances))[:, None]) + penalty
        at = at - np.linalg.solve(hessian, gradient)
    return at


@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
def test_stacking_is_a_penalised_logistic_regression_on_the_log_odds_of_the_seasons_before(strength: float):
    says, outcome = played()
    combined, weights = together("stacking", says, outcome, strength=strength, edge=1e-9)
    for season in (2017, 2018, 2019):
        before, now = season > SEASONS, season == SEASONS
        *coefficients, intercept = newton(np.log(says / (1 - says))[:, before], outcome[before], strength)
        told = weights[season - 2016]
        assert told.members == pytest.approx(coefficients, abs=1e-5)
        assert told.intercept == pytest.approx(intercept, abs=1e-5)
        log_odds = np.array(coefficients) @ np.log(says / (1 - says))[:, now] + intercept
        assert combined[now] == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-6)


def test_a_probability_of_one_is_held_off_it():
    says, outcome = played()
    says[0, ::7], says[0, 3::7] = 1.0, 0.0
    held = np.clip(says, 0.05, 0.95)
    combined, _ = together("stacking", says, outcome, edge=0.05)
    expected, _ = together("stacking", held, outcome, edge=0.05)
    assert np.isfinite(combined).all()
    assert (combined[SEASONS > 2016] == expected[SEASONS > 2016]).all()


@pytest.mark.parametrize("method", ENSEMBLES)
def test_in_the_first_season_it_is_the_average_and_so_it_is_while_all_games_ended_alike(method: str):
    says, outcome = played()
    outcome[SEASONS < 2018] = 1
    combined, weights = together(method, says, outcome)
    assert (combined[SEASONS == 2016] == says[:, SEASONS == 2016].mean(axis=0)).all()
    assert weights[0].method == "average"
    if method == "stacking":
        assert weights[1].method == "average"
        assert weights[3].method == "stacking"


@pytest.mark.parametrize("method", ENSEMBLES)
@settings(deadline=None, max_examples=25)
@given(season=st.integers(2016, 2019), seed=st.integers(0, 10_000))
def test_no_outcome_of_a_season_or_a_later_one_and_nothing_said_of_a_later_one_changes_it(
    method: str, season: int, seed: int
):
    says, outcome = played()
    others, ended = played(seed + 1)
    combined, _ = together(method, says, outcome)
    later = np.where(season < SEASONS, others, says)
    otherwise = np.where(season <= SEASONS, ended, outcome).astype(np.int8)
    again, _ = together(method, later, otherwise)
    upto = season >= SEASONS
    assert again[upto].tobytes() == combined[upto].tobytes()


@pytest.mark.parametrize("method", ["stacking", "best_of"])
def test_what_ended_before_does_change_it(method: str):
    says, outcome = played()
    combined, _ = together(method, says, outcome)
    as_the_worst_said = np.where(SEASONS < 2019, says[2] > 0.5, outcome).astype(np.int8)
    again, _ = together(method, says, as_the_worst_said)
    assert (again[SEASONS == 2019] != combined[SEASONS == 2019]).any()


@pytest.mark.parametrize("order", [[1, 2, 0], [2, 1, 0]])
def test_games_may_stand_in_any_order(order: list[int]):
    says, outcome = played()
    mixed = np.random.default_rng(1).permutation(SEASONS.size)
    for method in ENSEMBLES:
        combined, _ = together(method, says, outcome)
        shuffled = says[:, mixed]
        again, _ = combine(method, shuffled, outcome[mixed], SEASONS[mixed], brier(shuffled, outcome[mixed]))
        assert again == pytest.approx(combined[mixed], abs=1e-6)
        turned, _ = together(method, says[order], outcome)
        assert turned == pytest.approx(combined, abs=1e-6)
