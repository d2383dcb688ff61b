"""Another machine in name only: an sshd on this one's loopback, with a home folder of its own and the same files."""

import getpass
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import psutil

import sshd
from processes import PATH, CommandError, Kept, until

# sshd ends when this shell's standard input does, thus with the test.
_KEEP = """
"$1" -D -f "$2" -E "$3" &
while read -r _; do :; done
kill $!
wait $!
"""


def missing() -> str:
    """Why there can be no loopback sshd here, as a sentence; empty where there can."""
    gone = next((name for name in ("sshd", "ssh", "ssh-keygen") if shutil.which(name, path=PATH) is None), None)
    return f"no {gone} here: apt-get install openssh-server openssh-client" if gone else ""


class Loopback:
    """An sshd on 127.0.0.1 that lets this user in, for what needs the files of both sides to be the same.

    Attributes:
        host: The name to give to ssh.
        ssh_config: The file that tells ssh where that is, with which key, and which host key is its.
        user: This user.
        home: What HOME is over there, an empty folder.
        python: This Python.
    """

    host = "loopback"
    python = sys.executable

    def __init__(self, folder: Path, port: int) -> None:
        self.user = getpass.getuser()
        self.home = folder / "home"
        self.home.mkdir()
        self.ssh_config = sshd.write_client_files(
            folder, host=self.host, address="127.0.0.1", port=port, user=self.user
        )
        shutil.copy(folder / "key.pub", folder / "authorized_keys")
        (folder / "config").write_text(
            sshd.server_config(
                address="127.0.0.1",
                port=port,
                folder=str(folder),
                pid_file=f"{folder}/pid",
                variables={"HOME": str(self.home)},
            )
        )

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Self]:
        """An sshd that listens; at the end it is gone, with all that it started.

        Raises:
            CommandError: It does not listen; ask `missing` first.
        """
        program = shutil.which("sshd", path=PATH)
        if program is None:
            raise CommandError(missing())
        if os.geteuid() == 0 and sys.platform == "linux":
            # Debian makes it when the service starts, which no container does.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="loopback-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            box = cls(folder, _free_port())
            log = folder / "log"
            kept = Kept(["sh", "-c", _KEEP, "sshd", program, str(folder / "config"), str(log)], log)
            stack.callback(box._end_all)
            stack.callback(kept.end)
            until((folder / "pid").exists, f"sshd on the loopback ({log})")
            yield box

    def _end_all(self) -> None:
        """Kill what was started here and outlived its connection, to be known by its home folder."""
        # Until none is found, since one that is killed may have started another that was not looked at.
        while ours := [process for process in psutil.process_iter() if self._is_here(process)]:
            for process in ours:
                with suppress(psutil.Error):
                    process.kill()

    def _is_here(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("HOME") == str(self.home)
        except psutil.Error:
            return False


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
