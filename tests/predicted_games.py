"""Makes what a model has predicted of some seasons, in the form in which a trial writes it."""

import numpy as np
import pandas as pd

from sweeproute.betting import SIDES, BettingRule, settle


def predictions(
    seasons: tuple[int, ...] = (2018, 2019, 2020),
    weeks: int = 8,
    games: int = 10,
    noise: float = 0.5,
    seed: int = 0,
    rule: BettingRule | None = None,
    distinct: int | None = None,
) -> pd.DataFrame:
    """Predictions of games, the same games and odds whatever the noise and the seed of the model are.

    Args:
        seasons: Which are tested.
        weeks: Of each season, a kick-off in each.
        games: Of each week.
        noise: How far off the model is, in logits.
        seed: Of the model.
        rule: How it bets; None for the usual rule.
        distinct: Round probabilities to one in so many, so that some are equal; None to leave them as they are.
    """
    league = np.random.default_rng(7)
    season = np.repeat(seasons, weeks * games)
    week = np.tile(np.repeat(np.arange(1, weeks + 1), games), len(seasons))
    strength = league.normal(0.2, 0.8, len(season))
    outcome = (league.random(len(season)) < 1 / (1 + np.exp(-strength))).astype(np.int8)
    priced = 1 / (1 + np.exp(-strength - league.normal(0, 0.2, len(season))))
    odds = np.maximum(0.96 / np.column_stack([priced, 1 - priced]), 1.02)
    said = 1 / (1 + np.exp(-strength - np.random.default_rng(seed).normal(0, noise, len(season))))
    if distinct is not None:
        said = np.round(said * distinct) / distinct
    day = (season - 1970).astype("datetime64[Y]").astype("datetime64[D]") + 250 + 7 * week
    frame = pd.DataFrame(
        {
            "game_id": pd.array([f"{year}_{number:04d}" for number, year in enumerate(season)], dtype="string"),
            "season": season,
            "week": pd.array(week, dtype="Int64"),
            "kickoff": day.astype("datetime64[ns]"),
            "outcome": outcome,
            "probability": said,
            "odds_home": odds[:, 0],
            "odds_away": odds[:, 1],
        }
    )
    return bet(frame, rule or BettingRule())


def bet(frame: pd.DataFrame, rule: BettingRule) -> pd.DataFrame:
    """Predictions with the bets that a rule places on them."""
    odds = frame[["odds_home", "odds_away"]].to_numpy()
    bets = settle(frame["probability"].to_numpy(), odds, frame["outcome"].to_numpy(), rule)
    side = pd.array([None if one == -1 else SIDES[one] for one in bets.side], dtype="string")
    return frame.assign(bet=side, stake=bets.stake, profit=bets.profit)


def without_odds(frame: pd.DataFrame, where: "pd.Series[bool] | bool" = True) -> pd.DataFrame:
    """Predictions of games of which some have no odds, and so no bet."""
    changed = frame.copy()
    changed.loc[where if isinstance(where, pd.Series) else [where] * len(frame), ["odds_home", "odds_away"]] = np.nan
    return bet(changed, BettingRule())
