"""Writes down what becomes of each attempt: its launch record, and the history that estimates are made from."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn

from ._assignment import Job
from ._backend import Died, Finished
from ._durations import Durations
from ._errors import headline
from ._followers import Followers, whole_run_s
from ._pruning import why_pruned
from ._records import SweepFolder, append_line, state_dir
from ._retry import Outcome
from ._source import JobSource
from ._worker import Message


@dataclass
class Attempt:
    """One try at a job, from the moment it is handed out.

    Attributes:
        job: The job.
        platform: Where.
        slot: Its slot; None on a platform with a queue of its own.
        message: What its process is told; None where an earlier coordinator has told it.
        folder: Its folder.
        launch: Its launch record.
    """

    job: Job
    platform: str
    slot: int | None
    message: Message | None
    folder: Path
    launch: dict[str, Any]

    @property
    def begun(self) -> bool:
        """Whether it runs, and does not wait in a platform's own queue."""
        return bool(self.launch["state"] == "RUNNING")


@dataclass(frozen=True)
class Prepared:
    """An attempt that can run: its folder, its record, and what its process is told."""

    message: Message
    folder: Path
    launch: dict[str, Any]


@dataclass(frozen=True)
class Away:
    """An attempt that an earlier coordinator sent to a platform, and that may still run there.

    Attributes:
        job: The job.
        folder: The attempt's folder.
        launch: Its launch record.
        superseded: Whether another attempt's result counts already.
    """

    job: Job
    folder: Path
    launch: dict[str, Any]
    superseded: bool = False


class Book:
    """The records of one sweep, as its dispatcher keeps them.

    Args:
        sweep: Where launch records go.
        durations: Learns from every job that finishes.
        points: Where returns go.
        finish: From the launch record that counts, with its folder, to the job's return.
        followers: Makes jobs out of the points that others have answered for.
    """

    def __init__(
        self,
        sweep: SweepFolder,
        durations: Durations,
        points: JobSource,
        finish: Callable[[dict[str, Any], Path], JobReturn],
        followers: Followers,
    ) -> None:
        self._sweep = sweep
        self._durations = durations
        self._points = points
        self._finish = finish
        self._followers = followers
        self._history = state_dir() / "history.jsonl"

    def noted(self, attempt: Attempt) -> None:
        """Record an attempt as it stands: it has its place, or has begun."""
        self._sweep.record_job(attempt.folder, attempt.launch)

    def begun(self, attempt: Attempt, at: float) -> None:
        """Enter that an attempt has left the queue of its platform, at seconds since the epoch."""
        launch = attempt.launch
        launch |= {"state": "RUNNING", "started_at": at, "queue_s": max(0.0, at - launch["queued_at"])}

    def outcome(self, attempt: Attempt, event: Finished | Died) -> Outcome:
        """Enter how an attempt ended into its record, and say it in the policy's words."""
        launch = attempt.launch
        launch["ended_at"] = time.time()
        if isinstance(event, Died):
            self._times(launch, event)
            launch["run_s"] = event.run_s if event.run_s is not None else launch["ended_at"] - launch["started_at"]
            launch["state"] = "LOST" if event.error_class == "lost" else "KILLED"
            launch["error"] = _error(event.error_class, event.message)
            message = event.message
            if event.error_class == "precheck":
                message = self._cannot(launch, message)
            return Outcome("FAILED", event.error_class, message)
        answer = event.answer
        self._times(launch, event)
        launch |= {"run_s": answer["run_s"], "identity": answer.get("identity") or launch["identity"]}
        if answer["status"] == "COMPLETED":
            launch |= {"value": answer["value"], "unfit": answer["unfit"]}
            why = why_pruned(answer["value"])
            if why is not None:
                launch |= {"state": "PRUNED", "pruned": why}
                return Outcome("PRUNED", None, why)
            launch["state"] = "FINISHED"
            self._followers.divide(launch, attempt.folder)
            return Outcome("FINISHED", None, "")
        launch |= {"state": "FAILED", "error": answer["error"]}
        message = answer["error"]["message"]
        if answer["error"]["class"] == "precheck":
            message = self._cannot(launch, message)
        return Outcome("FAILED", answer["error"]["class"], message)

    @staticmethod
    def _cannot(launch: dict[str, Any], message: str) -> str:
        """Why a platform can run none of this sweep's jobs, as a clause that follows its name, with the next step."""
        step = f" (`sweeproute check {launch['platform']}` says more)" if launch.get("far") else ""
        return f"cannot run this sweep's jobs: {headline(message).rstrip('.')}{step}"

    @staticmethod
    def _times(launch: dict[str, Any], event: Finished | Died) -> None:
        """Enter when an attempt began and ended on another machine, which may be long ago."""
        if event.started is not None and event.ended is not None:
            launch |= {"started_at": event.started, "ended_at": event.ended}
            launch["queue_s"] = max(0.0, event.started - launch["queued_at"])

    def ended(self, attempt: Attempt, final: bool) -> int:
        """Record an end; where it is the job's, give its return, and those of the points that it has answered for.

        Returns:
            How many these are.
        """
        launch = attempt.launch
        launch["current"] = final
        self._sweep.record_job(attempt.folder, launch)
        entry = {
            "model": dict(attempt.job.job_class.fields).get("model_type"),
            "platform": launch["platform"],
            "overrides": launch["overrides"],
            "seconds": whole_run_s(launch),
            "outcome": launch["state"],
            "at": launch["ended_at"],
        }
        if (launch.get("error") or {}).get("class") != "precheck":  # which never ran
            append_line(self._history, entry)
            self._durations.learn(entry)
        if not final:
            return 0
        answered = list(self._followers.take(launch, attempt.folder, self._waits))
        for other, folder in answered:
            self._points.told(other["job"], self._finish(other, folder))
        self._points.told(launch["job"], self._finish(launch, attempt.folder))
        return len(answered)

    def _waits(self, number: int, overrides: tuple[str, ...]) -> bool:
        return number not in self._points.returns and self._points.overrides.get(number) == overrides

    def superseded(self, attempt: Attempt) -> None:
        """Another attempt's result counts: this one is ended, whatever it was about to say."""
        self.killed(attempt, "another attempt at the job gave its result first", current=False)

    def killed(self, attempt: Attempt, why: str, *, current: bool) -> None:
        """Record an attempt that this side has ended."""
        now = time.time()
        launch = attempt.launch | {"state": "KILLED", "current": current, "ended_at": now}
        launch |= {"error": _error("killed", why), "run_s": now - launch["started_at"] if attempt.begun else 0.0}
        self._sweep.record_job(attempt.folder, launch)

    def never_ran(self, job: Job, reason: str, error: dict[str, str]) -> None:
        """Record a job that failed before any attempt could begin."""
        now = time.time()
        number = self._sweep.next_attempt(job.num)
        launch = {
            "sweep": self._sweep.record["id"],
            "job": job.num,
            "attempt": number,
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
        folder = self._sweep.open_job(str(job.num), job.num, number)
        self._sweep.record_job(folder, launch)
        self._points.told(job.num, self._finish(launch, folder))


def _error(error_class: str, message: str) -> dict[str, str]:
    return {"class": error_class, "type": "", "message": message, "traceback": ""}
