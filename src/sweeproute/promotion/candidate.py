"""Reads what a run has kept of its model, and refuses one that no version of a registered model can be made of."""

import json
import math
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd

from sweeproute import pointers
from sweeproute.ensemble import MEMBERS_OF_TAG, METHOD_TAG
from sweeproute.promotion.errors import PromotionError
from sweeproute.runs_query import DATA_TAG
from sweeproute.trial_journal import CALIBRATION, EXAMPLE, MODEL, PREDICTIONS, example

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

# What a run can be whose model may be promoted, as its tag sweeproute.kind says.
_KINDS = ("trial", "follow_up", "holdout", "calibration")
_BETTOR = "bettor.safetensors"
# Games of the input example that a run has not kept itself.
_EXAMPLES = 5
_INSTEAD = "Promote a run of a model that gives probabilities: `sweeproute best --sweep SWEEP` names one."


@dataclass(frozen=True, eq=False)
class Candidate:
    """A run that can be promoted, with what it has kept.

    Attributes:
        run: The run.
        trial: The run whose model it is: the same, or that above a further calibration.
        files: The folder of the model's files, with the one calibration that the run has.
        file: The file among them that holds the model.
        method: The calibration: none, platt or isotonic.
        features: Names of the features, in their order.
        teams: Whether the model knows teams.
        games: What it predicted, as `registry.predictions` gives it.
        example: Games as the model is asked about them, by the names of the columns; None where none are to be had.
        no_example: Why there is none, as a sentence; empty where there is one.
    """

    run: "Run"
    trial: "Run"
    files: Path
    file: str
    method: str
    features: tuple[str, ...]
    teams: bool
    games: pd.DataFrame
    example: pd.DataFrame | None
    no_example: str

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags of the run."""
        found: dict[str, str] = self.run.data.tags
        return found

    def tag(self, name: str) -> str:
        """One of sweeproute's own tags; empty where it has none."""
        return self.tags.get(f"sweeproute.{name}", "")


@contextmanager
def candidate(client: "MlflowClient", run: "Run") -> Iterator[Candidate]:
    """Read what a run has kept, into a folder that goes with the context.

    Args:
        client: The store's.
        run: The run.

    Raises:
        PromotionError: It is no run of a trial, has not finished, or has kept no model that says probabilities.
    """
    trial = _whose_model(client, run)
    with TemporaryDirectory() as name:
        folder = Path(name)
        files = Path(client.download_artifacts(trial.info.run_id, MODEL, name))
        file = _file(files, run)
        features = tuple(_artifact(client, trial, "features.txt", folder).read_text(encoding="utf-8").splitlines())
        method = run.data.tags.get("sweeproute.calibration", "none")
        _keep_one_calibration(files, method, run)
        games = pd.read_parquet(_artifact(client, run, PREDICTIONS, folder))
        teams = _knows_teams(files / file) and not {"home_team", "away_team"} & set(features)
        kept, why = _example(client, trial, games, files, folder)
        table = None if kept is None else _table(kept, features, teams=teams)
        yield Candidate(run, trial, files, file, method, features, teams, games, table, why)


def _whose_model(client: "MlflowClient", run: "Run") -> "Run":
    tags, run_id, status = run.data.tags, run.info.run_id, run.info.status
    kind = tags.get("sweeproute.kind")
    if METHOD_TAG in tags:
        raise PromotionError(
            f"Run {run_id} is an ensemble, of which no model is kept: what it says is made of what its members said. "
            f"Promote what is best of these alone: sweeproute promote {tags.get(MEMBERS_OF_TAG, 'SWEEP')}."
        )
    if kind == "sweep":
        raise PromotionError(
            f"Run {run_id} is that of a whole sweep; what the sweep chose is promoted by the sweep's own name: "
            f"sweeproute promote {tags.get('sweeproute.sweep', 'SWEEP')}."
        )
    if kind not in _KINDS:
        raise PromotionError(
            f"Run {run_id} ({run.info.run_name}) is not of a trial, so that nothing is known of its model's files; "
            "mlflow.register_model takes what MLflow itself has logged."
        )
    if status != "FINISHED":
        raise PromotionError(f"Run {run_id} is {status}, not FINISHED; promote one that has come to its end.")
    trial = run
    if kind == "calibration" and (above := tags.get("mlflow.parentRunId")):
        trial = client.get_run(above)
    if MODEL not in {artifact.path for artifact in client.list_artifacts(trial.info.run_id)}:
        again = shlex.join(json.loads(tags.get("sweeproute.overrides", "[]")))
        raise PromotionError(
            f"Run {run_id} ({run.info.run_name}) kept no fitted model. Run it again with one, python train.py "
            f"{again} tracking.models=all, and promote that run."
        )
    return trial


