"""Notes how a sweep's platforms fare, for figures about them afterwards.

Lines of `.sweeproute/platforms.jsonl`, each with `at`, seconds since 1970:

- `{"slots": {platform: number}}`: a coordinator begins with these platforms;
- `{"platform", "condition", "why"}`: a platform is in this condition from now on;
- `{"platform", "cpu" or "gpu", "over_s"}`: per cent of it that was busy in the last so many seconds;
- `{"ends": true}`: the coordinator ends in order.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ._records import append_line

FILE = "platforms.jsonl"
# Seconds between two notes of a far machine's load.
_LOAD_S = 10.0


class PlatformLog:
    """The platforms of one sweep under one coordinator.

    Args:
        ours: The folder of a sweep's own files.
        clock: Seconds since 1970.
    """

    def __init__(self, ours: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = ours / FILE
        self._clock = clock
        self._here: tuple[str, ...] = ()
        self._cpu: tuple[float, float, float] | None = None
        self._noted: dict[str, float] = {}

    def begins(self, slots: Mapping[str, int], here: Iterable[str]) -> None:
        """The coordinator begins.

        Args:
            slots: Jobs that each platform runs at once; of those that can be used.
            here: The platforms that are this machine, and so there as long as the coordinator is.
        """
        self._here = tuple(here)
        self._write(slots=dict(slots))
        for platform in self._here:
            self.condition(platform, "available")
        self._cpu = _cpu_times(self._clock())

    def condition(self, platform: str, condition: str, why: str = "") -> None:
        """A platform's condition has changed; see Condition."""
        self._write(platform=platform, condition=str(condition), why=why)

    def load(self, platform: str, load: Mapping[str, Any] | None, running: int) -> None:
        """Note how busy a far machine's GPUs are; cheap, and to be called about once a second.

        Args:
            platform: Its name.
            load: What its supervisor said of it last.
            running: Jobs that run there now; without any there is nothing to note.
        """
        now = self._clock()
        busy = [gpu["utilisation"] for gpu in (load or {}).get("gpus") or () if gpu.get("utilisation") is not None]
        if not running or not busy or now - self._noted.get(platform, 0.0) < _LOAD_S:
            return
        self._noted[platform] = now
        self._write(platform=platform, gpu=sum(busy) / len(busy), over_s=_LOAD_S)

    def ends(self) -> None:
        """The coordinator ends: note how busy this machine was while it ran."""
        if self._cpu is not None:
            began, busy, total = self._cpu
            now, busy_now, total_now = _cpu_times(self._clock())
            for platform in self._here if total_now > total else ():
                percent = 100 * (busy_now - busy) / (total_now - total)
                self._write(platform=platform, cpu=percent, over_s=now - began)
        self._write(ends=True)

    def _write(self, **content: Any) -> None:
        # A figure that is lost is no reason to stop a sweep.
        with suppress(OSError):
            append_line(self._path, {"at": self._clock(), **content})


def _cpu_times(now: float) -> tuple[float, float, float]:
    """The time, with the seconds that all cores of this machine have been busy, and those that there were."""
    import psutil

    times = psutil.cpu_times()
    # Guests are counted in user and nice already.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return now, total - times.idle - getattr(times, "iowait", 0.0), total
