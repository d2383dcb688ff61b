"""The files of one job, as its own process leaves them and others read them."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Bytes of a result that fit a frame.
RESULT_LIMIT = 3 << 20
# Seconds of a run from which on what it has left is on the disk before it counts: a power cut has a job run again that
# has just ended, and was shorter than that; to be sure of each would cost more than most of them take.
_SURE_S = 1.0
# Files of a job that are looked at after a power cut.
_FILES = 1000


@dataclass
class Run:
    """Who runs a job, as the job's own process has written it before any user code.

    Attributes:
        pid, start_time, boot_id: The process, for certain.
        slot: Number of the slot whose lock it holds.
        gpus: Indexes of the GPUs it may see.
        started: Seconds since the epoch.
        began: The same moment on the monotonic clock.
    """

    pid: int
    start_time: int
    boot_id: str
    slot: int
    gpus: list[int]
    started: float
    began: float


@dataclass
class End:
    """How a job has ended, its process being gone.

    Attributes:
        error_class: None where the process ended by itself and left a result.
        message: What is known of another end.
        code, signal: What the process ended with, where somebody could tell.
        ended: Seconds since the epoch.
        run_s: Seconds that it ran.
    """

    error_class: str | None
    message: str
    code: int | None
    signal: int | None
    ended: float
    run_s: float


def write(path: str | Path, text: str, *, durable: bool = False) -> None:
    """Write a file beside, and rename it: whoever reads it reads all of it.

    Args:
        path: The file.
        text: What is to stand in it.
        durable: Whether that outlives a power cut from now on; else one may leave it empty.
    """
    beside = f"{path}.{os.getpid()}~"
    try:
        _put(beside, text, durable)
        os.rename(beside, path)  # noqa: PTH104 -- each job's process does this, and pathlib is most of its time
        if durable:
            sync(os.path.dirname(path))  # noqa: PTH120 -- as above
    except OSError:
        with contextlib.suppress(OSError):
            Path(beside).unlink()
        raise


def sync(path: str | Path) -> None:
    """Wait until a file, or what a folder lists, is on the disk.

    Raises:
        OSError: It cannot be.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def claim(folder: str | Path, run: Run) -> bool:
    """Make a job one's own, for good; of all who try, one succeeds.

    Args:
        folder: The job's.
        run: Who runs it.

    Returns:
        Whether it is; not where somebody was first, or where the job has been taken back.
    """
    beside = f"{folder}/run.json.{os.getpid()}~"
    try:
        _put(beside, json.dumps(vars(run)) + "\n")
        os.link(beside, f"{folder}/run.json")
    except (FileExistsError, FileNotFoundError):
        return False
    finally:
        with contextlib.suppress(OSError):
            os.unlink(beside)  # noqa: PTH108 -- as above
    return True


def read_task(folder: str | Path) -> dict[str, Any]:
    """What a job is to do: its argument and its inputs.

    Raises:
        OSError: It cannot be read.
    """
    task: dict[str, Any] = json.loads(_get(f"{folder}/spec.json").partition(b"\n")[2])
    return task


def put_result(folder: str | Path, text: str, run_s: float, ended: float) -> None:
    """Leave what a job returned, with the sizes of its files; it counts once its process is gone.

    Args:
        folder: The job's.
        text: JSON.
        run_s: Seconds that it ran.
        ended: Seconds since the epoch.

    Raises:
        OSError: There is no room.
    """
    files, sure = _files(f"{folder}/out"), run_s >= _SURE_S
    if sure:
        for name in files:
            with contextlib.suppress(FileNotFoundError, PermissionError):
                sync(f"{folder}/out/{name}")
    kept = {"run_s": run_s, "ended": ended, "files": dict(list(files.items())[:_FILES])}
    write(f"{folder}/result.json", json.dumps(kept) + "\n" + text + "\n", durable=sure)


def put_failure(folder: str | Path, error_class: str, message: str) -> None:
    """Leave why a job has no result; on a full disk the exit code alone must do."""
    with contextlib.suppress(OSError):
        write(f"{folder}/failure.json", json.dumps({"class": error_class, "message": message}) + "\n")


def read_run(folder: str | Path) -> Run | None:
    """Who runs a job, or ran it; None where nobody has claimed it."""
    try:
        return Run(**json.loads(_get(f"{folder}/run.json")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        # A power cut may leave an empty file: somebody has run it, on an earlier boot.
        return Run(0, 0, "", 0, [], 0.0, 0.0)


def has_result(folder: str | Path) -> bool:
    """Whether a job has left what it returned."""
    return os.access(f"{folder}/result.json", os.F_OK)


def has_survived(folder: str | Path) -> bool:
    """Whether what a job has left is as it left it, though the machine's power was cut since."""
    try:
        first, rest, _ = _read_result(folder)
        files = json.loads(first).get("files", {})
        if len(rest) <= RESULT_LIMIT:
            json.loads(rest)
        # What has grown since, as its console does at the end of its process, is there.
        whole = rest.endswith(b"\n") or len(rest) > RESULT_LIMIT
        return whole and all(os.lstat(f"{folder}/out/{name}").st_size >= size for name, size in files.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def read_result(folder: str | Path) -> tuple[dict[str, Any], Any]:
    """When a job's `run` ended and how long it took, and what it returned.

    Raises:
        OSError, ValueError: There is none, or none that can be sent; the message says which.
    """
    first, rest, size = _read_result(folder)
    if len(rest) > RESULT_LIMIT:
        raise ValueError(
            f"what the job returned takes {size / 1e6:.1f} MB as JSON, and {RESULT_LIMIT / 1e6:.1f} MB can be "
            "sent: write it to a file in the output folder"
        )
    return json.loads(first), json.loads(rest)


def _read_result(folder: str | Path) -> tuple[bytes, bytes, int]:
    """What was noted of a job's end, what it returned, no more of it than shows that it is too large, and its bytes."""
    path = Path(folder, "result.json")
    with path.open("rb") as stream:
        first = stream.readline()
        return first, stream.read(RESULT_LIMIT + 1), path.stat().st_size - len(first)


def read_failure(folder: str | Path) -> dict[str, Any]:
    """What a job's process has said of its own failure: class and message; empty where it said nothing."""
    try:
        found = json.loads(_get(f"{folder}/failure.json"))
        return {"class": str(found["class"]), "message": str(found["message"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _files(folder: str) -> dict[str, int]:
    """Bytes of each file in a folder, by its path there."""
    found: dict[str, int] = {}
    ahead = [""]
    while ahead:
        within = ahead.pop()
        with contextlib.suppress(OSError), os.scandir(f"{folder}/{within}") as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    ahead.append(f"{within}{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    found[f"{within}{entry.name}"] = entry.stat(follow_symlinks=False).st_size
    return found


def _put(path: str, text: str, durable: bool = False) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        data = text.encode()
        while data:
            data = data[os.write(descriptor, data) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _get(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = b""
        while True:
            more = os.read(descriptor, 1 << 20)
            if not more:
                return data
            data += more
    finally:
        os.close(descriptor)
