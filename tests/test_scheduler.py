"""The scheduler fills free slots in order of priority, and no job costs another one anything."""

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import pytest

from hydra_plugins.sweeproute._condition import Condition
from hydra_plugins.sweeproute._durations import Load
from hydra_plugins.sweeproute._occupancy import Counts
from hydra_plugins.sweeproute._placement import REVIEW_S
from hydra_plugins.sweeproute._policy import JobClass, Overflow, PlatformState, Policy, Rule
from hydra_plugins.sweeproute._retry import Outcome
from hydra_plugins.sweeproute._scheduler import Assignment, Job, Scheduler
from hydra_plugins.sweeproute._simulator import JobList

FINISHED = Outcome("FINISHED")
KILLED = Outcome("FAILED", "killed")
NO_HOST = "has no host configured (set registry.platforms.remote_4090.host)"
HERE = PlatformState("local_m4", slots=2, memory_gb=24.0)
THERE = PlatformState("remote_4090", slots=2, memory_gb=64.0, gpu_memory_gb=24.0, speed={"XGBoost": 10.0})
DOWN = PlatformState("remote_4090", slots=2, memory_gb=64.0, available=False, why=NO_HOST)


def policy(overflow: Overflow = "never") -> Policy:
    rules = [Rule({"model_type": "XGBoost"}, "remote_4090", "GPU acceleration available")]
    return Policy(rules, "local_m4", "default", overflow)


def glm(**settings: Any) -> JobClass:
    return JobClass((("model_type", "GLM"),), **settings)


def xgboost(**settings: Any) -> JobClass:
    return JobClass((("model_type", "XGBoost"),), **settings)


def jobs(*classes: JobClass) -> JobList:
    return JobList(Job(num, (f"x={num}",), job_class) for num, job_class in enumerate(classes))


def scheduler(source: JobList, *platforms: PlatformState, overflow: Overflow = "never", **settings: Any) -> Scheduler:
    return Scheduler(policy(overflow), platforms or (HERE, THERE), source, rng=Random(0), **settings)


def end(it: Scheduler, assignment: Assignment, now: float = 0.0, outcome: Outcome = FINISHED) -> Any:
    return it.finished(assignment.job, assignment.platform, assignment.slot, outcome, now)


def numbers(assignments: Iterable[Assignment]) -> list[int]:
    return [assignment.job.num for assignment in assignments]


def test_every_free_slot_is_filled_and_no_more() -> None:
    it = scheduler(jobs(*[glm()] * 3, *[xgboost()] * 3))
    started = it.assign(0.0)
    assert {(a.platform, a.slot) for a in started} == {
        ("local_m4", 0),
        ("local_m4", 1),
        ("remote_4090", 0),
        ("remote_4090", 1),
    }
    assert it.assign(0.0) == []


def test_a_slot_that_frees_takes_the_next_job() -> None:
    it = scheduler(jobs(*[glm()] * 3), HERE)
    first, _ = it.assign(0.0)
    assert end(it, first).final
    (third,) = it.assign(1.0)
    assert (third.job.num, third.platform, third.slot) == (2, "local_m4", first.slot)


def test_the_highest_priority_runs_first_and_equals_keep_the_sources_order() -> None:
    low, even, other, high = glm(priority=1), glm(), glm(minutes=5.0), glm(priority=10)
    it = scheduler(jobs(low, even, other, high), PlatformState("local_m4", slots=1))
    order = []
    while not it.done():
        (assignment,) = it.assign(0.0)
        order.append(assignment.job.num)
        end(it, assignment)
    assert order == [3, 1, 2, 0]


def test_a_class_that_cannot_be_placed_does_not_block_the_others() -> None:
    it = scheduler(jobs(*[xgboost(priority=10)] * 3, glm()))
    assert numbers(it.assign(0.0)) == [0, 1, 3]


def test_memory_is_reserved_for_what_runs() -> None:
    it = scheduler(jobs(*[glm(memory_gb=15.0)] * 2), PlatformState("local_m4", slots=4, memory_gb=24.0))
    (first,) = it.assign(0.0)
    assert it.assign(0.0) == []
    end(it, first)
    assert numbers(it.assign(1.0)) == [1]


