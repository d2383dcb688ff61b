"""Removes what nobody needs any more of what was staged on a far machine, or left there by jobs that nobody fetches."""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import aside, specs, survey
from .connection import Connection
from .job_folder import write
from .jobs import Jobs
from .loop import Loop
from .store import Store

# Seconds of one turn that go into a cleaning, and paths that one process removes.
_TURN_S = 0.003
_AT_ONCE = 200

Answer = dict[str, Any]


@dataclass(frozen=True)
class _Wish:
    """What somebody has asked for.

    Attributes:
        unused_s: Seconds since the last use of what goes.
        limit_gb: GB that staged content may take; None is any number.
        jobs: Whether jobs go that ended so long ago, and whose owner is not there.
        dry: Whether all stays, and is only counted.
        answer: Called once.
    """

    unused_s: float
    limit_gb: float | None
    jobs: bool
    dry: bool
    answer: Callable[[Answer], None]


class Cleaning:
    """Does one cleaning after another.

    Args:
        jobs: The jobs: what they name stays.
        store: What is staged.
        code: The folder that this package lies in.
        loop: Where it is heard what may go.
        connections: All that are open: what was asked for over one of them stays, and so do its owner's jobs.
    """

    def __init__(
        self, jobs: Jobs, store: Store, code: str, loop: Loop, connections: Callable[[], Collection[Connection]]
    ) -> None:
        self._jobs = jobs
        self._records = jobs.records
        self._store = store
        self._code = code
        self._loop = loop
        self._connections = connections
        self._wishes: deque[_Wish] = deque()

    def ask(self, header: dict[str, Any], answer: Callable[[Answer], None]) -> None:
        """Clean as soon as nobody else does.

        Args:
            header: unused_s, limit_gb, jobs, dry.
            answer: Called once: `cleaned` with how many contents and jobs went, and their bytes; or an error.

        Raises:
            SpecError: It is not what it should be.
        """
        unused_s = specs.number(header, "unused_s")
        if unused_s is None:
            raise specs.SpecError("unused_s is missing")
        wish = _Wish(
            unused_s, specs.number(header, "limit_gb"), bool(header.get("jobs")), bool(header.get("dry")), answer
        )
        self._wishes.append(wish)
        if len(self._wishes) == 1:
            self._begin()

    def _begin(self) -> None:
        """Have a look at the disk; what jobs name that are added meanwhile is noted."""
        wish = self._wishes[0]
        self._records.noted = set()
        root = self._records.root
        question = {
            "unused_s": wish.unused_s,
            "limit_gb": wish.limit_gb,
            "given_up": self._given_up(wish.unused_s) if wish.jobs else [],
        }
        try:
            write(root / survey.QUESTION, json.dumps(question) + "\n")
            aside.hear(self._loop, self._code, survey.say, [str(root)], self._found)
        except OSError as error:
            self._end({"op": "error", "message": f"nobody can look what may go: {error}"})

    def _given_up(self, unused_s: float) -> list[str]:
        """Jobs that ended so long ago, and whose owner is not there."""
        owners = {connection.owner for connection in self._connections()}
        before = time.time() - unused_s
        return [
            job.id
            for job in self._jobs.all.values()
            if job.state == "ended" and job.end is not None and job.end.ended < before and job.owner not in owners
        ]

    def _found(self, said: str) -> None:
        try:
            found = json.loads(said)
        except ValueError:
            self._end({"op": "error", "message": "the process that looked what may go has died"})
            return
        self._go_on(self._clean(self._wishes[0], found))

    def _go_on(self, steps: Iterator[Answer | None]) -> None:
        """Do some of it, and the rest in later turns."""
        until = time.monotonic() + _TURN_S
        for answer in steps:
            if answer is not None:
                self._end(answer)
            elif time.monotonic() > until:
                self._loop.after(0.0, lambda: self._go_on(steps))
                return

    def _end(self, answer: Answer) -> None:
        self._records.noted = None
        self._wishes.popleft().answer(answer)
        if self._wishes:
            self._loop.after(0.0, self._begin)

    def _clean(self, wish: _Wish, found: dict[str, Any]) -> Iterator[Answer | None]:
        """Take away, one by one, what may still go: since the look it may have been asked for; last the answer."""
        gone = set(found["jobs"]).intersection(self._given_up(wish.unused_s) if wish.jobs else ())
        if not wish.dry:
            self._jobs.settle(gone)
        number = size = 0
        waiting: list[Path] = []
        for content in (survey.Content(*fields) for fields in found["contents"]):
            yield None
            if not gone.issuperset(content.holders) or not self._may_go(content):
                continue
            if not wish.dry:
                try:
                    waiting.append(self._store.discard(content.kind, content.sha))
                except OSError:
                    continue
            number, size = number + 1, size + content.bytes
            if len(waiting) == _AT_ONCE:
                _remove(waiting)
        if waiting:
            _remove(waiting)
        if not wish.dry:
            self._records.forget_environments({job.environment for job in self._jobs.all.values()})
        job_bytes = sum(found["jobs"][identifier] for identifier in gone)
        yield {"op": "cleaned", "contents": number, "content_bytes": size, "jobs": len(gone), "job_bytes": job_bytes}

    def _may_go(self, content: survey.Content) -> bool:
        noted = self._records.noted
        return (
            (noted is None or content.sha not in noted)
            and self._store.used_ns(content.kind, content.sha) == content.used_ns
            and not any(content.sha in connection.named for connection in self._connections())
        )


def _remove(paths: list[Path]) -> None:
    with contextlib.suppress(OSError):  # then the next supervisor does it when it starts
        aside.remove(paths)
    paths.clear()
