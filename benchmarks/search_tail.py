"""Measures under a virtual clock what it is worth that a search shows the scheduler how much of its budget is left.

The trials are those of search.py: 100, lognormal, on two fast slots and two at a third of the speed, the same orders.
A sampler has one point ready. Shown alone, it moves to a slow slot only where that beats the next turn of a fast one;
shown with what is left, it moves as long as all that waits would take the fast slots longer, and near the end no trial
starts on the slow machine that is expected to finish last.

    python benchmarks/search_tail.py [--orders 20]
"""

import argparse
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

from hydra_plugins.sweeproute._assignment import Job, Source
from hydra_plugins.sweeproute._durations import Durations
from hydra_plugins.sweeproute._policy import JobClass, Overflow, PlatformState, Policy, Rule
from hydra_plugins.sweeproute._simulator import JobList, Simulation, simulate
from search import MEDIAN_S, SIGMA, SLOTS, SLOWNESS, TRIALS

SLEEPER = JobClass((("model_type", "sleeper"),), minutes=MEDIAN_S / 60)
PLATFORMS = (
    PlatformState("fast", slots=SLOTS // 2, speed={"sleeper": 1.0}),
    PlatformState("slow", slots=SLOTS // 2, speed={"sleeper": 1 / SLOWNESS}),
)

MakeSource = Callable[[Iterable[Job], Durations], Source]


class OneShown(JobList):
    """Trials of which the scheduler sees the next one alone."""

    def waiting(self) -> Mapping[JobClass, int]:
        """See Source."""
        return dict.fromkeys(super().waiting(), 1)


def search(order: int, source: MakeSource, overflow: Overflow = "when_faster", *, again: bool = True) -> Simulation:
    """One search, without any history: what it learns of durations is what has ended in it."""
    rng = Random(order)
    jobs = [(Job(n, (f"x={n}",), SLEEPER), MEDIAN_S * rng.lognormvariate(0.0, SIGMA)) for n in range(TRIALS)]
    policy = Policy([Rule({"model_type": "sleeper"}, "fast", "it is faster")], "fast", overflow=overflow)
    return simulate(
        jobs, PLATFORMS, policy, speed={"slow": 1 / SLOWNESS}, learn=True, restart_slow=again, source=source
    )


def ends_last_on_slow(result: Simulation) -> float:
    """Seconds by which the slow machine outlasts the fast one; negative where it ends first."""
    ends = dict.fromkeys(("fast", "slow"), 0.0)
    for stretch in result.stretches:
        ends[stretch.assignment.platform] = max(ends[stretch.assignment.platform], stretch.ended)
    return ends["slow"] - ends["fast"]


def show(name: str, results: Sequence[Simulation]) -> None:
    """One row of the table."""
    late = [ends_last_on_slow(one) for one in results]
    again = statistics.mean(sum(s.assignment.copy_of is not None for s in one.stretches) for one in results)
    print(
        f"  {name:<34}{statistics.median(one.makespan_s for one in results):>8.1f} s"
        f"{statistics.median(one.makespan_s / one.bound_s for one in results):>14.3f}"
        f"{statistics.median(one.idle_share for one in results):>8.1%}"
        f"{statistics.median(late):>10.1f} s{max(late):>8.1f} s{again:>10.1f}"
    )


def main() -> None:
    """Simulate the orders each way, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=20)
    orders = range(parser.parse_args().orders)
    left = [search(order, JobList) for order in orders]
    alone = [search(order, OneShown) for order in orders]
    print(f"{TRIALS} trials on {SLOTS // 2} fast and {SLOTS // 2} slow slots, median of {len(orders)} orders; how long")
    print("the slow machine outlasts the fast one, in the median and at worst; restarts, in the mean")
    columns = f"{'makespan':>10}{'over bound':>14}{'idle':>8}{'outlasts':>12}{'':>10}{'restarts':>10}"
    print(f"  {'the scheduler sees':<34}{columns}")
    show("one trial", alone)
    show("the budget that is left", left)
    show("the same, no slow trial again", [search(order, JobList, again=False) for order in orders])
    show("the same, whatever is free", [search(order, JobList, "always") for order in orders])
    show("... and no slow trial again", [search(order, JobList, "always", again=False) for order in orders])
    gains = [1 - one.makespan_s / other.makespan_s for one, other in zip(left, alone, strict=True)]
    median = statistics.median(gains)
    print(f"seeing the budget saves {median:.1%} of the makespan, from {min(gains):.1%} to {max(gains):.1%}")


if __name__ == "__main__":
    main()
