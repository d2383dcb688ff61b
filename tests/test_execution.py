"""How long a sweep took, and how busy its platforms were, by its runs alone."""

import json

from sweeproute.execution import execution
from sweeproute.sweep_facts import SESSIONS, TOTAL
from sweeproute.sweep_runs import Attempt, SweepRuns


def attempt(job: int, started: float, ended: float | None, **changes) -> Attempt:
    facts = {
        "kind": "trial",
        "job": job,
        "model": "GLM",
        "platform": "desk",
        "state": "FINISHED",
        "started": started,
        "ended": ended,
        "run_s": None if ended is None else ended - started,
        "current": True,
        "reused": False,
    }
    return Attempt(**(facts | changes))


def sweep(*attempts: Attempt, sessions: list | None = None, **told: str) -> SweepRuns:
    tags = {SESSIONS: json.dumps(sessions)} if sessions else {}
    tags |= {f"sweeproute.{name}": value for name, value in told.items()}
    return SweepRuns("s", "r", {}, (), "sqlite:///x.db", None, None, attempts, tags)


def test_time_in_parallel_is_that_of_the_command_and_one_after_another_the_sum_of_its_jobs():
    went = execution(
        sweep(
            attempt(0, 100.0, 160.0),
            attempt(1, 100.0, 130.0, model="XGBoost"),
            attempt(2, 130.0, 170.0, platform="rack", model="XGBoost"),
            sessions=[[90.0, 180.0, {"desk": 2, "rack": 1}]],
        )
    )
    assert (went.started, went.ended, went.parallel_s, went.sequential_s) == (90.0, 180.0, 90.0, 130.0)
    desk, rack = went.platforms
    assert (desk.platform, desk.models, desk.concurrent, desk.slots) == ("desk", ("GLM", "XGBoost"), 2, 2)
    # Of two slots for 90 s, 90 s: what is left is idle, as the target of that name counts it.
    assert desk.share == 90 / 180
    assert (rack.models, rack.concurrent, rack.share) == (("XGBoost",), 1, 40 / 90)


def test_jobs_that_follow_each_other_in_one_slot_are_not_at_the_same_time():
    went = execution(sweep(attempt(0, 0.0, 10.001), attempt(1, 9.999, 20.0), attempt(2, 20.0, 20.0)))
    assert went.platforms[0].concurrent == 1
    assert (went.platforms[0].slots, went.platforms[0].share) == (None, None)


def test_a_pause_between_two_starts_is_no_time_of_the_sweep():
    sessions = [[0.0, 100.0, {"desk": 1}], [5000.0, 5050.0, {"desk": 2}]]
    went = execution(sweep(attempt(0, 10.0, 100.0), attempt(1, 5000.0, 5050.0), sessions=sessions))
    assert went.parallel_s == 100.0 + 50.0
    assert (went.platforms[0].slots, went.platforms[0].share) == (2, 140.0 / 200.0)


def test_what_came_to_nothing_took_time_and_what_was_taken_over_took_none():
    went = execution(
        sweep(
            attempt(0, 0.0, 50.0, state="LOST", current=False),
            attempt(0, 50.0, 80.0),
            attempt(1, -9000.0, 0.0, reused=True),
            attempt(2, 80.0, 90.0, state="FAILED"),
            state="FAILED",
            total="5",
        )
    )
    assert (went.parallel_s, went.sequential_s, went.platforms[0].busy_s) == (90.0, 30.0, 90.0)
    assert (went.done, dict(went.without), went.not_started) == (2, {"FAILED": 1}, 2)


def test_a_search_that_ended_in_order_with_fewer_points_lacks_none():
    assert TOTAL == "sweeproute.total"
    assert execution(sweep(attempt(0, 0.0, 1.0), state="FINISHED", total="5")).not_started == 0


def test_a_sweep_of_which_no_job_has_an_end_took_no_time_that_is_known():
    went = execution(sweep(attempt(0, 0.0, None, state="RUNNING")))
    assert (went.started, went.ended, went.parallel_s, went.platforms) == (None, None, 0, ())
    assert dict(went.without) == {"RUNNING": 1}