def test_gpu_memory_is_reserved_for_what_runs() -> None:
    it = scheduler(jobs(*[xgboost(gpu_memory_gb=16.0)] * 2))
    assert numbers(it.assign(0.0)) == [0]


def test_what_others_use_of_the_memory_is_respected() -> None:
    it = scheduler(jobs(*[glm(memory_gb=4.0)] * 3), PlatformState("local_m4", slots=4, memory_gb=24.0))
    it.set_memory("local_m4", 7.0)
    assert len(it.assign(0.0)) == 1
    it.set_memory("local_m4", 8.0)
    assert len(it.assign(1.0)) == 2


def test_a_job_that_needs_the_whole_memory_is_overtaken_by_no_more_than_a_round() -> None:
    small, large, behind = glm(memory_gb=1.0), glm(memory_gb=24.0), glm(memory_gb=1.5)
    it = scheduler(jobs(small, small, large, *[behind] * 20), PlatformState("local_m4", slots=2, memory_gb=24.0))
    running, order = it.assign(0.0), []
    while not it.done():
        done = running.pop(0)
        order.append(done.job.num)
        end(it, done)
        running += it.assign(0.0)
    assert order.index(2) <= 4
    assert len(order) == 23


def test_nothing_runs_beside_a_job_that_runs_alone() -> None:
    it = scheduler(jobs(glm(alone=True), glm()), HERE)
    (alone,) = it.assign(0.0)
    assert it.assign(0.0) == []
    end(it, alone)
    assert numbers(it.assign(1.0)) == [1]


def test_without_a_host_every_job_of_the_workstation_runs_here() -> None:
    it = scheduler(jobs(*[xgboost()] * 2), HERE, DOWN)
    for assignment in it.assign(0.0):
        assert assignment.platform == "local_m4"
        assert assignment.decision.status == "scheduled_fallback"
        assert assignment.decision.reason == f"remote_4090 {NO_HOST}"


def test_jobs_go_back_when_their_platform_returns_and_away_when_it_leaves() -> None:
    it = scheduler(jobs(*[xgboost()] * 6), HERE, DOWN)
    assert {a.platform for a in it.assign(0.0)} == {"local_m4"}
    it.set_condition("remote_4090", Condition.AVAILABLE, "", 1.0)
    assert [a.platform for a in it.assign(1.0)] == ["remote_4090", "remote_4090"]
    it.set_condition("local_m4", Condition.PAUSED, "is paused", 2.0)
    assert it.assign(2.0) == []
    assert it.counts()["remote_4090"].queued == 2


def test_a_failed_precheck_makes_the_platform_unavailable_and_costs_the_job_no_attempt() -> None:
    it = scheduler(jobs(xgboost()), max_attempts=1)
    (first,) = it.assign(0.0)
    verdict = end(it, first, outcome=Outcome("FAILED", "precheck", "has no GPU (see nvidia-smi)"))
    assert (verdict.final, verdict.retry_at) == (False, 0.0)
    (again,) = it.assign(0.0)
    assert (again.platform, again.attempt) == ("local_m4", 2)
    assert again.decision.reason == "remote_4090 has no GPU (see nvidia-smi)"


def test_a_killed_job_waits_out_its_backoff_and_goes_before_its_equals() -> None:
    it = scheduler(jobs(*[glm()] * 4), PlatformState("local_m4", slots=1))
    (first,) = it.assign(0.0)
    verdict = end(it, first, outcome=KILLED)
    assert not verdict.final
    assert it.next_wakeup(0.0) == verdict.retry_at
    (second,) = it.assign(0.0)
    assert second.job.num == 1
    end(it, second, now=verdict.retry_at)
    (again,) = it.assign(verdict.retry_at)
    assert (again.job.num, again.attempt) == (0, 2)


def test_a_job_whose_attempts_are_used_up_moves_on_and_then_fails() -> None:
    it = scheduler(jobs(xgboost()))
    now, seen = 0.0, []
    while not it.done():
        (assignment,) = it.assign(now)
        seen.append((assignment.platform, assignment.attempt))
        verdict = end(it, assignment, now, KILLED)
        now = verdict.retry_at or now
    assert seen == [("remote_4090", 1), ("remote_4090", 2), ("remote_4090", 3)] + [("local_m4", k) for k in (4, 5, 6)]
    assert verdict.final
    assert it.counts()["local_m4"].failed == 1


