"""The environment of a bettor: what it sees, what a bet brings, and that nothing of it is early."""

from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from sweeproute.betting import BettingRule, implied_probability, overround, place
from sweeproute.models.betting_environment import BettingEnvironment, profits, units_of
from sweeproute.models.betting_observation import LIMIT, Scale, observe
from synthetic_games import games

DATASET = games(seasons=(2003, 2006), per_season=40, n_features=4)
FEATURES = DATASET.features.to_numpy(dtype=np.float64)
SCALE = Scale.of(FEATURES, DATASET.odds)
SEEN = observe(FEATURES, DATASET.odds, SCALE)
PRICED = np.flatnonzero(~np.isnan(DATASET.odds).any(axis=1))


def environment(**changes: Any) -> BettingEnvironment:
    given = {"observations": SEEN, "odds": DATASET.odds, "outcome": DATASET.outcome, "season": DATASET.season}
    return BettingEnvironment(**given | changes)


def played(one: BettingEnvironment, season: int, actions: Any) -> tuple[np.ndarray, np.ndarray]:
    """What is seen before each bet of a season, and the rewards."""
    seen, told = one.reset(options={"season": season})
    assert told == {"season": season}
    sights, rewards, over = [], [], False
    while not over:
        sights.append(seen)
        seen, reward, over, _, _ = one.step(actions(len(rewards)))
        rewards.append(reward)
    return np.array(sights), np.array(rewards)


@pytest.mark.filterwarnings("error")
def test_gymnasiums_own_checker_has_nothing_to_say() -> None:
    check_env(environment(), skip_render_check=True)


def test_an_episode_is_a_season_in_the_order_of_kick_off_and_games_without_odds_are_passed_over() -> None:
    for season in np.unique(DATASET.season):
        sights, _ = played(environment(), season, lambda step: 0)
        rows = PRICED[DATASET.season[PRICED] == season]
        assert len(rows) < 40
        np.testing.assert_array_equal(sights, SEEN[rows])


# Nothing is early


def test_what_is_seen_of_a_game_does_not_depend_on_how_it_or_any_other_ends() -> None:
    flipped = environment(outcome=1 - DATASET.outcome)
    before, won = played(environment(), 2005, lambda step: 1)
    after, lost = played(flipped, 2005, lambda step: 1)
    assert before.tobytes() == after.tobytes()
    assert (np.sign(won) == -np.sign(lost)).all()


@pytest.mark.parametrize("cut", [1, 17, 30])
def test_what_is_seen_of_a_game_does_not_depend_on_later_games(cut: int) -> None:
    rows = PRICED[DATASET.season[PRICED] == 2004]
    later = np.arange(len(FEATURES)) >= rows[cut]
    wild, odds = np.where(later[:, None], 100.0, FEATURES), np.where(later[:, None], 7.0, DATASET.odds)
    outcome = np.where(later, 1 - DATASET.outcome, DATASET.outcome)
    other = environment(observations=observe(wild, odds, SCALE), odds=odds, outcome=outcome)
    before, brought = played(environment(), 2004, lambda step: 1 + step % 4)
    after, brings = played(other, 2004, lambda step: 1 + step % 4)
    assert before[:cut].tobytes() == after[:cut].tobytes()
    assert brought[:cut].tobytes() == brings[:cut].tobytes()
    assert before[cut:].tobytes() != after[cut:].tobytes()


def test_what_is_seen_does_not_depend_on_earlier_bets() -> None:
    quiet, _ = played(environment(), 2006, lambda step: 0)
    wild, _ = played(environment(), 2006, lambda step: step % 5)
    assert quiet.tobytes() == wild.tobytes()


def test_a_game_is_seen_by_its_features_and_its_odds_each_at_its_own_place() -> None:
    assert SEEN.shape == (len(FEATURES), 4 + 4)
    assert np.abs(SEEN).max() <= LIMIT
    known = SEEN[PRICED]
    market = np.column_stack([implied_probability(DATASET.odds), overround(DATASET.odds), DATASET.odds])[PRICED]
    for column in range(4):
        assert np.corrcoef(known[:, 4 + column], market[:, column])[0, 1] > 0.97  # but for what is cut
    missing = np.isnan(FEATURES)
    assert missing.any()
    assert (SEEN[:, :4][missing] == 0).all()


