"""Tests that the code which travels with a promoted model says bitwise what this project's own code says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from sweeproute import estimators
from sweeproute.calibration import AsItIs, Calibrator, Isotonic, Platt, to_json
from sweeproute.estimators import Games
from sweeproute.models.network import NeuralNetwork
from sweeproute.promotion import loader

N, FEATURES = 400, [f"f{n}" for n in range(7)]
NAMES = tuple(f"T{n}" for n in range(8))


@pytest.fixture(scope="module")
def games() -> tuple[Games, np.ndarray]:
    """Games between eight teams, of which a tenth of the features is not known, and how they ended."""
    draw = np.random.default_rng(5)
    features = draw.normal(size=(N, len(FEATURES)))
    won = (features[:, 0] + draw.normal(size=N) > 0).astype(np.int8)
    features[draw.random(features.shape) < 0.1] = np.nan
    teams = np.stack([draw.permutation(8)[:2] for _ in range(N)]).astype(np.int64)
    return Games(features, teams, NAMES), won


def early() -> Any:
    return xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2, learning_rate=0.5, n_jobs=1)


MODELS: dict[str, Callable[[], Any]] = {
    "gbtree": lambda: xgboost.XGBClassifier(n_estimators=20, n_jobs=1),
    "gblinear": lambda: xgboost.XGBClassifier(booster="gblinear", n_estimators=20, n_jobs=1),
    "dart": lambda: xgboost.XGBClassifier(booster="dart", rate_drop=0.3, n_estimators=20, n_jobs=1),
    "softprob": lambda: xgboost.XGBClassifier(objective="multi:softprob", num_class=2, n_estimators=20, n_jobs=1),
    "early": early,
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=20, n_jobs=1, verbosity=-1),
    "forest": lambda: RandomForestClassifier(n_estimators=20, n_jobs=1, random_state=0),
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=20, random_state=0),
    "logistic": lambda: make_pipeline(SimpleImputer(), LogisticRegression()),
    "bayes": lambda: make_pipeline(SimpleImputer(), GaussianNB()),
    "boosted": lambda: make_pipeline(SimpleImputer(), lightgbm.LGBMClassifier(n_estimators=9, n_jobs=1, verbosity=-1)),
    "network": lambda: NeuralNetwork(max_epochs=3, width=16, depth=2, random_state=1),
    "shallow": lambda: NeuralNetwork(max_epochs=3, depth=0, random_state=1),
    "teamless": lambda: NeuralNetwork(max_epochs=3, width=16, embedding_dim=0, random_state=1),
}
CALIBRATORS: dict[str, Calibrator] = {
    "none": AsItIs(),
    "platt": Platt(slope=0.83, intercept=-0.021),
    "isotonic": Isotonic((0.2, 0.45, 0.7), (0.3, 0.4, 0.9)),
}


def fitted(name: str, games: Games, won: np.ndarray) -> Any:
    model = MODELS[name]()
    if isinstance(model, NeuralNetwork):
        rows = np.arange(N)
        watched = games.rows(rows[300:]), won[300:]
        return model.fit_games(games.rows(rows[:300]), won[:300], watched, None, None)
    if name == "early":
        return model.fit(games.features[:300], won[:300], eval_set=[(games.features[300:], won[300:])], verbose=False)
    return model.fit(games.features, won)


def packed(folder: Path, model: Any, calibrator: Calibrator, teams: bool) -> Path:
    """A folder as the packer writes it."""
    estimators.save(model, folder)
    if calibrator.method != "none":
        (folder / "calibration.json").write_text(json.dumps([to_json(calibrator)]))
    about = {"features": FEATURES, "teams": ["home_team", "away_team"] if teams else []}
    (folder / loader.ABOUT).write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize("method", CALIBRATORS)
@pytest.mark.parametrize("name", MODELS)
def test_it_says_bitwise_what_the_project_says(games, tmp_path: Path, name: str, method: str) -> None:
    some, won = games
    model, calibrator = fitted(name, some, won), CALIBRATORS[method]
    estimators.predict_on_one_thread(model)
    folder = packed(tmp_path, model, calibrator, teams=True)
    sides = np.asarray(NAMES, dtype=object)[some.teams]
    table = pd.DataFrame(some.features, columns=FEATURES).assign(home_team=sides[:, 0], away_team=sides[:, 1])
    said = loader._load_pyfunc(str(folder)).predict(table)
    expected = calibrator(np.ascontiguousarray(estimators.predict(model, some)[:, 1], dtype=np.float64))
    assert said["probability"].to_numpy().tobytes() == expected.tobytes()
    assert list(said.columns) == ["probability"]
    # Whatever the order of columns, and of games.
    mixed = table[table.columns[::-1]].iloc[::-1]
    again = loader._load_pyfunc(str(folder)).predict(mixed)["probability"]
    np.testing.assert_allclose(again.sort_index().to_numpy(), expected, rtol=1e-6)
    assert (again.index == mixed.index).all()


def test_the_booster_that_stopped_early_uses_its_best_rounds(games) -> None:
    model = fitted("early", *games)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()


def test_a_network_of_a_table_without_teams_is_asked_for_none(games, tmp_path: Path) -> None:
    some, won = Games(games[0].features), games[1]
    model = fitted("network", some, won)
    folder = packed(tmp_path, model, AsItIs(), teams=False)
    said = loader._load_pyfunc(str(folder)).predict(pd.DataFrame(some.features, columns=FEATURES))
    assert said["probability"].to_numpy().tobytes() == estimators.predict(model, some)[:, 1].tobytes()


def test_a_type_that_is_not_trusted_is_not_loaded(tmp_path: Path) -> None:
    from skops import io as files

    (tmp_path / "model.json").write_text(json.dumps({"file": "model.skops"}))
    (tmp_path / loader.ABOUT).write_text(json.dumps({"features": FEATURES, "teams": []}))
    files.dump({"a": Stranger()}, tmp_path / "model.skops")
    with pytest.raises(ValueError, match="names types that are not trusted"):
        loader._load_pyfunc(str(tmp_path))


class Stranger:
    """What no trusted file names."""

    def __init__(self) -> None:
        self.kept = 1
