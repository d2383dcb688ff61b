"""Makes versions of registered models and moves their aliases, so that doing it again goes on where it ended."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sweeproute.promotion.card import card
from sweeproute.promotion.contest import Contest
from sweeproute.promotion.errors import PromotionError
from sweeproute.promotion.packing import pack, requirements
from sweeproute.registry import PROMOTED_TAG
from sweeproute.store import sqlite_path

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

    from sweeproute.promotion.candidate import Candidate

# Tags of the run that the version has, too.
_IDENTITY = ("fingerprint", "data_hash", "code_hash", "calibration", "model_type", "features_hash", "set")
# Characters of a description that MLflow's databases hold.
_DESCRIPTION = 5000
_OF_REGISTERED = "Forecasts of games; versions by `sweeproute promote`, the alias `champion` is the one to use."


@dataclass(frozen=True)
class Promotion:
    """What came of promoting a run.

    Attributes:
        name: The registered model's.
        version: The run's version of it.
        made: Whether the version was made now, and was not there before.
        alias: The alias that it was to have.
        holds: Whether the version has it.
        said: What there is to know, in sentences.
    """

    name: str
    version: str
    made: bool
    alias: str
    holds: bool
    said: tuple[str, ...]


def check_names(name: str, alias: str) -> None:
    """Refuse names that MLflow does not take, before anything is read.

    Raises:
        PromotionError: In a sentence.
    """
    if not name.strip() or set(name) & set("/:@'\""):
        raise PromotionError(f"--name {name!r} is no name of a model; use one without / : @ and quotes, as in nfl-win.")
    if not re.fullmatch(r"[\w-]+", alias) or re.fullmatch(r"(?i)v\d+|latest", alias):
        raise PromotionError(
            f"--alias {alias!r} is no alias; use letters, digits, - and _, and neither latest nor a version such as v1."
        )


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """Let one process at a time promote into a local store: two that find no version would each make one."""
    path = sqlite_path(uri)
    if path is None:
        yield
        return
    from filelock import FileLock

    with FileLock(f"{path}.lock"):
        yield


def version_of(client: "MlflowClient", name: str, run_id: str) -> "ModelVersion | None":
    """The version that was made of a run; None where there is none yet."""
    found = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return next((one for one in found if one.tags.get(PROMOTED_TAG) == run_id), None)


def make_version(client: "MlflowClient", name: str, one: "Candidate") -> "ModelVersion":
    """Log a model, and register it.

    Args:
        client: The store's.
        name: The registered model's; made if it is not there.
        one: What is promoted.

    Returns:
        The version, with its tags and its card.

    Raises:
        PromotionError: The model's code cannot travel with it.
    """
    from mlflow.exceptions import MlflowException

    text = card(one, name)
    logged = log_model(client, name, one, text)
    try:
        client.create_registered_model(name, description=_OF_REGISTERED)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {f"sweeproute.{tag}": one.tag(tag) for tag in _IDENTITY if one.tag(tag)}
    # By its place, since a local store would look for its id wherever MLFLOW_TRACKING_URI says.
    return client.create_model_version(
        name,
        logged.artifact_location,
        one.run.info.run_id,
        tags={**tags, PROMOTED_TAG: one.run.info.run_id},
        description=_cut(text),
        await_creation_for=0,
        model_id=logged.model_id,
    )


def log_model(client: "MlflowClient", name: str, one: "Candidate", text: str) -> "LoggedModel":
    """Write a candidate into the store as an MLflow model of its run.

    Args:
        client: The store's.
        name: What the model is called there.
        one: What is promoted.
        text: Its model card.

    Returns:
        MLflow's record of it. One that a killed process has left is gone on with.

    Raises:
        PromotionError: The model's code cannot travel with it.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    run = one.run.info
    # MLflow takes fewer characters here than in the name of a registered model.
    name = re.sub(r"[.%]", "-", name)
    tags = {PROMOTED_TAG: run.run_id}
    found = client.search_logged_models(
        [run.experiment_id], f"tags.`{PROMOTED_TAG}` = '{run.run_id}' and name = '{name}'"
    )
    logged = next(iter(found), None)
    if logged is not None and logged.status == LoggedModelStatus.READY:
        return logged
    # First, so that what is refused leaves nothing behind.
    needed = requirements(one)
    if logged is None:
        logged = client.create_logged_model(run.experiment_id, name, run.run_id, tags)
    with TemporaryDirectory() as folder:
        pack(one, text, needed, logged, Path(folder, "model"))
        client.log_model_artifacts(logged.model_id, str(Path(folder, "model")))
    kept = client.get_run(run.run_id).outputs
    # Twice the same output is an error of the store.
    if logged.model_id not in {output.model_id for output in (kept.model_outputs if kept else ())}:
        client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)


def give_alias(client: "MlflowClient", version: "ModelVersion", alias: str, old: "str | None", forced: str) -> None:
    """Give a version an alias, and leave word with both versions.

    Args:
        client: The store's.
        version: The version.
        alias: The alias.
        old: The version that holds it; None where none does.
        forced: Why it would have had to stay there, as a sentence; empty where it would not.
    """
    name, number, now = version.name, str(version.version), datetime.now(UTC).isoformat(timespec="seconds")
    if forced:
        earlier = version.tags.get(f"sweeproute.forced.{alias}")
        told = f"{now} {forced}" if earlier is None else f"{earlier}\n{now} {forced}"
        client.set_model_version_tag(name, number, f"sweeproute.forced.{alias}", told)
        line = f"Made {alias} by --force at {now}. {forced}"
        client.update_model_version(name, number, f"{_cut(version.description or '', len(line) + 2)}\n\n{line}")
    if old is not None:
        # Before the alias moves, so that whoever goes on after a kill knows who is to be told.
        client.set_model_version_tag(name, number, f"sweeproute.replaced.{alias}", old)
    client.set_registered_model_alias(name, alias, number)
    if (lost := f"sweeproute.lost.{alias}") in version.tags:
        client.delete_model_version_tag(name, number, lost)
    if old is not None and _there(client, name, old) is not None:
        _tell_old(client, name, old, number, alias)


def finish_alias(client: "MlflowClient", version: "ModelVersion", alias: str) -> None:
    """Tell the version that had an alias before that it has lost it, where a killed process has not."""
    old = version.tags.get(f"sweeproute.replaced.{alias}")
    if old is None:
        return
    before = _there(client, version.name, old)
    if before is None:
        return
    if not before.tags.get(f"sweeproute.lost.{alias}", "").endswith(f" to version {version.version}"):
        _tell_old(client, version.name, old, str(version.version), alias)


def told_result(one: Contest, challenger: str, champion: str) -> str:
    """What came of a contest, as a sentence."""
    return f"Version {challenger} and version {champion} {one.said}."


def _there(client: "MlflowClient", name: str, number: str) -> "ModelVersion | None":
    """A version, unless it was deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _tell_old(client: "MlflowClient", name: str, old: str, number: str, alias: str) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    client.set_model_version_tag(name, old, f"sweeproute.lost.{alias}", f"{now} to version {number}")


def _cut(text: str, room: int = 0) -> str:
    """A text that fits into a description, with room for more."""
    limit = _DESCRIPTION - room
    return text if len(text) <= limit else f"{text[: limit - 40]}…\n\nThe rest is in model_card.md.\n"
