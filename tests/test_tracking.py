"""Tests of the process that keeps the tracking store up to date."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow.entities import ViewType

from handmade_sweep import HandmadeSweep, fresh_store, write_trial
from sweeproute import tracking
from sweeproute.journal import Journal
from sweeproute.pointers import SweepGoneError
from sweeproute.store import connect
from sweeproute.sweep_folder import own
from sweeproute.tracking import TrackingBusyError, sync
from sweeproute.tracking_status import copies, home, save, saved_settings, saved_status

PATIENCE_S = 60


@pytest.fixture
def uri(tmp_path) -> str:
    return fresh_store(tmp_path)


@pytest.fixture
def sweep(tmp_path) -> HandmadeSweep:
    return HandmadeSweep(tmp_path / "sweep")


@pytest.fixture
def start(uri) -> Iterator[Callable[[Path], subprocess.Popen]]:
    """Starts trackers, and leaves none behind."""
    processes = []

    def begin(root: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "sweeproute.tracking", str(root), "--uri", uri, "--experiment", "test"]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def trials(uri: str, kind: str = "trial") -> list:
    client = connect(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, f"tags.`sweeproute.kind` = '{kind}'", ViewType.ALL, 1000)


def until(condition: Callable[[], bool]) -> None:
    """Wait for another process; the condition is the event."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.05)


def states(uri: str) -> dict[str, str]:
    return {run.data.tags["sweeproute.trial"]: run.info.status for run in trials(uri)}


def test_the_tracker_follows_a_sweep_and_ends_when_told(uri, sweep, start):
    process = start(sweep.root)
    folder = sweep.start(0)
    journal = Journal.open(folder, "live")
    journal.metrics({"auc": 0.6}, step=2010)
    until(lambda: [run.data.metrics for run in trials(uri)] == [{"auc": 0.6}])
    assert os.getsid(process.pid) == process.pid, "Ctrl-C is for the coordinator alone"
    assert os.getpriority(os.PRIO_PROCESS, process.pid) >= 10, "the jobs come first"
    journal.end()
    sweep.finish(folder, {"auc": 0.6})
    sweep.run(1, auc=0.7)
    sweep.save(state="FINISHED", ended=time.time())
    process.communicate(b"over\n", timeout=PATIENCE_S)
    assert process.returncode == 0
    assert states(uri) == {"0": "FINISHED", "1": "FINISHED"}
    best = next(run for run in trials(uri) if run.data.tags["sweeproute.trial"] == "1")
    files = {artifact.path for artifact in connect(uri).list_artifacts(best.info.run_id)}
    assert files == {"model", "predictions.parquet"}
    assert saved_status(sweep.root) == tracking.Status(2, 2, None)
    (parent,) = trials(uri, "sweep")
    assert parent.data.tags["mlflow.note.content"] == (
        f"2 jobs: 2 finished.\n\nBest auc: **0.7000**, [job 1](#/experiments/1/runs/{best.info.run_id})\n\n"
        "    model=xgboost model.params.max_depth=4"
    )


def test_a_coordinator_that_dies_leaves_running_jobs_running(uri, sweep, start):
    sweep.run(0, auc=0.6)
    Journal.open(sweep.start(1), "elsewhere").metrics({"auc": 0.5})
    process = start(sweep.root)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert states(uri) == {"0": "FINISHED", "1": "RUNNING"}


def test_a_trial_alone_that_dies_is_killed_since_nothing_else_runs_it(uri, tmp_path, start):
    Journal.open(tmp_path / "run", "alone").metrics({"auc": 0.5})
    start(tmp_path / "run").communicate(timeout=PATIENCE_S)
    assert [run.info.status for run in trials(uri)] == ["KILLED"]


