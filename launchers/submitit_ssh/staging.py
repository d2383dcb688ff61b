"""Names what a far machine needs by the hash of its content: files, bytes, the tree of a project's code."""

import hashlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from .content_cache import ContentError, Tar, clean, hashed, packed, stamp
from .project_files import ProjectFiles, find_package, project_root

__all__ = ["Code", "ContentError", "Staged", "blob", "clean", "file"]

# Where packages from outside of the project lie in its tree; longer by underscores where the project has that name.
_PACKAGES = "packages"
# Modules that are compiled for one kind of machine.
_COMPILED = (".so", ".pyd", ".dylib")


@dataclass(frozen=True)
class Staged:
    """Content that can be sent.

    Attributes:
        sha: Its SHA-256, 64 hexadecimal digits.
        kind: Whether it is kept there as it is (store), or is a tar that is unpacked there (trees).
        size: Bytes.
        open: Reads it from its beginning, as often as it is called.
    """

    sha: str
    kind: Literal["store", "trees"]
    size: int
    open: Callable[[], BinaryIO] = field(compare=False, repr=False)


def file(path: Path, cache: Path) -> Staged:
    """A file as it is now.

    Args:
        path: The file.
        cache: Folder of what is remembered: a file that has not changed is not read again.

    Returns:
        Its content; to open it raises a ContentError once the file has changed.

    Raises:
        ContentError: It is no plain file, or is being written to.
        OSError: It cannot be read.
    """
    path = path.absolute()
    sha, state = hashed(path, cache)

    def reopen() -> BinaryIO:
        stream = path.open("rb")
        if stamp(os.fstat(stream.fileno())) != state:
            stream.close()
            raise ContentError(f"{path} has changed since the jobs that need it were made; start them again.")
        return stream

    return Staged(sha, "store", state[0], reopen)


def blob(content: bytes) -> Staged:
    """Bytes that lie in memory."""
    return Staged(hashlib.sha256(content).hexdigest(), "store", len(content), lambda: io.BytesIO(content))


class Code:
    """The code of a project as one tree; says where a path here is to be found there.

    Args:
        tree: What travels.
        layout: Which folder here is which in the tree.
        packages: Name of the folder for packages in the tree.
        left_out: What does not travel.

    Attributes:
        sha: Hash of the tree.
        size: Bytes of the tree.
        files: How many files travel.
        left_out: What does not travel though somebody may miss it, each with the reason.
    """

    def __init__(self, tree: Tar, layout: "_Layout", packages: str, left_out: list[tuple[str, str]]) -> None:
        self.sha = tree.sha
        self.size = tree.size
        self.files = len(tree.names)
        self.left_out = left_out
        self._tree = tree
        self._layout = layout
        self._packages = packages
        # As they are now: a library that adds to the path later must not make a new environment of it.
        self._cwd = Path.cwd()
        self._path = _search_path()

    @classmethod
    def collect(cls, start: Path | None, packages: Sequence[str] = (), limit_mb: float = 20, *, cache: Path) -> "Code":
        """Find the code that jobs need, and pack it.

        Args:
            start: A folder of the project; None for the packages alone.
            packages: Dotted names of packages that have to be importable there, wherever they lie here; those that
                the project itself makes importable are not sent twice.
            limit_mb: MB that one file may have.
            cache: Folder of what is remembered: what has not changed is not packed again.

        Raises:
            ContentError: There are too many files, or git cannot list them.
            OSError: The cache cannot be written.
        """
        limit = int(limit_mb * 1e6)
        layout = _Layout()
        left_out = []
        if start is not None:
            project = _project(start, limit)
            layout.add("", project)
            left_out += project.left_out
        folder = _PACKAGES
        while layout.has(folder):
            folder += "_"
        entries = [layout.name(entry) for entry in _search_path()]
        for package in packages:
            left_out += _add_package(package, layout, folder, entries, limit)
        tree = packed(layout.files, cache)
        layout.keep(tree.names)
        return cls(tree, layout, folder, left_out)

    def staged(self) -> Staged:
        """The tree, as it can be sent."""
        return Staged(self.sha, "trees", self.size, self._tree.open)

    def far_path(self, near: Path, far_root: str) -> str | None:
        """Where a file or folder of the project, or of a package that was staged with it, lies on the far machine.

        Args:
            near: An absolute path here.
            far_root: The far side's root folder.

        Returns:
            None where it does not travel.
        """
        name = self._layout.name(near)
        return None if name is None else self._there(name, far_root)

    def sys_path(self, far_root: str) -> list[str]:
        """Where Python finds modules on the far machine, besides what is installed there.

        Args:
            far_root: The far side's root folder.

        Returns:
            This process's entries that travel, in their order, the script's folder among them; the packages last.
        """
        found = [self._layout.name(entry) for entry in self._path]
        names = [name for name in found if name is not None and name.split("/")[0] != self._packages]
        if self._layout.has(self._packages):
            names.append(self._packages)
        return [self._there(name, far_root) for name in dict.fromkeys(names)]

    def cwd(self, far_root: str) -> str:
        """This process's working directory on the far machine; the tree's top where it does not travel."""
        return self.far_path(self._cwd, far_root) or self._there("", far_root)

    def _there(self, name: str, far_root: str) -> str:
        return f"{far_root}/trees/{self.sha}/{name}".removesuffix("/")


