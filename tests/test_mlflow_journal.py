"""MLflow's own logging calls write journals, and everything that is not logging is refused in a sentence."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.tracking import MlflowClient

from sweeproute import journal
from sweeproute.data_input import dataset_input
from sweeproute.mlflow_journal import folder_of
from sweeproute.mlflow_journal_contract import SERVED, contract
from sweeproute.mlflow_journal_folder import JournalFolder, experiment_id
from sweeproute.mlflow_journal_store import JournalStore

ROOT = Path(__file__).parents[1]


@pytest.fixture
def client(tmp_path: Path) -> MlflowClient:
    return MlflowClient(f"journal:{tmp_path}/logged")


def started(client: MlflowClient, name: str = "Default") -> str:
    return client.create_run(experiment_id(name), run_name="run").info.run_id


def path_of(folder: Path, run_id: str) -> Path:
    return folder / "logged" / "runs" / run_id / journal.FILE


def python(code: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_calls_that_are_served_are_those_that_the_documentation_lists() -> None:
    text = (ROOT / "docs" / "mlflow_journal.md").read_text(encoding="utf-8")
    table = text.partition("## What it serves")[2].partition("\n## ")[0]
    listed = {name for row in table.splitlines() if row.startswith("|") for name in re.findall(r"`(\w+)`", row)}
    assert listed == set(SERVED)
    assert set(SERVED) <= contract()


def test_every_other_call_of_mlflows_contract_says_what_to_do(tmp_path: Path) -> None:
    store = JournalStore(tmp_path / "logged")
    refused = sorted(contract() - set(SERVED))
    assert len(refused) > 80
    for name in refused:
        call = getattr(store, name)
        with pytest.raises(mlflow.MlflowException, match=f"does not serve {name};.*sweeproute sync .*logged --uri"):
            call()
    assert not (tmp_path / "logged").exists()
    # Nothing that is served is left to a class that only raises.
    for name in SERVED:
        inherited = getattr(AbstractStore, name, None)
        raises = inherited is not None and "NotImplementedError" in inspect.getsource(inherited)
        abstract = getattr(inherited, "__isabstractmethod__", False)
        assert getattr(JournalStore, name) is not inherited or not (raises or abstract), name


def test_searching_and_registering_are_refused_through_mlflows_own_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"journal:{tmp_path}/logged")
    for call in (mlflow.search_runs, mlflow.search_experiments, lambda: mlflow.search_logged_models(["0"])):
        with pytest.raises(mlflow.MlflowException, match="sweeproute sync"):
            call()
    with pytest.raises(mlflow.MlflowException, match=r"no model registry.*sweeproute sync"):
        mlflow.register_model("models:/m-1", "x")


def test_a_trials_own_reader_understands_a_run_of_mlflows(tmp_path: Path, client: MlflowClient) -> None:
    run = started(client)
    client.log_param(run, "C", 0.5)
    client.log_metric(run, "auc", 0.7, timestamp=5, step=2)
    client.log_metric(run, "auc", float("-inf"), timestamp=6, step=3)
    client.log_batch(run, [Metric("auc", 0.9, 7, 4, "m-1", "games", "abc")], [Param("n", "1")], [RunTag("a", "b")])
    used = Dataset("games", "abc", "code", "somewhere")
    client.log_inputs(run, [DatasetInput(used, [InputTag("mlflow.data.context", "testing")])])
    client.set_terminated(run, "FAILED", 8)
    page = journal.merge(journal.read(path_of(tmp_path, run).parent)[0])
    assert (page.journal, page.name, page.status, page.ended) == (run, "run", "FAILED", 8)
    assert page.params == {"C": "0.5", "n": "1"}
    assert page.metrics == [("auc", 0.7, 2, 5), ("auc", float("-inf"), 3, 6), ("auc", 0.9, 4, 7)]
    assert page.tags["a"] == "b"
    assert dataset_input(page.inputs[0]).dataset.name == "games"


def test_another_process_reads_what_stands_there_by_now(tmp_path: Path, client: MlflowClient) -> None:
    run = started(client)
    client.log_metric(run, "loss", 1.0, timestamp=1, step=0)
    other = JournalStore(tmp_path / "logged")
    assert other.get_run(run).data.metrics == {"loss": 1.0}
    other.log_batch(run, [Metric("loss", 0.5, 2, 1)], [Param("C", "1")], [])
    client.log_metric(run, "loss", 0.25, timestamp=3, step=2)
    for store in (client, other):
        assert store.get_run(run).data.metrics == {"loss": 0.25}
    assert [metric.value for metric in client.get_metric_history(run, "loss")] == [1.0, 0.5, 0.25]
    with pytest.raises(mlflow.MlflowException, match=r"Changing param values.*'C'.*'1'"):
        client.log_param(run, "C", 2)
    client.log_param(run, "C", 1)


def test_what_counts_of_a_metric_is_what_mlflows_own_stores_show(client: MlflowClient) -> None:
    run = started(client)
    for value, time, step in ((1.0, 1, 5), (9.0, 2, 4), (2.0, 2, 5), (3.0, 2, 5), (0.0, 2, 5), (float("nan"), 2, 5)):
        client.log_metric(run, "m", value, time, step)
    assert client.get_run(run).data.metrics == {"m": 3.0}


def test_what_mlflow_would_not_take_is_refused_at_once(client: MlflowClient) -> None:
    run = started(client)
    for wrong in (
        lambda: client.log_metric(run, "a=b", 1.0),
        lambda: client.log_metric(run, "a", "many"),
        lambda: client.log_param(run, "../a", 1),
        lambda: client.set_tag(run, "x" * 300, 1),
        lambda: client.log_metric("f" * 32, "a", 1.0),
        lambda: client.get_logged_model("m-1"),
        lambda: client.get_experiment("77"),
        lambda: client.create_run("77"),
        lambda: client.create_experiment(""),
        lambda: client.create_logged_model("0", "a/b"),
    ):
        with pytest.raises(mlflow.MlflowException):
            wrong()
    assert client.get_run(run).data.metrics == client.get_run(run).data.params == {}


def test_an_experiment_exists_once_whoever_asks(client: MlflowClient, tmp_path: Path) -> None:
    assert client.get_experiment_by_name("new") is None
    id = client.create_experiment("new", tags={"a": "b"})
    with pytest.raises(mlflow.MlflowException, match="exists already"):
        client.create_experiment("new")
    assert client.get_experiment(id).name == "new"
    assert client.get_experiment("0").name == "Default"
    client.set_experiment_tag(id, "c", "d")
    client.set_experiment_tag("0", "e", "f")
    assert client.get_experiment_by_name("new").tags == {"a": "b", "c": "d"}
    assert client.get_experiment("0").tags == {"e": "f"}
    # Who was told that there is none before another made it gets the one that there is.
    late = JournalStore(tmp_path / "logged")
    assert late.get_experiment_by_name("newer") is None
    client.create_experiment("newer")
    assert late.create_experiment("newer") == client.get_experiment_by_name("newer").experiment_id


def test_many_processes_that_start_at_once_lose_nothing(tmp_path: Path) -> None:
    code = """
