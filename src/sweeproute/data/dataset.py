"""What a model is trained on: features, outcomes, times and odds of games, under one hash of their content."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from sweeproute.data.checks import DataError
from sweeproute.data.features import elo_probability


@dataclass(frozen=True, eq=False)
class Upcoming:
    """Games that have not been played, ready to be predicted.

    Attributes:
        features: (n_upcoming, n_features) float64, the columns of the data set they belong to.
        game_id: (n_upcoming,) str.
        kickoff: (n_upcoming,) datetime64[ns].
        season: (n_upcoming,) int64.
        odds: (n_upcoming, 2) decimal odds of home and away, NaN where absent; None where the source has none.
        teams: (n_upcoming, 2) int64, home and away as positions in the data set's `team_names`; None where the source
            has no teams.
    """

    features: pd.DataFrame
    game_id: np.ndarray
    kickoff: np.ndarray
    season: np.ndarray
    odds: np.ndarray | None
    teams: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Games with a winner, in the order of their kick-off and then of their id.

    Attributes:
        name: the source: league, nfl or csv.
        features: (n_games, n_features) float64, index 0 to n_games - 1.
        outcome: (n_games,) int8, 1 when the home side won.
        season: (n_games,) int64.
        kickoff: (n_games,) datetime64[ns]; midnight of the day where the hour is not known.
        week: (n_games,) int64; None where the source has no weeks.
        game_id: (n_games,) str.
        odds: (n_games, 2) decimal odds of home and away, NaN where absent; None where the source has none.
        set_aside: how many games of the source are not rows here, by reason ("ties", "unplayed").
        unplayed: the games to come; None where there are none.
        teams: (n_games, 2) int64, home and away as positions in `team_names`; None where the source has no teams.
        team_names: every team of the source, the games to come included, in the order of the alphabet.
    """

    name: str
    features: pd.DataFrame
    outcome: np.ndarray
    season: np.ndarray
    kickoff: np.ndarray
    week: np.ndarray | None
    game_id: np.ndarray
    odds: np.ndarray | None
    set_aside: dict[str, int]
    unplayed: Upcoming | None
    teams: np.ndarray | None = None
    team_names: tuple[str, ...] = ()

    @cached_property
    def hash(self) -> str:
        """SHA-256 of features with their names, outcome, season, kick-off, odds, ids and teams, 64 hex digits."""
        digest = hashlib.sha256("\n".join(self.features.columns).encode())
        for values in (self.features.to_numpy(np.float64), self.outcome, self.season, self.kickoff, self.odds):
            # The shape goes in too, so that bytes cannot move from one part to the next unnoticed.
            digest.update(b"none" if values is None else str(values.shape).encode())
            if values is not None:
                digest.update(np.ascontiguousarray(values).tobytes())
        digest.update("\n".join(self.game_id.tolist()).encode())
        if self.teams is not None:
            # By their names: their numbers follow from the games to come, too, which do not count.
            sides = np.asarray(self.team_names)[self.teams]
            digest.update("\n".join(["", *sides.ravel().tolist()]).encode())
        return digest.hexdigest()

    @cached_property
    def games_hash(self) -> str:
        """SHA-256 of the games and how they ended, whatever is known of them before, 64 hexadecimal digits."""
        digest = hashlib.sha256("\n".join(self.game_id.tolist()).encode())
        digest.update(np.ascontiguousarray(self.season).tobytes() + np.ascontiguousarray(self.outcome).tobytes())
        return digest.hexdigest()

    @property
    def elo(self) -> np.ndarray | None:
        """What plain Elo ratings say before each game, (n_games,) probabilities of a home win; None without ratings."""
        if self.name == "csv" or "elo" not in self.features:
            return None  # a column of somebody's own may be called so, and mean anything
        return elo_probability(self.features["elo"].to_numpy(np.float64))

    @property
    def feature_hash(self) -> str:
        """SHA-256 of the ordered feature names, 64 hexadecimal digits."""
        return hashlib.sha256("\n".join(self.features.columns).encode()).hexdigest()

    def select(self, seasons: tuple[int, int]) -> "Dataset":
        """Return the games of some seasons as a data set of its own.

        Args:
            seasons: first and last season, inclusive.

        Returns:
            The rows of these seasons, with their own hash; `set_aside` still counts the whole source.

        Raises:
            DataError: no game lies in these seasons.
        """
        first, last = seasons
        rows = np.flatnonzero((self.season >= first) & (self.season <= last))
        if not len(rows):
            raise DataError(
                f"No game lies in the seasons {first} to {last}; the data set {self.name} has "
                f"{self.season.min()} to {self.season.max()}: choose seasons among these."
            )
        unplayed = self.unplayed
        if unplayed is not None:
            kept = np.flatnonzero((unplayed.season >= first) & (unplayed.season <= last))
            unplayed = None if not len(kept) else _rows_of_upcoming(unplayed, kept)
        return Dataset(
            name=self.name,
            features=self.features.iloc[rows].reset_index(drop=True),
            outcome=self.outcome[rows],
            season=self.season[rows],
            kickoff=self.kickoff[rows],
            week=None if self.week is None else self.week[rows],
            game_id=self.game_id[rows],
            odds=None if self.odds is None else self.odds[rows],
            set_aside=dict(self.set_aside),
            unplayed=unplayed,
            teams=None if self.teams is None else self.teams[rows],
            team_names=self.team_names,
        )