class _Layout:
    """Which file or folder here is which in a tree.

    Attributes:
        files: Names in the tree, and where the content of each lies.
    """

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self._folders = {""}
        self._places: list[tuple[Path, str]] = []

    def add(self, name: str, found: ProjectFiles) -> None:
        """Put the files of a folder here into one of the tree; "" is its top."""
        self.put({_joined(name, one): path for one, path in found.files.items()})
        self._places.append((found.root, name))

    def put(self, files: Mapping[str, Path]) -> None:
        """Put files into the tree, where it has none of their names."""
        self.files = {**files, **self.files}
        self.keep(self.files)

    def keep(self, names: Iterable[str]) -> None:
        """Say which names the tree has in the end."""
        self.files = {name: self.files[name] for name in names}
        self._folders = {""}
        for folder in {name.rpartition("/")[0] for name in self.files}:
            while folder not in self._folders:
                self._folders.add(folder)
                folder = folder.rpartition("/")[0]

    def has(self, name: str) -> bool:
        """Whether the tree has a file or a folder of this name."""
        return name in self.files or name in self._folders

    def name(self, near: Path) -> str | None:
        """What a file or folder here is called in the tree; None where it is not in it."""
        if not near.is_absolute():
            return None
        for path in (Path(os.path.normpath(near)), Path(os.path.realpath(near))):
            for place, prefix in self._places:
                if path.is_relative_to(place):
                    name = _joined(prefix, *path.relative_to(place).parts)
                    if self.has(name):
                        return name
        return None


def _joined(*parts: str) -> str:
    return "/".join(filter(None, parts))


def _project(start: Path, limit: int) -> ProjectFiles:
    root, listed = project_root(start)
    project = ProjectFiles(root, limit, standing=Path(os.path.realpath(start)))
    if listed:
        project.add_tracked()
    else:
        project.add_all()
    return project


def _add_package(
    package: str, layout: _Layout, folder: str, entries: Sequence[str | None], limit: int
) -> list[tuple[str, str]]:
    """Put a package into a folder of the tree, unless it can be imported from one of these entries.

    Returns:
        What of it is left out, with the reasons.
    """
    try:
        outer, places = find_package(package)
    except ModuleNotFoundError as error:
        return [(package, error.msg)]
    name = outer.replace(".", "/") + (places[0].suffix if places[0].is_file() else "")
    if layout.name(places[0]) in {_joined(entry, name) for entry in entries if entry is not None}:
        return []
    if places[0].is_file():
        layout.put({_joined(folder, name): places[0]})
        return []
    left_out: list[tuple[str, str]] = []
    for place in places:
        found = ProjectFiles(place, limit)
        found.add_all(deliberate=True)
        if any(one.endswith(_COMPILED) for one in found.files):
            return [(package, "has modules that are compiled for this machine")]
        layout.add(_joined(folder, name), found)
        left_out += [(f"{package}: {one}", reason) for one, reason in found.left_out]
    return left_out


def _search_path() -> list[Path]:
    """Where this process finds modules, the folder of its script too; "" is the working directory."""
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None) if getattr(main, "__spec__", None) is None else None
    found = [Path(entry).absolute() for entry in sys.path]
    if script is not None and Path(script).absolute().parent not in found:
        found.insert(0, Path(script).absolute().parent)
    return found
