"""Says on what a fitted model leans: how much worse it foretells a season when one feature is shuffled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeproute import scores
from sweeproute.estimators import Games

# What a trial keeps of it, and the tag of its run that says from how many shuffles.
FILE, TAG = "importances.csv", "sweeproute.importance_repeats"
# The columns of what is found, one row a feature and season.
COLUMNS = ("season", "feature", "increase", "deviation")
# What a model that is told who plays learns from that.
TEAMS = "teams"
# Numbers that a model is asked about at once: few calls for a model outside Python, little memory for wide tables.
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Shuffles:
    """How it is found.

    Attributes:
        repeats: Shuffles of each feature in each season.
        seed: Of the shuffles; with the season, so that they do not depend on what else is tested.
    """

    repeats: int
    seed: int


def permuted(
    says: Callable[[Games], NDArray[np.float64]],
    games: Games,
    outcome: NDArray[np.int8],
    names: Sequence[str],
    season: int,
    shuffles: Shuffles,
) -> pd.DataFrame:
    """Shuffle each feature in turn among the games of a season, and ask the model again.

    The increase of the Brier score is the permutation importance of Breiman (2001, Machine Learning 45, section 10), on
    games that the model has not seen. Features that say much the same share it, so that each may look unimportant.

    Args:
        says: Gives the probabilities of a home win, (n_games,), of a fitted model.
        games: The tested games. Where they hold teams, the pairs of teams are shuffled, too.
        outcome: 1 when the home side won, else 0, (n_games,).
        names: Of the features, (n_features,).
        season: The tested season.
        shuffles: How it is found.

    Returns:
        A row for each feature, and one for `TEAMS`, with the columns of `COLUMNS`: the mean increase of the Brier score
        over the shuffles, and their standard deviation.
    """
    draw, repeats = np.random.default_rng([shuffles.seed, season]), shuffles.repeats
    own = scores.brier(outcome, says(games))
    numbers = []
    n_at_once = max(1, _AT_ONCE // max(1, repeats * games.features.size))
    places = list(range(len(names) + (games.teams is not None)))
    for first in range(0, len(places), n_at_once):
        asked = places[first : first + n_at_once]
        answer = says(_shuffled(games, [place for place in asked for _ in range(repeats)], draw))
        for told in answer.reshape(len(asked), repeats, len(games)):
            worse = np.array([scores.brier(outcome, one) for one in told]) - own
            numbers.append((float(worse.mean()), float(worse.std())))
    return table(np.array(numbers).reshape(-1, 2), names, season)


def table(numbers: NDArray[np.float64], names: Sequence[str], season: int) -> pd.DataFrame:
    """What `permuted` gives, from its numbers alone.

    Args:
        numbers: Mean increase and deviation of each feature, and of the teams, (n_features or one more, 2).
        names: Of the features, (n_features,).
        season: The tested season.
    """
    rows = [(season, name, *pair) for name, pair in zip([*names, TEAMS], numbers.tolist(), strict=False)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def numbers_of(found: pd.DataFrame) -> NDArray[np.float64]:
    """Its numbers alone, (n_features or one more, 2); what they are called follows from the data."""
    return found[list(COLUMNS[2:])].to_numpy(dtype=np.float64)


def _shuffled(games: Games, places: Sequence[int], draw: np.random.Generator) -> Games:
    """The games once for each of these places, in each copy what stands at that place shuffled."""
    n, n_features = games.features.shape
    features = np.tile(games.features, (len(places), 1))
    teams = None if games.teams is None else np.tile(games.teams, (len(places), 1))
    for copy, place in enumerate(places):
        rows, order = slice(copy * n, (copy + 1) * n), draw.permutation(n)
        if place < n_features:
            features[rows, place] = games.features[order, place]
        elif teams is not None and games.teams is not None:
            teams[rows] = games.teams[order]
    return Games(features, teams, games.team_names)
