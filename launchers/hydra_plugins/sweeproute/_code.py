"""Says which code a sweep runs: its hash where the app has no hook for it, and the commit that it comes from."""

import contextlib
import hashlib
import os
import subprocess
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


def origin() -> dict[str, str]:
    """The commit of the working directory, as environment variables for a machine that has no repository.

    Returns:
        SWEEPROUTE_GIT_COMMIT and SWEEPROUTE_GIT_DIRTY (true, false); empty outside a repository.
    """

    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        commit, changed = ask("rev-parse", "HEAD"), ask("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"SWEEPROUTE_GIT_COMMIT": commit, "SWEEPROUTE_GIT_DIRTY": str(bool(changed)).lower()}
