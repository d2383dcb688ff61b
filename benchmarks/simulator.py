"""Measures schedules under a virtual clock, against the bound on their makespan.

Run: python benchmarks/simulator.py
"""

import itertools
import math
import statistics
import time
from collections.abc import Sequence
from random import Random

from hydra_plugins.sweeproute._assignment import Job
from hydra_plugins.sweeproute._policy import JobClass, Overflow, PlatformState, Policy, Rule
from hydra_plugins.sweeproute._simulator import makespan_bound, simulate

SEEDS = 200
JOBS = 324
MEDIAN_S = 60.0
SIGMA = 0.8
SLOW = 1 / 3
# Values of each axis of the grid, and the part of sigma that they do not explain.
AXES = (3, 3, 3, 3, 4)
NOISE = 0.2
PLATFORMS = 50
SLOTS = 8
MODELS = 10
MODES: tuple[Overflow, ...] = ("never", "when_faster", "always")

Point = tuple[tuple[str, ...], float]  # overrides and seconds


def lengths(seed: int, number: int) -> list[float]:
    """Seconds of each job: lognormal."""
    rng = Random(seed)
    return [rng.lognormvariate(math.log(MEDIAN_S), SIGMA) for _ in range(number)]


def unforeseeable(seed: int) -> list[Point]:
    """Jobs of which none tells anything of another."""
    return [((f"x={num}",), seconds) for num, seconds in enumerate(lengths(seed, JOBS))]


def grid(seed: int) -> list[Point]:
    """As many jobs with the same spread, most of it explained by the values of their axes."""
    rng = Random(seed)
    effects = [[rng.gauss(0.0, 1.0) for _ in range(size)] for size in AXES]
    points = list(itertools.product(*map(range, AXES)))
    sums = [sum(effects[axis][value] for axis, value in enumerate(point)) for point in points]
    scale = math.sqrt(SIGMA**2 - NOISE**2) / statistics.pstdev(sums)
    mean = statistics.mean(sums)
    return [
        (
            tuple(f"axis_{axis}={value}" for axis, value in enumerate(point)),
            MEDIAN_S * math.exp((effect - mean) * scale + rng.gauss(0.0, NOISE)),
        )
        for point, effect in zip(points, sums, strict=True)
    ]


def two_machines(points: Sequence[Point], overflow: Overflow, *, far: bool = False, aware: bool = True) -> list[float]:
    """A first sweep on 4 fast and 4 slow slots: idle share, makespan over bound, jobs that were restarted.

    The fast machine has a queue of its own where it is far. The scheduler that is aware measures durations and restarts
    slow jobs.
    """
    job_class = JobClass((("model_type", "XGBoost"),), minutes=MEDIAN_S / 60)
    platforms = [
        PlatformState("fast", slots=4, speed={"XGBoost": 1.0}, ahead=far),
        PlatformState("slow", slots=4, speed={"XGBoost": SLOW}),
    ]
    policy = Policy([Rule({"model_type": "XGBoost"}, "fast", "faster")], "fast", overflow=overflow)
    jobs = [(Job(num, overrides, job_class), seconds) for num, (overrides, seconds) in enumerate(points)]
    result = simulate(jobs, platforms, policy, speed={"slow": SLOW}, learn=aware, restart_slow=aware)
    again = sum(stretch.assignment.copy_of is not None for stretch in result.stretches)
    return [result.idle_share, result.makespan_s / result.bound_s, again]


def batches(points: Sequence[Point]) -> list[float]:
    """The peer: eight jobs at a time, the next eight when the slowest has ended."""
    seconds = [length for _, length in points]
    speeds = [1.0] * 4 + [SLOW] * 4
    makespan = 0.0
    for first in range(0, len(seconds), 8):
        batch = seconds[first : first + 8]
        makespan += max(length / speed for length, speed in zip(batch, speeds, strict=False))
    busy = sum(length / speeds[num % 8] for num, length in enumerate(seconds))
    return [1.0 - busy / (8 * makespan), makespan / makespan_bound(seconds, speeds), 0.0]


