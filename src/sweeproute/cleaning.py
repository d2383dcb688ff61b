"""Removes what old sweeps have left: what they wrote themselves, where nothing still needs it."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeproute import pointers
from sweeproute.pointers import Pointer
from sweeproute.progress import counted, is_running
from sweeproute.store import StoreError
from sweeproute.sweep_folder import OWN, SweepFolder, launch_record, own, sweep_record
from sweeproute.tracking_status import copies, saved_settings, saved_status, whole

# What a sweep writes into its folder beside its jobs' folders and our own.
_FILES = ("multirun.yaml", "plan.json", "platform_unavailable.yaml")


@dataclass(frozen=True)
class OldSweep:
    """A sweep that is old enough to be removed."""

    pointer: Pointer
    # Seconds since 1970.
    ended: float
    jobs: int
    # What would be removed: all that is the sweep's own.
    paths: tuple[Path, ...]
    bytes: int
    # Why it is kept all the same, as a clause that follows its name; None where it can be removed.
    kept: str | None


def old_sweeps(before: float, registered: Callable[[str], Iterable[str]]) -> list[OldSweep]:
    """Find the sweeps that ended before a time.

    Args:
        before: Seconds since 1970.
        registered: From the address of a tracking store to the ids of sweeps with a run that became a registered model;
            raises where the store cannot be asked.

    Returns:
        The oldest first.
    """
    found = []
    for pointer in pointers.pointers():
        record = sweep_record(pointer.folder)
        if record is None or record.get("id") != pointer.id:
            # Its folder is gone, or another sweep's: all that is left of it is the pointer.
            if pointer.started < before:
                found.append(OldSweep(pointer, pointer.started, 0, (), 0, None))
            continue
        ended = float(record.get("ended") or pointer.started)
        if ended >= before:
            continue
        kept = "is running" if is_running(pointer.folder, record) else _needed(pointer, registered)
        paths = tuple(_own_paths(pointer.folder))
        jobs = len(SweepFolder(pointer.folder).attempts())
        found.append(OldSweep(pointer, ended, jobs, paths, sum(map(size, paths)), kept))
    return sorted(found, key=lambda one: one.ended)


def remove(old: OldSweep) -> bool:
    """Remove what is a sweep's own, then its folder where nothing else lies in it, then the pointer to it.

    Args:
        old: A sweep that can be removed.

    Returns:
        Whether it was; not where somebody has begun to run it in the meantime.
    """
    from filelock import FileLock, Timeout

    folder = old.pointer.folder
    if old.paths:
        try:
            with FileLock(own(folder, "lock")).acquire(timeout=0):
                # Last what says that a sweep is here, so that a removal that was cut short can be done again.
                for path in sorted(old.paths, key=lambda path: path.name == OWN):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except Timeout:
            return False
        if not any(folder.iterdir()):
            folder.rmdir()
    (pointers.state_directory() / "sweeps" / f"{old.pointer.id}.json").unlink(missing_ok=True)
    return True


def old_caches(folder: Path, before: float) -> list[Path]:
    """The files of the cache that nobody has used since a time; all of them can be made, or fetched, again."""
    found = []
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            status = path.lstat()
            if max(status.st_mtime, status.st_atime) < before:
                found.append(path)
    return sorted(found)


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links count for themselves."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(Path(place, name).lstat().st_size for place, _, names in os.walk(path) for name in names)


def _own_paths(folder: Path) -> Iterator[Path]:
    """What a sweep has made in its folder, which may be anybody's: the folders of its jobs, and our own files."""
    root = folder.resolve()
    for path in (attempt.folder for attempt in SweepFolder(folder).attempts()):
        # Strictly below: `hydra.sweep.subdir` may name the folder itself, or one elsewhere.
        if path.is_dir() and not path.is_symlink() and root in path.resolve().parents:
            yield path
    yield from (folder / name for name in _FILES if (folder / name).is_file())
    yield folder / OWN


def _launches(folder: Path) -> Iterator[dict[str, Any]]:
    records = (launch_record(attempt.folder) for attempt in SweepFolder(folder).attempts())
    return (record for record in records if record is not None)


def _goes_on(launch: dict[str, Any]) -> bool:
    return launch.get("state") in ("RUNNING", "QUEUED")


def _needed(pointer: Pointer, registered: Callable[[str], Iterable[str]]) -> str | None:
    """Why a sweep has to stay, as a clause."""
    away = {launch["platform"] for launch in _launches(pointer.folder) if launch.get("far") and _goes_on(launch)}
    if away:
        return (
            f"has jobs on {', '.join(sorted(away))} that may still run (sweeproute resume {pointer.id} collects them)"
        )
    try:
        settings = saved_settings(pointer.folder)
        if settings is None:
            return None
        status = saved_status(pointer.folder)
        missing_here = len(SweepFolder(pointer.folder).attempts()) - status.total if pointer.on is not None else 0
        if missing_here > 0:
            return f"has {counted(missing_here)} not brought home yet (sweeproute sync {pointer.id})"
        if status.written < status.total:
            missing = status.total - status.written
            return f"has {missing} runs that are not written to MLflow yet (sweeproute sync {pointer.id})"
        for uri in (settings.uri, *(whole(pointer.folder, one) for one in copies(pointer.folder))):
            if pointer.id in registered(uri):
                return "has a run that became a registered model"
    except (LookupError, StoreError) as error:
        return f"may have a run that became a registered model: {error}"
    return None
