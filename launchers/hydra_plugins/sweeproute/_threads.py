"""Holds a job to its share of the machine's threads."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def held(threads: int | None) -> Iterator[None]:
    """Hold the thread pools that are loaded by now to the job's share; the environment has done it for later ones."""
    if threads is None or "threadpoolctl" not in sys.modules:
        yield
        return
    import threadpoolctl

    with threadpoolctl.threadpool_limits(threads):
        yield


def thread_variables(threads: int | None, already: Mapping[str, str] = os.environ) -> Mapping[str, str]:
    """Environment variables that hold a cold start's libraries to a number of threads.

    Args:
        threads: The number; None for none.
        already: What the environment has, which is left as it is.
    """
    if threads is None:
        return {}
    names = (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    )
    return {name: str(threads) for name in names if name not in already}
