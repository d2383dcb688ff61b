"""Samples what a trial's machine is busy with, under the names by which MLflow's pages show system metrics."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sweeproute.journal import SYSTEM, Journal

_MB = 1e6


@contextmanager
def sampled(journal: Journal, every_s: float | None) -> Iterator[None]:
    """Journal what the machine does, from a thread, until the trial's fits are over.

    A trial that is shorter than one interval has none, so that thousands of small ones do not fill the store.

    Args:
        journal: The trial's.
        every_s: Seconds between two samples; None or 0 for never.
    """
    if not every_s:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_sample, args=(journal, every_s, over), daemon=True, name="system-metrics")
    thread.start()
    try:
        yield
    finally:
        # Before the journal ends, which takes nothing more then.
        over.set()
        thread.join()


def _sample(journal: Journal, every_s: float, over: threading.Event) -> None:
    if over.wait(every_s):
        return
    # lazy import: most trials have ended by now
    import psutil

    gpus = Gpus()
    psutil.cpu_percent()  # from here on it counts
    with suppress(OSError), gpus:  # a full disk is the trial's own to say
        step, ended = 0, False
        while not ended:
            # A GPU's own counter looks back some tenths of a second; the cores' over the whole interval.
            ended = over.wait(every_s if step else min(every_s, 1.0))
            memory = psutil.virtual_memory()
            found = {
                "cpu_utilization_percentage": psutil.cpu_percent(),
                "system_memory_usage_megabytes": memory.used / _MB,
                "system_memory_usage_percentage": memory.used / memory.total * 100,
                **gpus.read(),
            }
            now = {SYSTEM + name: round(value, 1) for name, value in found.items()}
            journal.metrics(now, step=step, time=time.time_ns() // 1_000_000)
            step += 1


class Gpus:
    """The NVIDIA GPUs of this machine, by their driver's management library; none where there is none."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: dict[int, Any] = {}

    def __enter__(self) -> None:
        try:
            # lazy import: a machine without a GPU has no driver to ask, and may lack the binding
            import pynvml
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return
        self._nvml = pynvml
        for index in range(self._asked("nvmlDeviceGetCount") or 0):
            # One that this process may not open, or that is lost, leaves the others.
            handle = self._asked("nvmlDeviceGetHandleByIndex", index)
            if handle is not None:
                self._handles[index] = handle

    def __exit__(self, *_: object) -> None:
        if self._nvml is not None:
            self._asked("nvmlShutdown")

    def read(self) -> dict[str, float]:
        """What each GPU tells: memory in MB and percent, utilisation in percent, power in watts and percent."""
        found: dict[str, float] = {}
        for index, handle in self._handles.items():
            name = f"gpu_{index}"
            memory, rates, power, limit = (
                self._asked(f"nvmlDeviceGet{what}", handle)
                for what in ("MemoryInfo", "UtilizationRates", "PowerUsage", "EnforcedPowerLimit")
            )
            if memory is not None:
                found[f"{name}_memory_usage_megabytes"] = memory.used / _MB
                found[f"{name}_memory_usage_percentage"] = memory.used / memory.total * 100
            if rates is not None:
                found[f"{name}_utilization_percentage"] = rates.gpu
            if power is not None:
                found[f"{name}_power_usage_watts"] = power / 1000
                if limit:
                    found[f"{name}_power_usage_percentage"] = power / limit * 100
        return found

    def _asked(self, question: str, *about: Any) -> Any:
        """An answer of the driver; None where it gives none."""
        try:
            return getattr(self._nvml, question)(*about)
        except self._nvml.NVMLError:
            return None
