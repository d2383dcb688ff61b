"""Makes the runs whose models are promoted: a sweep of real ones, and runs made by hand from these."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from handmade_sweep import fresh_store
from small_trial import ONE_SLOT, SMALL, end, start
from sweeproute import data
from sweeproute.estimators import Games
from sweeproute.store import connect

MODELS = ("glm", "xgboost", "lightgbm", "random_forest", "neural_network")
TYPES = ("GLM", "XGBoost", "LightGBM", "RandomForest", "NeuralNetwork")
METHODS = ("none", "platt", "isotonic")
LEAGUE = {"source": "league", "first_season": 2015, "last_season": 2019}


@dataclass(frozen=True)
class Zoo:
    """A sweep of models that say probabilities, each with every calibration, on a table with games to come."""

    folder: Path
    uri: str

    @property
    def client(self) -> MlflowClient:
        """The store's."""
        return connect(self.uri)

    def dataset(self) -> data.Dataset:
        """The data that it was made from."""
        return data.load({"source": "nfl", "path": str(self.folder / "games.csv")})

    def run(self, kind: str, method: str = "none") -> Run:
        """The run of a type of model under a calibration."""
        where = f"tags.`sweeproute.model_type` = '{kind}' and tags.`sweeproute.calibration` = '{method}'"
        where += " and tags.`sweeproute.sweep` LIKE 'sweep_%'"
        found = [run for run in self.client.search_runs(self.experiments(), where) if "handmade" not in run.data.tags]
        assert len(found) == 1, found
        return found[0]

    def experiments(self) -> list[str]:
        """Ids of the store's experiments."""
        return [one.experiment_id for one in self.client.search_experiments()]

    def played(self, season: int) -> pd.DataFrame:
        """The games of a season as models are asked about them, by the names of the columns."""
        dataset = self.dataset()
        return table_of(dataset, np.flatnonzero(dataset.season == season))


def table_of(dataset: data.Dataset, rows: np.ndarray) -> pd.DataFrame:
    """Features and teams of games."""
    assert dataset.teams is not None
    sides = np.asarray(dataset.team_names, dtype=object)[dataset.teams[rows]]
    table = dataset.features.iloc[rows].reset_index(drop=True)
    return table.assign(home_team=sides[:, 0], away_team=sides[:, 1])


def games_of(dataset: data.Dataset, rows: np.ndarray) -> Games:
    """The same games as a trial asks about them."""
    features = np.ascontiguousarray(dataset.features.to_numpy(np.float64))
    return Games(features, dataset.teams, dataset.team_names).rows(rows)


def make_zoo(folder: Path, models: tuple[str, ...] = MODELS) -> Zoo:
    """Sweep models over a games table whose last week is not played yet."""
    games = data.load_games(LEAGUE).drop(columns="home_win_probability")
    to_come = (games.season == 2019) & (games.week == games.week[games.season == 2019].max())
    games.loc[to_come, ["home_score", "away_score", "result", "total", "overtime"]] = np.nan
    games.to_csv(folder / "games.csv", index=False)
    uri = fresh_store(folder)
    words = [f"model={','.join(models)}", "data=nfl", "data.path=games.csv", "device=cpu", "threads=1"]
    words += ["search_space=none", "tracking.models=all", "calibration=all", "validation.calibration_seasons=1"]
    environment = {"SWEEPROUTE_STATE": str(folder / "state")}
    end(start(folder, "-m", *words, *SMALL[2:], "sweep.name=zoo", ONE_SLOT, uri=uri, **environment))
    return Zoo(folder, uri)


def copied(
    zoo: Zoo,
    of: Run,
    *,
    says: Callable[[pd.DataFrame], pd.Series] | None = None,
    model: Callable[[Path], None] | None = None,
    tags: dict[str, str] | None = None,
    status: str = "FINISHED",
    without: str | None = None,
) -> Run:
    """A run made by hand, like another.

    Args:
        zoo: Whose store it goes to.
        of: The run that it is like.
        says: From predictions to other probabilities.
        model: Changes the folder of the model's files.
        tags: That take the place of the other's; an empty value leaves one out.
        status: How it ended.
        without: An artifact that it lacks.
    """
    client = zoo.client
    told = {"handmade": "true", **of.data.tags, "sweeproute.fingerprint": "made by hand", **(tags or {})}
    run = client.create_run(of.info.experiment_id, tags={key: value for key, value in told.items() if value})
    folder = Path(client.download_artifacts(of.info.run_id, "", str(zoo.folder / run.info.run_id)))
    if says is not None:
        games = pd.read_parquet(folder / "predictions.parquet")
        games.assign(probability=says(games)).to_parquet(folder / "predictions.parquet", index=False)
    if model is not None:
        model(folder / "model")
    if without is not None:
        gone = folder / without
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    client.log_artifacts(run.info.run_id, str(folder))
    for name, value in of.data.params.items():
        client.log_param(run.info.run_id, name, value)
    for name, value in of.data.metrics.items():
        client.log_metric(run.info.run_id, name, value)
    client.set_terminated(run.info.run_id, status)
    return client.get_run(run.info.run_id)


def nearer(games: pd.DataFrame) -> pd.Series:
    """Probabilities that are nearer to how each game ended: of a model that is better without a doubt."""
    return games["probability"] + 0.2 * (games["outcome"] - games["probability"])


def further(games: pd.DataFrame) -> pd.Series:
    """Probabilities that are a little worse."""
    return games["probability"] - 0.05 * (games["outcome"] - games["probability"])


def told_file(folder: Path, file: str) -> None:
    """Let a model's folder say that another file holds it."""
    (folder / "model.json").write_text(json.dumps({"file": file, "class": "some.Class"}))
