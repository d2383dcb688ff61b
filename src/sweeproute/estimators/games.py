"""Hands a model the games of a fold, more of them than their features where it asks for that."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sweeproute.checkpoint import Progress
from sweeproute.estimators.fitting import fit


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
        """The games at these positions, (n_rows,)."""
        return Games(self.features[rows], None if self.teams is None else self.teams[rows], self.team_names)


@runtime_checkable
class LearnsFromGames(Protocol):
    """A model that wants more than features: who plays, and games by which it tells when it has learned enough."""

    def fit_games(
        self,
        games: Games,
        outcome: NDArray[np.int8],
        watched: tuple[Games, NDArray[np.int8]] | None,
        progress: Progress | None,
    ) -> Any:
        """Fit on games, in place.

        Args:
            games: The training games, in the order of their kick-off.
            outcome: 1 when the home side won, else 0, (n_train,).
            watched: Later games with their outcomes, to stop by and never to learn from; None where there are none.
            progress: As in `Continuable.fit_from`; None to keep nothing.
        """
        ...

    def predict_games(self, games: Games) -> NDArray[np.float64]:
        """Probabilities of a loss and of a win of the home side, (n_games, 2)."""
        ...


def fit_games(
    estimator: Any,
    games: Games,
    outcome: NDArray[np.int8],
    season: NDArray[np.int64],
    calibration: tuple[Games, NDArray[np.int8]] | None = None,
    progress: Progress | None = None,
) -> None:
    """Fit in place on training games.

    A model that learns from games watches the calibration games meanwhile; where there are none, the last training
    season, which it then does not learn from. Any other model is given the features of the training games alone.

    Args:
        estimator: An unfitted classifier.
        games: The training games, in the order of their kick-off.
        outcome: 1 when the home side won, else 0, (n_train,).
        season: (n_train,).
        calibration: Later games that neither train nor test, with their outcomes; None or no games where there are
            none.
        progress: Where a former attempt stood, and where to keep how far this one comes; None to keep nothing.
    """
    if not isinstance(estimator, LearnsFromGames):
        fit(estimator, games.features, outcome, progress)
        return
    watched = calibration if calibration is not None and len(calibration[0]) else None
    last = season == season.max()
    if watched is None and not last.all():
        earlier, late = np.flatnonzero(~last), np.flatnonzero(last)
        watched = games.rows(late), outcome[late]
        games, outcome = games.rows(earlier), outcome[earlier]
    estimator.fit_games(games, outcome, watched, progress)


def predict(estimator: Any, games: Games) -> Any:
    """What a fitted model says of games: probabilities of a loss and of a win of the home side, (n_games, 2)."""
    if isinstance(estimator, LearnsFromGames):
        return estimator.predict_games(games)
    return estimator.predict_proba(games.features)
