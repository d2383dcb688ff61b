"""A plan's file says all that is needed to run it, under names that its readers know."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hydra_plugins.sweeproute import _plan, _plan_file, _plan_text
from hydra_plugins.sweeproute._compose import Composer
from hydra_plugins.sweeproute._plan_after import Afterwards, Following
from hydra_plugins.sweeproute._source import Points
from routed_app import CONF, MASTER, on_eight_cores, settings
from small_app import singletons_kept, start_sweep

GLMS = {0: ("model=glm", "trial.depth=1", "priority=3"), 1: ("model=glm", "trial.depth=2", "priority=3")}


@pytest.fixture(scope="module")
def composer(tmp_path_factory):
    with singletons_kept():
        yield Composer(*start_sweep(tmp_path_factory.mktemp("app"), CONF))


@pytest.fixture
def written(tmp_path, monkeypatch, composer):
    """From points to what plan.json holds."""
    on_eight_cores(monkeypatch)
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "app.py"), "-m"])

    def write(points):
        plan = _plan.make(settings(), MASTER, composer, Points(points))
        path = _plan_file.write(plan, composer, None, tmp_path / "sweep")
        assert path == tmp_path / "sweep" / "plan.json"
        return json.loads(path.read_text())

    return write


def test_a_plan_of_one_model_describes_its_grid(written):
    content = written(GLMS)
    assert (content["model_type"], content["total_configs"]) == ("GLM", 2)
    assert content["param_grid"] == {"trial.depth": [1, 2]}
    assert content["base_config"]["model"] == {"type": "GLM", "size": 1, "deep": {"kind": "a"}}
    assert content["base_config"]["follows"]["device"] == "${trial.device}"
    assert "hydra" not in content["base_config"]
    assert content["distribution"] == {"here": 2, "box": 0, "far": 0}
    assert content["unavailable"] == {"far": "has no host configured (set hydra.launcher.platforms.far.host)"}
    assert content["estimated_duration_minutes"] == 2.0
    assert content["sequential_duration_minutes"] == 4.0
    assert content["jobs"][1] == {
        "job": 1,
        "overrides": ["model=glm", "trial.depth=2", "priority=3"],
        "model_type": "GLM",
        "platform": "here",
        "status": "scheduled",
        "reason": "no rule matches",
        "considered": [],
        "starts_after_minutes": 0.0,
        "estimated_minutes": 2.0,
        "estimated_from": "stated",
        "shared_fit": None,
    }


def test_a_plan_of_several_models_describes_each(written):
    content = written(GLMS | {2: ("model=net", "memory=2"), 3: ("model=net", "memory=3")})
    assert content["model_type"] == ["GLM", "Net"]
    assert content["param_grid"] == {"model=glm": {"trial.depth": [1, 2]}, "model=net": {"memory": [2, 3]}}
    assert {name: base["model"]["type"] for name, base in content["base_config"].items()} == {
        "model=glm": "GLM",
        "model=net": "Net",
    }


def test_a_plan_says_how_to_run_it_and_what_must_not_change(written, tmp_path):
    content = written(GLMS)
    assert content["argv"] == [str(tmp_path / "app.py"), "-m"]
    assert (content["cwd"], content["python"]) == (str(Path.cwd()), sys.executable)
    assert content["identity"].keys() == {"model=glm"}
    assert content["identity"]["model=glm"].keys() == {"code_hash", "fingerprint"}
    assert content["identity"] == written(GLMS)["identity"]
    (tmp_path / "more.py").write_text("x = 1\n")
    changed = written(GLMS)["identity"]["model=glm"]
    assert changed["code_hash"] != content["identity"]["model=glm"]["code_hash"]
    assert changed["fingerprint"] == content["identity"]["model=glm"]["fingerprint"]


def test_an_app_with_hashes_of_its_own_is_asked_for_them(composer, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_hashes.py").write_text(
        "def of(cfg):\n    return {'data_hash': f'{cfg.model.type}{cfg.trial.depth}'}\n"
    )
    found = _plan_file.identities(composer, "own_hashes.of", GLMS | {2: ("model=net",)})
    assert found == {"model=glm": {"data_hash": "GLM1"}, "model=net": {"data_hash": "Net3"}}


def test_what_follows_has_a_key_of_its_own_and_is_no_job_of_the_plan(composer, tmp_path, monkeypatch):
    on_eight_cores(monkeypatch)
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "app.py"), "-m"])
    plan = _plan.make(settings(), MASTER, composer, Points(GLMS))
    following = (Following(1, "one of them again.", (("model=glm", "trial.depth=1"),)),)
    plan = replace(plan, afterwards=Afterwards(following, 150.0, 300.0), seconds=plan.seconds + 150.0)
    content = json.loads(_plan_file.write(plan, composer, None, tmp_path / "sweep").read_text())
    assert content["afterwards"] == [
        {"round": 1, "says": "one of them again.", "at_most": 1, "such_as": [["model=glm", "trial.depth=1"]]}
    ]
    assert (content["afterwards_duration_minutes"], content["estimated_duration_minutes"]) == (2.5, 4.5)
    assert content["afterwards_sequential_duration_minutes"] == 5.0
    # Of the same jobs as the estimate, and as what a person reads.
    assert content["sequential_duration_minutes"] == 9.0
    said = f"({_plan_text.length(60 * content['sequential_duration_minutes'])} one job after another)"
    assert any(said in line for line in _plan_text.lines(plan, None))
    assert (content["total_configs"], len(content["jobs"])) == (2, 2)
