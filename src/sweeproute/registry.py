"""Finds runs again: the best one, all of a sweep as a table, the predictions of one."""

import difflib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeproute import pointers
from sweeproute.runs_query import Answer, Question, Runs
from sweeproute.selection import maximize
from sweeproute.store import DEFAULT_URI, absolute, masked, sqlite_path
from sweeproute.tracking_status import saved_settings

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS = "predictions.parquet"
MODEL = "model"


class RegistryError(LookupError):
    """What was asked for is not in the store."""


@dataclass(frozen=True)
class BestRun:
    """The best run, and how it was chosen."""

    run_id: str
    # Its number in its sweep; None for a trial that ran alone.
    job: int | None
    sweep: str | None
    metric: str
    value: float
    # maximize or minimize.
    direction: str
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    # The overrides that reproduce it, as they were requested.
    overrides: tuple[str, ...]
    platform: str | None
    device: str | None
    experiment: str
    artifact_uri: str
    # Runs that could not win, since their value is not finite.
    not_finite: int
    # What makes the comparison doubtful, in sentences.
    warnings: tuple[str, ...]
    # How the store was asked.
    how: str


def best(
    sweep: str | None = None,
    metric: str = "auc",
    direction: str | None = None,
    experiment: str | None = None,
    uri: str | None = None,
) -> BestRun:
    """Find the best of the finished runs that count.

    Args:
        sweep: A sweep's id, its name, or `last` for the newest that was started on this machine; None for all.
        metric: The metric's name.
        direction: maximize or minimize; follows from the metric when None (auc, roi up; brier, log_loss, ece down).
        experiment: An experiment's name; None for all.
        uri: The tracking store; where the sweep's runs went, else MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.

    Returns:
        The run. Of equals the earlier trial wins; a value that is not finite never does, and is counted.

    Raises:
        RegistryError: No such store, experiment or metric, or no run that could win.
        sweeproute.pointers.NoSuchSweepError: No such sweep.
        sweeproute.selection.DirectionError: It is not known whether more of the metric is better.
    """
    upward = maximize(metric, direction)
    pointer, uri = _locate(sweep, uri)
    runs = _open(uri)
    identifier = pointer.id if pointer is not None else None
    if sweep is not None and identifier is None:
        identifier = _identify(sweep, runs)
    if experiment is not None and experiment not in (known := runs.experiments()):
        raise RegistryError(
            f"There is no experiment {experiment!r} in {masked(uri)}; there are {_nearest(experiment, known)}."
        )
    question = Question(metric, upward, identifier, experiment)
    answer = runs.best(question)
    if answer.run is None:
        raise RegistryError(_why_none(question, answer, runs, uri))
    tags = answer.run.tags
    trial = tags.get("sweeproute.trial", "")
    return BestRun(
        run_id=answer.run.run_id,
        job=int(trial) if trial.isdecimal() else None,
        sweep=tags.get("sweeproute.sweep"),
        metric=metric,
        value=answer.run.metrics[metric],
        direction="maximize" if upward else "minimize",
        metrics=answer.run.metrics,
        params=answer.run.params,
        overrides=tuple(json.loads(tags.get("sweeproute.overrides", "[]"))),
        platform=tags.get("sweeproute.platform"),
        device=tags.get("sweeproute.device"),
        experiment=answer.run.experiment,
        artifact_uri=answer.run.artifact_uri,
        not_finite=answer.not_finite,
        warnings=_warnings(answer),
        how=runs.how,
    )


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

    pointer, uri = _locate(sweep, uri)
    runs = ApiRuns(uri)
    identifier = pointer.id if pointer is not None else None
    if sweep is not None and identifier is None:
        identifier = _identify(sweep, runs)
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

    newest = pointers.LAST if pointers.pointers() and not os.environ.get("MLFLOW_TRACKING_URI") else None
    _, uri = _locate(newest, uri)
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

    newest = pointers.LAST if pointers.pointers() and not os.environ.get("MLFLOW_TRACKING_URI") else None
    _, uri = _locate(newest, uri)
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
            f"Registered, nearest match first: {_nearest(wanted.split('@')[0].split('/')[0], known) or 'none'}."
        ) from None
    if MODEL not in {artifact.path for artifact in client.list_artifacts(run_id)}:
        raise RegistryError(
            f"The trial of {version.name} version {version.version} kept no fitted model; run its sweep with "
            "tracking.models=all, and register one that did."
        )
    tags = run.data.tags
    return RegisteredModel(
        name=version.name,
        version=str(version.version),
        run_id=run_id,
        overrides=tuple(json.loads(tags.get("sweeproute.overrides", "[]"))),
        features_hash=tags.get("sweeproute.features_hash"),
        files=Path(client.download_artifacts(run_id, MODEL, str(into))),
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


def _locate(sweep: str | None, uri: str | None) -> tuple[pointers.Pointer | None, str]:
    """The sweep's pointer, if it was started here, and the store that its runs went to."""
    pointer = None
    if sweep is not None:
        try:
            pointer = pointers.find(sweep)
        except pointers.NoSuchSweepError:
            # It may have been started on another machine: the store is asked next.
            if sweep == pointers.LAST:
                raise
    if uri is None and pointer is not None and (settings := saved_settings(pointer.folder)):
        uri = settings.uri
    uri = absolute(uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI)
    path = sqlite_path(uri)
    if path is not None and not path.exists():
        raise RegistryError(
            f"There is no tracking store {str(path)!r} yet; run something first, or say where it is "
            f"with MLFLOW_TRACKING_URI."
        )
    return pointer, uri


def _open(uri: str) -> Runs:
    path = sqlite_path(uri)
    # With workspaces a run's visibility is MLflow's own business.
    if path is not None and not os.environ.get("MLFLOW_WORKSPACE"):
        import sqlite3

        from sweeproute.runs_sqlite import SqliteRuns, UnknownSchemaError

        try:
            return SqliteRuns(path)
        except (UnknownSchemaError, sqlite3.Error):
            # A wrong answer would be worse than a slow one.
            pass
    from sweeproute.runs_api import ApiRuns

    return ApiRuns(uri)


def _identify(sweep: str, runs: Runs) -> str:
    known = runs.sweeps()
    for id, name in known:
        if sweep in (id, name):
            return id
    here = [(pointer.id, pointer.name or "") for pointer in pointers.pointers()]
    names = [name for pair in here + known for name in pair if name]
    raise pointers.NoSuchSweepError(pointers.no_such_sweep(sweep, list(dict.fromkeys(names))))


def _why_none(question: Question, answer: Answer, runs: Runs, uri: str) -> str:
    among = f"sweep {question.sweep}" if question.sweep is not None else question.experiment or masked(uri)
    states = runs.states(question)
    if not states:
        cure = f"; `sweeproute sync {question.sweep}` writes what is not tracked yet" if question.sweep else ""
        return f"No trial of {among} is in {masked(uri)}{cure}."
    names = runs.metric_names(question)
    if question.metric not in names:
        logged = _nearest(question.metric, names) if names else "none yet"
        return f"No run of {among} has a metric {question.metric!r}; logged are {logged}."
    counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    unable = f", {answer.not_finite} finished with a value that is not finite" if answer.not_finite else ""
    return f"No run of {among} can be the best by {question.metric}: {counted}{unable}."


def _warnings(answer: Answer) -> tuple[str, ...]:
    said = []
    if answer.not_finite:
        said.append(f"{answer.not_finite} runs have a value that is not finite, and cannot win.")
    if answer.other_data is not None:
        said.append("The runs were made from different data; their scores do not compare.")
    if answer.other_device is not None and answer.run is not None:
        own = answer.run.tags.get(answer.run.device_tag, "not recorded")
        said.append(
            f"The runs were made on different classes of device ({_difference(own, answer.other_device)}); their last "
            "digits do not compare."
        )
    return tuple(said)


def _difference(own: str, other: str) -> str:
    """Where two classes of device differ, part by part."""
    mine, theirs = re.split("[;,]", own), re.split("[;,]", other)
    if len(mine) != len(theirs):
        return f"{own}; {other}"
    return ", ".join(f"{a} and {b}" for a, b in zip(mine, theirs, strict=True) if a != b)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=len(known) or 1, cutoff=0.4)
    return ", ".join([*near, *(other for other in known if other not in near)][:20])
