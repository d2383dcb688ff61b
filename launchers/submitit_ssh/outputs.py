"""Writes what a far job sends into its folder here, and nowhere else."""

import contextlib
import errno
import os
from collections.abc import Collection, Sequence
from pathlib import Path

# Parts of a path, and bytes of one, that a job's output may have.
_DEPTH = 16
_LENGTH = 240
_BESIDE = "~far"
# Of what is left out, how much is told.
_TOLD = 20
_NAME = 200
# What a disk says of a name that it does not take.
_NO_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


class Outputs:
    """The outputs of one job; whatever the far side sends, nothing outside the folder is touched, and no link is made.

    Args:
        folder: The job's folder; there already, and made by this side alone.
        limit_gb: GB in all.
        reserved: Names directly in the folder that belong to this side.
        live: Files that grow while the job runs; any other comes whole, and is renamed into place.
        kept: Folders from which what the far side has removed is removed here; nothing that does not fit into them is
            a problem of the job.

    Attributes:
        left_out: What has not come because this side does not take its name, a clause each; the job is as good
            without it.
    """

    def __init__(
        self,
        folder: Path,
        limit_gb: float,
        reserved: frozenset[str],
        live: Sequence[str] = (),
        kept: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._limit = int(limit_gb * 1e9)
        # Not every disk tells names by their case.
        self._reserved = {name.casefold(): name for name in reserved}
        self._live = frozenset(live)
        self._kept = frozenset(kept)
        self._sizes: dict[str, int] = {}
        self._open: dict[str, int] = {}
        # Where whole files are that have not come to their end.
        self._incomplete: set[Path] = set()
        self._problem = ""
        self._refused: dict[str, str] = {}

    @property
    def left_out(self) -> list[str]:
        """See the class."""
        told = [f"left out: {name} ({why})" for name, why in self._refused.items()]
        return [*told[:_TOLD], "left out: others"] if len(told) > _TOLD else told

    def resume(self) -> None:
        """Go on behind what is in the folder already."""
        for name in self._live:
            with contextlib.suppress(OSError):
                self._sizes[name] = (self._folder / name).stat().st_size

    def offsets(self) -> dict[str, int]:
        """Bytes that are here of each file that grows: a new connection begins behind them, and whole files anew."""
        for name in set(self._open) - self._live:
            self._shut(name)
        return {name: size for name, size in self._sizes.items() if name in self._live}

    def write(self, name: str, offset: int, data: bytes, last: bool) -> None:
        """Take a piece of a file.

        Args:
            name: Its path in the folder, as the far side says it.
            offset: Where the piece belongs.
            data: The piece.
            last: Whether the file is complete with it; a file that grows never is.
        """
        if self._problem:
            return
        refused = self._refuses(name)
        if refused:
            self._leave_out(name, refused)
            return
        first = name.partition("/")[0]
        ours = self._reserved.get(first.casefold())
        if ours is not None:
            if first != ours:
                self._leave_out(name, f"where case does not count that is {ours}, which belongs to this side")
            return
        kept = any(name.startswith(f"{folder}/") for folder in self._kept)
        if kept and offset and name not in self._open:
            return  # what follows of a file whose beginning did not fit
        if offset < 0 or offset + len(data) > self._limit - sum(
            size for other, size in self._sizes.items() if other != name
        ):
            self._cannot(name, kept, f"the job's outputs are larger than {self._limit / 1e9:g} GB together")
            return
        try:
            self._put(name, offset, data, last)
        except OSError as error:
            if error.errno in _NO_NAME and name not in self._open:
                self._leave_out(name, f"this disk does not take its name: {error.strerror}")
            else:
                self._cannot(name, kept, f"an output of the job could not be written here: {error}")

    def keep(self, folder: str, names: Collection[str]) -> None:
        """Remove from a folder what the far side does not have in it any more.

        Args:
            folder: One that is kept; of any other nothing is removed.
            names: Paths in it of what stays; all of it has come.
        """
        top = self._folder / folder
        if self._problem or folder not in self._kept or top.is_symlink():
            return
        stay = {f"{folder}/{name}" for name in names}
        for place, _, files in os.walk(top, topdown=False):
            for path in (Path(place, file) for file in files):
                name = path.relative_to(self._folder).as_posix()
                if name not in stay:
                    self._remove(path, name.removesuffix(_BESIDE))
            with contextlib.suppress(OSError):
                Path(place).rmdir()

    def close(self) -> str:
        """Let go of every file, and of what there is of a whole one that has not come to its end.

        Returns:
            What could not be written here, in a sentence without its full stop; empty where all is here that this
            side takes.
        """
        for name in list(self._open):
            self._shut(name)
        for beside in self._incomplete:
            with contextlib.suppress(OSError):
                beside.unlink()
        self._incomplete.clear()
        return self._problem

    def _put(self, name: str, offset: int, data: bytes, last: bool) -> None:
        path = self._folder / name
        target = path if name in self._live else path.with_name(path.name + _BESIDE)
        if name not in self._open:
            path.parent.mkdir(parents=True, exist_ok=True)
            if target is not path:
                self._incomplete.add(target)
            self._open[name] = os.open(target, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        end = offset + len(data)
        os.pwrite(self._open[name], data, offset)
        # What an earlier piece has taken is taken until the file is cut.
        self._sizes[name] = max(end, self._sizes.get(name, 0))
        if last and target is not path:
            os.ftruncate(self._open[name], end)
            self._sizes[name] = end
            self._shut(name)
            self._incomplete.discard(target)
            try:
                target.replace(path)
            except FileNotFoundError:
                # Another process that follows the job writes the same, and was first.
                if not path.exists():
                    raise

    def _leave_out(self, name: object, why: str) -> None:
        if len(self._refused) <= _TOLD:
            self._refused.setdefault(repr(name)[:_NAME], why)

    def _cannot(self, name: str, kept: bool, why: str) -> None:
        if kept:
            path = self._folder / name
            self._remove(path.with_name(path.name + _BESIDE), name)
        else:
            self._problem = why

    def _remove(self, path: Path, name: str) -> None:
        if name in self._open:
            self._shut(name)
        self._incomplete.discard(path)
        self._sizes.pop(name, None)
        with contextlib.suppress(OSError):
            path.unlink()

    def _shut(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.close(self._open.pop(name))

    @staticmethod
    def _refuses(name: object) -> str:
        """Why a path is none that this side takes, as a clause; empty where it is one."""
        if not isinstance(name, str):
            return "it is no path"
        parts = name.split("/")
        try:
            longest = max(len(os.fsencode(part)) for part in parts)
        except ValueError:
            return "it is no text"
        if any(part in ("", ".", "..") for part in parts):
            return "it leads out of the job's folder, or round about"
        if "\x00" in name or "\\" in name:
            return "it holds a backslash or a zero byte"
        if len(parts) > _DEPTH:
            return f"it has {len(parts)} parts, and {_DEPTH} are allowed"
        if longest > _LENGTH:
            return f"a part of it takes {longest} bytes, and {_LENGTH} are allowed"
        if name.casefold().endswith(_BESIDE):
            return f"a name that ends in {_BESIDE} is what has not come to its end"
        return ""