def _file(files: Path, run: "Run") -> str:
    try:
        file = str(json.loads((files / "model.json").read_text(encoding="utf-8"))["file"])
    except (OSError, ValueError, KeyError, TypeError):
        raise PromotionError(
            f"The model of run {run.info.run_id} is not whole (model.json cannot be read); run the trial again with "
            "tracking.models=all."
        ) from None
    if file == _BETTOR:
        raise PromotionError(
            f"Run {run.info.run_id} ({run.info.run_name}) gives stakes at odds, and a registered model says "
            f"probabilities of games. {_INSTEAD} `sweeproute predict --sweep SWEEP` bets with an agent."
        )
    return file


def _knows_teams(path: Path) -> bool:
    if path.name != "model.safetensors":
        return False
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["network"])
    return bool(about["team_names"]) and about["params"]["embedding_dim"] > 0


def _keep_one_calibration(files: Path, method: str, run: "Run") -> None:
    """Leave in a model's files the calibration of one run."""
    path = files / CALIBRATION
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else [{"method": "none"}]
    own = [one for one in told if one["method"] == method]
    if not own:
        raise PromotionError(
            f"Run {run.info.run_id} is calibrated by {method}, and its model's files have "
            f"{', '.join(one['method'] for one in told)}; run the trial again with tracking.models=all."
        )
    path.unlink(missing_ok=True)
    if method != "none":
        path.write_text(json.dumps(own) + "\n", encoding="utf-8")


def _artifact(client: "MlflowClient", run: "Run", path: str, folder: Path) -> Path:
    from mlflow.exceptions import MlflowException

    try:
        return Path(client.download_artifacts(run.info.run_id, path, str(folder)))
    except (MlflowException, OSError):
        sweep = run.data.tags.get("sweeproute.sweep", "SWEEP")
        raise PromotionError(
            f"Run {run.info.run_id} has no {path} in the store; `sweeproute sync {sweep}` writes it if the sweep's "
            "folder has it."
        ) from None


def _example(
    client: "MlflowClient", trial: "Run", games: pd.DataFrame, files: Path, folder: Path
) -> tuple[Mapping[str, Any] | None, str]:
    """Games as the model was asked about them: kept beside it, else looked up in the data; or why there are none."""
    path = files / EXAMPLE
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8")), ""
    # Late: most runs have kept theirs.
    from sweeproute import data

    config = _artifact(client, trial, "config.yaml", folder)
    try:
        dataset = data.load(_data_of(config, trial.data.tags.get("sweeproute.sweep", "")))
        if dataset.hash != trial.data.tags.get(DATA_TAG):
            raise data.DataError("it has changed since")
    except (data.DataError, OSError) as error:
        return None, (
            "It has no input example: the run has kept none, and the data that it was made from is not to be had here "
            f"({str(error).rstrip('.')})."
        )
    wanted = set(games["game_id"][games["season"] == games["season"].max()].head(_EXAMPLES))
    return example(dataset, [row for row, game in enumerate(dataset.game_id.tolist()) if game in wanted]), ""


def _data_of(config: Path, sweep: str) -> dict[str, Any]:
    """The data of a trial's config, its path taken from where the sweep was started."""
    import yaml

    told: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]
    started = next((one.cwd for one in pointers.pointers() if one.id == sweep), None)
    if started is not None and told.get("path"):
        told["path"] = str(started / told["path"])
    return told


def _table(kept: Mapping[str, Any], features: tuple[str, ...], *, teams: bool) -> pd.DataFrame:
    """An example as a table, with a column for each feature, and for the teams where the model knows them."""
    values = [[math.nan if value is None else value for value in game] for game in kept["features"]]
    table = pd.DataFrame(values, columns=list(features), dtype="float64")
    if teams and kept["teams"] is not None:
        table[["home_team", "away_team"]] = pd.DataFrame(kept["teams"], columns=["home_team", "away_team"])
    return table
