"""What a person reads of a plan."""

from datetime import datetime, timedelta

import pytest

from hydra_plugins.sweeproute._admission import PlatformState
from hydra_plugins.sweeproute._backend import Platform
from hydra_plugins.sweeproute._estimates import Estimate, Estimates
from hydra_plugins.sweeproute._plan import Plan, PlannedJob
from hydra_plugins.sweeproute._plan_after import NOTHING, Afterwards, Following
from hydra_plugins.sweeproute._plan_text import lines, warnings
from hydra_plugins.sweeproute._platforms import Registry
from hydra_plugins.sweeproute._policy import Alternative, Policy
from hydra_plugins.sweeproute.config import PlatformConf

MADE_AT = datetime(2026, 11, 25, 12, 0).astimezone()
NO_HOST = "has no host configured (set registry.platforms.box.host)"


def job(number: int, **changes) -> PlannedJob:
    settings = {
        "overrides": ("model=glm", f"c={number}"),
        "model": "GLM",
        "platform": "here",
        "status": "scheduled",
        "reason": "it is small",
        "starts_s": 0.0,
        "estimate": Estimate(1.0, "stated"),
    }
    return PlannedJob(number, **settings | changes)


def plan(*jobs: PlannedJob, seconds: float = 60.0, deadline=None, history=(), host=None, more=NOTHING) -> Plan:
    platforms = {name: Platform(name, 2, 1, "cpu", (), False) for name in ("here", "box")}
    confs = {"here": PlatformConf(), "box": PlatformConf(host=host)}
    unavailable = {} if host else {"box": NO_HOST}
    registry = Registry(
        platforms, confs, unavailable, Policy((), "here"), ("here has 2 cores: 2 of 4 slots are used.",)
    )
    estimates = Estimates(history, [PlatformState("here", slots=2), PlatformState("box", slots=2)])
    return Plan(jobs, registry, estimates, MADE_AT, seconds, deadline, more)


def test_jobs_that_are_decided_alike_share_a_line():
    jobs = [job(number, starts_s=0.0 if number < 2 else 60.0) for number in range(100)]
    text = lines(plan(*jobs), "job.minutes")
    assert text[0] == "Plan of 100 jobs; nothing runs."
    assert text[1].split() == ["model", "platform", "status", "jobs", "at", "once", "each", "reason"]
    assert text[2].split() == ["GLM", "here", "scheduled", "100", "2", "1.0", "s", "it", "is", "small"]
    assert text[3:] == [
        "",
        "here: 100 jobs on 2 slots",
        f"box: {NO_HOST}",
        "here has 2 cores: 2 of 4 slots are used.",
        "It would take 1 min 0 s on 2 slots (1 min 40 s one job after another), and end at 2026-11-25 12:01.",
        "Durations from job.minutes, by the registry's speed: GLM on here.",
    ]


def test_what_was_considered_stands_below_unless_it_is_the_reason_itself():
    fallback = {"status": "scheduled_fallback", "reason": f"box {NO_HOST}"}
    same = job(0, **fallback, considered=(Alternative("box", NO_HOST),))
    assert not any("considered" in line for line in lines(plan(same), None))
    other = job(1, **fallback, considered=(Alternative("box", NO_HOST), Alternative("rack", "is full")))
    assert "    considered: rack is full" in lines(plan(other), None)


def test_it_is_said_where_durations_are_known_from():
    ran = {"model": "GLM", "platform": "here", "overrides": ["c=1"], "seconds": 5.0, "outcome": "FINISHED"}
    measured, scaled = (
        job(0, estimate=Estimate(5.0, "measured")),
        job(1, platform="box", estimate=Estimate(20, "scaled")),
    )
    text = lines(plan(measured, scaled, history=[ran], host="me@box"), None)
    assert "Durations from what has finished there: GLM on here (1 run)." in text
    assert "Durations from what has finished elsewhere, by the registry's speed: GLM on box." in text
    assert "box: 1 job on 2 slots, taken to be there (me@box)" in text


def test_lengths_that_differ_are_a_range():
    text = lines(plan(job(0), job(1, estimate=Estimate(90.0, "stated"))), None)
    assert "1.0 s to 1 min 30 s" in text[2]
    assert "Durations from an hour a job, for want of anything better, by the registry's speed: GLM on here." in text


@pytest.mark.parametrize(("hours", "expected"), [(6.0, 0), (6.1, 1)])
def test_more_than_six_hours_is_a_warning(hours, expected):
    said = warnings(plan(job(0), seconds=hours * 3600))
    assert len(said) == expected
    assert said == ["The sweep is estimated to take 6 h 6 min, more than 6 h 0 min."] * expected


def test_an_end_past_the_deadline_is_a_warning():
    late = plan(job(0), seconds=3600, deadline=MADE_AT + timedelta(minutes=59))
    assert warnings(late) == ["The sweep would end at 2026-11-25 13:00, past its deadline, 2026-11-25 12:59."]
    assert f"Warning: {warnings(late)[0]}" in lines(late, None)
    assert not warnings(plan(job(0), seconds=3600, deadline=MADE_AT + timedelta(minutes=61)))


def test_jobs_that_cannot_run_are_a_warning_with_the_reasons():
    stuck = [
        job(number, platform=None, status="queued", reason=f"box lacks {number} GB", starts_s=None, estimate=None)
        for number in range(5)
    ]
    text = lines(plan(*stuck, seconds=0.0), None)
    assert text[-1] == (
        "Warning: 5 jobs cannot run as things stand: "
        "box lacks 0 GB; box lacks 1 GB; box lacks 2 GB; and 2 more reasons."
    )
    assert not any(line.startswith("It would take") for line in text)


def test_what_follows_stands_below_the_table_and_counts():
    following = (Following(1, "two on the holdout.", (("a=1",), ("a=2",))), Following(2, "one more.", (("a=3",),)))
    more = Afterwards(following, seconds=20.0, sequential_s=30.0)
    text = lines(plan(job(0), more=more), "job.minutes")
    assert text[3:6] == [
        "When all of these have ended well: two on the holdout.",
        "When those have ended, too: one more.",
        "",
    ]
    assert (
        "It would take 1 min 0 s on 2 slots (31 s one job after another), the last 20 s of it for what follows, and "
        "end at 2026-11-25 12:01."
    ) in text
    stuck = plan(job(0), more=Afterwards(following, nowhere=("box lacks R",)))
    assert warnings(stuck) == ["Of what follows, not all can run as things stand: box lacks R."]
