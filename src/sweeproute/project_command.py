"""Runs the command of an MLflow project's entry point, as the one job of a sweep, here or on another machine."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeproute import run_facts
from sweeproute.mlflow_journal import SCHEME
from sweeproute.mlflow_journal_folder import JournalFolder, experiment_id, now_ms

if TYPE_CHECKING:
    from omegaconf import DictConfig

# In the folder of an attempt: what was logged where no store is within reach, the project's copy, and what it prints.
JOURNAL, WORK, CONSOLE = "journal", "project", "console.log"
# In the environment of a command on another machine: the platform that this is.
HERE = "SWEEPROUTE_HERE"
# What has to be importable for the tracking address `journal:`, and the sweeps of a project of ours.
_OURS = ("sweeproute", "hydra_plugins", "submitit_ssh")
# By what MLflow finds it where sweeproute has come along and is not installed.
_POINTS = """[mlflow.tracking_store]
journal = sweeproute.mlflow_journal:tracking_store
[mlflow.model_registry_store]
journal = sweeproute.mlflow_journal:model_registry_store
[mlflow.run_context_provider]
sweeproute = sweeproute.mlflow_context:SweeprouteRunContext
[mlflow.default_experiment_provider]
sweeproute = sweeproute.mlflow_context:SweeprouteExperiment
"""
# Lines and bytes of what a command has printed last that its failure tells.
_LAST, _TAIL = 5, 4000


class ProjectCommandError(RuntimeError):
    """The command of an entry point has ended badly."""


def run(cfg: "DictConfig") -> None:
    """Run the command; what it prints is this process's own output.

    Args:
        cfg: `project`, a JSON object (see `sweeproute.mlflow_backend`), and `files`, files that are brought along.

    Raises:
        ProjectCommandError: It has ended with another exit code than 0.
    """
    from hydra.core.hydra_config import HydraConfig

    told = json.loads(cfg.project)
    out, platform = Path(HydraConfig.get().runtime.output_dir), run_facts.read().get("platform", "")
    if platform in told["here"]:
        environment = {"MLFLOW_RUN_ID": told["run_id"], "MLFLOW_EXPERIMENT_ID": told["experiment_id"]}
        # The address itself, which may hold a password, is in the coordinator's environment alone.
        _end(told["command"], Path.cwd(), environment, out, guarded=True)
        return
    near, command = told["folder"], told["command"]
    for name, path in told["files"].items():
        # As a word of the command's.
        command = command.replace(shlex.quote(path), shlex.quote(str(cfg.files[name])))
    with _own_copy(Path.cwd(), out / WORK, apart=str(Path.cwd()) != near) as work, _importable() as path:
        command = re.sub(rf"{re.escape(near)}(?=[/'\"\s]|\Z)", lambda _: str(work), command)
        environment = {
            "MLFLOW_TRACKING_URI": f"{SCHEME}{out / JOURNAL}",
            "MLFLOW_RUN_ID": told["run_id"],
            "MLFLOW_EXPERIMENT_ID": _begin(out / JOURNAL, told),
            "PYTHONPATH": os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])]),
            # What the person's own environment would be, were it here.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            HERE: platform,
        }
        _end(command, work, environment, out)


def identity(cfg: "DictConfig") -> dict[str, str]:
    """The hash of the project's code, as it was submitted."""
    return dict(json.loads(cfg.project)["identity"])


def _end(command: str, work: Path, environment: Mapping[str, str], out: Path, guarded: bool = False) -> None:
    """Run a command to its end, as MLflow's own backend does.

    Args:
        command: For bash.
        work: Its working directory.
        environment: What is in its environment beside this process's own.
        out: The attempt's folder.
        guarded: Whether it has to be seen to that it does not outlive this process; a far machine does that itself.
    """
    print(f"$ {command}", flush=True)
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=work,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        start_new_session=guarded,
    )
    with _guard(process.pid) if guarded else nullcontext():
        code = process.wait()
    if code:
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        raise ProjectCommandError(f"the command ended with {how}{_last_lines(out / CONSOLE)}")


@contextmanager
def _guard(group: int) -> Iterator[None]:
    """Have a process group killed when this process is gone, however it ended: a second start must not find it alive.

    Args:
        group: The group.
    """
    # Its input ends with this process, or when it is not needed any more.
    waits = ["sh", "-c", f"read -r over || kill -9 -{group}"]
    guard = subprocess.Popen(waits, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        assert guard.stdin is not None
        with suppress(BrokenPipeError):
            guard.stdin.write(b"over\n")
            guard.stdin.close()
        guard.wait()


def _last_lines(log: Path) -> str:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip() and not line.startswith("$ ")]
    return f": {' / '.join(said[-_LAST:])}" if said else ""


def _begin(folder: Path, told: Mapping[str, Any]) -> str:
    """Begin the run in a `journal:` folder under the id that it has in its real store.

    Returns:
        The id that its experiment has there.
    """
    journals, experiment, now = JournalFolder(folder), experiment_id(told["experiment"]), now_ms()
    journals.begin()
    named = {"verb": "create_experiment", "name": told["experiment"], "time": now, "location": None, "tags": {}}
    journals.claim(journals.experiment(experiment), named)
    run_id, place = told["run_id"], journals.run(told["run_id"])
    begins = {
        **{"verb": "create_run", "journal": run_id, "time": now, "experiment": told["experiment"]},
        **{"name": told["name"], "user": told["tags"].get("mlflow.user", ""), "tags": told["tags"]},
    }
    journals.claim(place, begins)
    if told["params"]:
        journals.append(place, [{"verb": "log_batch", "time": now, "params": told["params"]}])
        journals.close(place)
    return experiment


@contextmanager
def _own_copy(project: Path, work: Path, apart: bool) -> Iterator[Path]:
    """The project's folder, or a copy of it in which at the end only that is left which was written to it.

    Args:
        project: The folder.
        work: Where the copy goes.
        apart: Whether a copy is wanted: what was sent to another machine is shared by all who need the same code.
    """
    if not apart:
        yield project
        return
    shutil.copytree(project, work, symlinks=True)
    try:
        yield work
    finally:
        for source in project.rglob("*"):
            copy = work / source.relative_to(project)
            if source.is_file() and copy.is_file():
                was, is_now = source.stat(), copy.stat()
                if (was.st_size, was.st_mtime_ns) == (is_now.st_size, is_now.st_mtime_ns):
                    copy.unlink()


@contextmanager
def _importable() -> Iterator[list[str]]:
    """Folders in which a Python process finds what MLflow needs for `journal:`."""
    found = [entry for entry in sys.path if entry and any((Path(entry) / name).is_dir() for name in _OURS)]
    installed = {point.name for point in metadata.entry_points(group="mlflow.tracking_store")}
    with tempfile.TemporaryDirectory() as folder:
        if "journal" not in installed:
            about = Path(folder) / "sweeproute_journal-0.dist-info"
            about.mkdir()
            (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sweeproute-journal\nVersion: 0\n")
            (about / "entry_points.txt").write_text(_POINTS)
        yield [folder, *found]
