"""Sends what a job prints to a file of its own."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

CONSOLE = "console.log"


@contextlib.contextmanager
def console(path: Path) -> Iterator[None]:
    """Send what the job prints, by Python or not, to a file of its own: the terminal belongs to the live table."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for descriptor in (target, *kept):
            os.close(descriptor)
