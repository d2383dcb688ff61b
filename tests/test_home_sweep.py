"""Tests of the main job: `python train.py -m ...`, swept, routed, tracked, and gone on with after it was stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import waiting_model
from handmade_sweep import fresh_store
from small_trial import ONE_SLOT, SMALL, composed, end, start
from sweeproute import registry
from sweeproute.experiment import run_trial
from sweeproute.store import connect

NO_HOST = "remote_4090 has no host configured (set registry.platforms.remote_4090.host)"
# Models of the person's own, each a file, one with a search space in a file beside it.
OWN = {
    "model/small_glm.yaml": "# @package _global_\ndefaults: [glm]\nmodel: {params: {max_iter: 300}}\n",
    "search_space/small_glm.yaml": "axes: {model.params.C: [0.01, 0.1, 1.0]}\n",
    "model/small_trees.yaml": "# @package _global_\ndefaults: [xgboost]\nmodel: {params: {n_estimators: 10}}\n",
    "search_space/small_trees.yaml": "axes: {model.params.max_depth: [1, 2], model.params.learning_rate: [0.1, 0.3]}\n",
    "model/waiting.yaml": waiting_model.CONF,
}


class Home:
    """A folder to start commands from, with a store and models of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in OWN.items():
            path = folder / "own" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.uri = fresh_store(folder)
        self.environment = {
            "SWEEPROUTE_STATE": str(folder / "state"),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        }

    def start(self, *words: str, experiment: str = "home") -> "subprocess.Popen[str]":
        own = f"hydra.searchpath=[file://{self.folder / 'own'}]"
        environment = self.environment | {"MLFLOW_EXPERIMENT_NAME": experiment}
        return start(self.folder, "-m", *words, *SMALL, own, uri=self.uri, **environment)

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        """Start `sweeproute WORDS`."""
        return subprocess.Popen(
            [sys.executable, "-m", "sweeproute", *words],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def runs(self, kind: str = "trial", experiment: str = "home") -> list[Any]:
        client = connect(self.uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return []
        runs = client.search_runs([found.experiment_id], f"tags.`sweeproute.kind` = '{kind}'")
        return sorted(runs, key=lambda run: int(run.data.tags.get("sweeproute.trial", -1)))


def gates(folder: Path) -> set[int]:
    """Numbers of the trials that have come to the gate."""
    return {int(path.suffix[1:]) for path in folder.glob("gate.*")}


def states(folder: Path) -> dict[str, str]:
    """State of each job's first attempt, by its number."""
    return {p.parent.name: json.loads(p.read_text())["state"] for p in folder.glob("multirun/*/?/launch.json")}


def tags(run: Any) -> dict[str, str]:
    return {name.removeprefix("sweeproute."): value for name, value in run.data.tags.items()}


def wait_until(true: Callable[[], Any], what: str, seconds: float = 90) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, str]:
    """A sweep over two models with a space each, routed and asked for; what it printed."""
    home = Home(tmp_path_factory.mktemp("swept"))
    return home, end(home.start("model=small_glm,small_trees", "platform=auto,local_m4", "sweep.name=both"))


@pytest.mark.spawn
def test_each_model_walks_its_own_space(swept: tuple[Home, str]) -> None:
    home, _ = swept
    points = Counter(run.data.params["model.type"] for run in home.runs())
    assert points == {"GLM": 2 * 3, "XGBoost": 2 * 4}
    assert {run.data.params.get("model.params.C") for run in home.runs()} == {None, "0.01", "0.1", "1.0"}
    assert {run.data.params.get("model.params.n_estimators") for run in home.runs()} == {None, "10"}


@pytest.mark.spawn
def test_decisions_and_their_reasons_stand_in_the_runs(swept: tuple[Home, str]) -> None:
    home, output = swept
    told = Counter((run.data.params["model.type"], *map(tags(run).get, ("decision", "reason"))) for run in home.runs())
    assert told == {
        ("GLM", "scheduled", "CPU-bound, R tidymodels optimized"): 3,
        ("GLM", "scheduled", "asked for"): 3,
        ("XGBoost", "scheduled_fallback", NO_HOST): 4,
        ("XGBoost", "scheduled", "asked for"): 4,
    }
    assert output.count(NO_HOST) == 1
    for run in home.runs():
        assert run.info.status == "FINISHED"
        told = tags(run)
        assert (told["platform"], told["device"], told["current"], told["attempt"]) == ("local_m4", "cpu", "true", "1")
        assert float(told["queue_s"]) >= 0
        assert float(told["run_s"]) > 0


@pytest.mark.spawn
def test_a_sweep_is_a_parent_with_a_child_for_each_trial(swept: tuple[Home, str]) -> None:
    home, _ = swept
    (parent,) = home.runs("sweep")
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "both"
    assert {run.data.tags["mlflow.parentRunId"] for run in home.runs()} == {parent.info.run_id}
    assert [tags(run)["trial"] for run in home.runs()] == [str(number) for number in range(14)]
    assert len({tags(run)["fingerprint"] for run in home.runs()}) == 7, "the platform is no part of a fingerprint"


@pytest.mark.spawn
def test_the_last_lines_are_the_best_configuration_and_what_to_do_next(swept: tuple[Home, str]) -> None:
    home, output = swept
    (parent,) = home.runs("sweep")
    sweep = tags(parent)["sweep"]
    lines = output.splitlines()
    assert f"Sweep {sweep} (both): 14 jobs, 14 finished" in lines
    best = max(home.runs(), key=lambda run: (run.data.metrics["auc"], -int(tags(run)["trial"])))
    at = lines.index(f"Best auc: job {tags(best)['trial']} on local_m4")
    assert lines[at + 1].startswith(f"  auc={best.data.metrics['auc']:.4f}  ")
    assert all(word in lines[at + 2].replace("'", "") for word in json.loads(tags(best)["overrides"]))
    assert lines[-2:] == [
        f"Next: mlflow ui --backend-store-uri {home.uri}",
        f"      sweeproute best --sweep {sweep} --metric auc",
    ]


@pytest.mark.spawn
def test_only_the_best_keeps_its_model(swept: tuple[Home, str]) -> None:
    home, output = swept
    client = connect(home.uri)
    with_model = [run for run in home.runs() if any(a.path == "model" for a in client.list_artifacts(run.info.run_id))]
    assert [f"Best auc: job {tags(run)['trial']} on local_m4" in output for run in with_model] == [True]
    (first, *_) = home.runs()
    assert {a.path for a in client.list_artifacts(first.info.run_id)} >= {"config.yaml", "predictions.parquet"}


@pytest.mark.spawn
def test_the_overrides_of_the_best_run_reproduce_it(swept: tuple[Home, str], tmp_path: Path) -> None:
    home, _ = swept
    best = registry.best("both", uri=home.uri)
    own = f"hydra.searchpath=[file://{home.folder / 'own'}]"
    with composed(tmp_path, *best.overrides, own) as config:
        again = run_trial(config)
    assert again.items() <= best.metrics.items()


# Settings of each launcher, and how many of the two trials it runs: submitit starts a process for each.
LAUNCHERS = {
    "basic": (("hydra/launcher=basic", "hydra/sweeper=basic"), 2),
    "joblib": (("hydra/launcher=joblib", "hydra.launcher.n_jobs=1"), 2),
    "submitit": (("hydra/launcher=submitit_local",), 2),
    "submitit_basic": (("hydra/launcher=submitit_local", "hydra/sweeper=basic"), 1),
}


def test_other_launchers_run_the_same_trials_tracked_with_the_same_metrics(tmp_path: Path) -> None:
    home = Home(tmp_path)
    points = ("model.params.C=0.01", "model.params.C=0.1")
    names = list(LAUNCHERS)
    for pair in (names[:2], names[2:]):
        started = {}
        for name in pair:
            settings, count = LAUNCHERS[name]
            trials = "model.params.C=" + ",".join(point.partition("=")[2] for point in points[:count])
            started[name] = home.start("model=glm", trials, "tracking.models=none", *settings, experiment=name)
        for name, process in started.items():
            count = LAUNCHERS[name][1]
            assert f"{count} jobs, {count} finished" in end(process)
    metrics = {}
    for name, (_, count) in LAUNCHERS.items():
        (parent,) = home.runs("sweep", name)
        assert parent.info.status == "FINISHED", name
        runs = home.runs(experiment=name)
        assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parent.info.run_id}, name
        told = [(run.info.status, tags(run)["trial"], tags(run)["current"]) for run in runs]
        assert told == [("FINISHED", str(number), "true") for number in range(count)], name
        assert [json.loads(tags(run)["overrides"])[1] for run in runs] == list(points[:count]), name
        metrics[name] = [
            {metric: value for metric, value in run.data.metrics.items() if metric not in ("fit_s", "predict_s")}
            for run in runs
        ]
    first, second = metrics["basic"]
    assert first != second
    assert {name for name, (_, count) in LAUNCHERS.items() if metrics[name] != [first, second][:count]} == set()


