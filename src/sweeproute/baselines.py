"""What a model has to beat, on the very games that it was tested on: the market, Elo ratings, a coin, the home side."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeproute.betting import NO_BET, SIDES, BettingRule, implied_probability, settle
from sweeproute.measures import metrics_of

NAMES = MARKET, ELO, COIN, HOME = "market", "elo", "coin", "home"
# The odds of these say what they say, so that betting by them at these odds means nothing.
_OF_BETS = ("roi", "roi_kelly", "roi_flat", "drawdown", "drawdown_kelly", "log_growth", "log_growth_kelly")


@dataclass(frozen=True, eq=False)
class Baseline:
    """Forecasts that need no model."""

    # market, elo, coin or home.
    name: str
    # In the form of `evaluation.Report.predictions`, on the games that it has a forecast for.
    games: pd.DataFrame
    metrics: dict[str, float]
    by_season: dict[int, dict[str, float]]


def baselines(games: pd.DataFrame, rule: BettingRule, before: pd.DataFrame | None = None) -> tuple[Baseline, ...]:
    """Forecast the games of a table without a model.

    - market: what the odds imply, without the overround; on the games alone that have odds, and there may be none.
    - elo: what plain ratings said before each game, as the predictions hold it; not there where they hold none.
    - coin: 0.5.
    - home: the share of home wins in the tested seasons before, and 0.5 where there is none.

    Args:
        games: Predictions, whoever made them, (n_games, n_columns) in the form of `evaluation.Report.predictions`.
        rule: The betting rule of the table.
        before: Games of other seasons, tested too, (n_others, n_columns) with a season and an outcome; of those, the
            ones before a season are known in it. None for none.

    Returns:
        Those that there are, with all metrics. Of the market those of bets are NaN: by its own odds nothing is worth
        betting on.
    """
    odds = games[["odds_home", "odds_away"]].to_numpy(dtype=np.float64)
    implied = implied_probability(odds)
    priced = ~np.isnan(implied)
    found = [_baseline(MARKET, games[priced], implied[priced], rule)]
    # Predictions of a data set without ratings hold none, nor do those of an older version.
    if ELO in games and (ratings := games[ELO].to_numpy(dtype=np.float64)).size and not np.isnan(ratings).any():
        found.append(_baseline(ELO, games, ratings, rule))
    found.append(_baseline(COIN, games, np.full(len(games), 0.5), rule))
    return *found, _baseline(HOME, games, _home_share(games, before), rule)


def _home_share(games: pd.DataFrame, before: pd.DataFrame | None) -> NDArray[np.float64]:
    """Share of home wins before each game's season, (n_games,)."""
    columns = ["season", "outcome"]
    known = games[columns] if before is None else pd.concat([before[columns], games[columns]], ignore_index=True)
    season, share = games["season"].to_numpy(), np.full(len(games), 0.5)
    for one in np.unique(season):
        if len(past := known["outcome"][known["season"] < one]):
            share[season == one] = past.mean()
    return share


def _baseline(name: str, games: pd.DataFrame, probability: NDArray[np.float64], rule: BettingRule) -> Baseline:
    odds, outcome = games[["odds_home", "odds_away"]].to_numpy(dtype=np.float64), games["outcome"].to_numpy()
    bets = settle(probability, odds, outcome, rule)
    side = bets.side if name != MARKET else np.full_like(bets.side, NO_BET)
    none = side == NO_BET
    told = games.assign(
        probability=probability,
        bet=pd.array([None if one == NO_BET else SIDES[one] for one in side], dtype="string"),
        stake=np.where(none, np.nan, bets.stake),
        profit=np.where(none, np.nan, bets.profit),
    ).reset_index(drop=True)
    seasons = np.unique(told["season"].to_numpy()).tolist()
    by_season = {season: _metrics(name, told[told["season"] == season], rule) for season in seasons}
    return Baseline(name, told, _metrics(name, told, rule), by_season)


def _metrics(name: str, games: pd.DataFrame, rule: BettingRule) -> dict[str, float]:
    if games.empty:
        return {"n_games": 0.0}
    found = metrics_of(games, rule)
    return found | dict.fromkeys((*_OF_BETS, "n_bets"), float("nan")) if name == MARKET else found
