"""Logistic regression without a penalty by R's glm, as a scikit-learn classifier."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from sweeproute.estimators.errors import ModelError
from sweeproute.models import r_process

if TYPE_CHECKING:
    import pandas as pd

# Features that are named in a warning before the rest is counted.
_NAMED = 8
# A feature is determined by others, up to rounding, where they inflate the variance of its estimate by more.
_INFLATED = 1e6


class RGlm(ClassifierMixin, BaseEstimator):
    """R's `glm(outcome ~ ., family = binomial())`: maximum likelihood by iteratively reweighted least squares.

    R is started once for each fit. What it learned is kept in Python, so that predictions need no R.

    McCullagh and Nelder, Generalized Linear Models, 2nd edition, 1989, section 2.5; the standard errors and p-values
    are those of Wald's test, as R's `summary` prints them.

    Args:
        engine: Which R function is called: tidymodels (a parsnip model in a workflow, which calls stats::glm), stats
            (stats::glm itself), or auto: tidymodels where it is installed, else stats. Both learn the same numbers.
        max_iter: Steps at most; R's own default.
        epsilon: Relative change of the deviance below which the fit has converged; R's own default.

    Attributes:
        classes_: The two outcomes, (2,).
        intercept_: Log odds of the second outcome where all features are 0, (1,).
        coef_: What a unit of each feature adds to the log odds, (1, n_features); 0 where R gives no coefficient because
            other columns determine the feature, as R's `predict` counts it.
        table_: Estimate, standard error, z and p of the intercept, then of each feature, (1 + n_features, 4); NaN where
            R gives none.
        inflation_: By which factor other features inflate the variance of each estimate, (n_features,): the variance
            inflation factor of the weighted regression (Fox and Monette, Journal of the American Statistical
            Association 87, 1992); NaN where R gives no estimate.
        n_iter_: Steps taken.
        converged_: Whether they sufficed.
        n_certain_: Training games whose fitted probability is 0 or 1.
        n_games_: Training games.
        engine_: Which function fitted, with the versions.
    """

    def __init__(
        self, engine: Literal["auto", "tidymodels", "stats"] = "auto", max_iter: int = 25, epsilon: float = 1e-8
    ) -> None:
        self.engine = engine
        self.max_iter = max_iter
        self.epsilon = epsilon

    @staticmethod
    def outside_versions() -> dict[str, str]:
        """Versions of what the fit is done by, outside Python."""
        return r_process.versions()

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit by R.

        Args:
            X: Features, (n_games, n_features), finite.
            y: Outcomes of two sorts, (n_games,).

        Raises:
            ModelError: R, or the engine that was asked for, is not there; a parameter that cannot be; R's own error.
        """
        features, outcome = validate_data(self, X, y, dtype=np.float64)
        self.classes_ = np.unique(outcome)
        if self.classes_.size != 2:
            raise ModelError(f"R's glm is fitted to two outcomes here, and the games have {self.classes_.size}.")
        if self.max_iter < 1 or not self.epsilon > 0:
            raise ModelError(
                f"model.params.max_iter={self.max_iter} and model.params.epsilon={self.epsilon} are 1 or more steps, "
                "and a number above 0."
            )
        engine, self.engine_ = self._choose()
        answer = r_process.fit(features, outcome == self.classes_[1], engine, self.max_iter, self.epsilon)
        self.table_ = np.array(answer["coefficients"], dtype=np.float64)  # (1 + n_features, 4)
        known = np.nan_to_num(self.table_[:, 0])
        self.intercept_, self.coef_ = known[:1], known[np.newaxis, 1:]
        self.n_iter_, self.converged_ = int(answer["iterations"]), bool(answer["converged"])
        self.n_games_, self.n_certain_ = len(features), int(answer["certain"])
        weight = self.predict_proba(features).prod(axis=1)  # (n_games,), of the last step
        mean = weight @ features / max(weight.sum(), np.finfo(float).tiny)
        spread = ((features - mean) ** 2 * weight[:, np.newaxis]).sum(axis=0)
        self.inflation_ = self.table_[1:, 1] ** 2 * spread
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities of the first and of the second outcome, (n_games, 2), for features (n_games, n_features)."""
        check_is_fitted(self)
        features: NDArray[np.float64] = validate_data(self, X, dtype=np.float64, reset=False)
        # Not by BLAS, whose last bits change with its threads.
        odds = self.intercept_[0] + np.einsum("ij,j->i", features, self.coef_[0], optimize=False)
        small = np.exp(-np.abs(odds))  # in (0, 1], so that nothing overflows
        likelier, other = 1 / (1 + small), small / (1 + small)
        second = np.where(odds >= 0, likelier, other)
        first = np.where(odds >= 0, other, likelier)
        return np.column_stack([first, second])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likelier outcome of each game, (n_games,), for features (n_games, n_features)."""
        probability = self.predict_proba(X)
        return self.classes_[(probability[:, 1] > probability[:, 0]).astype(int)]

    @property
    def coefficients_(self) -> "pd.DataFrame":
        """The table that R's `summary` prints, with x1, x2 and so on for the features; see `coefficients`."""
        return self.coefficients([])

    def coefficients(self, names: Sequence[str]) -> "pd.DataFrame":
        """The table that R's `summary` prints, one row for the intercept and each feature; see `table_`.

        Args:
            names: Names of the features; where their number is another one, they are x1, x2 and so on.
        """
        import pandas as pd

        index = pd.Index(["(Intercept)", *self._named(names)], name="term")
        return pd.DataFrame(self.table_, index=index, columns=["estimate", "std_error", "z", "p"])

    def warnings(self, names: Sequence[str]) -> list[str]:
        """What should be known of the fit, a sentence each.

        Args:
            names: Names of the features, as of `coefficients`.
        """
        named = np.array(self._named(names))
        found = []
        if not self.converged_:
            found.append(
                f"R's glm did not converge in {self.n_iter_} steps; raise model.params.max_iter, or leave features out."
            )
        if self.n_certain_:
            found.append(
                f"R's glm is certain of {self.n_certain_} of {self.n_games_} training games: features separate the "
                "outcomes, their estimates grow without bound, and errors and p-values say nothing; leave those "
                "features out, or use model=glm, whose penalty holds them."
            )
        without = named[np.isnan(self.table_[1:, 0])]
        if without.size:
            found.append(f"R's glm gives no estimate for {_some(without)}: others determine them, and they count as 0.")
        inflated = named[np.nan_to_num(self.inflation_) > _INFLATED]
        if inflated.size and not self.n_certain_:
            found.append(
                f"{_some(inflated)} determine each other up to rounding: the probabilities are right, but the "
                "estimates and errors of these features say nothing; leave one of them out before the table is read."
            )
        return found

    def _named(self, names: Sequence[str]) -> list[str]:
        n_features = len(self.table_) - 1
        return list(map(str, names)) if len(names) == n_features else [f"x{n}" for n in range(1, n_features + 1)]

    def _choose(self) -> tuple[str, str]:
        """The engine, and its name with the versions."""
        there = r_process.versions()
        lacks = [name for name in r_process.TIDYMODELS if name not in there]
        if self.engine not in ("auto", "tidymodels", "stats"):
            raise ModelError(f"model.params.engine={self.engine} is not known; it takes auto, tidymodels or stats.")
        if self.engine == "tidymodels" and lacks:
            wanted = ", ".join(f'"{name}"' for name in lacks)
            raise ModelError(
                f"model.params.engine=tidymodels needs R's {' and '.join(lacks)}, which R {there['R']} does not have "
                f"here; in R, install.packages(c({wanted})), or use engine=auto."
            )
        if self.engine == "stats" or lacks:
            return "stats", f"stats::glm, R {there['R']}"
        packages = ", ".join(f"{name} {there[name]}" for name in r_process.TIDYMODELS)
        return "tidymodels", f"{packages}, R {there['R']}"


def _some(names: NDArray[np.str_]) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest
