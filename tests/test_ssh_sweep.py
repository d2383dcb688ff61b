"""Sweeps over two machines: what each runs, what comes back, what becomes of it when a line or a process ends."""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from far_app import FarApp, wait_until


@pytest.fixture
def app(tmp_path: Path):
    app = FarApp(tmp_path)
    yield app
    app.close()


def test_each_kind_of_job_runs_on_its_own_machine_and_its_files_are_here(app: FarApp) -> None:
    output = app.sweep("kind=light,heavy", "x=1,2")
    assert {(r["platform"], r["state"]) for r in app.launches()} == {("here", "FINISHED"), ("box", "FINISHED")}
    for record in app.launches():
        folder = app.folder / "out" / str(record["job"])
        assert record["value"]["double"] == 2 * int(record["overrides"][-1].removeprefix("x="))
        assert (folder / "deep" / "model.bin").read_bytes() == bytes(range(256)) * 40
        hydra = yaml.safe_load((folder / ".hydra" / "hydra.yaml").read_text())["hydra"]
        assert hydra["runtime"]["output_dir"] == str(folder)
        assert hydra["runtime"]["cwd"] == str(app.folder)
        assert yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text()) == record["overrides"]
    far = next(r for r in app.launches() if r["platform"] == "box")["value"]
    assert str(app.folder) not in far["cwd"] + far["out"] + far["beside"]  # nothing looks for a path of this side
    assert app.executions() == {1: 2, 2: 2}
    assert app.far_jobs() == []
    assert "needs the box -> box" in output


def test_a_file_that_a_job_reads_comes_along(app: FarApp, tmp_path: Path) -> None:
    data = tmp_path / "games with spaces.csv"
    data.write_text("a,b\n1,2\n")
    app.sweep("kind=heavy", "x=1", f"file='{data}'")
    assert app.launch(0)["value"]["read"] == "a,b\n1,2\n"


def test_what_warms_a_process_there_finds_what_the_jobs_read(app: FarApp, tmp_path: Path) -> None:
    data = tmp_path / "games.csv"
    data.write_text("a,b\n1,2\n")
    (app.folder / "warming.py").write_text(
        "from pathlib import Path\n\n\ndef load(cfg):\n    assert Path(cfg.file).read_text().startswith('a,b')\n"
    )
    app.sweep("kind=light,heavy", "x=1,2", f"file={data}", "hydra.launcher.preload=warming.load")
    ended = [("here", "FINISHED")] * 2 + [("box", "FINISHED")] * 2
    assert [(r["platform"], r["state"]) for r in app.launches()] == ended


def test_what_dies_there_is_tried_again(app: FarApp) -> None:
    app.sweep("kind=heavy", "x=1,2", "dies=[1]")
    assert [(r["state"], r["current"]) for r in app.launches(0)] == [("KILLED", False), ("FINISHED", True)]
    assert app.executions() == {1: 2, 2: 1}


def test_what_a_killed_job_had_kept_is_there_in_its_next_attempt(app: FarApp) -> None:
    app.sweep("kind=heavy", "x=1,2", "dies=[1]")
    assert app.launch(0)["value"]["came"] == ["cpu"]
    assert app.launch(1)["value"]["came"] == []


def test_an_output_whose_name_is_not_taken_here_is_left_out_and_its_job_is_as_good_as_any(app: FarApp) -> None:
    output = app.sweep("kind=heavy", "x=1", "writes=['roc\\auc.txt',other.txt]")
    assert app.launch(0)["state"] == "FINISHED"
    assert (app.folder / "out" / "0" / "other.txt").exists()
    assert "an output of a job on box is left out: " in output


def test_what_raises_there_fails_alone_with_its_own_words(app: FarApp) -> None:
    output = app.sweep("kind=heavy", "x=1,2", "raises=[1]", code=1)
    assert "1 is unlucky" in output
    assert app.launch(0)["error"]["type"] == "ValueError"
    assert "is unlucky" in app.launch(0)["error"]["traceback"]
    assert app.launch(1)["state"] == "FINISHED"


BOX = "hydra.launcher.platforms.box"
AT_BOX = f"+{BOX}.overrides=['where=box']"


