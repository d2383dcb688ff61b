"""Answers what a near side asks."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import endings, processes, resources, specs, stopping
from .cleaning import Cleaning
from .connection import Connection
from .frames import CHUNK, PROTOCOL
from .jobs import GRACE_S, Jobs
from .records import Job
from .store import Store

Answer = dict[str, Any]
# Characters of a reason that are kept.
_REASON = 500


class Requests:
    """What can be asked; a mistake in a request is answered, and harms nothing.

    Args:
        jobs: The jobs.
        store: What is staged.
        cleaning: What removes what nobody needs.
        code: The folder that this package lies in.
        follow: Called with a connection and a job that it has named: from now on it hears of it.
    """

    def __init__(
        self,
        jobs: Jobs,
        store: Store,
        cleaning: Cleaning,
        code: str,
        follow: Callable[[Connection, Job], None],
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._cleaning = cleaning
        self._code = code
        self._follow = follow
        self._answers: dict[str, Callable[[Connection, dict[str, Any]], Answer]] = {
            "hello": self._hello,
            "ping": self._ping,
            "missing": self._missing,
            "submit": self._submit,
            "adopt": self._adopt,
            "recall": self._recall,
            "order": self._order,
            "cancel": self._cancel,
            "signal": self._signal,
            "stop": self._stop,
            "settle": self._settle,
            "slots": self._slots,
            "status": self._status,
        }

    def answer(self, connection: Connection, header: dict[str, Any], payload: bytes) -> None:
        """Answer one request, now or when what it asks for is done."""
        n = header.get("n")

        def say(answer: Answer, raw: bytes = b"") -> None:
            connection.send({**answer, "re": n}, raw)

        op = header.get("op")
        try:
            if op == "put":
                self._store.put(connection.uploads, header, payload, say)
                connection.named.add(header["sha"])
            elif op == "clean":
                self._cleaning.ask(header, say)
            elif op == "read":
                say(*self._read(header))
            elif op in self._answers:
                say({"op": op, **self._answers[op](connection, header)})
            else:
                say({"op": "error", "message": f"there is no request {op!r:.40} in protocol {PROTOCOL}"})
        except OSError as error:
            free = resources.disk_free_gb(self._jobs.records.root)
            say({"op": "error", "message": f"{error} ({free:.3f} GB are free in {self._jobs.records.root})"})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            say({"op": "error", "message": f"{op} was not understood: {type(error).__name__}: {error}"})

    def _hello(self, *_: Any) -> Answer:
        return {
            "protocol": PROTOCOL,
            "root": str(self._jobs.records.root),
            "boot_id": processes.boot_id(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "time": time.time(),
            "python": platform.python_version(),
            "bin": self._code,
        }

    def _ping(self, *_: Any) -> Answer:
        return {"op": "pong", "load": self._load()}

    def _load(self) -> dict[str, Any]:
        now = time.monotonic()
        jobs = self._jobs
        running = [job for job in jobs.active.values() if job.run is not None]
        return {
            **resources.load(jobs.records.root),
            "gpus": jobs.gpus.said({job.run.pid for job in running if job.run is not None}),
            "slots": jobs.slots.count,
            "paused": jobs.slots.paused,
            "running": [
                {
                    "id": job.id,
                    "owner": job.owner,
                    "slot": job.slot,
                    "gpu": job.gpu,
                    "pid": job.run.pid,
                    "run_s": round(now - job.run.began, 3),
                    "memory_gb": round(job.memory_used_gb, 3),
                }
                for job in running
                if job.run is not None
            ],
            "queued": len(jobs.queue),
            "waits": jobs.waits,
        }

    def _missing(self, connection: Connection, header: dict[str, Any]) -> Answer:
        asked = {kind: header.get(kind) or [] for kind in ("store", "trees")}
        gone = {kind: self._store.missing(kind, shas) for kind, shas in asked.items()}
        connection.named.update(*asked.values())
        return gone

    def _submit(self, connection: Connection, header: dict[str, Any]) -> Answer:
        accepted, refused = [], {}
        for said in header["jobs"]:
            try:
                spec = specs.check(said)
                self._jobs.add({**spec, "owner": connection.owner})
            except specs.SpecError as error:
                refused[str(said.get("id") if isinstance(said, dict) else said)] = str(error)
                continue
            except OSError as error:
                root = self._jobs.records.root
                free = resources.disk_free_gb(root)
                refused[spec["id"]] = f"its folder cannot be made in {root}, where {free:.3f} GB are free: {error}"
                continue
            accepted.append(spec["id"])
            job = self._jobs.all.get(spec["id"])
            if job is not None:
                if job.id not in connection.offsets:
                    connection.follow(job.id, {})
                self._follow(connection, job)
        return {"op": "submitted", "accepted": accepted, "refused": refused}

    def _adopt(self, connection: Connection, header: dict[str, Any]) -> Answer:
        states = {}
        for identifier, offsets in header["jobs"].items():
            states[identifier] = self._jobs.state(identifier)
            job = self._jobs.all.get(identifier)
            if job is not None and states[identifier] != "settled":
                job.owner = connection.owner
                connection.follow(identifier, {str(name): int(at) for name, at in offsets.items()})
                self._follow(connection, job)
        return {"op": "adopted", "states": states}

    def _recall(self, _: Connection, header: dict[str, Any]) -> Answer:
        return {"op": "recalled", **self._jobs.recall(_ids(header))}

    def _order(self, _: Connection, header: dict[str, Any]) -> Answer:
        self._jobs.order(_ids(header))
        return {"op": "ordered"}

    def _cancel(self, _: Connection, header: dict[str, Any]) -> Answer:
        grace_s = header.get("grace_s")
        self._jobs.cancel(_ids(header), GRACE_S if grace_s is None else float(grace_s))
        return {"op": "cancelled"}

    def _signal(self, _: Connection, header: dict[str, Any]) -> Answer:
        endings.send(self._jobs.all.get(header["id"]), header["signal"])
        return {"op": "signalled"}

    def _stop(self, _: Connection, header: dict[str, Any]) -> Answer:
        grace_s = specs.number(header, "grace_s")
        reason = " ".join(str(header["reason"]).split())[:_REASON] or "told to stop"
        self._jobs.stop(_ids(header), reason, stopping.GRACE_S if grace_s is None else grace_s)
        return {"op": "stopped"}

    def _settle(self, connection: Connection, header: dict[str, Any]) -> Answer:
        identifiers = _ids(header)
        for identifier in identifiers:
            connection.forget(identifier)
        self._jobs.settle(identifiers)
        return {"op": "settled"}

    def _slots(self, _: Connection, header: dict[str, Any]) -> Answer:
        self._jobs.slots.set(header.get("slots"), header.get("paused"), header.get("for_s"))
        return {"slots": self._jobs.slots.count, "paused": self._jobs.slots.paused}

    def _status(self, *_: Any) -> Answer:
        now = time.monotonic()
        jobs = [
            {
                "id": job.id,
                "owner": job.owner,
                "label": job.label,
                "state": self._jobs.state(job.id),
                "slot": job.slot,
                "started": job.run.started if job.run else None,
                "run_s": job.end.run_s if job.end else now - job.run.began if job.run else 0.0,
                "queued_at": job.queued_at,
            }
            for job in self._jobs.all.values()
        ]
        return {"jobs": jobs, "load": self._load()}

    def _read(self, header: dict[str, Any]) -> tuple[Answer, bytes]:
        identifier, name, offset = header["id"], header["path"], header["offset"]
        if not specs.is_id(identifier) or not specs.is_inside(name):
            raise ValueError(f"{name!r:.200} is no path in a job's folder")
        out = Path(os.path.realpath(self._jobs.records.folder(identifier) / "out"))
        path = Path(os.path.realpath(out / name))
        if out not in path.parents or not path.is_file():
            raise ValueError(f"job {identifier} has no file {name!r:.200} here")
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(offset)
            return {"op": "read", "size": size}, stream.read(CHUNK)


def _ids(header: dict[str, Any]) -> list[str]:
    identifiers: list[str] = header["ids"]
    if not all(specs.is_id(one) for one in identifiers):
        raise ValueError("a job's id is 32 hexadecimal digits")
    return identifiers
