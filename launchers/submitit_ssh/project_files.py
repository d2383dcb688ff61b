"""Finds the files that a project's code consists of."""

import importlib.util
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

from .content_cache import ContentError

# Made from other files, or for this machine alone: never code, under whatever rules.
_NEVER = {
    *(".git", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints"),
    *(".tox", ".nox", "node_modules", "site-packages", ".DS_Store", ".sweeproute"),
}
# The same, of a folder with one of these in it: environments, caches, sweeps.
_NEVER_WITH = ("pyvenv.cfg", "conda-meta", "CACHEDIR.TAG", ".sweeproute")
# What runs leave behind; not where git tracks it, for then somebody has made it part of the project.
_RUNS = {"multirun", "outputs", "mlruns", "mlartifacts"}
_RUNS_WITH = ("multirun.yaml", ".hydra")
_OF_RUNS = re.compile(r"(multirun\.yaml|.*\.(db|db-[^.]*|sqlite[^.]*))\Z", re.DOTALL)
# Files of one project at most: whoever has more stands in a home folder, or among data.
MOST_FILES = 20_000
# Bytes of one part of a path on Linux; a Mac allows more.
_LONGEST = 255
_GIT_S = 60
_UNREADABLE = "cannot be read"


class _Rank(IntEnum):
    """How far something is from being code."""

    CODE = 0
    LEFT_BY_RUNS = 1
    NEVER = 2


class ProjectFiles:
    """Files below a folder, by the name that each has in a tree on another machine.

    Args:
        root: The folder; links in its path resolved.
        limit: Bytes that one file may have.
        standing: A folder below which somebody works: it and those above it are code, whatever lies in them.

    Attributes:
        files: Name relative to the root, with forward slashes, and where its content lies: elsewhere for a link.
        left_out: Names that somebody may miss, each with the reason.
    """

    def __init__(self, root: Path, limit: int, standing: Path | None = None) -> None:
        self.root = root
        self.files: dict[str, Path] = {}
        self.left_out: list[tuple[str, str]] = []
        self._limit = limit
        self._folders = {"": _Rank.CODE}
        self._real: dict[str, bool] = {}
        self._links: list[tuple[str, str]] = []
        if standing is not None and standing.is_relative_to(root):
            parts = standing.relative_to(root).parts
            self._folders |= dict.fromkeys(("/".join(parts[: n + 1]) for n in range(len(parts))), _Rank.CODE)

    def add_tracked(self) -> None:
        """Add what git tracks, changed or not, and what it neither tracks nor ignores; submodules as files.

        Raises:
            ContentError: git cannot say, or there is too much of it.
        """
        self._add_repository("")
        self._add_links()

    def add_all(self, deliberate: bool = False) -> None:
        """Add whatever lies there.

        Args:
            deliberate: Whether somebody put all of it there: then nothing counts as left behind by runs.

        Raises:
            ContentError: There is too much of it.
        """
        for name in self._walk(deliberate):
            self._add(name, tracked=deliberate)
        self._add_links()

    # ---- where names come from

    def _walk(self, tracked: bool) -> Iterator[str]:
        def unreadable(error: OSError) -> None:
            self._leave(os.path.relpath(error.filename, self.root), _UNREADABLE)

        for place, folders, files in os.walk(self.root, onerror=unreadable):
            parent = "" if place == str(self.root) else f"{Path(place).relative_to(self.root).as_posix()}/"
            links = [name for name in folders if Path(place, name).is_symlink()]
            folders[:] = [
                name for name in folders if name not in links and not self._drops(f"{parent}{name}/", tracked)
            ]
            yield from (f"{parent}{name}" for name in (*files, *links))

    def _add_repository(self, folder: str) -> None:
        """Add the files of a repository in this folder: "", or a name that ends with a slash."""
        for tracked, name in _git_files(self.root / folder):
            name = f"{folder}{name}"
            if name.endswith("/"):
                self._add_nested(name)
            elif self._add(name, tracked):
                inside = self.root / name
                if (inside / ".git").exists():
                    self._add_repository(f"{name}/")
                elif not any(inside.iterdir()):
                    self._leave(name, "a submodule that is not checked out")

    def _add_nested(self, name: str) -> None:
        """Add a repository that the one around it knows nothing of."""
        if self._drops(name, tracked=False):
            return
        if (self.root / name / ".git").is_file():
            self._leave(name, "a second working tree of a repository")
        else:
            self._add_repository(name)

    # ---- what becomes of them

    def _add(self, name: str, tracked: bool) -> bool:
        """Add a file, or leave it out; whether the name is a folder's instead."""
        if name in self.files or self._drops(name, tracked):
            return False
        path = self.root / name
        try:
            if not self._is_real(name.rpartition("/")[0]):
                return False  # behind a link: not there, for git
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode):
                return True
            if stat.S_ISLNK(found.st_mode):
                resolved = self._follow(name, path, tracked)
                if resolved is None:
                    return False
                path, found = resolved, resolved.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except PermissionError:
            self._leave(name, _UNREADABLE)
            return False
        reason = self._objection(name, path, found)
        if reason:
            self._leave(name, reason)
        else:
            self._take(name, path)
        return False

    def _objection(self, name: str, path: Path, found: os.stat_result) -> str:
        if not stat.S_ISREG(found.st_mode):
            return "not a plain file"
        if found.st_size > self._limit:
            return f"{found.st_size / 1e6:.4g} MB, where at most {self._limit / 1e6:.4g} MB are sent"
        if any(len(os.fsencode(part)) > _LONGEST for part in name.split("/")):
            return "its name is too long for Linux"
        return "" if os.access(path, os.R_OK) else _UNREADABLE

    def _take(self, name: str, path: Path) -> None:
        self.files[name] = path
        if len(self.files) > MOST_FILES:
            raise ContentError(
                f"{self.root} holds more than {MOST_FILES} files, too many for a project's code. "
                "Run from the project's own folder, or let git ignore what the code does not need."
            )

    def _leave(self, name: str, reason: str) -> None:
        name = name.removesuffix("/")
        self.left_out.append((name if name.isprintable() else ascii(name)[1:-1], reason))

    # ---- links

    def _is_real(self, folder: str) -> bool:
        """Whether no part of a folder's path is a link."""
        if folder not in self._real:
            path = self.root / folder
            self._real[folder] = os.path.realpath(path) == str(path)
        return self._real[folder]

    def _follow(self, name: str, path: Path, tracked: bool) -> Path | None:
        """The file that a link leads to; a link to a folder waits until all files are known."""
        target = Path(os.path.realpath(path))
        if not target.is_relative_to(self.root):
            self._leave(name, "a link that leads out of the project")
            return None
        inside = "" if target == self.root else target.relative_to(self.root).as_posix()
        if not target.exists():
            self._leave(name, "a link that leads nowhere")
        elif target.is_dir():
            self._links.append((name, inside))
        elif self._drops(inside, tracked):
            self._leave(name, "a link to what is not sent")
        else:
            return target
        return None

    def _add_links(self) -> None:
        """Add what lies behind links to folders; what links do not lead to is there once, so that no loop can be."""
        found = dict(self.files)
        for name, target in self._links:
            inside = {
                f"{name}{one[len(target) :]}": path for one, path in found.items() if one.startswith(f"{target}/")
            }
            if not target or name.startswith(f"{target}/"):
                self._leave(name, "a link to a folder that it lies in")
            elif not inside:
                self._leave(name, "a link to what is not sent")
            for one, path in inside.items():
                self._take(one, path)

    # ---- rules

    def _drops(self, name: str, tracked: bool) -> bool:
        """Whether rules leave out a file, or a folder whose name ends with a slash."""
        folder, _, leaf = name.rpartition("/")
        rank = _Rank.NEVER if leaf in _NEVER else _Rank.LEFT_BY_RUNS if _OF_RUNS.match(leaf) else _Rank.CODE
        rank = max(rank, self._rank(folder))
        return rank is _Rank.NEVER or (rank is _Rank.LEFT_BY_RUNS and not tracked)

    def _rank(self, folder: str) -> _Rank:
        if folder not in self._folders:
            self._folders[folder] = max(self._rank(folder.rpartition("/")[0]), self._own_rank(folder))
        return self._folders[folder]

    def _own_rank(self, folder: str) -> _Rank:
        leaf = folder.rpartition("/")[2]

        def holds(*names: str) -> bool:
            return any(os.path.lexists(f"{self.root}/{folder}/{name}") for name in names)

        if leaf in _NEVER or holds(*_NEVER_WITH):
            return _Rank.NEVER
        if leaf in _RUNS_WITH or holds(*_RUNS_WITH) or (leaf in _RUNS and not holds("__init__.py")):
            return _Rank.LEFT_BY_RUNS
        return _Rank.CODE


