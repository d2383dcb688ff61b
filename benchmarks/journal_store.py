"""Times logging into journals, and their replay, beside plain MLflow in the same call."""

import argparse
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import mlflow
from mlflow.entities import Experiment, LifecycleStage, Metric, Param, Run, RunData, RunInfo, RunTag
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.tracking import MlflowClient
from mlflow.tracking._tracking_service import utils

from sweeproute.journal import Journal
from sweeproute.mlflow_journal_sync import sync
from sweeproute.store import absolute

PARAMS = {f"p{number}": number / 7 for number in range(40)}
METRICS = [f"m{number}" for number in range(10)]
TAGS = {f"t{number}": "x" * 20 for number in range(5)}
STEPS = 20
NOTHING = "a store that does nothing"


class NoStore(AbstractStore):
    """Keeps nothing: what MLflow itself costs."""

    artifacts = Path()

    def get_experiment(self, experiment_id: str) -> Experiment:
        return Experiment(experiment_id, "Default", self.artifacts.as_uri(), LifecycleStage.ACTIVE)

    def create_run(self, experiment_id: str, user_id: str, start_time: int, tags: list[RunTag], **_: object) -> Run:
        return Run(self._info(uuid.uuid4().hex, experiment_id, user_id, start_time), RunData([], [], tags))

    def get_run(self, run_id: str) -> Run:
        return Run(self._info(run_id, "0", "me", 0), RunData([], [], []))

    def update_run_info(self, run_id: str, **_: object) -> RunInfo:
        return self._info(run_id, "0", "me", 0)

    def log_batch(self, **_: object) -> None:
        pass

    def _info(self, id: str, experiment: str, user: str, start: int) -> RunInfo:
        location = f"file://{self.artifacts}/{id}/artifacts"
        return RunInfo(id, experiment, user, "RUNNING", start, None, LifecycleStage.ACTIVE, location)


def through_mlflow(file: Path) -> None:
    """A run by MLflow's fluent calls."""
    with mlflow.start_run():
        mlflow.log_params(PARAMS)
        mlflow.set_tags(TAGS)
        for step in range(STEPS):
            mlflow.log_metrics(dict.fromkeys(METRICS, step / 10), step=step)
        mlflow.log_artifact(str(file))


def through_journal(folder: Path) -> None:
    """The same by our own API, which a trial uses."""
    with Journal.open(folder, "run", TAGS) as journal:
        journal.params(PARAMS)
        for step in range(STEPS):
            journal.metrics(dict.fromkeys(METRICS, step / 10), step)
        (folder / "file.txt").write_text("x")
        journal.artifact("file.txt")


def by_client(client: MlflowClient, experiment: str, name: str, file: Path) -> None:
    """The same by the fewest calls of MLflow's client into a store: what a replay cannot do without."""
    run = client.create_run(experiment, 1_700_000_000_000, run_name=name).info.run_id
    metrics = [Metric(one, step / 10, 1_700_000_000_000 + step, step) for step in range(STEPS) for one in METRICS]
    params = [Param(key, str(value)) for key, value in PARAMS.items()]
    client.log_batch(run, metrics, params, [RunTag(key, value) for key, value in TAGS.items()])
    client.log_artifact(run, str(file))
    client.set_terminated(run, "FINISHED", 1_700_000_001_000)


def milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """How long a call takes, and how much of that its process had a processor."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - start) * 1e3, (time.process_time() - busy) * 1e3


def logging_costs(folder: Path, file: Path, runs: int) -> None:
    """Compare the ways to log, taking turns, so that what else the machine does meets all alike."""
    NoStore.artifacts = folder / "nothing"
    utils._tracking_store_registry.register("nothing", lambda **_: NoStore())
    ways: dict[str, Callable[[], None]] = {
        NOTHING: lambda: through_mlflow(file),
        "journal:": lambda: through_mlflow(file),
        "our own API": lambda: through_journal(folder / "ours" / uuid.uuid4().hex),
        "SQLite": lambda: through_mlflow(file),
    }
    uris = {
        NOTHING: "nothing:",
        "journal:": f"journal:{folder / 'journals'}",
        "SQLite": f"sqlite:///{folder / 'plain.db'}",
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(runs + 3):
        for name, way in ways.items():
            if name in uris:
                mlflow.set_tracking_uri(uris[name])
            if name == "SQLite" and number > 23:
                continue
            took = milliseconds(way)
            if number >= 3:
                spent[name].append(took)
    medians = {name: [statistics.median(kind) for kind in zip(*took, strict=True)] for name, took in spent.items()}
    for name, (elapsed, busy) in medians.items():
        print(f"log a run, {name}: {elapsed:.2f} ms, {busy:.2f} of a processor (median of {len(spent[name])})")
    elapsed, busy = (ours / none for ours, none in zip(medians["journal:"], medians[NOTHING], strict=True))
    print(f"journal: over a store that does nothing: {elapsed:.2f} times, {busy:.2f} by time of the processor")


def replay_costs(folder: Path, file: Path, runs: int) -> None:
    """Compare a replay with bare calls of the client, in alternating parts of a tenth of the runs each."""
    bare = MlflowClient(f"sqlite:///{folder / 'bare.db'}")
    experiment = bare.create_experiment("bare", (folder / "bare").as_uri())
    target = absolute(f"sqlite:///{folder / 'replayed.db'}")
    MlflowClient(target)
    spent = {"replay": 0.0, "bare": 0.0}
    part = max(1, runs // 10)
    for tenth in range(runs // part):
        mlflow.set_tracking_uri(f"journal:{folder / f'part-{tenth}'}")
        for _ in range(part):
            through_mlflow(file)
        journals = folder / f"part-{tenth}"
        spent["replay"] += milliseconds(lambda journals=journals: sync(journals, target))[0]
        for number in range(part):
            spent["bare"] += milliseconds(lambda number=number: by_client(bare, experiment, f"run {number}", file))[0]
    done = part * (runs // part)
    for name, total in spent.items():
        print(f"{name} of {done} runs: {total / done:.1f} ms a run")
    print(f"replay over bare calls of MlflowClient: {spent['replay'] / spent['bare']:.2f} times")
    check(target, done)


def check(uri: str, runs: int) -> None:
    """Nothing lost, in order."""
    client = MlflowClient(uri)
    found, token = [], None
    while token != "":
        page = client.search_runs(["0"], "", order_by=["attributes.start_time ASC"], max_results=500, page_token=token)
        found += page
        token = page.token or ""
    whole = [
        run
        for run in found
        if len(run.data.params) == len(PARAMS)
        and run.info.status == "FINISHED"
        and run.data.metrics == dict.fromkeys(METRICS, (STEPS - 1) / 10)
        and all(run.data.tags[key] == value for key, value in TAGS.items())
    ]
    steps = [metric.step for metric in client.get_metric_history(found[0].info.run_id, "m0")]
    assert len(whole) == len(found) == runs, f"{len(whole)} whole runs, {len(found)} in all, of {runs}"
    assert sorted(steps) == list(range(STEPS))
    print(f"nothing lost: {len(whole)} runs whole")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logged", type=int, default=100, help="runs logged by each way; 20 on SQLite")
    parser.add_argument("--replayed", type=int, default=1000)
    asked = parser.parse_args()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        file = folder / "file.txt"
        file.write_text("x")
        logging_costs(folder, file, asked.logged)
        replay_costs(folder, file, asked.replayed)


if __name__ == "__main__":
    main()
