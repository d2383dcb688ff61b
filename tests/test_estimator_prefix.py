"""A shorter fit that is taken from a longer one predicts bitwise what a fit of its own would, or is refused."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sweeproute import estimators
from sweeproute.estimators import PrefixError, shortened

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(400, 12))
FEATURES[RNG.random(FEATURES.shape) < 0.05] = np.nan
OUTCOME = (np.nan_to_num(FEATURES[:, 0] * FEATURES[:, 1]) + RNG.normal(size=400) > 0).astype(np.int8)
UNSEEN = RNG.normal(size=(150, 12))
WHOLE, LENGTHS = 40, (1, 7, 25, 40)

XGBOOST: list[dict[str, Any]] = [
    {},
    {"max_depth": 9, "subsample": 0.7, "colsample_bytree": 0.7, "learning_rate": 0.1},
    {"subsample": 0.5, "colsample_bylevel": 0.5, "colsample_bynode": 0.5, "gamma": 0.1, "reg_alpha": 0.2},
    {"tree_method": "exact", "subsample": 0.8},
    {"tree_method": "approx", "num_parallel_tree": 3, "subsample": 0.8, "colsample_bynode": 0.6},
    {"grow_policy": "lossguide", "max_leaves": 6, "base_score": 0.4, "scale_pos_weight": 1.5},
    {"booster": "gbtree", "n_jobs": 2, "min_child_weight": 20, "seed": 3, "process_type": "default"},
]
LIGHTGBM: list[dict[str, Any]] = [
    {},
    {"subsample": 0.7, "subsample_freq": 1, "colsample_bytree": 0.5, "num_leaves": 4, "deterministic": True},
    {"boosting_type": "goss", "learning_rate": 0.2},
    {"data_sample_strategy": "goss", "extra_trees": True, "max_depth": 3},
    {"subsample": 0.5, "subsample_freq": 3, "n_jobs": 2, "force_row_wise": True, "linear_tree": True},
]
FOREST: list[dict[str, Any]] = [
    {},
    {"max_depth": 6, "min_samples_leaf": 20, "max_features": 0.2, "max_samples": 0.5},
    {"n_jobs": 2, "bootstrap": False, "class_weight": "balanced", "criterion": "entropy"},
]
HISTOGRAM: list[dict[str, Any]] = [{}, {"max_features": 0.5, "max_leaf_nodes": 5}]


def built(kind: type, length: int, params: dict[str, Any]) -> Any:
    quiet = {"verbosity": -1} if kind is lightgbm.LGBMClassifier else {}
    if kind is HistGradientBoostingClassifier:
        return kind(**{"random_state": 5, "max_iter": length, **params})
    return kind(**{"random_state": 5, "n_estimators": length, "n_jobs": 1, **quiet, **params})


def fitted(kind: type, length: int, params: dict[str, Any]) -> Any:
    # What is lacking, a forest would impute as these do.
    model = built(kind, length, params).fit(np.nan_to_num(FEATURES), OUTCOME)
    estimators.predict_on_one_thread(model)
    return model


CASES = [
    *((xgboost.XGBClassifier, params) for params in XGBOOST),
    *((lightgbm.LGBMClassifier, params) for params in LIGHTGBM),
    *((RandomForestClassifier, params) for params in FOREST),
    (ExtraTreesClassifier, {}),
    *((HistGradientBoostingClassifier, params) for params in HISTOGRAM),
]


@pytest.mark.parametrize(("kind", "params"), CASES, ids=[f"{kind.__name__}-{params}"[:70] for kind, params in CASES])
def test_the_beginning_of_a_fit_is_bitwise_the_shorter_fit(kind: type, params: dict[str, Any], tmp_path: Path) -> None:
    name = "max_iter" if kind is HistGradientBoostingClassifier else "n_estimators"
    whole = fitted(kind, WHOLE, params)
    before = whole.predict_proba(UNSEEN)
    for length in LENGTHS:
        short, alone = shortened(whole, name, length), fitted(kind, length, params)
        assert short.get_params()[name] == length
        expected = alone.predict_proba(UNSEEN)
        assert (short.predict_proba(UNSEEN) == expected).all()
        assert length == WHOLE or (expected != before).any()  # else the comparison says nothing
        estimators.save(short, tmp_path / str(length))
        assert (estimators.load(tmp_path / str(length)).predict_proba(UNSEEN) == expected).all()
    assert (whole.predict_proba(UNSEEN) == before).all()
    assert whole.get_params()[name] == WHOLE


@pytest.mark.parametrize("kind", [xgboost.XGBClassifier, lightgbm.LGBMClassifier, RandomForestClassifier])
def test_a_pipeline_is_shortened_at_its_end(kind: type, tmp_path: Path) -> None:
    def whole(length: int) -> Any:
        return make_pipeline(StandardScaler(), built(kind, length, {})).fit(np.nan_to_num(FEATURES), OUTCOME)

    short = shortened(whole(WHOLE), "n_estimators", 7)
    expected = whole(7).predict_proba(UNSEEN)
    assert (short.predict_proba(UNSEEN) == expected).all()
    estimators.save(short, tmp_path)
    assert (estimators.load(tmp_path).predict_proba(UNSEEN) == expected).all()


REFUSED = [
    (xgboost.XGBClassifier(n_estimators=9, booster="dart", rate_drop=0.5), "booster=dart weighs earlier trees anew"),
    (xgboost.XGBClassifier(n_estimators=9, booster="gblinear"), "booster=gblinear has no trees"),
    (
        xgboost.XGBClassifier(n_estimators=9, callbacks=[xgboost.callback.EvaluationMonitor()]),
        "callbacks and early stopping",
    ),
    (lightgbm.LGBMClassifier(n_jobs=1, boosting_type="dart", verbosity=-1), "boosting_type=dart weighs trees"),
    (
        lightgbm.LGBMClassifier(n_jobs=1, boosting_type="rf", subsample=0.5, subsample_freq=1, verbosity=-1),
        "boosting_type=rf",
    ),
    (lightgbm.LGBMClassifier(n_jobs=1, boosting="dart", verbosity=-1), "boosting_type=dart weighs trees"),
    (lightgbm.LGBMClassifier(n_jobs=1, num_iterations=30, verbosity=-1), "num_iterations may end a fit elsewhere"),
    (LogisticRegression(max_iter=500), "LogisticRegression does not learn step by step along n_estimators"),
]


@pytest.mark.parametrize(("model", "why"), REFUSED, ids=[why[:40] for _, why in REFUSED])
def test_what_would_learn_otherwise_is_refused(model: Any, why: str) -> None:
    model.fit(np.nan_to_num(FEATURES), OUTCOME)
    with pytest.raises(PrefixError, match=why):
        shortened(model, "n_estimators", 5)


def test_what_is_said_of_a_fit_that_ends_early_of_itself() -> None:
    stops = xgboost.XGBClassifier(early_stopping_rounds=3, n_estimators=WHOLE, eval_metric="logloss")
    stops.fit(FEATURES, OUTCOME, eval_set=[(FEATURES, OUTCOME)], verbose=False)
    with pytest.raises(PrefixError, match="callbacks and early stopping"):
        shortened(stops, "n_estimators", 5)
    stops = HistGradientBoostingClassifier(early_stopping=True, max_iter=WHOLE).fit(FEATURES, OUTCOME)
    with pytest.raises(PrefixError, match="early stopping may depend on the number of rounds"):
        shortened(stops, "max_iter", 5)


def test_a_round_without_a_tree_is_no_round_that_can_be_counted() -> None:
    """LightGBM keeps nothing of a round that finds no split: which trees a shorter fit has, nobody knows then."""
    params = {"subsample": 0.3, "subsample_freq": 1, "min_split_gain": 5}
    whole = fitted(lightgbm.LGBMClassifier, 60, params)
    assert 0 < whole.booster_.current_iteration() < 60
    with pytest.raises(PrefixError, match=r"LightGBM has learned in \d+ of 60 rounds"):
        shortened(whole, "n_estimators", 30)


def test_another_parameter_or_a_longer_fit_is_refused() -> None:
    whole = fitted(xgboost.XGBClassifier, 10, {})
    with pytest.raises(PrefixError, match="does not learn step by step along max_depth"):
        shortened(whole, "max_depth", 2)
    with pytest.raises(PrefixError, match="n_estimators=11 is no part of n_estimators=10"):
        shortened(whole, "n_estimators", 11)
    whole.set_params(device="cuda")
    with pytest.raises(PrefixError, match="XGBoost on cuda has not been compared"):
        shortened(whole, "n_estimators", 5)
