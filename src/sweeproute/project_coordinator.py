"""Sees to one routed run of an MLflow project, in a process of its own, until all of it is in its store."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeproute import project_command, project_folder
from sweeproute.errors import explain
from sweeproute.sweep_folder import own

# What `sweeproute resume` starts again, too: a script, whose folder is nobody's code.
_SCRIPT = "coordinate.py"
_TEXT = '''"""Starts the coordinator of a routed run of an MLflow project."""

from sweeproute.project_coordinator import main

main()
'''
# Settings of the sweep that the run's one job is.
_SWEEP: dict[str, Any] = {
    "defaults": [{"override hydra/launcher": "routed"}, {"override hydra/sweeper": "search"}, "_self_"],
}


def prepare(
    root: Path,
    *,
    told: Mapping[str, Any],
    files: Mapping[str, str],
    job: Mapping[str, Any],
    launcher: Mapping[str, Any],
    sweep: str,
    name: str,
    env: tuple[str, ...],
) -> None:
    """Write what a coordinator is started with.

    Args:
        root: The run's folder.
        told: What the command needs to know, see `sweeproute.project_command.run`.
        files: Files that the command names, by any names.
        job: What the launcher reads of the job, by the leaf of its key below `job`.
        launcher: The launcher's settings.
        sweep: The sweep's id.
        name: Its name.
        env: Names of environment variables that another machine gets, too.
    """
    import yaml

    config = {
        **_SWEEP,
        # JSON without a dollar: nothing in it is an interpolation.
        "project": json.dumps(told).replace("$", "\\u0024"),
        "files": {key: str(path).replace("${", "\\${") for key, path in files.items()},
        "job": {key: value.replace("${", "\\${") if isinstance(value, str) else value for key, value in job.items()},
        "hydra": {
            "sweep": {"dir": str(root), "subdir": "${hydra.job.num}"},
            "job": {"name": "project", "env_copy": list(env)},
            "launcher": {
                **launcher,
                "files": [f"files.{key}" for key in files],
                "identity": "sweeproute.project_command.identity",
            },
            "sweeper": {"id": sweep, "name": name},
        },
    }
    folder = project_folder.configuration(root)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    (folder / _SCRIPT).write_text(_TEXT, encoding="utf-8")


def start(root: Path, cwd: Path, uri: str, *, again: bool = False) -> "subprocess.Popen[bytes]":
    """Start a coordinator, which outlives this process.

    Args:
        root: The run's folder.
        cwd: The project's folder.
        uri: The run's store: in its environment, for it may hold a password.
        again: Whether it goes on with what another has begun.
    """
    words = [sys.executable, str(project_folder.configuration(root) / _SCRIPT), "-m"]
    # The run that this process may be in is not the command's.
    aside = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
    environment = {name: value for name, value in os.environ.items() if name not in aside}
    with own(root, project_folder.LOG).open("ab") as log:
        process = subprocess.Popen(
            [*words, "hydra.sweeper.resume=true"] if again else words,
            cwd=cwd,
            env={**environment, "MLFLOW_TRACKING_URI": uri},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    project_folder.note_coordinator(root, process.pid)
    return process


def main() -> None:
    """Run the sweep, then bring into the run what it has left; the process's own command line says which."""
    # Started in the background by a script, it would not hear of being cancelled.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    root = Path(sys.argv[0]).absolute().parents[2]
    project_folder.note_coordinator(root, os.getpid())
    project_folder.forget_written(root)
    os.environ["HYDRA_FULL_ERROR"] = "1"
    problem = None
    try:
        _sweep(project_folder.configuration(root))
    except KeyboardInterrupt:
        problem = "it was cancelled"
    except Exception as error:  # whatever it is, the run shall say so
        problem = explain(error) or f"{type(error).__name__}: {error}"
        print(problem, file=sys.stderr, flush=True)
    # lazy import: the command may have begun by now
    from sweeproute import project_home

    # Asked to stop once more it would leave the run without its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = project_home.bring(root, os.environ["MLFLOW_TRACKING_URI"], problem)
    sys.exit(0 if status == "FINISHED" else 1)


def _sweep(folder: Path) -> None:
    import hydra

    hydra.main(version_base="1.3", config_path=str(folder), config_name="config")(project_command.run)()