def test_a_tracker_that_is_killed_in_the_middle_is_gone_on_with_and_each_run_is_there_once(uri, sweep, start):
    for job in range(25):
        sweep.run(job, auc=0.6)
    process = start(sweep.root)
    until(lambda: len(trials(uri)) >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(trials(uri)) < 25, "it was killed in the middle"
    sweep.save(state="FINISHED", ended=time.time())
    assert sync(sweep.root).written == 25
    assert sync(sweep.root).written == 25
    found = trials(uri)
    assert len(found) == len({run.data.tags["sweeproute.journal"] for run in found}) == 25
    client = connect(uri)
    for run in found:
        assert run.info.status == "FINISHED"
        assert len(client.get_metric_history(run.info.run_id, "auc")) == 3


def test_a_store_that_is_away_holds_nothing_up_and_sync_writes_it_later(uri, sweep, monkeypatch, caplog):
    monkeypatch.setattr(tracking, "_PATIENCE_S", 0.5)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://me:secret@127.0.0.1:{closed.getsockname()[1]}"
        for job in range(5):
            sweep.run(job, auc=0.6)
        status = sync(sweep.root, uri=nobody)
    assert (status.written, status.total) == (0, 5)
    assert "does not answer (" in status.problem
    assert "secret" not in status.problem + own(sweep.root, "tracking.json").read_text() + caplog.text
    assert sync(sweep.root, uri=uri) == tracking.Status(5, 5, None)


def test_a_copy_in_another_store_leaves_the_runs_where_they_are_looked_for(uri, sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "_PATIENCE_S", 0.1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    sweep.run(0, auc=0.6)
    sweep.save(state="FINISHED", ended=time.time())
    project = connect(uri).create_run("0").info.run_id
    save(sweep.root, tracking.Settings(uri, parent_run=project), tracking.Status())
    assert sync(sweep.root).written == 1
    # One that cannot be written to is not the place, and one that can has a parent run of its own.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert sync(sweep.root, uri=f"http://127.0.0.1:{closed.getsockname()[1]}").written == 0
    assert (home(sweep.root), copies(sweep.root)) == (uri, [])
    (tmp_path / "other").mkdir()
    other = fresh_store(tmp_path / "other")
    for _ in range(2):
        assert sync(sweep.root, uri=other) == tracking.Status(1, 1, None)
    assert (home(sweep.root), copies(sweep.root)) == (uri, [other])
    assert saved_settings(sweep.root).parent_run == project
    assert len(trials(uri)) == len(trials(other)) == 1
    assert len(trials(other, "sweep")) == 1


def test_a_folder_of_journals_is_no_store_for_a_sweep_and_what_is_no_sweep_is_left_alone(sweep, tmp_path):
    sweep.run(0, auc=0.6)
    with pytest.raises(tracking.StoreError, match=r"--uri sqlite:///mlflow\.db"):
        sync(sweep.root, uri="journal:runs")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SweepGoneError, match="there is nothing to sync"):
        sync(tmp_path / "empty", uri="sqlite:///mlflow.db")
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_password_that_was_not_kept_is_asked_for(sweep, monkeypatch):
    tracking.Tracker(sweep.root, tracking.Settings("http://me:secret@host")).announce()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(tracking.StoreError, match="set MLFLOW_TRACKING_URI"):
        sync(sweep.root)


def test_one_run_that_the_store_refuses_stops_no_other(uri, sweep, monkeypatch):
    monkeypatch.setattr(tracking, "_PATIENCE_S", 0.1)
    folder = sweep.start(0)
    with Journal.open(folder, "bad") as journal:
        journal._append({"verb": "log_batch", "time": 1, "metrics": [["auc", 0.5, 2**70, 1]]})
    sweep.finish(folder, {"auc": 0.5})
    for job in range(1, 6):
        sweep.run(job, auc=0.6)
    status = sync(sweep.root, uri=uri)
    assert (status.written, status.total) == (5, 6)
    assert status.problem is not None


def test_two_writers_never_write_one_sweep_at_once(uri, sweep, monkeypatch):
    monkeypatch.setattr(tracking, "_BUSY_S", 0.1)
    with FileLock(own(sweep.root, "tracking.lock")), pytest.raises(TrackingBusyError, match="right now"):
        sync(sweep.root, uri=uri)


def test_jobs_of_another_launcher_are_found_by_their_journals(uri, tmp_path):
    root = tmp_path / "2026-11-24" / "11-00-00"
    for job in range(2):
        write_trial(root / str(job), auc=0.6 + job / 10)
        (root / str(job) / ".hydra").mkdir()
        (root / str(job) / ".hydra" / "overrides.yaml").write_text(f"- model=glm\n- seed={job}\n")
    assert sync(root, uri=uri).written == 2
    assert states(uri) == {"0": "FINISHED", "1": "FINISHED"}
    assert {run.data.tags["sweeproute.sweep"] for run in trials(uri)} == {"2026-11-24/11-00-00"}
    assert {run.data.tags["sweeproute.overrides"] for run in trials(uri)} >= {'["model=glm", "seed=1"]'}


def test_a_resumed_sweep_goes_on_in_the_runs_that_are_there(uri, sweep):
    Journal.open(sweep.start(0), "cut").metrics({"auc": 0.5})
    # Nobody holds the sweep's lock: its coordinator is dead, and so is what it ran.
    assert sync(sweep.root, uri=uri).written == 1
    assert states(uri) == {"0": "KILLED"}
    sweep.change(sweep.root / "0", state="KILLED", ended_at=time.time())
    sweep.run(0, 2, auc=0.7)
    sweep.save(state="FINISHED", ended=time.time())
    assert sync(sweep.root).written == 2
    found = {run.data.tags["sweeproute.attempt"]: run for run in trials(uri)}
    assert {attempt: run.info.status for attempt, run in found.items()} == {"1": "KILLED", "2": "FINISHED"}
    assert found["2"].data.tags["sweeproute.current"] == "true"
    assert found["1"].data.tags["sweeproute.superseded"] == "true"


def test_nothing_to_write_imports_no_mlflow(tmp_path):
    code = (
        "import sys; from pathlib import Path; from sweeproute.tracking import Settings, Tracker\n"
        "Tracker(Path(sys.argv[1]), Settings('sqlite:///x.db')).look(); print('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_runs_go_to_a_server_as_they_go_to_a_file(sweep, tmp_path):
    """Slow: MLflow's server takes ten seconds to start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", fresh_store(tmp_path), "--artifacts-destination", str(tmp_path / "artifacts")]
    log = (tmp_path / "server.log").open("wb")
    server = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
    try:
        until(lambda: _answers(port))
        sweep.run(0, auc=0.7)
        sweep.save(state="FINISHED", ended=time.time())
        address = f"http://127.0.0.1:{port}"
        assert sync(sweep.root, uri=address, experiment="test") == tracking.Status(1, 1, None)
        assert sync(sweep.root) == tracking.Status(1, 1, None)
        (run,) = trials(address)
        assert run.data.metrics["auc"] == 0.7
        files = {artifact.path for artifact in connect(address).list_artifacts(run.info.run_id)}
        assert files == {"model", "predictions.parquet"}
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        log.close()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
