"""The folder of one routed run of an MLflow project: the sweep of its one job, and beside it what the run is."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeproute.pointers import state_directory
from sweeproute.sweep_folder import own

# Folders and files of ours in it.
_CONF, _RUN, _COORDINATOR, _WRITTEN = "project", "project.json", "coordinator.json", "project_written.json"
LOCK, LOG = "project.lock", "coordinator.log"


@dataclass(frozen=True)
class ProjectRun:
    """What is known of a run when it is submitted."""

    # MLflow's id, and where it is.
    run_id: str
    experiment: str
    # As MLflow was given it.
    uri: str
    entry_point: str
    # The project's folder here, absolute.
    folder: str
    # The sweep's id.
    sweep: str
    # Platforms that are this machine.
    here: tuple[str, ...]


def root_of(run_id: str) -> Path:
    """The folder of a run."""
    return state_directory() / "projects" / run_id


def is_project(root: Path) -> bool:
    """Whether a folder is that of a routed run of a project."""
    return own(root, _RUN).is_file()


def configuration(root: Path) -> Path:
    """The folder of the Hydra configuration of its sweep."""
    return own(root, _CONF)


def log(root: Path) -> Path:
    """What its coordinator prints."""
    return own(root, LOG)


def save(root: Path, run: ProjectRun) -> None:
    """Write what is known of a run."""
    _write(own(root, _RUN), asdict(run))


def load(root: Path) -> ProjectRun:
    """Read what is known of a run.

    Raises:
        FileNotFoundError: It is the folder of none.
    """
    found = json.loads(own(root, _RUN).read_bytes())
    return ProjectRun(**{**found, "here": tuple(found["here"])})


def note_coordinator(root: Path, pid: int) -> None:
    """Leave word which process sees to the run."""
    import psutil

    _write(own(root, _COORDINATOR), {"pid": pid, "started": psutil.Process(pid).create_time()})


def coordinator(root: Path) -> Any:
    """The process that sees to the run, a psutil.Process; None where none does."""
    import psutil

    try:
        noted = json.loads(own(root, _COORDINATOR).read_bytes())
        process = psutil.Process(noted["pid"])
        # A number is used again; one that its parent has not taken note of has ended.
        same = abs(process.create_time() - noted["started"]) < 0.01 and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
    return process if same else None


def note_written(root: Path, status: str) -> None:
    """Leave word that all of the run is in its store, and how it ended."""
    _write(own(root, _WRITTEN), {"status": status})


def written(root: Path) -> str | None:
    """How the run ended, where all of it is in its store; None where it is not."""
    try:
        return str(json.loads(own(root, _WRITTEN).read_bytes())["status"])
    except (OSError, ValueError, KeyError):
        return None


def forget_written(root: Path) -> None:
    """The run goes on: it is to be written anew."""
    own(root, _WRITTEN).unlink(missing_ok=True)


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}~")
    beside.write_text(json.dumps(content), encoding="utf-8")
    beside.replace(path)
