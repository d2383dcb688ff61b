"""Takes from one fit the model that a shorter fit would have learned."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sweeproute.estimators.files import class_name

# LightGBM's other names for the number of rounds, which go before n_estimators, and for what ends a fit early.
_OTHER_LENGTHS = (
    "num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round", "num_rounds", "nrounds",
    "num_boost_round", "max_iter",
)  # fmt: skip
_EARLY = ("early_stopping_round", "early_stopping_rounds", "early_stopping", "n_iter_no_change")


class PrefixError(ValueError):
    """A shorter fit would have learned something else, or nobody knows; the message is a clause that says why."""


@dataclass(frozen=True)
class _Kind:
    """How the models of some classes are shortened.

    Attributes:
        parameter: The parameter that says how long a fit is.
        obstacle: Why a fit is no prefix of a longer one, by a fitted estimator; None where it is one.
        shorten: From a fitted estimator and a length to the shorter one.
    """

    parameter: str
    obstacle: Callable[[Any], str | None]
    shorten: Callable[[Any, int], Any]


def shortened(estimator: Any, parameter: str, length: int) -> Any:
    """The estimator that a shorter fit on the same data would have made: it predicts bitwise the same.

    Args:
        estimator: A fitted classifier, or a pipeline with one at its end; it is left as it is.
        parameter: The parameter along which the two fits differ: n_estimators or max_iter.
        length: Its value in the shorter fit, 1 or more.

    Returns:
        A fitted estimator with this value; it shares what it can with the given one.

    Raises:
        PrefixError: The parameter is another one for this model, or the shorter fit is no part of this one.
    """
    if class_name(estimator) == "sklearn.Pipeline":
        short = copy.copy(estimator)
        name, last = estimator.steps[-1]
        last = shortened(last, parameter, length)
        if class_name(last) == "lightgbm.LGBMClassifier":
            last._Booster = last._Booster.whole()  # a pipeline's file holds no view
        short.steps = [*estimator.steps[:-1], (name, last)]
        return short
    kind = _kind(estimator)
    if kind is None or kind.parameter != parameter:
        raise PrefixError(f"{type(estimator).__name__} does not learn step by step along {parameter}")
    whole = getattr(estimator, parameter)
    if not isinstance(whole, int) or not 1 <= length <= whole:
        raise PrefixError(f"{parameter}={length} is no part of {parameter}={whole}")
    reason = kind.obstacle(estimator)
    if reason is not None:
        raise PrefixError(reason)
    short = kind.shorten(estimator, length)
    setattr(short, parameter, length)
    return short


def _kind(estimator: Any) -> _Kind | None:
    # By the module's name, so that no model pays for the import of another one's library.
    modules = {one.__module__ for one in type(estimator).__mro__}
    if "sklearn.ensemble._forest" in modules:
        return _FOREST
    return _KINDS.get(class_name(estimator))


def _xgboost_obstacle(estimator: Any) -> str | None:
    params = estimator.get_xgb_params()
    booster = params.get("booster") or "gbtree"
    if booster == "dart":
        return "XGBoost's booster=dart weighs earlier trees anew with each later one"
    if booster != "gbtree":
        return f"XGBoost's booster={booster} has no trees to leave out"
    if estimator.callbacks or estimator.early_stopping_rounds:
        return "callbacks and early stopping may depend on the number of rounds"
    if params.get("process_type") not in (None, "default"):
        return f"XGBoost's process_type={params['process_type']} changes trees that are there already"
    if not str(params.get("device") or "cpu").startswith("cpu"):
        # Not compared yet, and trees are added up in another order there when they are given than when they are learnt.
        return f"XGBoost on {params['device']} has not been compared"
    return _cut_short("XGBoost", estimator.get_booster().num_boosted_rounds(), estimator.n_estimators)


def _shorten_xgboost(estimator: Any, length: int) -> Any:
    short = copy.copy(estimator)
    short._Booster = estimator.get_booster()[:length]
    return short


def _lightgbm_obstacle(estimator: Any) -> str | None:
    params = estimator.get_params()
    boosting = params.get("boosting") or params.get("boost") or params.get("boosting_type") or "gbdt"
    if boosting not in ("gbdt", "gbrt", "goss"):
        return f"LightGBM's boosting_type={boosting} weighs trees by what comes later"
    given = [name for name in (*_OTHER_LENGTHS, *_EARLY) if params.get(name)]
    if given:
        return f"LightGBM's {given[0]} may end a fit elsewhere than n_estimators says"
    device = params.get("device_type") or params.get("device") or "cpu"
    if device != "cpu":
        return f"LightGBM on {device} does not learn the same twice"
    # A round that finds no split leaves no tree, so with fewer trees nobody knows which of them a shorter fit has.
    return _cut_short("LightGBM", estimator.booster_.current_iteration(), estimator.n_estimators)


def _shorten_lightgbm(estimator: Any, length: int) -> Any:
    short = copy.copy(estimator)
    short._Booster = _FirstRounds(estimator.booster_, length)
    return short


class _FirstRounds:
    """The first rounds of a LightGBM booster, without the copy through text that the library makes of one.

    Args:
        booster: A trained lightgbm.Booster.
        length: How many rounds.
    """

    def __init__(self, booster: Any, length: int) -> None:
        self._booster = booster
        self._length = length

    def predict(self, features: Any, num_iteration: int | None = None, **more: Any) -> Any:  # noqa: ARG002
        """As the library's own, of these rounds."""
        return self._booster.predict(features, num_iteration=self._length, **more)

    def save_model(self, path: Any) -> None:
        """As the library's own, of these rounds."""
        self._booster.save_model(path, num_iteration=self._length)

    def whole(self) -> Any:
        """A booster of these rounds; its text holds every number with all its digits."""
        import lightgbm

        text = self._booster.model_to_string(num_iteration=self._length)
        return lightgbm.Booster(model_str=text)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._booster, name)


def _cut_short(library: str, rounds: int, asked: int) -> str | None:
    return None if rounds == asked else f"{library} has learned in {rounds} of {asked} rounds"


def _forest_obstacle(estimator: Any) -> str | None:
    return _cut_short(type(estimator).__name__, len(estimator.estimators_), estimator.n_estimators)


def _shorten_forest(estimator: Any, length: int) -> Any:
    short = copy.copy(estimator)
    short.estimators_ = estimator.estimators_[:length]
    return short


def _histogram_obstacle(estimator: Any) -> str | None:
    if estimator.do_early_stopping_:
        return "early stopping may depend on the number of rounds"
    return _cut_short(type(estimator).__name__, estimator.n_iter_, estimator.max_iter)


def _shorten_histogram(estimator: Any, length: int) -> Any:
    short = copy.copy(estimator)
    short._predictors = estimator._predictors[:length]
    return short


# The seed of each tree of a forest is drawn in their order, from one generator.
_FOREST = _Kind("n_estimators", _forest_obstacle, _shorten_forest)
_KINDS = {
    "xgboost.XGBClassifier": _Kind("n_estimators", _xgboost_obstacle, _shorten_xgboost),
    "lightgbm.LGBMClassifier": _Kind("n_estimators", _lightgbm_obstacle, _shorten_lightgbm),
    "sklearn.HistGradientBoostingClassifier": _Kind("max_iter", _histogram_obstacle, _shorten_histogram),
}
