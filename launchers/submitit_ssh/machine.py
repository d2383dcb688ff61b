"""Keeps the jobs of one owner on a far machine: what was asked is said until it is answered, what ends is told once."""

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .batches import Batches, too_large, travelling
from .errors import FarError
from .far.frames import PROTOCOL
from .line import Condition, Line, Settings
from .listener import Ended, Listener
from .outputs import Outputs
from .requests import Requests
from .staging import Staged
from .uploads import Uploads

# Seconds without a ping after which the far side gives a channel up: its other end may be cut off for good.
_PATIENCE_S = 30.0
# Seconds for which answers to what was asked last are waited for.
_LAST_WORDS_S = 2.0


@dataclass
class _Job:
    """A job that has not been settled."""

    outputs: Outputs
    spec: dict[str, Any] | None
    # Whether the far side has answered for it: it is its job now.
    known: bool
    # Bytes of the spec as it travels.
    size: int = 0
    started: bool = False
    ended: bool = False
    answered: "Future[str]" = field(default_factory=Future)


class Machine:
    """A far machine, as one owner of jobs sees it. Its methods may be called from any thread, and none blocks.

    Args:
        settings: How it is reached.
        owner: Name of whoever owns the jobs; of two connections with one name the later ends the earlier.
        listener: Who is told what happens.
        limit_gb: GB that the outputs of one job may take here.
        reserved: Names in a job's folder that the far side may not write.
    """

    def __init__(
        self,
        settings: Settings,
        owner: str,
        listener: Listener,
        *,
        limit_gb: float = 4.0,
        reserved: Sequence[str] = (),
    ) -> None:
        self.settings = settings
        self.owner = owner
        self.root: str | None = None
        self.host: str | None = None
        self.clock_offset_s = 0.0
        self._listener = listener
        self._limit_gb = limit_gb
        self._reserved = frozenset(reserved)
        self._line = Line(settings, self)
        self._jobs: dict[str, _Job] = {}
        self._unsent = Batches()
        self._requests = Requests(self._line)
        self._uploads = Uploads(self._line, self._requests.framed)
        self._why = ""
        self._up_waiters: list[Future[str]] = []
        self._rooted: Future[str] = Future()

    def open(self) -> None:
        """Start to connect, and return at once."""
        self._line.start()

    def close(self, answers_s: float = _LAST_WORDS_S) -> None:
        """Hang up once all that was asked is answered; the jobs go on.

        Args:
            answers_s: Seconds to wait for answers at most.
        """
        self._line.close(answers_s)

    @property
    def condition_now(self) -> Condition:
        """What is known of the machine."""
        return self._line.condition

    @property
    def load(self) -> dict[str, Any] | None:
        """What the far side said last of its memory, GPUs, slots and queue."""
        return self._line.load

    @property
    def round_trip_s(self) -> float | None:
        """Seconds from a ping to its answer."""
        return self._line.round_trip_s

    def wait_up(self, timeout_s: float) -> str:
        """Wait until the machine has answered.

        Args:
            timeout_s: Seconds.

        Returns:
            The root folder there.

        Raises:
            FarError: It cannot be used, or does not answer in time; says why.
        """
        future: Future[str] = Future()

        def ask() -> None:
            if self._line.live and self.root is not None:
                future.set_result(self.root)
            elif self._line.condition in (Condition.REFUSED, Condition.DOWN):
                future.set_exception(FarError(f"{self.settings.host} {self._why}."))
            else:
                self._up_waiters.append(future)

        self._line.post(ask)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            raise FarError(f"{self.settings.host} has not answered within {timeout_s:g} s.") from None

    def wait_root(self) -> str:
        """Wait for as long as it takes until the machine has answered; see `wait_up`.

        Raises:
            FarError: The connection was closed before.
        """
        return self._rooted.result()

    def submit(self, spec: Mapping[str, Any], folder: Path) -> "Future[str]":
        """Put a job into the machine's queue.

        Args:
            spec: The job; its `id` makes it the same job however often it is said.
            folder: Where its outputs come.

        Returns:
            "queued" once it is the far side's job, "refused" where it never will be.
        """
        outputs = Outputs(folder, self._limit_gb, self._reserved, spec.get("live", ()), spec.get("kept", ()))
        said = {**spec, "owner": self.owner}
        job = _Job(outputs, said, known=False, size=travelling(said))

        def put() -> None:
            self._jobs[spec["id"]] = job
            why = too_large(job.size)
            if why is None:
                self._unsent.add(spec["id"], job.size)
            else:
                self._refused(spec["id"], why)

        self._line.post(put)
        return job.answered

    def adopt(self, identifier: str, folder: Path, live: Sequence[str] = (), kept: Sequence[str] = ()) -> "Future[str]":
        """Take a job on again that an earlier process submitted.

        Args:
            identifier: Its id.
            folder: Where its outputs come; what is there of live files is not sent again.
            live: Files that grow while it runs.
            kept: Folders whose files come while it runs, each version whole.

        Returns:
            What the far side knows of it: "queued", "running", "ended", "settled" or "unknown".
        """
        outputs = Outputs(folder, self._limit_gb, self._reserved, live, kept)
        job = _Job(outputs, None, known=True)

        def put() -> None:
            outputs.resume()
            self._jobs[identifier] = job
            if self._line.live:
                self._adopt([identifier])

        self._line.post(put)
        return job.answered

    def recall(self, identifiers: Sequence[str]) -> "Future[dict[str, Any]]":
        """Take jobs back that have not started; the answer names those that were recalled, and those that were not.

        A job that is not known there counts as recalled.
        """
        ids = list(identifiers)
        future: Future[dict[str, Any]] = Future()

        def ask() -> None:
            self._unsent.drop(ids)
            self._requests.add({"op": "recall", "ids": ids}, future)

        self._line.post(ask)
        return future

    def forget(self, identifier: str) -> None:
        """Hear no more of a job."""
        self._line.post(lambda: self._drop(identifier))

    def cancel(self, identifiers: Sequence[str], grace_s: float = 3.0) -> "Future[dict[str, Any]]":
        """End jobs, their whole process groups; kept until it can be delivered."""
        ids = list(identifiers)
        future: Future[dict[str, Any]] = Future()

        def ask() -> None:
            self._unsent.drop(ids)
            self._requests.add({"op": "cancel", "ids": ids, "grace_s": grace_s}, future)

        self._line.post(ask)
        return future

    def settle(self, identifiers: Sequence[str]) -> "Future[dict[str, Any]]":
        """Say that the ends of jobs are recorded here: the far side may forget them."""
        ids = list(identifiers)
        future: Future[dict[str, Any]] = Future()

        def ask() -> None:
            for identifier in ids:
                self._drop(identifier)
            self._requests.add({"op": "settle", "ids": ids}, future)

        self._line.post(ask)
        return future

    def request(self, op: str, **fields: Any) -> "Future[dict[str, Any]]":
        """Ask anything else; it is asked again after a reconnection until it is answered.

        Args:
            op: signal, stop, order, slots, status, read.
            fields: What goes with it.

        Returns:
            The answer; raw bytes of it under "payload".
        """
        future: Future[dict[str, Any]] = Future()
        self._line.post(lambda: self._requests.add({"op": op, **fields}, future))
        return future

    def stage(self, objects: Iterable[Staged]) -> "Future[None]":
        """Have content there, whatever of it is missing; what is there already does not travel.

        Args:
            objects: Files and trees.

        Returns:
            Done when all of it is there; a FarError where it cannot be stored.
        """
        future: Future[None] = Future()
        wanted = list(objects)
        self._line.post(lambda: self._uploads.add(wanted, future))
        return future

    # ---- what the line tells; all of it in its thread

    def hello(self) -> dict[str, Any]:
        """See Ears."""
        return {"op": "hello", "owner": self.owner, "protocol": PROTOCOL, "patience_s": _PATIENCE_S}

    def up(self, answer: Mapping[str, Any]) -> None:
        """See Ears."""
        if answer.get("protocol") != PROTOCOL:
            raise ValueError(f"protocol {answer.get('protocol')!r}, {PROTOCOL} expected")
        now = time.time()
        self.root, self.host = str(answer["root"]), str(answer.get("host"))
        # The answer was stamped when it was sent: what came before it, a start of the supervisor maybe, does not count.
        self.clock_offset_s = float(answer["time"]) - now + (self._line.round_trip_s or 0.0) / 2
        # What was asked before comes first: a job that is to end must not start before that is heard.
        self._requests.restart()
        self._adopt([identifier for identifier, job in self._jobs.items() if job.known])
        self._unsent = Batches()
        for identifier, job in self._jobs.items():
            if not (job.known or job.ended):
                self._unsent.add(identifier, job.size)
        self._uploads.restart()
        if not self._rooted.done():
            self._rooted.set_result(self.root)
        for waiter in self._up_waiters:
            waiter.set_result(self.root)
        self._up_waiters.clear()

    def condition(self, condition: Condition, why: str) -> None:
        """See Ears."""
        self._why = why
        if condition in (Condition.DOWN, Condition.REFUSED):
            for waiter in self._up_waiters:
                waiter.set_exception(FarError(f"{self.settings.host} {why}."))
            self._up_waiters.clear()
        self._listener.condition(condition, why)

    def feed(self) -> bytes | None:
        """See Ears."""
        if self._unsent:
            header = {"op": "submit", "jobs": [self._jobs[identifier].spec for identifier in self._unsent.take()]}
            return self._requests.framed(header, self._submitted)
        return self._uploads.chunk()

    def waits(self) -> bool:
        """See Ears."""
        return self._requests.open or not all(job.answered.done() for job in self._jobs.values())

    def heard(self, header: dict[str, Any], payload: bytes) -> None:
        """See Ears."""
        if "re" in header:
            self._requests.answered(header, payload)
            return
        op, job = header["op"], self._jobs.get(header.get("id", ""))
        if job is None:
            return  # settled meanwhile
        if op == "started":
            job.started = True
            self._listener.started(header["id"], self._here(header["time"]))
        elif op == "output" and not job.ended:
            job.outputs.write(header["path"], header["offset"], payload, bool(header["last"]))
        elif op == "kept" and not job.ended:
            job.outputs.keep(header["path"], header["names"])
        elif op == "ended" and not job.ended:
            self._ended(job, header)

    def _here(self, there: Any) -> float:
        """A time of the far clock by this machine's."""
        return float(there) - self.clock_offset_s

    def _ended(self, job: _Job, header: Mapping[str, Any]) -> None:
        job.ended = True
        error_class, message = header.get("class"), str(header.get("message") or "")
        problem = job.outputs.close()
        if problem and error_class is None:
            error_class, message = "outputs", problem
        self._listener.ended(
            Ended(
                id=str(header["id"]),
                error_class=error_class,
                message=message,
                result=header.get("result"),
                run_s=float(header.get("run_s") or 0.0),
                started=self._here(header.get("started") or header["ended"]),
                ended=self._here(header["ended"]),
                left_out=tuple(job.outputs.left_out),
            )
        )

    def _drop(self, identifier: str) -> None:
        self._unsent.drop([identifier])
        job = self._jobs.pop(identifier, None)
        if job is not None:
            job.outputs.close()

    def _submitted(self, answer: dict[str, Any], _: bytes) -> None:
        for identifier in answer.get("accepted", ()):
            if identifier in self._jobs:
                self._jobs[identifier].known = True
                self._answer(self._jobs[identifier], "queued")
        for identifier, why in answer.get("refused", {}).items():
            self._refused(identifier, str(why))

    def _refused(self, identifier: str, why: str) -> None:
        job, now = self._jobs.get(identifier), time.time()
        if job is not None:
            job.ended = True
            self._answer(job, "refused")
            self._listener.ended(Ended(identifier, "precheck", why, None, 0.0, now, now))

    @staticmethod
    def _answer(job: _Job, state: str) -> None:
        if not job.answered.done():
            job.answered.set_result(state)

    def _adopt(self, identifiers: Sequence[str]) -> None:
        if not identifiers:
            return
        offsets = {identifier: self._jobs[identifier].outputs.offsets() for identifier in identifiers}
        self._line.send(self._requests.numbered({"op": "adopt", "jobs": offsets}, self._adopted))

    def _adopted(self, answer: dict[str, Any], _: bytes) -> None:
        for identifier, state in answer.get("states", {}).items():
            job = self._jobs.get(identifier)
            if job is not None:
                self._answer(job, str(state))
            if job is None or job.ended or state not in ("unknown", "settled"):
                continue
            if job.spec is not None and not job.started and state == "unknown":
                job.known = False  # accepted, and lost before it was on the disk
                self._unsent.add(identifier, job.size)
            else:
                self._listener.unknown(identifier)
