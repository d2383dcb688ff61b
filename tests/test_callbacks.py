"""Tests of tracking as a Hydra application uses it, each in a process of its own."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from handmade_sweep import fresh_store
from sweeproute.callbacks import Tracking
from sweeproute.store import connect

APP = '''
"""A foreign application that journals."""
import os
import sys
import hydra
from pathlib import Path
from hydra.core.hydra_config import HydraConfig
from sweeproute.journal import Journal

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    assert "MLFLOW_RUN_ID" not in os.environ
    with Journal.open(Path(HydraConfig.get().runtime.output_dir), f"x {cfg.x}") as journal:
        journal.params({"x": cfg.x})
        if cfg.x == 13:
            raise ValueError("thirteen is not taken")
        if cfg.x == 14:
            import signal
            os.kill(os.getpid(), signal.SIGKILL)
        journal.metrics({"auc": cfg.x / 10})
    return {"auc": cfg.x / 10}

if __name__ == "__main__":
    main()
'''
CONFIG = """
x: 1
hydra:
  callbacks:
    tracking:
      _target_: sweeproute.callbacks.Tracking
      uri: sqlite:///mlflow.db
      experiment: test
  run: {dir: out/run}
  sweep: {dir: out/sweep}
"""


@pytest.fixture
def app(tmp_path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text(CONFIG)
    (tmp_path / "app.py").write_text(APP)
    fresh_store(tmp_path)
    return tmp_path


def run(app: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "app.py", *arguments],
        cwd=app,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def tracked(app: Path, kind: str = "trial") -> list:
    client = connect(f"sqlite:///{app / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, f"tags.`sweeproute.kind` = '{kind}'")


def wait_for(found: Callable[[], list]) -> None:
    """Wait for what the tracker writes after its coordinator is gone."""
    until = time.monotonic() + 60
    while not found():
        assert time.monotonic() < until, "the tracker did not write it"
        time.sleep(0.05)


def test_a_run_alone_is_tracked_and_says_what_came_out(app):
    done = run(app, "x=7")
    assert done.returncode == 0, done.stderr
    (found,) = tracked(app)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"auc": 0.7}
    assert not tracked(app, "sweep")
    assert done.stdout.splitlines()[-5:] == [
        "auc=0.7000",
        "  python app.py x=7",
        f"Runs: experiment test in sqlite:///{app / 'mlflow.db'}",
        "Files: out/run",
        f"Next: mlflow ui --backend-store-uri sqlite:///{app / 'mlflow.db'}",
    ]


def test_a_sweep_of_hydras_own_launcher_is_tracked_with_a_parent(app):
    done = run(app, "-m", "x=3,5,4")
    assert done.returncode == 0, done.stderr
    (parent,) = tracked(app, "sweep")
    assert parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in tracked(app)} == {parent.info.run_id}
    assert sorted(run.data.metrics["auc"] for run in tracked(app)) == [0.3, 0.4, 0.5]
    assert "Best auc: job 1\n  auc=0.5000\n  python app.py x=5\n" in done.stdout


def test_a_sweep_of_hydras_own_launcher_whose_job_fails_has_an_end_too(app):
    done = run(app, "-m", "x=3,13")
    assert done.returncode != 0
    wait_for(lambda: [run for run in tracked(app, "sweep") if run.info.status == "FAILED"])
    assert sorted(run.info.status for run in tracked(app)) == ["FAILED", "FINISHED"]


def test_our_launcher_and_sweeper_are_followed_and_failures_are_listed(app):
    done = run(app, "-m", "x=3,13,5", "hydra/launcher=routed", "hydra/sweeper=search", "hydra.sweeper.metric=auc")
    assert done.returncode != 0
    states = {run.data.tags["sweeproute.trial"]: run.info.status for run in tracked(app)}
    assert states == {"0": "FINISHED", "1": "FAILED", "2": "FINISHED"}
    (parent,) = tracked(app, "sweep")
    assert parent.info.status == "FAILED"
    assert "3 jobs, 2 finished, 1 failed" in done.stdout
    assert "Best auc: job 2 on" in done.stdout
    assert "  job 1: ValueError: thirteen is not taken" in done.stdout


def test_the_run_that_mlflow_made_for_the_project_is_adopted_and_taken_out_of_the_environment(app):
    client = connect(f"sqlite:///{app / 'mlflow.db'}")
    experiment = client.create_experiment("project")
    made = client.create_run(experiment).info.run_id
    done = run(app, "x=7", MLFLOW_RUN_ID=made, MLFLOW_EXPERIMENT_ID=experiment)
    assert done.returncode == 0, done.stderr
    assert [run.info.run_id for run in tracked(app)] == [made]


def test_a_run_that_is_killed_is_tracked_as_killed_without_anyone_waiting(app):
    done = run(app, "x=14")
    assert done.returncode == -signal.SIGKILL
    wait_for(lambda: [run for run in tracked(app) if run.info.status == "KILLED"])


def test_a_store_that_is_away_is_said_at_the_end_with_what_to_do(app):
    done = run(app, "x=7", "hydra.callbacks.tracking.uri=http://me:secret@127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert "tracking: 1 of 1 runs are not written yet, since http://***@127.0.0.1:9 does not answer (" in done.stdout
    assert f"; `sweeproute sync {app / 'out' / 'run'}` writes them later." in done.stdout
    everything = done.stdout + done.stderr
    for file in (app / "out" / "run" / ".sweeproute").iterdir():
        everything += file.read_text()
    assert "secret" not in everything


def test_a_callback_goes_to_workers_as_its_settings_alone():
    callback = Tracking("sqlite:///a.db", "test")
    callback._process = object()  # type: ignore[assignment]
    copy = pickle.loads(pickle.dumps(callback))
    assert (copy.uri, copy.experiment, copy._process) == ("sqlite:///a.db", "test", None)


def test_a_callback_leaves_the_stores_password_at_home():
    assert b"secret" not in pickle.dumps(Tracking("postgresql://me:secret@box/runs", "test"))


def test_starting_a_command_imports_no_mlflow():
    code = "import sys, sweeproute.callbacks; print(*{'mlflow', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
