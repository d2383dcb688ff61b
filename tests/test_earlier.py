"""A result that an earlier sweep has of the same configuration, code and data is taken over, and not computed again."""

import json
from pathlib import Path

import pytest

from test_adaptive import App

MARKS = """
import hashlib

from omegaconf import OmegaConf


def identity(cfg):
    told = OmegaConf.to_yaml(cfg) + open("version").read()
    return {"fingerprint": hashlib.sha256(told.encode()).hexdigest(), "code_hash": "0" * 64, "data_hash": "0" * 64}
"""
REUSE = ("hydra.sweeper.reuse=true", "hydra.launcher.identity=marks.identity")
GRID = ("hydra.sweeper.sampler=grid", "hydra.sweeper.n_trials=null", "hydra.launcher.identity=marks.identity")


@pytest.fixture
def app(tmp_path: Path) -> App:
    app = App(tmp_path)
    (tmp_path / "marks.py").write_text(MARKS)
    (tmp_path / "version").write_text("1")
    app.environment["PYTHONPATH"] = f"{tmp_path}:{app.environment.get('PYTHONPATH', '')}"
    return app


def test_a_grid_runs_only_what_no_earlier_sweep_has(app: App):
    app.sweep(*GRID, "x=0.1,0.2", "hydra.sweep.dir=first")
    said = app.sweep(*GRID, *REUSE, "x=0.1,0.2,0.3")
    assert "2 of 3 jobs need not run: earlier sweeps have their results." in said
    assert [line.split()[1] for line in app.ran()[2:]] == ["0.3"]
    first, second, third = app.launches()
    assert first["reused"] == {
        "sweep": app.launches("first")[0]["sweep"],
        "job": 0,
        "folder": str(app.folder / "first" / "0"),
    }
    assert (first["decision"], first["state"], first["current"], first["run_s"]) == ("reused", "FINISHED", True, 0.0)
    assert second["value"] == app.launches("first")[1]["value"]
    assert "reused" not in third
    assert (app.folder / "out" / "0" / ".hydra" / "overrides.yaml").read_text() == "- x=0.1\n"


def test_another_code_is_another_result(app: App):
    app.sweep(*GRID, "x=0.1,0.2", "hydra.sweep.dir=first")
    (app.folder / "version").write_text("2")
    app.sweep(*GRID, *REUSE, "x=0.1,0.2")
    assert len(app.ran()) == 4


def test_a_search_is_told_what_an_earlier_one_has(app: App):
    words = ("hydra.sweeper.sampler=qmc", "hydra.launcher.identity=marks.identity")
    app.sweep(*words, "hydra.sweeper.n_trials=3", "hydra.sweep.dir=first")
    said = app.sweep(*words, *REUSE, "hydra.sweeper.n_trials=5")
    assert "3 jobs did not run: earlier sweeps had their results." in said
    assert len(app.ran()) == 5
    assert len(app.study().trials) == 5
    states = [one.get("decision") for one in app.launches()]
    assert states.count("reused") == 3
    record = json.loads((app.folder / "out" / ".sweeproute" / "sweep.json").read_text())
    assert (record["state"], record["total"]) == ("FINISHED", 5)


def test_a_failed_job_is_no_result(app: App):
    app.sweep(*GRID, "x=0.1", "y=good,bad", "hydra.sweep.dir=first", code=1)
    app.sweep(*GRID, *REUSE, "x=0.1", "y=good,bad", code=1)
    assert len(app.ran()) == 3


def test_without_an_identity_nothing_can_be_told_to_be_the_same(app: App):
    said = app.sweep("hydra.sweeper.reuse=true", code=1)
    assert "hydra.sweeper.reuse=true needs to know when two jobs are the same." in said
    assert "Traceback" not in said


def test_what_followed_another_sweep_is_no_result_to_choose_by(app: App):
    app.sweep(*GRID, "x=0.1,0.2", "hydra.sweep.dir=first")
    record = app.folder / "first" / "1" / "launch.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"follow_up": True}))
    app.sweep(*GRID, *REUSE, "x=0.1,0.2")
    assert len(app.ran()) == 3
    assert not any("follow_up" in one for one in app.launches())
