"""Tests of `sweeproute run --on` on another machine: a line that fails, a power cut, the project's own trials."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from far_app import FarApp, wait_until
from far_commands import Command, at_home
from handmade_sweep import fresh_store
from small_trial import SMALL, compose
from sweeproute.holdout import HoldoutError
from sweeproute.store import connect
from sweeproute.trial_checks import admit
from workstation import Workstation

ROOT = Path(__file__).parents[1]
HOME = "/home/me/.sweeproute/sweeps/sweep_1"
BOX = "registry.platforms.remote_4090"
# Two seasons behind those of the small trials.
LATER = (*SMALL[:-1], "data.last_season=2021", "validation.holdout_seasons=[2020,2021]")


def record(box: Workstation) -> dict:
    """What the sweep's coordinator has on record over there."""
    try:
        return json.loads(box.path(f"{HOME}/sweep/.sweeproute/sweep.json").read_text())
    except (OSError, ValueError):
        return {}


def has_ended(box: Workstation) -> bool:
    """Whether the sweep is over there and its coordinator gone, whose last words come after that."""
    coordinator = json.loads(box.path(f"{HOME}/coordinator.json").read_text())["pid"]
    return record(box).get("state") == "FINISHED" and coordinator not in [pid for pid, _ in box.processes()]


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    """The project's script and configuration, and nothing else: what they import is brought along."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "train.py", folder)
    shutil.copytree(ROOT / "conf", folder / "conf")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", fresh_store(tmp_path))
    return folder


@pytest.fixture
def sweeproute(project: Path, tmp_path: Path, monkeypatch, capsys) -> Command:
    app = FarApp(tmp_path / "unused")
    app.folder, app.environment = project, {**os.environ, "SWEEPROUTE_STATE": str(tmp_path / "state")}
    return at_home(app, monkeypatch, capsys)


def test_a_search_goes_on_while_the_line_is_down_and_its_best_is_found_here(
    workstation: Workstation, sweeproute: Command, project: Path
):
    reach = [f"{BOX}.host={workstation.host}", f"{BOX}.ssh_config={workstation.ssh_config}"]
    here = [*reach, f"{BOX}.python={workstation.python}", f"{BOX}.max_concurrent_jobs=1", f"{BOX}.specs.gpu=false"]
    words = ["model=glm", "search_space=none", "model.params.C=0.1,1", "sweep.id=sweep_1", "sweep.name=night"]
    words += ["tracking.models=none"]
    said = sweeproute("run", "--on", "remote_4090", "--", "-m", *words, *SMALL, *here)
    assert said.code == 0, said.out + said.err
    workstation.black_hole(True)
    began = time.monotonic()
    text = sweeproute("status", "night").out
    assert time.monotonic() - began < 20
    assert " has not answered in time" in text or "cannot be reached" in text
    wait_until(lambda: has_ended(workstation), "the sweep to end by itself", 120)
    workstation.black_hole(False)
    text = sweeproute("status", "night").out
    assert text.startswith("sweep_1 (night): finished at ")
    assert "2 jobs: 2 done\n" in text

    said = sweeproute("sync", "night")
    assert said.code == 0, said.out + said.err
    assert said.out.endswith("2 of 2 runs are written.\n")
    store = connect(os.environ["MLFLOW_TRACKING_URI"])
    experiments = [one.experiment_id for one in store.search_experiments()]
    runs = store.search_runs(experiments, "tags.`sweeproute.kind` = 'trial'")
    assert {run.data.params["model.params.C"] for run in runs} == {"0.1", "1"}
    assert {run.data.tags["sweeproute.platform"] for run in runs} == {"remote_4090"}
    assert all("auc" in run.data.metrics for run in runs)
    again = sweeproute("sync", "night")
    assert again.out.endswith("0 files came from remote_4090.\n2 of 2 runs are written.\n")
    assert len(store.search_runs(experiments)) == 3
    best = sweeproute("best", "--sweep", "night", "--overrides")
    assert best.code == 0, best.err
    assert "model.params.C=" in best.out
    assert HOME not in best.out
    assert "sweep.name=night" in best.out  # as the person has asked for it
    assert "tracking.uri" not in best.out  # that of over there
    # The store of over there is its own.
    assert workstation.path(f"{HOME}/mlflow.db").exists()
    assert (project / "multirun" / "sweep_1" / "0" / "journal.jsonl").exists()


def test_what_it_has_scored_is_known_here_and_its_report_is_made_when_it_has_come_home(
    workstation: Workstation, sweeproute: Command, project: Path, tmp_path: Path, monkeypatch
):
    reach = [f"{BOX}.host={workstation.host}", f"{BOX}.ssh_config={workstation.ssh_config}"]
    here = [*reach, f"{BOX}.python={workstation.python}", f"{BOX}.max_concurrent_jobs=1", f"{BOX}.specs.gpu=false"]
    words = ["model=glm", "search_space=none", "model.params.C=0.1,1", *LATER, "holdout=true"]
    words += ["tracking.models=none"]
    report = ["report.figures=false", "report.copy_to=thesis", "report.resamples=50"]
    said = sweeproute("run", "--on", "remote_4090", "--", "-m", *words, *report, "sweep.id=sweep_1", *here)
    assert said.code == 0, said.out + said.err
    wait_until(lambda: has_ended(workstation), "the sweep to end by itself", 180)
    assert not (project / "reports").exists()

    # The store is not there: the words that make the report later are said.
    store = os.environ["MLFLOW_TRACKING_URI"]
    monkeypatch.chdir(tmp_path)
    said = sweeproute("sync", "sweep_1", "--uri", "http://127.0.0.1:9")
    assert said.code == 1
    assert "`sweeproute report sweep_1 --log report.figures=false report.copy_to=thesis" in said.out + said.err
    assert "Scored over there on seasons 2020 to 2021, and from now on known here: GLM." in said.out

    said = sweeproute("sync", "sweep_1", "--uri", store)
    assert said.code == 0, said.out + said.err
    assert "Scored over there" not in said.out
    assert "3 of 3 runs are written.\nReport: reports/sweep_1, " in said.out
    assert (project / "reports" / "sweep_1").is_dir()
    assert any((project / "thesis").iterdir())
    assert sweeproute("sync", "sweep_1").out.endswith("0 files came from remote_4090.\n3 of 3 runs are written.\n")

    monkeypatch.chdir(project)
    with pytest.raises(HoldoutError, match="Seasons of 2020 to 2021 were scored for GLM before, by sweep sweep_1"):
        admit(compose("model=glm", *LATER, "holdout=true"), {"metric": "auc", "direction": "maximize", "repeats": []})


def test_after_a_power_cut_the_coordinator_is_dead_and_goes_on_with_resume(
    workstation: Workstation, tmp_path: Path, monkeypatch, capsys
):
    workstation.run("mkdir at")
    app = FarApp(
        tmp_path, workstation.python, workstation.ssh_config, workstation.host, workstation.path("/home/me/at")
    )
    sweeproute = at_home(app, monkeypatch, capsys)
    words = [word for word in app.words if not word.startswith("at=")] + ["at=/home/me/at"]
    words += ["kind=heavy", "x=1,2,3", "wait=[2,3]", "hydra.sweeper.id=sweep_1"]
    said = sweeproute("run", "--on", "box", "--app", "app.py", "--", "-m", *words)
    assert said.code == 0, said.out + said.err
    wait_until(lambda: len(app.executions()) == 3, "one to be done, two to run")
    wait_until(lambda: "1 done, 2 running" in sweeproute("status", "last").out, "them to be on record")
    workstation.power_off()
    assert "sweep_1 was seen last at " in sweeproute("status", "last").out
    workstation.power_on()
    app.at = workstation.path("/home/me/at")
    text = sweeproute("status", "last").out
    assert text.startswith("sweep_1: stopped: process ")
    assert "3 jobs: 1 done, 2 stopped\n" in text
    app.go()
    said = sweeproute("resume", "last")
    assert said.code == 0, said.err
    wait_until(lambda: has_ended(workstation), "the end", 120)
    assert "3 jobs: 3 done\n" in sweeproute("status", "last").out
    assert app.executions() == {1: 1, 2: 2, 3: 2}
    assert sweeproute("sync", "last").code == 0
