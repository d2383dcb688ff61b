"""Tests of scores on kinds of games."""

import numpy as np
import pandas as pd

from reported_sweep import RULE, forecasts, games, predictions
from sweeproute import scores
from sweeproute.subsets import score, subsets

PLAYED = games()
TOLD = predictions(PLAYED, forecasts(PLAYED, 0.5))


def test_games_are_divided_by_favourite_and_again_by_week():
    found = {one.key: one for one in subsets(TOLD, [7, 13])}
    assert list(found) == ["home_favourite", "away_favourite", "weeks_1_6", "weeks_7_12", "weeks_13_17"]
    assert [one.title for one in found.values()][2:] == ["Weeks 1–6", "Weeks 7–12", "Weeks 13–17"]
    shorter = TOLD["odds_home"] < TOLD["odds_away"]
    np.testing.assert_array_equal(found["home_favourite"].games, shorter)
    np.testing.assert_array_equal(found["away_favourite"].games, TOLD["odds_home"] > TOLD["odds_away"])
    np.testing.assert_array_equal(found["weeks_7_12"].games, TOLD["week"].between(7, 12))
    assert sum(found[key].games.sum() for key in list(found)[2:]) == len(TOLD)


def test_a_game_without_a_favourite_or_a_week_is_in_no_part_by_it():
    even = TOLD.assign(odds_home=1.91, odds_away=1.91, week=pd.array([pd.NA] * len(TOLD), dtype="Int64"))
    assert subsets(even, [7, 13]) == ()
    some = TOLD.assign(odds_home=TOLD["odds_home"].where(TOLD["season"] == 2018))
    home, away, *_ = subsets(some, [])
    assert home.games.sum() + away.games.sum() == (TOLD["season"] == 2018).sum()
    (all_weeks,) = [one for one in subsets(some, []) if one.key.startswith("weeks")]
    assert all_weeks.games.all()


def test_one_week_alone_is_called_so():
    playoffs = subsets(TOLD, [17])[-1]
    assert (playoffs.key, playoffs.title) == ("weeks_17_17", "Week 17")


def test_a_score_is_that_of_the_games_of_the_part_alone():
    parts = subsets(TOLD, [7, 13])
    found = score(TOLD, parts, "brier", RULE)
    for one in parts:
        own = TOLD[one.games]
        assert found[one.key] == scores.brier(own["outcome"].to_numpy(), own["probability"].to_numpy())
