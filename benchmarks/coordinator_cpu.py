"""Measures what a coordinator costs this machine while a far one runs 8 jobs, and 200 wait in its queue.

The far machine is the tests' workstation, in network namespaces: Linux and root are needed. The jobs do nothing for
60 s and write to no file meanwhile. Counted is the processor time of the coordinator, its ssh and its idle workers,
from the moment all of the 8 run. Asked: 3 % of a core.

    python benchmarks/coordinator_cpu.py [--seconds 60]
"""

import argparse
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import workstation
from disturbed_sweep import DisturbedSweep, counts
from workstation import Workstation

RUNNING, QUEUED, LASTS_S = 8, 200, 60


def seconds(processes: list[psutil.Process]) -> dict[str, float]:
    """Seconds of processor time so far, by the name of the program."""
    spent: dict[str, float] = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            spent[process.name()] = spent.get(process.name(), 0.0) + times.user + times.system
    return spent


def main() -> None:
    """Print the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    if workstation.missing():
        raise SystemExit(f"This needs the tests' workstation: {workstation.missing()}.")
    lasts_s = max(LASTS_S, asked.seconds + 10)
    with Workstation.start() as box, tempfile.TemporaryDirectory() as name, counts(box) as at:
        sweep = DisturbedSweep(box, Path(name), at, RUNNING + QUEUED, takes_s=lasts_s)
        try:
            sweep.start(f"hydra.launcher.platforms.box.max_concurrent_jobs={RUNNING}")
            sweep.under_way(RUNNING)
            folder = sweep.far_root / "jobs"
            sweep.await_word(lambda: len(list(folder.iterdir())) == RUNNING + QUEUED, "all jobs to be sent")
            time.sleep(2)  # until what begins is on record here
            processes = sweep.near_processes()
            before, began = seconds(processes), time.perf_counter()
            time.sleep(asked.seconds)
            after, took = seconds(processes), time.perf_counter() - began
            assert sum(sweep.far_executions().values()) == RUNNING, "a job has ended meanwhile"
        finally:
            sweep.close()
    shares = {program: (after[program] - before[program]) / took * 100 for program in before}
    print(
        f"{RUNNING} jobs running, {QUEUED} queued, for {took:.0f} s: {sum(shares.values()):.2f} % of a core (asked: 3)"
    )
    print(", ".join(f"{program} {share:.2f}" for program, share in sorted(shares.items())))


if __name__ == "__main__":
    main()
