"""Keeps what is staged, by the hash of its content: files as they are, trees unpacked from a tar."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from . import aside, specs
from .job_folder import sync, write
from .loop import Loop

_KINDS = ("store", "trees")
# Where it is kept how large what was put is: written when all of it is on the disk.
_WHOLE = "whole"
# Bytes that the disk takes before anybody has waited.
_SMALL = 1 << 20


class StoreError(ValueError):
    """Content that is not taken; the message says why."""


class Upload:
    """Content that is coming in, in order.

    Args:
        path: Where it is kept meanwhile.
        size: Bytes that it has in all.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.have = 0
        self._hash = hashlib.sha256()
        self._file: IO[bytes] = path.open("wb")

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        self._file.write(data)
        self._hash.update(data)
        self.have += len(data)

    def close(self) -> str:
        """End it.

        Returns:
            The hash of what came.
        """
        self._file.close()
        return self._hash.hexdigest()

    def drop(self) -> None:
        """Forget it."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


class Store:
    """All staged content.

    Args:
        root: The folder in which everything is kept.
        code: The folder that this package lies in.
        loop: Where the end of an unpacking is heard.
    """

    def __init__(self, root: Path, code: str, loop: Loop) -> None:
        self._root = root
        self._code = code
        self._loop = loop
        self._count = itertools.count()

    def open(self) -> None:
        """Make the folders, and remove what was half done."""
        for kind in _KINDS:
            folder = self._root / kind
            folder.mkdir(mode=0o700, exist_ok=True)
            for left in folder.glob("*~"):
                _remove(left)
        (self._root / _WHOLE).mkdir(mode=0o700, exist_ok=True)
        for mark in (self._root / _WHOLE).iterdir():
            kind, _, sha = mark.name.partition("-")
            if not (self._root / kind / sha).exists():
                mark.unlink()

    def missing(self, kind: str, shas: list[str]) -> list[str]:
        """Which of these are not here; of those that are, the time of their last use is now."""
        gone = []
        for sha in shas:
            try:
                os.utime(self._path(kind, sha))
                there = self._is_whole(kind, sha)
            except OSError:
                there = False
            if not there:
                gone.append(sha)
        return gone

    def used_ns(self, kind: str, sha: str) -> int | None:
        """When content was used last, in nanoseconds since the epoch; None where it is not here."""
        try:
            return self._path(kind, sha).stat().st_mtime_ns
        except OSError:
            return None

    def discard(self, kind: str, sha: str) -> Path:
        """Take content out of its place, so that it is missing from now on.

        Returns:
            Where it lies until it is removed.

        Raises:
            OSError: It cannot be taken.
        """
        gone = self._path(kind, sha).rename(self._root / kind / f"{sha}.{next(self._count)}~")
        with contextlib.suppress(OSError):
            self._mark(kind, sha).unlink()
        return gone

    def put(
        self,
        uploads: dict[tuple[str, str], Upload],
        header: dict[str, Any],
        data: bytes,
        answer: Callable[[dict[str, Any]], None],
    ) -> None:
        """Take a piece of content, and answer, for the last piece when all is in its place.

        Args:
            uploads: What is coming in over this connection.
            header: kind, sha, offset and size.
            data: The piece.
            answer: Called once, with `have` or with an error.

        Raises:
            StoreError: It is not what it should be.
            OSError: There is no room.
        """
        kind, sha, offset, size = header["kind"], header["sha"], header["offset"], header["size"]
        path, key = self._path(kind, sha), (kind, sha)
        there = self._is_whole(kind, sha)
        if key in uploads and (there or offset == 0):
            uploads.pop(key).drop()
        if there:
            answer({"op": "stored", "sha": sha, "have": size})
            return
        if offset == 0:
            uploads[key] = Upload(path.with_name(f"{sha}.{next(self._count)}~"), size)
        upload = uploads.get(key)
        if upload is None or offset != upload.have or upload.have + len(data) > upload.size:
            raise StoreError(f"a piece of {sha} at {offset} was not due: begin again at 0")
        try:
            upload.add(data)
            if upload.have < upload.size:
                answer({"op": "stored", "sha": sha, "have": upload.have})
                return
            del uploads[key]
            if upload.close() != sha:
                raise StoreError(f"what came as {sha} has another hash: it was damaged, send it again")
            if kind == "trees":
                self._unpack(upload, sha, answer)
            elif size > _SMALL:
                self._sync(upload, sha, answer)
            else:
                sync(upload.path)
                answer(self._put_in_place(kind, sha, upload.path, size))
        except (OSError, StoreError):
            uploads.pop(key, None)
            upload.drop()
            raise

    def _path(self, kind: str, sha: str) -> Path:
        if kind not in _KINDS or not specs.is_sha(sha):
            raise StoreError(f"{kind!r:.80} {sha!r:.80} names nothing that can be staged")
        return self._root / kind / sha

    def _mark(self, kind: str, sha: str) -> Path:
        return self._root / _WHOLE / f"{kind}-{sha}"

    def _is_whole(self, kind: str, sha: str) -> bool:
        """Whether content is here as it was put: a power cut may have left less of what an older version kept."""
        path = self._path(kind, sha)
        try:
            size = int(self._mark(kind, sha).read_text(encoding="ascii"))
            return path.is_dir() if kind == "trees" else path.stat().st_size == size
        except (OSError, ValueError):
            return False

    def _sync(self, upload: Upload, sha: str, answer: Callable[[dict[str, Any]], None]) -> None:
        """Wait in another process until a large file is on the disk."""

        def heard(said: str) -> None:
            answer(self._put_in_place("store", sha, upload.path, upload.size, said))

        aside.hear(self._loop, self._code, sync_or_say, [str(upload.path)], heard)

    def _unpack(self, upload: Upload, sha: str, answer: Callable[[dict[str, Any]], None]) -> None:
        """Unpack in another process: a large tree takes longer than anybody may wait here."""
        beside = upload.path.with_name(f"{upload.path.name}.tree~")

        def heard(said: str) -> None:
            upload.drop()
            answer(self._put_in_place("trees", sha, beside, upload.size, said))

        aside.hear(self._loop, self._code, unpack_or_say, [str(upload.path), str(beside)], heard)

    def _put_in_place(self, kind: str, sha: str, beside: Path, size: int, said: str = "done") -> dict[str, Any]:
        """Answer for content that is all there, and, where it is `done`, on the disk."""
        path = self._path(kind, sha)
        if said != "done":
            _remove(beside)
            return {"op": "error", "message": said or f"the process that kept {sha} ended"}
        try:
            if self._is_whole(kind, sha):
                _remove(beside)  # another client was first, with the same
            else:
                if kind == "trees" and path.exists():
                    aside.remove([self.discard(kind, sha)])
                beside.rename(path)
                write(self._mark(kind, sha), f"{size}\n", durable=True)
        except OSError as error:
            _remove(beside)
            return {"op": "error", "message": str(error)}
        return {"op": "stored", "sha": sha, "have": size}


def sync_or_say(path: str) -> None:
    """Wait until a file is on the disk, and print `done` or what went wrong."""
    try:
        sync(path)
        sys.stdout.write("done")
    except OSError as error:
        sys.stdout.write(str(error))


def sync_tree(folder: Path) -> None:
    """Wait until all of a folder is on the disk.

    Raises:
        OSError: It cannot be.
    """
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # not every Python has it

        descriptor = os.open(folder, os.O_RDONLY)
        try:
            # One wait instead of one for each file.
            if ctypes.CDLL(None).syncfs(descriptor) == 0:
                return
        finally:
            os.close(descriptor)
    for place, _, files in os.walk(folder):
        for name in files:
            sync(Path(place, name))
        sync(place)


def unpack(tar: Path, folder: Path) -> None:
    """Unpack a tar of plain files and folders.

    Args:
        tar: Compressed or not.
        folder: Where to; must not exist.

    Raises:
        StoreError: It holds anything else, or a path that leads out of it.
    """
    folder.mkdir(mode=0o700)
    try:
        with tarfile.open(tar) as archive:
            for member in archive:
                name = member.name[2:] if member.name.startswith("./") else member.name
                if member.isdir() and name in ("", "."):
                    continue
                if not specs.is_inside(name):
                    raise StoreError(f"the tree holds {member.name!r:.200}, which leads out of it")
                if member.isdir():
                    (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
                    continue
                source = archive.extractfile(member) if member.isreg() else None
                if source is None:
                    raise StoreError(f"the tree holds {member.name!r:.200}, which is neither a file nor a folder")
                (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                (folder / name).chmod(0o700 if member.mode & 0o100 else 0o600)
    except tarfile.TarError as error:
        raise StoreError(f"the tree is no tar ({error})") from None


def unpack_or_say(tar: str, folder: str) -> None:
    """Unpack, and print `done` or what went wrong."""
    try:
        unpack(Path(tar), Path(folder))
        sync_tree(Path(folder))
        sys.stdout.write("done")
    except (OSError, StoreError) as error:
        sys.stdout.write(str(error))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
