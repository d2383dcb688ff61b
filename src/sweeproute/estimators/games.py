"""Hands a model the games of a fold, more of them than their features where it asks for that."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeproute.checkpoint import Progress
from sweeproute.estimators.contract import Games, LearnsFromGames, Told
from sweeproute.estimators.fitting import fit


def divided(
    estimator: Any, season: NDArray[np.int64], train: NDArray[np.int64], calibration: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which games a model is to learn from, and which to watch.

    A model that learns from games watches the calibration games; where there are none, the last training season, which
    it then does not learn from. Any other model learns from all training games.

    Args:
        estimator: A classifier.
        season: (n_games,).
        train: Positions of the training games, (n_train,), ascending.
        calibration: Positions of the games that neither train nor test, (n_calibration,), ascending.

    Returns:
        Positions of both; of one training season without calibration games nothing is left to watch.
    """
    if not isinstance(estimator, LearnsFromGames):
        return train, calibration[:0]
    last = season[train] == season[train].max()
    if calibration.size or last.all():
        return train, calibration
    return train[~last], train[last]


def fit_games(
    estimator: Any,
    games: Games,
    outcome: NDArray[np.int8],
    watched: tuple[Games, NDArray[np.int8]],
    progress: Progress | None = None,
    told: Told | None = None,
) -> None:
    """Fit in place on training games, or on their features alone where a model does not ask for more.

    Args:
        estimator: An unfitted classifier.
        games: The training games, in the order of their kick-off.
        outcome: 1 when the home side won, else 0, (n_train,).
        watched: The games to watch, and their outcomes; there may be none.
        progress: Where a former attempt stood, and where to keep how far this one comes; None to keep nothing.
        told: To be told, by a model that learns from games, what it says of the watched ones on its way; None where
            nobody asks.
    """
    if isinstance(estimator, LearnsFromGames):
        estimator.fit_games(games, outcome, watched if len(watched[0]) else None, progress, told)
    else:
        fit(estimator, games.features, outcome, progress)


def predict(estimator: Any, games: Games) -> Any:
    """What a fitted model says of games: probabilities of a loss and of a win of the home side, (n_games, 2)."""
    if isinstance(estimator, LearnsFromGames):
        return estimator.predict_games(games)
    return estimator.predict_proba(games.features)
