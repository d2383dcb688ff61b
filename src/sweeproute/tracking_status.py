"""Says where the runs of a folder go, and how far they have been written.

The file `.sweeproute/tracking.json` is written by the folder's tracker, and read by whoever waits for it, goes on
with it, or looks for the runs.
"""

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sweeproute.store import DEFAULT_EXPERIMENT, StoreError, masked
from sweeproute.sweep_folder import own

FILE = "tracking.json"
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
    if uri is not None:
        settings = replace(settings, uri=uri)
    elif "://***@" in settings.uri:
        known = os.environ.get("MLFLOW_TRACKING_URI", "")
        if masked(known) != settings.uri:
            raise StoreError(
                f"The runs of {str(root)!r} go to {settings.uri}, whose password is not kept; "
                f"set MLFLOW_TRACKING_URI to the whole address."
            )
        settings = replace(settings, uri=known)
    return settings


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
