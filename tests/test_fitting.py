"""Tests of fits that are cut short and gone on with: what they learn, and which of them say that they cannot."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from xgboost import XGBClassifier

from sweeproute import estimators
from sweeproute.checkpoint import Checkpoint, Progress
from sweeproute.estimators import rounds
from sweeproute.finished_fold import Answer, FinishedFold
from synthetic_games import games

DATASET = games()
FEATURES = DATASET.features.to_numpy(dtype=np.float64)
ROUNDS = 30
PLAIN: dict[str, Any] = {"n_estimators": ROUNDS, "max_depth": 3, "learning_rate": 0.1, "n_jobs": 1, "random_state": 3}
# From 3.3 on a booster's configuration holds the state of its generator.
KEEPS_DRAWS = tuple(int(number) for number in xgboost.__version__.split(".")[:2]) >= (3, 3)

DRAWING: list[dict[str, Any]] = [
    {"subsample": 0.7},
    {"colsample_bytree": 0.5},
    {"colsample_bylevel": 0.5},
    {"colsample_bynode": 0.5},
    {"subsample": 0.7, "colsample_bytree": 0.5},
    {"subsample": 0.5, "num_parallel_tree": 2},
    {"subsample": 0.5, "tree_method": "approx"},
    {"subsample": 0.5, "tree_method": "exact"},
    {"booster": "dart", "rate_drop": 0.3},
]
SETTLED: list[dict[str, Any]] = [
    {},
    {"tree_method": "approx"},
    {"tree_method": "exact"},
    {"grow_policy": "lossguide", "max_leaves": 6},
    {"num_parallel_tree": 2},
    {"base_score": 0.4, "scale_pos_weight": 2.0},
    {"n_estimators": None, "learning_rate": 0.01},
    {"objective": "binary:logitraw"},
    {"subsample": 1, "colsample_bytree": None},
]


def named(values: list[dict[str, Any]]) -> list[str]:
    return [",".join(f"{key}={value}" for key, value in one.items()) or "plain" for one in values]


def learned(estimator: Any) -> tuple[bytes, bytes]:
    """What a fit learned, and what it says, bit for bit."""
    return bytes(estimator.get_booster().save_raw("ubj")), estimator.predict_proba(FEATURES).tobytes()


def opened(folder: Path, minutes: float | None = None) -> Checkpoint:
    return Checkpoint.open(folder, "f", "cpu", minutes)


class Cut(Exception):
    """A process that ends in the middle of a fit."""


class CutAfter(Progress):
    """Saves at each round, and ends when it has saved so many."""

    def __init__(self, checkpoint: Checkpoint, saves: int) -> None:
        super().__init__(checkpoint, 2018, checkpoint.fit(2018).saved, 0.0)
        self._left = saves

    def due(self) -> bool:
        return True

    def save(self, what: str, write: Any) -> None:
        super().save(what, write)
        self._left -= 1
        if not self._left:
            raise Cut


def cut(estimator: Any, folder: Path, saves: int) -> None:
    with pytest.raises(Cut):
        estimators.fit(estimator, FEATURES, DATASET.outcome, CutAfter(opened(folder), saves))


@pytest.mark.parametrize("changes", SETTLED, ids=named(SETTLED))
def test_boosting_that_was_cut_twice_learns_bitwise_what_it_learns_at_once(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    params = PLAIN | changes
    whole = XGBClassifier(**params).fit(FEATURES, DATASET.outcome)
    for saves in (9, 12):
        cut(XGBClassifier(**params), tmp_path, saves)
    again = opened(tmp_path)
    assert again.resumed_from([2018]) == "fold 2018, 21 rounds"
    estimator = XGBClassifier(**params)
    estimators.fit(estimator, FEATURES, DATASET.outcome, again.fit(2018))
    assert learned(estimator) == learned(whole)
    assert estimator.get_params() == whole.get_params()
    assert estimator.get_booster().num_boosted_rounds() == whole.get_num_boosting_rounds()


@pytest.mark.parametrize("changes", DRAWING, ids=named(DRAWING))
def test_boosting_that_draws_goes_on_where_its_generator_is_kept_and_else_says_that_it_cannot(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    params = PLAIN | changes
    whole = XGBClassifier(**params).fit(FEATURES, DATASET.outcome)
    estimator = XGBClassifier(**params)
    if KEEPS_DRAWS:
        assert rounds.obstacle(estimator) is None
        cut(XGBClassifier(**params), tmp_path, 11)
    else:
        assert "does not keep the state of its draws" in (rounds.obstacle(estimator) or "")
    estimators.fit(estimator, FEATURES, DATASET.outcome, opened(tmp_path, 1e-9).fit(2018))
    assert learned(estimator) == learned(whole)
    assert any(tmp_path.iterdir()) == KEEPS_DRAWS


def test_a_fit_that_was_cut_after_its_last_round_learns_no_more(tmp_path: Path) -> None:
    whole = XGBClassifier(**PLAIN).fit(FEATURES, DATASET.outcome)
    cut(XGBClassifier(**PLAIN), tmp_path, ROUNDS)
    estimator = XGBClassifier(**PLAIN)
    estimators.fit(estimator, FEATURES, DATASET.outcome, opened(tmp_path).fit(2018))
    assert learned(estimator) == learned(whole)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device": "cuda"}, "XGBoost on cuda goes on with other last bits"),
        ({"device": "cuda:1"}, "XGBoost on cuda goes on with other last bits"),
        ({"booster": "gblinear"}, "XGBoost's booster=gblinear goes on otherwise than it would have"),
        ({"early_stopping_rounds": 5}, "what callbacks and early stopping remember is not kept"),
        (
            {"callbacks": [xgboost.callback.LearningRateScheduler(lambda number: 0.1)]},
            "what callbacks and early stopping remember is not kept",
        ),
        ({"device": "cpu", "booster": "gbtree", "subsample": 1.0}, None),
    ],
)
def test_boosting_names_what_keeps_it_from_going_on(changes: dict[str, Any], reason: str | None) -> None:
    assert rounds.obstacle(XGBClassifier(**PLAIN | changes)) == reason


def test_a_pipelines_last_step_goes_on_and_the_pipeline_is_as_if_it_had_been_fitted_at_once(tmp_path: Path) -> None:
    def build() -> Pipeline:
        return make_pipeline(SimpleImputer(keep_empty_features=True), XGBClassifier(**PLAIN))

    whole = build().fit(FEATURES, DATASET.outcome)
    cut(build(), tmp_path, 5)
    pipeline = build()
    estimators.fit(pipeline, FEATURES, DATASET.outcome, opened(tmp_path).fit(2018))
    np.testing.assert_array_equal(pipeline.predict_proba(FEATURES), whole.predict_proba(FEATURES))
    # Nothing of the checkpoint is left in it, or it could not be saved.
    estimators.save(pipeline, tmp_path / "model")


class Walk:
    """A model of this project's own kind: steps at random, each shown the data once."""

    def __init__(self, steps: int = 12) -> None:
        self.steps = steps

    def fit(self, features: np.ndarray, outcome: np.ndarray) -> "Walk":
        return self._walk(features, np.random.default_rng(5), 0, np.zeros(features.shape[1]))

    def fit_from(self, features: np.ndarray, outcome: np.ndarray, progress: Progress) -> "Walk":
        generator, done, place = np.random.default_rng(5), 0, np.zeros(features.shape[1])
        if progress.saved is not None:
            with np.load(progress.saved / "walk.npz") as kept:
                done, place = int(kept["done"]), kept["place"]
            for _ in range(done):
                generator.normal(size=features.shape[1])
        return self._walk(features, generator, done, place, progress)

    def _walk(self, features: Any, generator: Any, done: int, place: Any, progress: Progress | None = None) -> "Walk":
        for number in range(done, self.steps):
            place = 0.9 * place + generator.normal(size=features.shape[1])
            if progress is not None and progress.due():
                kept = {"done": number + 1, "place": place}
                progress.save(f"{number + 1} steps", lambda folder, kept=kept: np.savez(folder / "walk.npz", **kept))
        self.place_ = place
        return self


