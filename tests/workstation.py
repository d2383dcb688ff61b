"""Another machine on this machine: sshd, an account, a disk and processes of its own behind a line that can fail."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import psutil

import sshd
import workstation_disk as disk
from processes import PATH, CommandError, Kept, do, until
from workstation_line import Line

_HERE = Path(__file__).parent
_PACKAGES = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
    "nft": "nftables",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "pivot_root": "util-linux",
    "useradd": "passwd",
    "cc": "gcc libc6-dev",
}
# What a machine of namespaces is made of, tried on nothing.
_TRIAL = """
mount -t tmpfs trial /mnt && cd /mnt && mkdir upper work root &&
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work trial root &&
ip link add type veth && nft list ruleset
"""
_HOME_BYTES = 512 * 2**20
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@functools.cache
def missing() -> str:
    """Why there can be no workstation here, as a sentence; empty where there can."""
    if sys.platform != "linux":
        return "the test workstation is made of Linux namespaces"
    if os.geteuid() != 0:
        return "the test workstation needs root"
    for program, package in _PACKAGES.items():
        if shutil.which(program, path=PATH) is None:
            return f"no {program} here: apt-get install {package}"
    try:
        do("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "bash", "-c", _TRIAL)
    except CommandError as error:
        return f"no namespaces for a test workstation here: {error}"
    return ""


class Workstation:
    """A machine with another host name, disk, network and processes; nothing of it outlives this process.

    Attributes:
        host: The name to give to ssh.
        ssh_config: The file that tells ssh where that is, with which key, and which host key is its.
        user: The account on the far side.
        home: Its home folder over there, a disk of 512 MB of its own.
        python: A far Python that has what this one has installed, but for the project itself.
        bare_python: The system's far Python, with nothing installed.
    """

    host = "workstation"
    user = "me"
    home = "/home/me"
    python = disk.PYTHON
    bare_python = "/usr/bin/python3"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "log"
        self._machine: Kept | None = None
        mount = folder / "disk"
        mount.mkdir()
        self._mount = str(mount)
        self._line = Line(mount, self._log)
        self.near_link, self.far_link = self._line.near_link, self._line.far_link
        self.black_hole, self.loss = self._line.black_hole, self._line.loss
        self.ssh_config = sshd.write_client_files(
            folder, host=self.host, address=self._line.far_address, port=22, user=self.user
        )
        disk.install(self._line.disk, folder, self._line.far_address)
        self.free_disk()

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Self]:
        """A machine that is up, and that is gone at the end.

        Raises:
            CommandError: It could not be made; ask `missing` first.
        """
        _remove_leftovers()
        with ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix=f"workstation-{os.getpid()}-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            box = cls(folder)
            stack.callback(box._end)
            box.power_on()
            yield box

    def slow_config(self, ms: int) -> Path:
        """Another file for ssh, by which every round trip takes longer; as much passes in a second as before.

        Args:
            ms: What a round trip takes in addition, in milliseconds.
        """
        path = self._folder / f"ssh_config_{ms}"
        command = f"  ProxyCommand {sys.executable} -E -s -S {_HERE / 'slow_line.py'} %h %p {ms}\n"
        path.write_text(self.ssh_config.read_text() + command)
        return path

    def run(self, command: str, user: str = user) -> subprocess.CompletedProcess[str]:
        """Run a shell command in there without ssh.

        Args:
            command: For bash, in the home folder.
            user: Who runs it; `root` may, too.

        Returns:
            The process that ended, with its output as text.
        """
        home = self.home if user == self.user else "/root"
        words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        words += ["env", "--ignore-environment", f"--chdir={home}", f"HOME={home}", f"USER={user}", f"PATH={_PATH}"]
        return subprocess.run(
            [*self._inside(), *words, "bash", "-c", command],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def path(self, far: str) -> Path:
        """A file over there as this process can open it; a link on the way would lead to this machine's files."""
        return Path(f"/proc/{self._init()}/root{far}")

    def processes(self) -> list[tuple[int, str]]:
        """What runs over there besides the system's own: process id over there, command line."""
        found = []
        for process in self._all():
            with suppress(psutil.NoSuchProcess, OSError):
                if not process.name().startswith("sshd"):
                    found.append((_far_pid(process), " ".join(process.cmdline()) or f"[{process.name()}]"))
        return sorted(found)

    def start_sshd(self) -> None:
        """Let sshd listen; nothing changes where it does."""
        if self._listener() is None:
            self.path(disk.PID_FILE).unlink(missing_ok=True)
            do(*self._inside(), "/usr/sbin/sshd", "-f", f"{disk.SSHD_FOLDER}/config", "-E", "/var/log/sshd.log")
            until(lambda: self.path(disk.PID_FILE).exists(), "sshd")

    def kill_sshd(self) -> None:
        """Kill sshd and every connection: those end, new ones are refused."""
        self._kill_listener()
        self.kill_connections()

    def kill_connections(self) -> None:
        """Kill what sshd started for each connection, so that each ends as if it had been closed; new ones work."""
        listener = self._listener()
        for process in self._all():
            with suppress(psutil.NoSuchProcess):
                if process.name().startswith("sshd") and process != listener:
                    process.kill()

    def change_host_key(self) -> None:
        """Let it show another host key from now on, which ssh does not know."""
        sshd.make_key(self._folder / "other_key")
        shutil.copy(self._folder / "other_key", self.path(f"{disk.SSHD_FOLDER}/host_key"))
        self._restart_sshd()

    def skew_clock(self, seconds: int) -> None:
        """Shift the clock of all that ssh starts from now on, files' times included.

        Args:
            seconds: By how much it is fast.
        """
        library = f"/usr/local/lib/skewed_clock_{abs(seconds)}_{'fast' if seconds > 0 else 'slow'}.so"
        built = self._folder / Path(library).name
        do("cc", "-shared", "-fPIC", "-O2", f"-DSKEW_S=({seconds})", "-o", str(built), str(_HERE / "skewed_clock.c"))
        shutil.copy(built, self.path(library))
        text = disk.sshd_config(self._line.far_address, {"LD_PRELOAD": library})
        self.path(f"{disk.SSHD_FOLDER}/config").write_text(text)
        self._restart_sshd()

    def fill_disk(self) -> None:
        """Leave no room in the home folder."""

        def full() -> bool:
            used = os.statvfs(self._line.disk / "home")
            try:
                self._resize_home((used.f_blocks - used.f_bfree) * used.f_frsize)
            except CommandError:
                return False  # more was written since: a disk is never made smaller than what it holds
            return True

        until(full, "a full disk")

    def free_disk(self) -> None:
        """Let the home folder have all of its 512 MB."""
        self._resize_home(_HOME_BYTES)

    def power_on(self) -> None:
        """Boot from the disk as it was left: another boot id, nothing of before runs, what dropped packets is over."""
        (self._line.disk / "boot_id").write_text(f"{uuid.uuid4()}\n")
        command = [
            *self._line.enter,
            "unshare",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
        ]
        command += ["bash", str(_HERE / "workstation_boot.sh"), self._mount, disk.python_prefix(), disk.site_packages()]
        self._machine = Kept([*command, *disk.hidden_folders()], self._log)
        self._machine.expect("namespaces")
        self._line.connect(self._machine.pid)
        self._machine.expect("up")
        self.start_sshd()
        self.far_link(True)
        self.black_hole(False)

    def power_off(self) -> None:
        """Pull the plug: no packet leaves any more, then everything ends; the disk stays."""
        self.black_hole(True)
        # Its network lasts as long as connections that nobody ended, unless those give up.
        do(*self._inside(), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/tcp_orphan_retries")
        self._line.disconnect()
        self._kill()

    def _kill(self) -> None:
        if self._machine is not None:
            os.kill(self._init(), signal.SIGKILL)
            self._machine.end()
        self._machine = None

    def _end(self) -> None:
        self._kill()
        self._line.end()

    def _resize_home(self, size: int) -> None:
        # A size of nothing would be no limit.
        do(*self._line.enter, "mount", "-o", f"remount,size={max(size, 4096)}", f"{self._mount}/home")

    def _kill_listener(self) -> None:
        listener = self._listener()
        if listener is not None:
            listener.kill()
            until(lambda: self._listener() is None, "the end of sshd")

    def _restart_sshd(self) -> None:
        self._kill_listener()
        self.start_sshd()

    def _listener(self) -> psutil.Process | None:
        """The sshd that listens."""
        with suppress(FileNotFoundError):
            far = int(self.path(disk.PID_FILE).read_text())
            for process in self._all():
                with suppress(psutil.NoSuchProcess, OSError):
                    if process.name().startswith("sshd") and _far_pid(process) == far:
                        return process
        return None

    def _init(self) -> int:
        """This machine's id of the first process over there."""
        if self._machine is None:
            raise CommandError("the test workstation is off")
        return psutil.Process(self._machine.pid).children()[0].pid

    def _inside(self) -> list[str]:
        return ["nsenter", f"--target={self._init()}", "--mount", "--uts", "--ipc", "--net", "--pid"]

    def _all(self) -> list[psutil.Process]:
        """Every process over there but the first."""
        return psutil.Process(self._init()).children(recursive=True) if self._machine is not None else []


def _far_pid(process: psutil.Process) -> int:
    """A process's id over there."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])


def _remove_leftovers() -> None:
    """Remove folders of test processes that were killed; all else of theirs ended with them."""
    for folder in Path(tempfile.gettempdir()).glob("workstation-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
