"""Tests that nothing is known before it has happened."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeproute.data.features import NAMES, build_features
from sweeproute.data.games import spans
from sweeproute.data.league import simulate

# A moved franchise is among them under both of its names.
TEAMS = ("OAK", "LV", "SEA", "DAL", "NE", "GB")
TIMES = (None, "09:30", "13:00", "13:00", "16:25", "17:00", "20:20", "22:30")


def test_a_game_ends_four_hours_after_its_kick_off_or_with_its_day() -> None:
    begin, end = spans(pd.DataFrame({"gameday": ["2020-09-13", "2020-09-13"], "gametime": ["22:30", None]}))
    assert begin.astype(str).tolist() == ["2020-09-13T22:30:00.000000000", "2020-09-13T00:00:00.000000000"]
    assert end.astype(str).tolist() == ["2020-09-14T02:30:00.000000000", "2020-09-14T00:00:00.000000000"]


@st.composite
def schedules(draw: st.DrawFn) -> pd.DataFrame:
    """Few teams and few days, so that games touch, overlap, and are played at the same time."""
    n_games = draw(st.integers(2, 20))
    rows: list[dict[str, Any]] = []
    for game in range(n_games):
        home, away = draw(st.permutations(TEAMS))[:2]
        season = draw(st.integers(2019, 2020))
        score = st.tuples(st.integers(0, 50), st.integers(0, 50))
        home_score, away_score = draw(score) if draw(st.integers(0, 5)) else (np.nan, np.nan)
        day = draw(st.integers(1, 3))
        rows.append(
            {
                "game_id": f"game_{game:02d}",
                "season": season,
                "week": day,
                "gameday": f"{season}-09-{day:02d}",
                "gametime": draw(st.sampled_from(TIMES)),
                "home_team": home,
                "away_team": away,
                "home_score": home_score,
                "away_score": away_score,
                "location": draw(st.sampled_from(("Home", "Neutral"))),
                "home_rest": draw(st.integers(3, 15)),
                "away_rest": draw(st.integers(3, 15)),
            }
        )
    return pd.DataFrame(rows).astype({"home_score": float, "away_score": float})


@given(games=schedules(), home_score=st.integers(0, 60), away_score=st.integers(0, 60))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_result_changes_no_feature_of_a_game_that_kicked_off_before_it_ended(
    games: pd.DataFrame, home_score: int, away_score: int
) -> None:
    begin, end = spans(games)
    features = build_features(games).to_numpy()
    for row in range(len(games)):
        other = games.copy()
        other.loc[row, ["home_score", "away_score"]] = home_score, away_score
        differs = (build_features(other).to_numpy() != features).any(axis=1)
        known_before = begin < end[row]
        assert not differs[known_before].any(), f"the result of {games['game_id'][row]} was known too early"


@given(games=schedules(), seed=st.integers(0, 2**16))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_order_of_the_file_changes_no_feature(games: pd.DataFrame, seed: int) -> None:
    shuffled = games.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(build_features(shuffled).sort_index(), build_features(games), check_exact=True)


@pytest.fixture(scope="module")
def league() -> pd.DataFrame:
    return simulate(2010, 2012, 5)


def test_a_result_changes_the_next_game_of_both_teams(league: pd.DataFrame) -> None:
    before = build_features(league)
    begin, end = spans(league)
    for row in (0, 17, 130, 300, 520):
        other = league.copy()
        home_score, away_score = league.loc[row, ["home_score", "away_score"]]
        other.loc[row, ["home_score", "away_score"]] = away_score + 3, home_score
        differs = (build_features(other) != before).any(axis=1).to_numpy()
        for team in (league["home_team"][row], league["away_team"][row]):
            plays = ((league["home_team"] == team) | (league["away_team"] == team)).to_numpy() & (begin >= end[row])
            assert differs[np.flatnonzero(plays)[0]]


def test_every_feature_depends_on_past_results_or_on_the_schedule(league: pd.DataFrame) -> None:
    other = league.copy()
    other["home_score"] += np.random.default_rng(0).integers(0, 14, len(league))
    differs = (build_features(other) != build_features(league)).any()
    assert set(differs.index[~differs]) == {"rest", "bye", "neutral"}
    assert list(differs.index) == list(NAMES)


def test_games_of_one_day_without_times_do_not_inform_each_other(league: pd.DataFrame) -> None:
    untimed = league.assign(gametime=None)
    row = int(np.flatnonzero(league["week"] == 3)[0])
    other = untimed.copy()
    other.loc[row, "home_score"] += 40
    differs = (build_features(other) != build_features(untimed)).any(axis=1)
    same_day = untimed["gameday"] == untimed["gameday"][row]
    assert not differs[same_day].any()
    assert differs[untimed["gameday"] > untimed["gameday"][row]].any()


def test_the_true_probability_and_the_market_stay_out_of_the_features(league: pd.DataFrame) -> None:
    other = league.copy()
    for column in ("home_win_probability", "home_moneyline", "away_moneyline", "spread_line", "total_line", "result"):
        other[column] = np.random.default_rng(1).permutation(other[column].to_numpy())
    pd.testing.assert_frame_equal(build_features(other), build_features(league), check_exact=True)
