"""A failed attempt is judged by what failed: the task, the memory, the platform, or what lies between."""

from random import Random
from typing import Any

import pytest

from hydra_plugins.sweeproute._admission import JobClass
from hydra_plugins.sweeproute._retry import Backoff, ErrorClass, NextTry, Outcome, RetryQueue, RetryRules

JOB = JobClass((("model_type", "XGBoost"),))
MEMORY_GB = {"local_m4": 24.0, "remote_4090": 64.0}


def judge(error: ErrorClass, job_class: JobClass = JOB, **settings: Any) -> NextTry:
    rules = RetryRules(
        Random(1),
        settings.get("max_attempts", 3),
        settings.get("backoff", Backoff()),
        settings.get("user_errors", False),
    )
    return rules.next_try(
        Outcome("FAILED", error, "has no Python"),
        job_class,
        settings.get("platform", "remote_4090"),
        settings.setdefault("failures", {}),
        MEMORY_GB,
        settings.get("runs", lambda waits: set(waits.avoid) != set(MEMORY_GB)),
    )


def test_what_the_task_raised_is_final() -> None:
    assert judge("user").job_class is None


def test_what_the_task_raised_is_tried_again_on_request_and_never_elsewhere() -> None:
    assert judge("user", user_errors=True).job_class == JOB
    assert judge("user", user_errors=True, failures={"remote_4090": 2}).job_class is None


@pytest.mark.parametrize("error", ["killed", "lost", "time_limit"])
def test_the_infrastructure_gets_three_attempts_then_another_platform(error: ErrorClass) -> None:
    failures: dict[str, int] = {}
    assert judge(error, failures=failures).job_class == JOB
    assert judge(error, failures=failures).job_class == JOB
    elsewhere = judge(error, failures=failures)
    assert elsewhere.job_class is not None
    assert elsewhere.job_class.avoid == ("remote_4090",)
    assert elsewhere.reason == "3 of 3 attempts used up on remote_4090, next on another platform"


def test_a_job_that_used_up_two_platforms_is_final() -> None:
    used_up = {"remote_4090": 3, "local_m4": 2}
    assert judge("killed", platform="local_m4", failures=used_up, runs=lambda _: True).job_class is None


def test_a_job_whose_platform_lacks_what_it_requires_goes_elsewhere_at_once_and_at_no_cost() -> None:
    failures: dict[str, int] = {}
    elsewhere = judge("lacking", failures=failures)
    assert elsewhere.job_class is not None
    assert (elsewhere.job_class.avoid, elsewhere.delay_s, failures) == (("remote_4090",), 0.0, {})
    assert elsewhere.reason == "remote_4090 lacks what it requires, next on another platform"
    assert judge("lacking", elsewhere.job_class, platform="local_m4").job_class is None
    assert judge("lacking", JobClass((), asked="remote_4090")).job_class is None


def test_a_platform_that_was_asked_for_is_not_left() -> None:
    asked = JobClass((), asked="remote_4090")
    assert judge("lost", asked, failures={"remote_4090": 2}).job_class is None
    alone = judge("out_of_memory", JobClass((), asked="local_m4"), platform="local_m4").job_class
    assert alone is not None
    assert (alone.alone, alone.avoid) == (True, ())


def test_without_another_platform_the_attempts_are_all_there_is() -> None:
    assert judge("lost", failures={"remote_4090": 2}, runs=lambda _: False).job_class is None


def test_out_of_memory_goes_to_a_platform_with_more_then_alone_then_fails() -> None:
    failures: dict[str, int] = {}
    larger = judge("out_of_memory", platform="local_m4", failures=failures).job_class
    assert larger is not None
    assert (larger.avoid, larger.alone) == (("local_m4",), False)
    alone = judge("out_of_memory", larger, failures=failures).job_class
    assert alone is not None
    assert (alone.avoid, alone.alone) == (("local_m4",), True)
    assert judge("out_of_memory", alone, failures=failures).job_class is None


def test_out_of_memory_runs_alone_where_the_larger_platform_is_unavailable() -> None:
    alone = judge("out_of_memory", platform="local_m4", runs=lambda waits: "local_m4" not in waits.avoid).job_class
    assert alone is not None
    assert (alone.avoid, alone.alone) == ((), True)


def test_one_attempt_means_no_second_one() -> None:
    assert judge("killed", max_attempts=1, runs=lambda _: False).job_class is None
    assert judge("out_of_memory", max_attempts=1).job_class is None


def test_a_failed_precheck_is_charged_to_nobody() -> None:
    failures: dict[str, int] = {}
    again = judge("precheck", failures=failures)
    assert (again.job_class, again.delay_s, again.reason) == (JOB, 0.0, "remote_4090 has no Python")
    assert failures == {}


def test_a_failure_counts_on_its_platform_unless_it_was_a_precheck() -> None:
    rules, failures = RetryRules(Random(1), 3, Backoff(), user_errors=False), {"remote_4090": 1}
    assert rules.count(Outcome("FAILED", "lost"), "remote_4090", failures) == 2
    assert rules.count(Outcome("FAILED", "precheck", "has no GPU"), "remote_4090", failures) == 2
    assert rules.count(Outcome("FAILED", "killed"), "local_m4", failures) == 1
    assert failures == {"remote_4090": 2, "local_m4": 1}


@pytest.mark.parametrize("user_errors", [False, True])
def test_the_jobs_own_failure_is_final_unless_it_may_be_tried_again(user_errors: bool) -> None:
    rules = RetryRules(Random(1), 3, Backoff(), user_errors)
    assert rules.final(Outcome("FAILED", "user")) is not user_errors
    assert not rules.final(Outcome("FAILED", "out_of_memory"))


def test_waiting_times_double_up_to_the_cap_and_jitter_below() -> None:
    backoff, rng = Backoff(base_s=1.0, factor=2.0, cap_s=60.0), Random(3)
    for failures, longest in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (20, 60.0)]:
        waits = [backoff.delay_s(failures, rng) for _ in range(200)]
        assert longest / 2 <= min(waits) < longest * 0.55
        assert longest * 0.95 < max(waits) <= longest


def test_the_same_random_gives_the_same_waits() -> None:
    waits = [[Backoff().delay_s(failures, Random(5)) for failures in range(1, 5)] for _ in range(2)]
    assert waits[0] == waits[1]


def test_the_queue_gives_a_job_when_it_is_due() -> None:
    queue = RetryQueue[str]()
    queue.add(5.0, "late", JOB)
    queue.add(2.0, "soon", JOB)
    assert (queue.due(1.0), queue.next_at(1.0), queue.take(JOB, 1.0)) == ([], 2.0, None)
    assert (queue.take(JOB, 3.0), queue.take(JOB, 3.0), queue.next_at(3.0)) == ("soon", None, 5.0)
    assert queue.take(JOB, 5.0) == "late"
    assert len(queue) == 0
