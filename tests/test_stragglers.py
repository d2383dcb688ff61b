"""A slow job is started again where it is clearly expected to end first, once."""

from random import Random
from typing import Any

import pytest

from hydra_plugins.sweeproute._assignment import Assignment, Job
from hydra_plugins.sweeproute._condition import Condition
from hydra_plugins.sweeproute._durations import Durations
from hydra_plugins.sweeproute._placement import REVIEW_S
from hydra_plugins.sweeproute._policy import JobClass, Overflow, PlatformState, Policy
from hydra_plugins.sweeproute._retry import Outcome
from hydra_plugins.sweeproute._scheduler import Scheduler
from hydra_plugins.sweeproute._simulator import JobList

FINISHED = Outcome("FINISHED")
SLOW = PlatformState("slow", slots=2)
FAST = PlatformState("fast", slots=1, speed={"XGBoost": 5.0})
XGBOOST = JobClass((("model_type", "XGBoost"),), minutes=10.0)


def scheduler(
    number: int, overflow: Overflow = "always", job_class: JobClass = XGBOOST, fast: PlatformState = FAST, **more: Any
) -> Scheduler:
    source = JobList(Job(num, (f"x={num}",), job_class) for num in range(number))
    return Scheduler(Policy([], "fast", overflow=overflow), [SLOW, fast], source, rng=Random(0), **more)


def first_ends(it: Scheduler, now: float, number: int = 3) -> list[Assignment]:
    """What runs on the slow platform, once the fast one has finished its job."""
    fast, *slow = sorted(it.assign(0.0), key=lambda one: one.platform)
    assert len(slow) == number - 1
    it.finished(fast.job, "fast", fast.slot, FINISHED, now)
    return slow


def known(**seconds: float) -> Durations:
    return Durations(
        {"model": "XGBoost", "platform": where, "overrides": [f"x={num}"], "seconds": s, "outcome": "FINISHED"}
        for where, s in seconds.items()
        for num in range(3)
    )


def test_the_job_that_is_expected_to_end_last_starts_again_on_the_free_faster_slot() -> None:
    it = scheduler(3)
    slow = first_ends(it, now=120.0)
    (copy,) = it.assign(120.0)
    assert (copy.platform, copy.slot, copy.copy_of, copy.attempt) == ("fast", 0, "slow", 2)
    assert copy.decision.reason == "restarted on fast, which is expected to finish first"
    assert it.finished(copy.job, "fast", 0, FINISHED, 240.0).also == (("slow", slow[copy.job.num - 1].slot),)


def test_the_first_result_counts_whichever_it_is() -> None:
    it = scheduler(2)
    (slow,) = first_ends(it, now=120.0, number=2)
    (copy,) = it.assign(120.0)
    assert it.finished(slow.job, "slow", slow.slot, FINISHED, 130.0).also == (("fast", copy.slot),)
    assert it.done()


def test_nothing_starts_again_while_something_waits() -> None:
    it = scheduler(5)
    first_ends(it, now=120.0)
    assert [one.copy_of for one in it.assign(120.0)] == [None]


def test_a_job_starts_again_once() -> None:
    it = scheduler(2)
    first_ends(it, now=120.0, number=2)
    (copy,) = it.assign(120.0)
    verdict = it.finished(copy.job, "fast", copy.slot, Outcome("FAILED", "killed"), 130.0)
    assert not verdict.final
    assert it.assign(130.0 + REVIEW_S) == []


def test_a_job_that_is_known_to_end_soon_is_left_alone() -> None:
    it = scheduler(2, durations=known(slow=150.0, fast=30.0))
    first_ends(it, now=140.0, number=2)
    assert it.assign(140.0) == []


@pytest.mark.parametrize("fast", [FAST, PlatformState("fast", slots=1, speed={"XGBoost": 1.05})])
def test_a_platform_that_is_hardly_faster_is_no_reason(fast: PlatformState) -> None:
    it = scheduler(2, fast=fast)
    first_ends(it, now=120.0, number=2)
    assert len(it.assign(120.0)) == (fast is FAST)


def test_measured_durations_decide_which_platform_is_faster() -> None:
    it = scheduler(1, durations=known(slow=60.0, fast=300.0))
    assert [(one.platform, one.copy_of) for one in it.assign(0.0)] == [("fast", None), ("slow", "fast")]


def test_a_job_that_grows_old_starts_again_at_a_review() -> None:
    it = scheduler(2, durations=known(slow=150.0, fast=50.0))
    first_ends(it, now=120.0, number=2)
    assert it.assign(120.0) == []
    assert it.next_wakeup(120.0) == 120.0 + REVIEW_S
    (copy,) = it.assign(400.0)
    assert copy.copy_of == "slow"


@pytest.mark.parametrize("asked", ["slow", None])
def test_a_job_stays_on_the_platform_that_was_asked_for(asked: str | None) -> None:
    it = scheduler(1, job_class=JobClass(XGBOOST.fields, asked="slow") if asked else XGBOOST)
    (one,) = it.assign(0.0)
    assert one.platform == (asked or "fast")
    assert it.assign(120.0) == []


def test_where_jobs_may_not_leave_their_platform_or_it_was_switched_off_nothing_starts_again() -> None:
    it = scheduler(3, restart_slow=False)
    first_ends(it, now=120.0)
    assert it.assign(120.0) == []
    source = JobList([Job(0, ("x=0",), XGBOOST)])
    never = Scheduler(Policy([], "slow", overflow="never"), [SLOW, FAST], source, rng=Random(0))
    assert len(never.assign(0.0)) == 1
    assert never.assign(120.0) == []


@pytest.mark.parametrize("condition", [Condition.SUSPECT, Condition.DOWN])
def test_what_runs_on_a_machine_that_is_not_heard_of_is_not_taken_for_slow(condition: Condition) -> None:
    it = scheduler(2)
    first_ends(it, now=120.0, number=2)
    it.set_condition("slow", condition, "has been silent", 121.0)
    assert it.assign(121.0) == []


def test_a_faster_platform_with_a_queue_of_its_own_is_sent_the_copy() -> None:
    it = scheduler(3, fast=PlatformState("fast", slots=1, speed={"XGBoost": 5.0}, ahead=True))
    fast, *_ = sorted(it.assign(0.0), key=lambda one: one.platform)
    it.started(fast.job, "fast", 0.0)
    it.finished(fast.job, "fast", None, FINISHED, 120.0)
    (copy,) = it.assign(120.0)
    assert (copy.platform, copy.slot, copy.copy_of) == ("fast", None, "slow")
    it.started(copy.job, "fast", 120.0)
    (also,) = it.finished(copy.job, "fast", None, FINISHED, 240.0).also
    assert also[0] == "slow"