def test_a_sweep_that_was_killed_then_stopped_is_finished_by_resume(tmp_path: Path) -> None:
    home = Home(tmp_path)
    gate = tmp_path / "gate"
    words = ("model=waiting", f"model.params.gate={gate}", "tracking.models=none", "sweep.name=gone_on_with", ONE_SLOT)

    # kill -9 of the coordinator, its workers and its tracker.
    process = home.start(*words, "model.params.number=range(4)", "model.params.passes=1")
    wait_until(lambda: gates(tmp_path) == {0, 1}, "one trial to finish and one to wait")
    wait_until(lambda: states(tmp_path).get("0") == "FINISHED", "the record of the first")
    for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        one.kill()
    process.communicate(timeout=30)
    end(home.begin("sync", "gone_on_with"))
    assert home.runs()[0].info.status == "FINISHED"

    # Ctrl-C of the sweep that goes on; its shell names no store, so that the sweep's own is taken.
    (tmp_path / "gate.1").unlink()
    process = home.begin("resume", "gone_on_with")
    wait_until(lambda: gates(tmp_path) == {0, 1}, "one trial to wait again")
    process.send_signal(signal.SIGINT)
    output = end(process, 130)
    assert "Traceback" not in output
    assert "4 jobs, 1 finished, 1 stopped" in output
    (parent,) = home.runs("sweep")
    assert f"Next: sweeproute resume {tags(parent)['sweep']}" in output
    assert parent.info.status == "KILLED"
    assert [run.info.status for run in home.runs()] == ["FINISHED", "KILLED", "KILLED"]

    gate.touch()
    assert "4 jobs, 4 finished" in end(home.begin("resume", "last"))
    (parent,) = home.runs("sweep")
    assert parent.info.status == "FINISHED"
    told = Counter((tags(run)["trial"], run.info.status, tags(run)["current"]) for run in home.runs())
    assert told == {(number, "FINISHED", "true"): 1 for number in "0123"} | {("1", "KILLED", "false"): 2}