def policy_time(
    number: int, overflow: Overflow, *, down: int = 0, memory_short: bool = False, far: bool = False
) -> float:
    """Microseconds per job of the whole simulation: ten models routed over fifty platforms, some of them down.

    The simulator's own events are in it, so the scheduler takes less. Time is the process's own: other processes do
    not count. Where memory is short, platforms have 16 to 64 GB and jobs need 2 to 20 GB, so that slots stay free for
    which most classes that wait are too large. Far platforms, all but one, have queues of their own.
    """
    names = [f"platform_{num}" for num in range(PLATFORMS)]
    platforms = [
        PlatformState(
            name,
            slots=SLOTS,
            memory_gb=16.0 * (1 + num % 4) if memory_short else 64.0,
            available=num >= down,
            why="" if num >= down else "is down",
            ahead=far and num < PLATFORMS - 1,
            speed={f"model_{num % MODELS}": 4.0},
        )
        for num, name in enumerate(names)
    ]
    rules = [Rule({"model_type": f"model_{num}"}, names[num], "routed") for num in range(MODELS)]
    policy = Policy(rules, names[-1], overflow=overflow)
    classes = [
        JobClass(
            (("model_type", f"model_{num}"),),
            priority=1 + num,
            memory_gb=2.0 + 2.0 * num if memory_short else 4.0,
            minutes=1.0,
        )
        for num in range(MODELS)
    ]
    jobs = [(Job(num, (f"x={num}",), classes[num % MODELS]), length) for num, length in enumerate(lengths(0, number))]
    began = time.process_time()
    result = simulate(jobs, platforms, policy)
    spent_s = time.process_time() - began
    assert sum(stretch.outcome is not None for stretch in result.stretches) == number
    return spent_s / number * 1e6


def main() -> None:
    sweeps, grids = [unforeseeable(seed) for seed in range(SEEDS)], [grid(seed) for seed in range(SEEDS)]
    print(f"{JOBS} jobs, lognormal (median {MEDIAN_S:g} s, sigma {SIGMA}), 4 fast slots and 4 at a third of the speed,")
    print(f"a first sweep without history; median of {SEEDS} seeds")
    print(f"  {'schedule':<58}{'idle':>7}{'makespan/bound':>16}{'restarts':>10}")
    show("batches of 8", [batches(points) for points in sweeps])
    for mode in MODES[1:]:
        show(f"as slots free, {mode}", [two_machines(points, mode, aware=False) for points in sweeps])
    print("  targets:                                                     6.0%           1.070")
    print("durations measured, slow jobs restarted")
    for mode in MODES:
        for far in (False, True):
            name = f"{mode}, the fast machine {'far, with its own queue' if far else 'near'}"
            show(name, [two_machines(points, mode, far=far) for points in sweeps])
    print("  target:                                                                     1.035")
    print(f"the same, durations that follow the {len(AXES)} axes of a grid but for a sigma of {NOISE}")
    for mode in MODES[1:]:
        for far in (False, True):
            name = f"{mode}, the fast machine {'far, with its own queue' if far else 'near'}"
            show(name, [two_machines(points, mode, far=far) for points in grids])
    print()
    print(f"10,000 jobs of {MODELS} classes on {PLATFORMS} platforms of {SLOTS} slots: all events counted")
    for mode in MODES:
        times = {
            "all up": policy_time(10_000, mode),
            "5 down": policy_time(10_000, mode, down=5),
            "memory short": policy_time(10_000, mode, memory_short=True),
            "far": policy_time(10_000, mode, far=True),
        }
        row = "".join(f"{name} {microseconds:5.1f}   " for name, microseconds in times.items())
        print(f"  overflow {mode:<12} {row} us a job (target 50)")


def show(name: str, results: Sequence[Sequence[float]]) -> None:
    """One row of the table."""
    idle, ratio, again = (statistics.median(values) for values in zip(*results, strict=True))
    print(f"  {name:<58}{idle:>7.1%}{ratio:>16.3f}{again:>10g}")


if __name__ == "__main__":
    main()
