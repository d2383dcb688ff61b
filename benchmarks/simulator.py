"""Measures schedules under a virtual clock, against the bound on their makespan.

Run: python benchmarks/simulator.py
"""

import math
import statistics
import time
from collections.abc import Sequence
from random import Random

from hydra_plugins.sweeproute._policy import JobClass, Overflow, PlatformState, Policy, Rule
from hydra_plugins.sweeproute._scheduler import Job
from hydra_plugins.sweeproute._simulator import makespan_bound, simulate

SEEDS = 200
JOBS = 324
MEDIAN_S = 60.0
SIGMA = 0.8
SLOW = 1 / 3
PLATFORMS = 50
SLOTS = 8
MODELS = 10


def lengths(seed: int, number: int) -> list[float]:
    """Seconds of each job: lognormal."""
    rng = Random(seed)
    return [rng.lognormvariate(math.log(MEDIAN_S), SIGMA) for _ in range(number)]


def two_machines(seconds: Sequence[float], overflow: Overflow) -> tuple[float, float]:
    """A sweep on 4 fast and 4 slow slots, durations unknown to the scheduler: idle share, makespan over bound."""
    job_class = JobClass((("model_type", "XGBoost"),), minutes=MEDIAN_S / 60)
    platforms = [
        PlatformState("fast", slots=4, speed={"XGBoost": 1.0}),
        PlatformState("slow", slots=4, speed={"XGBoost": SLOW}),
    ]
    policy = Policy([Rule({"model_type": "XGBoost"}, "fast", "faster")], "fast", overflow=overflow)
    jobs = [(Job(num, (f"x={num}",), job_class), length) for num, length in enumerate(seconds)]
    result = simulate(jobs, platforms, policy, speed={"slow": SLOW})
    return result.idle_share, result.makespan_s / result.bound_s


def batches(seconds: Sequence[float]) -> tuple[float, float]:
    """The peer: eight jobs at a time, the next eight when the slowest has ended."""
    speeds = [1.0] * 4 + [SLOW] * 4
    makespan = 0.0
    for first in range(0, len(seconds), 8):
        batch = seconds[first : first + 8]
        makespan += max(length / speed for length, speed in zip(batch, speeds, strict=False))
    busy = sum(length / speeds[num % 8] for num, length in enumerate(seconds))
    return 1.0 - busy / (8 * makespan), makespan / makespan_bound(seconds, speeds)


def policy_time(number: int, overflow: Overflow, *, down: int = 0, memory_short: bool = False) -> float:
    """Microseconds per job of the whole simulation: ten models routed over fifty platforms, some of them down.

    The simulator's own events are in it, so the scheduler takes less. Time is the process's own: other processes do
    not count. Where memory is short, platforms have 16 to 64 GB and jobs need 2 to 20 GB, so that slots stay free for
    which most classes that wait are too large.
    """
    names = [f"platform_{num}" for num in range(PLATFORMS)]
    platforms = [
        PlatformState(
            name,
            slots=SLOTS,
            memory_gb=16.0 * (1 + num % 4) if memory_short else 64.0,
            available=num >= down,
            why="" if num >= down else "is down",
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
    sweeps = [lengths(seed, JOBS) for seed in range(SEEDS)]
    print(f"{JOBS} jobs, lognormal (median {MEDIAN_S:g} s, sigma {SIGMA}), 4 fast slots and 4 at a third of the speed,")
    print(f"durations unknown, no restarts; median of {SEEDS} seeds")
    print(f"  {'schedule':<34}{'idle':>8}{'makespan/bound':>16}")
    rows = {
        "as slots free, when_faster": [two_machines(seconds, "when_faster") for seconds in sweeps],
        "as slots free, always": [two_machines(seconds, "always") for seconds in sweeps],
        "batches of 8": [batches(seconds) for seconds in sweeps],
    }
    for name, results in rows.items():
        idle = statistics.median(share for share, _ in results)
        ratio = statistics.median(ratio for _, ratio in results)
        print(f"  {name:<34}{idle:>8.1%}{ratio:>16.3f}")
    print("  targets for slots:                  6.0%           1.070")
    print()
    print(f"10,000 jobs of {MODELS} classes on {PLATFORMS} platforms of {SLOTS} slots: all events counted")
    modes: tuple[Overflow, ...] = ("never", "when_faster", "always")
    for overflow in modes:
        times = {
            "all up": policy_time(10_000, overflow),
            "5 down": policy_time(10_000, overflow, down=5),
            "memory short": policy_time(10_000, overflow, memory_short=True),
        }
        row = "".join(f"{name} {microseconds:5.1f}   " for name, microseconds in times.items())
        print(f"  overflow {overflow:<12} {row} us a job (target 50)")


if __name__ == "__main__":
    main()
