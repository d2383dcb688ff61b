"""Owns the jobs of a far machine: queue, start, limits, end; runs no user code."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

from . import endings, processes, resources
from .admission import Machine, Verdict, admit
from .forker import NOT_MINE
from .gpus import Gpus
from .job_folder import End, Run, read_result, read_run
from .limits import over_memory
from .loop import Loop, Timer
from .parents import Parent, Parents
from .records import Job, Records
from .slots import Slots
from .stopping import PRUNED, Stopping
from .waiting import Waiting

# Seconds from SIGTERM to SIGKILL where nobody says.
GRACE_S = 3.0
# Deaths of its parent that a job which has not started is given.
_TRIES = 3


class Jobs:
    """All jobs of this machine.

    Args:
        records: Their files.
        code: The folder that this package lies in.
        loop: Where their parents and their ends are heard.
        told: Called with a job that has started or ended.
        say: Writes a line to the log.
    """

    def __init__(
        self,
        records: Records,
        code: str,
        loop: Loop,
        told: Callable[[Job], None],
        say: Callable[[str], None],
    ) -> None:
        self.records = records
        self.all: dict[str, Job] = {}
        self.queue = Waiting(records)
        # Those that run, or have been handed to a parent.
        self.active: dict[str, Job] = {}
        self.slots = Slots(records.root)
        self.gpus = Gpus(loop)
        # Why the head of the queue waits.
        self.waits = ""
        self._loop = loop
        self._told = told
        self._say = say
        self._parents = Parents(loop, records, code, self._heard, say)
        self._by_pid: dict[int, Job] = {}
        self._limits: dict[str, Timer] = {}
        self._stopping = Stopping(records, loop, self._kill)
        self._memory = resources.Memory()
        self._retry_s = 0.0

    def open(self) -> None:
        """Find the jobs that are there already, and settle what was claimed of them."""
        self.slots.open()
        for job in self.records.open():
            self.all[job.id] = job
            if job.state == "ended":
                continue
            if job.run is None:
                self.queue.add(job)
            else:
                self._take_up(job)

    # ---- what is asked

    def add(self, spec: dict[str, Any]) -> None:
        """Queue a job; one whose id is known already is not changed.

        Raises:
            OSError: There is no room for it.
        """
        identifier = spec["id"]
        if identifier in self.all or self.records.spent(identifier):
            return
        job = self.records.add(spec, time.time())
        self.all[identifier] = job
        self.queue.add(job)

    def state(self, identifier: str) -> str:
        """What has become of an id: queued, running, ended, settled or unknown."""
        job = self.all.get(identifier)
        if job is None or job.unwanted:
            return "settled" if job is not None or self.records.spent(identifier) else "unknown"
        return "running" if job.state == "starting" else job.state

    def recall(self, identifiers: Iterable[str]) -> dict[str, list[str]]:
        """Take back what has not started: it never will, and no id that is not known here either.

        Returns:
            The ids by what was found: recalled, running, ended, unknown.
        """
        answer: dict[str, list[str]] = {"recalled": [], "running": [], "ended": [], "unknown": []}
        for identifier in identifiers:
            state = self.state(identifier)
            if state == "queued":
                state = "recalled" if self._withdraw(self.all[identifier]) else "running"
            answer["unknown" if state == "settled" else state].append(identifier)
        # An id that is unknown now may be on its way over a connection that has been given up.
        self.records.spend([*answer["recalled"], *answer["unknown"]])
        return answer

    def order(self, identifiers: list[str]) -> None:
        """Give queued jobs a new order among themselves; those that are still on their way take their places later."""
        self.queue.order(identifiers, [one for one in identifiers if self.state(one) == "unknown"])

    def cancel(self, identifiers: Iterable[str], grace_s: float) -> None:
        """End jobs: what is queued never starts, what runs is killed with all that it has started."""
        gone = []
        for identifier in identifiers:
            job = self.all.get(identifier)
            if job is None or (job.state == "queued" and self._withdraw(job)):
                gone.append(identifier)
            elif job.state != "ended":
                self._kill(job, "cancelled", "it was cancelled", grace_s)
        self.records.spend(gone)

    def stop(self, identifiers: Iterable[str], reason: str, grace_s: float) -> None:
        """Tell jobs that the rest of them is not needed; one that goes on for longer than a grace is killed."""
        for identifier in identifiers:
            job = self.all.get(identifier)
            if job is not None and job.state == "queued":
                self._refuse(job, PRUNED, reason)
            elif job is not None and job.state != "ended":
                self._stopping.tell(job, reason, grace_s)

    def settle(self, identifiers: Iterable[str]) -> None:
        """Forget jobs: nobody needs more of them, whatever their state."""
        gone = []
        for identifier in identifiers:
            job = self.all.get(identifier)
            if job is not None and job.state != "ended" and not (job.state == "queued" and self._withdraw(job)):
                job.unwanted = True
                self._kill(job, "cancelled", "nobody needs it any more", GRACE_S)
                continue
            self.all.pop(identifier, None)
            gone.append(identifier)
        self.records.spend(gone)

    # ---- what goes on by itself

    def schedule(self) -> None:
        """Start what may start: the first of the queue first, and none before it."""
        self.waits = ""
        while self.queue and not self.waits:
            self.waits = self._start(self.queue.head())

    def is_job(self, pid: int) -> bool:
        """Whether this is the process of a job that runs."""
        return pid in self._by_pid

    def reaped(self, pid: int, code: int | None, number: int | None) -> None:
        """Hear that a child of this process has ended: a parent, or a job whose parent has died."""
        if pid in self._parents.by_pid:
            self._parent_ended(self._parents.gone(pid), code, number)
        job = self._by_pid.get(pid)
        if job is not None:
            self._ended(job, code, number)

    def look(self) -> None:
        """Retire idle parents, keep memory limits, and measure."""
        self._parents.retire()
        if self.active:
            self.gpus.look()
        for job, used in over_memory([job for job in self.active.values() if job.state == "running"]):
            self._kill(job, "out_of_memory", used, 0.0)

    def sweep(self) -> None:
        """Kill what jobs that have ended left behind in sessions of its own."""
        ours = self._by_pid.keys() | self._parents.by_pid.keys()
        endings.sweep(self.active.values(), ours, self.records.root / "slots")

    # ---- the rest

    def _start(self, job: Job) -> str:
        """Start a job; returns why it cannot start yet."""
        try:
            parent = self._parents.ready(job.environment)
        except (OSError, ValueError) as error:
            self._fail(job.environment, f"its environment cannot be loaded: {type(error).__name__}: {error}")
            return ""
        verdict = self._admit(job)
        if verdict.never:
            self._refuse(job, "precheck", verdict.never)
            return ""
        if verdict.waits:
            return verdict.waits
        if parent is None:
            return "its environment is being loaded"
        try:
            taken = self.slots.take(job.slot for job in self.active.values())
        except OSError as error:
            return f"its slot cannot be locked ({error})"
        if taken is None:
            # Something that a job left behind is still dying, as a rule.
            self._retry_s = min(1.0, 2 * self._retry_s or 0.005)
            self._loop.after(self._retry_s, lambda: None)
            return "what a job left behind still holds the lock of a slot"
        self._retry_s = 0.0
        job.slot, lock = taken
        job.gpu = verdict.gpus
        job.kills_before = self._memory.kills
        try:
            parent.start(job, lock, self.records)
        except OSError:
            self._parents.end(parent)
            return "its parent is being replaced"
        finally:
            os.close(lock)
        self.queue.drop(job)
        job.state = "starting"
        self.active[job.id] = job
        if parent.state == "used":
            self._started(job, parent.pid, time.time(), time.monotonic())
        return ""

    def _admit(self, job: Job) -> Verdict:
        if job.gpus or job.gpu_memory_gb:
            self.gpus.look()
        active = list(self.active.values())
        slots, free_gb = self.slots, self._memory.free_gb()
        return admit(job, Machine(slots.count, slots.paused, active, free_gb, self.gpus.found, time.monotonic()))

    def _heard(self, parent: Parent, header: dict[str, Any]) -> None:
        """Hear what a parent says."""
        if header["op"] == "failed":
            self._fail(parent.key, f"its environment cannot be loaded: {header['message']}")
            parent.state = "failed"
            return
        job = self.all.get(header.get("id", ""))
        if job is None:
            return
        if header["op"] == "started" and job.state == "starting":
            self._started(job, header["pid"], header["started"], header["began"])
        elif header["op"] == "ended":
            self._ended(job, header["code"], header["signal"])
        elif header["op"] == "unforked":
            parent.jobs.discard(job.id)
            self._again(job, f"no process could be made for it ({header['message']})")

    def _started(self, job: Job, pid: int, started: float, began: float) -> None:
        assert job.slot is not None
        run = Run(pid, processes.start_time(pid) or 0, processes.boot_id(), job.slot, job.gpu, started, began)
        self._running(job, run)

    def _running(self, job: Job, run: Run) -> None:
        job.state, job.run, job.slot, job.gpu = "running", run, run.slot, run.gpus
        self.active[job.id] = job
        self._by_pid[run.pid] = job
        if job.timeout_s is not None:
            left = run.began + job.timeout_s - time.monotonic()
            too_long = f"it ran longer than its {job.timeout_s:g} s"
            self._limits[job.id] = self._loop.after(left, lambda: self._kill(job, "time_limit", too_long, GRACE_S))
        self._told(job)
        if job.ending is not None:
            self._kill(job, *job.ending)

    def _take_up(self, job: Job) -> None:
        """Go on with a job that somebody else has started, or say how it ended."""
        # Its own record, or before it has written that what its parent has said of it.
        job.run = read_run(self.records.folder(job.id)) or job.run
        assert job.run is not None
        if endings.is_ours(job.run) or endings.when_gone(self._loop, job.run, lambda: self._ended(job, None, None)):
            self._running(job, job.run)
            self._stopping.remind(job)
        else:
            self._ended(job, None, None)

    def _ended(self, job: Job, code: int | None, number: int | None) -> None:
        """A job's process is gone: say how it ended."""
        if job.state == "ended" or (code == NOT_MINE and not self._is_mine(job)):
            return
        run = job.run
        assert run is not None
        ended, run_s = time.time(), max(0.0, time.monotonic() - run.began)
        if run.boot_id != processes.boot_id():
            run_s = 0.0  # that clock began anew
        with contextlib.suppress(OSError, ValueError, KeyError):
            kept, _ = read_result(self.records.folder(job.id))
            run_s, ended = kept["run_s"], kept["ended"]
        self._let_go(job)
        if endings.asks_again(job, self.records):
            self.queue.add_again(job, first=False)
            return
        self._end(job, End(*endings.cause(job, self.records, code, number), code, number, ended, run_s))

    def _is_mine(self, job: Job) -> bool:
        """Whether a process that ended as if somebody else had its job was the job's own; goes on with the other."""
        run, tried = read_run(self.records.folder(job.id)), job.run
        if run is not None and tried is not None and run.pid == tried.pid:
            return True
        self._let_go(job)
        if run is not None:
            self._take_up(job)
        else:
            self._end(job, End("killed", "its folder is gone", None, None, time.time(), 0.0))
        return False

    def _end(self, job: Job, end: End) -> None:
        """Keep a job's end, and tell it."""
        self._let_go(job)
        self.queue.drop(job)
        job.state, job.end = "ended", end
        if job.ending is not None or (end.code is None and end.signal is None and job.run is not None):
            endings.kill_rest(job)
        self.records.put_end(job)
        self._told(job)
        if job.unwanted:
            self.all.pop(job.id, None)
            self.records.spend([job.id])

    def _let_go(self, job: Job) -> None:
        self.active.pop(job.id, None)
        if job.run is not None:
            self._by_pid.pop(job.run.pid, None)
        limit = self._limits.pop(job.id, None)
        if limit is not None:
            limit.cancel()

    def _withdraw(self, job: Job) -> bool:
        """Keep a queued job from ever starting; where a process has claimed it for another supervisor, it runs."""
        self.queue.drop(job)
        if self.records.withdraw(job):
            self.all.pop(job.id)
            return True
        self._take_up(job)
        return False

    def _refuse(self, job: Job, error_class: str, message: str) -> None:
        """End a job that has not started, unless a process has claimed it meanwhile."""
        self.queue.drop(job)
        if self.records.withdraw(job):
            self._end(job, End(error_class, message, None, None, time.time(), 0.0))
        else:
            self._take_up(job)

    def _kill(self, job: Job, error_class: str, message: str, grace_s: float) -> None:
        """End a job's processes: politely first, then for certain."""
        job.ending = job.ending or (error_class, message, grace_s)
        if job.state != "running" or job.run is None:
            return  # as soon as it runs
        endings.strike(job, signal.SIGTERM if grace_s > 0 else signal.SIGKILL)
        if grace_s > 0:
            self._loop.after(grace_s, lambda: self._kill(job, error_class, message, 0.0))

    def _parent_ended(self, parent: Parent, code: int | None, number: int | None) -> None:
        if parent.state == "loading":
            how = f"ended with code {code}" if number is None else f"was ended by signal {number}"
            said = self._parents.printed(parent.key)
            self._fail(parent.key, f"its environment cannot be loaded: the process that loads it {how}\n{said}")
        if parent.state == "ready" and parent.jobs:
            self._say(f"the parent of environment {parent.key} has died with {len(parent.jobs)} jobs, which go on")
        for identifier in parent.jobs if parent.state == "ready" else ():
            job = self.all.get(identifier)
            if job is None or job.state not in ("starting", "running"):
                continue
            if job.run is None and read_run(self.records.folder(identifier)) is None:
                self._again(job, "its parent died each time before it had started")
            elif job.run is None or not processes.is_child(job.run.pid):
                self._take_up(job)  # also where its parent had reaped it, and died before it could say so

    def _again(self, job: Job, message: str) -> None:
        """Put a job that has not started at the head of the queue again, a few times."""
        job.tries += 1
        self._let_go(job)
        job.state = "queued"
        if job.ending is not None:
            self._refuse(job, job.ending[0], job.ending[1])
        elif job.tries >= _TRIES:
            self._refuse(job, "killed", message)
        else:
            self.queue.add_again(job, first=True)

    def _fail(self, key: str, message: str) -> None:
        """End all jobs that wait for an environment which cannot be."""
        for job in [job for job in self.queue if job.environment == key]:
            self._refuse(job, "precheck", message)
