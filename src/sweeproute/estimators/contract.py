"""What a model may ask for beside features, and what it is then given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sweeproute.checkpoint import Progress

# Told after an epoch: how many there were, and the probabilities of a home win in the watched games, (n_watched,)
# float64, that would stand if the fit ended there. What it raises ends the fit.
Told = Callable[[int, NDArray[np.float64]], None]


@dataclass(frozen=True, eq=False)
class Games:
    """What is known of games before they begin.

    Attributes:
        features: (n_games, n_features) float64.
        teams: (n_games, 2) int64, home and away as positions in `team_names`; None where nobody knows them.
        team_names: Names of the teams; a team has the same name in other data, and may have another position.
    """

    features: NDArray[np.float64]
    teams: NDArray[np.int64] | None = None
    team_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, rows: NDArray[np.int64]) -> "Games":
        """The games at these positions, (n_rows,); themselves where these are all, as they lie in memory."""
        if np.array_equal(rows, np.arange(len(self))):
            return self
        return Games(self.features[rows], None if self.teams is None else self.teams[rows], self.team_names)


@dataclass(frozen=True, eq=False)
class Priced:
    """Games with what is known of them before they begin, the odds among it.

    Attributes:
        games: (n_games), in the order of their kick-off.
        odds: Decimal odds of home and away, (n_games, 2), NaN where absent.
        season: (n_games,) int64.
    """

    games: Games
    odds: NDArray[np.float64]
    season: NDArray[np.int64]


@runtime_checkable
class Bettor(Protocol):
    """A model that answers a game with a stake, not with a probability; its file says `gives: stakes`."""

    def fit_bets(self, games: Priced, outcome: NDArray[np.int8], progress: Progress | None) -> Any:
        """Learn from games how to bet, in place.

        Args:
            games: The training games.
            outcome: 1 when the home side won, else 0, (n_train,).
            progress: As in `Continuable.fit_from`; None to keep nothing.
        """
        ...

    def stakes(self, games: Games, odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is staked on games before they begin.

        Args:
            games: The games.
            odds: Decimal odds of home and away, (n_games, 2), NaN where absent; nobody bets on such a game.

        Returns:
            Units of `betting.stake` each, negative on the away side, 0 for no bet, (n_games,) float64.
        """
        ...


@runtime_checkable
class LearnsFromGames(Protocol):
    """A model that wants more than features: who plays, and games by which it tells when it has learned enough."""

    def fit_games(
        self,
        games: Games,
        outcome: NDArray[np.int8],
        watched: tuple[Games, NDArray[np.int8]] | None,
        progress: Progress | None,
        told: Told | None,
    ) -> Any:
        """Fit on games, in place.

        Args:
            games: The training games, in the order of their kick-off.
            outcome: 1 when the home side won, else 0, (n_train,).
            watched: Later games with their outcomes, to stop by and never to learn from; None where there are none.
            progress: As in `Continuable.fit_from`; None to keep nothing.
            told: To be told after each epoch what the model says of the watched games; None where nobody asks.
        """
        ...

    def predict_games(self, games: Games) -> NDArray[np.float64]:
        """Probabilities of a loss and of a win of the home side, (n_games, 2)."""
        ...
