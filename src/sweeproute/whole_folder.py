"""Writes files so that each, or a folder of them together, is there whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

# Lists what a folder was made of, so that it can be told from a person's own when it is made again.
CONTENTS = "contents.json"
# Lists beside files that were copied into a person's folder what each was, so that it can be told from their own.
COPIED = ".sweeproute.json"
# Files that a sentence names.
_NAMED = 5


class FolderError(Exception):
    """A folder that is not to be written over, or cannot be written."""


def replace_folder(
    folder: Path, files: Mapping[str, str], last: Callable[[Path], Mapping[str, str]] | None = None
) -> list[str]:
    """Make a folder beside where it goes, then put it there in place of the one that was made before.

    What somebody has put into the old folder goes along into the new one.

    Args:
        folder: Where it goes.
        files: Text by path, relative to it.
        last: Given the new folder with all else in it, more files; it may also write there itself.

    Returns:
        The names of what was made before, and not this time.

    Raises:
        FolderError: There is something that was not made by this, another process makes it just now, or it cannot be
            written, say for want of room; what was there is there still.
    """
    folder = folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            return _replace(folder, files, last)
    except OSError as error:
        raise _refusal(folder, error) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two that make it at once would clear away each other's; a lock file has no place among a person's own."""
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    lock = FileLock(Path(tempfile.gettempdir()) / f"sweeproute-{os.getuid()}-{name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FolderError(f"Another process makes {folder} just now; wait for it, or name another folder.") from None
    try:
        yield
    finally:
        lock.release()


def _replace(folder: Path, files: Mapping[str, str], last: Callable[[Path], Mapping[str, str]] | None) -> list[str]:
    made = _made(folder)
    _clear(folder)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.making-", dir=folder.parent))
    try:
        others = _files(folder) - made
        for name in others:
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / name, beside / name)
        _write(beside, files)
        if last is not None:
            _write(beside, last(beside))
        own = _files(beside) - (others - files.keys())
        _write(beside, {CONTENTS: json.dumps(sorted({*own, CONTENTS}), indent=1) + "\n"})
        beside.chmod(0o777 & ~_umask())
        if folder.exists():
            # Named for what it is, should this process die between the two.
            old = folder.with_name(f".{folder.name}.before")
            folder.rename(old)
            beside.rename(folder)
            shutil.rmtree(old)
        else:
            beside.rename(folder)
        return sorted(made - own - {CONTENTS})
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def add_file(folder: Path, name: str, text: str) -> None:
    """Add a file to a folder that `replace_folder` has made, or write it anew, whole or not at all.

    Args:
        folder: The folder.
        name: The file's path, relative to it.
        text: What it says.

    Raises:
        FolderError: It cannot be written.
    """
    try:
        made = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
        for path, content in (
            # Listed before it is there: it is never taken for a person's own.
            (folder / CONTENTS, json.dumps(sorted({*made, name}), indent=1) + "\n"),
            (folder / name, text),
        ):
            beside = path.with_name(f".{path.name}.{os.getpid()}~")
            try:
                beside.write_text(content, encoding="utf-8", newline="\n")
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
    except OSError as error:
        raise _refusal(folder, error) from error


def copy_files(files: Mapping[str, Path], into: Path) -> None:
    """Copy files into a folder of somebody else's, each whole or not at all, and touch nothing else there.

    What was copied is listed beside it, so that it is replaced the next time, while a file of the same name that
    somebody has written, or changed since, is not; one that is the same already is left as it is.

    Args:
        files: Where each is, by its name there.
        into: The folder; made when absent.

    Raises:
        FolderError: A file there is somebody's own, so that nothing was copied; another process copies just now; or
            it cannot be written.
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
        with _alone(into):
            _copy(files, into)
    except OSError as error:
        raise _refusal(into, error) from error


def _copy(files: Mapping[str, Path], into: Path) -> None:
    known = _copied(into)
    there = {name: _hash(into / name) for name in files}
    new = {name: hashlib.sha256(source.read_bytes()).hexdigest() for name, source in files.items()}
    # A link is somebody's own, whatever it leads to.
    ours = {name: () if (into / name).is_symlink() else known.get(name, ()) for name in files}
    own = [name for name, found in there.items() if found not in (None, new[name], *ours[name])]
    if own:
        more = f" and {len(own) - _NAMED} more" if len(own) > _NAMED else ""
        raise FolderError(
            f"{into} has {', '.join(own[:_NAMED])}{more}, which this command has not made, or which was changed since: "
            "it would be replaced, so that nothing was copied. Move it away, or name another folder."
        )
    for name in (*files, COPIED):
        # A process that died may have left it.
        _beside(into, name).unlink(missing_ok=True)
    # Listed before it is there: whoever comes after one that died knows what was as well as what was to be.
    _list(into, known | {name: sorted({new[name], there[name] or new[name]}) for name in files})
    for name, source in files.items():
        if there[name] != new[name]:
            beside = _beside(into, name)
            try:
                shutil.copyfile(source, beside)
                beside.replace(into / name)
            finally:
                beside.unlink(missing_ok=True)
    _list(into, known | {name: [new[name]] for name in files})


def _copied(into: Path) -> dict[str, list[str]]:
    """What was copied there, by its name: the hashes that it may have."""
    try:
        told = json.loads((into / COPIED).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): list(map(str, hashes)) for name, hashes in told.items()} if isinstance(told, dict) else {}


def _list(into: Path, copied: Mapping[str, list[str]]) -> None:
    beside = _beside(into, COPIED)
    try:
        beside.write_text(json.dumps(copied, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
        beside.replace(into / COPIED)
    finally:
        beside.unlink(missing_ok=True)


def _beside(into: Path, name: str) -> Path:
    return into / f".{name}.copying~"


def _hash(path: Path) -> str | None:
    """The hash of a file; None where there is nothing, and none of any file where it is something else."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return "no file" if os.path.lexists(path) else None


def _refusal(folder: Path, error: OSError) -> FolderError:
    why = error.strerror or str(error)
    return FolderError(f"{folder} cannot be written ({why}); make room, or name another folder.")


def _made(folder: Path) -> frozenset[str]:
    """What an earlier making has left there; refuses a folder that is somebody's own."""
    before = folder.with_name(f".{folder.name}.before")
    if not folder.exists() and before.is_dir():
        # A process died between the two renamings.
        before.rename(folder)
    if not folder.exists():
        return frozenset()
    try:
        return frozenset(json.loads((folder / CONTENTS).read_text(encoding="utf-8")))
    except FileNotFoundError:
        if folder.is_dir() and not any(folder.iterdir()):
            return frozenset()
    except (OSError, ValueError):
        pass
    raise FolderError(
        f"{folder} is there already, and was not made by this command: it would be replaced. Name another, or one that "
        "is not there yet."
    )


def _files(folder: Path) -> frozenset[str]:
    return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _clear(folder: Path) -> None:
    """Remove what an earlier process left that died."""
    for left in (*folder.parent.glob(f".{folder.name}.making-*"), folder.with_name(f".{folder.name}.before")):
        shutil.rmtree(left, ignore_errors=True)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
