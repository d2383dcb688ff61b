"""Asks nvidia-smi about the GPUs, and goes on with other things until it has answered."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

from .loop import Loop, Timer
from .resources import GPU_QUERY, USE_QUERY, Gpu, nvidia_smi, parse_gpus

# Seconds between looks, and until a look is given up: a driver in trouble can hang.
_EVERY_S = 2.0
_GIVEN_UP_S = 15.0


class Gpus:
    """The GPUs as they were seen last.

    Args:
        loop: Where the answers are heard.

    Attributes:
        found: None until the first look is over.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._program = nvidia_smi()
        self._process: subprocess.Popen[bytes] | None = None
        self._timer: Timer | None = None
        self._asked = float("-inf")
        self.found: list[Gpu] | None = None if self._program else []

    def look(self) -> None:
        """Begin a look, where the last one is over and a while ago."""
        now = time.monotonic()
        if self._program is None or self._process is not None or now - self._asked < _EVERY_S:
            return
        self._asked = now
        self._ask(GPU_QUERY, lambda gpus: self._ask(USE_QUERY, lambda uses: self._seen(gpus, uses)))

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
            for gpu in self.found or []
        ]

    def _ask(self, query: tuple[str, ...], then: Callable[[str], None]) -> None:
        assert self._program is not None
        try:
            process = subprocess.Popen(
                [self._program, *query],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            self._seen("", "")
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
                then(said.decode(errors="replace"))

        def give_up() -> None:
            over()
            with contextlib.suppress(OSError):
                os.kill(process.pid, 9)
            self._seen("", "")

        timer = self._loop.after(_GIVEN_UP_S, give_up)
        self._loop.watch(stream.fileno(), read)

    def _seen(self, gpus: str, uses: str) -> None:
        self.found = parse_gpus(gpus, uses)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0