import mlflow
mlflow.set_experiment("together")
for number in range(5):
    with mlflow.start_run(run_name=f"run {number}"):
        for step in range(20):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
"""
    processes = [python(code, tmp_path, MLFLOW_TRACKING_URI="journal:logged") for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    files = JournalFolder(tmp_path / "logged")
    store = JournalStore(tmp_path / "logged")
    assert len(files.runs()) == 20
    runs = [store.get_run(id) for id in files.runs()]
    assert {store.get_experiment(run.info.experiment_id).name for run in runs} == {"together"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all(len(store.get_metric_history(run.info.run_id, "loss")) == 20 for run in runs)
    assert files.id() is not None


def test_a_killed_process_leaves_what_it_had_logged(tmp_path: Path, client: MlflowClient) -> None:
    code = """
import mlflow
run = mlflow.start_run()
mlflow.log_param("C", 1)
for step in range(10**9):
    mlflow.log_metric("step", step, step=step)
    if step == 50:
        print(run.info.run_id, flush=True)
"""
    process = python(code, tmp_path, MLFLOW_TRACKING_URI="journal:logged")
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    found = client.get_run(run)
    assert found.data.params == {"C": "1"}
    steps = [metric.step for metric in client.get_metric_history(run, "step")]
    assert len(steps) > 50
    assert steps == list(range(len(steps)))
    assert found.info.status == "RUNNING"


def test_a_torn_last_line_costs_itself_alone(tmp_path: Path) -> None:
    # Of the first only the line's end is missing, and that is put there.
    for cut, kept in ((1, {"b": 2.0}), (7, {}), (30, {}), (60, {})):
        store = JournalStore(tmp_path / f"{cut}" / "logged")
        run = store.create_run("0", "me", 1, [], "run").info.run_id
        store.log_batch(run, [Metric("a", 1.0, 1, 0)], [], [])
        store.log_batch(run, [Metric("b", 2.0, 1, 0)], [], [])
        path = path_of(tmp_path / f"{cut}", run)
        path.write_bytes(path.read_bytes()[:-cut])
        again = JournalStore(tmp_path / f"{cut}" / "logged")
        assert again.get_run(run).data.metrics == {"a": 1.0}
        again.log_batch(run, [Metric("c", 3.0, 1, 0)], [], [])
        for reader in (again, JournalStore(tmp_path / f"{cut}" / "logged")):
            assert reader.get_run(run).data.metrics == {"a": 1.0, "c": 3.0, **kept}


def test_a_full_disk_is_said_and_gone_on_from(client: MlflowClient, tmp_path: Path) -> None:
    run = started(client)
    code = f"""
