"""Remembers the hashes of files, the tars of trees too, so that what has not changed is not read again."""

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar, cast

from .errors import SubmititSshError

# Bytes that the folder may take; beyond it what has not been used for longest goes first.
LIMIT = 500_000_000
# Hashes of files by path; hashes of tars by the state of the files in them; tars by their hash.
_FOLDERS = _HASHES, _TREES, _TARS = "hashes", "trees", "tars"
# A file that was written this short a time ago may be written again without any of its times changing: the tick of a
# kernel's clock is at most 10 ms.
_TICK_NS = 20_000_000
# Times that a file which changes while it is read is read anew.
_READS = 3
# Ends the name of what is written beside its place, and the seconds after which it counts as left over.
_BESIDE = "~"
_LEFT_OVER_S = 3600.0
# A small file takes a block of the disk.
_BLOCK = 4096

T = TypeVar("T")
# What tells one state of a file from another: size, times of content and of metadata, inode. A copy that keeps the
# time of the content cannot keep the other.
Stamp = tuple[int, int, int, int]
# Names in a tar, with the state of the file behind each and whether it may be executed.
_States = dict[str, tuple[Stamp, bool]]


class ContentError(SubmititSshError, OSError):
    """Content that cannot be sent as it lies here; the message says why."""


def stamp(found: os.stat_result) -> Stamp:
    """The state of a file."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def hashed(path: Path, cache: Path) -> tuple[str, Stamp]:
    """Hash a file, unless it is known and has not changed since.

    Args:
        path: The file.
        cache: Folder of what is remembered.

    Returns:
        64 hexadecimal digits, and the state of the file that has this content.

    Raises:
        ContentError: It is no plain file, or is being written to.
        OSError: It cannot be read.
    """
    entry = cache / _HASHES / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()}.json"
    state = stamp(path.stat())
    known = _recall(entry)
    if known.get("stamp") == [*state]:
        return str(known["sha"]), state
    reading = _read(path, os.O_RDONLY, lambda stream: hashlib.file_digest(stream, "sha256").hexdigest())
    if not reading.steady:
        raise ContentError(f"{path} is being written to; try again when it is complete.")
    state = stamp(reading.found)
    if reading.settled:
        _remember(entry, {"stamp": state, "sha": reading.content})
    return reading.content, state


class Tar:
    """A tar that stays readable as long as this object lives, whatever happens to the cache.

    Args:
        sha: Its hash.
        size: Its bytes.
        names: What is in it.
        descriptor: The open file; closed with this object.
    """

    def __init__(self, sha: str, size: int, names: frozenset[str], descriptor: int) -> None:
        self.sha = sha
        self.size = size
        self.names = names
        self._descriptor = descriptor
        # Not at the end of the process: what is being sent then is still read.
        weakref.finalize(self, os.close, descriptor).atexit = False

    def open(self) -> BinaryIO:
        """Read it from its beginning, beside other readers."""
        return cast(BinaryIO, io.BufferedReader(_Reader(self), 1 << 18))

    def read_at(self, offset: int, size: int) -> bytes:
        """At most `size` of its bytes, from an offset."""
        return os.pread(self._descriptor, size, offset)


class _Reader(io.RawIOBase):
    """A place in a tar."""

    def __init__(self, tar: Tar) -> None:
        self._tar = tar
        self._offset = 0

    def readable(self) -> bool:
        """See RawIOBase."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See RawIOBase."""
        piece = self._tar.read_at(self._offset, len(buffer))
        buffer[: len(piece)] = piece
        self._offset += len(piece)
        return len(piece)


def packed(files: Mapping[str, Path], cache: Path) -> Tar:
    """Pack files, unless the very same ones have been packed before.

    The same names, content and executable bits make the same tar: sorted by name, without times and owners.

    Args:
        files: Where the content of each name in the tar lies; what is gone meanwhile, or is a link, is not packed.
        cache: Folder of what is remembered.

    Raises:
        OSError: A file cannot be read, or the cache cannot be written.
    """
    states: _States = {}
    for name, path in files.items():
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode):
                states[name] = stamp(found), _executable(found)
    known = _recall(cache / _TREES / f"{_key(states)}.json")
    if known:
        with contextlib.suppress(OSError):  # the cache has let it go
            return _kept(cache / _TARS / f"{known['sha']}.tar", known, frozenset(states))
    made, read, settled = _pack({name: files[name] for name in sorted(states)}, cache / _TARS)
    if settled:
        _remember(cache / _TREES / f"{_key(read)}.json", {"sha": made.sha, "size": made.size})
    _trim(cache, spared=f"{made.sha}.tar")
    return made


