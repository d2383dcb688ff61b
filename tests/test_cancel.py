"""Tests of `sweeproute cancel`: nothing of a sweep is left, and whoever is out of reach hears of it later."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from far_app import FarApp, wait_until
from far_commands import Command, at_home
from hydra_plugins.sweeproute import _slurm_queue
from sweeproute.commands import cancel

SLOTS = "hydra.launcher.platforms.box.max_concurrent_jobs=2"
WORDS = ("kind=heavy", "x=1,2,3,4,5", "wait=[all]", SLOTS, "hydra.sweeper.id=sweep_1")


@pytest.fixture
def app(tmp_path: Path):
    app = FarApp(tmp_path)
    yield app
    app.close()


@pytest.fixture
def sweeproute(app: FarApp, monkeypatch, capsys) -> Command:
    return at_home(app, monkeypatch, capsys)


@pytest.fixture
def dead(app: FarApp) -> FarApp:
    """A far side that works on the queue of a coordinator that has died."""
    process = app.start(*WORDS)
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    wait_until(lambda: [r["state"] for r in app.launches()].count("RUNNING") == 2, "the coordinator to know of them")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return app


def record(app: FarApp) -> dict[str, object]:
    return json.loads((app.folder / "out" / ".sweeproute" / "sweep.json").read_text())


def test_a_sweep_that_runs_stops_in_order_and_nothing_of_it_is_left(app: FarApp, sweeproute: Command):
    process = app.start("kind=light,heavy", "x=1,2,3,4,5", "wait=[1,2,3,4]", SLOTS, "hydra.sweeper.id=sweep_1")
    wait_until(lambda: sum(app.executions().values()) == 3, "a job to run here, and two there")
    wait_until(lambda: [r["state"] for r in app.launches()].count("RUNNING") == 3, "the coordinator to know of them")
    said = sweeproute("cancel", "sweep_1")
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 130, output
    assert (said.code, said.err) == (0, "")
    asked, there, end = said.out.splitlines()
    assert asked == f"Process {process.pid}, which runs sweep_1, is asked to stop."
    assert there == "box: nothing of it is left there."
    assert end.startswith("sweep_1 is cancelled: 0 jobs are done, ")
    assert end.endswith(" were ended. `sweeproute resume sweep_1` goes on with it.")
    assert {r["state"] for r in app.launches()} == {"KILLED"}
    assert app.far_jobs() == []
    assert record(app)["state"] == "KILLED"
    again = sweeproute("cancel", "sweep_1")
    assert (again.code, again.out.splitlines()) == (
        0,
        [there, "sweep_1 had been stopped before. `sweeproute resume sweep_1` goes on with it."],
    )


def test_what_a_dead_coordinator_left_is_ended_there_and_on_record_here(dead: FarApp, sweeproute: Command):
    said = sweeproute("cancel", "last")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "box: 2 running and 3 waiting jobs ended; nothing of it is left there.",
        "sweep_1 is cancelled: 0 jobs are done, 5 were ended. `sweeproute resume sweep_1` goes on with it.",
    ]
    assert dead.far_jobs() == []
    children = [line for one in dead.far_processes() for line in one.cmdline() if "app.py" in line]
    assert children == []
    assert {(r["state"], r["current"]) for r in dead.launches()} == {("KILLED", True)}
    assert {r["error"]["message"] for r in dead.launches()} == {"the sweep was cancelled"}
    assert record(dead)["state"] == "KILLED"
    dead.go()
    dead.sweep(*WORDS, "hydra.sweeper.resume=true")
    assert dead.executions() == {1: 2, 2: 2, 3: 1, 4: 1, 5: 1}


def test_a_machine_out_of_reach_hears_of_it_from_the_next_sweep(dead: FarApp, sweeproute: Command):
    dead.shell.cut(True)
    said = sweeproute("cancel", "sweep_1")
    assert said.code == 1
    first, second, _ = said.out.splitlines()
    assert first.startswith("box: far cannot be reached (ssh: ")
    assert second == "  5 jobs may run there; the next contact with it, by a sweep or a command, ends them."
    assert {r["state"] for r in dead.launches()} == {"KILLED"}
    dead.shell.cut(False)
    assert len(dead.far_jobs()) == 5
    dead.sweep("kind=heavy", "x=7", SLOTS, "hydra.sweep.dir=other")
    wait_until(lambda: dead.far_jobs() == [], "the next contact to end them")
    dead.go()
    assert dead.executions() == {1: 1, 2: 1, 7: 1}


def test_a_machine_out_of_reach_hears_of_it_from_the_next_cancel(dead: FarApp, sweeproute: Command):
    dead.shell.cut(True)
    assert sweeproute("cancel", "sweep_1").code == 1
    dead.shell.cut(False)
    said = sweeproute("cancel", "sweep_1")
    assert said.code == 0
    assert said.out.startswith("box: 2 running and 3 waiting jobs ended; nothing of it is left there.\n")
    assert dead.far_jobs() == []
    assert not list((dead.state / "cancels").rglob("*.json"))


def test_a_sweep_that_has_ended_is_said_to_have(app: FarApp, sweeproute: Command):
    app.sweep("kind=light", "x=1,2", "hydra.sweeper.id=sweep_1")
    said = sweeproute("cancel", "sweep_1")
    assert (said.code, said.out) == (0, "sweep_1 had ended by itself: 2 jobs are done.\n")
    assert record(app)["state"] == "FINISHED"


def test_a_coordinator_that_a_script_has_in_the_background_hears_of_it_too(app, sweeproute, monkeypatch):
    monkeypatch.setattr(cancel, "_STOPS_S", (0.5, 30.0))
    words = [*app.words, "kind=light", "x=1,2", "wait=[all]", "hydra.sweeper.id=sweep_1"]
    # As a shell without job control starts what stands before an ampersand.
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "app.py", "-m", *words],
        cwd=app.folder,
        env=app.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: app.executions(), "a job to run")
    said = sweeproute("cancel", "sweep_1")
    assert (said.code, said.err) == (0, "")
    assert process.wait(10) == 130
    assert {r["state"] for r in app.launches()} == {"KILLED"}


def test_a_process_that_only_has_the_number_of_the_coordinator_is_left_alone(app: FarApp, sweeproute: Command):
    app.sweep("kind=light", "x=1", "hydra.sweeper.id=sweep_1")
    path = app.folder / "out" / ".sweeproute" / "sweep.json"
    other = subprocess.Popen(["sleep", "60"])
    try:
        path.write_text(json.dumps(record(app) | {"state": "RUNNING", "pid": other.pid}))
        long_ago = time.time() - 3600
        os.utime(path, (long_ago, long_ago))
        with FileLock(path.with_name("lock")):
            said = sweeproute("cancel", "sweep_1")
        assert said.code == 1
        assert f"it is not process {other.pid}, which the record names" in said.err
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_sweep_of_another_machine_is_to_be_cancelled_there(app: FarApp, sweeproute: Command):
    app.sweep("kind=light", "x=1", "hydra.sweeper.id=sweep_1")
    path = app.folder / "out" / ".sweeproute" / "sweep.json"
    path.write_text(json.dumps(record(app) | {"state": "RUNNING", "pid": 1, "host": "elsewhere"}))
    said = sweeproute("cancel", "sweep_1")
    assert (said.code, said.err) == (1, "It is run by process 1 on elsewhere: cancel it there, or stop that process.\n")


def test_an_unknown_sweep_is_said_in_a_sentence(sweeproute: Command):
    assert sweeproute("cancel", "sweep_9").err.startswith("No sweep was started here yet")


def test_what_a_dead_coordinator_left_in_slurm_is_ended(cluster: Path, app: FarApp, sweeproute: Command):
    app.sweep("kind=light", "x=1", "hydra.sweeper.id=sweep_1")
    submitted = [
        subprocess.run(
            ["sbatch", "--parsable", *more, "--wrap", "sleep 600"],
            check=True,
            capture_output=True,
            text=True,
            cwd=app.folder,
        ).stdout.strip()
        for more in ([], ["--hold"])
    ]
    wait_until(lambda: _slurm_queue.states(submitted)[submitted[0]][0] == "RUNNING", "the job to run")
    (app.folder / "out" / ".sweeproute" / "slurm").mkdir()
    (app.folder / "out" / ".sweeproute" / "slurm" / "jobs.txt").write_text("".join(f"{job}\n" for job in submitted))
    said = sweeproute("cancel", "sweep_1")
    assert said.code == 0
    assert said.out.startswith("SLURM: 1 running and 1 waiting jobs ended; nothing of it is left there.\n")
