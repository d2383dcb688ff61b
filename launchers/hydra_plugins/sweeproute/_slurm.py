"""Runs jobs on a cluster, each in a SLURM job of its own that submitit's executor submits."""

import json
import math
import os
import re
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from . import _slurm_job, _slurm_queue, _worker
from ._admission import JobClass
from ._backend import Died, Events, Finished, Moved, Platform, is_answer
from ._condition import Condition
from ._pruning import GRACE_S, pruned_answer, tell
from ._retry import ErrorClass
from ._slurm_queue import SlurmSettings, SlurmSilentError
from ._threads import thread_variables

# Seconds without a further submission after which those that have come go out, as one array.
_TURN_S = 0.03
# Seconds between looks at the answers, and between questions to SLURM. Both grow with the time in which nothing
# happened: what runs for an hour is not asked for every second.
_LOOK_S = (0.03, 1.0)
_ASK_S = (0.5, 10.0)
# Seconds between such questions while the sweep closes.
_LEFT_S = 0.1
# Seconds in which shared storage has shown here what a node wrote there.
_STORAGE_S = 15.0
# Seconds that a job may take to leave once it has answered.
_LEAVE_S = 30.0
# Seconds within which a controller that is restarted answers again.
_RESTART_S = 60.0
_TAIL = 4000  # characters of a log: to explain a death, the end is enough
_RECORD = "jobs.txt"
# What sbatch says of a controller that may be back in a moment.
_UNAVAILABLE = ("Unable to contact slurm controller", "Socket timed out", "temporarily unable")


@dataclass(eq=False)
class _Attempt:
    """An attempt as SLURM has it.

    Attributes:
        place: Where the dispatcher counts it.
        folder: Where its answer will be.
        job: Its id in SLURM; empty until it is submitted.
        gone_at: When it was first seen to have ended without an answer.
        sent_at: When it was sent; how long it then waited in SLURM's queue is not known while it runs.
        told, end_at: Why the rest of it is not needed, and when it is ended by force.
    """

    place: int
    folder: Path
    job: str = ""
    gone_at: float | None = None
    sent_at: float = field(default_factory=time.monotonic)
    told: str = ""
    end_at: float = math.inf


@dataclass(eq=False)
class _Submission:
    """An attempt that is to be submitted.

    Attributes:
        attempt: The same, as SLURM will have it.
        message: What its job is told.
        job_class: What it needs.
    """

    attempt: _Attempt
    message: _worker.Message
    job_class: JobClass

    @property
    def needs(self) -> tuple[bool, float, int]:
        """Submissions with the same needs can go into one array."""
        return self.job_class.alone, self.job_class.memory_gb, self.message.threads or 1


