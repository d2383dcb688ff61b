"""Compares a challenger with the champion whose alias it is to have, by a test on the games that both predicted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sweeproute import verdicts
from sweeproute.runs_query import DATA_TAG, GAMES_TAG
from sweeproute.trial_journal import PREDICTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

    from sweeproute.promotion.candidate import Candidate

_SETTINGS = verdicts.Settings()


@dataclass(frozen=True)
class Contest:
    """How a challenger has done against a champion."""

    # Whether the alias may go to the challenger: it is significantly better, or the same model.
    won: bool
    # What was found, as a clause that follows the names of both.
    said: str


def contest(client: "MlflowClient", champion: "ModelVersion", challenger: "Candidate", folder: "Path") -> Contest:
    """Compare two models by their Brier scores.

    They are tested on the games that both predicted, which have to be all that either did, of the same games' data and
    set of seasons: on other games the better score says nothing.

    Args:
        client: The store's.
        champion: The version that holds the alias.
        challenger: The run that is to have it.
        folder: Where the champion's predictions are read to.

    Returns:
        Who has won.
    """
    from mlflow.exceptions import MlflowException

    run_id = str(champion.run_id or "")
    try:
        held = client.get_run(run_id).data.tags
        games = pd.read_parquet(client.download_artifacts(run_id, PREDICTIONS, str(folder)))
    except (MlflowException, OSError):
        return Contest(False, f"cannot be compared: the champion's run {run_id} has no {PREDICTIONS}")
    # Other features of the same games compare, as they do where the best run is looked for.
    compared = GAMES_TAG if GAMES_TAG in challenger.tags and GAMES_TAG in held else DATA_TAG
    for tag, what in ((compared, "data"), ("sweeproute.set", "seasons")):
        one, other = challenger.tags.get(tag, ""), held.get(tag, "")
        if one != other:
            told = f"{one[:12] or 'unknown'} and {other[:12] or 'unknown'}"
            return Contest(False, f"cannot be compared, since they were tested on other {what}: {told}")
    mine, theirs = (one.sort_values("game_id", ignore_index=True) for one in (challenger.games, games))
    if not (mine["game_id"].equals(theirs["game_id"]) and mine["outcome"].equals(theirs["outcome"])):
        both = len(set(mine["game_id"]) & set(theirs["game_id"]))
        return Contest(
            False,
            f"cannot be compared, since they were tested on other games: {len(mine)} and {len(theirs)}, {both} of them "
            "the same",
        )
    if theirs["probability"].isna().any():
        return Contest(False, "cannot be compared, since the champion gives no probabilities")
    if np.array_equal(mine["probability"], theirs["probability"]):
        return Contest(True, "say the same of every game")
    if _same(challenger.tags, held):
        return Contest(True, "are the same model, of the same fingerprint")
    return _tested(mine, theirs)


def _same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two runs are of one model, which may differ in its last digits on other machines."""
    tags = "sweeproute.fingerprint", "sweeproute.calibration"
    return tags[0] in one and all(one.get(tag) == other.get(tag) for tag in tags)


def _tested(mine: pd.DataFrame, theirs: pd.DataFrame) -> Contest:
    found = verdicts.difference(mine, theirs, _SETTINGS)
    scores = [float(((one["probability"] - one["outcome"]) ** 2).mean()) for one in (mine, theirs)]
    told = (
        f"have Brier scores of {scores[0]:.4f} and {scores[1]:.4f} on {len(mine)} games of {found.n_weeks} weeks, a "
        f"difference of {found.difference:+.4f} ({100 * _SETTINGS.level:.0f} % {found.low:+.4f} to {found.high:+.4f}, "
        f"p = {found.p_value:.2g})"
    )
    won = found.difference < 0 and found.p_value <= _SETTINGS.alpha
    return Contest(won, told if won else f"{told}, which is not significantly better")
