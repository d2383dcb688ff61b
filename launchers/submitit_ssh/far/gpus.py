"""Asks nvidia-smi about the GPUs, and goes on with other things until it has answered."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .loop import Loop
from .resources import GPU_QUERY, USE_QUERY, Gpu, nvidia_smi, parse_gpus

# Seconds between looks, and until a look is given up: a driver in trouble can hang.
_EVERY_S = 2.0
_GIVEN_UP_S = 15.0
# What nvidia-smi says where a driver runs that has nothing to drive: an answer, whatever it exits with.
_NONE_HERE = "No devices were found"
# Prints what a program says and then its exit code: the supervisor reaps all of its children itself, and tells no code.
_AND_CODE = ("/bin/sh", "-c", '"$@" 2>&1; printf "\\n%d" "$?"', "sh")
# Characters of what nvidia-smi says that are told.
_TEXT = 200


@dataclass(frozen=True)
class Sight:
    """What is known of the GPUs.

    Attributes:
        gpus: As the last look that succeeded has shown them; None before there was one.
        ever: All that looks have shown, each as it was last; one that has fallen out of its slot is among them.
        trouble: What the latest look failed with, as a clause; empty where it succeeded.
    """

    gpus: tuple[Gpu, ...] | None = None
    ever: tuple[Gpu, ...] = ()
    trouble: str = ""


class Gpus:
    """The GPUs as they were seen last.

    Args:
        loop: Where the answers are heard.

    Attributes:
        found: What is known by now.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._program = nvidia_smi()
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = float("-inf")
        self._ever: dict[str, Gpu] = {}
        self.found = Sight(gpus=None if self._program else ())

    def look(self) -> None:
        """Begin a look, where the last one is over and a while ago."""
        now = time.monotonic()
        if self._program is None or self._process is not None or now - self._asked < _EVERY_S:
            return
        self._asked = now
        # Where use by process is not told, what is free is known all the same.
        self._ask(GPU_QUERY, lambda gpus, code: self._ask(USE_QUERY, lambda uses, _: self._seen(gpus, uses, code)))

    def said(self, ours: set[int]) -> list[dict[str, Any]]:
        """What is told of the GPUs.

        Args:
            ours: Processes of our jobs; what others use is counted apart.
        """
        return [
            {
                "index": gpu.index,
                "name": gpu.name,
                "memory_gb": round(gpu.memory_gb, 3),
                "memory_free_gb": round(gpu.memory_free_gb, 3),
                "utilisation": gpu.utilisation,
                "others_gb": round(
                    max(
                        0.0,
                        gpu.memory_gb
                        - gpu.memory_free_gb
                        - sum(used for pid, used in gpu.used_gb.items() if pid in ours or _group(pid) in ours),
                    ),
                    3,
                ),
            }
            for gpu in self.found.gpus or ()
        ]

    def _ask(self, query: tuple[str, ...], then: Callable[[str, str], None]) -> None:
        """Call with what nvidia-smi says to a query, and what it exits with."""
        assert self._program is not None
        try:
            process = subprocess.Popen(
                [*_AND_CODE, self._program, *query],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._failed(f"nvidia-smi cannot be started: {error}")
            return
        assert process.stdout is not None
        process.returncode = 0  # the supervisor reaps all of its children itself
        stream, said = process.stdout, bytearray()
        os.set_blocking(stream.fileno(), False)
        self._process = process

        def over() -> None:
            timer.cancel()
            self._loop.forget(stream.fileno())
            stream.close()
            self._process = None

        def read(_: int) -> None:
            data = stream.read(65536)
            if data:
                said.extend(data)
            elif data is not None:
                over()
                text, _newline, code = said.decode(errors="replace").rstrip().rpartition("\n")
                then(text.strip(), code)

        def give_up() -> None:
            over()
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            self._failed(f"nvidia-smi has not answered within {_GIVEN_UP_S:g} s")

        timer = self._loop.after(_GIVEN_UP_S, give_up)
        self._loop.watch(stream.fileno(), read)

    def _seen(self, gpus: str, uses: str, code: str) -> None:
        found = parse_gpus(gpus, uses)
        if not found and _NONE_HERE not in gpus:
            last = gpus.rpartition("\n")[2].strip()[:_TEXT]
            self._failed(f"nvidia-smi fails: {last or f'it says nothing and ends with code {code}'}")
            return
        self._ever.update((gpu.uuid, gpu) for gpu in found)
        self.found = Sight(tuple(found), tuple(self._ever.values()))

    def _failed(self, trouble: str) -> None:
        """Keep what is known: a driver that does not answer for a moment has not lost its GPUs."""
        self.found = Sight(self.found.gpus, self.found.ever, trouble)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0
