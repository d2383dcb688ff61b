"""Holds one connection to each far machine in a process, shared by all jobs that it has there."""

import atexit
import functools
import os
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any

from submitit.core.logger import get_logger

from .job_files import JobFiles
from .line import Condition
from .listener import Ended
from .machine import Machine
from .ssh import Settings
from .staging import Staged

# Seconds for which staged content that was there is taken to be there.
_STAGED_S = 60.0
# Seconds: until a wait at the end of the process is explained, that a first contact may take then, and a last cancel.
_EXPLAIN_S = 1.0
_CONTACT_S = 15.0
_CANCEL_S = 3.0
# What an outcome of a job's own process has to have, and of which type.
_OUTCOMES: dict[str, dict[str, type]] = {"success": {"value": object}, "unfit": {"what": str}, "error": {"trace": str}}


class Followed:
    """A job that is followed; what is here changes in the machine's thread.

    Args:
        files: Its files.

    Attributes:
        pid: The process that follows it.
        over: Set once its outcome is known.
        outcome: How it ended, as data; None until then.
        answered: What its machine knows of it, once that is told: see `Machine.submit` and `Machine.adopt`.
        adopted: Whether an earlier process submitted it.
        started: Whether it has started.
        cancelled: Whether it is to end.
        sent: Whether it may be on its way to the machine.
        absent: Whether its machine did not know it, while the process that submitted it lives.
        connection: To its machine, once it is followed.
        heard: Whether its machine has said what it knew of an older job.
        lock: Held by whoever begins to follow it.
    """

    def __init__(self, files: JobFiles) -> None:
        self.files = files
        self.pid = os.getpid()
        self.over = threading.Event()
        self.outcome: Mapping[str, Any] | None = None
        self.answered: Future[str] = Future()
        self.adopted = False
        self.started = False
        self.cancelled = False
        self.sent = False
        self.absent = False
        self.connection: Connection | None = None
        self.heard = False
        self.lock = threading.RLock()

    def finish(self, outcome: Mapping[str, Any]) -> None:
        """Let it be over; what is said first holds."""
        if not self.over.is_set():
            self.outcome = outcome
            self.over.set()


# A job with its spec, and with what it alone needs over there.
Job = tuple[Followed, dict[str, Any], Sequence[Staged]]