def test_out_of_memory_runs_again_alone_where_nothing_is_larger() -> None:
    it = scheduler(jobs(*[glm()] * 2), HERE)
    first, second = it.assign(0.0)
    assert not end(it, first, outcome=Outcome("FAILED", "out_of_memory")).final
    assert it.assign(0.0) == []  # the other one still runs
    end(it, second)
    (again,) = it.assign(1.0)
    assert (again.job.num, again.attempt) == (0, 2)


def test_a_job_that_raised_fails_alone() -> None:
    it = scheduler(jobs(*[glm()] * 2), HERE)
    first, second = it.assign(0.0)
    assert end(it, first, outcome=Outcome("FAILED", "user", "ValueError")).final
    assert end(it, second).final
    assert it.counts()["local_m4"] == Counts(slots=2, running=0, queued=0, done=1, failed=1)
    assert it.done()


def test_a_job_that_was_pruned_is_done_with_and_counted_apart() -> None:
    it = scheduler(jobs(*[glm()] * 2), HERE)
    first, second = it.assign(0.0)
    verdict = end(it, first, outcome=Outcome("PRUNED", None, "below the median"))
    assert (verdict.final, verdict.retry_at) == (True, None)
    assert end(it, second).final
    assert it.counts()["local_m4"] == Counts(slots=2, running=0, queued=0, done=1, failed=0, pruned=1)
    assert it.done()


def test_jobs_for_a_platform_asked_for_that_is_unavailable_are_stranded_until_given_up() -> None:
    asked = glm(asked="remote_4090")
    it = scheduler(jobs(asked, asked, glm()), HERE, DOWN)
    assert numbers(it.assign(0.0)) == [2]
    assert it.stranded()[asked].reason == f"remote_4090 {NO_HOST}"
    assert [it.give_up(asked).num, it.give_up(asked).num] == [0, 1]
    assert it.stranded() == {}
    assert it.counts()["remote_4090"].failed == 2


def test_a_job_that_fits_nowhere_is_stranded_and_stops_nothing() -> None:
    huge = glm(memory_gb=80.0)
    it = scheduler(jobs(huge, glm()))
    assert numbers(it.assign(0.0)) == [1]
    assert "80 GB needed" in it.stranded()[huge].reason


def test_work_overflows_while_that_ends_the_sweep_sooner_and_stops_in_time() -> None:
    """Ten times faster there: a job moves here only while those that wait there would take longer than it here."""
    it = scheduler(jobs(*[xgboost(minutes=10.0)] * 40), overflow="when_faster")
    assert [a.platform for a in it.assign(0.0)] == ["remote_4090"] * 2 + ["local_m4"] * 2
    it = scheduler(jobs(*[xgboost(minutes=10.0)] * 8), overflow="when_faster")
    assert [a.platform for a in it.assign(0.0)] == ["remote_4090"] * 2


def test_a_late_job_lets_those_behind_it_overflow_at_a_review() -> None:
    it = scheduler(
        jobs(*[xgboost(minutes=10.0)] * 3),
        HERE,
        PlatformState("remote_4090", slots=2, speed=THERE.speed),
        overflow="when_faster",
    )
    assert numbers(it.assign(0.0)) == [0, 1]
    assert it.next_wakeup(0.0) == REVIEW_S
    assert it.assign(60.0) == []
    (moved,) = it.assign(900.0)  # 60 s were expected
    assert moved.platform == "local_m4"


def test_counts_tell_where_each_job_is() -> None:
    it = scheduler(jobs(*[glm()] * 3, *[xgboost()] * 5))
    started = it.assign(0.0)
    end(it, started[0])
    assert it.counts() == {
        "local_m4": Counts(slots=2, running=1, queued=1, done=1, failed=0),
        "remote_4090": Counts(slots=2, running=2, queued=3, done=0, failed=0),
    }


