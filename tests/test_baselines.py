"""Tests of what a model has to beat, on the very games of a table."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from reported_sweep import RULE, forecasts, games, predictions
from sweeproute import scores
from sweeproute.baselines import COIN, ELO, HOME, MARKET, baselines
from sweeproute.betting import implied_probability
from sweeproute.data import load


def told(played):
    return {one.name: one for one in baselines(predictions(played, forecasts(played, 0.5)), RULE)}


def test_the_market_says_what_the_odds_imply_and_bets_on_nothing():
    played = games()
    market = told(played)[MARKET]
    implied = implied_probability(played[["odds_home", "odds_away"]].to_numpy())
    np.testing.assert_array_equal(market.games["probability"], implied)
    assert market.metrics["brier"] == scores.brier(played["outcome"].to_numpy(), implied)
    assert market.metrics["n_games"] == len(played)
    assert all(np.isnan(market.metrics[name]) for name in ("roi", "roi_flat", "roi_kelly", "drawdown", "n_bets"))
    assert market.games["stake"].isna().all()


def test_the_market_is_there_on_the_games_alone_that_it_prices():
    played = games(priced=0.4)
    market = told(played)[MARKET]
    priced = played[played["odds_home"].notna()]
    assert market.games["game_id"].tolist() == priced["game_id"].tolist()
    assert market.metrics["n_games"] == len(priced) < len(played)
    assert set(market.by_season) == {2018}


def test_without_odds_there_is_no_market_and_no_bet():
    found = told(games(priced=0.0))
    assert found[MARKET].games.empty
    assert found[MARKET].metrics == {"n_games": 0.0}
    assert np.isnan(found[COIN].metrics["roi"])


def test_the_home_side_wins_as_often_as_in_the_seasons_before():
    played = games((2017, 2018, 2019))
    home = told(played)[HOME].games
    share = {season: home["probability"][home["season"] == season].unique() for season in (2017, 2018, 2019)}
    outcome, season = played["outcome"], played["season"]
    assert share[2017] == [0.5]
    assert share[2018] == [outcome[season == 2017].mean()]
    assert share[2019] == [outcome[season < 2019].mean()]


def test_on_the_holdout_the_home_side_is_known_from_the_selection_seasons():
    played, tested = games((2017, 2018, 2019)), games((2020, 2021))
    # Of what was tested elsewhere, the later seasons are not known yet.
    before = pd.concat([played, games((2021, 2022)).assign(outcome=1)])
    held = predictions(tested, forecasts(tested, 0.5))
    home = {one.name: one for one in baselines(held, RULE, before)}[HOME]
    share = {season: home.games["probability"][held["season"] == season].unique() for season in (2020, 2021)}
    assert share[2020] == [played["outcome"].mean()]
    assert share[2021] == [pd.concat([played, tested[tested["season"] == 2020]])["outcome"].mean()]
    assert home.by_season[2020]["brier"] != 0.25
    for other in (None, before[before["season"] > 2020]):
        first = {one.name: one for one in baselines(held, RULE, other)}[HOME].games["probability"][0]
        assert first == 0.5


def test_nothing_of_a_season_and_of_those_after_it_reaches_its_forecasts():
    played = games()
    changed = played.assign(outcome=np.where(played["season"] == 2019, 1 - played["outcome"], played["outcome"]))
    for name, one in told(played).items():
        np.testing.assert_array_equal(one.games["probability"], told(changed)[name].games["probability"])


def test_a_coin_scores_a_quarter():
    coin = told(games())[COIN]
    assert coin.metrics["brier"] == coin.by_season[2018]["brier"] == 0.25
    assert coin.metrics["auc"] == coin.metrics["accuracy"] == pytest.approx(0.5)


def test_ratings_stand_where_predictions_hold_them():
    played = games()
    table = predictions(played, forecasts(played, 0.5))
    rated = forecasts(played, 1.0, seed=3)
    found = {one.name: one for one in baselines(table.assign(elo=rated), RULE)}
    np.testing.assert_array_equal(found[ELO].games["probability"], rated)
    assert found[ELO].metrics["brier"] == scores.brier(played["outcome"].to_numpy(), rated)
    for without in (table, table.assign(elo=np.nan)):
        assert [one.name for one in baselines(without, RULE)] == [MARKET, COIN, HOME]


def test_a_data_set_says_what_its_ratings_say_and_a_column_of_ones_own_is_no_rating():
    league = load({"source": "league", "first_season": 2003, "last_season": 2004})
    np.testing.assert_allclose(league.elo, 1 / (1 + 10 ** (-league.features["elo"] / 400)), rtol=1e-15)
    # They are worth something: better than knowing nothing but how often home sides win.
    assert scores.auc(league.outcome, league.elo) > 0.55
    assert dataclasses.replace(league, name="csv").elo is None
    assert dataclasses.replace(league, features=league.features.drop(columns="elo")).elo is None
