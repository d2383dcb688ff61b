"""Tests that the simulated league resembles the real one, and can be made again."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sweeproute.betting import NO_BET, BettingRule, implied_probability, overround, roi, settle
from sweeproute.data.features import build_features, home_wins
from sweeproute.data.games import REQUIRED, check, odds_of
from sweeproute.data.league import TEAMS, simulate, win_probability
from sweeproute.scores import auc, brier


@pytest.fixture(scope="module")
def league() -> pd.DataFrame:
    return simulate(2003, 2024, 7)


@pytest.fixture(scope="module")
def pooled() -> pd.DataFrame:
    """Five leagues, so that what is measured is the simulation and not one draw of it."""
    return pd.concat([simulate(2003, 2024, seed).assign(seed=seed) for seed in range(5)], ignore_index=True)


@pytest.fixture(scope="module")
def forecasts(pooled: pd.DataFrame) -> pd.DataFrame:
    """The decided games from 2012 on, with the `probability` of a logistic model that learned from those before."""
    tested = []
    for _, league in pooled.groupby("seed"):
        decided = league[~np.isnan(home_wins(league))]
        features = build_features(league).loc[decided.index]
        early = (decided["season"] < 2012).to_numpy()
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
        model.fit(features[early], home_wins(decided)[early])
        tested.append(decided[~early].assign(probability=model.predict_proba(features[~early])[:, 1]))
    return pd.concat(tested, ignore_index=True)


def log_odds(probability: np.ndarray) -> np.ndarray:
    return np.log(probability / (1 - probability))


def expected_profit(games: pd.DataFrame, side: np.ndarray) -> np.ndarray:
    """Profit per unit staked on each game's side (0 home, 1 away) at the true chances, so without the noise of luck."""
    home = games["home_win_probability"].to_numpy()
    return np.where(side == 0, home, 1 - home) * odds_of(games)[np.arange(len(games)), side] - 1


def test_the_table_passes_the_checks_of_real_games(league: pd.DataFrame) -> None:
    check(league, market=True)
    assert set(REQUIRED) <= set(league.columns)


