"""Tests of `sweeproute pause`: what runs ends, nothing more starts, and that ends again."""

import json
import shlex
import signal
import time
from pathlib import Path

import pytest

from far_app import FarApp, wait_until
from far_commands import Command, at_home
from hydra_plugins.sweeproute import _conditions
from hydra_plugins.sweeproute._condition import Condition
from sweeproute.commands.pause import DurationError, seconds

SLOTS = "hydra.launcher.platforms.box.max_concurrent_jobs=2"


@pytest.fixture
def app(tmp_path: Path):
    app = FarApp(tmp_path)
    yield app
    app.close()


@pytest.fixture
def sweeproute(app: FarApp, monkeypatch, capsys) -> Command:
    return at_home(app, monkeypatch, capsys)


@pytest.fixture
def alone(app: FarApp) -> FarApp:
    """A far side that works on the queue of a coordinator that has died."""
    process = app.start("kind=heavy", "x=1,2,3,4,5", "wait=[all]", SLOTS, "hydra.sweeper.id=sweep_1")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    wait_until(lambda: [r["state"] for r in app.launches()].count("RUNNING") == 2, "the coordinator to know of them")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return app


def kept(app: FarApp) -> dict[str, object]:
    """What the far side knows of a pause."""
    return json.loads((app.shell.root / "slots.json").read_text())


def test_a_running_sweep_goes_on_elsewhere_and_may_come_back(app: FarApp, sweeproute: Command):
    process = app.start("kind=heavy", "x=1,2,3,4", "wait=[1,2]", SLOTS, "hydra.sweeper.id=sweep_1")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    wait_until(lambda: [r["state"] for r in app.launches()].count("RUNNING") == 2, "the coordinator to know of them")
    said = sweeproute("pause", "box")
    assert (said.code, said.err) == (0, "")
    first, sweep, there = said.out.splitlines()
    assert first == "box is paused until `sweeproute pause box --end`."
    assert sweep == "  sweep_1: 2 of its jobs run there to their end; 2 that wait there go elsewhere, or wait"
    assert there.startswith("Over there 2 jobs run to their end, and ")
    wait_until(lambda: {3, 4} <= app.executions().keys(), "the rest to run here")
    said = sweeproute("pause", "box", "--end")
    first, sweep, there = said.out.splitlines()
    assert (first, sweep) == ("box is no longer paused.", "  sweep_1 may use it again")
    assert there.startswith("Over there it is no longer paused either, and ")
    assert kept(app)["paused"] is False
    app.go()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "box is paused\n" in output
    assert app.executions() == {1: 1, 2: 1, 3: 1, 4: 1}
    assert {r["platform"] for r in app.launches(2) + app.launches(3) if r["current"]} == {"here"}


def test_a_queue_without_a_coordinator_stops_until_the_pause_ends(alone: FarApp, sweeproute: Command):
    said = sweeproute("pause", "box")
    assert "  sweep_1: 2 of its jobs run there to their end; 3 wait there for the pause's end\n" in said.out
    alone.go()
    wait_until(lambda: len(list(alone.shell.root.glob("jobs/*/result.json"))) == 2, "what ran to end")
    status = sweeproute("pause", "box").out  # said again, it changes nothing
    assert "Over there 0 jobs run to their end, and 3 wait; nothing more starts.\n" in status
    assert len(alone.executions()) == 2
    said = sweeproute("pause", "box", "--end")
    assert said.code == 0
    wait_until(lambda: len(alone.executions()) == 5, "the queue to go on")


def test_a_pause_for_some_time_ends_by_itself_there_and_here(alone: FarApp, sweeproute: Command):
    said = sweeproute("pause", "box", "--for", "6s")
    assert said.out.startswith(f"box is paused until {time.strftime('%H:')}")
    assert kept(alone)["paused"] is True
    assert _conditions.paused().keys() == {"box"}
    alone.go()
    wait_until(lambda: len(alone.executions()) == 5, "the queue to go on")
    assert _conditions.paused() == {}
    ended = sweeproute("pause", "box", "--end").out
    assert ended == "box is not paused.\nOver there it is not paused, and no job waits.\n"


def test_a_coordinator_takes_the_end_of_a_pause_for_its_end(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path))
    conditions = _conditions.Conditions({"box": Condition.AVAILABLE, "here": Condition.AVAILABLE}, 60)
    now = time.time()
    monkeypatch.setattr(_conditions.time, "time", lambda: now)
    _conditions.pause("box", now + 60)
    (event,) = conditions.look(0.0)
    assert (event.platform, event.condition) == ("box", Condition.PAUSED)
    conditions.moved(event, 0.0)
    assert list(conditions.look(1.0)) == []
    now += 61
    (event,) = conditions.look(2.0)
    assert (event.platform, event.condition, event.why) == ("box", Condition.AVAILABLE, "is no longer paused")


def test_a_machine_that_cannot_be_told_is_said_and_is_paused_for_sweeps_here(app: FarApp, sweeproute: Command):
    app.shell.cut(True)
    said = sweeproute("pause", "box")
    assert said.code == 1
    assert said.out.startswith("box is paused until `sweeproute pause box --end`.\n  no sweep that runs here uses it\n")
    assert said.err.startswith("Its own queue could not be told: far cannot be reached (")
    assert said.err.endswith(" When it is back: sweeproute pause box\n")
    assert _conditions.paused() == {"box": None}


def test_the_very_command_is_said_again_quoted_for_a_shell(app: FarApp, sweeproute: Command):
    app.shell.cut(True)
    again = ["sweeproute", "pause", "box", "--for", "1h 30m", "++hydra.launcher.platforms.box.specs.gpu=RTX 4090"]
    said = sweeproute(*again[1:])
    assert said.code == 1
    assert shlex.split(said.err.partition(" When it is back: ")[2]) == again
    said = sweeproute("pause", "box", "--end")
    assert said.err.endswith(" When it is back: sweeproute pause box --end\n")


def test_a_far_queue_that_is_not_told_for_want_of_a_host_is_said(sweeproute: Command):
    said = sweeproute("pause", "box", "--for", "5m", "hydra.launcher.platforms.box.host=null")
    assert said.code == 0
    assert said.err == (
        "Its own queue has not been told, since the registry names no host for it. With its host: sweeproute pause box "
        "--for 5m hydra.launcher.platforms.box.host=null registry.platforms.box.host=me@box\n"
    )


def test_this_machine_can_be_paused_too(sweeproute: Command):
    said = sweeproute("pause", "here")
    assert (said.code, said.err) == (0, "")
    assert said.out == "here is paused until `sweeproute pause here --end`.\n  no sweep that runs here uses it\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["bix"], "There is no platform 'bix'. Allowed, nearest match first: box, here.\n"),
        (["box", "--for", "soon"], "--for is 'soon'. It takes a length of time: 30s, 45m, 1h, 1h30m, 2d.\n"),
    ],
)
def test_what_cannot_be_paused_is_said_in_a_sentence(sweeproute: Command, words: list[str], sentence: str):
    said = sweeproute("pause", *words)
    assert (said.code, said.out, said.err) == (1, "", sentence)
    assert _conditions.paused() == {}


def test_lengths_of_time_are_read_as_people_write_them():
    lengths = {
        "90": None,
        "45m": 2700,
        "1h": 3600,
        "1h30m": 5400,
        "1 h 30 min": 5400,
        "2d": 172800,
        "0h": None,
        "-1h": None,
    }
    for text, wanted in lengths.items():
        if wanted is None:
            with pytest.raises(DurationError):
                seconds(text)
        else:
            assert seconds(text) == wanted
