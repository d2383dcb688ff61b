"""The event loop of a sweep: starts a job when a slot frees, records how each attempt ends."""

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.errors import HydraException

from ._backend import Backend, Died, Event, Events
from ._durations import Durations, time_left
from ._errors import headline
from ._live import REFRESH_S, SweepState, View
from ._records import SweepFolder, append_line, state_dir
from ._scheduler import Assignment, Job, Outcome, Scheduler
from ._source import Points
from ._worker import Message, describe

# Seconds: how often free memory is read, and the longest that the loop waits without an event.
_TICK_S = 1.0
# Seconds that a process gets to end by itself once the person has asked to stop.
GRACE_S = 3.0


@dataclass
class Attempt:
    """One try at a job, from its start to its end.

    Attributes:
        assignment: What the scheduler said.
        message: What its process was told.
        folder: Its folder.
        launch: Its launch record.
    """

    assignment: Assignment
    message: Message
    folder: Path
    launch: dict[str, Any]


class Dispatcher:
    """Runs a sweep's jobs on its backends.

    Args:
        scheduler: Says which job starts next where.
        backends: By platform.
        events: Where the backends put what happens.
        prepare: Composes an attempt, with its folder and record.
        finish: From the launch record that counts, with its folder, to the job's return.
        points: Where returns go.
        sweep: Where records go.
        durations: Learns from every job that finishes.
        view: Shows the sweep to the person.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        backends: Mapping[str, Backend],
        events: Events,
        prepare: Callable[[Assignment], Attempt],
        finish: Callable[[dict[str, Any], Path], JobReturn],
        points: Points,
        sweep: SweepFolder,
        durations: Durations,
        view: View,
    ) -> None:
        self._scheduler = scheduler
        self._backends = backends
        self._events = events
        self._prepare = prepare
        self._finish = finish
        self._points = points
        self._sweep = sweep
        self._durations = durations
        self._view = view
        self._running: dict[tuple[str, int], Attempt] = {}
        self._said: set[tuple[str, str]] = set()
        self._began = time.monotonic()
        self._memory_at = self._show_at = float("-inf")
        self._total = len(points.overrides) - len(points.returns)
        self._history = state_dir() / "history.jsonl"

    def run(self) -> None:
        """Run until every job has ended.

        Raises:
            KeyboardInterrupt: The person stopped the sweep.
        """
        try:
            with _terminated_as_interrupt():
                while not self._scheduler.done():
                    self._step()
        except BaseException as error:
            self._stop("stopped by the person" if isinstance(error, KeyboardInterrupt) else "the coordinator failed")
            raise
        finally:
            self._view.update(self._state(time.monotonic()))
            self._view.close()

    def _step(self) -> None:
        now = time.monotonic()
        if now - self._memory_at >= _TICK_S:
            self._memory_at = now
            for name, backend in self._backends.items():
                free_gb = backend.memory_free_gb()
                if free_gb is not None:
                    self._scheduler.set_memory(name, free_gb)
        for assignment in self._scheduler.assign(now):
            self._start(assignment)
        self._give_up()
        if now >= self._show_at:
            self._show_at = now + REFRESH_S
            self._view.update(self._state(now))
        if self._scheduler.done():
            return
        wakeup = self._scheduler.next_wakeup(now)
        timeout = _TICK_S if wakeup is None else min(_TICK_S, max(0.0, wakeup - now))
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return
        self._ended(event)
        while not self._events.empty():
            self._ended(self._events.get())

    def _start(self, assignment: Assignment) -> None:
        key = (assignment.platform, assignment.slot)
        decision = assignment.decision
        if (decision.status, decision.reason) not in self._said:
            self._said.add((decision.status, decision.reason))
            self._view.event(f"{decision.status}: {decision.reason} -> {assignment.platform}")
        try:
            attempt = self._prepare(assignment)
        except HydraException as error:
            # Checked before the sweep began for one value at a time; this point's own combination is at fault.
            self._refuse(assignment, error)
            return
        self._running[key] = attempt
        self._sweep.record_job(attempt.folder, attempt.launch)
        self._backends[assignment.platform].submit(assignment.slot, attempt.message)

    def _refuse(self, assignment: Assignment, error: HydraException) -> None:
        job = assignment.job
        outcome = Outcome("FAILED", "user", str(error))
        self._scheduler.finished(job, assignment.platform, assignment.slot, outcome, time.monotonic())
        self._fail_unstarted(job, assignment.decision.reason, describe(error))

    def _fail_unstarted(self, job: Job, reason: str, error: dict[str, str]) -> None:
        """Record a job that never ran as failed."""
        now = time.time()
        launch = {
            "sweep": self._sweep.record["id"],
            "job": job.num,
            "attempt": self._sweep.launches.get(job.num, {}).get("attempt", 0) + 1,
            "overrides": list(job.overrides),
            "platform": None,
            "decision": "queued",
            "reason": reason,
            "state": "FAILED",
            "current": True,
            "queued_at": job.queued_at,
            "started_at": now,
            "ended_at": now,
            "error": error,
        }
        folder = self._sweep.open_job(str(job.num), job.num, launch["attempt"])
        self._sweep.record_job(folder, launch)
        self._tell(launch, folder)
        self._view.event(f"failed: job {job.num} ({' '.join(job.overrides)}): {headline(error['message'])}")

    def _ended(self, event: Event) -> None:
        attempt = self._running.pop((event.platform, event.slot))
        launch = attempt.launch
        launch["ended_at"] = time.time()
        if isinstance(event, Died):
            launch["run_s"] = launch["ended_at"] - launch["started_at"]
            launch["state"] = "LOST" if event.error_class == "lost" else "KILLED"
            launch["error"] = {"class": event.error_class, "type": "", "message": event.message, "traceback": ""}
            outcome = Outcome("FAILED", event.error_class, event.message)
        else:
            answer = event.answer
            launch |= {"run_s": answer["run_s"], "identity": answer.get("identity") or launch["identity"]}
            if answer["status"] == "COMPLETED":
                launch |= {"state": "FINISHED", "value": answer["value"], "unfit": answer["unfit"]}
                outcome = Outcome("FINISHED", None, "")
            else:
                launch |= {"state": "FAILED", "error": answer["error"]}
                message = answer["error"]["message"]
                if answer["error"]["class"] == "precheck":
                    message = f"cannot run this sweep's jobs: {answer['error']['type']}: {message}"
                outcome = Outcome("FAILED", answer["error"]["class"], message)
        self._settle(attempt, outcome)

    def _settle(self, attempt: Attempt, outcome: Outcome) -> None:
        job, launch = attempt.assignment.job, attempt.launch
        verdict = self._scheduler.finished(
            job, attempt.assignment.platform, attempt.assignment.slot, outcome, time.monotonic()
        )
        launch["current"] = verdict.final
        self._sweep.record_job(attempt.folder, launch)
        self._remember(job, launch)
        what = f"job {job.num} ({' '.join(job.overrides)})"
        if verdict.final:
            self._tell(launch, attempt.folder)
            if outcome.status != "FINISHED":
                self._view.event(f"failed: {what}: {headline(outcome.message)}")
        else:
            self._view.event(f"retry: {what}: {headline(outcome.message)}")

    def _tell(self, launch: dict[str, Any], folder: Path) -> None:
        self._points.told(launch["job"], self._finish(launch, folder))

    def _remember(self, job: Job, launch: dict[str, Any]) -> None:
        entry = {
            "model": dict(job.job_class.fields).get("model_type"),
            "platform": launch["platform"],
            "overrides": launch["overrides"],
            "seconds": launch["run_s"],
            "outcome": launch["state"],
            "at": launch["ended_at"],
        }
        append_line(self._history, entry)
        self._durations.learn(entry)

    def _give_up(self) -> None:
        """Fail the jobs that no platform can take, once nothing runs that could change it."""
        if self._running:
            return
        stranded = self._scheduler.stranded()
        for job_class, decision in stranded.items():
            while job_class in self._scheduler.stranded():
                job = self._scheduler.give_up(job_class)
                error = {"class": "precheck", "type": "", "message": decision.reason, "traceback": ""}
                self._fail_unstarted(job, decision.reason, error)

    def _state(self, now: float) -> SweepState:
        loads = self._scheduler.loads(now, self._points.waiting_s, self._expected_s)
        return SweepState(self._scheduler.counts(), self._total, now - self._began, time_left(loads.values()))

    def _expected_s(self, job: Job, platform: str) -> float | None:
        model = dict(job.job_class.fields).get("model_type")
        return self._durations.expected(job.overrides, model, platform)

    def _stop(self, why: str) -> None:
        """End what runs, in order, and leave records that the next start understands."""
        with suppress(OSError):  # a full disk may be what stopped us
            while not self._events.empty():  # done already, and only not recorded yet
                self._ended(self._events.get())
        for (platform, slot), attempt in self._running.items():
            self._backends[platform].cancel(slot)
            error = {"class": "killed", "type": "", "message": why, "traceback": ""}
            launch = attempt.launch | {"state": "KILLED", "current": True, "ended_at": time.time(), "error": error}
            launch["run_s"] = launch["ended_at"] - launch["started_at"]
            with suppress(OSError):
                self._sweep.record_job(attempt.folder, launch)
        self._running.clear()


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """Stop in order when the process is asked to end, or its terminal closes, too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
