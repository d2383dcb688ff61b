"""Runs that plain MLflow calls make inside a job carry what is known of the job, and others carry nothing of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.tracking.context.registry import resolve_tags

from app_folder import AppFolder
from handmade_sweep import fresh_store
from small_trial import SMALL, composed
from sweeproute import run_facts
from sweeproute.experiment import run_trial
from sweeproute.mlflow_context import SweeprouteRunContext

# What a task's own code, and a process that it starts, would have MLflow's fluent calls write.
APP = '''
import json
import subprocess
import sys

import hydra

ASK = """
import json
from mlflow.tracking.context.registry import resolve_tags
print(json.dumps({key: tag for key, tag in resolve_tags().items() if key.startswith("sweeproute.")}))
"""


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    """Keep what a child process is told."""
    told = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout
    with open(f"told-{cfg.x}.json", "w") as file:
        file.write(told)
    return cfg.x


if __name__ == "__main__":
    main()
'''
CONF = """
defaults: [override hydra/launcher: routed, override hydra/sweeper: search, _self_]
x: 0
"""


def test_a_routed_job_of_any_app_says_which_it_is(tmp_path: Path) -> None:
    AppFolder(tmp_path, APP, {"config.yaml": CONF}).sweep("x=3,4")
    told = [json.loads((tmp_path / f"told-{x}.json").read_text()) for x in (3, 4)]
    assert [tags["sweeproute.trial"] for tags in told] == ["0", "1"]
    assert {tags["sweeproute.platform"] for tags in told} == {"local"}
    assert len({tags["sweeproute.sweep"] for tags in told}) == 1
    assert len({tags["sweeproute.code_hash"] for tags in told}) == 1


def test_a_trial_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def evaluate(*_: object) -> None:
        seen.update(resolve_tags())
        raise ZeroDivisionError

    monkeypatch.setattr("sweeproute.experiment._evaluate", evaluate)
    with composed(tmp_path, "model=glm", "seed=7", *SMALL) as cfg, pytest.raises(ZeroDivisionError):
        run_trial(cfg)
    assert "sweeproute.experiment" not in seen
    ours = {key.removeprefix("sweeproute."): tag for key, tag in seen.items() if key.startswith("sweeproute.")}
    assert ours["seed"] == "7"
    assert ours["device"] == "cpu"
    assert {"fingerprint", "data_hash", "code_hash", "device_class"} <= set(ours)
    assert not SweeprouteRunContext().in_context(), "a warm worker's next job is another"


def test_outside_of_a_run_nothing_is_marked_and_a_broken_word_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(run_facts.VARIABLE, raising=False)
    assert not SweeprouteRunContext().in_context()
    for text in ("{", "[]", "null"):
        monkeypatch.setenv(run_facts.VARIABLE, text)
        assert not SweeprouteRunContext().in_context()


def test_what_was_known_before_is_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(run_facts.VARIABLE, '{"sweep": "s"}')
    with run_facts.adding() as tell:
        tell({"seed": 1, "platform": None})
        assert run_facts.read() == {"sweep": "s", "seed": "1"}
    assert run_facts.read() == {"sweep": "s"}


def test_the_provider_is_there_while_mlflow_is_being_imported() -> None:
    """In a fresh process, where a module that took more from MLflow than is there yet would be dropped."""
    environment = {**os.environ, run_facts.VARIABLE: '{"seed": "5"}'}
    code = "from mlflow.tracking.context.registry import resolve_tags; print(resolve_tags()['sweeproute.seed'])"
    command = [sys.executable, "-W", "error::UserWarning:mlflow", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "5\n", done.stderr
    assert "context provider" not in done.stderr


def test_a_run_goes_to_the_experiment_of_the_config_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = fresh_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    def evaluate(*_: object) -> None:
        for _ in range(2):
            with mlflow.start_run() as run:
                made.append(run.info.run_id)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "named")
        with mlflow.start_run() as run:
            made.append(run.info.run_id)
        monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
        raise ZeroDivisionError

    made: list[str] = []
    monkeypatch.setattr("sweeproute.experiment._evaluate", evaluate)
    words = ("model=glm", "tracking.experiment=thesis", *SMALL)
    with composed(tmp_path, *words) as cfg, pytest.raises(ZeroDivisionError):
        run_trial(cfg)
    with mlflow.start_run() as outside:
        made.append(outside.info.run_id)
    client = MlflowClient(uri)
    experiments = [client.get_experiment(client.get_run(one).info.experiment_id) for one in made]
    assert [one.name for one in experiments] == ["thesis", "thesis", "named", "Default"]
    assert experiments[0].artifact_location == (tmp_path / "mlartifacts" / "thesis").as_uri()


def test_where_the_experiment_was_deleted_the_run_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = fresh_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("gone"))
    monkeypatch.setenv(run_facts.VARIABLE, '{"experiment": "gone"}')
    with mlflow.start_run() as run:
        pass
    assert client.get_run(run.info.run_id).info.experiment_id == "0"
