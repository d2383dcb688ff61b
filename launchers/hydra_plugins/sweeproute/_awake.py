"""Keeps a Mac from falling asleep while jobs run on it; a closed lid still lets it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def awake() -> Iterator[None]:
    """Hold off idle sleep through the system's own `caffeinate`, which ends with this process whatever comes."""
    if sys.platform != "darwin":
        yield
        return
    try:
        process = subprocess.Popen(
            ["caffeinate", "-i", "-w", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:  # a system without it: sleep is no failure
        yield
        return
    try:
        yield
    finally:
        process.terminate()
        process.wait()
