"""Jobs that are not worth going on end soon, wherever they run, and are neither failed nor run again."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from disturbed_sweep import counts
from far_app import wait_until
from pruned_app import PrunedApp
from test_ssh_sweep import end_lines
from workstation import Workstation

SHARED = ("kind=heavy", "+hydra.launcher.platforms.box.shared_disk=true")
WHERE = pytest.mark.parametrize("where", [("kind=light",), ("kind=heavy",), SHARED], ids=["here", "box", "shared"])
TOLD = {"status": "pruned", "reason": "a score of 0.1", "score": 0.1, "step_s": 0.5}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[PrunedApp]:
    app = PrunedApp(tmp_path)
    yield app
    app.close()


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@WHERE
def test_a_job_that_is_not_worth_going_on_frees_its_slot_within_two_seconds(
    app: PrunedApp, where: tuple[str, ...]
) -> None:
    app.go(1)
    process = app.start(*where, "x=1,9")
    wait_until(lambda: app.ended(0), "the end of job 0")
    wait_until(lambda: (app.folder / "out" / "1" / "progress.jsonl").exists(), "job 1 to report")
    app.go()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    record = app.launch(0)
    assert (record["state"], record["pruned"], record["value"]) == ("PRUNED", "a score of 0.1", TOLD)
    assert app.launch(1)["state"] == "FINISHED"
    ((_, told_at),) = app.lines("decided")
    assert record["ended_at"] - told_at < 2.0
    # Also what came between the last look and the end.
    heard = app.lines("heard")
    assert sorted(line[:3] for line in heard) == [[0, 1, 0.1], [0, 2, 0.1], [1, 1, 0.9], [1, 2, 0.9], [1, 3, 0.9]]
    reported_at = (app.folder / "out" / "0" / "progress.jsonl").stat().st_mtime
    assert told_at - reported_at < 2.0
    assert "1 done, 1 pruned" in output.replace("1 of 2 done", "1 done")
    assert "failed" not in output
    assert json.loads((app.folder / "out" / ".sweeproute" / "sweep.json").read_text())["state"] == "FINISHED"
    again = app.sweep(*where, "x=1,9", "hydra.sweeper.resume=true")
    assert app.executions() == {1: 1, 9: 1}, again


@WHERE
def test_a_job_that_does_not_listen_is_ended_and_counts_with_what_it_had_reported(
    app: PrunedApp, where: tuple[str, ...]
) -> None:
    app.go(1)
    process = app.start(*where, "x=1,9", "deaf=[1]")
    wait_until(lambda: app.ended(0), "the end of job 0")
    app.go()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert [(r["state"], r["attempt"], r["error"]) for r in app.launches()] == [
        ("PRUNED", 1, None),
        ("FINISHED", 1, None),
    ]
    assert app.launch(0)["value"] == TOLD
    ((_, told_at),) = app.lines("decided")
    assert 1.0 <= app.launch(0)["ended_at"] - told_at < 2.0
    wait_until(lambda: is_gone(int((app.at / "child-1").read_text())), "what the job had started to be gone")
    assert app.executions() == {1: 1, 9: 1}


@WHERE
def test_a_job_that_comes_to_its_end_though_it_was_told_has_finished(app: PrunedApp, where: tuple[str, ...]) -> None:
    app.go(1, 3)
    output = app.sweep(*where, "x=1", "late=[1]")
    assert app.lines("decided")
    assert app.launch(0)["state"] == "FINISHED"
    assert app.launch(0)["value"]["whole"] == 1
    assert "pruned" not in output


@WHERE
def test_a_sweep_that_prunes_nothing_hears_nothing(app: PrunedApp, where: tuple[str, ...]) -> None:
    del app.environment["PRUNES"]
    app.go()
    app.sweep(*where, "x=1")
    assert app.launch(0)["state"] == "FINISHED"
    assert len((app.folder / "out" / "0" / "progress.jsonl").read_text().splitlines()) == 3
    assert app.lines("heard") == []


def test_a_machine_whose_line_is_down_is_told_at_the_next_contact(app: PrunedApp) -> None:
    app.go(1)
    (app.at / "undecided").touch()
    process = app.start("kind=heavy", "x=1", "hydra.launcher.overflow=never")
    wait_until(lambda: len(app.lines("heard")) == 2, "the coordinator to hear of the second step")
    app.shell.cut(True)
    end_lines()
    (app.at / "undecided").unlink()
    wait_until(lambda: app.lines("decided"), "the decision")
    assert app.launch_state(0) == "RUNNING"
    app.shell.cut(False)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert (app.launch(0)["state"], app.launch(0)["value"]) == ("PRUNED", TOLD)
    assert app.executions() == {1: 1}
    assert app.far_jobs() == []


def test_a_coordinator_that_comes_back_hears_again_what_was_reported(app: PrunedApp) -> None:
    app.go(1)
    (app.at / "undecided").touch()
    words = ("kind=heavy", "x=1", "hydra.launcher.overflow=never")
    process = app.start(*words)
    wait_until(lambda: len(app.lines("heard")) == 2, "the coordinator to hear of the second step")
    process.kill()
    process.communicate()
    (app.at / "undecided").unlink()
    app.sweep(*words, "hydra.sweeper.resume=true")
    assert [line[:2] for line in app.lines("heard")] == [[0, 1], [0, 2]] * 2
    assert [(r["state"], r["attempt"]) for r in app.launches()] == [("PRUNED", 1)]
    assert app.executions() == {1: 1}


def test_a_real_machine_hears_it_when_it_can_be_reached_again(workstation: Workstation, tmp_path: Path) -> None:
    box = workstation
    with counts(box) as at:
        app = PrunedApp(tmp_path, python=box.python, ssh_config=box.ssh_config, host=box.host, at=at)
        (at / "undecided").touch()
        box.run(f"touch {at}/go-1")
        process = app.start("kind=heavy", "x=1,2", "deaf=[2]", "hydra.launcher.overflow=never")
        wait_until(lambda: len(app.lines("heard")) >= 2, "the coordinator to hear of a second step")
        box.kill_sshd()
        box.kill_connections()
        (at / "undecided").unlink()
        wait_until(lambda: app.lines("decided"), "a decision")
        assert {r["state"] for r in app.launches()} == {"RUNNING"}
        box.start_sshd()
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        assert [r["state"] for r in app.launches()] == ["PRUNED", "PRUNED"]
        assert [app.launch(job)["value"]["score"] for job in (0, 1)] == [0.1, 0.2]
