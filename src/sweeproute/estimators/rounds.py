"""Fits XGBoost so that its boosting rounds are kept and gone on with."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from sweeproute.checkpoint import Progress

_TREES = "rounds.ubj"
# Parameters in force, and from XGBoost 3.3 on the state of the random generator.
_CONFIG = "config.json"
# What draws rows or columns at random where it is below one.
_SAMPLING = ("subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode")


def obstacle(estimator: xgboost.XGBClassifier) -> str | None:
    """Why a fit that goes on would not learn bitwise what an uninterrupted one learns.

    Args:
        estimator: The classifier, with its parameters.

    Returns:
        A clause for people; None where nothing stands in the way.
    """
    params = estimator.get_xgb_params()
    booster = params.get("booster") or "gbtree"
    if str(params.get("device") or "cpu").startswith(("cuda", "gpu")):
        # A CUDA device adds up the trees of a model that it is given in another order than while it learns them.
        return "XGBoost on cuda goes on with other last bits"
    if booster not in ("gbtree", "dart"):
        return f"XGBoost's booster={booster} goes on otherwise than it would have"
    if estimator.callbacks or estimator.early_stopping_rounds:
        return "what callbacks and early stopping remember is not kept"
    draws = [f"{name}={params[name]}" for name in _SAMPLING if (params.get(name) or 1) < 1]
    draws += ["booster=dart"] if booster == "dart" else []
    if draws and not _keeps_its_generator():
        return f"XGBoost {xgboost.__version__} does not keep the state of its draws ({', '.join(draws)}); 3.3 does"
    return None


def fit(
    estimator: xgboost.XGBClassifier,
    features: NDArray[np.float64],
    outcome: NDArray[np.int8],
    progress: Progress,
) -> None:
    """Fit in place, from the rounds that a former attempt kept, and keep them whenever it is time.

    Args:
        estimator: The unfitted classifier; its parameters are the same afterwards.
        features: Features of the training games, (n_train, n_features).
        outcome: 1 when the home side won, else 0, (n_train,).
        progress: Where a former attempt stood, and where to keep how far this one comes.
    """
    reason = obstacle(estimator)
    if reason is not None:
        progress.cannot(reason)
        estimator.fit(features, outcome)
        return
    booster = None if progress.saved is None else _read(progress.saved)
    given = estimator.n_estimators, estimator.callbacks
    if booster is not None:
        estimator.n_estimators = estimator.get_num_boosting_rounds() - booster.num_boosted_rounds()
    estimator.callbacks = [_Keep(progress)]
    try:
        estimator.fit(features, outcome, xgb_model=booster)
    finally:
        estimator.n_estimators, estimator.callbacks = given


class _Keep(xgboost.callback.TrainingCallback):
    """Saves the rounds so far whenever it is time."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002  (XGBoost's own names)
        if self._progress.due():
            self._progress.save(f"{model.num_boosted_rounds()} rounds", partial(_write, model))
        return False


def _write(booster: xgboost.Booster, folder: Path) -> None:
    (folder / _TREES).write_bytes(booster.save_raw("ubj"))
    (folder / _CONFIG).write_text(booster.save_config(), encoding="utf-8")


def _read(folder: Path) -> xgboost.Booster:
    booster = xgboost.Booster()
    booster.load_model(bytearray((folder / _TREES).read_bytes()))
    booster.load_config((folder / _CONFIG).read_text(encoding="utf-8"))
    return booster


def _keeps_its_generator() -> bool:
    """Whether a booster's configuration holds the state of its generator, which 3.2 had for the whole process."""
    major, minor = xgboost.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (3, 3)