def test_what_a_machine_lacks_over_there_sends_its_job_here_with_the_tasks_own_words(app: FarApp) -> None:
    output = app.sweep("kind=heavy", "x=1,2", "lacks=[box]", AT_BOX)
    assert "there is no R on box: install it" in output
    for job in (0, 1):
        first, second = app.launches(job)
        assert (first["platform"], first["state"], first["error"]["class"]) == ("box", "FAILED", "lacking")
        assert (second["platform"], second["state"], second["decision"]) == ("here", "FINISHED", "scheduled_fallback")
        assert second["reason"] == "box was tried without success"
    assert app.executions() == {1: 2, 2: 2}


def test_where_no_other_machine_may_do_it_the_sentence_is_the_jobs_failure(app: FarApp) -> None:
    able = f"+{BOX}.capabilities=[R]"
    output = app.sweep("kind=heavy", "x=1", "lacks=[box]", "needs=[R]", able, AT_BOX, code=1)
    assert "there is no R on box: install it" in output
    (only,) = app.launches(0)
    assert (only["platform"], only["state"], only["current"]) == ("box", "FAILED", True)


def test_a_job_goes_where_its_capability_is_whatever_the_rules_say(app: FarApp) -> None:
    app.sweep("kind=light,heavy", "x=1,2", "needs=[R]", f"+{BOX}.capabilities=[R]", "hydra.launcher.overflow=always")
    assert {(r["platform"], r["state"]) for r in app.launches()} == {("box", "FINISHED")}
    assert {r["reason"] for r in app.launches()} == {"here lacks R", "needs the box"}


def test_a_machine_that_cannot_be_reached_is_said_at_once_and_its_jobs_run_here(app: FarApp) -> None:
    app.shell.cut(True)
    output = app.sweep("kind=heavy", "x=1,2")
    assert "box cannot be reached (ssh: connect to host far port 22: Network is unreachable)" in output
    assert {(r["platform"], r["decision"]) for r in app.launches() if r["current"]} == {("here", "scheduled_fallback")}
    assert app.executions() == {1: 1, 2: 1}


def test_a_python_that_is_missing_there_is_said_with_the_cure_and_its_jobs_run_here(app: FarApp) -> None:
    output = app.sweep("kind=heavy", "x=1", "hydra.launcher.platforms.box.python=/nowhere/python")
    assert "/nowhere/python" in output
    assert app.launch(0)["platform"] == "here"


