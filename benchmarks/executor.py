"""Times an empty function that submitit runs on a machine behind ssh, in 2 slots, beside submitit's own local executor.

The machine is the one of `far_jobs.py`. It is warm: a job has run before. Timed are the submission of all jobs, as an
array or one by one, with the results of all.

    python benchmarks/executor.py [--jobs 200] [--repeats 3] [--local-jobs 4] [--round-trip-ms 100]
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import submitit

from far_jobs import machine


def same(x: int) -> int:
    """Do nothing."""
    return x


def milliseconds(submit: Callable[[Sequence[int]], Sequence[submitit.Job[int]]], jobs: int) -> float:
    """Milliseconds that each job takes."""
    began = time.perf_counter()
    results = [job.result() for job in submit(range(jobs))]
    took = time.perf_counter() - began
    assert results == list(range(jobs))
    return took / jobs * 1000


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--local-jobs", type=int, default=4)
    parser.add_argument("--round-trip-ms", type=int, default=0)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        what, entry, environment = stack.enter_context(machine(asked.round_trip_ms))
        os.environ.update(environment)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "project").mkdir()
        stack.enter_context(contextlib.chdir(folder / "project"))
        far = submitit.AutoExecutor(folder=folder / "far", cluster="ssh")
        far.update_parameters(**{f"ssh_{key.removeprefix('ssh_')}": value for key, value in entry.items()}, ssh_slots=2)
        began = time.perf_counter()
        far.submit(same, 0).result()
        print(f"{what}, first job {time.perf_counter() - began:.1f} s; {asked.jobs} jobs, median of {asked.repeats}:")
        for name, submit in (
            ("as an array", lambda values: far.map_array(same, values)),
            ("one by one", lambda values: [far.submit(same, value) for value in values]),
        ):
            figures = [milliseconds(submit, asked.jobs) for _ in range(asked.repeats)]
            print(f"  {name}: {statistics.median(figures):.1f} ms each ({min(figures):.1f} to {max(figures):.1f})")
        local = submitit.AutoExecutor(folder=folder / "local", cluster="local")
        figure = milliseconds(lambda values: local.map_array(same, values), asked.local_jobs)
        print(f"submitit's local executor, {asked.local_jobs} jobs at once: {figure:.0f} ms each")


if __name__ == "__main__":
    main()