def test_the_same_seed_makes_the_same_league(league: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(simulate(2003, 2024, 7), league, check_exact=True)
    assert not simulate(2003, 2003, 8)["home_score"].equals(simulate(2003, 2003, 7)["home_score"])


def test_a_later_last_season_leaves_the_earlier_ones_as_they_are(league: pd.DataFrame) -> None:
    shorter = simulate(2003, 2006, 7)
    pd.testing.assert_frame_equal(shorter, league[: len(shorter)], check_exact=True)


def test_every_team_plays_a_whole_season_about_half_of_it_at_home(league: pd.DataFrame) -> None:
    regular = league[league["game_type"] == "REG"]
    at_home = regular.groupby("season")["home_team"].value_counts().unstack()
    away = regular.groupby("season")["away_team"].value_counts().unstack()
    assert sorted(at_home.columns) == sorted(TEAMS)
    games = at_home + away
    assert (games.loc[:2020] == 16).all(axis=None)
    assert (games.loc[2021:] == 17).all(axis=None)
    gap = (at_home - away).abs().to_numpy()
    assert (gap <= 4).mean() > 0.99
    assert gap.max() <= 6


def test_the_playoffs_grow_as_the_real_ones_did(league: pd.DataFrame) -> None:
    counts = league.groupby(["season", "game_type"]).size().unstack()
    assert counts.loc[2019, ["WC", "DIV", "CON", "SB"]].tolist() == [4, 4, 2, 1]
    assert counts.loc[2020, ["WC", "DIV", "CON", "SB"]].tolist() == [6, 4, 2, 1]
    assert (league.loc[league["game_type"] == "SB", "location"] == "Neutral").all()
    assert not (league.loc[league["game_type"] != "REG", "result"] == 0).any()


def test_rivals_meet_twice_a_season_with_home_and_away_exchanged(league: pd.DataFrame) -> None:
    rivals = league[(league["season"] == 2015) & (league["game_type"] == "REG") & (league["div_game"] == 1)]
    hosts = rivals.groupby(["home_team", "away_team"]).size()
    assert (hosts == 1).all()
    assert all((away, home) in hosts.index for home, away in hosts.index)


def test_rest_is_the_days_since_the_last_game(league: pd.DataFrame) -> None:
    sides = pd.concat(
        [
            league[["season", "gameday", f"{side}_team", f"{side}_rest"]].set_axis(
                ["season", "day", "team", "rest"], axis=1
            )
            for side in ("home", "away")
        ]
    ).sort_values("day", kind="stable")
    days = pd.to_datetime(sides["day"]).groupby([sides["season"], sides["team"]]).diff().dt.days.fillna(7)
    assert (days == sides["rest"]).all()
    assert (sides["rest"] == 14).any()


def test_home_sides_win_and_ties_occur_as_often_as_in_the_nfl(pooled: pd.DataFrame) -> None:
    won = home_wins(pooled)
    assert np.nanmean(won) == pytest.approx(0.56, abs=0.015)
    assert 0.0005 < np.isnan(won).mean() < 0.005
    assert pooled["result"].std() == pytest.approx(14.7, abs=1)
    assert pooled["total"].mean() == pytest.approx(44.5, abs=2)


def test_the_bookmaker_is_good_but_not_perfect(pooled: pd.DataFrame) -> None:
    won = home_wins(pooled)
    decided = ~np.isnan(won)
    outcome = won[decided].astype(np.int8)
    market = implied_probability(odds_of(pooled))[decided]
    truth = pooled["home_win_probability"].to_numpy()[decided]
    assert auc(outcome, market) == pytest.approx(0.72, abs=0.012)
    assert brier(outcome, market) == pytest.approx(0.21, abs=0.005)
    assert brier(outcome, truth) < brier(outcome, market) - 0.001


def test_the_bookmaker_is_calibrated(pooled: pd.DataFrame) -> None:
    won = home_wins(pooled)
    decided = ~np.isnan(won)
    logit = log_odds(implied_probability(odds_of(pooled))[decided])
    fit = LogisticRegression(C=np.inf).fit(logit[:, None], won[decided])
    assert fit.coef_[0, 0] == pytest.approx(1, abs=0.06)  # four standard errors
    assert fit.intercept_[0] == pytest.approx(0, abs=0.06)


def test_blind_bets_lose_the_overround(pooled: pd.DataFrame) -> None:
    odds = odds_of(pooled)
    lost = -(1 - 1 / (1 + overround(odds))).mean()
    favourite = np.argmin(odds, axis=1)
    chosen_by_lot = np.random.default_rng(0).integers(0, 2, len(pooled))
    won = home_wins(pooled)
    for side in (np.zeros_like(favourite), np.ones_like(favourite), favourite, 1 - favourite, chosen_by_lot):
        assert expected_profit(pooled, side).mean() == pytest.approx(lost, abs=0.012)
        # What happened besides; an underdog's profit has a standard deviation of 1.5 units.
        happened = np.where(won == 1 - side, odds[np.arange(len(odds)), side], 0)[~np.isnan(won)] - 1
        assert happened.mean() == pytest.approx(lost, abs=4 * happened.std() / np.sqrt(len(happened)))


@pytest.mark.parametrize("min_edge", [0.02, 0.1, 0.4])
def test_a_model_of_the_results_has_no_edge_on_the_bookmaker(forecasts: pd.DataFrame, min_edge: float) -> None:
    bets = settle(
        forecasts["probability"].to_numpy(),
        odds_of(forecasts),
        home_wins(forecasts).astype(np.int8),
        BettingRule(min_edge=min_edge),
    )
    placed = bets.side != NO_BET
    assert placed.sum() > 1000
    assert expected_profit(forecasts[placed], bets.side[placed]).mean() < -0.015
    assert roi(bets.profit, bets.stake) < 0.02


def test_a_model_of_the_results_knows_less_than_the_bookmaker(forecasts: pd.DataFrame) -> None:
    outcome, model = home_wins(forecasts).astype(np.int8), forecasts["probability"].to_numpy()
    market = implied_probability(odds_of(forecasts))
    assert auc(outcome, model) < auc(outcome, market) - 0.01
    assert brier(outcome, model) > brier(outcome, market) + 0.003


def test_a_plain_elo_knows_less_than_the_bookmaker(league: pd.DataFrame) -> None:
    late = (league["season"] >= 2008).to_numpy() & ~np.isnan(home_wins(league))
    outcome = home_wins(league)[late].astype(np.int8)
    elo = 1 / (1 + 10 ** (-build_features(league)["elo"].to_numpy()[late] / 400))
    assert auc(outcome, elo) == pytest.approx(0.69, abs=0.02)
    assert brier(outcome, elo) == pytest.approx(0.219, abs=0.006)
    assert auc(outcome, elo) < auc(outcome, implied_probability(odds_of(league))[late]) - 0.01


def test_the_overround_is_a_bookmakers(pooled: pd.DataFrame) -> None:
    margin = overround(odds_of(pooled))
    assert margin.mean() == pytest.approx(0.035, abs=0.002)
    assert np.quantile(margin, 0.02) > 0.02
    assert margin.max() < 0.05


def test_the_true_probability_is_what_happens(pooled: pd.DataFrame) -> None:
    won = home_wins(pooled)
    decided = ~np.isnan(won)
    truth = pooled["home_win_probability"].to_numpy()[decided]
    tenth = np.digitize(truth, np.quantile(truth, np.arange(0.1, 1, 0.1)))
    for group in range(10):
        of_group = tenth == group
        share = won[decided][of_group].mean()
        assert share == pytest.approx(truth[of_group].mean(), abs=4 * np.sqrt(0.25 / of_group.sum()))


def test_equal_teams_have_equal_chances() -> None:
    expected = np.array([[22.0, 22.0], [25.0, 19.0], [19.0, 25.0]])
    even, ahead, behind = win_probability(expected)
    assert even == pytest.approx(0.5)
    assert ahead == pytest.approx(1 - behind)
    assert ahead > 0.6