def test_the_scale_is_that_of_what_is_known() -> None:
    np.testing.assert_allclose(SCALE.mean[:4], np.nanmean(FEATURES, axis=0))
    np.testing.assert_allclose(SCALE.deviation[:4], np.nanstd(FEATURES, axis=0))
    still = Scale.of(np.ones((3, 1)), np.full((3, 2), np.nan))
    assert still.deviation.tolist() == [1.0] * 5


# What a bet brings


def test_no_bet_brings_nothing() -> None:
    _, rewards = played(environment(), 2003, lambda step: 0)
    assert not rewards.any()


@pytest.mark.parametrize("margin", [0.0, 0.02, 0.05])
def test_a_bet_on_either_side_is_expected_to_lose_what_the_bookmaker_keeps(margin: float) -> None:
    chance = np.linspace(0.1, 0.9, 9)
    odds = 1 / np.column_stack([chance, 1 - chance]) / (1 + margin)
    np.testing.assert_allclose(overround(odds), margin, atol=1e-12)
    for units in (-2, -1, 1, 2):
        staked = np.full(9, units)
        won, lost = (profits(staked, odds, np.full(9, outcome)) for outcome in (1, 0))
        expected = chance * won + (1 - chance) * lost
        np.testing.assert_allclose(expected, -abs(units) * margin / (1 + margin), atol=1e-12)


def test_who_backs_both_sides_loses_exactly_the_overround() -> None:
    # Stakes in proportion to the inverse odds pay one unit whoever wins, and cost one and the overround.
    odds = DATASET.odds[PRICED]
    inverse = 1 / odds
    for outcome in (0, 1):
        ended = np.full(len(odds), outcome)
        home, away = (profits(np.full(len(odds), units), odds, ended) for units in (1, -1))
        np.testing.assert_allclose(inverse[:, 0] * home + inverse[:, 1] * away, -overround(odds))


def test_rewards_are_what_the_settlement_of_the_report_gives_in_units() -> None:
    rows = PRICED[DATASET.season[PRICED] == 2005]
    actions = np.arange(len(rows)) % 5
    _, rewards = played(environment(), 2005, lambda step: int(actions[step]))
    rule = BettingRule(stake=0.03)
    bets = place(units_of(actions, 2).astype(np.float64), DATASET.odds[rows], DATASET.outcome[rows], rule)
    np.testing.assert_allclose(rewards, np.nan_to_num(bets.profit) / rule.stake)


def test_the_cost_of_risk_is_that_of_a_bankroll_that_compounds() -> None:
    fraction = 0.01
    one = environment(risk_aversion=fraction)
    _, plain = played(environment(), 2005, lambda step: 2)
    _, rewards = played(one, 2005, lambda step: 2)
    np.testing.assert_allclose(rewards, np.log1p(fraction * plain) / fraction, atol=2e-2)
    assert (rewards < plain).all()


def test_there_are_as_many_stakes_as_are_asked_for() -> None:
    assert units_of(np.arange(7), 3).tolist() == [0, 1, 2, 3, -1, -2, -3]
    one = environment(max_units=3)
    assert one.action_space.n == 7
    _, small = played(one, 2004, lambda step: 4)
    _, large = played(one, 2004, lambda step: 6)
    np.testing.assert_allclose(large, 3 * small)


# Draws


def test_the_same_seed_draws_the_same_seasons() -> None:
    def drawn(seed: int) -> list[int]:
        one = environment()
        return [one.reset(seed=seed)[1]["season"], *(one.reset()[1]["season"] for _ in range(15))]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)
    assert set(drawn(3)) == {2003, 2004, 2005, 2006}


def test_one_that_goes_to_the_place_of_another_plays_on_as_that_does() -> None:
    one, other = environment(), environment()
    one.reset(seed=5)
    for step in range(11):
        one.step(step % 5)
    other.go_to(one.place)
    for step in range(100):
        mine, yours = one.step(step % 5), other.step(step % 5)
        assert mine[0].tobytes() == yours[0].tobytes()
        assert mine[1:] == yours[1:]
        if mine[2]:
            assert one.reset()[1] == other.reset()[1]


def test_without_odds_there_is_nothing_to_play() -> None:
    with pytest.raises(ValueError, match="No game has odds"):
        environment(odds=np.full_like(DATASET.odds, np.nan))