class Connection:
    """A far machine, and the jobs that this process has on it; its jobs outlive it.

    Args:
        settings: How the machine is reached.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.machine = Machine(settings, f"submitit {uuid.uuid4().hex}", self)
        self.why = ""
        self.closed = False
        self._jobs: dict[str, Followed] = {}
        self._staged: dict[str, float] = {}
        self._slots: int | None = None
        self._cancels: list[Future[dict[str, Any]]] = []

    @property
    def reachable(self) -> bool:
        """Whether there is hope of an answer."""
        return self.machine.condition_now not in (Condition.DOWN, Condition.REFUSED)

    @property
    def refused(self) -> bool:
        """Whether the machine can be reached, and not used."""
        return self.machine.condition_now is Condition.REFUSED

    def set_slots(self, slots: int | None) -> None:
        """Say how many jobs the machine is to run at once; None leaves that to whoever has said it."""
        if slots is not None and slots != self._slots:
            self._slots = slots
            self.machine.request("slots", slots=slots, paused=None)

    def submit(self, jobs: Sequence[Job], shared: Sequence[Staged]) -> None:
        """Queue jobs there as soon as what they need is there; each that needs no more goes in the same frame.

        Args:
            jobs: The jobs.
            shared: What all of them need.
        """
        for job, _, _ in jobs:
            job.connection = self
            self._jobs[job.files.job_id] = job

        def shared_there(done: "Future[None]") -> None:
            for job, spec, own in jobs:
                if done.exception() is not None or not own:
                    self._put(job, spec, done)
                else:
                    self._stage(own).add_done_callback(functools.partial(self._put, job, spec))

        self._stage(shared).add_done_callback(shared_there)

    def adopt(self, job: Followed) -> None:
        """Follow a job that another process submitted."""
        job.adopted, job.absent, job.heard = True, False, False
        job.answered = Future()
        job.connection = self
        self._jobs[job.files.job_id] = job
        _pass_on(self.machine.adopt(job.files.job_id, job.files.outputs, job.files.live), job.answered)

    def cancel(self, job: Followed) -> "Future[dict[str, Any]]":
        """End a job, all of its processes.

        Args:
            job: It may not have started, or not even been submitted.

        Returns:
            Done when the machine has heard of it.
        """
        with job.lock:
            job.cancelled = True
            if not job.sent and not job.adopted:
                self._finish(job, _ended("cancelled", "it was cancelled before it had left"))
                nothing: Future[dict[str, Any]] = Future()
                nothing.set_result({})
                return nothing

        def told(done: "Future[dict[str, Any]]") -> None:
            # Of one that has started, its machine tells the end.
            if not done.cancelled() and done.exception() is None and not job.started and not job.over.is_set():
                self._finish(job, _ended("cancelled", "it was cancelled before it had started"))

        asked = self.machine.cancel([job.files.job_id])
        self._cancels.append(asked)
        asked.add_done_callback(told)
        return asked

    def close(self) -> None:
        """Hand over what waits to be handed over, and hang up."""
        self.closed = True
        left = self._drain()
        wait(self._cancels, timeout=_CANCEL_S if self.reachable else 0.0)
        self.machine.close()
        host = self.settings.host
        if left:
            _say(f"{host} {self.why or 'has not answered'}. {left} of its jobs did not reach it, and will not run.")
        undelivered = sum(not asked.done() for asked in self._cancels)
        if undelivered:
            _say(f"{host} could not be told to cancel {undelivered} jobs, and is told when they are looked at again.")

    def leave(self, job: Followed, outcome: Mapping[str, Any]) -> None:
        """Follow a job no longer, whose outcome another process has recorded."""
        self._jobs.pop(job.files.job_id, None)
        job.finish(outcome)
        self.machine.forget(job.files.job_id)

    # ---- what the machine tells, in its thread; see Listener

    def condition(self, condition: Condition, why: str) -> None:
        """See Listener."""
        before, self.why = self.why, why
        if condition in (Condition.DOWN, Condition.REFUSED):
            goes_on = "; what runs there goes on" if self.machine.root is not None else ""
            get_logger().warning(f"{self.settings.host} {why}{goes_on}.")
        elif condition is Condition.UP and before:
            get_logger().info(f"{self.settings.host} answers again.")

    def started(self, identifier: str, at: float) -> None:  # noqa: ARG002
        """See Listener."""
        job = self._jobs.get(identifier)
        if job is not None:
            job.started = True
            job.files.open_logs()

    def ended(self, ended: Ended) -> None:
        """See Listener."""
        job = self._jobs.get(ended.id)
        if job is None:
            self.machine.settle([ended.id])
        else:
            self._finish(job, _outcome(ended))

    def unknown(self, identifier: str) -> None:
        """See Listener."""
        job = self._jobs.get(identifier)
        if job is None:
            return
        if job.files.submitter_lives():
            # It is still to come, or was settled by that process, which has recorded its end then.
            self._jobs.pop(identifier)
            self.machine.forget(identifier)
            job.absent = True
        else:
            self._finish(job, _ended("lost", "its machine does not know it any more"), record=False)

    # ---- the rest

    def _put(self, job: Followed, spec: dict[str, Any], staged: "Future[None]") -> None:
        error = staged.exception()
        if error is not None:
            self._finish(job, _ended("precheck", f"it cannot be given what it needs: {error}".removesuffix(".")))
            return
        with job.lock:
            if not job.cancelled:
                job.sent = True
                _pass_on(self.machine.submit(spec, job.files.outputs), job.answered)

    def _stage(self, objects: Sequence[Staged]) -> "Future[None]":
        now = time.monotonic()
        missing = [one for one in objects if now - self._staged.get(one.sha, float("-inf")) > _STAGED_S]
        if not missing:
            there: Future[None] = Future()
            there.set_result(None)
            return there

        def done(future: "Future[None]") -> None:
            if future.exception() is None:
                self._staged.update(dict.fromkeys((one.sha for one in missing), now))

        staged = self.machine.stage(missing)
        staged.add_done_callback(done)
        return staged

    def _finish(self, job: Followed, outcome: Mapping[str, Any], record: bool = True) -> None:
        self._jobs.pop(job.files.job_id, None)
        # Another process that follows the job may have heard of its end, and recorded it: then that holds.
        kept = job.files.read_result()
        outcome = kept or outcome
        # Where something of it could not be kept here, it stays over there.
        settled = outcome.get("class") != "outputs"
        if kept is None and record:
            try:
                job.files.write_result(outcome)
            except OSError as error:
                settled = False
                get_logger().warning(f"The end of job {job.files.job_id} could not be recorded: {error}")
        job.finish(outcome)
        if settled:
            self.machine.settle([job.files.job_id])
        else:
            self.machine.forget(job.files.job_id)

    def _drain(self) -> int:
        """Wait until all jobs have been handed over; returns how many could not be."""
        began, explained = time.monotonic(), False
        while True:
            waiting = [job.answered for job in list(self._jobs.values()) if not (job.adopted or job.answered.done())]
            since = time.monotonic() - began
            lost = self.machine.condition_now is Condition.CONNECTING and since > _CONTACT_S
            if not waiting or lost or not self.reachable:
                return len(waiting)
            if not explained and since > _EXPLAIN_S:
                explained = True
                _say(f"{self.settings.host} is being given {len(waiting)} jobs.")
            wait(waiting, timeout=0.2)


def connect(settings: Settings) -> Connection:
    """This process's connection to a machine; the first that asks begins to open it, and nobody waits."""
    key = (settings.host, settings.ssh_config, settings.root)
    with _lock:
        found = _connections.get(key)
        if found is None:
            found = _connections[key] = Connection(settings)
            found.machine.open()
        return found


def _pass_on(source: "Future[str]", target: "Future[str]") -> None:
    source.add_done_callback(lambda done: None if target.done() else target.set_result(done.result()))


def _outcome(ended: Ended) -> dict[str, Any]:
    """The outcome of a job as data that is known to be well-formed."""
    if ended.error_class is not None:
        return _ended(ended.error_class, ended.message)
    result = ended.result
    if isinstance(result, dict):
        needed = _OUTCOMES.get(str(result.get("outcome")))
        if needed is not None and all(name in result and isinstance(result[name], needed[name]) for name in needed):
            return {"outcome": result["outcome"], **{name: result[name] for name in needed}}
    return _ended("outputs", f"the far side sent no result that can be read: {str(result)[:200]!r}")


def _ended(error_class: str, message: str) -> dict[str, Any]:
    return {"outcome": "ended", "class": error_class, "message": message}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


_connections: dict[tuple[str, str | None, str | None], Connection] = {}
_lock = threading.Lock()
# Of the process that this one was forked from: kept, for their end here would be heard there.
_inherited: list[Connection] = []


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _inherited.extend(_connections.values())
    _connections.clear()


def close() -> None:
    """Close every connection of this process; its jobs go on, and whoever asks for one connects again."""
    while _connections:
        _connections.popitem()[1].close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(close)
