"""Fits an estimator so that a fit that was cut short can be gone on with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeproute.checkpoint import Continuable, Progress
from sweeproute.estimators.files import class_name


def fit(estimator: Any, features: NDArray[np.float64], outcome: NDArray[np.int8], progress: Progress | None) -> None:
    """Fit in place; what is learned is bitwise the same whether and wherever the fit was gone on with.

    A model that cannot go on is simply fitted, and so is a pipeline's every step but the last.

    Args:
        estimator: An unfitted classifier.
        features: Features of the training games, (n_train, n_features).
        outcome: 1 when the home side won, else 0, (n_train,).
        progress: Where a former attempt stood, and where to keep how far this one comes; None to keep nothing.
    """
    if progress is None:
        estimator.fit(features, outcome)
    elif isinstance(estimator, Continuable):
        estimator.fit_from(features, outcome, progress)
    elif class_name(estimator) == "xgboost.XGBClassifier":
        # Late, since it imports the library.
        from sweeproute.estimators import rounds

        rounds.fit(estimator, features, outcome, progress)
    elif class_name(estimator) == "sklearn.Pipeline" and len(estimator) > 1 and estimator.memory is None:
        fit(estimator[-1], estimator[:-1].fit_transform(features, outcome), outcome, progress)
    else:
        progress.cannot(f"{type(estimator).__name__} cannot go on with a fit")
        estimator.fit(features, outcome)
