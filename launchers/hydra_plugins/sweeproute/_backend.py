"""The contract between the dispatcher and the ways of running a job on a platform."""

import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_args

from ._admission import JobClass
from ._condition import Condition
from ._retry import ErrorClass
from ._worker import Message


@dataclass(frozen=True)
class Finished:
    """An attempt has ended, and its process has answered.

    Attributes:
        platform: Where it ran.
        place: The place that is free again.
        answer: What `_worker.run` answered: status, value or error, identity, run_s.
        started, ended: Seconds since the epoch by this machine's clock; None where the event itself tells.
        folder: The attempt's, where a place may have got another attempt since.
    """

    platform: str
    place: int
    answer: dict[str, Any]
    started: float | None = None
    ended: float | None = None
    folder: str | None = None


@dataclass(frozen=True)
class Died:
    """The process of an attempt has gone without an answer.

    Attributes:
        platform: Where it ran.
        place: The place that is free again.
        error_class: killed, out_of_memory, time_limit, lost or precheck.
        message: What is known of its end.
        run_s: Seconds that it ran, where that is known.
        started, ended, folder: As of Finished.
    """

    platform: str
    place: int
    error_class: ErrorClass
    message: str
    run_s: float | None = None
    started: float | None = None
    ended: float | None = None
    folder: str | None = None


@dataclass(frozen=True)
class Started:
    """A platform with a queue of its own has started an attempt.

    Attributes:
        platform: Where.
        place: Its place there.
        at: Seconds since the epoch by this machine's clock.
    """

    platform: str
    place: int
    at: float


@dataclass(frozen=True)
class Recalled:
    """A platform with a queue of its own has answered whether it gives an attempt back.

    Attributes:
        platform: Where it was.
        place: Its place there.
        ok: Whether it had not started, and now never will.
    """

    platform: str
    place: int
    ok: bool


@dataclass(frozen=True)
class Moved:
    """The condition of a platform's machine has changed.

    Attributes:
        platform: Which.
        condition: What it is now.
        why: A clause that follows its name.
        silent: Of one that is down, whether it does not answer; else it does, and cannot run the jobs.
        precheck: Whether a job has found out that it cannot run there; the machine itself may say otherwise.
    """

    platform: str
    condition: Condition
    why: str
    silent: bool = True
    precheck: bool = False


@dataclass(frozen=True)
class Said:
    """Something that the person should read, in a sentence."""

    text: str


def is_answer(found: Any) -> bool:
    """Whether something is what `_worker.run` answers, whoever has sent it."""
    if not isinstance(found, Mapping) or not isinstance(found.get("run_s"), (int, float)):
        return False
    if found.get("status") == "COMPLETED":
        return "value" in found and "unfit" in found
    error = found.get("error")
    if found.get("status") != "FAILED" or not isinstance(error, Mapping):
        return False
    words = all(isinstance(error.get(name), str) for name in ("class", "type", "message", "traceback"))
    return words and error["class"] in get_args(ErrorClass)


Event = Finished | Died | Started | Recalled | Moved | Said


@dataclass
class Platform:
    """What a backend is told of its platform.

    Attributes:
        name: The platform's key in the registry.
        slots: Jobs that run there at the same time.
        threads: Threads of one job.
        device: cpu or cuda.
        overrides: What the registry sets there where a job left it open.
        ahead: Whether it has a queue of its own.
    """

    name: str
    slots: int
    threads: int | None
    device: str
    overrides: tuple[str, ...] = ()
    ahead: bool = False


class Backend(Protocol):
    """One platform's way of running jobs. Nothing here blocks: what happens is put on the queue of events.

    An attempt has a place: a slot, or on a platform with a queue of its own a number that no other attempt has.
    """

    def start(self, payload: str, first: Message) -> None:
        """Make the slots ready.

        Args:
            payload: Path of the pickled `_worker.Payload`.
            first: A job that is to run, as it would be handed out here, without a folder.
        """

    def submit(self, place: int, message: Message, job_class: JobClass) -> None:
        """Start an attempt, or send it to the platform's queue; its end comes as an event."""

    def cancel(self, place: int) -> None:
        """End an attempt at once; no event follows."""

    def stop(self, place: int, reason: str) -> None:
        """Tell an attempt that the rest of it is not needed.

        Its end comes as an event all the same: `Finished`, as pruned where it has not come to its end by itself. One
        that goes on for longer than `_pruning.GRACE_S` from when it was told, where it runs, is ended by force.

        Args:
            place: Its place.
            reason: For whoever asks.
        """

    def memory_free_gb(self) -> float | None:
        """GB of main memory that are free there now; None where it is not known."""

    def close(self, grace_s: float) -> None:
        """Let go of every process, by force after `grace_s` seconds."""


class QueueBackend(Backend, Protocol):
    """A platform with a queue of its own, which outlives the coordinator."""

    def identifier(self, place: int) -> str:
        """The name under which an attempt is known there, for whoever comes back."""

    def adopt(self, place: int, identifier: str, folder: Path) -> None:
        """Take an attempt on again that an earlier coordinator sent."""

    def settle_rest(self) -> None:
        """Have everything forgotten that earlier coordinators of this sweep left there, but for what was adopted."""

    def recall(self, place: int) -> None:
        """Ask for an attempt back; the answer comes as an event."""

    def order(self, places: Sequence[int]) -> None:
        """Say in which order what waits there is to start."""

    def settle(self, place: int) -> None:
        """Say that an attempt's end is on record here."""

    def load(self) -> dict[str, Any] | None:
        """What the platform said last of its memory, GPUs and slots."""


Events = queue.SimpleQueue[Event]
