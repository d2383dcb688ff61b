"""Tests of `sweeproute logs`: what a job prints, here, on a far machine, with and without a coordinator."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from far_app import FarApp, wait_until
from far_commands import Command, at_home

SLOTS = "hydra.launcher.platforms.box.max_concurrent_jobs=2"
# The app says what it does.
TALKS = '    again = (at / f"first-{cfg.x}").exists()\n    print(f"job {cfg.x} begins", flush=True)\n'
ENDS = '    Path(out, "deep").mkdir()\n    print(f"job {cfg.x} ends", flush=True)\n'


@pytest.fixture
def app(tmp_path: Path):
    app = FarApp(tmp_path)
    text = (app.folder / "app.py").read_text()
    text = text.replace('    again = (at / f"first-{cfg.x}").exists()\n', TALKS)
    (app.folder / "app.py").write_text(text.replace('    Path(out, "deep").mkdir()\n', ENDS))
    yield app
    app.close()


@pytest.fixture
def sweeproute(app: FarApp, monkeypatch, capsys) -> Command:
    return at_home(app, monkeypatch, capsys)


def follow(app: FarApp, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "sweeproute", "logs", *words, "--follow"],
        cwd=app.folder,
        env=app.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_job_that_has_ended_shows_all_that_it_printed(app: FarApp, sweeproute: Command):
    app.sweep("kind=light,heavy", "x=1", "hydra.sweeper.id=sweep_1")
    for job in ("0", "1"):
        said = sweeproute("logs", job)
        assert (said.code, said.out, said.err) == (0, "job 1 begins\njob 1 ends\n", "")
    assert sweeproute("logs", "1", "--follow", "--sweep", "sweep_1").out == "job 1 begins\njob 1 ends\n"


@pytest.mark.parametrize("kind", ["light", "heavy"])
def test_a_job_is_followed_until_it_ends(app: FarApp, kind: str):
    sweep = app.start(f"kind={kind}", "x=1,2", "wait=[all]", SLOTS)
    wait_until(lambda: app.executions(), "a job to run")
    followed = follow(app, "0")
    assert followed.stdout is not None
    assert followed.stdout.readline() == "job 1 begins\n"
    app.go()
    rest, complaint = followed.communicate(timeout=30)
    assert (followed.returncode, rest, complaint) == (0, "job 1 ends\n", "")
    output, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 0, output


def test_a_job_that_is_tried_again_is_followed_into_its_next_attempt(app: FarApp):
    sweep = app.start("kind=heavy", "x=1", "dies=[1]", "wait=[all]")
    wait_until(lambda: app.executions(), "the job to run")
    followed = follow(app, "0")
    assert followed.stdout is not None
    assert followed.stdout.readline() == "job 1 begins\n"
    app.go()
    rest, complaint = followed.communicate(timeout=60)
    assert followed.returncode == 0
    assert rest == "job 1 begins\njob 1 ends\n"
    assert complaint == "Attempt 2 at job 0, on box:\n"
    sweep.communicate(timeout=60)


def test_a_job_in_a_queue_is_followed_from_its_start(app: FarApp):
    sweep = app.start("kind=heavy", "x=1,2", "wait=[all]", "hydra.launcher.platforms.box.max_concurrent_jobs=1")
    wait_until(lambda: app.executions(), "the first job to run")
    wait_until(lambda: len(app.launches()) == 2, "the second to be sent")
    followed = follow(app, "1")
    assert followed.stderr is not None
    assert followed.stderr.readline() == "Job 1 waits in the queue of box.\n"
    app.go()
    rest, _ = followed.communicate(timeout=60)
    assert rest == "job 2 begins\njob 2 ends\n"
    sweep.communicate(timeout=60)


def test_without_a_coordinator_the_far_machine_is_asked(app: FarApp, sweeproute: Command):
    process = app.start("kind=heavy", "x=1,2,3", "wait=[all]", SLOTS, "hydra.sweeper.id=sweep_1")
    wait_until(lambda: [r["state"] for r in app.launches()].count("RUNNING") == 2, "the coordinator to know of two")
    process.send_signal(signal.SIGKILL)
    process.communicate()

    said = sweeproute("logs", "2")
    assert (said.code, said.out) == (0, "")
    resume = "no coordinator lives. `sweeproute resume sweep_1` goes on with it.\n"
    assert said.err == f"Job 2 waits in the queue of box; {resume}"
    said = sweeproute("logs", "0")
    assert (said.code, said.out, said.err) == (0, "job 1 begins\n", f"Job 0 runs on box; {resume}")

    app.shell.cut(True)
    said = sweeproute("logs", "0")
    assert said.code == 1
    assert said.err.startswith("far cannot be reached (ssh: ")
    assert said.err.endswith(" What had come from box by then is above.\n")
    app.shell.cut(False)

    threading.Timer(1, app.go).start()
    said = sweeproute("logs", "0", "-f")
    assert (said.code, said.out, said.err) == (0, "job 1 begins\njob 1 ends\n", f"Job 0 has ended on box; {resume}")
    assert sweeproute("logs", "2", "-f").out == "job 3 begins\njob 3 ends\n"


def test_a_job_that_died_with_its_coordinator_is_said(app: FarApp, sweeproute: Command):
    process = app.start("kind=light", "x=1,2", "wait=[all]", "hydra.sweeper.id=sweep_1")
    wait_until(lambda: app.executions(), "a job to run")
    wait_until(lambda: [r["state"] for r in app.launches()] == ["RUNNING"], "its record")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    said = sweeproute("logs", "0", "--follow")
    assert (said.code, said.out) == (0, "job 1 begins\n")
    assert said.err == (
        "The coordinator of sweep_1 has died, and job 0 with it. `sweeproute resume sweep_1` goes on with it.\n"
    )
    said = sweeproute("logs", "1")
    assert (said.code, said.err) == (1, "Job 1 of sweep_1 has not been given to a platform yet.\n")
    said = sweeproute("logs", "7")
    assert said.err == "There is no job 7 in sweep_1; its jobs are 0 to 1. Another sweep is named with --sweep.\n"