def test_loads_hold_what_waits_and_what_runs() -> None:
    it = scheduler(jobs(*[glm()] * 3), HERE)
    it.assign(10.0)
    loads = it.loads(12.0, waiting_s=lambda job_class: 7.0, run_s=lambda job, platform: 5.0)
    assert loads == {"local_m4": Load(slots=2, waiting_s=(7.0,), running_s=((5.0, 2.0), (5.0, 2.0)))}


class Open:
    """A source that is asked while it grows."""

    def __init__(self) -> None:
        self.ready: list[Job] = []
        self.ended = False

    def waiting(self) -> Mapping[JobClass, int]:
        return {glm(): len(self.ready)} if self.ready else {}

    def take(self, job_class: JobClass) -> Job:
        return self.ready.pop(0)

    def closed(self) -> bool:
        return self.ended


def test_a_source_that_is_empty_for_now_does_not_end_the_sweep() -> None:
    source = Open()
    it = Scheduler(policy(), [HERE], source, rng=Random(0))
    assert it.assign(0.0) == []
    assert not it.done()
    source.ready.append(Job(0, (), glm()))
    (only,) = it.assign(1.0)
    source.ended = True
    assert not it.done()
    end(it, only)
    assert it.done()


class Asked(Open):
    """A source that has one job ready at a time, and shows how many are to come, as a search does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.asked, self.number = 0, number

    def prepare(self) -> None:
        if not self.ready and self.asked < self.number:
            self.ready.append(Job(self.asked, (f"x={self.asked}",), xgboost(minutes=10.0)))
            self.asked += 1

    def waiting(self) -> Mapping[JobClass, int]:
        return {self.ready[0].job_class: len(self.ready) + self.number - self.asked} if self.ready else {}

    def closed(self) -> bool:
        return self.asked == self.number


def test_a_job_that_is_asked_for_when_the_last_has_started_overflows_as_if_all_were_there() -> None:
    source = Asked(40)
    it = Scheduler(policy("when_faster"), [HERE, THERE], source, rng=Random(0))
    started = []
    for _ in range(4):
        source.prepare()
        started += it.assign(0.0)
    assert [one.platform for one in started] == ["remote_4090"] * 2 + ["local_m4"] * 2


def test_no_job_starts_again_while_the_next_is_about_to_be_there() -> None:
    source = Asked(41)
    it = Scheduler(policy("when_faster"), [HERE, THERE], source, rng=Random(0))
    started = []
    for _ in range(4):
        source.prepare()
        started += it.assign(0.0)
    end(it, started[0], 60.0)
    assert it.assign(60.0) == []
    source.prepare()
    assert [one.copy_of for one in it.assign(60.0)] == [None]


def test_a_review_is_due_when_it_was_said_to_be() -> None:
    """The difference of two times may round to less than what was added to the first."""
    began = 31.752812916232433
    assert began + REVIEW_S - began < REVIEW_S
    place = [PlatformState("local_m4", slots=1), PlatformState("remote_4090", slots=1, speed=THERE.speed)]
    it = scheduler(jobs(*[xgboost(minutes=10.0)] * 2), *place, overflow="when_faster")
    it.assign(began)
    wakes = it.next_wakeup(began)
    assert wakes == began + REVIEW_S
    it.assign(wakes)
    assert it.next_wakeup(wakes) > wakes


@pytest.mark.parametrize("overflow", ["never", "when_faster", "always"])
def test_a_sweep_of_mixed_needs_runs_each_job_once_and_starves_none(overflow: Overflow) -> None:
    rng = Random(7)
    classes = [
        glm(memory_gb=memory_gb, priority=priority, alone=alone)
        for memory_gb in (1.0, 8.0, 24.0)
        for priority in (1, 5)
        for alone in (False, True)
    ] + [xgboost(gpu_memory_gb=gigabytes) for gigabytes in (0.0, 8.0, 24.0)]
    it = scheduler(jobs(*(rng.choice(classes) for _ in range(300))), overflow=overflow)
    now, running, ended = 0.0, it.assign(0.0), []
    while not it.done():
        assert running, "jobs wait, and nothing runs"
        now += 1.0
        done = running.pop(rng.randrange(len(running)))
        ended.append(done.job.num)
        end(it, done, now)
        running += it.assign(now)
    assert sorted(ended) == list(range(300))
