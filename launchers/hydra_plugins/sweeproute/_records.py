"""The files that a sweep keeps beside its jobs, so that anything can die and be gone on with."""

import contextlib
import json
import os
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from platformdirs import user_cache_path, user_state_path

from ._errors import SettingsError, SweepBusyError

OURS = ".sweeproute"
LAUNCH = "launch.json"
# How far a job has come, as it left word itself: its next attempt finds it in its own folder.
CHECKPOINT = "checkpoint"
# States of a job that need not run again.
DONE = ("FINISHED", "PRUNED")
# How far a search is to go: under another word it is the same search still.
ENDS = ("hydra.sweeper.n_trials=", "hydra.sweeper.timeout_min=")
# What an earlier sweep in the same folder may have left in a job's folder.
STALE = (LAUNCH, "journal.jsonl", "progress.jsonl", "stop")


def state_dir() -> Path:
    """The user's state directory: pointers to sweeps, the history of durations."""
    return Path(os.environ.get("SWEEPROUTE_STATE") or user_state_path("sweeproute"))


def cache_dir() -> Path:
    """The user's cache directory: what can be made again."""
    return Path(os.environ.get("SWEEPROUTE_CACHE") or user_cache_path("sweeproute"))


def write_json(path: Path, content: Any) -> None:
    """Write beside and rename, so that a reader sees the old file or the new one, whole."""
    beside = path.with_name(f"{path.name}.{os.getpid()}~")
    beside.write_text(json.dumps(content), encoding="utf-8")
    beside.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a record; None where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return content if isinstance(content, dict) else None


def append_line(path: Path, content: Any) -> None:
    """Append one line in one write, which a kill leaves whole or absent."""
    line = json.dumps(content).encode() + b"\n"
    with path.open("a+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 1))
        if size and stream.read(1) != b"\n":
            line = b"\n" + line  # a machine that died can have cut a line, which must not take this one with it
        stream.write(line)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read an append-only log; a line that was cut by a crash is passed over."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for line in content.splitlines():
        with contextlib.suppress(json.JSONDecodeError, UnicodeDecodeError):
            yield json.loads(line)


def read_history(limit: int = 1_000_000) -> Iterator[dict[str, Any]]:
    """Read the newest durations.

    Args:
        limit: Bytes that are read; the history only grows.

    Yields:
        Lines of history.jsonl, oldest first.
    """
    path = state_dir() / "history.jsonl"
    with contextlib.suppress(FileNotFoundError), path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - limit))
        for line in stream.read().splitlines():
            with contextlib.suppress(json.JSONDecodeError, UnicodeDecodeError):
                yield json.loads(line)


