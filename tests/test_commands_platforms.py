"""`sweeproute platforms`: which machines there are, and how they have fared."""

import json
import socket
from argparse import Namespace

import pytest
from filelock import FileLock
from hydra.core.singleton import Singleton

from handmade_sweep import HandmadeSweep
from small_trial import ROOT
from sweeproute.commands import platforms

LINE = {"platform": "local_m4", "outcome": "FINISHED", "at": 5.0}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    state = Singleton.get_state()
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    (tmp_path / "state" / "sweeps").mkdir(parents=True)
    monkeypatch.chdir(ROOT)
    yield tmp_path
    Singleton.set_state(state)


@pytest.fixture
def said(capsys):
    """From words to what the command prints."""

    def run(*overrides, history=False, json=False):
        platforms.run(Namespace(overrides=list(overrides), history=history, json=json))
        return capsys.readouterr().out

    return run


def started(home, **record) -> HandmadeSweep:
    sweep = HandmadeSweep(home / "sweep", started=100.0, host=socket.gethostname(), **record)
    sweep.point(home / "state")
    return sweep


def test_a_platform_has_its_state_its_slots_and_what_it_is(said):
    here, there = said().splitlines()[1:3]
    assert here.split()[:2] == ["local_m4", "available"]
    assert here.endswith("this machine")
    assert there.split()[:3] == ["remote_4090", "unavailable", "2"]
    assert "RTX 4090 24GB" in there
    assert there.endswith("has no host configured (set registry.platforms.remote_4090.host)")


def test_with_a_host_it_is_said_where_a_platform_is(said):
    assert "me@box" in said("registry.platforms.remote_4090.host=me@box").splitlines()[2]


def test_jobs_of_running_sweeps_are_counted(said, home):
    sweep = started(home)
    sweep.start(0)
    sweep.start(1)
    sweep.change(sweep.start(2), state="QUEUED", platform="remote_4090", far={"id": "x"})
    with FileLock(sweep.root / ".sweeproute" / "lock"):
        states = json.loads(said(json=True))["platforms"]
    assert (states["local_m4"]["running"], states["local_m4"]["queued"]) == (2, 0)
    assert (states["remote_4090"]["running"], states["remote_4090"]["queued"]) == (0, 1)
    assert said().splitlines()[1].split()[3] == "0"


def test_a_platform_that_a_person_has_paused_is_paused(said, home):
    (home / "state" / "paused").mkdir()
    (home / "state" / "paused" / "local_m4").touch()
    assert said().splitlines()[1].split()[1] == "paused"


def test_the_history_says_what_was_measured_and_what_was_not(said, home):
    history = [LINE | {"model": "GLM", "overrides": [f"c={n}"], "seconds": float(n)} for n in (1, 2, 3)]
    history += [LINE | {"model": "XGBoost", "overrides": [f"d={n}"], "seconds": 4.0} for n in (1, 2, 3)]
    history += [
        LINE | {"model": "XGBoost", "overrides": [f"d={n}"], "seconds": 9.0, "platform": "remote_4090"}
        for n in (1, 2, 3)
    ]
    (home / "state" / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history))
    sweep = started(home, state="FINISHED")
    sweep.finish(sweep.start(0), {"auc": 0.7}, ended_at=110.0, run_s=8.5)
    notes = [{"at": 100.0, "slots": {"local_m4": 1}}, {"at": 110.0, "ends": True}]
    (sweep.root / ".sweeproute" / "platforms.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
    text = said(history=True)
    assert "Attempts that have ended: 9. Sweeps that shares of time are of: 1." in text
    rows = [line.split() for line in text.splitlines()]
    assert ["local_m4", "6", "100.0", "%", *["not", "measured"] * 3, "15.0", "%"] in rows
    assert ["GLM", "local_m4", "3", "2.0", "s", "100.0", "%"] in rows
    assert (
        "XGBoost is routed to remote_4090, where the median of 3 runs is 9.0 s; on local_m4 the same 3 points took "
        "4.0 s: the rule costs 5.0 s a job."
    ) in text
    assert ["idle", "under", "10", "%", "15.0", "%", "missed"] in rows
    assert ["GPU", "use", "over", "80", "%", *["not", "measured"] * 2] in rows


def test_before_anything_has_run_nothing_is_measured(said):
    answer = json.loads(said(history=True, json=True))["history"]
    assert (answer["sweeps"], answer["attempts"], answer["models"], answer["rules"]) == (0, 0, [], [])
    assert {target["verdict"] for target in answer["targets"]} == {"not measured"}
    assert "No rule is known to cost time." in said(history=True)
