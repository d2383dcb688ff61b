"""Commands read the hardware registry as the app's own script would."""

import json

import pytest
from hydra.core.singleton import Singleton

from small_trial import ROOT
from sweeproute.commands.composing import NoAppError, registry
from sweeproute.errors import explain


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    """A folder without an app, on an account without sweeps."""
    state = Singleton.get_state()
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    yield
    Singleton.set_state(state)


def test_overrides_reach_the_registry_of_the_app_in_this_folder(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = registry(["registry.platforms.remote_4090.host=me@box"])
    assert list(found.platforms)[:2] == ["local_m4", "remote_4090"]
    assert found.settings["remote_4090"].host == "me@box"
    assert "remote_4090" not in found.unavailable
    assert "set registry.platforms.remote_4090.host" in registry([]).unavailable["remote_4090"]


def test_elsewhere_the_app_is_that_of_the_newest_sweep(tmp_path):
    (tmp_path / "state" / "sweeps").mkdir(parents=True)
    pointer = {"id": "sweep_a", "folder": "gone", "argv": ["train.py", "-m"], "cwd": str(ROOT), "started": 1.0}
    (tmp_path / "state" / "sweeps" / "sweep_a.json").write_text(json.dumps(pointer))
    assert "local_m4" in registry([]).platforms


def test_without_an_app_the_next_step_is_said():
    with pytest.raises(NoAppError, match=r"Run this where train.py lies") as raised:
        registry([])
    assert explain(raised.value) == str(raised.value)


def test_an_app_whose_jobs_are_not_routed_has_no_platforms(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(NoAppError, match=r"which has no platforms. Choose hydra/launcher=routed"):
        registry(["hydra/launcher=basic"])
