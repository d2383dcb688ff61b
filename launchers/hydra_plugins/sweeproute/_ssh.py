"""Runs jobs on a far machine, through its own queue, which goes on while this machine is away."""

import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from submitit_ssh.errors import FarError
from submitit_ssh.line import Condition as Line
from submitit_ssh.machine import Ended, Machine

from . import _worker
from ._admission import JobClass
from ._backend import Died, Event, Events, Finished, Moved, Platform, Recalled, Said, Started, is_answer
from ._condition import Condition
from ._machines import remember
from ._pending import PendingCancels
from ._pruning import GRACE_S, PROGRESS, pruned_answer, tell
from ._records import CHECKPOINT, LAUNCH
from ._retry import ErrorClass
from ._shipping import ByContent, OnSharedDisk, Parcel, Place, Shipping

# Files of a job that come over while it runs.
LIVE = ("journal.jsonl", PROGRESS, _worker.CONSOLE)
# Folders that are kept here as they are there: a later attempt goes on from what is in them.
KEPT = (CHECKPOINT,)
# Seconds after which what nobody over there has used goes.
_UNUSED_S = 30 * 86400.0
# Seconds to wait for the last answers of a machine that is up: a line that loses packets takes longer than a process
# that ends. After as many seconds of silence it counts as down, and nothing is waited for.
_ANSWERS_S = 10.0
# How an attempt's end is named here, where that differs.
_CLASSES = {"outputs": "user", "cancelled": "killed"}


