"""Keeps the files of jobs on the far disk, from which the state of each can be told whoever died."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import aside, specs
from .job_folder import End, Run, has_result, has_survived, read_run, write
from .processes import alive, boot_id
from .survey import RECENT_S

# Ids that are remembered after their jobs are gone; trimmed when a supervisor starts.
_SPENT_KEPT = 100_000
# Bytes and files of a folder whose removal takes longer than anybody may wait.
_LARGE = 50_000_000
_MANY = 500
# Seconds of one turn that go into removing.
_TIDY_S = 0.003


@dataclass
class Job:
    """A job, without its argument: that stays on the disk."""

    id: str
    owner: str
    environment: str
    # What is below may be missing in what another version has kept.
    label: str = ""
    live: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    memory_gb: float = 0.0
    gpu_memory_gb: float = 0.0
    gpus: int = 0
    alone: bool = False
    timeout_s: float | None = None
    memory_limit_gb: float | None = None
    queued_at: float = 0.0
    # Order of arrival.
    number: int = 0
    # queued, starting (handed to a parent), running or ended.
    state: str = "queued"
    run: Run | None = None
    end: End | None = None
    # Of one that is starting, and of one that runs.
    slot: int | None = None
    gpu: list[int] = field(default_factory=list)
    # How often a parent died with it before it had started.
    tries: int = 0
    # Why its processes are being killed, the class and the message of its end, and seconds from SIGTERM to SIGKILL.
    ending: tuple[str, str, float] | None = None
    # What was below its process when it was killed, each with its start time.
    below: list[tuple[int, int]] = field(default_factory=list)
    # Nobody waits for its end.
    unwanted: bool = False
    # Measured last, in GB.
    memory_used_gb: float = 0.0
    # When it may be measured again, on the monotonic clock.
    measure_at: float = 0.0
    # Kills of the machine's memory killer when it started.
    kills_before: int = 0

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Job:
        """The job that its record tells of; what another version kept besides is left out."""
        return cls(**{name: value for name, value in fields.items() if name in _KEPT})

    def record(self) -> dict[str, Any]:
        """What its record keeps."""
        return {name: getattr(self, name) for name in _KEPT}


_FIELDS = [one.name for one in dataclasses.fields(Job)]
_KEPT = _FIELDS[: _FIELDS.index("state")]


class Records:
    """All jobs under one root.

    Args:
        root: The folder in which everything is kept.

    Attributes:
        noted: What jobs name that are added, while somebody looks for what none does; else None.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.noted: set[str] | None = None
        self.jobs = root / "jobs"
        self.environments = root / "environments"
        self.trash = root / "trash"
        self._spent_path = root / "settled.log"
        self._spent: set[str] = set()
        self._unsaved: list[str] = []
        self._gone: deque[Path] = deque()
        self._nobody = root / "nobody.json"
        self._number = 0
        self._last_environment: tuple[dict[str, Any], str] = ({}, "")
        # Keys of environments that have been seen to be whole.
        self._described: set[str] = set()

    def open(self) -> list[Job]:
        """Make what is missing, remove what was half done, and find the jobs.

        Returns:
            Those that are there, in the order of their queue, with their states told from their files.
        """
        for folder in (self.root, self.jobs, self.environments, self.trash, self.root / "slots"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in [*self.trash.iterdir(), *self.jobs.glob(".*"), *self.environments.glob("*~")]:
            shutil.rmtree(left, ignore_errors=True)
        write(self._nobody, json.dumps(vars(Run(0, 0, boot_id(), 0, [], 0.0, 0.0))) + "\n")
        self._read_spent()
        jobs = []
        for folder in self.jobs.iterdir():
            job = self._read(folder)
            if job is not None:
                jobs.append(job)
        jobs.sort(key=lambda job: (job.number, job.id))
        self._number = jobs[-1].number + 1 if jobs else 0
        self.forget_environments({job.environment for job in jobs})
        return reordered(jobs, self._order())

    def folder(self, identifier: str) -> Path:
        """Where a job's files are."""
        return self.jobs / identifier

    def spent(self, identifier: str) -> bool:
        """Whether this id has had its job: what comes under it again is a resend."""
        return identifier in self._spent

    def add(self, spec: dict[str, Any], at: float) -> Job:
        """Put a job on the disk.

        Args:
            spec: As `specs.check` gives it.
            at: Seconds since the epoch.

        Raises:
            OSError: There is no room.
        """
        job = Job.read(
            {
                **{key: value for key, value in spec.items() if key not in ("argument", "inputs", "environment")},
                "environment": self._keep_environment(spec["environment"]),
                "queued_at": at,
                "number": self._number,
            }
        )
        self._number += 1
        beside = self.jobs / f".{job.id}"
        try:
            beside.mkdir(mode=0o700)
            (beside / "out").mkdir(mode=0o700)
            task = {"argument": spec["argument"], "inputs": spec["inputs"]}
            text = json.dumps(job.record()) + "\n" + json.dumps(task) + "\n"
            if self.noted is not None:
                self.noted |= specs.shas(text) | specs.shas(json.dumps(spec["environment"]))
            (beside / "spec.json").write_text(text, encoding="utf-8")
            beside.rename(self.folder(job.id))
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        return job

    def withdraw(self, job: Job) -> bool:
        """Keep a queued job from ever starting; False where its process was first, and it runs."""
        folder = self.folder(job.id)
        try:
            os.link(self._nobody, folder / "run.json")  # claimed, with one call: thousands may be taken back at once
        except OSError:  # there already; or a full disk, where that its folder goes must do
            return read_run(folder) is None
        return True

    def spend(self, identifiers: list[str]) -> None:
        """Remember ids whose jobs need no more, and put their folders where `tidy` removes them."""
        new = [identifier for identifier in identifiers if identifier not in self._spent]
        self._spent.update(new)
        self._unsaved += new
        # On a full disk they are written with the next.
        with contextlib.suppress(OSError):
            with self._spent_path.open("a", encoding="utf-8") as stream:
                stream.write("".join(f"{identifier}\n" for identifier in self._unsaved))
            self._unsaved.clear()
        for identifier in identifiers:
            gone = self.trash / identifier
            with contextlib.suppress(OSError):
                self.folder(identifier).rename(gone)
                self._gone.append(gone)

    def tidy(self) -> bool:
        """Remove some of what is not needed, for a moment.

        Returns:
            Whether there is more.
        """
        until = time.monotonic() + _TIDY_S
        while self._gone and time.monotonic() < until:
            _remove(self._gone.popleft())
        return bool(self._gone)

    def forget_environments(self, used: set[str]) -> None:
        """Remove descriptions of environments that are not these, and in which no job has come lately."""
        before = time.time() - RECENT_S
        for path in self.environments.iterdir():
            if path.name.partition(".")[0] not in used:
                with contextlib.suppress(OSError):
                    described = path.with_suffix(".json")
                    if not described.exists() or described.stat().st_mtime < before:
                        path.unlink()

    def put_order(self, identifiers: list[str]) -> None:
        """Keep the order of the queue."""
        write(self.root / "order.json", json.dumps(identifiers) + "\n")

    def put_end(self, job: Job) -> None:
        """Keep how a job ended; one that left a result needs nothing but that."""
        if job.end is not None and job.end.error_class is not None:
            with contextlib.suppress(OSError):  # a full disk: it is told from the other files
                write(self.folder(job.id) / "end.json", json.dumps(vars(job.end)) + "\n")

    def state_of(self, job: Job) -> str:
        """Tell from its files whether a job is queued, running, or ended and how: "result", "lost" or "killed"."""
        run = read_run(self.folder(job.id))
        if run is None:
            return "queued"
        if alive(run.pid, run.start_time, run.boot_id):
            return "running"
        if run.boot_id != boot_id():
            return "result" if has_survived(self.folder(job.id)) else "lost"
        return "result" if has_result(self.folder(job.id)) else "killed"

    def _read(self, folder: Path) -> Job | None:
        if not specs.is_id(folder.name):
            return None
        if folder.name in self._spent:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        try:
            first, _, task = (folder / "spec.json").read_text(encoding="utf-8").partition("\n")
            job = Job.read(json.loads(first))
            job.run = read_run(folder)
            if job.run is None:
                json.loads(task)
                self._check_environment(job.environment)
        except (OSError, ValueError, TypeError):
            shutil.rmtree(folder, ignore_errors=True)  # a power cut took it: the near side knows it, and is told so
            return None
        with contextlib.suppress(OSError, ValueError, TypeError):
            job.end = End(**json.loads((folder / "end.json").read_text(encoding="utf-8")))
            job.state = "ended"
            if job.run is not None and job.run.pid == 0:
                job.run = None  # it was withdrawn
        return job

    def _keep_environment(self, environment: dict[str, Any]) -> str:
        known, key = self._last_environment
        if environment != known:
            key = _key(_text(environment))
        path = self.environments / f"{key}.json"
        try:
            self._check_environment(key)
            os.utime(path)  # the time of its last use
        except (FileNotFoundError, ValueError):
            write(path, _text(environment) + "\n", durable=True)
        self._last_environment = (environment, key)
        return key

    def _check_environment(self, key: str) -> None:
        """See once that an environment is described as it was.

        Raises:
            FileNotFoundError: It is not.
            ValueError: A power cut took what stood there.
        """
        if key not in self._described:
            if _key((self.environments / f"{key}.json").read_text(encoding="utf-8")[:-1]) != key:
                raise ValueError(f"environment {key} is damaged")
            self._described.add(key)

    def _order(self) -> list[str]:
        try:
            found = json.loads((self.root / "order.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []

    def _read_spent(self) -> None:
        try:
            lines = self._spent_path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return
        # What a death cut in two is no id any more, and must not be joined by the next.
        kept = [line for line in lines if specs.is_id(line)][-_SPENT_KEPT:]
        if lines != [*kept, ""]:
            write(self._spent_path, "".join(f"{line}\n" for line in kept))
        self._spent = set(kept)


def _text(environment: dict[str, Any]) -> str:
    return json.dumps(environment, sort_keys=True)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _remove(folder: Path) -> None:
    """Remove a job's folder, in another process where that may take long."""
    if _takes_long(folder):
        aside.remove([folder])
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _takes_long(folder: Path) -> bool:
    size = count = 0
    ahead = [str(folder)]
    while ahead and size < _LARGE and count < _MANY:
        with contextlib.suppress(OSError), os.scandir(ahead.pop()) as entries:
            for entry in entries:
                count += 1
                if entry.is_dir(follow_symlinks=False):
                    ahead.append(entry.path)
                else:
                    size += entry.stat(follow_symlinks=False).st_size
    return size >= _LARGE or count >= _MANY


def reordered(jobs: list[Job], identifiers: list[str]) -> list[Job]:
    """The same jobs, those that are named in the order of their names, at the places that they held together.

    Args:
        jobs: In their order until now.
        identifiers: Ids, also of jobs that are not among them.
    """
    rank = {identifier: place for place, identifier in enumerate(identifiers)}
    named = iter(sorted((job for job in jobs if job.id in rank), key=lambda job: rank[job.id]))
    return [next(named) if job.id in rank else job for job in jobs]