def assemble(
    name: str,
    features: pd.DataFrame,
    outcome: np.ndarray,
    unplayed: np.ndarray,
    season: np.ndarray,
    kickoff: np.ndarray,
    week: np.ndarray | None,
    game_id: np.ndarray,
    odds: np.ndarray | None,
    teams: np.ndarray | None = None,
) -> Dataset:
    """Put the rows of a source in order, and set aside those without a winner.

    Args:
        name: the source.
        features: (n_rows, n_features).
        outcome: (n_rows,) 1 home, 0 away, NaN for a tie or a game without a score.
        unplayed: (n_rows,) bool.
        season: (n_rows,) whole numbers.
        kickoff: (n_rows,) datetime64[ns].
        week: (n_rows,) whole numbers, or None.
        game_id: (n_rows,) str.
        odds: (n_rows, 2) decimal odds of home and away, or None.
        teams: (n_rows, 2) str, names of home and away, or None.

    Returns:
        The data set; ties and unplayed games are counted in `set_aside`, unplayed ones stand in `unplayed`.

    Raises:
        DataError: no game was won by either side.
    """
    order = np.lexsort((game_id, kickoff))
    decided = order[~np.isnan(outcome[order])]
    to_come = order[unplayed[order]]
    if not len(decided):
        raise DataError(f"The source {name} has no game with a winner among its {len(order)}: give played games.")
    team_names: tuple[str, ...] = ()
    if teams is not None:
        names, numbers = np.unique(teams, return_inverse=True)
        team_names, teams = tuple(names.tolist()), numbers.reshape(-1, 2).astype(np.int64)
    upcoming = None
    if len(to_come):
        upcoming = Upcoming(
            features=features.iloc[to_come].reset_index(drop=True).astype(np.float64),
            game_id=game_id[to_come],
            kickoff=kickoff[to_come],
            season=season[to_come].astype(np.int64),
            odds=None if odds is None else odds[to_come],
            teams=None if teams is None else teams[to_come],
        )
    return Dataset(
        name=name,
        features=features.iloc[decided].reset_index(drop=True).astype(np.float64),
        outcome=outcome[decided].astype(np.int8),
        season=season[decided].astype(np.int64),
        kickoff=kickoff[decided],
        week=None if week is None else week[decided].astype(np.int64),
        game_id=game_id[decided],
        odds=None if odds is None else odds[decided],
        set_aside={"ties": len(order) - len(decided) - len(to_come), "unplayed": len(to_come)},
        unplayed=upcoming,
        teams=None if teams is None else teams[decided],
        team_names=team_names,
    )


def _rows_of_upcoming(games: Upcoming, rows: np.ndarray) -> Upcoming:
    return Upcoming(
        features=games.features.iloc[rows].reset_index(drop=True),
        game_id=games.game_id[rows],
        kickoff=games.kickoff[rows],
        season=games.season[rows],
        odds=None if games.odds is None else games.odds[rows],
        teams=None if games.teams is None else games.teams[rows],
    )