import resource, signal
from pathlib import Path
import mlflow
from mlflow.tracking import MlflowClient
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
client = MlflowClient("journal:logged")
size = Path({str(path_of(tmp_path, run))!r}).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
try:
    client.log_metric({run!r}, "a", 1.0)
except mlflow.MlflowException as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
client.log_metric({run!r}, "b", 2.0)
print(client.get_run({run!r}).data.metrics)
"""
    said = python(code, tmp_path).communicate()[0]
    assert "make room" in said
    assert said.endswith("{'b': 2.0}\n")


def test_asynchronous_logging_arrives(client: MlflowClient) -> None:
    run = started(client)
    for step in range(100):
        client.log_metric(run, "loss", float(step), step=step, synchronous=False)
    client.set_terminated(run)
    assert len(client.get_metric_history(run, "loss")) == 100


def test_a_run_is_named_ended_and_goes_on(client: MlflowClient) -> None:
    run = started(client)
    client.update_run(run, name="better")
    assert client.get_run(run).info.run_name == client.get_run(run).data.tags["mlflow.runName"] == "better"
    client.set_tag(run, "mlflow.runName", "best")
    assert client.get_run(run).info.run_name == "best"
    client.set_terminated(run, "FAILED", 77)
    assert (client.get_run(run).info.status, client.get_run(run).info.end_time) == ("FAILED", 77)
    client.update_run(run, "RUNNING")
    assert client.get_run(run).info.status == "RUNNING"


@pytest.mark.parametrize(
    ("address", "folder"),
    [("journal:a/b c", "a/b c"), ("journal:/x/y", "/x/y"), ("journal:///x/y", "/x/y"), ("journal:.", ".")],
)
def test_an_address_names_a_folder(address: str, folder: str) -> None:
    assert folder_of(address) == Path(folder).absolute()


@pytest.mark.parametrize("address", ["journal:", "journal://host/x"])
def test_an_address_without_a_folder_is_refused(address: str) -> None:
    with pytest.raises(mlflow.MlflowException, match="names no folder"):
        MlflowClient(address)


def test_mlflow_itself_loads_nothing_of_the_store() -> None:
    code = "import json, sys, mlflow; print(json.dumps([m for m in sys.modules if m.startswith('sweeproute.')]))"
    said = python(code, ROOT).communicate()[0]
    assert "sweeproute.mlflow_journal" in json.loads(said)
    assert not [name for name in json.loads(said) if name.startswith("sweeproute.mlflow_journal_")]
