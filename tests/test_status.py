"""`sweeproute status`: a sweep, or the newest of them, to a person."""

import json
import socket
from argparse import Namespace
from pathlib import Path

import pytest
from filelock import FileLock

from handmade_sweep import HandmadeSweep
from hydra_plugins.sweeproute._conditions import pause
from sweeproute.commands import status
from sweeproute.pointers import NoSuchSweepError


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def started(folder: Path, id: str, at: float = 1_700_000_000.0, **record) -> HandmadeSweep:
    """A sweep that was started on this machine."""
    settings = {"total": 4, "host": socket.gethostname(), "pid": 4711, "started": at} | record
    sweep = HandmadeSweep(folder.parent / id, id, **settings)
    sweep.point(folder)
    return sweep


def said(capsys, sweep: str | None) -> list[str]:
    status.run(Namespace(sweep=sweep, json=False))
    return capsys.readouterr().out.splitlines()


def test_a_running_sweep_says_what_runs_where(state, capsys):
    sweep = started(state, "sweep_a", name="depths")
    sweep.run(0, auc=0.7)
    sweep.start(1, platform="remote_4090")
    with FileLock(sweep.root / ".sweeproute" / "lock"):
        text = said(capsys, "depths")
    assert text[0].startswith("sweep_a (depths): RUNNING since 2023-11-")
    assert text[0].endswith(f"by process 4711 on {socket.gethostname()}")
    assert text[1] == "4 jobs: 1 done, 1 running, 2 not started"
    assert text[2].endswith(" left")
    assert [line.split() for line in text[4:7]] == [
        ["platform", "done", "pruned", "failed", "running", "queued", "stopped"],
        ["local_m4", "1", "0", "0", "0", "0", "0"],
        ["remote_4090", "0", "0", "0", "1", "0", "0"],
    ]
    assert text[9].startswith("  job 1 on remote_4090 since 2023-11-")
    assert text[9].endswith(": model=xgboost model.params.max_depth=4")
    assert text[-1] == f"Files: {sweep.root}"


def test_pruned_jobs_are_counted_apart_from_those_that_ran_to_their_end(state, capsys):
    sweep = started(state, "sweep_a")
    sweep.run(0, auc=0.7)
    sweep.finish(sweep.start(1), {"auc": 0.5}, state="PRUNED", pruned="below the median")
    sweep.save(state="FINISHED", ended=1_700_000_100.0)
    text = said(capsys, "sweep_a")
    assert text[1] == "4 jobs: 1 done, 1 pruned, 2 not started"
    assert ["local_m4", "1", "1", "0", "0", "0", "0"] in [line.split() for line in text]


def test_a_sweep_whose_coordinator_is_dead_leads_to_resume(state, capsys):
    started(state, "sweep_a").start(0)
    text = said(capsys, "last")
    assert text[0].startswith(f"sweep_a: stopped: process 4711 on {socket.gethostname()}, which ran it since ")
    assert text[1] == "4 jobs: 1 stopped, 3 not started"
    assert text[-1] == "Next: sweeproute resume sweep_a"


def test_what_a_far_machine_was_left_with_is_not_told_as_what_it_does_now(state, capsys):
    sweep = started(state, "sweep_a")
    sweep.change(sweep.start(0, platform="remote_4090"), far={"id": "1" * 32})
    sweep.change(sweep.start(1, platform="remote_4090"), far={"id": "2" * 32}, state="QUEUED")
    text = said(capsys, "last")
    assert text[1] == "4 jobs: 1 running, 1 queued, 2 not started"
    assert text[2] == "That is how its coordinator left it: remote_4090 may have gone on since."
    assert "Running at its end:" in text


def test_a_program_is_told_what_a_person_is(state, capsys):
    sweep = started(state, "sweep_a", name="depths")
    sweep.run(0, auc=0.7)
    sweep.start(1)
    status.run(Namespace(sweep="last", json=True))
    told = json.loads(capsys.readouterr().out)
    assert (told["id"], told["state"], told["total"], told["waiting"]) == ("sweep_a", "stopped", 4, 2)
    assert [job["state"] for job in told["jobs"]] == ["done", "stopped"]
    status.run(Namespace(sweep=None, json=True))
    assert json.loads(capsys.readouterr().out) == [told]


def test_a_platform_that_is_paused_is_named(state, capsys):
    sweep = started(state, "sweep_a")
    sweep.start(0, platform="remote_4090")
    pause("remote_4090", None)
    with FileLock(sweep.root / ".sweeproute" / "lock"):
        assert "remote_4090 is paused." in said(capsys, "last")


def test_a_finished_sweep_says_how_long_it_took(state, capsys):
    sweep = started(state, "sweep_a", total=1, state="FINISHED", ended=1_700_000_090.0)
    sweep.run(0, auc=0.7)
    text = said(capsys, "sweep_a")
    assert text[0].endswith(", 1 min 30 s after its start")
    assert not any("Next" in line for line in text)


def test_many_running_jobs_are_counted_not_listed(state, capsys):
    sweep = started(state, "sweep_a", total=30)
    for job in range(25):
        sweep.start(job)
    with FileLock(sweep.root / ".sweeproute" / "lock"):
        text = said(capsys, "last")
    assert sum(line.startswith("  job ") for line in text) == 20
    assert "  and 5 more" in text


def test_without_a_sweep_the_newest_ten_are_listed(state, capsys):
    for number in range(12):
        started(state, f"sweep_{number:02}", at=1_700_000_000.0 + number, state="FINISHED", ended=1_700_000_100.0)
    text = said(capsys, None)
    assert [line.split()[0] for line in text[1:11]] == [f"sweep_{number:02}" for number in range(11, 1, -1)]
    assert text[1].split()[1] == "finished"
    assert text[11] == "and 2 older ones"


def test_a_sweep_whose_folder_is_gone_is_said(state, capsys):
    started(state, "sweep_a").save(id="sweep_b")
    assert said(capsys, "sweep_a") == [f"sweep_a: its folder, {state.parent / 'sweep_a'}, is not there any more."]
    assert "gone" in said(capsys, None)[1]


@pytest.mark.parametrize("sweep", [None, "last"])
def test_before_the_first_sweep_the_next_step_is_said(state, sweep):
    with pytest.raises(NoSuchSweepError, match="No sweep was started here yet; start one with"):
        status.run(Namespace(sweep=sweep, json=False))