class SshBackend:
    """A far machine's queue.

    Args:
        platform: The machine.
        place: Where it is.
        events: Where what happens is put.
    """

    def __init__(self, platform: Platform, place: Place, events: Events) -> None:
        self._platform = platform
        self._place = place
        self._events = events
        self._machine = Machine(place.reach, place.owner, self, reserved=(LAUNCH, ".hydra", "multirun.yaml"))
        self._ids: dict[int, str] = {}
        self._places: dict[str, int] = {}
        self._folders: dict[str, Path] = {}
        # What is to be forgotten there, until that is answered.
        self._unsettled: dict[str, Future[dict[str, Any]]] = {}
        self._root = ""
        self._ready = threading.Event()
        self._why_not = ""
        self._told_cores = False
        self._shipping: Shipping = OnSharedDisk(place) if place.shared else ByContent(place, self._machine)
        self._pending = PendingCancels(platform.name, place.reach.host)

    # ---- the contract; see QueueBackend

    def start(self, payload: str, first: _worker.Message) -> None:
        """See Backend."""
        self._machine.open()
        self._machine.request("slots", slots=self._platform.slots, paused=None)
        self._pending.deliver(self._machine)
        thread = threading.Thread(target=self._prepare, args=(payload, first), daemon=True, name="staging")
        thread.start()

    def identifier(self, place: int) -> str:
        """See QueueBackend."""
        if place not in self._ids:
            self._know(place, uuid.uuid4().hex)
        return self._ids[place]

    def submit(self, place: int, message: _worker.Message, job_class: JobClass) -> None:
        """See Backend."""
        identifier = self.identifier(place)
        self._folders[identifier] = Path(message.folder)

        def refuse(error: BaseException) -> None:
            # What the machine does not take is its fault; what cannot be read here is the job's own.
            error_class: ErrorClass = "precheck" if isinstance(error, FarError) else "user"
            self._put(Died(self._platform.name, place, error_class, f"a job cannot be brought there: {error}"))

        def stage(packed: "Future[Parcel]") -> None:
            error = packed.exception()
            if error is not None:
                refuse(error)
                return
            parcel = packed.result()
            if parcel.contents:
                self._machine.stage(parcel.contents).add_done_callback(lambda staged: send(staged, parcel))
            else:
                send(None, parcel)

        def send(staged: "Future[None] | None", parcel: Parcel) -> None:
            error = staged.exception() if staged is not None else None
            if error is not None:
                refuse(error)
            elif identifier in self._places:  # else it was taken back meanwhile
                self._machine.submit(self._spec(identifier, message, job_class, parcel), Path(message.folder))

        self._shipping.parcel(message).add_done_callback(stage)

    def adopt(self, place: int, identifier: str, folder: Path) -> None:
        """See QueueBackend."""
        self._know(place, identifier)
        self._folders[identifier] = folder
        self._machine.adopt(identifier, folder, LIVE, KEPT)

    def settle_rest(self) -> None:
        """See QueueBackend: what was recorded here, and its coordinator died before it could say so."""

        def told(status: "Future[dict[str, Any]]") -> None:
            if status.exception() is None:
                mine = (job["id"] for job in status.result()["jobs"] if job["owner"] == self._place.owner)
                for identifier in mine:
                    if identifier not in self._places and identifier not in self._unsettled:
                        self._settle(identifier)

        self._machine.request("status").add_done_callback(told)

    def recall(self, place: int) -> None:
        """See QueueBackend."""
        identifier = self._ids.get(place)
        if identifier is None:  # given back already, as another event tells
            return

        def answered(future: "Future[dict[str, Any]]") -> None:
            answer = future.result()
            ok = identifier in answer.get("recalled", ()) or identifier in answer.get("unknown", ())
            if ok:
                self._forget(place)
            self._put(Recalled(self._platform.name, place, ok))

        self._machine.recall([identifier]).add_done_callback(answered)

    def cancel(self, place: int) -> None:
        """See Backend."""
        # What is settled while it waits or runs is ended there, and forgotten.
        self.settle(place)

    def stop(self, place: int, reason: str) -> None:
        """See Backend; what does not answer hears of it at the next contact."""
        identifier = self._ids.get(place)
        folder = self._folders.get(identifier or "")
        if identifier is not None and folder is not None:
            if self._place.shared:  # the task's folder is here
                tell(folder, reason)
            self._machine.request("stop", ids=[identifier], reason=reason, grace_s=GRACE_S)

    def order(self, places: Sequence[int]) -> None:
        """See QueueBackend."""
        # One that has been given back, of which the dispatcher is about to hear, is not there any more.
        self._machine.request("order", ids=[self._ids[place] for place in places if place in self._ids])

    def settle(self, place: int) -> None:
        """See QueueBackend."""
        identifier = self._ids.get(place)
        if identifier is not None:
            self._forget(place)
            self._settle(identifier)

    def memory_free_gb(self) -> float | None:
        """See Backend."""
        free = (self._machine.load or {}).get("memory_free_gb")
        return float(free) if isinstance(free, (int, float)) else None

    def load(self) -> dict[str, Any] | None:
        """See QueueBackend."""
        return self._machine.load

    def close(self, grace_s: float) -> None:
        """See Backend; what runs there goes on. What it could not be told to forget is kept until the next contact."""
        self._remember()
        self._machine.close(max(grace_s, _ANSWERS_S))
        self._pending.keep(list(self._unsettled))

    # ---- what the machine tells, in its thread; see Listener

    def condition(self, condition: Line, why: str) -> None:
        """See Listener."""
        if condition is Line.UP:
            self._root = self._machine.root or ""
            if self._ready.is_set():
                self._say()
        elif condition is Line.SUSPECT:
            self._put(Moved(self._platform.name, Condition.SUSPECT, why))
        else:
            self._put(Moved(self._platform.name, Condition.DOWN, why))

    def started(self, identifier: str, at: float) -> None:
        """See Listener."""
        place = self._places.get(identifier)
        if place is not None:
            self._put(Started(self._platform.name, place, at))

    def ended(self, ended: Ended) -> None:
        """See Listener."""
        place, folder = self._places.get(ended.id), self._folders.get(ended.id)
        if place is None or folder is None:
            return
        name = self._platform.name
        for what in ended.left_out:
            self._put(Said(f"an output of a job on {name} is {what}"))
        if ended.error_class is None:
            if not is_answer(ended.result):
                problem = f"the far side sent no result that can be read: {str(ended.result)[:200]!r}"
                self._put(Died(name, place, "killed", problem, ended.run_s, ended.started, ended.ended))
                return
            self._put(Finished(name, place, dict(ended.result), ended.started, ended.ended))
            return
        if ended.error_class == "pruned":
            answer = pruned_answer(folder, ended.message, ended.run_s)
            self._put(Finished(name, place, answer, ended.started, ended.ended))
            return
        error_class: Any = _CLASSES.get(ended.error_class, ended.error_class)
        self._put(Died(name, place, error_class, ended.message, ended.run_s, ended.started, ended.ended))

    def unknown(self, identifier: str) -> None:
        """See Listener."""
        place = self._places.get(identifier)
        if place is not None:
            self._put(Died(self._platform.name, place, "lost", "its machine does not know it any more"))

    # ---- the rest

    def _settle(self, identifier: str) -> None:
        told = self._unsettled[identifier] = self._machine.settle([identifier])
        told.add_done_callback(lambda _: self._unsettled.pop(identifier))

    def _put(self, event: Event) -> None:
        self._events.put(event)

    def _know(self, place: int, identifier: str) -> None:
        self._ids[place], self._places[identifier] = identifier, place

    def _remember(self) -> None:
        """Keep what the machine has for the next sweep: how many threads jobs get was settled before it was asked."""
        cores = (self._machine.load or {}).get("cores")
        if not isinstance(cores, int) or self._told_cores:
            return
        self._told_cores = True
        remember(self._platform.name, self._place.reach.host, cores)
        if (self._platform.threads or 1) * self._platform.slots > max(cores, self._platform.slots):
            said = (
                f"{self._platform.name} has {cores} cores, fewer than the registry says: the next sweep keeps to them."
            )
            self._put(Said(said))

    def _forget(self, place: int) -> None:
        identifier = self._ids.pop(place, "")
        self._places.pop(identifier, None)
        self._folders.pop(identifier, None)

    def _say(self) -> None:
        name = self._platform.name
        if self._why_not:
            self._put(Moved(name, Condition.DOWN, self._why_not, silent=False))
        else:
            self._put(Moved(name, Condition.AVAILABLE, ""))

    def _prepare(self, payload: str, first: _worker.Message) -> None:
        """Bring over what every job needs; the platform takes jobs as soon as it is there."""
        try:
            root = self._machine.wait_root()
            for said in self._shipping.prepare(root, payload, first):
                self._put(Said(f"{self._platform.name} {said}"))
            limit_gb = self._place.cache_gb
            self._machine.request("clean", unused_s=_UNUSED_S, limit_gb=limit_gb, jobs=False, dry=False)
        except Exception as error:  # whatever it is, its jobs are not to wait for a machine that gets nothing
            self._why_not = f"cannot be given the code: {error}"
        self._remember()
        self._ready.set()
        if self._root:
            self._say()

    def _spec(self, identifier: str, message: _worker.Message, job_class: JobClass, parcel: Parcel) -> dict[str, Any]:
        return {
            "id": identifier,
            "label": f"job {message.number} of {self._place.owner}",
            "environment": parcel.environment,
            "argument": parcel.argument,
            "live": list(LIVE),
            "kept": list(KEPT),
            "memory_gb": job_class.memory_gb,
            "gpu_memory_gb": job_class.gpu_memory_gb,
            "gpus": 1 if self._platform.device == "cuda" else 0,
            "alone": job_class.alone,
            "timeout_s": None,
            "memory_limit_gb": None,
            "inputs": parcel.inputs,
        }
