"""Writes files that count only under the hash of their content, and looks whether they are still what was written."""

import hashlib
import os
from pathlib import Path

# How a name ends that is still being written: it is not copied to the next attempt, nor from another machine.
BESIDE = "~"


def seen(path: Path) -> str | None:
    """Hash of a plain file; None for anything else that may have come from another machine."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(path: Path) -> str:
    """Hash a file, and have it on the disk before something names it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def put(path: Path, content: bytes) -> str:
    """Write beside and rename; the content's hash."""
    beside = path.with_name(f"{path.name}{BESIDE}")
    beside.write_bytes(content)
    sealed = seal(beside)
    beside.replace(path)
    return sealed
