"""Scores on kinds of games: who was the favourite, how late in the season."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeproute.betting import BettingRule, implied_probability
from sweeproute.measures import metrics_of


@dataclass(frozen=True, eq=False)
class Subset:
    """Some of the tested games."""

    # For programs: home_favourite, away_favourite, or weeks_7_12.
    key: str
    # For people.
    title: str
    # Which games, (n_games,) bool.
    games: NDArray[np.bool_]


def subsets(games: pd.DataFrame, weeks: Sequence[int]) -> tuple[Subset, ...]:
    """Divide games by who was the favourite, and again by the week.

    The favourite is the side to which the closing odds, without the overround, give more than half; a game without
    odds, or with even ones, has none. A part without games is left out.

    Args:
        games: Predictions, (n_games, n_columns) in the form of `evaluation.Report.predictions`.
        weeks: The weeks at which a new part of a season begins, rising; the first part begins before them.

    Returns:
        The parts by favourite, then those by week; of data without weeks there are none.
    """
    implied = implied_probability(games[["odds_home", "odds_away"]].to_numpy(dtype=np.float64, na_value=np.nan))
    found = [
        Subset("home_favourite", "Home favourite", implied > 0.5),
        Subset("away_favourite", "Away favourite", implied < 0.5),
    ]
    week = games["week"].to_numpy(dtype=np.float64, na_value=np.nan)
    ends = [-np.inf, *weeks, np.inf]
    for first, end in pairwise(ends):
        there = (week >= first) & (week < end)
        if there.any():
            low, high = int(week[there].min()), int(week[there].max())
            span = str(low) if low == high else f"{low}–{high}"
            found.append(Subset(f"weeks_{low}_{high}", f"Week{'s' if low != high else ''} {span}", there))
    return tuple(one for one in found if one.games.any())


def score(games: pd.DataFrame, parts: Sequence[Subset], metric: str, rule: BettingRule) -> Mapping[str, float]:
    """A metric on parts of the games.

    Args:
        games: Predictions, as for `subsets`.
        parts: Which of them.
        metric: One of `evaluation.Report.metrics`.
        rule: The betting rule.

    Returns:
        By the key of a part; NaN where it is undefined, such as the return where nothing was staked.

    Raises:
        KeyError: There is no such metric.
    """
    return {one.key: metrics_of(games[one.games], rule)[metric] for one in parts}
