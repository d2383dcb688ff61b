"""Lays on the test workstation's disk what is there before its first boot, and says what it must not see."""

import importlib.metadata
import os
import shutil
import stat
import sys
import sysconfig
import tempfile
from pathlib import Path

import sshd

PYTHON = "/opt/environment/bin/python"
SSHD_FOLDER = "/etc/ssh/workstation"
PID_FILE = "/run/sshd.pid"
# Folders in site-packages that several distributions share.
_SHARED = ("hydra_plugins",)


def install(disk: Path, near: Path, address: str) -> None:
    """Lay out an empty disk.

    Args:
        disk: The disk; `upper` becomes the root's changes, `hidden` what is missing in its site-packages.
        near: Folder of the keys.
        address: Where sshd will listen.
    """
    upper = disk / "upper"
    ssh = upper / SSHD_FOLDER[1:]
    ssh.mkdir(parents=True)
    for name in ("host_key", "host_key.pub"):
        shutil.copy(near / name, ssh)
    shutil.copy(near / "key.pub", ssh / "authorized_keys")
    (ssh / "config").write_text(sshd_config(address, {}))
    (upper / "etc/hostname").write_text("workstation\n")
    (upper / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 workstation\n")

    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    binaries = f"{'/opt/python' if python_prefix() else sys.base_prefix}/bin"
    (upper / "opt/python").mkdir(parents=True)
    python = upper / PYTHON[1:]
    python.parent.mkdir(parents=True)
    python.symlink_to(f"{binaries}/{version}")
    environment = python.parent.parent
    (environment / "lib" / version / "site-packages").mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text(f"home = {binaries}\ninclude-system-site-packages = false\n")
    for name in _own_files():
        whiteout = disk / "hidden" / name
        whiteout.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(whiteout, stat.S_IFCHR)


def sshd_config(address: str, variables: dict[str, str]) -> str:
    """What the far sshd reads.

    Args:
        address: Where it listens.
        variables: Environment of what it starts.
    """
    return sshd.server_config(address=address, port=22, folder=SSHD_FOLDER, pid_file=PID_FILE, variables=variables)


def python_prefix() -> str:
    """Where this Python itself lies, if not where every machine has one; else empty."""
    return "" if Path(sys.base_prefix).is_relative_to("/usr") else sys.base_prefix


def site_packages() -> str:
    """Where the packages of this Python's environment lie."""
    return sysconfig.get_path("purelib")


def hidden_folders() -> list[str]:
    """What the far side must not see: homes, temporary files, the project, its state, its Python, other packages."""
    wanted = ["/root", "/home", "/tmp", "/var/tmp", tempfile.gettempdir(), Path.home(), Path(__file__).parents[1]]
    wanted += [sys.prefix, sys.base_prefix]
    wanted += [value for name in ("SWEEPROUTE_STATE", "SWEEPROUTE_CACHE") if (value := os.environ.get(name))]
    own = {path for path in (Path(str(name)).resolve() for name in wanted) if not path.is_relative_to("/usr")}
    packages = [*Path("/usr/local/lib").glob("python3*/dist-packages"), Path("/usr/lib/python3/dist-packages")]
    return [str(path) for path in [*sorted(path for path in own if not own & set(path.parents)), *packages]]


def _own_files() -> set[str]:
    """What the project's installation put into site-packages, each by the topmost name that is its alone."""
    try:
        files = importlib.metadata.distribution("sweeproute").files or []
    except importlib.metadata.PackageNotFoundError:
        return set()
    own = {file.parts[: 2 if file.parts[0] in _SHARED else 1] for file in files}
    return {"/".join(parts) for parts in own if parts[0] not in ("..", "__pycache__")}