class SweepFolder:
    """One sweep's folder, owned by one coordinator through a lock.

    Attributes:
        folder: Absolute path of the sweep's folder.
        record: What `sweep.json` holds.
        launches: The launch record of each job by its number: of the attempt that counts, else of the newest.
        away: Launch records of attempts that an earlier coordinator sent to a machine that works on without it.
        failed: Whether a job failed that has no launch record, since another launcher ran it.
    """

    def __init__(self, folder: Path, record: dict[str, Any], *, keep: bool = False) -> None:
        """Take the folder.

        Args:
            folder: The sweep's folder; made where it is missing.
            record: id, name, note, overrides, argv, metric, direction, total.
            keep: Go on with what the folder holds; otherwise its records start afresh.

        Raises:
            SweepBusyError: Another coordinator has it.
        """
        self.folder = folder.resolve()
        self.ours = self.folder / OURS
        self.ours.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.ours / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            owner = (read_json(self.ours / "sweep.json") or {}).get("pid", "unknown")
            raise SweepBusyError(
                f"The sweep in {self.folder} is being run by process {owner}. Wait for it or stop it, then try again."
            ) from None
        self.launches: dict[int, dict[str, Any]] = {}
        self.away: list[dict[str, Any]] = []
        self.failed = False
        self._attempts: dict[int, list[Path]] = {}
        self._owners: dict[Path, int] = {}
        if keep:
            self._read_launches()
        else:
            (self.ours / "jobs.jsonl").unlink(missing_ok=True)
        now = time.time()
        self.record = {
            **record,
            "cwd": str(Path.cwd()),
            "python": sys.executable,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "owner": f"{record['id']}@{uuid.uuid4().hex[:12]}",
            "started": now,
            "ended": None,
            "state": "RUNNING",
        }
        earlier = read_json(self.ours / "sweep.json") if keep else None
        if earlier:
            self.record |= {k: earlier[k] for k in ("id", "name", "note", "started", "owner") if k in earlier}
            self.record["argv"] = as_far_as(earlier.get("argv") or (), record.get("argv") or ())
        self.save()
        self._pointer = self._point()

    def _read_launches(self) -> None:
        for line in read_lines(self.ours / "jobs.jsonl"):
            self._note_attempt(line["job"], self.folder / line["folder"])
            launch = read_json(self.folder / line["folder"] / LAUNCH)
            if launch is None:
                continue
            if launch["state"] in ("QUEUED", "RUNNING") and launch.get("far"):
                self.away.append(launch | {"folder": line["folder"]})  # it outlives its coordinator
            elif launch["state"] == "RUNNING":  # its coordinator died, and with it the workers of this machine
                error = {"class": "lost", "type": "", "message": "the coordinator died", "traceback": ""}
                launch |= {"state": "KILLED", "ended_at": time.time(), "error": error}
                write_json(self.folder / line["folder"] / LAUNCH, launch)
            self._note_launch(launch, line["folder"])

    def lose(self, folder: Path, launch: Mapping[str, Any], why: str) -> None:
        """Record that nothing more is to be had of an attempt that was sent away.

        Args:
            folder: The attempt's.
            launch: Its launch record.
            why: In a sentence without its full stop.
        """
        error = {"class": "lost", "type": "", "message": why, "traceback": ""}
        lost = {**launch, "state": "LOST", "current": False, "ended_at": time.time(), "error": error}
        lost.pop("folder", None)
        self.record_job(folder, lost)

    def _note_launch(self, launch: dict[str, Any], folder: str) -> None:
        """Keep the newest attempt at a job, or the one that counts where there is one."""
        known = self.launches.get(launch["job"])
        if known is None or launch["current"] or not known["current"]:
            self.launches[launch["job"]] = launch | {"folder": folder}

    def _note_attempt(self, job: int, folder: Path) -> None:
        self._attempts.setdefault(job, []).append(folder)
        self._owners[folder] = job

    def _point(self) -> Path:
        folder = state_dir() / "sweeps"
        folder.mkdir(parents=True, exist_ok=True)
        kept = ("id", "name", "argv", "cwd", "python", "started", "overrides")
        pointer = {k: self.record.get(k) for k in kept} | {"folder": str(self.folder)}
        path = folder / f"{self.record['id']}.json"
        write_json(path, pointer)
        return path

    def save(self) -> None:
        """Write `sweep.json`."""
        write_json(self.ours / "sweep.json", self.record)

    def record_job(self, folder: Path, launch: dict[str, Any]) -> None:
        """Write an attempt's launch record; where it is the one that counts, no earlier one does any more."""
        if launch["current"]:
            for earlier in self._attempts[launch["job"]]:
                record = read_json(earlier / LAUNCH)
                if earlier != folder and record is not None and record["current"]:
                    write_json(earlier / LAUNCH, record | {"current": False})
        write_json(folder / LAUNCH, launch)
        self._note_launch(launch, os.path.relpath(folder, self.folder))

    def set_aside(self) -> None:
        """Let no result of an earlier start count any more."""
        for launch in self.launches.values():
            if launch["current"]:
                folder = self.folder / launch["folder"]
                kept = {key: value for key, value in launch.items() if key != "folder"}
                write_json(folder / LAUNCH, kept | {"current": False})
        self.launches.clear()

    def next_attempt(self, job: int) -> int:
        """The number of the next attempt at a job."""
        return len(self._attempts.get(job, ())) + 1

    def open_job(self, subfolder: str, job: int, attempt: int) -> Path:
        """Make the folder of one attempt at a job, and note it.

        Args:
            subfolder: What `hydra.sweep.subdir` resolved to.
            job: Job number.
            attempt: Counts from one; later attempts have folders of their own.

        Returns:
            The folder's absolute path.
        """
        folder = self.job_folder(subfolder, job, attempt)
        folder.mkdir(parents=True, exist_ok=True)
        for name in STALE:
            (folder / name).unlink(missing_ok=True)
        if folder in self._attempts.get(job, ()):
            return folder  # taken back from a queue before it began
        self._bring_checkpoint(job, folder)
        self.list_job(job, attempt, folder)
        return folder

    def job_folder(self, subfolder: str, job: int, attempt: int) -> Path:
        """Where the folder of an attempt is, or will be; see `open_job`."""
        folder = self.folder / (subfolder if attempt == 1 else f"{subfolder}.attempt{attempt}")
        if self._owners.get(folder, job) != job:
            # `hydra.sweep.subdir` names two jobs alike: each keeps its own records
            folder = folder.with_name(f"{folder.name}.job{job}")
        return folder

    def list_job(self, job: int, attempt: int, folder: Path) -> None:
        """Note an attempt's folder, for whoever follows the sweep; see `open_job`."""
        self._note_attempt(job, folder)
        relative = os.path.relpath(folder, self.folder)
        append_line(self.ours / "jobs.jsonl", {"job": job, "attempt": attempt, "folder": relative})

    def _bring_checkpoint(self, job: int, folder: Path) -> None:
        """Copy what the newest earlier attempt kept; one that cannot be copied costs time, and nothing else."""
        for earlier in reversed(self._attempts.get(job, [])):
            kept = earlier / CHECKPOINT
            if kept.is_dir() and earlier != folder:
                beside = folder / f"{CHECKPOINT}~"
                # Half written when its process died, and half come from over there.
                unfinished = shutil.ignore_patterns("*~", "*~far")
                with contextlib.suppress(OSError, shutil.Error):
                    shutil.rmtree(beside, ignore_errors=True)
                    shutil.copytree(kept, beside, symlinks=True, ignore=unfinished)
                    beside.replace(folder / CHECKPOINT)
                return

    @classmethod
    def open(cls, folder: str | Path, record: dict[str, Any], *, keep: bool = False) -> "SweepFolder":
        """Take the folder; see the constructor."""
        return cls(Path(folder), record, keep=keep)

    def __enter__(self) -> "SweepFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write how the sweep ended, then let go of the folder."""
        failed = self.failed or any(launch["state"] not in DONE for launch in self.launches.values())
        state = "KILLED" if kind is KeyboardInterrupt else "FAILED" if kind or failed else "FINISHED"
        self.record |= {"state": state, "ended": time.time()}
        if kind is not None and issubclass(kind, SettingsError) and not self._attempts:
            # Refused before any job: it must not stand before the sweep that a person wants to find or go on with.
            self._pointer.unlink(missing_ok=True)
        try:
            self.save()
        finally:
            self._lock.release()


