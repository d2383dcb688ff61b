"""A small MLflow project that knows nothing of sweeproute, in a folder of its own, with a store."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run

from handmade_sweep import fresh_store
from sweeproute.mlflow_backend import RoutedRun
from sweeproute.store import connect

MLPROJECT = """
name: foreign
entry_points:
  main:
    parameters:
      rate: { type: float, default: 0.5 }
      model: { type: string, default: plain }
    command: "python train.py {rate}"
  waits:
    parameters:
      until: string
    command: "echo waiting; while [ ! -e {until} ]; do sleep 0.05; done; echo waited > left.txt"
  fails:
    command: "echo no such luck >&2; exit 3"
  reads:
    parameters:
      table: path
    command: "cat {table}; cat beside.txt; echo token=$TOKEN; echo more >> beside.txt"
"""
TRAIN = """
import sys

import mlflow

rate = float(sys.argv[1])
with mlflow.start_run() as run:
    for step in range(3):
        mlflow.log_metric("loss", rate / (step + 1), step=step)
    mlflow.set_tag("who", "me")
    mlflow.log_text("hello", "notes/note.txt")
    with mlflow.start_run(run_name="inner", nested=True):
        mlflow.log_param("depth", 3)
print(f"trained {run.info.run_id}")
"""


class ForeignProject:
    """The project, and whoever runs it.

    Args:
        folder: Where it is made, with its store and the state of its sweeps.
        environment: More environment variables.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder / "foreign"
        self.folder.mkdir()
        (self.folder / "MLproject").write_text(MLPROJECT)
        (self.folder / "train.py").write_text(TRAIN)
        (self.folder / "beside.txt").write_text("beside\n")
        self.uri = fresh_store(folder)
        self.environment = {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "SWEEPROUTE_STATE": str(folder / "state"),
            "SWEEPROUTE_CACHE": str(folder / "cache"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **(environment or {}),
        }

    def command(self, *words: str, config: Mapping[str, Any] | None = None, code: int = 0) -> str:
        """Run `mlflow run` on it; what it said."""
        given = [] if config is None else ["--backend-config", json.dumps(config)]
        mlflow_run = [sys.executable, "-m", "mlflow", "run", str(self.folder), "-b", "sweeproute", *given, *words]
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            mlflow_run, cwd=self.folder.parent, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, entry_point: str = "main", config: Mapping[str, Any] | None = None, **parameters: Any) -> RoutedRun:
        """Start it in Python; the environment is the caller's to set."""
        submitted = mlflow.projects.run(
            str(self.folder),
            entry_point,
            parameters=parameters,
            backend="sweeproute",
            backend_config=dict(config or {}),
            synchronous=False,
        )
        assert isinstance(submitted, RoutedRun)
        return submitted

    def found(self, run_id: str) -> Run:
        """The run in the store."""
        return connect(self.uri).get_run(run_id)

    def history(self, run_id: str, name: str) -> list[Any]:
        """All values of a metric."""
        return list(connect(self.uri).get_metric_history(run_id, name))

    def text(self, run_id: str, path: str) -> str:
        """A text among its artifacts."""
        return Path(connect(self.uri).download_artifacts(run_id, path)).read_text()

    def below(self, run_id: str) -> list[Run]:
        """The runs below it."""
        return list(connect(self.uri).search_runs(["0"], f"tags.`mlflow.parentRunId` = '{run_id}'"))
