"""The scheduler, under a virtual clock, keeps slots busy and loses no job, at any size."""

import doctest
import itertools
import math
import statistics
from collections import Counter
from random import Random
from typing import Any

import pytest

from hydra_plugins.sweeproute import _simulator
from hydra_plugins.sweeproute._assignment import Assignment, Job
from hydra_plugins.sweeproute._durations import Durations
from hydra_plugins.sweeproute._policy import JobClass, Overflow, PlatformState, Policy, Rule
from hydra_plugins.sweeproute._retry import Outcome
from hydra_plugins.sweeproute._simulator import JobList, Simulation, SimulationStuckError, makespan_bound, simulate

XGBOOST = JobClass((("model_type", "XGBoost"),), minutes=1.0)
SLOW = 1 / 3
FAST_AND_SLOW = (
    PlatformState("fast", slots=4, speed={"XGBoost": 1.0}),
    PlatformState("slow", slots=4, speed={"XGBoost": SLOW}),
)


def workload(seed: int, number: int, job_class: JobClass = XGBOOST) -> list[tuple[Job, float]]:
    rng = Random(seed)
    return [(Job(num, (f"x={num}",), job_class), rng.lognormvariate(math.log(60.0), 0.8)) for num in range(number)]


def policy(overflow: Overflow = "when_faster") -> Policy:
    return Policy([Rule({"model_type": "XGBoost"}, "fast", "faster")], "fast", overflow=overflow)


def run(seed: int, **settings: Any) -> Simulation:
    return simulate(workload(seed, 324), FAST_AND_SLOW, policy(), speed={"slow": SLOW}, **settings)


def counted(result: Simulation) -> Counter[int]:
    """How many attempts at each job count."""
    return Counter(stretch.assignment.job.num for stretch in result.stretches if stretch.outcome is not None)


def test_two_machines_of_different_speed_stay_busy() -> None:
    results = [run(seed) for seed in range(15)]
    assert statistics.median(result.idle_share for result in results) <= 0.06
    assert statistics.median(result.makespan_s / result.bound_s for result in results) <= 1.07
    assert all(result.makespan_s >= result.bound_s for result in results)


class OneShown(JobList):
    """A source that shows no more than its next job, as a search would that did not tell what is left of its budget."""

    def waiting(self) -> dict[JobClass, int]:
        return dict.fromkeys(super().waiting(), 1)


def test_a_source_that_shows_what_is_to_come_keeps_the_slow_machine_busy() -> None:
    def makespan(source: type[JobList]) -> float:
        return statistics.median(run(seed, source=source, learn=True).makespan_s for seed in range(9))

    assert makespan(JobList) <= 0.9 * makespan(OneShown)


def fast_far() -> tuple[PlatformState, ...]:
    return (PlatformState("fast", slots=4, speed={"XGBoost": 1.0}, ahead=True), FAST_AND_SLOW[1])


@pytest.mark.parametrize("overflow", ["when_faster", "always"])
@pytest.mark.parametrize("platforms", [FAST_AND_SLOW, fast_far()], ids=["near", "far"])
def test_slow_jobs_that_start_again_bring_a_first_sweep_closer_to_the_bound(
    overflow: Overflow, platforms: tuple[PlatformState, ...]
) -> None:
    settings: dict[str, Any] = {"speed": {"slow": SLOW}, "learn": True}
    results = [simulate(workload(seed, 324), platforms, policy(overflow), **settings) for seed in range(15)]
    assert statistics.median(result.makespan_s / result.bound_s for result in results) <= 1.045
    assert all(counted(result) == Counter(range(324)) for result in results)
    assert any(stretch.outcome is None for result in results for stretch in result.stretches)


def test_a_machine_with_its_own_queue_runs_no_more_jobs_at_once_than_it_has_slots() -> None:
    result = simulate(workload(6, 324), fast_far(), policy("always"), speed={"slow": SLOW})
    events = [(s.started, 1) for s in result.stretches if s.assignment.platform == "fast"]
    events += [(s.ended, -1) for s in result.stretches if s.assignment.platform == "fast"]
    running = list(itertools.accumulate(change for _, change in sorted(events)))
    assert max(running) == 4
    assert min(running) == 0


def test_effects_learned_on_the_way_order_a_far_queue_too() -> None:
    rng = Random(4)
    effects = {(axis, value): rng.gauss(0.0, 0.6) for axis in "abcd" for value in range(4)}
    jobs = []
    for num, point in enumerate(itertools.product(range(4), repeat=4)):
        overrides = tuple(f"{axis}={value}" for axis, value in zip("abcd", point, strict=True))
        log_s = sum(effects[key] for key in zip("abcd", point, strict=True)) + rng.gauss(0.0, 0.1)
        jobs.append((Job(num, overrides, XGBOOST), 60.0 * math.exp(log_s)))
    result = simulate(jobs, fast_far(), policy(), speed={"slow": SLOW}, learn=True)
    assert result.makespan_s / result.bound_s <= 1.01