class SlurmBackend:
    """One thread submits, looks for answers, and asks SLURM about all jobs at once.

    Args:
        platform: The cluster; its slots are jobs in SLURM's queue, running or not.
        settings: What its entry in the registry says to SLURM.
        events: Where ends of attempts are put.
    """

    def __init__(self, platform: Platform, settings: SlurmSettings, events: Events) -> None:
        self._platform = platform
        self._settings = settings
        self._events = events
        self._changed = threading.Condition()
        self._new: list[_Submission] = []
        self._unwanted: list[_Attempt] = []
        self._current: dict[int, _Attempt] = {}
        self._closing = False
        # The thread's alone from here on.
        self._submitted: set[_Attempt] = set()
        self._leaving: dict[str, float] = {}
        self._quiet_since = time.monotonic()
        self._ask_at = 0.0
        self._silent_since: float | None = None
        self._grace_s = 0.0
        self._timeout_min: int | None = settings.timeout_min
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"slurm-{platform.name}")

    def start(self, payload: str, first: _worker.Message) -> None:  # noqa: ARG002
        """See Backend. There is nothing to warm: each job is a process of its own.

        What a coordinator of this sweep that died has left in SLURM's queue is ended: its jobs are run anew.
        """
        self._payload = payload
        self._folder = Path(payload).parent / "slurm"
        self._folder.mkdir(exist_ok=True)
        self._leaving = dict.fromkeys(self._recorded(), 0.0)
        if "SLURM_JOB_ID" in os.environ:
            # A coordinator that is a job itself would hand its own array index and limits down to its jobs.
            for name in [name for name in os.environ if name.startswith("SLURM_") and name != "SLURM_CONF"]:
                del os.environ[name]
        self._thread.start()

    def submit(self, place: int, message: _worker.Message, job_class: JobClass) -> None:
        """See Backend; memory is asked for as the job's class says."""
        with self._changed:
            attempt = self._current[place] = _Attempt(place, Path(message.folder))
            self._new.append(_Submission(attempt, message, job_class))
            self._changed.notify()

    def cancel(self, place: int) -> None:
        """See Backend."""
        with self._changed:
            attempt = self._current.pop(place, None)
            if attempt is not None:
                self._unwanted.append(attempt)
                self._changed.notify()

    def stop(self, place: int, reason: str) -> None:
        """See Backend; where storage is slow to show the word, the task may be ended before it has seen it."""
        with self._changed:
            attempt = self._current.get(place)
            if attempt is not None and not attempt.told:
                self._quiet_since = time.monotonic()
                attempt.told, attempt.end_at = reason, self._quiet_since + GRACE_S
                tell(attempt.folder, reason)
                self._changed.notify()

    def memory_free_gb(self) -> float | None:
        """See Backend. What is free on a cluster is SLURM's to know."""
        return None

    def close(self, grace_s: float) -> None:
        """See Backend."""
        with self._changed:
            self._unwanted += self._current.values()
            self._current.clear()
            self._grace_s = grace_s
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while not self._closing:
            new, unwanted = self._take()
            self._submit([submission for submission in new if submission.attempt not in unwanted])
            self._drop(unwanted)
            now = time.monotonic()
            if new or unwanted:
                self._quiet_since = now
                self._ask_at = min(self._ask_at, now + _ASK_S[0])
            for attempt in list(self._submitted):
                if not self._look(attempt) and now >= attempt.end_at:
                    self._end_told(attempt)
            if now >= self._ask_at and self._busy():
                self._ask()
                asked = time.monotonic()
                # A controller that takes long to answer is asked the less.
                self._ask_at = asked + max(20 * (asked - now), _paced(_ASK_S, asked - self._quiet_since))
        self._leave()

    def _busy(self) -> bool:
        """Whether SLURM has something to be asked: of jobs, or whether it is back."""
        return bool(self._submitted or self._leaving) or self._silent_since is not None

    def _take(self) -> tuple[list[_Submission], list[_Attempt]]:
        """Wait until there is something to do, then take it."""
        with self._changed:
            if not (self._new or self._unwanted or self._closing):
                pause = _paced(_LOOK_S, time.monotonic() - self._quiet_since)
                self._changed.wait(pause if self._busy() else None)
            while self._new and not self._closing and self._changed.wait(_TURN_S):
                pass
            new, unwanted = self._new, self._unwanted
            self._new, self._unwanted = [], []
            return new, unwanted

    def _submit(self, submissions: list[_Submission]) -> None:
        submissions.sort(key=lambda submission: submission.needs)
        for _, together in groupby(submissions, lambda submission: submission.needs):
            group = list(together)
            try:
                jobs = self._submit_array(group)
            except Exception as error:
                self._refused([submission.attempt for submission in group], error)
                continue
            for submission, job in zip(group, jobs, strict=True):
                submission.attempt.job = job
                self._submitted.add(submission.attempt)
            self._record([submission.attempt for submission in group])

    def _record(self, attempts: Iterable[_Attempt]) -> None:
        """Keep the ids for a coordinator that comes after this one has died."""
        with suppress(OSError), (self._folder / _RECORD).open("a", encoding="utf-8") as record:  # a full disk
            record.write("".join(f"{attempt.job}\n" for attempt in attempts))

    def _recorded(self) -> list[str]:
        try:
            return re.findall(r"^(\d+(?:_\d+)?)$", (self._folder / _RECORD).read_text(encoding="utf-8"), re.MULTILINE)
        except OSError:
            return []

    def _submit_array(self, group: list[_Submission]) -> list[str]:
        """Submit what has the same needs, more than one as an array job; their ids, in order."""
        import submitit

        if self._timeout_min is None:
            self._timeout_min = _slurm_queue.time_limit_min(self._settings)
        alone, memory_gb, threads = group[0].needs
        parameters: dict[str, Any] = dict(self._settings.parameters)
        # Another attempt is the coordinator's to make, in a folder of its own.
        additional = {"no-requeue": True, **(parameters.pop("additional_parameters", None) or {})}
        if self._platform.device == "cuda" and not {"gres", "gpus_per_node", "gpus_per_task"} & parameters.keys():
            parameters["gpus_per_node"] = 1
        if alone:
            parameters["exclusive"] = True
        variables = [f"export {name}={value}" for name, value in thread_variables(threads).items()]
        executor = submitit.AutoExecutor(folder=self._folder, cluster="slurm")
        executor.update_parameters(
            name=self._folder.parent.parent.name,
            timeout_min=self._timeout_min,
            mem_gb=0 if alone else max(memory_gb, 0.1),  # 0 is all that a node has
            cpus_per_task=threads,
            slurm_partition=self._settings.partition,
            slurm_setup=[*variables, *self._settings.setup],
            # A step by srun would get one core of those that the job has, and takes longer.
            slurm_use_srun=False,
            slurm_additional_parameters=additional,
            **{f"slurm_{name}": value for name, value in parameters.items()},
        )
        path = tuple(str(Path(entry).absolute()) for entry in sys.path)
        calls = [_slurm_job.Call(self._payload, one.message, path) for one in group]
        return [job.job_id for job in executor.map_array(_slurm_job.run, calls)]

    def _refused(self, attempts: list[_Attempt], error: Exception) -> None:
        """SLURM did not take these: it is out of reach for now, or will never take them."""
        said = "; ".join(str(error).split("\n")) or type(error).__name__
        silent = isinstance(error, SlurmSilentError) or any(sign in said for sign in _UNAVAILABLE)
        if silent:
            self._silent(said)
        for attempt in attempts:
            if silent:
                self._died(attempt, "lost", f"SLURM took no job: {said}")
            else:
                self._died(attempt, "precheck", f"does not take this sweep's jobs: {said}")

    def _died(self, attempt: _Attempt, error_class: ErrorClass, said: str, run_s: float | None = None) -> None:
        self._end(attempt, Died(self._platform.name, attempt.place, error_class, said, run_s))

    def _end_told(self, attempt: _Attempt) -> None:
        """End what was told to stop, and goes on."""
        answer = pruned_answer(attempt.folder, attempt.told, time.monotonic() - attempt.sent_at)
        self._end(attempt, Finished(self._platform.name, attempt.place, answer))
        self._scancel([attempt.job])

    def _end(self, attempt: _Attempt, event: Finished | Died) -> None:
        self._submitted.discard(attempt)
        self._quiet_since = time.monotonic()
        if attempt.job:
            self._leaving[attempt.job] = self._quiet_since + _LEAVE_S
        with self._changed:
            if self._current.get(attempt.place) is attempt:  # else cancelled: nobody waits for it
                del self._current[attempt.place]
                self._events.put(event)

    def _look(self, attempt: _Attempt) -> bool:
        """Report an attempt that has answered."""
        try:
            answer = json.loads((attempt.folder / _slurm_job.ANSWER).read_text(encoding="utf-8"))
            if not is_answer(answer):
                raise ValueError(f"{str(answer)[:200]!r}")
            run_s = float(answer["run_s"])
        except OSError:
            return False
        except (ValueError, KeyError, TypeError) as error:
            self._died(attempt, "killed", f"SLURM job {attempt.job} left an answer that cannot be read: {error}")
            return True
        ended = time.time()  # what lies between, and its start, it waited in SLURM's queue
        self._end(attempt, Finished(self._platform.name, attempt.place, answer, ended - run_s, ended))
        return True

    def _ask(self) -> None:
        """Ask SLURM about all jobs, and report those that have ended without an answer."""
        try:
            states = _slurm_queue.states([*self._leaving, *(attempt.job for attempt in self._submitted)])
        except SlurmSilentError as error:
            self._silent(str(error))  # the jobs go on, and so do their answers
            return
        now = time.monotonic()
        if self._silent_since is not None:
            self._silent_since = None
            self._events.put(Moved(self._platform.name, Condition.AVAILABLE, "answers again"))
        for job, until in list(self._leaving.items()):
            if states.get(job, ("", ""))[0] not in _slurm_queue.ACTIVE:
                del self._leaving[job]
            elif now > until:
                self._leaving[job] = now + _LEAVE_S
                self._scancel([job])
        for attempt in list(self._submitted):
            self._judge(attempt, *states.get(attempt.job, ("", "")))

    def _silent(self, said: str) -> None:
        """Note that SLURM's controller is out of reach, as it is for a moment whenever it is restarted."""
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        condition = Condition.SUSPECT if now - self._silent_since < _RESTART_S else Condition.DOWN
        self._events.put(Moved(self._platform.name, condition, f"has a SLURM that does not answer: {said}"))

    def _judge(self, attempt: _Attempt, state: str, reason: str) -> None:
        job = attempt.job
        if state == "PENDING" and reason in _slurm_queue.HOPELESS:
            self._scancel([job])
            said = f"lets jobs wait for good: {reason} (`scontrol show job {job}` says more)"
            self._died(attempt, "precheck", said, 0.0)
            return
        if state in _slurm_queue.ACTIVE:
            attempt.gone_at = None
            return
        with suppress(OSError):
            attempt.folder.chmod(attempt.folder.stat().st_mode)  # a change makes a network file system look again
        if self._look(attempt):
            return
        now = time.monotonic()
        attempt.gone_at = attempt.gone_at or now
        if state in ("", "COMPLETED") and now - attempt.gone_at < _STORAGE_S:
            return
        end = _slurm_queue.end_of(job) if state else _slurm_queue.End()
        error_class, said = _slurm_queue.how_it_ended(job, state, end, self._log(job))
        if end.code and error_class == "killed" and not (attempt.folder / _worker.CONSOLE).exists():
            # No task has begun there, and as a rule none can.
            said = f"cannot start this sweep's jobs: {said} (its log: {self._folder}/{job}_0_log.err)"
            self._died(attempt, "precheck", said, end.run_s)
        else:
            self._died(attempt, error_class, said, end.run_s)

    def _log(self, job: str) -> str:
        """The last of what went wrong in a job outside its task; what the task prints is in the attempt's folder."""
        try:
            return (self._folder / f"{job}_0_log.err").read_bytes()[-_TAIL:].decode(errors="replace")
        except OSError:
            return ""

    def _drop(self, attempts: Iterable[_Attempt]) -> None:
        """End the jobs of attempts that nobody waits for."""
        jobs = {attempt.job for attempt in attempts if attempt.job}
        self._submitted = {attempt for attempt in self._submitted if attempt.job not in jobs}
        self._leaving |= dict.fromkeys(jobs, time.monotonic() + _LEAVE_S)
        self._scancel(jobs)

    def _scancel(self, jobs: Iterable[str]) -> None:
        with suppress(SlurmSilentError):  # asked again while the job is still seen
            _slurm_queue.cancel(jobs)

    def _leave(self) -> None:
        """End every job of ours, and see it gone; what SLURM does not hear now, the sweep's next start says again."""
        give_up = time.monotonic() + self._grace_s
        self._drop([*self._submitted, *self._unwanted])
        while self._leaving:
            self._ask()
            if self._silent_since is not None or not self._leaving:
                return
            if time.monotonic() >= give_up:
                self._scancel(self._leaving)
                return
            time.sleep(_LEFT_S)


def _paced(bounds: tuple[float, float], quiet_s: float) -> float:
    """Seconds until the next look: a twentieth of the time in which nothing happened, within bounds."""
    least, most = bounds
    return min(most, max(least, quiet_s / 20))
