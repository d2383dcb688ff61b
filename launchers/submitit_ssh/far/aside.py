"""Has other processes do what takes longer than anybody may wait in the supervisor's thread."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from .loop import Loop

_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from {0} import {1}; {1}(*sys.argv[2:])"


def hear(
    loop: Loop, code: str, function: Callable[..., None], arguments: Iterable[str], heard: Callable[[str], None]
) -> None:
    """Call a function in a process of its own, and hear what it has printed.

    Args:
        loop: Where its end is heard.
        code: The folder that this package lies in.
        function: Of this package.
        arguments: What it is given.
        heard: Called once, when it has ended, with all that it has printed.

    Raises:
        OSError: No process could be made.
    """
    program = _PROGRAM.format(function.__module__, function.__name__)
    process = subprocess.Popen(
        [sys.executable, "-E", "-s", "-S", "-c", program, code, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.returncode = 0  # the supervisor reaps all of its children itself
    stream, said = process.stdout, bytearray()
    os.set_blocking(stream.fileno(), False)

    def read(_: int) -> None:
        data = stream.read(65536)
        if data:
            said.extend(data)
        elif data is not None:
            loop.forget(stream.fileno())
            stream.close()
            heard(said.decode(errors="replace"))

    loop.watch(stream.fileno(), read)


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders, whenever it is done.

    Raises:
        OSError: No process could be made.
    """
    process = subprocess.Popen(["rm", "-rf", "--", *map(str, paths)], stdin=subprocess.DEVNULL)
    process.returncode = 0  # the supervisor reaps all of its children itself
