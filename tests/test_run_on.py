"""Tests of `sweeproute run --on`: a sweep whose coordinator is on another machine, seen from here."""

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import threading
from pathlib import Path

import psutil
import pytest

from far_app import FarApp, wait_until
from far_commands import Command, Said, at_home
from submitit_ssh.errors import FarError
from sweeproute.commands import elsewhere

BOX = "hydra.launcher.platforms.box"
SLOTS = f"{BOX}.max_concurrent_jobs=2"
# The app says what it does.
TALKS = '    again = (at / f"first-{cfg.x}").exists()\n    print(f"job {cfg.x} begins", flush=True)\n'
ENDS = '    Path(out, "deep").mkdir()\n    print(f"job {cfg.x} ends", flush=True)\n'


class OverThere:
    """The app's sweeps on the far side, which is a folder of this machine."""

    def __init__(self, app: FarApp, sweeproute: Command) -> None:
        assert app.shell is not None
        self.app, self.sweeproute, self.shell = app, sweeproute, app.shell

    def run(self, *words: str, identifier: str = "sweep_1") -> Said:
        """Start one."""
        own = [*self.app.words, f"hydra.sweeper.id={identifier}", f"hydra.sweep.dir=out/{identifier}", SLOTS]
        return self.sweeproute("run", "--on", "box", "--app", "app.py", "--", "-m", *own, *words)

    def start(self, *words: str, identifier: str = "sweep_1") -> None:
        """Start one that has to start."""
        said = self.run(*words, identifier=identifier)
        assert said.code == 0, said.out + said.err

    def home(self, identifier: str = "sweep_1") -> Path:
        """Its folder over there."""
        return self.shell.root / "sweeps" / identifier

    def coordinator(self, identifier: str = "sweep_1") -> psutil.Process:
        """The process that runs it."""
        return psutil.Process(json.loads((self.home(identifier) / "coordinator.json").read_text())["pid"])

    def processes(self, identifier: str = "sweep_1") -> list[int]:
        """All that runs of it."""
        mark, found = f"SWEEPROUTE_COORDINATED={identifier}".encode(), []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                marked = mark in (process / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            found += [int(process.name)] if marked else []
        return found

    def ended(self, identifier: str = "sweep_1") -> None:
        """Wait for its end."""
        wait_until(lambda: not self.coordinator_lives(identifier), "the end of the coordinator", 120)

    def coordinator_lives(self, identifier: str = "sweep_1") -> bool:
        try:
            return self.coordinator(identifier).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def runs(self) -> list[tuple[str, str]]:
        """Name and status of each run in the tracking store here."""
        with sqlite3.connect(self.app.folder / "mlflow.db") as store:
            return sorted(store.execute("select name, status from runs"))

    def launches(self, identifier: str = "sweep_1") -> list[dict]:
        """The launch records that are here."""
        paths = (self.app.folder / "out" / identifier).glob("*/launch.json")
        return sorted((json.loads(path.read_text()) for path in paths), key=lambda one: (one["job"], one["attempt"]))


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


@pytest.fixture
def there(app: FarApp, sweeproute: Command):
    there = OverThere(app, sweeproute)
    yield there
    for pid in there.processes():
        os.kill(pid, signal.SIGKILL)


def test_a_sweep_runs_over_there_and_comes_home(there: OverThere, sweeproute: Command, app: FarApp):
    said = there.run("kind=light,heavy", "x=1,2")
    assert said.code == 0, said.err
    first, second = said.out.splitlines()
    assert first.startswith("sweep_1 runs on box, as process ")
    assert first.endswith(" there; this machine may be shut.")
    assert second.startswith("`sweeproute status sweep_1` looks at it, `sweeproute sync sweep_1` brings home")
    there.ended()
    text = sweeproute("status", "last").out.splitlines()
    assert text[0].startswith("sweep_1: finished at ")
    assert text[1] == "4 jobs: 4 done"
    assert f"There: box, {there.home()}" in text
    assert sweeproute("status").out.splitlines()[1].split()[:3] == ["sweep_1", "finished", "4"]

    said = sweeproute("sync", "sweep_1")
    assert said.code == 0, said.out + said.err
    assert said.out.endswith(" files came from box.\n4 of 4 runs are written.\n")
    assert [(one["platform"], one["decision"]) for one in there.launches()] == [
        ("box", "scheduled_fallback"),
        ("box", "scheduled_fallback"),
        ("box", "scheduled"),
        ("box", "scheduled"),
    ]
    assert "is not used by a sweep that runs on box alone" in there.launches()[0]["reason"]
    folder = app.folder / "out" / "sweep_1"
    assert (folder / "3" / "deep" / "model.bin").read_bytes() == bytes(range(256)) * 40
    assert not list(folder.rglob("checkpoint"))
    assert json.loads((folder / ".sweeproute" / "sweep.json").read_text())["argv"][:2] == ["app.py", "-m"]
    assert (folder / ".sweeproute" / "coordinator.log").stat().st_size > 0
    assert sum(app.executions().values()) == 4
    runs = there.runs()
    assert len(runs) == 5  # the sweep's own among them
    assert {status for _, status in runs} == {"FINISHED"}

    said = sweeproute("sync", "sweep_1")
    assert said.out == "0 files came from box.\n4 of 4 runs are written.\n"
    assert there.runs() == runs
    assert sweeproute("resume", "sweep_1").out == "All of sweep_1 is done (4 jobs). Say --rerun to run it again.\n"


def test_what_the_tree_had_beside_its_commit_is_kept_with_the_runs_of_a_sweep_over_there(
    there: OverThere, sweeproute: Command, app: FarApp
):
    (app.folder / ".gitignore").write_text("out/\n*.db*\n")
    for words in (("init",), ("add", "--all"), ("commit", "--message", "All")):
        git = ("git", "-c", "user.name=me", "-c", "user.email=me@example.org", *words)
        subprocess.run(git, cwd=app.folder, check=True, capture_output=True)
    with (app.folder / "app.py").open("a") as stream:
        stream.write("# not committed\n")
    there.start("+code=[app.py]", "x=1")
    there.ended()
    assert sweeproute("sync", "sweep_1").code == 0
    patches = list(app.folder.glob("mlartifacts/**/code.patch"))
    assert [patch.read_text().splitlines()[-1] for patch in patches] == ["+# not committed"]


def test_what_the_jobs_read_is_there_under_its_name_and_comes_home_under_the_one_of_here(
    there: OverThere, sweeproute: Command, app: FarApp, tmp_path: Path
):
    (app.folder / ".gitignore").write_text("games.csv\n")
    (app.folder / "games.csv").write_text("of here")
    outside = tmp_path / "other games.csv"
    outside.write_text("from elsewhere")
    there.start("kind=heavy", "x=1", f"file=games.csv,'{outside}'")
    there.ended()
    assert sweeproute("sync", "last").code == 0
    read = {one["overrides"][-1]: one["value"]["read"] for one in there.launches()}
    assert read == {"file=games.csv": "of here", f"file='{outside}'": "from elsewhere"}
    outside.unlink()  # the sweep has its own, whatever becomes of it here


def test_while_the_line_is_down_the_last_that_was_seen_is_told_and_the_sweep_goes_on(
    there: OverThere, sweeproute: Command, app: FarApp
):
    there.start("kind=heavy", "x=1,2,3", "wait=[all]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    wait_until(lambda: "2 running" in sweeproute("status", "sweep_1").out, "them to be on record")
    text = sweeproute("status", "sweep_1").out
    assert text.startswith("sweep_1: RUNNING since ")
    assert "3 jobs: 2 running, 1 not started\n" in text
    there.shell.cut(True)
    text = sweeproute("status", "sweep_1").out
    assert text.startswith("far cannot be reached (ssh: connect to host far port 22: Network is unreachable). ")
    assert "sweep_1 was seen last at " in text
    assert "3 jobs: 2 running, 1 not started\n" in text
    assert sweeproute("status").out.splitlines()[1].split()[1] == "running"
    said = sweeproute("sync", "sweep_1")
    assert said.code == 1
    assert "What is here already is written." in said.err
    said = sweeproute("logs", "0", "--sweep", "sweep_1")
    assert (said.code, said.out) == (1, "")
    assert sweeproute("cancel", "sweep_1").err.endswith("Nothing has been ended; cancel again when box is back.\n")
    said = there.run("kind=heavy", "x=1", identifier="sweep_2")
    assert (said.code, said.out) == (1, "")
    assert "far cannot be reached" in said.err
    app.go()
    there.ended()
    there.shell.cut(False)
    assert "3 jobs: 3 done\n" in sweeproute("status", "sweep_1").out
    assert app.executions() == {1: 1, 2: 1, 3: 1}
    assert "sweep_2" not in sweeproute("status").out


def test_what_there_is_of_a_sweep_that_runs_comes_home_and_the_rest_later(
    there: OverThere, sweeproute: Command, app: FarApp
):
    there.start("kind=heavy", "x=1,2,3", "wait=[2,3]")
    wait_until(lambda: len(app.executions()) == 3, "one to be done, two to run")
    wait_until(lambda: "1 done, 2 running" in sweeproute("status", "sweep_1").out, "them to be on record")
    said = sweeproute("sync", "sweep_1")
    assert said.code == 0, said.out + said.err
    statuses = [status for name, status in there.runs() if name.startswith("job")]
    assert sorted(statuses) == ["FINISHED"]
    app.go()
    there.ended()
    assert sweeproute("sync", "sweep_1").out.endswith("3 of 3 runs are written.\n")
    assert [status for _, status in there.runs()] == ["FINISHED"] * 4


def test_a_job_is_followed_until_it_ends(there: OverThere, sweeproute: Command, app: FarApp):
    there.start("kind=heavy", "x=1,2", "wait=[all]", "dies=[1]")
    wait_until(lambda: len(app.executions()) == 2, "the jobs to run")
    assert sweeproute("logs", "1").out == "job 2 begins\n"
    threading.Timer(1, app.go).start()
    said = sweeproute("logs", "0", "--follow")
    assert said.code == 0, said.err
    assert said.out == "job 1 begins\njob 1 begins\njob 1 ends\n"
    assert said.err == "Attempt 2 at job 0, on box:\n"
    assert sweeproute("logs", "7").err.startswith("There is no job 7 in sweep_1; its jobs are 0 to 1.")


def test_a_coordinator_that_died_is_said_to_have_and_goes_on_with_resume(
    there: OverThere, sweeproute: Command, app: FarApp
):
    there.start("kind=heavy", "x=1,2,3", "wait=[2,3]")
    wait_until(lambda: len(app.executions()) == 3, "one to be done, two to run")
    wait_until(lambda: "1 done, 2 running" in sweeproute("status", "sweep_1").out, "them to be on record")
    assert sweeproute("resume", "sweep_1").out == "sweep_1 runs on box. `sweeproute status sweep_1` looks at it.\n"
    there.coordinator().send_signal(signal.SIGKILL)
    there.ended()
    text = sweeproute("status", "sweep_1").out
    assert text.startswith("sweep_1: stopped: process ")
    assert "3 jobs: 1 done, 2 stopped\n" in text
    assert "Next: sweeproute resume sweep_1\n" in text
    assert sweeproute("logs", "1").err == (
        "The coordinator of sweep_1 has died, and job 1 with it. `sweeproute resume sweep_1` goes on with it.\n"
    )
    assert sweeproute("sync", "sweep_1").code == 0
    assert [status for name, status in there.runs() if name.startswith("job")] == ["FINISHED"]

    app.go()
    said = sweeproute("resume", "sweep_1")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("sweep_1 goes on on box, as process ")
    there.ended()
    assert "3 jobs: 3 done\n" in sweeproute("status", "sweep_1").out
    assert app.executions() == {1: 1, 2: 2, 3: 2}
    assert sweeproute("sync", "sweep_1").code == 0
    counted = [(one["state"], one["current"]) for one in there.launches()]
    assert counted.count(("FINISHED", True)) == 3


def test_a_cancelled_sweep_leaves_nothing_there_and_can_be_gone_on_with(
    there: OverThere, sweeproute: Command, app: FarApp
):
    there.start("kind=heavy", "x=1,2,3", "wait=[all]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    said = sweeproute("cancel", "sweep_1")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[:2] == [
        "The coordinator of sweep_1 on box is asked to stop.",
        "box: nothing of it is left there.",
    ]
    assert "sweep_1 is cancelled: 0 jobs are done, 2 were ended." in said.out
    assert there.processes() == []
    assert {one["state"] for one in there.launches()} == {"KILLED"}
    assert sweeproute("cancel", "sweep_1").out.endswith(
        "sweep_1 had been stopped before. `sweeproute resume sweep_1` goes on with it.\n"
    )
    app.go()
    assert sweeproute("resume", "sweep_1").code == 0
    there.ended()
    assert "3 jobs: 3 done\n" in sweeproute("status", "sweep_1").out


def test_what_a_dead_coordinator_left_running_is_ended_and_on_record(
    there: OverThere, sweeproute: Command, app: FarApp
):
    there.start("kind=heavy", "x=1,2", "wait=[all]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    wait_until(lambda: "2 running" in sweeproute("status", "sweep_1").out, "them to be on record")
    there.coordinator().send_signal(signal.SIGKILL)
    there.ended()
    assert sweeproute("cancel", "sweep_1").code == 0
    assert there.processes() == []
    assert {(one["state"], one["error"]["message"]) for one in there.launches()} == {
        ("KILLED", "the sweep was cancelled")
    }


REFUSED = [
    (["kind=heavy", "y=1"], "There is no key y"),
    (["kind=heavy", "hydra.sweeper.sampler=tpee", "x=1,2"], "hydra.sweeper.sampler is 'tpee'. Allowed: tpe, "),
    (["kind=heavy", "x=interval(0,1)"], "A grid cannot walk the continuous axis"),
    (["x=1,2", "hydra.sweeper.sampler=tpe"], "Say hydra.sweeper.direction=maximize or minimize."),
    (["resume=true"], "'resume=true' is not taken here: `sweeproute resume SWEEP` goes on with a sweep over there."),
    (["--cfg", "job"], "'--cfg' is not taken here. Behind `--` stand -m and Hydra's overrides."),
    (["x=1,2", f"{BOX}.python=/nowhere/python"], "has no Python under the name '/nowhere/python'"),
    (["x=1,2", f"{BOX}.python=null"], "env/bin/python: `sweeproute setup box` makes one."),
    (["x=1,2", f"{BOX}.host=null"], "box has no host. Say what ssh is given"),
]


@pytest.mark.parametrize(("words", "says"), REFUSED)
def test_what_cannot_run_is_said_before_anything_is_sent(there: OverThere, words: list[str], says: str):
    said = there.run(*words)
    assert (said.code, said.out) == (1, "")
    assert says in said.err
    assert "Traceback" not in said.err
    assert not (there.shell.root / "sweeps").exists()
    assert not (there.shell.root / "trees").exists()
    assert not list((there.app.state / "sweeps").glob("*.json"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bux", "There is no platform 'bux'. Allowed, nearest match first: box, here."),
        ("here", "here is this machine. This command is for platforms that ssh reaches: box."),
    ],
)
def test_a_platform_that_is_none_is_said(sweeproute: Command, app: FarApp, name: str, says: str):
    said = sweeproute("run", "--on", name, "--app", "app.py", "--", "-m", *app.words, "x=1,2")
    assert (said.code, said.err) == (1, f"{says}\n")


def test_a_sweep_that_its_coordinator_refuses_is_nowhere_and_what_it_said_is_told(
    there: OverThere, sweeproute: Command, app: FarApp
):
    (app.folder / "kinds.py").write_text("import sys\nsys.exit('no kinds today')\n")
    said = there.run("kind=heavy", "x=1,2")
    assert said.code == 1
    assert said.err.splitlines()[-2:] == ["no kinds today", "That is what it said on box, where nothing runs now."]
    assert sweeproute("status").err.startswith("No sweep was started here yet")
    assert not there.home().exists()


def test_a_sampler_searches_over_there(there: OverThere, sweeproute: Command, app: FarApp):
    words = ["hydra.sweeper.sampler=tpe", "hydra.sweeper.n_trials=4", "hydra.sweeper.metric=double"]
    there.start("kind=heavy", "x=range(1,40)", *words, "hydra.sweeper.direction=maximize")
    there.ended()
    assert "4 jobs: 4 done\n" in sweeproute("status", "sweep_1").out
    assert sweeproute("sync", "sweep_1").code == 0
    best = sweeproute("best", "--sweep", "sweep_1", "--metric", "double", "--json")
    assert best.code == 0, best.err
    assert json.loads(best.out)["metrics"]["double"] == 2 * max(app.executions())
    # Further than it was to go; the word is kept for whoever resumes next.
    assert "or how far to go: hydra.sweeper.n_trials=N." in sweeproute("resume", "sweep_1").out
    further = sweeproute("resume", "sweep_1", "hydra.sweeper.n_trials=6")
    assert further.code == 0, further.err
    there.ended()
    assert "6 jobs: 6 done\n" in sweeproute("status", "sweep_1").out
    assert "All of sweep_1 is done (6 jobs)" in sweeproute("resume", "sweep_1").out
    assert sum(app.executions().values()) == 6


def test_the_best_of_a_sweep_of_here_begins_a_search_over_there(there: OverThere, sweeproute: Command, app: FarApp):
    app.sweep("kind=light", "x=3,30,7", "hydra.sweeper.name=first", "hydra.sweep.dir=earlier")
    words = ["hydra.sweeper.sampler=tpe", "hydra.sweeper.n_trials=1", "hydra.sweeper.metric=double"]
    there.start(
        "kind=heavy", "x=range(1,40)", *words, "hydra.sweeper.direction=maximize", "hydra.sweeper.enqueue=[best:first]"
    )
    there.ended()
    assert app.executions() == {3: 1, 7: 1, 30: 2}


def test_a_machine_that_cannot_keep_a_sweep_is_said_and_nothing_is_left_here(there: OverThere, app: FarApp):
    there.shell.root.mkdir()
    (there.shell.root / "sweeps").touch()
    said = there.run("kind=heavy", "x=1")
    assert said.code == 1
    assert said.err.splitlines()[-1].startswith("box: far cannot do it: [Errno ")
    assert not list((app.state / "sweeps").glob("*.json"))
    assert not (app.folder / "out" / "sweep_1").exists()


def test_a_line_that_is_cut_at_the_start_leaves_a_sweep_that_is_found_again(
    there: OverThere, sweeproute: Command, app: FarApp, monkeypatch
):
    start = elsewhere.start

    def cut(*words, **more):
        start(*words, **more)
        raise FarError("far cannot be reached.")

    monkeypatch.setattr(elsewhere, "start", cut)
    said = there.run("kind=heavy", "x=1")
    assert said.code == 1
    assert said.err.endswith(
        "Whether sweep_1 has started there is not known; `sweeproute status sweep_1` tells once it answers.\n"
    )
    there.ended()
    assert "1 jobs: 1 done\n" in sweeproute("status", "sweep_1").out


def test_an_id_is_used_once(there: OverThere, app: FarApp):
    there.start("kind=heavy", "x=1")
    there.ended()
    assert there.run("kind=heavy", "x=1").err.startswith("There is a sweep sweep_1 already.")
    (app.state / "sweeps" / "sweep_1.json").unlink()
    assert "box has a sweep sweep_1 already." in there.run("kind=heavy", "x=1").err


def test_a_pause_holds_what_runs_over_there_too(there: OverThere, sweeproute: Command, app: FarApp):
    there.start("kind=heavy", "x=1,2,3", "wait=[1,2]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    box = [word for word in app.words if word.startswith(BOX)]
    said = sweeproute("pause", "box", *box)
    assert said.code == 0, said.err
    assert (there.shell.root / "state" / "paused" / "box").exists()
    # What the supervisor would take for a job from here is taken.
    for number in range(2):
        with (there.shell.root / "slots" / f"{number}.lock").open("w") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    app.go()
    wait_until(lambda: "2 done" in sweeproute("status", "sweep_1").out, "the two to end")
    assert "2 done, 1 not started" in sweeproute("status", "sweep_1").out
    assert sweeproute("pause", "box", "--end", *box).code == 0
    there.ended()
    assert app.executions() == {1: 1, 2: 1, 3: 1}


def test_what_is_cleaned_goes_over_there_too_once_it_is_here(there: OverThere, sweeproute: Command, app: FarApp):
    there.start("kind=heavy", "x=1")
    there.ended()
    sweeproute("status", "sweep_1")
    old = app.state / "sweeps" / "sweep_1.json"
    said = sweeproute("clean", "--older-than", "0h", "--yes", *app.words)
    assert "Kept: sweep_1 has 1 job not brought home yet (sweeproute sync sweep_1)" in said.out
    assert old.exists()
    assert sweeproute("sync", "sweep_1").code == 0
    assert sweeproute("clean", "--older-than", "0h", "--yes", *app.words).code == 0
    assert not old.exists()
    assert not there.home().exists()
