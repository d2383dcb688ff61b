"""Times how soon a sweep goes on after an outage of a far machine, over it once it is back or elsewhere meanwhile.

The far machine is the tests' workstation, in network namespaces: Linux and root are needed.

- Return: packets were dropped for a while, 6 s (the machine is suspect) or 15 s (it counts as down). From the moment
  they pass again to the first job that starts over there: an attempt that died in the outage is tried again, so that
  the far side has to be heard, the backoff of 0.5 to 1 s has to pass, and the job has to be sent. Asked: 3 s.
- Power-off: the line goes dead, then the machine, so that no connection is ever closed. From there to the first of
  its queued jobs that starts on this machine. Asked: 12 s.

    python benchmarks/outages.py [--repeats 5]
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import workstation
from disturbed_sweep import DisturbedSweep, counts
from workstation import Workstation


@contextmanager
def sweep(box: Workstation, jobs: int, takes_s: float) -> Iterator[DisturbedSweep]:
    """A sweep over the workstation that has not begun."""
    with tempfile.TemporaryDirectory() as folder, counts(box) as at:
        one = DisturbedSweep(box, Path(folder), at, jobs, takes_s)
        try:
            yield one
        finally:
            one.close()


def seconds_until(true: Callable[[], object]) -> float:
    """Seconds until something is so, which is looked at every 5 ms."""
    began = time.perf_counter()
    while not true():
        time.sleep(0.005)
        if time.perf_counter() - began > 120:
            raise SystemExit("Two minutes have passed, and the sweep does not go on.")
    return time.perf_counter() - began


def after_return(box: Workstation, outage_s: float) -> float:
    """From the line's return to the next start of a job whose process died meanwhile."""
    with sweep(box, 1, 0) as one:
        one.start("wait=[0]", "dies=[0]")
        one.under_way(1)
        box.black_hole(True)
        time.sleep(outage_s / 2)
        one.go()
        # The moment of the return has nothing to do with those at which the near side tries.
        time.sleep(outage_s / 2 + random.uniform(0, 2))
        assert sum(one.far_executions().values()) == 1
        box.black_hole(False)
        took = seconds_until(lambda: sum(one.far_executions().values()) == 2)
        one.finish()
    return took


def after_power_off(box: Workstation) -> float:
    """From the power-off to the first job that falls back."""
    with sweep(box, 20, 2) as one:
        one.start()
        one.under_way(2)
        began = time.perf_counter()
        box.power_off()
        seconds_until(one.near_executions)
        took = time.perf_counter() - began
        box.power_on()
    return took


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    if workstation.missing():
        raise SystemExit(f"This needs the tests' workstation: {workstation.missing()}.")
    random.seed(0)
    measured: list[tuple[str, Callable[[Workstation], float], float]] = [
        ("return after 6 s", lambda box: after_return(box, 6), 3),
        ("return after 15 s", lambda box: after_return(box, 15), 3),
        ("power-off to first fallback", after_power_off, 12),
    ]
    with Workstation.start() as box:
        for name, measure, limit in measured:
            took = [measure(box) for _ in range(asked.repeats)]
            worst = max(took)
            print(f"{name}: median {statistics.median(took):.2f} s, worst {worst:.2f} s (asked: {limit})", flush=True)


if __name__ == "__main__":
    main()
