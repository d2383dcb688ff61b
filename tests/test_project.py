"""`mlflow run`: parameters become the command that a person would type, and the project's run is the sweep's parent."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from handmade_sweep import fresh_store
from small_trial import ONE_SLOT, ROOT, SMALL
from sweeproute.project import ProjectError, command, main
from sweeproute.store import connect

ENTRIES = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))["entry_points"]


@pytest.mark.parametrize(
    ("entry", "words", "typed"),
    [
        ("main", ["model=glm", "seed=7", "overrides="], ["train.py", "model=glm", "seed=7"]),
        (
            "sweep",
            ["model=glm,xgboost", "overrides=seed=1,2,3 model.params.max_depth=4"],
            ["train.py", "-m", "model=glm,xgboost", "seed=1,2,3", "model.params.max_depth=4"],
        ),
        (
            "sweep",
            ["model=glm", "overrides=a=[1,2] 'b=choice(1, 2)' sweep.note=\"it's *\""],
            ["train.py", "-m", "model=glm", "a=[1,2]", "b=choice(1, 2)", "sweep.note=it's *"],
        ),
        (
            "main",
            ["model=glm", "overrides=", "--model.params.C", "0.5", "--data", "nfl"],
            ["train.py", "model=glm", "model.params.C=0.5", "data=nfl"],
        ),
        ("best", ["sweep=", "metric=brier"], ["-m", "sweeproute", "best", "--metric", "brier"]),
        (
            "report",
            ["sweep=last", "to=", "copy_to=my thesis", "overrides=report.alpha=0.01"],
            ["-m", "sweeproute", "report", "last", "--copy-to", "my thesis", "report.alpha=0.01"],
        ),
        ("reproduce", ["run=0a1b2c"], ["-m", "sweeproute", "reproduce", "0a1b2c"]),
        (
            "promote",
            ["run=last", "name=nfl-win", "alias=champion"],
            ["-m", "sweeproute", "promote", "last", "--name", "nfl-win", "--alias", "champion"],
        ),
        ("sync", ["sweep=last"], ["-m", "sweeproute", "sync", "last"]),
    ],
)
def test_parameters_become_the_command(entry: str, words: list[str], typed: list[str]) -> None:
    assert command(entry, words) == [sys.executable, *typed]


@pytest.mark.parametrize(
    ("entry", "words", "says"),
    [
        ("sweep", ["model=glm", "overrides=sweep.note='a"], "a quote has no other half"),
        (
            "best",
            ["sweep=", "--metrik", "auc"],
            "The entry point best has no parameter 'metrik'. It has: sweep, metric",
        ),
    ],
)
def test_what_makes_no_command_is_a_sentence(entry, words, says, capsys) -> None:
    with pytest.raises(ProjectError, match=says):
        command(entry, words)
    assert main([entry, *words], become=lambda *_: pytest.fail("it became something")) == 2
    assert says in capsys.readouterr().err


def test_a_store_that_refuses_keeps_nothing_from_ending(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", fresh_store(tmp_path))
    assert main(["refused", "There is no such model."]) == 0
    assert main(["sweep", "model=glm", "overrides='"], become=lambda *_: pytest.fail("it became something")) == 2
    *_, said = capsys.readouterr().err.splitlines()
    assert said.startswith(f"The project's run {'0' * 32} does not say so, since its store refuses: ")


def test_each_entry_point_passes_all_that_it_declares() -> None:
    for name, entry in ENTRIES.items():
        parameters = entry["parameters"]
        assert all(
            {"type", "default", "description"} >= set(one) >= {"type", "description"} for one in parameters.values()
        )
        assert entry["command"].endswith(
            f"sweeproute.project {name} " + " ".join(f"{key}={{{key}}}" for key in parameters)
        )


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory):
    """Runs `mlflow run` on the project, with a store of its own."""
    folder = tmp_path_factory.mktemp("project")
    uri = fresh_store(folder)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "SWEEPROUTE_STATE": str(folder / "state"),
    }

    def run(*words: str, code: int = 0) -> str:
        mlflow = [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", *words]
        done = subprocess.run(mlflow, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run, uri, folder


def test_a_sweep_of_several_overrides_is_below_the_projects_run_and_the_best_of_it_is_found(projects) -> None:
    run, uri, folder = projects
    small = " ".join((ONE_SLOT, "tracking.models=none", *SMALL))
    words = f"model.params.C=0.1,1 'sweep.note=two words' plots=false hydra.sweep.dir={folder}/out {small}"
    run("-e", "sweep", "-P", "model=glm", "-P", f"overrides={words}", "-P", "seed=1,2")
    client = connect(uri)
    (experiment,) = [one.experiment_id for one in client.search_experiments() if one.name == "Default"]
    found = client.search_runs([experiment])
    (parent,) = [one for one in found if "mlflow.parentRunId" not in one.data.tags]
    children = [one for one in found if one is not parent]
    assert {one.data.tags["mlflow.parentRunId"] for one in children} == {parent.info.run_id}
    ran = {(one.data.params["model.params.C"], one.data.params["seed"]) for one in children}
    assert ran == {("0.1", "1"), ("0.1", "2"), ("1", "1"), ("1", "2")}
    assert len(children) == 4, "nothing is logged twice"
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["sweeproute.sweep"] == children[0].data.tags["sweeproute.sweep"]

    said = run("-e", "best", "-P", "sweep=last", "-P", "metric=auc")
    assert "$ sweeproute best --sweep last --metric auc" in said
    newest = client.search_runs([experiment], order_by=["attributes.start_time DESC"])[0]
    assert "python train.py" in newest.data.tags["mlflow.note.content"]


def test_a_sweep_that_fails_is_a_project_run_that_failed_and_says_why(projects) -> None:
    run, uri, folder = projects
    words = f"model.params.C=1,2 model.params.max_iter=1 plots=false {' '.join(SMALL)} hydra.sweep.dir={folder}/failed"
    words += " data.path=/no/such/games.csv data=nfl"
    said = run("-e", "sweep", "-P", "model=glm", "-P", f"overrides={words}", code=1)
    assert "/no/such/games.csv" in said
    (failed,) = [
        one
        for one in connect(uri).search_runs(["0"], "attributes.status = 'FAILED'")
        if "mlflow.parentRunId" not in one.data.tags
    ]
    assert "/no/such/games.csv" in json.dumps(failed.data.tags)
