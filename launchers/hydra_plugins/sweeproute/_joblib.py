"""Runs jobs on this machine, in loky's workers that stay warm."""

import contextlib
import json
import os
import re
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from hydra_plugins.hydra_joblib_launcher.config import JobLibLauncherConf
from loky.backend import get_context
from loky.process_executor import ProcessPoolExecutor

from . import _worker
from ._admission import JobClass
from ._backend import Died, Events, Finished, Platform
from ._interrupt import unheard
from ._pruning import GRACE_S, pruned_answer, tell
from ._records import state_dir
from ._reservation import Reservation
from ._threads import thread_variables

# Below this share of free memory a worker that was killed is taken to have been killed for memory.
_SCARCE = 0.05
# Where Linux counts the processes that it has killed for memory: by the time that a death is heard of, memory is free.
_VMSTAT = Path("/proc/vmstat")


class JoblibBackend:
    """One executor of one worker per slot: loky cannot tell which job broke an executor, so each has its own.

    Args:
        platform: This machine, or the part of it that is a platform.
        slots_here: Slots of all platforms that are parts of it, which sweeps share.
        settings: hydra-joblib-launcher's; `n_jobs` and `temp_folder` mean something here.
        events: Where ends of attempts are put.
        jobs: How many jobs there are at most; no more slots are made ready beforehand. None where that is not known.
    """

    def __init__(
        self,
        platform: Platform,
        slots_here: int,
        settings: JobLibLauncherConf,
        events: Events,
        jobs: int | None = None,
    ) -> None:
        self._platform = platform
        self._ready = platform.slots if jobs is None else min(jobs, platform.slots)
        self._slots_here = slots_here
        self._temp_folder = settings.temp_folder
        self._events = events
        self._executors: dict[int, ProcessPoolExecutor] = {}
        self._running: dict[int, Future[str]] = {}
        self._begun: dict[int, tuple[Path, float]] = {}
        # Why what runs in a place was told to stop.
        self._told: dict[int, str] = {}
        self._kills_before: dict[int, int] = {}
        # What ends is heard in loky's thread, while the dispatcher may give its slot to another.
        self._lock = threading.Lock()
        self._payload = ""
        # A worker that grew is replaced by loky between jobs; that is its business, not news.
        warnings.filterwarnings("ignore", message="A worker (stopped while some jobs were given|was restarted)")

    def start(self, payload: str, first: _worker.Message) -> None:
        """See Backend."""
        self._payload = payload
        # The lowest free slot is the next job's.
        for slot in range(self._ready):
            self._hand(slot, _worker.warm, first)

    def _executor(self, slot: int) -> ProcessPoolExecutor:
        if slot not in self._executors:
            environment = dict(thread_variables(self._platform.threads))
            if self._temp_folder:
                environment["JOBLIB_TEMP_FOLDER"] = self._temp_folder
            self._executors[slot] = ProcessPoolExecutor(
                max_workers=1,
                context=get_context(os.environ.get("SWEEPROUTE_START_METHOD", "loky")),
                initializer=_worker.start,
                initargs=(self._payload, os.getpid()),
                env=environment,
            )
        return self._executors[slot]

    def submit(self, place: int, message: _worker.Message, job_class: JobClass) -> None:  # noqa: ARG002
        """See Backend."""
        message = replace(message, reservation=Reservation(str(state_dir() / "slots"), self._slots_here))
        try:
            future = self._hand(place, _worker.run, message)
        except BrokenExecutor:
            # Its worker died while it was warming up, or idle: no job was in it, so none is charged.
            self._forget(place)
            future = self._hand(place, _worker.run, message)
        with self._lock:
            self._running[place] = future
            self._begun[place] = Path(message.folder), time.monotonic()
            self._told.pop(place, None)
            self._kills_before[place] = _kills_for_memory()
        future.add_done_callback(lambda done: self._ended(place, done, message.folder))

    def _hand(self, slot: int, call: Callable[[_worker.Message], Any], message: _worker.Message) -> "Future[Any]":
        """Give a slot's executor something to do; it starts its worker with the first."""
        executor = self._executor(slot)
        with unheard():
            return executor.submit(call, message)

    def _ended(self, place: int, future: "Future[str]", folder: str) -> None:
        """Called in loky's thread."""
        error = future.exception()
        with self._lock:
            if self._running.get(place) is not future:
                return  # cancelled: nobody waits for it
            if error is None:
                self._events.put(Finished(self._platform.name, place, json.loads(future.result()), folder=folder))
                return
            self._forget(place)
            if place in self._told:
                where, began = self._begun[place]
                answer = pruned_answer(where, self._told[place], time.monotonic() - began)
                self._events.put(Finished(self._platform.name, place, answer, folder=folder))
                return
        codes = re.search(r"exit codes of the workers are \{(.*)\}", str(error))
        memory = psutil.virtual_memory()
        scarce = memory.available < _SCARCE * memory.total
        if codes is not None and "SIGKILL" in codes.group(1):
            scarce = scarce or _kills_for_memory() > self._kills_before[place]
        self._events.put(
            Died(
                self._platform.name,
                place,
                "out_of_memory" if scarce else "killed",
                f"the worker process ended without an answer ({codes.group(1) if codes else type(error).__name__})",
                folder=folder,
            )
        )

    def _forget(self, place: int) -> None:
        executor = self._executors.pop(place, None)
        if executor is not None:
            executor.shutdown(wait=False, kill_workers=True)

    def cancel(self, place: int) -> None:
        """See Backend."""
        with self._lock:
            self._running.pop(place, None)
            self._forget(place)

    def stop(self, place: int, reason: str) -> None:
        """See Backend."""
        with self._lock:
            future = self._running.get(place)
            if future is None or future.done() or place in self._told:
                return
            self._told[place] = reason
            tell(self._begun[place][0], reason)
        timer = threading.Timer(GRACE_S, self._end_told, (place, future))
        timer.daemon = True
        timer.start()

    def _end_told(self, place: int, future: "Future[str]") -> None:
        """End what has been told to stop, and goes on; its end is heard as any other's."""
        with self._lock:
            if self._running.get(place) is future and not future.done():
                self._forget(place)

    def memory_free_gb(self) -> float | None:
        """See Backend."""
        return psutil.virtual_memory().available / 1e9

    def close(self, grace_s: float) -> None:
        """See Backend."""
        self._running.clear()
        processes = [psutil.Process(pid) for pid in self._pids() if psutil.pid_exists(pid)]
        families: list[Any] = []
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                families += [process, *process.children(recursive=True)]
        for executor in self._executors.values():
            executor.shutdown(wait=False, kill_workers=True)
        self._executors.clear()
        _, alive = psutil.wait_procs(families, timeout=grace_s)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _pids(self) -> list[int]:
        return [pid for executor in self._executors.values() for pid in list(executor._processes or ())]


def _kills_for_memory() -> int:
    """Processes that the kernel has killed for want of memory since it started; 0 where it does not say."""
    try:
        found = re.search(r"^oom_kill (\d+)$", _VMSTAT.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) if found else 0
