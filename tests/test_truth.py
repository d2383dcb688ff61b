"""Tests that the evaluation finds what is known of the simulated league: the best forecaster, the market's price."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest

from sweeproute import scores
from sweeproute.betting import BettingRule, implied_probability
from sweeproute.data import load, load_games
from sweeproute.data.dataset import Dataset
from sweeproute.evaluation import Report, evaluate
from sweeproute.validation import Fold

LEAGUES = tuple(range(7, 12))
EVERY = BettingRule(min_edge=0.0)


class Says:
    """A model that has nothing to learn: its one feature is the probability."""

    def fit(self, features, outcome):
        return self

    def predict_proba(self, features):
        return np.column_stack([1 - features[:, 0], features[:, 0]])


@functools.cache
def league(seed: int) -> tuple[Dataset, np.ndarray]:
    """A league's games, and the true probability of a home win in each, (n_games,)."""
    source = {"source": "league", "seed": seed}
    games = load(source)
    truth = load_games(source).set_index("game_id")["home_win_probability"]
    return games, truth.loc[games.game_id].to_numpy()


def says(seed: int, probability: np.ndarray) -> Report:
    """The report on all seasons but the first, which is there to be fitted on."""
    games, _ = league(seed)
    told = dataclasses.replace(games, features=pd.DataFrame({"says": probability}))
    seasons = np.unique(games.season)
    none = np.empty(0, np.int64)
    folds = [
        Fold(int(season), np.flatnonzero(games.season < season), none, np.flatnonzero(games.season == season))
        for season in seasons[1:]
    ]
    return evaluate(Says, told, folds, EVERY)


def _whole(seed: int, tested: np.ndarray) -> np.ndarray:
    """Probabilities of all games from those of the tested ones, which are the last."""
    return np.concatenate([np.full(len(league(seed)[0].outcome) - len(tested), 0.5), tested])


@pytest.mark.parametrize("seed", LEAGUES)
def test_the_true_probabilities_are_off_by_no_more_than_chance(seed: int) -> None:
    report = says(seed, league(seed)[1])
    truth = report.predictions["probability"].to_numpy()
    draw = np.random.default_rng(seed)
    others = [(draw.random(len(truth)) < truth).astype(np.int8) for _ in range(400)]
    for name, error in (
        ("ece", scores.ece),
        ("ace", scores.ace),
        ("brier", scores.brier),
        ("log_loss", scores.log_loss),
    ):
        chance = [error(outcome, truth) for outcome in others]
        low, high = np.quantile(chance, [0.001, 0.999])
        assert low <= report.metrics[name] <= high, name
    # Had these not been the true ones, it would have shown.
    for wrong in (np.clip(0.5 + 1.5 * (truth - 0.5), 0, 1), np.clip(truth + 0.05, 0, 1)):
        chance = [scores.ece(outcome, truth) for outcome in others]
        assert says(seed, _whole(seed, wrong)).metrics["ece"] > np.quantile(chance, 0.999)


def test_nobody_forecasts_better_than_the_truth() -> None:
    for name in ("brier", "log_loss"):
        best = [says(seed, league(seed)[1]).metrics[name] for seed in LEAGUES]
        market = [says(seed, implied_probability(league(seed)[0].odds)).metrics[name] for seed in LEAGUES]
        ratings = [says(seed, league(seed)[0].elo).metrics[name] for seed in LEAGUES]
        assert np.mean(best) < np.mean(market) < np.mean(ratings)


def test_bets_at_random_lose_what_the_market_takes() -> None:
    profit, stake, taken = [], [], []
    for seed in LEAGUES:
        games, _ = league(seed)
        bets = says(seed, np.random.default_rng(seed).random(len(games.outcome))).predictions
        placed = bets[bets["bet"].notna()]
        profit.append(placed["profit"].to_numpy())
        stake.append(placed["stake"].to_numpy())
        prices = placed[["odds_home", "odds_away"]].to_numpy()
        taken.append(1 - 1 / (1 / prices).sum(axis=1))
    profit, stake, taken = (np.concatenate(parts) for parts in (profit, stake, taken))
    roi, error = profit.sum() / stake.sum(), (profit / stake).std() / np.sqrt(len(profit))
    assert len(profit) > 20_000
    assert abs(roi + taken.mean()) < 3 * error
    assert roi < -3 * error