def test_known_durations_bring_the_sweep_close_to_the_bound() -> None:
    jobs = workload(3, 324)
    known = Durations(
        {"model": None, "platform": None, "overrides": job.overrides, "seconds": seconds, "outcome": "FINISHED"}
        for job, seconds in jobs
    )
    blind, seeing = run(3), run(3, durations=known)
    assert seeing.makespan_s / seeing.bound_s <= 1.01
    assert seeing.makespan_s < blind.makespan_s


def test_a_simulation_is_the_same_each_time() -> None:
    assert run(5) == run(5)


def test_no_slot_runs_two_jobs_at_once_and_no_job_counts_twice() -> None:
    result = run(1)
    assert counted(result) == Counter(range(324))
    by_slot = sorted(result.stretches, key=lambda s: (s.assignment.platform, s.assignment.slot, s.started))
    for before, after in itertools.pairwise(by_slot):
        same = (before.assignment.platform, before.assignment.slot) == (
            after.assignment.platform,
            after.assignment.slot,
        )
        assert not same or after.started >= before.ended


def test_a_job_whose_worker_dies_is_tried_again_and_costs_no_other_job_anything() -> None:
    def first_of_every_tenth(assignment: Assignment) -> Outcome:
        dies = assignment.attempt == 1 and assignment.job.num % 10 == 0
        return Outcome("FAILED", "killed") if dies else Outcome("FINISHED")

    result = run(2, outcome=first_of_every_tenth, restart_slow=False)
    attempts = Counter(stretch.assignment.job.num for stretch in result.stretches)
    assert attempts == Counter({num: 2 if num % 10 == 0 else 1 for num in range(324)})


def test_jobs_that_no_platform_takes_are_said_to_be_stuck() -> None:
    down = [PlatformState("fast", slots=4, available=False, why="is paused")]
    with pytest.raises(SimulationStuckError, match="fast is paused"):
        simulate(workload(0, 3), down, policy())


def test_ten_thousand_jobs_on_fifty_platforms_all_run_where_they_may() -> None:
    rng = Random(11)
    names = [f"platform_{num}" for num in range(50)]
    platforms = [
        PlatformState(name, slots=1 + num % 8, memory_gb=16.0 * (1 + num % 4), available=num % 10 != 9, why="is down")
        for num, name in enumerate(names)
    ]
    rules = [Rule({"model_type": f"model_{num}"}, name, f"rule {num}") for num, name in enumerate(names[:20])]
    classes = [
        JobClass((("model_type", f"model_{num}"),), priority=1 + num % 10, memory_gb=1.0 + num % 24, minutes=1.0)
        for num in range(25)
    ]
    jobs = [(Job(num, (), rng.choice(classes)), rng.lognormvariate(4.0, 0.8)) for num in range(10_000)]
    result = simulate(jobs, platforms, Policy(rules, names[0], overflow="always"))
    assert counted(result) == Counter(range(10_000))
    assert result.bound_s <= result.makespan_s
    state = {platform.name: platform for platform in platforms}
    used: dict[str, float] = dict.fromkeys(names, 0.0)
    count: dict[str, int] = dict.fromkeys(names, 0)
    events = [(s.started, 1, s.assignment) for s in result.stretches] + [
        (s.ended, 0, s.assignment) for s in result.stretches
    ]
    for _, starts, assignment in sorted(events, key=lambda event: event[:2]):
        name, sign = assignment.platform, 1 if starts else -1
        used[name] += sign * assignment.job.job_class.memory_gb
        count[name] += sign
        assert state[name].available
        assert count[name] <= state[name].slots
        assert used[name] <= state[name].memory_gb + 1e-9


@pytest.mark.parametrize(
    ("seconds", "speeds", "bound"),
    [
        ([4.0, 4.0], [1.0, 1.0], 4.0),  # all work on all slots
        ([9.0, 1.0, 1.0], [3.0, 1.0], 3.0),  # the longest job on the fastest slot
        ([6.0, 6.0, 1.0], [2.0, 1.0, 1.0], 4.0),  # the two longest on the two fastest
    ],
)
def test_the_bound_is_the_largest_of_its_parts(seconds: list[float], speeds: list[float], bound: float) -> None:
    assert makespan_bound(seconds, speeds) == bound


def test_no_schedule_of_a_few_jobs_beats_the_bound() -> None:
    """Every assignment of five jobs to three slots, by enumeration."""
    rng = Random(4)
    for _ in range(20):
        seconds = [rng.uniform(1.0, 10.0) for _ in range(5)]
        speeds = [1.0, 0.7, 0.3]
        best = min(
            max(sum(s for s, slot in zip(seconds, where, strict=True) if slot == k) / speeds[k] for k in range(3))
            for where in itertools.product(range(3), repeat=5)
        )
        assert makespan_bound(seconds, speeds) <= best + 1e-9


def test_examples_run() -> None:
    assert doctest.testmod(_simulator).failed == 0
