"""Finds runs again: the best one, all of a sweep as a table, the predictions of one."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeproute.runs_best import BestRun, ChosenRun, Front, best, chosen
from sweeproute.runs_query import Question
from sweeproute.runs_where import RegistryError, identify, locate, locate_of_any, nearest
from sweeproute.store import masked, sqlite_path

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BestRun",
    "ChosenRun",
    "Front",
    "RegisteredModel",
    "RegistryError",
    "best",
    "chosen",
    "frame",
    "predictions",
    "registered",
    "registered_sweeps",
]

PREDICTIONS = "predictions.parquet"
MODEL = "model"
# Of a version that `sweeproute promote` has made: the run that it is of.
PROMOTED_TAG = "sweeproute.run"


def frame(sweep: str | None = "last", experiment: str | None = None, uri: str | None = None) -> "pd.DataFrame":
    """The runs of a sweep that count, as a table.

    Args:
        sweep: A sweep's id, its name, or `last`; None for all.
        experiment: An experiment's name; None for all.
        uri: The tracking store; see `best`.

    Returns:
        One row a run, in the order of the trials: run_id, status, start_time, end_time, and MLflow's own columns
        `params.<name>`, `metrics.<name>` and `tags.<name>`. A column of parameters that are all numbers holds numbers.

    Raises:
        RegistryError: No such store.
        sweeproute.pointers.NoSuchSweepError: No such sweep.
    """
    import pandas as pd

    from sweeproute.runs_api import ApiRuns

    pointer, uri = locate(sweep, uri)
    runs = ApiRuns(uri)
    identifier = pointer.id if pointer is not None else None
    if sweep is not None and identifier is None:
        identifier = identify(sweep, runs)
    question = Question(metric="", maximize=True, sweep=identifier, experiment=experiment)
    rows = []
    for run in runs.search(question, ["tags.`sweeproute.current` = 'true'"]):
        row: dict[str, object] = {
            "run_id": run.info.run_id,
            "status": run.info.status,
            "start_time": pd.Timestamp(run.info.start_time, unit="ms", tz="UTC"),
            "end_time": pd.Timestamp(run.info.end_time, unit="ms", tz="UTC") if run.info.end_time else pd.NaT,
        }
        for kind, values in (("params", run.data.params), ("metrics", run.data.metrics), ("tags", run.data.tags)):
            row |= {f"{kind}.{name}": values[name] for name in sorted(values)}
        rows.append(row)
    table = pd.DataFrame(rows)
    for name in table.columns[table.columns.str.startswith("params.")] if rows else ():
        numbers = pd.to_numeric(table[name], errors="coerce")
        if (numbers.isna() == table[name].isna()).all():
            table[name] = numbers
    if "tags.sweeproute.trial" in table:
        order = pd.to_numeric(table["tags.sweeproute.trial"], errors="coerce")
        table = table.iloc[order.argsort(kind="stable")].reset_index(drop=True)
    return table


def predictions(run_id: str, uri: str | None = None) -> "pd.DataFrame":
    """The predictions of a run, game by game.

    Args:
        run_id: The run's id.
        uri: The tracking store; MLFLOW_TRACKING_URI, else where the newest sweep's runs went, when None.

    Returns:
        The table that the trial wrote: game_id, season, week, kickoff, outcome, probability, odds_home, odds_away,
        bet, stake, profit.

    Raises:
        RegistryError: No such store, or the run has no predictions.
    """
    import pandas as pd

    from sweeproute.runs_api import ApiRuns

    uri = locate_of_any(uri)
    client = ApiRuns(uri).client
    if PREDICTIONS not in {artifact.path for artifact in client.list_artifacts(run_id)}:
        raise RegistryError(
            f"The run {run_id} in {masked(uri)} has no {PREDICTIONS}; it did not finish, or is no trial."
        )
    with tempfile.TemporaryDirectory() as folder:
        return pd.read_parquet(client.download_artifacts(run_id, PREDICTIONS, folder))


@dataclass(frozen=True)
class RegisteredModel:
    """A version of a registered model, and the trial that it came from."""

    name: str
    version: str
    run_id: str
    # The overrides that reproduce its trial.
    overrides: tuple[str, ...]
    # Hash of the ordered names of the features that it was fitted on.
    features_hash: str | None
    # Where its files were downloaded to, for `sweeproute.estimators.load`.
    files: Path


def registered(model: str, into: Path, uri: str | None = None) -> RegisteredModel:
    """Download a registered model that was made from a trial's fitted model.

    Args:
        model: NAME@ALIAS or NAME/VERSION, with or without `models:/` in front.
        into: A folder to download to.
        uri: The tracking store; see `predictions`.

    Returns:
        The model; its files are in formats that are data, nothing of them is unpickled.

    Raises:
        RegistryError: No such model, or one whose trial kept no fitted model.
    """
    from mlflow.exceptions import MlflowException

    from sweeproute.runs_api import ApiRuns

    uri = locate_of_any(uri)
    client = ApiRuns(uri).client
    wanted = model.removeprefix("models:/")
    try:
        if "@" in wanted:
            version = client.get_model_version_by_alias(*wanted.rsplit("@", 1))
        elif "/" in wanted:
            version = client.get_model_version(*wanted.rsplit("/", 1))
        else:
            raise RegistryError(f"Say which version of {wanted!r}: {wanted}@ALIAS or {wanted}/VERSION.")
        run_id = str(version.run_id or "")
        run = client.get_run(run_id)
    except MlflowException as error:
        known = [found.name for found in client.search_registered_models()]
        raise RegistryError(
            f"There is no registered model {wanted!r} in {masked(uri)} ({str(error).splitlines()[0]}). "
            f"Registered, nearest match first: {nearest(wanted.split('@')[0].split('/')[0], known) or 'none'}."
        ) from None
    tags = run.data.tags
    if PROMOTED_TAG in version.tags:
        from mlflow import artifacts

        # A version that was promoted holds them itself, with the one calibration that it has.
        files = artifacts.download_artifacts(
            artifact_uri=f"{version.source}/data/{MODEL}", dst_path=str(into), tracking_uri=uri
        )
    elif MODEL in {artifact.path for artifact in client.list_artifacts(run_id)}:
        files = client.download_artifacts(run_id, MODEL, str(into))
    else:
        raise RegistryError(
            f"The trial of {version.name} version {version.version} kept no fitted model; run its sweep with "
            f"tracking.models=all, and promote one that did: sweeproute promote RUN --name {version.name}."
        )
    return RegisteredModel(
        name=version.name,
        version=str(version.version),
        run_id=run_id,
        overrides=tuple(json.loads(tags.get("sweeproute.overrides", "[]"))),
        features_hash=tags.get("sweeproute.features_hash"),
        files=Path(files),
    )


def registered_sweeps(uri: str) -> frozenset[str]:
    """The sweeps with a run from which a version of a registered model was made.

    Args:
        uri: The tracking store.

    Returns:
        Their ids.

    Raises:
        RegistryError: The store cannot be asked.
    """
    from mlflow.exceptions import MlflowException

    from sweeproute.runs_api import ApiRuns

    path = sqlite_path(uri)
    if path is not None and not path.exists():
        raise RegistryError(f"there is no tracking store {str(path)!r} any more.")
    client, found, page = ApiRuns(uri).client, set(), None
    try:
        while page != "":
            versions = client.search_model_versions(page_token=page)
            runs = [client.get_run(version.run_id) for version in versions if version.run_id]
            found |= {run.data.tags.get("sweeproute.sweep") for run in runs}
            page = versions.token or ""
    except MlflowException as error:
        raise RegistryError(f"{masked(uri)} cannot be asked ({str(error).splitlines()[0]}).") from None
    return frozenset(sweep for sweep in found if sweep)