def clean(cache: Path, older_than_s: float) -> int:
    """Forget what has not been used for some time.

    Args:
        cache: Folder of what is remembered.
        older_than_s: Seconds since the last use.

    Returns:
        Bytes freed.
    """
    now = time.time()
    return sum(_remove(path, size) for used, size, path in _entries(cache) if now - used >= older_than_s)


def _trim(cache: Path, spared: str) -> None:
    total = 0
    for _, size, path in sorted(_entries(cache), reverse=True):
        total += size
        if total > LIMIT and path.name != spared:
            _remove(path, size)


def _entries(cache: Path) -> Iterator[tuple[float, int, Path]]:
    """The last use of each (seconds since the epoch), the bytes it takes, its path; nothing that is being written."""
    for folder in _FOLDERS:
        with contextlib.suppress(FileNotFoundError), os.scandir(cache / folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    if not entry.name.endswith(_BESIDE) or time.time() - found.st_mtime > _LEFT_OVER_S:
                        yield found.st_mtime, -(-found.st_size // _BLOCK) * _BLOCK, Path(entry.path)


def _remove(path: Path, size: int) -> int:
    with contextlib.suppress(OSError):
        path.unlink()
        return size
    return 0


def _recall(entry: Path) -> dict[str, Any]:
    """What an entry says, nothing where it is missing or damaged; its last use is now."""
    try:
        known = json.loads(entry.read_bytes())
        os.utime(entry)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(entry: Path, content: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # a cache that is full costs time alone
        descriptor, beside = _beside(entry.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        Path(beside).replace(entry)


def _beside(folder: Path) -> tuple[int, str]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return tempfile.mkstemp(suffix=_BESIDE, dir=folder)


def _key(states: _States) -> str:
    return hashlib.sha256(json.dumps(states, sort_keys=True).encode()).hexdigest()


def _kept(path: Path, known: Mapping[str, Any], names: frozenset[str]) -> Tar:
    descriptor = os.open(path, os.O_RDONLY)
    kept = Tar(str(known["sha"]), os.fstat(descriptor).st_size, names, descriptor)
    if kept.size != known["size"]:
        raise ContentError(f"{path} is damaged.")
    os.utime(path)
    return kept


def _pack(files: Mapping[str, Path], folder: Path) -> tuple[Tar, _States, bool]:
    """A new tar, the states in which its files were read, and whether these are sure to tell every later change."""
    states: _States = {}
    all_settled = True
    descriptor, beside = _beside(folder)
    try:
        with os.fdopen(descriptor, "w+b", closefd=False) as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
                for name, path in files.items():
                    try:
                        reading = _read(path, os.O_RDONLY | os.O_NOFOLLOW, lambda source: source.read())
                    except (FileNotFoundError, NotADirectoryError, ContentError):
                        continue  # it is gone, or is no plain file any more
                    states[name] = stamp(reading.found), _executable(reading.found)
                    member = tarfile.TarInfo(name)
                    member.size, member.mode = len(reading.content), 0o755 if states[name][1] else 0o644
                    archive.addfile(member, io.BytesIO(reading.content))
                    all_settled = all_settled and reading.settled
            stream.flush()
            os.fsync(descriptor)
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            sha = hashlib.file_digest(stream, "sha256").hexdigest()
        Path(beside).replace(folder / f"{sha}.tar")
    except BaseException:
        os.close(descriptor)
        Path(beside).unlink(missing_ok=True)
        raise
    return Tar(sha, size, frozenset(states), descriptor), states, all_settled


def _executable(found: os.stat_result) -> bool:
    return bool(found.st_mode & stat.S_IXUSR)


@dataclass(frozen=True)
class _Reading(Generic[T]):
    """What was made of a file's content, and the file's state after that.

    Attributes:
        steady: Whether the file stayed as it was meanwhile.
        settled: Whether, besides, any later change will show in its state.
    """

    content: T
    found: os.stat_result
    steady: bool
    settled: bool


def _read(path: Path, flags: int, make: Callable[[io.FileIO], T]) -> _Reading[T]:
    """Read a plain file; one that is written to meanwhile comes as it was at the last of several tries."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK)  # a pipe would wait for its writer
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ContentError(f"{path} is a link.") from None
        raise
    with os.fdopen(descriptor, "rb", buffering=0) as stream:  # what a buffer holds is not read anew
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ContentError(f"{path} is no plain file.")
        for _ in range(_READS):
            stream.seek(0)
            read_at, before = time.time_ns(), os.fstat(descriptor)
            content = make(stream)
            found = os.fstat(descriptor)
            steady = stamp(found) == stamp(before)
            if steady:
                break
    return _Reading(content, found, steady, steady and read_at - found.st_ctime_ns > _TICK_NS)
