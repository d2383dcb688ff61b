"""Runs a PostgreSQL server of a test's own, which listens on a socket in its folder and nowhere else."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Debian keeps its servers off the path, a folder for each version.
_FOLDERS = [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
_PATH = os.pathsep.join([*_FOLDERS, os.environ.get("PATH", "")])


def or_skip() -> None:
    """Skip the test that asks where there is no PostgreSQL; fail it where the machine is said to have one."""
    gone = [name for name in ("initdb", "pg_ctl") if shutil.which(name, path=_PATH) is None]
    if gone and os.environ.get("SWEEPROUTE_EXPECT_POSTGRES") == "1":
        pytest.fail(f"SWEEPROUTE_EXPECT_POSTGRES=1, and there is no {' and no '.join(gone)}")
    if gone:
        pytest.skip(f"PostgreSQL is not here: there is no {' and no '.join(gone)}")


@contextmanager
def server() -> Iterator[str]:
    """Start a server whose one database is empty.

    Returns:
        Its address, as a tracking URI.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    # It refuses to run as root.
    other: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
    if other:
        shutil.chown(folder, "postgres")

    def run(command: str, *words: str) -> None:
        path = shutil.which(command, path=_PATH)
        with (folder.parent / f"{folder.name}.log").open("ab") as log:
            done = subprocess.run([path, "-D", str(folder / "data"), *words], stdout=log, stderr=log, cwd="/", **other)
        assert done.returncode == 0, (folder.parent / f"{folder.name}.log").read_text()

    try:
        run("initdb", "--auth=trust", "--username=sweeproute", "--no-sync", "--encoding=UTF8")
        run("pg_ctl", "start", "--wait", "-o", f"-c listen_addresses='' -k {folder} -F")
        try:
            yield f"postgresql://sweeproute@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", "--mode=immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        (folder.parent / f"{folder.name}.log").unlink(missing_ok=True)
