"""Tests of the bars of a timeline."""

import pytest

from handmade_sweep import HandmadeSweep
from sweeproute.plot_timeline import Bar, bars, pauses


@pytest.fixture
def sweep(tmp_path) -> HandmadeSweep:
    return HandmadeSweep(tmp_path / "sweep")


def ran(sweep: HandmadeSweep, job: int, start: float, end: float | None, attempt: int = 1, **record) -> None:
    told = {"started_at": start, "ended_at": end, "state": "FINISHED", "current": True} | record
    sweep.start(job, attempt, **told)


def test_jobs_that_run_at_the_same_time_stand_in_lanes_of_their_platform(sweep):
    ran(sweep, 0, 100, 110)
    ran(sweep, 1, 101, 104)
    ran(sweep, 2, 104, 120)
    ran(sweep, 3, 105, 106, platform="far")
    ran(sweep, 4, 110, 112)
    found = bars(sweep.root)
    assert [(bar.platform, bar.lane) for bar in found] == [
        ("local_m4", 0),
        ("local_m4", 1),
        ("local_m4", 1),
        ("far", 0),
        ("local_m4", 0),
    ]


def test_each_attempt_is_a_bar_with_its_outcome(sweep):
    ran(sweep, 0, 100, 110, current=False, state="LOST")
    ran(sweep, 0, 111, 120, attempt=2)
    ran(sweep, 1, 101, 119, current=False)
    ran(sweep, 1, 102, 118, attempt=2)
    ran(sweep, 2, 121, 122, state="PRUNED")
    ran(sweep, 3, 123, None, state="KILLED", run_s=4.0)
    sweep.start(4, started_at=None, state="QUEUED")
    assert [(bar.started, bar.ended, bar.outcome) for bar in bars(sweep.root)] == [
        (100, 110, "LOST"),
        (101, 119, "TWICE"),
        (102, 118, "FINISHED"),
        (111, 120, "FINISHED"),
        (121, 122, "PRUNED"),
        (123, 127, "KILLED"),
    ]


def test_a_long_time_in_which_nothing_ran_is_shortened():
    work = [Bar("a", 1000.0, 1100.0, "FINISHED"), Bar("a", 1050.0, 1120.0, "FINISHED")]
    late = [Bar("a", 9120.0, 9200.0, "FINISHED")]
    at, found = pauses([*work, *late])
    ((place, seconds),) = found
    assert seconds == 8000.0
    assert (at(1000.0), at(1120.0), at(9120.0), at(9200.0)) == pytest.approx((0, 120, 128, 208))
    assert place == pytest.approx(124)


def test_a_short_time_in_which_nothing_ran_is_drawn_as_it_was():
    at, found = pauses([Bar("a", 0.0, 10.0, "FINISHED"), Bar("a", 60.0, 70.0, "FINISHED")])
    assert found == []
    assert at(70.0) == 70.0