def project_root(start: Path) -> tuple[Path, bool]:
    """The folder of the project that a folder belongs to, links in its path resolved, and whether git can list it.

    The top level of its repository, unless that is a home folder, or there is none: then the folder itself.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / ".git").exists():
            if folder in (Path.home().resolve(), Path("/")):
                break
            return folder, shutil.which("git") is not None
    return start, False


def find_package(name: str) -> tuple[str, list[Path]]:
    """Where a package lies that can be imported here; it is not imported.

    Args:
        name: Dotted name of a package or module; of one in a package, that package is meant.

    Returns:
        The dotted name of the outermost package that is more than a namespace, and its folders, or its one file.

    Raises:
        ModuleNotFoundError: There is none, or it is no file.
    """
    parts = name.split(".")
    for n in range(len(parts)):
        outer = ".".join(parts[: n + 1])
        try:
            spec = importlib.util.find_spec(outer)
        except ValueError:  # what a running script has made up
            break
        if spec is None or spec.name != outer:  # __main__, as `python -m` runs it
            break
        if spec.submodule_search_locations is None or spec.origin is not None or outer == name:
            places = spec.submodule_search_locations or [str(spec.origin)]
            found = [Path(place).resolve() for place in places if Path(place).exists()]
            if found:
                return outer, found
            break
    raise ModuleNotFoundError(f"{name} is not a package of files here", name=name)


def _git_files(folder: Path) -> Iterator[tuple[bool, str]]:
    """Whether git tracks it, and the name, relative to the folder; a repository that it does not track ends with /."""
    # What a hook or a rebase has set is about another repository.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith("GIT_CONFIG")
    }
    try:
        done = subprocess.run(
            ["git", "ls-files", "-t", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=_GIT_S,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise ContentError(f"git has not listed the files of {folder} within {_GIT_S} s.") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise ContentError(
            f"git cannot list the files of {folder}: {said or f'exit code {error.returncode}'}."
        ) from None
    for entry in done.stdout.split(b"\0"):
        if entry:
            yield not entry.startswith(b"?"), os.fsdecode(entry[2:])
