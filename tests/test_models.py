"""The model contract: one suite for every option of conf/model."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from sklearn.exceptions import NotFittedError
from threadpoolctl import threadpool_limits

import r_here
from sweeproute.betting import BettingRule
from sweeproute.estimators import (
    Bettor,
    Games,
    Priced,
    build,
    check_axes,
    check_parameters,
    load,
    predict_on_one_thread,
    save,
)
from sweeproute.evaluation import evaluate
from sweeproute.stakes import GIVES, STAKES
from sweeproute.validation import walk_forward
from synthetic_games import games

CONF = Path(__file__).parent.parent / "conf"
# An ensemble fits nothing on games: it is made of what models of a finished sweep said; see test_ensemble.
FILES = sorted(path.stem for path in (CONF / "model").glob("*.yaml") if path.stem != "ensemble")
BETTORS = ["dqn", "ppo"]
MODELS = [model for model in FILES if model not in BETTORS]
SPACES = sorted(path.stem for path in (CONF / "search_space").glob("*.yaml"))
DATASET = games(seasons=(2003, 2012), per_season=150, n_features=12)
TESTED = DATASET.season == 2012
FEATURES = DATASET.features.to_numpy()


def composed(model: str, *overrides: str, seed: int = 7, threads: int = 1) -> DictConfig:
    settings = [f"+model={model}", f"seed={seed}", f"threads={threads}", "device=cpu"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("schema", [*settings, *overrides])


def or_skip(model: str, *overrides: str) -> None:
    """Skip where a model needs what is not here."""
    if composed(model, *overrides).job.required_capabilities:
        r_here.or_skip()


def fitted(model: str, *overrides: str, **settings: int) -> Any:
    or_skip(model, *overrides)
    estimator = build(composed(model, *overrides, **settings).model)
    estimator.fit(FEATURES[~TESTED], DATASET.outcome[~TESTED])
    predict_on_one_thread(estimator)
    return estimator


@cache
def probabilities(model: str, **settings: int) -> np.ndarray:
    return fitted(model, **settings).predict_proba(FEATURES[TESTED])


@pytest.mark.parametrize("model", FILES)
class TestEveryFile:
    def test_names_its_type_for_the_routing_rules(self, model: str) -> None:
        config = composed(model)
        assert config.model.type in {
            "GLM",
            "GLM_R",
            "XGBoost",
            "LightGBM",
            "RandomForest",
            "NeuralNetwork",
            "RL_DQN",
            "RL_PPO",
        }
        assert config.job.required_memory_gb > 0
        assert config.job.estimated_duration_minutes > 0

    def test_has_only_parameters_that_its_library_documents(self, model: str) -> None:
        check_parameters(composed(model).model)

    def test_says_what_its_model_gives(self, model: str) -> None:
        config = composed(model)
        assert config.model.gives in GIVES
        assert isinstance(build(config.model), Bettor) == (config.model.gives == STAKES)

    def test_builds_a_fresh_estimator_every_time(self, model: str) -> None:
        config = composed(model).model
        assert build(config) is not build(config)


@pytest.mark.parametrize("model", MODELS)
class TestEveryModel:
    def test_gives_probabilities_of_both_outcomes(self, model: str) -> None:
        answer = probabilities(model)
        assert answer.shape == (TESTED.sum(), 2)
        assert (answer >= 0).all()
        assert (answer <= 1).all()
        assert answer.sum(axis=1) == pytest.approx(1, abs=1e-6)

    def test_learns_something(self, model: str) -> None:
        won = DATASET.outcome[TESTED] == 1
        answer = probabilities(model)[:, 1]
        assert answer[won].mean() > answer[~won].mean() + 0.05

    def test_the_same_seed_gives_bitwise_the_same(self, model: str) -> None:
        assert fitted(model).predict_proba(FEATURES[TESTED]).tobytes() == probabilities(model).tobytes()

    @pytest.mark.parametrize("threads", [2, 3])
    def test_another_number_of_threads_gives_bitwise_the_same(self, model: str, threads: int) -> None:
        with threadpool_limits(threads):
            assert probabilities(model, threads=threads).tobytes() == probabilities(model).tobytes()

    def test_comes_back_from_its_file_bitwise_the_same(self, model: str, tmp_path: Path) -> None:
        save(fitted(model), tmp_path)
        assert load(tmp_path).predict_proba(FEATURES[TESTED]).tobytes() == probabilities(model).tobytes()

    def test_leaves_no_pickle_behind(self, model: str, tmp_path: Path) -> None:
        save(fitted(model), tmp_path)
        assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".ubj", ".txt", ".safetensors", ".skops"}

    def test_refuses_to_predict_before_it_is_fitted(self, model: str) -> None:
        with pytest.raises(NotFittedError):
            build(composed(model).model).predict_proba(FEATURES[TESTED])

    def test_goes_through_the_folds_with_features_that_are_missing_at_first(self, model: str) -> None:
        or_skip(model)
        config = composed(model).model
        folds = walk_forward(
            DATASET.season,
            DATASET.kickoff,
            window="expanding",
            window_seasons=None,
            first_test_season=2004,
            gap_seasons=0,
            calibration_seasons=0,
            selection_seasons=[2004, 2005],
        )
        report = evaluate(lambda: build(config), DATASET, folds, BettingRule())
        assert report == evaluate(lambda: build(config), DATASET, folds, BettingRule())
        assert report.metrics["n_games"] == 300


# A bettor learns of so few games here that it learns little: what a bettor learns stands in test_bettor.
FEW = {"total_timesteps": 1024, "n_envs": 16}
SMALLER = {"dqn": {"learning_starts": 256, "batch_size": 64}, "ppo": {"batch_size": 64}}


def bettor(model: str, **settings: int) -> Any:
    words = [f"model.params.{name}={value}" for name, value in (FEW | SMALLER[model]).items()]
    return build(composed(model, *words, **settings).model)


@cache
def stakes(model: str, **settings: int) -> np.ndarray:
    past = Priced(Games(FEATURES[~TESTED]), DATASET.odds[~TESTED], DATASET.season[~TESTED])
    learned = bettor(model, **settings).fit_bets(past, DATASET.outcome[~TESTED], None)
    return learned.stakes(Games(FEATURES[TESTED]), DATASET.odds[TESTED])


@pytest.mark.parametrize("model", BETTORS)
class TestEveryBettor:
    def test_gives_whole_units_and_none_without_odds(self, model: str) -> None:
        units = stakes(model)
        assert units.shape == (TESTED.sum(),)
        assert (units == np.round(units)).all()
        assert (np.abs(units) <= composed(model).model.params.max_units).all()
        assert not units[np.isnan(DATASET.odds[TESTED]).any(axis=1)].any()

    @pytest.mark.parametrize("threads", [2, 3])
    def test_another_number_of_threads_gives_bitwise_the_same(self, model: str, threads: int) -> None:
        with threadpool_limits(threads):
            assert stakes(model, threads=threads).tobytes() == stakes(model).tobytes()

    def test_goes_through_the_folds_to_the_same_report(self, model: str) -> None:
        folds = walk_forward(
            DATASET.season,
            DATASET.kickoff,
            window="expanding",
            window_seasons=None,
            first_test_season=2004,
            gap_seasons=0,
            calibration_seasons=0,
            selection_seasons=[2004, 2004],
        )
        report = evaluate(lambda: bettor(model), DATASET, folds, BettingRule())
        assert report == evaluate(lambda: bettor(model), DATASET, folds, BettingRule())
        assert report.metrics["n_games"] == 150
        assert report.predictions["probability"].isna().all()


@pytest.mark.parametrize(
    "model", [model for model in MODELS if model in {"xgboost", "lightgbm", "random_forest", "neural_network"}]
)
def test_another_seed_gives_another_model(model: str) -> None:
    assert probabilities(model, seed=8).tobytes() != probabilities(model).tobytes()


@pytest.mark.parametrize("space", SPACES)
def test_every_search_space_fits_its_model(space: str) -> None:
    model = space.removesuffix("_wide").removesuffix("_ranges")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        axes = compose(overrides=[f"+search_space={space}"]).search_space.axes
    if model != "none":
        check_axes(composed(model).model, axes)


def test_the_wide_space_is_the_agreed_grid() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        axes = compose(overrides=["+search_space=xgboost_wide"]).search_space.axes
    assert dict(axes) == {
        "model.params.max_depth": [3, 5, 7, 9],
        "model.params.learning_rate": [0.01, 0.05, 0.1],
        "model.params.n_estimators": [100, 300, 500],
        "model.params.subsample": [0.7, 0.8, 0.9],
        "model.params.colsample_bytree": [0.7, 0.8, 0.9],
    }


def test_a_new_model_is_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "more" / "model"
    folder.mkdir(parents=True)
    (folder / "boosted_histograms.yaml").write_text(
        "# @package _global_\n"
        "model:\n"
        "  type: GradientBoosting\n"
        "  params:\n"
        "    _target_: sklearn.ensemble.HistGradientBoostingClassifier\n"
        "    max_iter: 20\n"
        "    random_state: ${seed}\n",
        encoding="utf-8",
    )
    model = "boosted_histograms"
    search_path = f"hydra.searchpath=[file://{folder.parent}]"
    check_parameters(composed(model, search_path).model)
    check_axes(composed(model, search_path).model, {"model.params.max_iter": [10, 20]})
    estimator = fitted(model, search_path)
    save(estimator, tmp_path / "saved")
    answer = estimator.predict_proba(FEATURES[TESTED])
    assert load(tmp_path / "saved").predict_proba(FEATURES[TESTED]).tobytes() == answer.tobytes()
