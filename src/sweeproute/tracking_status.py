"""Says where the runs of a folder go, and how far they have been written.

The file `.sweeproute/tracking.json` is written by the folder's tracker, and read by whoever waits for it, goes on
with it, or looks for the runs.
"""

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sweeproute.store import DEFAULT_EXPERIMENT, MASK, StoreError, masked
from sweeproute.sweep_folder import own

FILE = "tracking.json"
# Stores that have the runs besides the one that they go to.
COPIES = "tracking_copies.json"
# Exit code of a tracker that left something unwritten, and said so in the file.
UNFINISHED = 3


@dataclass(frozen=True)
class Settings:
    """Where and how the runs of a folder are written."""

    # An absolute tracking URI.
    uri: str
    experiment: str = DEFAULT_EXPERIMENT
    # Fitted models that become artifacts: best, all or none.
    models: str = "best"
    # The metric that chooses the best, where the sweep's record does not name one.
    metric: str = "auc"
    # The run that `mlflow run` made.
    parent_run: str | None = None
    # The script that the person started.
    script: str = "train.py"


@dataclass(frozen=True)
class Status:
    """How far tracking is."""

    # Runs that stand in the store with their end, and all that there are.
    written: int = 0
    total: int = 0
    # What keeps the rest from being written, in one sentence.
    problem: str | None = None


def save(root: Path, settings: Settings, status: Status) -> None:
    """Write both into the folder, the store's password left out."""
    path = own(root, FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = asdict(replace(settings, uri=masked(settings.uri)))
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({**shown, **asdict(status), "pid": os.getpid()}) + "\n", encoding="utf-8")
    beside.replace(path)


def saved_settings(root: Path, uri: str | None = None) -> Settings | None:
    """Where the runs of a folder go, as its last writer left word; None where none has.

    Args:
        root: The folder of a sweep, or of one run.
        uri: An address that takes the place of the one that was left.

    Raises:
        StoreError: The address was kept without its password, and MLFLOW_TRACKING_URI does not give it.
    """
    content = _saved(root)
    if content is None:
        return None
    settings = Settings(**{field.name: content[field.name] for field in fields(Settings) if field.name in content})
    if uri is None:
        return replace(settings, uri=whole(root, settings.uri))
    if masked(uri) == settings.uri:
        return replace(settings, uri=uri)
    # The run that `mlflow run` made is in the store of then alone.
    return replace(settings, uri=uri, parent_run=None)


def whole(root: Path, uri: str) -> str:
    """An address that was kept for a folder, with the password that it was kept without.

    Raises:
        StoreError: MLFLOW_TRACKING_URI does not give it.
    """
    if MASK not in uri:
        return uri
    known = os.environ.get("MLFLOW_TRACKING_URI", "")
    if masked(known) != uri:
        raise StoreError(
            f"The runs of {str(root)!r} go to {uri}, whose password is not kept; "
            f"set MLFLOW_TRACKING_URI to the whole address."
        )
    return known


def home(root: Path) -> str | None:
    """The address of the store that a folder's runs go to, without its password; None where none is known."""
    content = _saved(root)
    return None if content is None else str(content["uri"])


def add_copy(root: Path, uri: str) -> None:
    """Note that all runs of a folder stand in another store besides; without its password."""
    if (shown := masked(uri)) not in (known := copies(root)):
        path = own(root, COPIES)
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps([*known, shown]) + "\n", encoding="utf-8")
        beside.replace(path)


def copies(root: Path) -> list[str]:
    """The addresses of the stores that a folder's runs were copied to, without their passwords."""
    try:
        content = json.loads(own(root, COPIES).read_bytes())
    except (OSError, ValueError):
        return []
    return [str(uri) for uri in content] if isinstance(content, list) else []


def saved_status(root: Path) -> Status:
    """How far a folder's writer was when it last saved it."""
    content = _saved(root) or {}
    return Status(**{field.name: content[field.name] for field in fields(Status) if field.name in content})


def _saved(root: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(own(root, FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
