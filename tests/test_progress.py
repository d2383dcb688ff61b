"""How far a sweep is can be told from its folder, whoever runs it, and when nobody does any more."""

import shutil
import time

import pytest
from filelock import FileLock

from handmade_sweep import HandmadeSweep
from sweeproute.pointers import Pointer
from sweeproute.progress import clock, is_running, progress
from sweeproute.sweep_folder import sweep_record


@pytest.fixture
def sweep(tmp_path):
    import socket

    made = HandmadeSweep(tmp_path / "sweep", total=10, host=socket.gethostname(), pid=4711)
    (made.root / ".sweeproute" / "lock").touch()
    return made


def look(sweep):
    return progress(Pointer(sweep.id, None, sweep.root, ("train.py",), sweep.root, "python", 1.0))


def held(sweep):
    """What a coordinator holds as long as it lives."""
    return FileLock(sweep.root / ".sweeproute" / "lock")


def test_a_sweep_whose_lock_is_held_runs(sweep):
    with held(sweep):
        assert look(sweep).state == "running"
        assert look(sweep).pid == 4711


def test_a_sweep_that_says_it_runs_and_whose_lock_is_free_has_stopped(sweep):
    assert look(sweep).state == "stopped"
    assert not is_running(sweep.root, sweep_record(sweep.root))


def test_looking_takes_the_lock_from_nobody(sweep):
    look(sweep)
    with held(sweep).acquire(timeout=0):
        pass


def test_a_sweep_on_another_machine_is_believed(sweep):
    sweep.save(host="elsewhere")
    assert look(sweep).state == "running"


@pytest.mark.parametrize(("said", "state"), [("FINISHED", "finished"), ("FAILED", "failed"), ("KILLED", "stopped")])
def test_a_sweep_that_has_ended_says_how(sweep, said, state):
    sweep.save(state=said, ended=1_700_000_060.0)
    assert look(sweep).state == state
    assert look(sweep).ended == 1_700_000_060.0


def test_a_folder_that_is_gone_or_is_another_sweeps_is_said(sweep):
    sweep.save(id="sweep_b")
    assert look(sweep).state == "gone"
    shutil.rmtree(sweep.root)
    assert look(sweep).state == "gone"


def test_jobs_are_counted_by_state_and_platform(sweep):
    sweep.run(0, auc=0.7)
    sweep.change(sweep.start(1), state="FAILED")
    sweep.change(sweep.start(2), state="QUEUED", platform="remote_4090", far={"id": "x"})
    sweep.start(3, platform="remote_4090")
    sweep.start(4)
    with held(sweep):
        found = look(sweep)
    assert [job.state for job in found.jobs] == ["done", "failed", "queued", "running", "running"]
    assert found.platforms == ["local_m4", "remote_4090"]
    assert (found.count("running"), found.count("running", "remote_4090"), found.waiting) == (2, 1, 5)
    assert found.jobs[3].started_at == 1_700_000_001.0


def test_without_a_coordinator_only_what_was_sent_away_may_still_run(sweep):
    sweep.start(0)
    sweep.start(1, platform="remote_4090", far={"id": "x"})
    assert [job.state for job in look(sweep).jobs] == ["stopped", "running"]


def test_the_time_left_is_what_the_rest_takes_at_the_pace_so_far(sweep):
    now = time.time()
    with held(sweep):
        assert look(sweep).left_s(now) is None
        for job in range(4):
            sweep.run(job, auc=0.7)
        for job in (4, 5):
            sweep.start(job, started_at=now - 0.5)
        # 4 of 2 s each to come on two slots, and 1.5 s of each of the two that run
        assert look(sweep).left_s(now) == pytest.approx((4 * 2.0 + 2 * 1.5) / 2)
    assert look(sweep).left_s(now) is None


def test_a_time_of_another_day_has_its_day():
    now = time.mktime((2026, 11, 25, 12, 0, 0, 0, 0, -1))
    assert clock(now - 3600, now) == "11:00:00"
    assert clock(now - 86400, now) == "2026-11-24 12:00"