def test_a_model_with_fit_from_goes_on_by_itself(tmp_path: Path) -> None:
    whole = Walk().fit(FEATURES, DATASET.outcome)
    cut(Walk(), tmp_path, 5)
    assert opened(tmp_path).resumed_from([2018]) == "fold 2018, 5 steps"
    model = Walk()
    estimators.fit(model, FEATURES, DATASET.outcome, opened(tmp_path).fit(2018))
    np.testing.assert_array_equal(model.place_, whole.place_)


def test_a_model_that_cannot_go_on_is_fitted_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    features = np.nan_to_num(FEATURES)
    checkpoint = opened(tmp_path, 1e-9)
    model = LogisticRegression()
    estimators.fit(model, features, DATASET.outcome, checkpoint.fit(2018))
    assert (model.coef_ == LogisticRegression().fit(features, DATASET.outcome).coef_).all()
    assert not any(tmp_path.iterdir())
    checkpoint.finish(FinishedFold(2018, Answer(model.predict_proba(features)[:, 1], np.empty(0), 1.0), 1.0))
    assert "nothing inside a fit, since LogisticRegression cannot go on with a fit" in caplog.text


def test_without_a_checkpoint_a_model_is_simply_fitted() -> None:
    whole = XGBClassifier(**PLAIN).fit(FEATURES, DATASET.outcome)
    estimator = XGBClassifier(**PLAIN)
    estimators.fit(estimator, FEATURES, DATASET.outcome, None)
    assert learned(estimator) == learned(whole)
