"""Hashes the code of an app that has no hook for its identity."""

import contextlib
import hashlib
import os
import sys
from pathlib import Path

# Files that are read at most: a script in a home folder must not wait for all that lies there.
_MOST_FILES = 2000
# What marks a folder that is not the app's code: an environment, what runs have left behind.
_NOT_CODE = ("pyvenv.cfg", ".sweeproute", "multirun.yaml", ".hydra")


def default_identity(folder: Path | None = None) -> dict[str, str]:
    """What is known of an app's jobs without its help.

    Args:
        folder: The app's; the folder of the running script when None.

    Returns:
        code_hash: of every Python file below the folder, environments and results of runs left out.
    """
    folder = folder or Path(sys.argv[0]).resolve().parent
    digest = hashlib.sha256()
    read = 0
    for place, folders, files in os.walk(folder):
        if place != str(folder) and any(mark in files or mark in folders for mark in _NOT_CODE):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        for name in sorted(files):
            if name.endswith(".py") and read < _MOST_FILES:
                read += 1
                path = Path(place, name)
                with contextlib.suppress(OSError):  # a file that the app cannot read either
                    digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
        if read >= _MOST_FILES:
            break
    return {"code_hash": digest.hexdigest()}
