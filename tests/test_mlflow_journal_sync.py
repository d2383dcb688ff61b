"""What MLflow's own calls logged to journal: stands in a real store as if it had been logged there, and once."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
)
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient

from store_content import content
from sweeproute.mlflow_journal_store import CLOCK_OFFSET
from sweeproute.mlflow_journal_sync import new_id, sync
from sweeproute.store import StoreError

SCRIPT = Path(__file__).parent / "fluent_script.py"
# What changes a store, each a place at which a replay may be killed.
WRITES = (
    *("create_experiment", "set_experiment_tag", "create_run", "log_batch", "log_inputs", "log_outputs"),
    *("create_logged_model", "finalize_logged_model", "update_run_info"),
)


def run_script(uri: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    # A copy beside, for the artifact that the script keeps of itself.
    shutil.copy(SCRIPT, folder / "script.py")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def command(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sweeproute", *words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, with MLflow's tables: making them takes seconds."""
    folder = tmp_path_factory.mktemp("made")
    MlflowClient(f"sqlite:///{folder}/empty.db")
    return folder / "empty.db"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> str:
    """The address of an empty store."""
    shutil.copy(made, tmp_path / "real.db")
    return f"sqlite:///{tmp_path}/real.db"


@pytest.mark.timeout(900)
def test_a_script_of_mlflows_users_leaves_the_same_by_way_of_journals(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(made, tmp_path / "real.db")
    shutil.copy(made, tmp_path / "direct.db")
    run_script("journal:logged", tmp_path / "far")
    run_script(f"sqlite:///{tmp_path}/direct.db", tmp_path / "near")
    shutil.copytree(tmp_path / "far" / "logged", tmp_path / "home")
    shutil.rmtree(tmp_path / "far")
    real = f"sqlite:///{tmp_path}/real.db"
    said = command("sync", "home", "--uri", "sqlite:///real.db", cwd=tmp_path)
    assert (said.returncode, said.stdout) == (0, "7 of 7 runs are written.\n"), said.stderr

    direct, replayed = content(f"sqlite:///{tmp_path}/direct.db"), content(real)
    assert {len(part["runs"]) for part in direct.values()} == {0, 6, 1}, "the script itself logged"
    assert replayed.keys() == direct.keys()
    for experiment, part in direct.items():
        assert replayed[experiment]["tags"] == part["tags"]
        for kind in ("runs", "models"):
            for ours, wanted in zip(replayed[experiment][kind], part[kind], strict=True):
                assert ours == wanted

    client = MlflowClient(real)
    [model] = client.search_logged_models(
        [client.get_experiment_by_name("irises").experiment_id], "name = 'iris_model'"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", real)
    columns = mlflow.models.get_model_info(model.model_uri).signature.inputs.input_names()
    frame = pd.DataFrame([[5.1, 3.5, 1.4, 0.2]], columns=columns)
    assert mlflow.pyfunc.load_model(model.model_uri).predict(frame).tolist() == [0]
    assert mlflow.sklearn.load_model(f"runs:/{model.source_run_id}/iris_model").predict(frame).tolist() == [0]
    said_inside = mlflow.models.Model.load(model.model_uri)
    assert (said_inside.model_id, said_inside.run_id) == (model.model_id, model.source_run_id)
    assert said_inside.artifact_path == model.artifact_location

    # The same times, and the ids that the journals had lead to those that there are now.
    old = MlflowClient(f"journal:{tmp_path}/home")
    for folder in (tmp_path / "home" / "runs").iterdir():
        id = folder.name
        before, after = old.get_run(id), client.get_run(new_id(id, real))
        assert (before.info.start_time, before.info.end_time) == (after.info.start_time, after.info.end_time)
        for key in before.data.metrics:
            assert {(m.step, m.timestamp) for m in old.get_metric_history(id, key)} == {
                (m.step, m.timestamp) for m in client.get_metric_history(after.info.run_id, key)
            }
    assert new_id(model.tags["sweeproute.journal"], real) == model.model_id
    with pytest.raises(StoreError, match=r"no run or model that was 00.*sweeproute sync"):
        new_id("00", real)


def log_something(folder: Path) -> tuple[MlflowClient, str, str]:
    """A parent with a child, a model and all that a replay writes; the client, the parent's id and the model's."""
    client = MlflowClient(f"journal:{folder}")
    experiment = client.create_experiment("one", tags={"colour": "green"})
    parent = client.create_run(experiment, 1_000, {"mlflow.user": "me", "a": "b"}, "parent").info.run_id
    client.log_param(parent, "C", 1)
    for step in range(3):
        client.log_metric(parent, "loss", 1 / (step + 1), timestamp=2_000 + step, step=step)
    dataset = Dataset("games", "abc", "local", '{"uri": "games.csv"}', '{"s": 1}', '{"n": 2}')
    client.log_inputs(parent, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    client.log_text(parent, "hello", "notes/a.txt")
    model = client.create_logged_model(experiment, "glm", parent, {"t": "u"}, {"C": "1"}, "linear").model_id
    files = folder.parent / "model"
    files.mkdir(exist_ok=True)
    (files / "MLmodel").write_text(f"model_id: {model}\nrun_id: {parent}\nflavors: {{}}\n")
    (files / "weights").write_text("0.5")
    client.log_model_artifacts(model, str(files))
    client.log_outputs(parent, [LoggedModelOutput(model, 2)])
    client.finalize_logged_model(model, LoggedModelStatus.READY)
    client.log_batch(parent, [Metric("loss", 1 / 3, 2_002, 2, model_id=model), Metric("auc", 0.7, 2_003, 0, model)])
    child = client.create_run(experiment, 1_500, {"mlflow.parentRunId": parent}, "child").info.run_id
    client.log_inputs(child, models=[LoggedModelInput(model)])
    client.log_metric(child, "seen", 1.0, timestamp=2_500, step=0)
    client.set_terminated(child, "FAILED", 3_000)
    client.set_tag(parent, "late", "yes")
    client.set_terminated(parent, "FINISHED", 4_000)
    return client, parent, model


def killed_at(place: int, work: Callable[[], Any]) -> bool:
    """Do something in a process of its own that dies at its n-th write; whether it came so far."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            seen = 0

            def deadly(write: Callable[..., Any]) -> Callable[..., Any]:
                def call(*words: Any, **named: Any) -> Any:
                    nonlocal seen
                    seen += 1
                    if seen == place:
                        os._exit(9)
                    return write(*words, **named)

                return call

            for name in WRITES:
                setattr(SqlAlchemyStore, name, deadly(getattr(SqlAlchemyStore, name)))
            work()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (0, 9), "the replay failed by itself"
    return code == 9


@pytest.mark.timeout(900)
def test_a_replay_that_is_killed_at_any_write_and_done_again_leaves_everything_once(tmp_path: Path, made: Path) -> None:
    log_something(tmp_path / "logged")
    shutil.copy(made, tmp_path / "whole.db")
    assert sync(tmp_path / "logged", f"sqlite:///{tmp_path}/whole.db").written == 2
    wanted = content(f"sqlite:///{tmp_path}/whole.db", times=True)
    assert sorted(run["name"] for run in wanted["one"]["runs"]) == ["child", "parent"]

    place = 0
    killed = True
    while killed:
        place += 1
        shutil.copy(made, tmp_path / f"{place}.db")
        uri = f"sqlite:///{tmp_path}/{place}.db"
        killed = killed_at(place, lambda uri=uri: sync(tmp_path / "logged", uri))
        status = sync(tmp_path / "logged", uri)
        assert (status.written, status.total, status.problem) == (2, 2, None)
        assert content(uri, times=True) == wanted, f"killed at write {place}"
    assert place > 12, "a replay has more writes than that"


def writes_nothing(folder: Path, store: str) -> None:
    """Replay once more, and look at every row of the store."""
    with sqlite3.connect(folder / "real.db") as before:
        dump = list(before.iterdump())
    sync(folder / "logged", store)
    with sqlite3.connect(folder / "real.db") as after:
        assert list(after.iterdump()) == dump


def test_a_replay_done_again_writes_nothing(tmp_path: Path, store: str) -> None:
    log_something(tmp_path / "logged")
    sync(tmp_path / "logged", store)
    writes_nothing(tmp_path, store)


def test_what_is_logged_between_two_replays_follows(tmp_path: Path, store: str) -> None:
    client, parent, model = log_something(tmp_path / "logged")
    running = client.create_run(client.get_run(parent).info.experiment_id, 5_000, run_name="running").info.run_id
    client.log_metric(running, "loss", 0.5, timestamp=5_001)
    assert sync(tmp_path / "logged", store).written == 2
    there = MlflowClient(store)
    assert there.get_run(new_id(running, store)).info.status == "RUNNING"
    assert there.get_run(new_id(running, store)).data.metrics == {"loss": 0.5}

    client.log_metric(running, "loss", 0.25, timestamp=5_002, step=1)
    client.set_terminated(running, "KILLED", 6_000)
    client.log_metric(parent, "behind the end", 1.0, timestamp=7_000)
    client.set_logged_model_tags(model, {"checked": "yes"})
    assert sync(tmp_path / "logged", store).written == 3
    after = there.get_run(new_id(parent, store))
    assert after.data.metrics["behind the end"] == 1.0
    assert (after.info.status, after.info.end_time) == ("FINISHED", 4_000)
    ended = there.get_run(new_id(running, store)).info
    assert (ended.status, ended.end_time) == ("KILLED", 6_000)
    assert there.get_logged_model(new_id(model, store)).tags["checked"] == "yes"
    shutil.copy(tmp_path / "real.db", tmp_path / "once.db")
    assert len(content(store)["one"]["runs"]) == 3


def test_files_that_come_behind_the_end_of_a_run_follow(tmp_path: Path, store: str) -> None:
    client, parent, _ = log_something(tmp_path / "logged")
    sync(tmp_path / "logged", store)
    there = MlflowClient(store)
    ended = there.get_run(new_id(parent, store)).info
    client.log_text(parent, "late", "late.txt")
    assert sync(tmp_path / "logged", store).written == 2
    assert "late.txt" in {one.path for one in there.list_artifacts(ended.run_id)}
    # Nothing else of the run has moved, and the next replay has nothing to do.
    assert there.get_run(ended.run_id).info.end_time == ended.end_time
    writes_nothing(tmp_path, store)


def test_an_experiment_that_a_person_deleted_holds_up_no_other(tmp_path: Path, store: str) -> None:
    client, _, _ = log_something(tmp_path / "logged")
    sync(tmp_path / "logged", store)
    there = MlflowClient(store)
    there.delete_experiment(there.get_experiment_by_name("one").experiment_id)
    run = client.create_run(client.create_experiment("two"), 5_000, run_name="later").info.run_id
    client.set_terminated(run, end_time=6_000)
    said = command("sync", "logged", "--uri", store, cwd=tmp_path)
    assert (said.returncode, said.stdout) == (0, "1 of 1 run is written.\n"), said.stderr
    assert "The experiment 'one' was deleted in the store: what belongs to it is left out." in said.stderr
    assert there.get_run(new_id(run, store)).info.end_time == 6_000


def test_what_a_person_deleted_does_not_come_back(tmp_path: Path, store: str) -> None:
    client, parent, model = log_something(tmp_path / "logged")
    sync(tmp_path / "logged", store)
    there = MlflowClient(store)
    gone = new_id(parent, store)
    there.delete_logged_model(new_id(model, store))
    there.delete_run(gone)
    client.set_tag(parent, "more", "words")
    assert sync(tmp_path / "logged", store).written == 2
    runs = content(store)["one"]["runs"]
    assert sorted((run["name"], run["stage"]) for run in runs) == [("child", "active"), ("parent", "deleted")]
    assert content(store)["one"]["models"] == []


def test_a_clock_that_is_off_is_put_right(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLOCK_OFFSET, "250")
    _, parent, _ = log_something(tmp_path / "logged")
    monkeypatch.delenv(CLOCK_OFFSET)
    sync(tmp_path / "logged", store)
    there = MlflowClient(store)
    run = there.get_run(new_id(parent, store))
    assert (run.info.start_time, run.info.end_time) == (1_250, 4_250)
    history = there.get_metric_history(run.info.run_id, "loss")
    assert sorted(metric.timestamp for metric in history) == [2_250, 2_251, 2_252]

    said = command("sync", "logged", "--uri", f"sqlite:///{tmp_path}/other.db", "--clock-offset-ms", "-7", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    other = f"sqlite:///{tmp_path}/other.db"
    # Another replay keeps what the first has added, or each value would stand there twice.
    sync(tmp_path / "logged", other, clock_offset_ms=99)
    run = MlflowClient(other).get_run(new_id(parent, other))
    assert (run.info.start_time, run.info.end_time) == (993, 3_993)

    monkeypatch.setenv(CLOCK_OFFSET, "soon")
    with pytest.raises(mlflow.MlflowException, match="whole milliseconds"):
        log_something(tmp_path / "wrong")


def test_sync_says_what_does_not_go(tmp_path: Path, store: str) -> None:
    log_something(tmp_path / "logged")
    (tmp_path / "empty").mkdir()
    for words, environment, part in (
        (["sync", "logged"], {"MLFLOW_TRACKING_URI": "journal:logged"}, "no store to bring them to"),
        (["sync", "logged", "--experiment", "x", "--uri", store], {}, "--experiment is for sweeps"),
        (["sync", "journal:"], {}, "names no folder; write journal:FOLDER"),
        (["sync", "journal:nosuch"], {}, "There is no folder of journals at "),
        (["sync", "empty"], {}, "there is nothing to sync"),
        (["sync", ".", "--clock-offset-ms", "5", "--uri", store], {}, "--clock-offset-ms is for a folder"),
        (["sync", "logged", "--uri", "http://127.0.0.1:9"], {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}, "127.0.0.1:9"),
    ):
        said = command(*words, cwd=tmp_path, **environment)
        assert said.returncode == 1, said.stdout
        assert part in said.stdout + said.stderr
        assert "Traceback" not in said.stdout


def test_the_address_itself_can_be_given_to_sync(tmp_path: Path, store: str) -> None:
    log_something(tmp_path / "logged")
    said = command("sync", "journal:logged", "--uri", store, cwd=tmp_path)
    assert said.stdout == "2 of 2 runs are written.\n", said.stderr


def test_an_experiment_keeps_the_place_of_artifacts_that_it_was_given(tmp_path: Path, store: str) -> None:
    place = (tmp_path / "elsewhere").as_uri()
    client = MlflowClient(f"journal:{tmp_path}/logged")
    run = client.create_run(client.create_experiment("placed", place)).info.run_id
    client.log_text(run, "x", "a.txt")
    client.set_terminated(run)
    sync(tmp_path / "logged", store)
    assert MlflowClient(store).get_experiment_by_name("placed").artifact_location == place
    assert [path.name for path in (tmp_path / "elsewhere").rglob("*.txt")] == ["a.txt"]


def test_what_was_written_before_a_power_cut_is_brought_over(tmp_path: Path, store: str) -> None:
    client, parent, _ = log_something(tmp_path / "logged")
    path = tmp_path / "logged" / "runs" / parent / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert json.loads(path.read_text().splitlines()[-2])["verb"] == "log_batch"
    assert sync(tmp_path / "logged", store).written == 1
    assert MlflowClient(store).get_run(new_id(parent, store)).info.status == "RUNNING"
    client = MlflowClient(f"journal:{tmp_path}/logged")
    client.set_terminated(parent, "KILLED", 9_000)
    assert sync(tmp_path / "logged", store).written == 2
    assert MlflowClient(store).get_run(new_id(parent, store)).info.status == "KILLED"
