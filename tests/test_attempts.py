"""A job may wait in one place and run in two: it ends once, and no slot is lost on the way."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from hydra_plugins.sweeproute._assignment import Assignment, Job
from hydra_plugins.sweeproute._condition import NEXT, UNREACHABLE, Condition
from hydra_plugins.sweeproute._durations import Durations
from hydra_plugins.sweeproute._policy import JobClass, Overflow, PlatformState, Policy, Rule
from hydra_plugins.sweeproute._retry import Outcome, Verdict
from hydra_plugins.sweeproute._scheduler import Scheduler
from hydra_plugins.sweeproute._simulator import JobList

FINISHED = Outcome("FINISHED")
KILLED = Outcome("FAILED", "killed")
LOST = Outcome("FAILED", "lost", "has been silent for too long")
RAISED = Outcome("FAILED", "user", "ValueError")
OUTCOMES = [FINISHED] * 6 + [
    KILLED,
    RAISED,
    Outcome("FAILED", "out_of_memory"),
    Outcome("FAILED", "precheck", "has no GPU"),
]
HERE = PlatformState("here", slots=2, memory_gb=24.0)
THERE = PlatformState("there", slots=2, memory_gb=64.0, ahead=True, speed={"XGBoost": 10.0})
XGBOOST = JobClass((("model_type", "XGBoost"),), minutes=10.0)
GLM = JobClass((("model_type", "GLM"),), minutes=10.0)
ASKED = JobClass((("model_type", "GLM"),), asked="there")


def jobs(*classes: JobClass) -> JobList:
    return JobList(Job(num, (f"x={num}",), job_class) for num, job_class in enumerate(classes))


def scheduler(source: JobList, *platforms: PlatformState, overflow: Overflow = "always", **settings: Any) -> Scheduler:
    policy = Policy([Rule({"model_type": "XGBoost"}, "there", "GPU there")], "here", overflow=overflow)
    return Scheduler(policy, platforms or (HERE, THERE), source, rng=Random(0), **settings)


def end(it: Scheduler, assignment: Assignment, outcome: Outcome = FINISHED, now: float = 0.0) -> Verdict:
    return it.finished(assignment.job, assignment.platform, assignment.slot, outcome, now)


def numbers(assignments: Iterable[Assignment]) -> list[int]:
    return [assignment.job.num for assignment in assignments]


def sent(number: int, overflow: Overflow = "always") -> tuple[Scheduler, list[Assignment], list[Assignment]]:
    """A sweep of XGBoost jobs that is under way: what runs here, and what was sent there, two of it started."""
    it = scheduler(jobs(*[XGBOOST] * number), overflow=overflow)
    started = it.assign(0.0)
    there = [one for one in started if one.platform == "there"] + it.sends(0.0, limit=number)
    for one in there[:2]:
        it.started(one.job, "there", 0.0)
    return it, [one for one in started if one.platform == "here"], there


def test_a_platform_with_a_queue_of_its_own_gets_its_jobs_at_once_whatever_runs_there() -> None:
    it, here, there = sent(10, overflow="never")
    assert here == []
    assert numbers(there) == list(range(10))
    assert {(one.slot, one.recall, one.copy_of, one.attempt) for one in there} == {(None, None, None, 1)}
    assert (it.counts()["there"].running, it.counts()["there"].queued) == (2, 8)


def test_jobs_are_sent_by_urgency_and_no_more_at_a_time_than_asked_for() -> None:
    urgent = replace(XGBOOST, priority=9)
    it = scheduler(jobs(XGBOOST, XGBOOST, urgent, GLM), overflow="never")
    assert numbers(it.sends(0.0, limit=2)) == [2, 0]
    assert numbers(it.sends(0.0, limit=2)) == [1]
    assert it.sends(0.0, limit=2) == []


def test_a_platform_may_start_more_than_its_slots() -> None:
    it, _, there = sent(6, overflow="never")
    for one in there:
        it.started(one.job, "there", 1.0)
    assert it.counts()["there"].running == 6
    for one in there:
        assert end(it, one).final
    assert it.done()
    assert it.counts()["there"].running == 0


def test_a_platform_with_room_takes_the_last_job_that_was_sent_after_it_was_withdrawn() -> None:
    it, here, _ = sent(8)
    assert numbers(here) == [2, 3]
    end(it, here[0])
    (moved,) = it.assign(1.0)
    assert (moved.job.num, moved.platform, moved.slot, moved.recall) == (7, "here", here[0].slot, "there")
    assert moved.attempt == 1  # what was sent has not begun
    assert moved.decision.reason == "there is full: overflow to here"
    assert it.assign(1.0) == []  # the slot is held
    assert it.recalled(moved, True, 2.0) is moved
    assert end(it, moved, now=3.0).final


def test_a_job_that_had_started_before_it_was_recalled_stays_and_its_slot_takes_another() -> None:
    it, here, _ = sent(8)
    end(it, here[0])
    (moved,) = it.assign(1.0)
    assert it.recalled(moved, False, 2.0) is None
    assert it.counts()["there"].running == 3
    assert numbers(it.assign(2.0)) == [6]


def test_a_recall_that_nobody_answered_leaves_the_job_where_it_waits() -> None:
    it, here, _ = sent(8)
    end(it, here[0])
    (moved,) = it.assign(1.0)
    assert it.recalled(moved, None, 2.0) is None
    assert it.counts()["there"].queued == 4
    assert numbers(it.assign(2.0)) == [7]


def test_what_waits_here_goes_before_what_was_sent() -> None:
    it = scheduler(jobs(*[XGBOOST] * 8))
    it.assign(0.0)
    it.sends(0.0, limit=2)
    end_of_two = [Job(num, (f"x={num}",), XGBOOST) for num in (2, 3)]
    for job, slot in zip(end_of_two, (0, 1), strict=True):
        it.finished(job, "here", slot, FINISHED, 1.0)
    assert [(one.job.num, one.recall) for one in it.assign(1.0)] == [(6, None), (7, None)]


def test_a_job_is_taken_that_is_long_and_not_about_to_start_where_durations_are_known() -> None:
    seconds = [300.0, 200.0, 100.0, 90.0, 80.0, 70.0, 60.0, 50.0]
    known = Durations(
        {"model": "XGBoost", "platform": "there", "overrides": [f"x={num}"], "seconds": s, "outcome": "FINISHED"}
        for num, s in enumerate(seconds)
    )
    it = scheduler(jobs(*[XGBOOST] * 8), overflow="never", durations=known)
    it.sends(0.0, limit=8)
    it.set_condition("there", Condition.PAUSED, "is paused", 0.0)
    assert numbers(it.assign(0.0)) == [1, 2]


def test_a_job_that_is_about_to_start_where_it_waits_is_left_there() -> None:
    it = scheduler(jobs(*[XGBOOST] * 3))
    assert [(one.job.num, one.platform) for one in it.assign(0.0)] == [(0, "there"), (1, "there"), (2, "here")]
    assert it.assign(1.0) == []


def test_nothing_is_sent_to_a_suspect_platform_or_taken_from_it() -> None:
    it, here, _ = sent(8)
    it.set_condition("there", Condition.SUSPECT, "has been silent for 3 s", 1.0)
    end(it, here[0])
    assert it.assign(1.0) == []
    more = scheduler(jobs(*[XGBOOST] * 3), HERE, replace(THERE, silent=True, why="is being connected"))
    assert more.assign(0.0) == []
    assert more.sends(0.0, limit=3) == []
    more.set_condition("there", Condition.AVAILABLE, "", 1.0)
    assert numbers(more.assign(1.0)) == [0, 1, 2]
    assert more.stranded() == {}


@pytest.mark.parametrize("away", sorted(UNREACHABLE))
def test_jobs_of_a_platform_that_does_not_answer_start_elsewhere_beside_it(away: Condition) -> None:
    it, here, there = sent(8, overflow="never")
    it.set_condition("there", Condition.DOWN, "has been silent for 10 s", 1.0)
    if away is not Condition.DOWN:
        it.set_condition("there", away, "is tried again", 1.0)
    copies = it.assign(1.0)
    assert here == []
    assert numbers(copies) == [7, 6]
    assert {(one.platform, one.recall, one.copy_of, one.attempt) for one in copies} == {("here", None, "there", 2)}
    assert {one.decision.status for one in copies} == {"scheduled_fallback"}
    verdict = end(it, copies[0], now=2.0)
    assert (verdict.final, verdict.also) == (True, (("there", None),))
    assert numbers(it.assign(2.0)) == [5]
    it.set_condition("there", Condition.AVAILABLE, "", 3.0)
    assert it.counts()["there"].queued == 3  # 2, 3, 4; 5 and 6 run here
    assert it.counts()["here"].running == 2
    assert end(it, there[6], now=4.0).also == (("here", copies[1].slot),)


def test_a_paused_platform_gives_its_queue_to_others_and_finishes_what_runs() -> None:
    it, _, there = sent(6, overflow="never")
    it.set_condition("there", Condition.PAUSED, "is paused", 1.0)
    taken = it.assign(1.0)
    assert [(one.job.num, one.recall) for one in taken] == [(5, "there"), (4, "there")]
    assert end(it, there[0], now=2.0).final
    assert it.counts()["there"].running == 1


def test_a_recall_is_void_once_the_platform_is_down_and_a_late_answer_is_heeded() -> None:
    it, here, _ = sent(8)
    end(it, here[0])
    (moved,) = it.assign(1.0)
    it.set_condition("there", Condition.DOWN, "is down", 2.0)
    (copy,) = it.assign(2.0)
    assert (copy.job.num, copy.copy_of, copy.slot) == (7, "there", moved.slot)
    assert it.recalled(moved, True, 3.0) is None  # withdrawn after all: one attempt is left
    assert end(it, copy, now=4.0).also == ()


def test_a_job_that_was_withdrawn_and_has_no_place_waits_here_again() -> None:
    it, here, _ = sent(8)
    end(it, here[0])
    (moved,) = it.assign(1.0)
    it.set_condition("here", Condition.PAUSED, "is paused", 2.0)
    assert it.recalled(moved, True, 2.0) is None
    (again,) = it.sends(3.0, limit=9)
    assert (again.job.num, again.platform, again.attempt) == (7, "there", 2)


def test_a_job_that_a_platform_does_not_know_waits_here_again_and_has_lost_no_attempt() -> None:
    it = scheduler(jobs(XGBOOST), overflow="never", max_attempts=1)
    (one,) = it.sends(0.0, limit=9)
    it.withdrawn(one.job, "there", 1.0)
    (again,) = it.assign(1.0)
    assert (again.job.num, again.attempt) == (0, 2)
    it.started(again.job, "there", 1.0)
    assert end(it, again).final
    assert it.done()


def test_a_failure_of_the_infrastructure_is_not_the_end_while_another_attempt_lives() -> None:
    it, _, there = sent(4, overflow="never")
    it.set_condition("there", Condition.DOWN, "is down", 1.0)
    copy, _ = it.assign(1.0)
    verdict = end(it, copy, KILLED, now=2.0)
    assert (verdict.final, verdict.retry_at, verdict.also) == (False, None, ())
    (again,) = it.assign(2.0)  # it waits there alone now, and nobody answers
    assert (again.job.num, again.copy_of, again.attempt) == (copy.job.num, "there", 3)
    last = end(it, there[3], LOST, now=3.0)
    assert not last.final
    assert end(it, again, now=4.0).also == ()


def test_what_the_task_raised_ends_the_other_attempts_too() -> None:
    it, _, _ = sent(4, overflow="never")
    it.set_condition("there", Condition.DOWN, "is down", 1.0)
    copy, _ = it.assign(1.0)
    assert end(it, copy, RAISED, now=2.0) == Verdict(True, None, "the task raised", (("there", None),))


def test_the_task_may_raise_in_one_of_two_attempts_where_user_errors_are_tried_again() -> None:
    it = scheduler(jobs(XGBOOST), overflow="never", retry_user_errors=True)
    it.sends(0.0, limit=9)
    it.set_condition("there", Condition.DOWN, "is down", 1.0)
    (copy,) = it.assign(1.0)
    assert not end(it, copy, RAISED, now=2.0).final


def test_an_attempt_that_was_silent_for_too_long_counts_as_lost_and_its_result_as_late() -> None:
    it, _, there = sent(2, overflow="never")
    it.set_condition("there", Condition.DOWN, "is down", 1.0)
    assert it.assign(1.0) == []  # both have started there
    verdict = end(it, there[0], LOST, now=1800.0)
    assert verdict.retry_at is not None
    (again,) = it.assign(verdict.retry_at)
    assert (again.platform, again.attempt) == ("here", 2)
    assert end(it, again, now=2000.0).final
    assert end(it, there[0], now=2001.0) == Verdict(False, reason="the job went on without this attempt")
    assert it.counts()["there"].done == 0


def test_what_an_earlier_coordinator_sent_is_adopted_as_it_is() -> None:
    source = jobs(*[XGBOOST] * 5)
    it = scheduler(source, overflow="never")
    first, second, third = (source.take(XGBOOST) for _ in range(3))
    it.adopt(first, "there", 2, True, -100.0)
    it.adopt(second, "there", 1, False, 0.0)
    it.adopt(third, "there", 1, False, 0.0)
    assert (it.counts()["there"].running, it.counts()["there"].queued) == (1, 4)
    assert numbers(it.sends(0.0, limit=9)) == [3, 4]
    verdict = it.finished(first, "there", None, KILLED, 1.0)
    assert verdict.retry_at is not None
    (again,) = it.sends(verdict.retry_at, limit=9)
    assert (again.job, again.attempt) == (first, 3)
    assert it.finished(second, "there", None, FINISHED, 2.0).final


def test_a_queue_is_put_into_order_when_more_is_known_of_durations() -> None:
    durations = Durations()
    urgent = replace(XGBOOST, priority=9)
    it = scheduler(jobs(XGBOOST, XGBOOST, XGBOOST, XGBOOST, urgent), overflow="never", durations=durations)
    it.sends(0.0, limit=9)
    assert it.reordered("there") is None
    for num, seconds in ((1, 50.0), (0, 10.0), (2, 90.0), (3, 20.0), (4, 1.0)):
        line = {"model": "XGBoost", "platform": "there", "overrides": [f"x={num}"], "seconds": seconds}
        durations.learn({**line, "outcome": "FINISHED"})
    it.assign(1.0)
    order = it.reordered("there")
    assert order is not None
    assert [job.num for job in order] == [4, 2, 1, 3, 0]
    assert it.reordered("there") is None
    it.set_condition("there", Condition.DOWN, "is down", 1.0)
    assert numbers(it.assign(1.0)) == [0, 3]  # from the other end, which it may have gone on from


def test_what_waits_there_for_memory_that_others_use_overflows() -> None:
    it = scheduler(jobs(XGBOOST), overflow="always")
    (one,) = it.assign(0.0)
    it.set_held("there", "has 2 GB of GPU memory free, 8 GB needed", 1.0)
    (moved,) = it.assign(1.0)
    assert (moved.job, moved.recall) == (one.job, "there")
    assert moved.decision.reason == "there has 2 GB of GPU memory free, 8 GB needed: overflow to here"


def test_a_wait_for_others_is_expected_to_last_as_long_again() -> None:
    it = scheduler(jobs(XGBOOST), overflow="when_faster")
    it.assign(0.0)
    it.set_held("there", "has 2 GB of GPU memory free, 8 GB needed", 1.0)
    assert it.assign(500.0) == []  # 60 s there, 600 s here
    assert numbers(it.assign(700.0)) == [0]
    it.set_held("there", "", 701.0)
    assert it.counts()["there"].queued == 0


@dataclass
class Far:
    """A far machine: what lies on its disk, whether anybody hears of it, what it has to say."""

    up: bool = True
    paused: bool = False
    queue: dict[int, int] = field(default_factory=dict)  # job by attempt's identifier
    running: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    says: list[tuple[str, int, int, Outcome | None]] = field(default_factory=list)  # what, identifier, job, how
    cancels: list[int] = field(default_factory=list)


class Sweep:
    """A caller of the scheduler among machines that start, end, vanish and return as they like."""

    def __init__(self, seed: int, overflow: Overflow, number: int = 30) -> None:
        self.rng = Random(seed)
        self.now = 0.0
        self.far = {"there": Far(), "cluster": Far()}
        self.condition = dict.fromkeys(["here", *self.far], Condition.AVAILABLE)
        classes = [self.rng.choice([XGBOOST, GLM, replace(GLM, priority=8), ASKED]) for _ in range(number)]
        platforms = HERE, THERE, PlatformState("cluster", slots=1, ahead=True, speed={"GLM": 3.0})
        self.it = scheduler(jobs(*classes), *platforms, overflow=overflow, retry_user_errors=seed % 2 == 0)
        self.job = {num: Job(num, (f"x={num}",), job_class) for num, job_class in enumerate(classes)}
        self.live: dict[tuple[int, str], tuple[int, int | None]] = {}  # by job and platform: identifier, slot
        self.begun: set[int] = set()
        self.recalls: list[tuple[Assignment, int]] = []
        self.ends: Counter[int] = Counter()
        self.identifiers = 0

    def begin(self, assignment: Assignment) -> None:
        key = (assignment.job.num, assignment.platform)
        assert key not in self.live
        self.identifiers += 1
        self.live[key] = (self.identifiers, assignment.slot)
        if assignment.platform in self.far:
            assert assignment.slot is None
            self.far[assignment.platform].queue[self.identifiers] = assignment.job.num
        else:
            self.begun.add(self.identifiers)

    def take(self, assignments: Iterable[Assignment]) -> None:
        for one in assignments:
            assert self.condition[one.platform] is Condition.AVAILABLE
            if one.recall is None:
                self.begin(one)
            else:
                assert self.condition[one.recall] in (Condition.AVAILABLE, Condition.PAUSED)
                self.recalls.append((one, self.live[one.job.num, one.recall][0]))

    def assign(self) -> None:
        self.take(self.it.assign(self.now))

    def send(self) -> None:
        self.take(self.it.sends(self.now, limit=self.rng.choice([1, 3, 100])))
        for name, far in self.far.items():
            if far.up and (order := self.it.reordered(name)):
                assert {job.num for job in order} <= set(far.queue.values()) | self.doubtful(name)

    def doubtful(self, name: str) -> set[int]:
        """Jobs of which word is under way."""
        return {num for (num, where) in self.live if where == name}

    def answer(self) -> None:
        if not self.recalls:
            return
        one, identifier = self.recalls.pop(self.rng.randrange(len(self.recalls)))
        assert one.recall is not None
        far = self.far[one.recall]
        if not far.up and self.rng.random() < 0.5:
            self.recalls.append((one, identifier))  # it waits for the line
            return
        ok: bool | None = identifier not in far.running and identifier not in far.ended
        if ok:
            far.queue.pop(identifier, None)
        if not far.up:  # the question got through, the answer did not
            ok = None
        granted = self.it.recalled(one, ok, self.now)
        key = (one.job.num, one.recall)
        if ok and self.live.get(key, (0, None))[0] == identifier:
            del self.live[key]
        if granted is not None:
            assert ok
            self.begin(granted)

    def far_starts(self) -> None:
        name = self.rng.choice(list(self.far))
        far = self.far[name]
        if far.queue and not far.paused:
            identifier = next(iter(far.queue)) if self.rng.random() < 0.8 else self.rng.choice(list(far.queue))
            far.running[identifier] = num = far.queue.pop(identifier)
            self.say(name, ("started", identifier, num, None))

    def far_ends(self, outcome: Outcome | None = None) -> None:
        name = self.rng.choice(list(self.far))
        far = self.far[name]
        if far.running:
            identifier = self.rng.choice(list(far.running))
            far.ended.add(identifier)
            num = far.running.pop(identifier)
            self.say(name, ("ended", identifier, num, outcome or self.rng.choice(OUTCOMES)))

    def say(self, name: str, word: tuple[str, int, int, Outcome | None]) -> None:
        self.far[name].says.append(word)
        if self.far[name].up:
            self.listen(name)

    def listen(self, name: str) -> None:
        said, self.far[name].says = self.far[name].says, []
        for _, identifier, num, outcome in said:
            if self.live.get((num, name), (0, None))[0] != identifier:
                continue  # off the books
            if outcome is None:
                self.begun.add(identifier)
                self.it.started(self.job[num], name, self.now)
            else:
                self.ended(num, name, outcome)

    def here_ends(self, outcome: Outcome | None = None) -> None:
        running = [key for key in self.live if key[1] == "here"]
        if running:
            self.ended(*self.rng.choice(running), outcome or self.rng.choice(OUTCOMES))

    def ended(self, num: int, name: str, outcome: Outcome) -> None:
        _, slot = self.live.pop((num, name))
        verdict = self.it.finished(self.job[num], name, slot, outcome, self.now)
        if outcome.error_class == "precheck":
            self.condition[name] = Condition.DOWN
        others = {key: attempt for key, attempt in self.live.items() if key[0] == num}
        if verdict.final:
            self.ends[num] += 1
            assert sorted(verdict.also, key=str) == sorted(((w, s) for (_, w), (_, s) in others.items()), key=str)
            for (_, where), (identifier, _) in others.items():
                del self.live[num, where]
                if where in self.far:
                    self.far[where].cancels.append(identifier)
                    self.deliver(where)
        else:
            assert verdict.also == ()
            assert (verdict.retry_at is None) == bool(others)

    def deliver(self, name: str) -> None:
        far = self.far[name]
        if far.up:
            for identifier in far.cancels:
                far.queue.pop(identifier, None)
                far.running.pop(identifier, None)
            far.cancels.clear()

    def silence(self) -> None:
        """The line breaks, or the machine loses its power."""
        name = self.rng.choice(list(self.far))
        far = self.far[name]
        far.up = False
        if self.rng.random() < 0.3:
            for identifier, num in far.running.items():
                far.says.append(("ended", identifier, num, LOST))
                far.ended.add(identifier)
            far.running.clear()

    def change(self) -> None:
        """A platform's condition follows, sooner or later, what is the matter with its machine."""
        name = self.rng.choice(list(self.condition))
        far = self.far.get(name, Far())
        new = self.rng.choice(sorted(NEXT[self.condition[name]]))
        if far.up and new in (Condition.SUSPECT, Condition.DOWN, Condition.PROBING) and name in self.far:
            return
        if not far.up and new in (Condition.AVAILABLE, Condition.PAUSED):
            far.up = True
        self.set(name, new)

    def set(self, name: str, new: Condition) -> None:
        self.condition[name] = new
        self.it.set_condition(name, new, "" if new is Condition.AVAILABLE else f"is {new}", self.now)
        if name in self.far:
            far = self.far[name]
            far.paused = new is Condition.PAUSED
            self.deliver(name)
            if far.up:
                self.listen(name)
                self.miss(name)

    def miss(self, name: str) -> None:
        """What the far side does not know, of all that was sent, waits here again."""
        far = self.far[name]
        known = {*far.queue, *far.running, *far.ended, *(identifier for _, identifier in self.recalls)}
        for (num, where), (identifier, _) in list(self.live.items()):
            if where == name and identifier not in known:
                del self.live[num, where]
                self.it.withdrawn(self.job[num], name, self.now)

    def give_up_on(self) -> None:
        """What has started on a machine that has been silent for too long is lost."""
        for (num, name), (identifier, _) in list(self.live.items()):
            if name in self.far and not self.far[name].up and identifier in self.begun:
                self.ended(num, name, LOST)

    def wait(self) -> None:
        self.now += self.rng.choice([0.1, 2.0, 15.0])

    def hold(self) -> None:
        self.it.set_held(self.rng.choice(list(self.far)), self.rng.choice(["", "has 1 GB free"]), self.now)

    def check(self) -> None:
        counts = self.it.counts()
        for name, platform in counts.items():
            attempts = [identifier for (_, where), (identifier, _) in self.live.items() if where == name]
            begun = sum(identifier in self.begun for identifier in attempts)
            kept = sum(one.platform == name for one, _ in self.recalls) if name == "here" else 0
            assert begun <= platform.running <= begun + kept
            assert platform.queued >= 0
            assert platform.done + platform.failed <= sum(self.ends.values())
        assert counts["here"].running <= HERE.slots
        slots = [slot for (_, where), (_, slot) in self.live.items() if where == "here"]
        assert len(set(slots)) == len(slots)
        assert all(number == 1 for number in self.ends.values())

    def finish(self) -> None:
        """Everything comes back, and every attempt finishes."""
        for name, far in self.far.items():
            far.up = True
            self.it.set_held(name, "", self.now)
        for _ in range(500):
            if self.it.done():
                break
            self.now += 5.0
            for name in self.condition:
                self.set(name, Condition.AVAILABLE)
            self.assign()
            self.send()
            while self.recalls:
                self.answer()
            for _ in self.job:
                self.far_starts()
                self.far_ends(FINISHED)
            self.here_ends(FINISHED)
            self.check()


@pytest.mark.parametrize("overflow", ["never", "when_faster", "always"])
def test_whatever_comes_in_any_order_every_job_ends_exactly_once(overflow: Overflow) -> None:
    for seed in range(100):
        sweep = Sweep(seed, overflow)
        happenings = [
            *(sweep.assign, sweep.assign, sweep.send, sweep.answer, sweep.answer, sweep.wait, sweep.hold),
            *(sweep.far_starts, sweep.far_starts, sweep.far_ends, sweep.here_ends),
            *(sweep.silence, sweep.change, sweep.change, sweep.give_up_on),
        ]
        for _ in range(300):
            sweep.rng.choice(happenings)()
            sweep.check()
        sweep.finish()
        assert sweep.it.done(), f"seed {seed}: jobs are left"
        assert sweep.ends == Counter(dict.fromkeys(sweep.job, 1)), f"seed {seed}"
        assert all((c.running, c.queued) == (0, 0) for c in sweep.it.counts().values())
        assert sum(c.done + c.failed for c in sweep.it.counts().values()) == len(sweep.job)