def pointers() -> list[dict[str, Any]]:
    """Where sweeps are (id, name, argv, cwd, python, started, overrides, folder), the newest first."""
    found = [one for one in map(read_json, (state_dir() / "sweeps").glob("*.json")) if one]
    return sorted(found, key=lambda one: one.get("started") or 0, reverse=True)


def newest_unfinished(overrides: Sequence[str]) -> Path | None:
    """Find the newest sweep of the same overrides that can be gone on with.

    Args:
        overrides: Those of this command; `resume` and the folder are set aside.

    Returns:
        The folder of one that is unfinished, else of one that has finished and now is to go further; None where there
        is none.
    """
    wanted, ends = comparable(overrides), _ends(overrides)
    here = str(Path.cwd())
    further = None
    for pointer in pointers():
        before = pointer.get("overrides") or []
        if pointer.get("cwd") != here or comparable(before) != wanted:
            continue
        record = read_json(Path(pointer["folder"]) / OURS / "sweep.json")
        if record is None or record["id"] != pointer["id"]:
            continue
        if record["state"] != "FINISHED":
            return Path(pointer["folder"])
        # Minutes are counted anew by each start.
        if further is None and (ends != _ends(before) or any("timeout_min=" in word for word in ends)):
            further = Path(pointer["folder"])
    return further


def comparable(overrides: Sequence[str]) -> list[str]:
    """The overrides that make two commands the same sweep: all but where its folder is, and how far it is to go."""
    aside = (
        *("resume=", "hydra.sweeper.resume=", "reuse=", "hydra.sweeper.reuse=", "hydra.sweep.dir="),
        *ENDS,
    )
    return sorted(o for o in overrides if not o.lstrip("+").startswith(aside))


def says_how_far(word: str) -> bool:
    """Whether a word of a command says how far a search is to go."""
    return word.lstrip("+").startswith(ENDS)


def _ends(words: Sequence[str]) -> list[str]:
    """Those of a command's words that say how far a search is to go."""
    return sorted(word.lstrip("+") for word in words if says_how_far(word))


def as_far_as(earlier: Sequence[str], now: Sequence[str]) -> list[str]:
    """The command of an earlier start, to go as far as that of now."""
    return [word for word in earlier if not says_how_far(word)] + [word for word in now if says_how_far(word)]
