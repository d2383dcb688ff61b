"""Makes frames of the files in a job's output folder."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from pathlib import Path

from .frames import CHUNK, FrameError, encode

# A version of a file: when it was written (ns), its inode, its bytes.
Stamp = tuple[int, int, int]
# How a name ends, of a file or a folder, under which something is written beside its place.
_BESIDE = "~"


def growth(identifier: str, out: Path, live: Iterable[str], offsets: dict[str, int]) -> Iterator[bytes]:
    """Frames with what has been appended to the files that grow.

    Args:
        identifier: The job's id.
        out: Its output folder.
        live: Files that grow.
        offsets: Bytes of each that the other side has; updated.
    """
    for name in live:
        at = offsets.get(name, 0)
        for piece, _ in _pieces(out / name, at):
            if piece:
                header = {"op": "output", "id": identifier, "path": name, "offset": at, "last": False}
                at += len(piece)
                offsets[name] = at
                yield encode(header, piece)


def whole(identifier: str, out: Path, live: Iterable[str], folders: Iterable[str]) -> Iterator[bytes]:
    """Frames with every file that does not grow and is not kept; links and what is no file are left out.

    Args:
        identifier: The job's id.
        out: Its output folder.
        live: Files that grow.
        folders: Folders that are kept.
    """
    skipped, within = set(live), tuple(f"{folder}/" for folder in folders)
    for path in _files(str(out)):
        name = path[len(str(out)) + 1 :]
        if name not in skipped and not name.startswith(within):
            at = 0
            for piece, last in _pieces(Path(path), 0):
                yield encode({"op": "output", "id": identifier, "path": name, "offset": at, "last": last}, piece)
                at += len(piece)


def changed(out: Path, folders: Iterable[str], has: Mapping[str, Stamp]) -> bool:
    """Whether folders that are kept hold anything else than the other side has.

    Args:
        out: The job's output folder.
        folders: Folders in it.
        has: Versions of files that the other side has, by path in the output folder.
    """
    return _stamps(out, folders) != has


def kept(identifier: str, out: Path, folders: Collection[str], has: dict[str, Stamp]) -> Iterator[bytes]:
    """Frames that make folders of the other side what they are here: files first, then what is to stay.

    A file comes as one version, or does not come to its last frame: then the other side keeps what it had, and removes
    nothing. A job that changes several files is safe when each version, once it is in its place, agrees with those
    that were put in place before: they come in that order.

    Args:
        identifier: The job's id.
        out: Its output folder.
        folders: Folders in it.
        has: Versions of files that the other side has, by path in the output folder; updated.
    """
    found = _stamps(out, folders)
    complete = True
    for name, stamp in found.items():
        if has.get(name) != stamp:
            if (yield from _version(identifier, out, name, stamp)):
                has[name] = stamp
            else:
                complete = False
    if not complete:
        return
    for folder in folders:
        names = [name[len(folder) + 1 :] for name in found if name.startswith(f"{folder}/")]
        with contextlib.suppress(FrameError):  # names for megabytes: what is too much over there is left
            yield encode({"op": "kept", "id": identifier, "path": folder, "names": names})
    for name in has.keys() - found.keys():
        del has[name]


def _version(identifier: str, out: Path, name: str, stamp: Stamp) -> Generator[bytes, None, bool]:
    """Frames with one version of a file, though it be replaced meanwhile; whether it came to its last."""
    descriptor = _open(out / name)
    if descriptor is None:
        return False
    try:
        at = 0
        for piece, last in _read(descriptor, 0):
            if _stamp(os.fstat(descriptor)) != stamp:
                return False  # a later one stands there, or this one is written over
            yield encode({"op": "output", "id": identifier, "path": name, "offset": at, "last": last}, piece)
            at += len(piece)
            if last:
                return True
        return False
    finally:
        os.close(descriptor)


def _stamps(out: Path, folders: Iterable[str]) -> dict[str, Stamp]:
    """Versions of the files in folders, by path in the output folder, in the order in which they were written."""
    found = {}
    for folder in folders:
        parts = folder.split("/")
        if any(out.joinpath(*parts[: count + 1]).is_symlink() for count in range(len(parts))):
            continue
        for path in _files(str(out / folder)):
            name = path[len(str(out)) + 1 :]
            if not any(part.endswith(_BESIDE) for part in name.split("/")):
                with contextlib.suppress(OSError):
                    found[name] = _stamp(os.lstat(path))
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_mtime_ns, found.st_ino, found.st_size


def _files(folder: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif entry.is_file(follow_symlinks=False):
            yield entry.path


def _pieces(path: Path, offset: int) -> Iterator[tuple[bytes, bool]]:
    """Pieces of a file from an offset on, and whether each is the last; one that is empty where there is nothing."""
    descriptor = _open(path)
    if descriptor is not None:
        try:
            yield from _read(descriptor, offset)
        finally:
            os.close(descriptor)


def _open(path: Path) -> int | None:
    """A descriptor of a plain file; None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def _read(descriptor: int, offset: int) -> Iterator[tuple[bytes, bool]]:
    """As `_pieces`; ends early where the disk does not give more."""
    with contextlib.suppress(OSError):
        piece = os.pread(descriptor, CHUNK, offset)
        while True:
            offset += len(piece)
            following = os.pread(descriptor, CHUNK, offset) if len(piece) == CHUNK else b""
            yield piece, not following
            if not following:
                return
            piece = following
