"""The event loop of a sweep: starts a job when a slot frees, records how each attempt ends."""

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import cast

from hydra.errors import HydraException

from ._alarm import SweepAlarm
from ._assignment import Assignment, Job
from ._backend import Backend, Died, Event, Events, Finished, Moved, QueueBackend, Recalled, Said, Started
from ._book import Attempt, Away, Book, Prepared
from ._clock import AwakeClock
from ._condition import Condition
from ._conditions import Conditions
from ._durations import Durations
from ._errors import headline
from ._interrupt import HeldInterrupt
from ._live import REFRESH_S, View
from ._overview import Overview
from ._platform_log import PlatformLog
from ._reports import Reports
from ._retry import Outcome
from ._scheduler import Scheduler
from ._source import JobSource
from ._values import describe

# Seconds: how often free memory is read, and the longest that the loop waits without an event.
_TICK_S = 1.0
# Jobs that are sent ahead in one turn of the loop: composing them must not hold up what ends.
_SENDS = 16
# Seconds that a process gets to end by itself once the person has asked to stop.
GRACE_S = 3.0

Key = tuple[str, int]


class Dispatcher:
    """Runs a sweep's jobs on its backends.

    Args:
        scheduler: Says which job starts next where.
        backends: By platform.
        events: Where the backends put what happens.
        prepare: Composes an attempt of this number, or of the next where it is None.
        book: Where records go.
        points: What is to run.
        durations: What is known of how long jobs run.
        conditions: Follows the platforms' machines.
        view: Shows the sweep to the person.
        log: Notes how the platforms fare.
        alarm: Tells the person of a platform that is lost, or back.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        backends: Mapping[str, Backend],
        events: Events,
        prepare: Callable[[Assignment, int | None], Prepared],
        book: Book,
        points: JobSource,
        durations: Durations,
        conditions: Conditions,
        view: View,
        log: PlatformLog,
        alarm: SweepAlarm,
    ) -> None:
        self._scheduler = scheduler
        self._backends = backends
        self._queues = {name: cast(QueueBackend, one) for name, one in backends.items() if hasattr(one, "recall")}
        self._events = events
        self._prepare = prepare
        self._book = book
        self._points = points
        self._durations = durations
        self._conditions = conditions
        self._view = view
        self._log = log
        self._alarm = alarm
        self._live: dict[Key, Attempt] = {}
        self._recalls: dict[Key, Assignment | None] = {}
        self._fresh: set[Key] = set()
        self._reports = Reports(points)
        self._sent = 0
        self._said: set[tuple[str, str]] = set()
        self._clock = AwakeClock()
        self._interrupt = HeldInterrupt()
        self._memory_at = self._show_at = float("-inf")
        self._overview = Overview(scheduler, backends, points, durations, conditions, self._clock())

    def run(self, away: Sequence[Away] = ()) -> None:
        """Run until every job has ended.

        Args:
            away: Attempts of an earlier coordinator that may still run.

        Raises:
            KeyboardInterrupt: The person stopped the sweep.
        """
        try:
            with self._interrupt:
                self._adopt(away)
                while not self._scheduler.done():
                    self._interrupt.look()
                    self._step()
        except BaseException as error:
            self._stop(by_person=isinstance(error, KeyboardInterrupt))
            raise
        finally:
            self._view.update(self._overview.state(self._clock()))
            self._view.close()

    def _adopt(self, away: Sequence[Away]) -> None:
        now = self._clock()
        for one in away:
            platform, launch = one.launch["platform"], one.launch
            key = self._place_of(platform, None)
            self._queues[platform].adopt(key[1], launch["far"]["id"], one.folder)
            attempt = Attempt(one.job, platform, None, None, one.folder, launch)
            if one.superseded:
                self._backends[platform].cancel(key[1])
                self._book.superseded(attempt)
                continue
            since = self._since(launch["started_at"]) if attempt.begun else now
            self._scheduler.adopt(one.job, platform, launch["attempt"], attempt.begun, since)
            self._live[key] = attempt
        for backend in self._queues.values():
            backend.settle_rest()

    def _place_of(self, platform: str, slot: int | None) -> Key:
        """A slot is a place; in a queue each attempt has a number of its own."""
        if slot is None:
            self._sent += 1
        return platform, self._sent if slot is None else slot

    def _step(self) -> None:
        now = self._clock()
        if now - self._memory_at >= _TICK_S:
            self._memory_at = now
            self._look_around(now)
        for key, why in self._reports.look(self._live, now):
            self._backends[key[0]].stop(key[1], why)
        for assignment in self._scheduler.assign(now):
            self._take(assignment)
        sends = self._scheduler.sends(now, _SENDS)
        for assignment in sends:
            self._take(assignment)
        self._order()
        more = self._points.prepare()
        self._give_up()
        if now >= self._show_at:
            self._show_at = now + REFRESH_S
            self._view.update(self._overview.state(now))
        if self._scheduler.done():
            return
        wakeup = self._scheduler.next_wakeup(now)
        timeout = (
            0.0 if more or len(sends) == _SENDS else min(_TICK_S, self._reports.wait_s(now), self._points.wait_s())
        )
        if wakeup is not None:
            timeout = min(timeout, max(0.0, wakeup - now))
        try:
            with self._interrupt.waiting():
                event = self._events.get(timeout=timeout) if timeout else self._events.get_nowait()
        except queue.Empty:
            return
        self._heard(event)
        while not self._events.empty():
            self._heard(self._events.get())
        for key in self._fresh & self._live.keys():
            self._book.noted(self._live[key])
        self._fresh.clear()

    def _look_around(self, now: float) -> None:
        """Read what no event tells: free memory, a pause, a platform that has been silent for too long."""
        for name, backend in self._backends.items():
            free_gb = backend.memory_free_gb()
            if free_gb is not None and name not in self._queues:
                self._scheduler.set_memory(name, free_gb)
        for name, queued in self._queues.items():
            load, running = queued.load(), sum(key[0] == name and one.begun for key, one in self._live.items())
            self._log.load(name, load, running)
            self._scheduler.set_held(name, self._conditions.held(name, load, running, now), now)
        for event in self._conditions.look(now):
            self._moved(event)
        for platform in self._conditions.lost(now):
            silent = f"{platform} has been silent for longer than hydra.launcher.lost_after_min allows"
            for key in [key for key in self._live if key[0] == platform]:
                if self._live[key].begun:
                    self._ended(Died(*key, "lost", silent))
                else:
                    self._take_back(key, silent)

    def _order(self) -> None:
        """Have each platform's own queue follow what is known by now of urgency and duration."""
        for name, queued in self._queues.items():
            jobs = self._scheduler.reordered(name)
            if jobs:
                places = {one.job.num: key[1] for key, one in self._live.items() if key[0] == name and not one.begun}
                queued.order([places[job.num] for job in jobs if job.num in places])

    def _since(self, at: float) -> float:
        """The scheduler's time of what happened at `at` seconds since the epoch."""
        return self._clock() - max(0.0, time.time() - at)

    def _heard(self, event: Event) -> None:
        if isinstance(event, Moved):
            self._moved(event)
        elif isinstance(event, Said):
            self._view.event(event.text)
        elif isinstance(event, Started):
            self._started(event)
        elif isinstance(event, Recalled):
            self._recalled(event)
        else:
            self._ended(event)

    def _moved(self, event: Moved) -> None:
        now = self._clock()
        condition = self._conditions.moved(event, now)
        if condition is None:
            return
        if condition is not event.condition:
            event = replace(event, condition=condition, why="is still paused")
        before = self._scheduler.counts()
        self._scheduler.set_condition(event.platform, condition, event.why, now)
        self._log.condition(event.platform, condition, event.why)
        if condition is Condition.DOWN:
            there = [attempt for key, attempt in self._live.items() if key[0] == event.platform]
            self._alarm.lost(self._overview.loss(event, before, there, now))
            return
        if self._conditions.was_away(event.platform):
            self._alarm.back(event.platform)
            if event.platform in self._queues:
                self._take_back_copied(event.platform)
        if event.why:
            self._alarm.said(f"{event.platform} {event.why}")

    def _take_back_copied(self, platform: str) -> None:
        """Contact again: what waits there and runs elsewhere by now need not start there, too."""
        elsewhere = {attempt.job.num for key, attempt in self._live.items() if key[0] != platform}
        for key, attempt in self._live.items():
            if key[0] == platform and not attempt.begun and attempt.job.num in elsewhere and key not in self._recalls:
                self._recalls[key] = None
                self._queues[platform].recall(key[1])

    def _take(self, assignment: Assignment) -> None:
        """Start what was assigned, or first ask for it back where it waits."""
        if assignment.recall is None:
            self._begin(assignment, None)
            return
        num, platform = assignment.job.num, assignment.recall
        key = next(key for key, one in self._live.items() if key[0] == platform and one.job.num == num)
        self._recalls[key] = assignment
        self._queues[platform].recall(key[1])

    def _recalled(self, event: Recalled) -> None:
        key = (event.platform, event.place)
        assignment = self._recalls.pop(key, None)
        attempt = self._live.get(key)
        if assignment is None:
            if event.ok and attempt is not None:
                self._take_back(key, "taken back before it began")
            return
        granted = self._scheduler.recalled(assignment, event.ok, self._clock())
        if not event.ok or attempt is None:
            return
        del self._live[key]
        if granted is None:
            self._book.killed(attempt, "taken back before it began", current=False)
        else:
            self._begin(granted, attempt.launch["attempt"])

    def _take_back(self, key: Key, why: str) -> None:
        """Let a job wait here again that waits on a platform, and is never to start there."""
        attempt = self._live.pop(key)
        self._recalls.pop(key, None)
        self._backends[key[0]].cancel(key[1])
        self._scheduler.withdrawn(attempt.job, key[0], self._clock())
        self._book.killed(attempt, why, current=False)

    def _begin(self, assignment: Assignment, number: int | None) -> None:
        decision, platform = assignment.decision, assignment.platform
        if (decision.status, decision.reason) not in self._said:
            self._said.add((decision.status, decision.reason))
            self._view.event(f"{decision.status}: {decision.reason} -> {platform}")
        try:
            prepared = self._prepare(assignment, number)
        except HydraException as error:
            # Checked before the sweep began for one value at a time; this point's own combination is at fault.
            self._refuse(assignment, error)
            return
        attempt = Attempt(assignment.job, platform, assignment.slot, prepared.message, prepared.folder, prepared.launch)
        key = self._place_of(platform, assignment.slot)
        if platform in self._queues:
            attempt.launch |= {"state": "QUEUED", "far": {"id": self._queues[platform].identifier(key[1])}}
        self._live[key] = attempt
        self._book.noted(attempt)
        self._backends[platform].submit(key[1], prepared.message, assignment.job.job_class)

    def _refuse(self, assignment: Assignment, error: HydraException) -> None:
        job = assignment.job
        outcome = Outcome("FAILED", "user", str(error))
        self._scheduler.finished(job, assignment.platform, assignment.slot, outcome, self._clock())
        self._fail_unstarted(job, assignment.decision.reason, describe(error))

    def _fail_unstarted(self, job: Job, reason: str, error: dict[str, str]) -> None:
        self._book.never_ran(job, reason, error)
        self._view.event(f"failed: job {job.num} ({' '.join(job.overrides)}): {headline(error['message'])}")

    def _started(self, event: Started) -> None:
        attempt = self._live.get((event.platform, event.place))
        if attempt is not None and not attempt.begun:
            self._book.begun(attempt, event.at)
            # Recorded in a moment, unless its end has come by then: short jobs cost one record less.
            self._fresh.add((event.platform, event.place))
            self._scheduler.started(attempt.job, event.platform, self._since(event.at))

    def _ended(self, event: Finished | Died) -> None:
        key = (event.platform, event.place)
        attempt = self._live.get(key)
        if attempt is None or event.folder not in (None, str(attempt.folder)):
            return  # off the books: another attempt was first
        del self._live[key]
        if event.platform in self._queues and not attempt.begun:
            # Begun and ended while nobody listened.
            self._scheduler.started(attempt.job, event.platform, self._clock())
            attempt.launch["state"] = "RUNNING"
        self._reports.last(attempt)
        outcome = self._book.outcome(attempt, event)
        if outcome.error_class == "precheck":
            self._moved(Moved(event.platform, Condition.DOWN, outcome.message, silent=False, precheck=True))
        job = attempt.job
        verdict = self._scheduler.finished(job, event.platform, attempt.slot, outcome, self._clock())
        answered = self._book.ended(attempt, verdict.final)
        self._scheduler.answered(event.platform, answered)
        if event.platform in self._queues:
            self._queues[event.platform].settle(event.place)
        what = f"job {job.num} ({' '.join(job.overrides)})"
        if verdict.final:
            self._end_others(job)
            if outcome.status == "FAILED":
                self._view.event(f"failed: {what}: {headline(outcome.message)}")
        elif outcome.error_class != "precheck":  # said once, of the platform
            self._view.event(f"retry: {what}: {headline(outcome.message)}")

    def _end_others(self, job: Job) -> None:
        """The first result counts: end the other attempts at a job, which the scheduler has struck off already."""
        for key in [key for key, attempt in self._live.items() if attempt.job.num == job.num]:
            attempt = self._live.pop(key)
            self._recalls.pop(key, None)
            self._backends[key[0]].cancel(key[1])
            self._book.superseded(attempt)

    def _give_up(self) -> None:
        """Fail the jobs that no platform can take, once nothing runs that could change it."""
        if self._live or self._conditions.may_return(self._clock()):
            return
        stranded = self._scheduler.stranded()
        for job_class, decision in stranded.items():
            while job_class in self._scheduler.stranded():
                job = self._scheduler.give_up(job_class)
                error = {"class": "precheck", "type": "", "message": decision.reason, "traceback": ""}
                self._fail_unstarted(job, decision.reason, error)

    def _stop(self, by_person: bool) -> None:
        """End what runs, in order, and leave records that the next start understands.

        Where this side has failed, what was sent away goes on without it, for the next start to take over.
        """
        why = "stopped by the person" if by_person else "the coordinator failed"
        with suppress(OSError):  # a full disk may be what stopped us
            while not self._events.empty():  # done already, and only not recorded yet
                self._heard(self._events.get())
        finished = {attempt.job.num for attempt in self._live.values() if attempt.job.num in self._points.returns}
        for (platform, place), attempt in self._live.items():
            if platform in self._queues and not by_person:
                continue
            self._backends[platform].cancel(place)
            with suppress(OSError):
                self._book.killed(attempt, why, current=attempt.job.num not in finished)
        self._live.clear()