def test_jobs_go_on_after_their_coordinator_was_killed_and_are_adopted(app: FarApp) -> None:
    process = app.start("kind=heavy", "x=1,2,3,4,5", "wait=[all]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    app.go()
    wait_until(lambda: len(app.executions()) == 5, "the queue to be worked through without a coordinator")
    app.sweep("kind=heavy", "x=1,2,3,4,5", "wait=[all]", "hydra.sweeper.resume=true")
    assert app.executions() == dict.fromkeys(range(1, 6), 1)
    assert [(r["state"], r["current"], r["attempt"]) for r in app.launches()] == [("FINISHED", True, 1)] * 5
    assert app.far_jobs() == []


def test_what_was_on_record_when_its_coordinator_was_killed_is_forgotten_over_there(app: FarApp) -> None:
    process = app.start("kind=heavy", "x=1,2", "wait=[all]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # As if the end of job 0 had been recorded here, and nobody had told the far side.
    path = app.folder / "out" / "0" / "launch.json"
    path.write_text(json.dumps(app.launches(0)[0] | {"state": "KILLED"}))
    app.go()
    app.sweep("kind=heavy", "x=1,2", "wait=[all]", "hydra.sweeper.resume=true")
    assert app.executions() == {1: 2, 2: 1}
    assert app.far_jobs() == []


def test_a_coordinator_that_was_killed_and_comes_back_adopts_what_still_runs(app: FarApp) -> None:
    process = app.start("kind=heavy", "x=1,2,3", "wait=[all]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    later = app.start("kind=heavy", "x=1,2,3", "wait=[all]", "hydra.sweeper.resume=true")
    wait_until(lambda: "RUNNING" in {r["state"] for r in app.launches()}, "the later coordinator")
    app.go()
    output, _ = later.communicate(timeout=60)
    assert later.returncode == 0, output
    assert app.executions() == {1: 1, 2: 1, 3: 1}


def test_ctrl_c_ends_what_runs_there_too(app: FarApp) -> None:
    process = app.start("kind=heavy", "x=1,2,3", "wait=[all]")
    kept = [app.folder / "out" / job / "checkpoint" / "0" for job in "01"]
    wait_until(lambda: all(path.exists() for path in kept), "what both have kept to be here")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert {r["state"] for r in app.launches()} == {"KILLED"}
    wait_until(lambda: app.far_jobs() == [], "the far side to be empty")
    app.go()
    app.sweep("kind=heavy", "x=1,2,3", "wait=[all]", "hydra.sweeper.resume=true")
    assert app.executions() == {1: 2, 2: 2, 3: 1}
    assert [app.launch(job)["value"]["came"] for job in range(3)] == [["cpu"], ["cpu"], []]


def test_a_sweep_whose_machine_is_gone_for_good_goes_on_without_it(app: FarApp) -> None:
    process = app.start("kind=heavy", "x=1,2,3", "wait=[all]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    process.kill()
    process.communicate()
    app.go()
    app.words = [word for word in app.words if ".host=" not in word] + ["hydra.launcher.platforms.box.host=null"]
    app.sweep("kind=heavy", "x=1,2,3", "wait=[all]", "hydra.sweeper.resume=true")
    told = {(r["state"], r["platform"], r["current"]) for r in app.launches()}
    assert told == {("FINISHED", "here", True), ("LOST", "box", False)}


def test_a_job_with_an_attempt_on_each_of_two_machines_is_adopted_once(app: FarApp) -> None:
    process = app.start("kind=heavy", "x=1,2", "wait=[all]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    process.kill()
    process.communicate()
    # As if another machine had been given job 0, too, and had lost it since.
    first = app.launches(0)[0]
    copy = app.folder / "out" / "0.attempt2"
    copy.mkdir()
    away = {"platform": "other", "attempt": 2, "far": {"id": "2" * 32}}
    (copy / "launch.json").write_text(json.dumps(first | away))
    with (app.folder / "out" / ".sweeproute" / "jobs.jsonl").open("a") as jobs:
        jobs.write(json.dumps({"job": 0, "attempt": 2, "folder": "0.attempt2"}) + "\n")
    app.go()
    assert app.shell is not None
    box = f"host: far, python: '{sys.executable}', max_concurrent_jobs: 1, specs: {{cpu_cores: 2, memory_gb: 64}}"
    other = f"+hydra.launcher.platforms.other={{{box}, root: '{app.shell.home / 'other'}'}}"
    app.sweep("kind=heavy", "x=1,2", "wait=[all]", "hydra.sweeper.resume=true", other)
    assert app.launch(0)["platform"] == "box"
    assert {(r["state"], r["current"]) for r in app.launches(0)} == {("FINISHED", True), ("KILLED", False)}
    assert app.executions() == {1: 1, 2: 1}


def test_what_fits_nowhere_else_fails_once_its_machine_has_been_silent_for_too_long(app: FarApp) -> None:
    words = ("+memory=8", "+hydra.launcher.fields.memory_gb=memory", "hydra.launcher.lost_after_min=0.1")
    process = app.start("kind=heavy", "x=1,2,3", "wait=[all]", *words)
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    app.shell.cut(True)
    app.close()
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 1, output
    assert {r["state"] for r in app.launches() if r["current"]} == {"FAILED"}
    assert "here has 4 GB of memory in all, 8 GB needed" in output


@pytest.mark.parametrize("kind", ["light", "heavy"])
def test_a_value_that_cannot_be_resolved_fails_its_job_wherever_it_was_to_run(app: FarApp, kind: str) -> None:
    output = app.sweep(f"kind={kind}", "x=1", "file='${oc.env:NO_SUCH_VARIABLE}'", code=1)
    assert "NO_SUCH_VARIABLE" in output
    assert "1 failed" in output


def test_a_file_that_cannot_be_read_fails_its_jobs_alone(app: FarApp, tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("a\n")
    words = [f"'{tmp_path / 'good.csv'}'", "/proc/self/mem"]  # whose reading is an error, also for root
    output = app.sweep("kind=heavy", "x=1", f"file={','.join(words)}", code=1)
    assert sorted(r["state"] for r in app.launches()) == ["FINISHED", "KILLED"]
    assert "a job cannot be brought there: " in output


def test_two_sweeps_of_one_name_do_not_end_each_others_jobs(app: FarApp, tmp_path: Path) -> None:
    first = app.start("kind=heavy", "x=1,2", "wait=[all]", "hydra.sweeper.id=chapter4", "hydra.sweep.dir=theirs")
    wait_until(lambda: len(app.executions()) == 2, "the first to run")
    second = app.start("kind=heavy", "x=3,4", "hydra.sweeper.id=chapter4", "hydra.launcher.overflow=never")
    wait_until(lambda: len(app.far_jobs()) == 4, "the second to be in the queue, too")
    app.go()
    for process in (first, second):
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    assert app.executions() == {1: 1, 2: 1, 3: 1, 4: 1}


def test_a_supervisor_that_is_killed_loses_nothing(app: FarApp) -> None:
    process = app.start("kind=heavy", "x=1,2,3,4", "wait=[all]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    os.kill(app.supervisor()["pid"], signal.SIGKILL)
    app.go()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert app.executions() == {1: 1, 2: 1, 3: 1, 4: 1}
    assert [(r["state"], r["attempt"]) for r in app.launches()] == [("FINISHED", 1)] * 4


def test_a_line_that_goes_down_for_long_lets_the_queue_go_on_at_both_ends(app: FarApp) -> None:
    process = app.start("kind=heavy", "x=1,2,3,4,5,6", "wait=[1,2]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    app.shell.cut(True)
    end_lines()
    wait_until(lambda: any(r["platform"] == "here" for r in app.launches()), "a fallback", 30)
    wait_until(lambda: {3, 4, 5, 6} <= app.executions().keys(), "what waited to run here")
    app.shell.cut(False)
    app.go()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert {r["job"] for r in app.launches() if r["current"] and r["state"] == "FINISHED"} == set(range(6))
    assert {r["platform"] for r in app.launches() if r["current"]} == {"here", "box"}
    assert app.executions()[1] == app.executions()[2] == 1  # what had started was not run again
    assert "box is back" in output


def test_what_a_job_had_kept_over_there_is_gone_on_from_here_when_its_machine_never_comes_back(app: FarApp) -> None:
    process = app.start("kind=heavy", "x=1,2", "wait=[1]", "hydra.launcher.lost_after_min=0.01")
    kept = app.folder / "out" / "0" / "checkpoint" / "0"
    wait_until(lambda: kept.exists() and kept.read_text() == "cpu", "what the job keeps to come over while it runs")
    app.shell.cut(True)
    end_lines()
    app.close()
    (kept.parent / "1~far").write_text("what was on its way when the line was cut")
    app.go()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert [(r["platform"], r["state"]) for r in app.launches(0)] == [("box", "LOST"), ("here", "FINISHED")]
    assert app.launch(0)["value"]["came"] == ["cpu"]
    assert app.executions()[1] == 2


def end_lines() -> None:
    """End the far ends of the channels that are open, as a line does that goes down."""

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "i.readline())" in " ".join(process.cmdline()):
                process.kill()


def test_what_others_keep_from_starting_there_runs_here(app: FarApp) -> None:
    others = app.start("kind=heavy", "x=1,2", "wait=[all]", "hydra.sweep.dir=theirs")
    wait_until(lambda: len(app.executions()) == 2, "another sweep to take both slots")
    app.sweep("kind=heavy", "x=3", "hydra.launcher.overflow=always")
    assert app.launch(0)["platform"] == "here"
    assert "box cannot start the next job yet (all 2 slots are taken)" in app.launch(0)["reason"]
    app.go()
    others.communicate(timeout=60)
    assert app.executions() == {1: 1, 2: 1, 3: 1}
    assert app.far_jobs() == []


def test_a_queue_over_there_follows_what_is_learned_of_durations(app: FarApp) -> None:
    app.sweep("kind=heavy", "x=range(1,9)", "takes=0,0.3", "hydra.launcher.platforms.box.max_concurrent_jobs=1")
    started = sorted(app.launches(), key=lambda launch: launch["started_at"])
    assert [launch["overrides"][-1] for launch in started[:4]] == ["takes=0", "takes=0.3"] * 2
    assert [launch["overrides"][-1] for launch in started[-3:]] == ["takes=0"] * 3


def test_a_pause_lets_what_runs_end_and_sends_the_rest_elsewhere(app: FarApp) -> None:
    process = app.start("kind=heavy", "x=1,2,3,4", "wait=[1,2]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    paused = app.state / "paused"
    paused.mkdir(parents=True)
    (paused / "box").touch()
    wait_until(lambda: {3, 4} <= app.executions().keys(), "the rest to run here")
    app.go()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert app.executions() == {1: 1, 2: 1, 3: 1, 4: 1}
    assert {r["platform"] for r in app.launches(2) + app.launches(3) if r["current"]} == {"here"}
