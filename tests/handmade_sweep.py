"""Makes sweep folders by hand, in the very formats that the launcher and the trials write."""

import atexit
import functools
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeproute.journal import Journal
from sweeproute.store import connect


class HandmadeSweep:
    """A sweep's folder whose jobs a test makes one by one."""

    def __init__(self, root: Path, id: str = "sweep_a", **record: Any) -> None:
        self.root = root
        self.id = id
        (root / ".sweeproute").mkdir(parents=True, exist_ok=True)
        self.record = {
            "id": id,
            "name": None,
            "note": None,
            "overrides": ["model=xgboost"],
            "argv": ["train.py", "-m", "model=xgboost"],
            "cwd": str(root),
            "python": "python",
            "pid": 1,
            "host": "here",
            "started": 1_700_000_000.0,
            "ended": None,
            "state": "RUNNING",
            "total": None,
            "metric": "auc",
            "direction": "maximize",
        } | record
        self.save()

    def save(self, **changes: Any) -> None:
        """Rewrite the sweep's record."""
        self.record |= changes
        _write(self.root / ".sweeproute" / "sweep.json", self.record)

    def point(self, state: Path) -> None:
        """Write the pointer by which it is found, as a coordinator on this machine does, and its lock."""
        (self.root / ".sweeproute" / "lock").touch()
        (state / "sweeps").mkdir(parents=True, exist_ok=True)
        kept = ("id", "name", "argv", "cwd", "python", "started")
        pointer = {key: self.record[key] for key in kept} | {"folder": str(self.root)}
        _write(state / "sweeps" / f"{self.id}.json", pointer)

    def start(self, job: int, attempt: int = 1, **record: Any) -> Path:
        """List an attempt and write its launch record; the job runs."""
        name = str(job) if attempt == 1 else f"{job}.attempt{attempt}"
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        with (self.root / ".sweeproute" / "jobs.jsonl").open("a") as file:
            file.write(json.dumps({"job": job, "attempt": attempt, "folder": name}) + "\n")
        launch = {
            "sweep": self.id,
            "job": job,
            "attempt": attempt,
            "overrides": ["model=xgboost", f"model.params.max_depth={3 + job}"],
            "platform": "local_m4",
            "decision": "scheduled",
            "reason": "default",
            "considered": [],
            "state": "RUNNING",
            "current": False,
            "queued_at": 1_700_000_000.0,
            "started_at": 1_700_000_001.0,
            "ended_at": None,
            "queue_s": 1.0,
            "run_s": None,
            "threads": 1,
            "device": "cpu",
            "value": None,
            "error": None,
            "identity": {"fingerprint": f"f{job}", "code_hash": "c0de"},
        }
        _write(folder / "launch.json", launch | record)
        return folder

    def change(self, folder: Path, **changes: Any) -> None:
        """Rewrite a launch record."""
        _write(folder / "launch.json", json.loads((folder / "launch.json").read_text()) | changes)

    def finish(self, folder: Path, metrics: Mapping[str, float], **changes: Any) -> None:
        """Record a job's result."""
        ended = {"state": "FINISHED", "current": True, "value": dict(metrics), "ended_at": time.time(), "run_s": 2.0}
        self.change(folder, **(ended | changes))

    def run(self, job: int, attempt: int = 1, **metrics: float) -> Path:
        """A job from its start to its result, with a journal."""
        folder = self.start(job, attempt)
        write_trial(folder, name=f"xgboost {job}", **metrics)
        self.finish(folder, metrics)
        return folder

    def configured(self, job: int, overrides: Sequence[str], **metrics: float) -> Path:
        """A job of a configuration that is said, from its start to its result, with a journal."""
        folder = self.start(job, overrides=list(overrides))
        write_trial(folder, name=f"xgboost {job}", **metrics)
        self.finish(folder, metrics)
        return folder


def write_trial(folder: Path, name: str = "trial", **metrics: float) -> str:
    """Journal what a trial journals; the journal's id."""
    with Journal.open(folder, name, {"sweeproute.seed": "42"}) as journal:
        journal.params({f"model.params.p{number}": number for number in range(10)})
        for season in (2010, 2011):
            journal.metrics({"auc": 0.6, "brier": 0.22}, step=season)
        journal.metrics(metrics, step=2012)
        journal.input("league", "ab" * 32, source="league", profile={"n_games": 6000})
        journal.tags({"sweeproute.device_class": "cpu", "sweeproute.git_commit": "9" * 40})
        (folder / "predictions.parquet").write_bytes(b"PAR1")
        journal.artifact("predictions.parquet")
        (folder / "model").mkdir(exist_ok=True)
        (folder / "model" / "model.ubj").write_bytes(b"model of " + name.encode())
    return journal.id


def _write(path: Path, content: Mapping[str, Any]) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(content))
    beside.replace(path)


@functools.cache
def _migrated() -> Path:
    """A SQLite store with MLflow's tables: making them takes a second, copying them none."""
    folder = Path(tempfile.mkdtemp(prefix="mlflow-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    connect(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder / "mlflow.db"


def fresh_store(folder: Path) -> str:
    """The URI of a store in a folder, its tables there and no experiment of ours."""
    path = folder / "mlflow.db"
    shutil.copyfile(_migrated(), path)
    return f"sqlite:///{path}"
