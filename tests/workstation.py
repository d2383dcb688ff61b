"""Another machine on this machine: sshd, an account, a disk and processes of its own behind a line that can fail."""

import functools
import importlib.metadata
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import psutil
import pytest

_HERE = Path(__file__).parent
# Root's own commands are not on everybody's path.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
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
}
# What a machine of namespaces is made of, tried on nothing.
_TRIAL = """
mount -t tmpfs trial /mnt && cd /mnt && mkdir upper work root &&
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work trial root &&
ip link add type veth && nft list ruleset
"""
# What lies between the two machines: it routes, and holds the other's disk while that one is off.
_BETWEEN = """
set -e
mount -t tmpfs -o mode=755 disk "$1"
cd "$1"
mkdir root upper work hidden home
mount -t tmpfs -o mode=700,size=$2 home home
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 0 > /proc/sys/net/ipv4/icmp_ratelimit
echo up
while read -r _; do :; done
"""
_HOME_BYTES = 512 * 2**20
_SSHD = """\
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {pid_file}
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 1000
LogLevel VERBOSE
Subsystem sftp internal-sftp
"""
_SSH = """\
Host {host}
  HostName {address}
  Port {port}
  User {user}
  IdentityFile {folder}/key
  IdentitiesOnly yes
  IdentityAgent none
  HostKeyAlias {host}
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
"""
# A range for tests of networks (RFC 2544), 16 addresses for each machine.
_RANGE = (198 << 24) + (18 << 16)


class WorkstationError(Exception):
    """A command that makes the machine or its faults failed."""


@functools.cache
def missing() -> str:
    """Why there can be no workstation here, as a sentence; empty where there can."""
    if sys.platform != "linux":
        return "the test workstation is made of Linux namespaces"
    if os.geteuid() != 0:
        return "the test workstation needs root"
    for program, package in _PACKAGES.items():
        if shutil.which(program, path=_PATH) is None:
            return f"no {program} here: apt-get install {package}"
    trial = subprocess.run(
        ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "bash", "-c", _TRIAL],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": _PATH},
    )
    return f"no namespaces for a test workstation here: {trial.stderr.strip()}" if trial.returncode else ""


def or_skip() -> None:
    """Skip the test that asks where there can be no workstation; fail it where the machine is said to make one."""
    why = missing()
    if why and os.environ.get("SWEEPROUTE_EXPECT_WORKSTATION") == "1":
        pytest.fail(f"SWEEPROUTE_EXPECT_WORKSTATION=1, and {why}")
    if why:
        pytest.skip(why)


class Workstation:
    """A machine of namespaces: another host name, disk, network and processes; nothing of it outlives this process.

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
    python = "/opt/environment/bin/python"
    bare_python = "/usr/bin/python3"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._disk = folder / "disk"
        self._black_hole = False
        self._loss = 0
        self._machine: subprocess.Popen[str] | None = None
        self._init = 0
        self._disk.mkdir()
        for name in ("key", "host_key"):
            _make_key(folder / name)
        self._between = subprocess.Popen(
            ["unshare", "--mount", "--net", "bash", "-c", _BETWEEN, "between", str(self._disk), str(_HOME_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": _PATH},
        )
        _expect(self._between, "up")
        self._number, self._near = self._connect()
        self.ssh_config = folder / "ssh_config"
        self._write_near_files()
        self._install()

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Self]:
        """A machine that is up, and that is gone at the end.

        Raises:
            WorkstationError: It could not be made; ask `missing` first.
        """
        _remove_leftovers()
        with ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix=f"workstation-{os.getpid()}-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            box = cls(folder)
            stack.callback(box._end)
            box.power_on()
            yield box

    # What is over there

    def run(self, command: str, user: str = user) -> subprocess.CompletedProcess[str]:
        """Run a shell command in there without ssh.

        Args:
            command: For bash, in the home folder.
            user: Who runs it.

        Returns:
            The process that ended, with its output as text.
        """
        home = self.home if user == self.user else "/root"
        environment = {"HOME": home, "USER": user, "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
        words = [
            "env",
            "--ignore-environment",
            f"--chdir={home}",
            *(f"{name}={value}" for name, value in environment.items()),
        ]
        identity = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        return subprocess.run(
            [*self._inside(), *identity, *words, "bash", "-c", command],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def path(self, far: str) -> Path:
        """A file over there as this process can open it; a link on the way would lead back to this machine."""
        return Path(f"/proc/{self._init}/root{far}")

    def processes(self) -> list[tuple[int, str]]:
        """What runs over there besides the system's own: process id over there, command line."""
        return sorted((far, args) for _, far, args in self._all() if not args.startswith("sshd"))

    # The line

    def near_link(self, up: bool) -> None:
        """Pull the cable at this machine's end, or plug it in."""
        if up:
            _do("ip", "link", "set", self._near, "up")
            self._await_carrier(["ip", "link", "show", self._near], [*self._router(), "ip", "link", "show", "near"])
            self._route()
        else:
            # Without it the packets would go where all others go, into the wide world.
            with suppress(WorkstationError):
                _do("ip", "route", "add", "throw", self._net(0, 29), "metric", "9999")
            _do("ip", "link", "set", self._near, "down")

    def far_link(self, up: bool) -> None:
        """Pull the cable at the workstation's end, or plug it in."""
        if up:
            self._ip("link set eth0 up", f"route replace default via {self._address(5)}")
            self._await_carrier(
                [*self._router(), "ip", "link", "show", "far"], [*self._inside(), "ip", "link", "show", "eth0"]
            )
            # Else the first packet waits for the end of a second in which nobody had answered.
            _do(*self._router(), "ip", "neighbour", "flush", "dev", "far", "nud", "all")
        else:
            self._ip("link set eth0 down")

    def black_hole(self, on: bool) -> None:
        """Drop every packet on the way, in both directions."""
        self._black_hole = on
        self._filter()

    def loss(self, percent: int) -> None:
        """Drop that share of the packets in each direction."""
        self._loss = percent
        self._filter()

    # sshd

    def start_sshd(self) -> None:
        """Let sshd listen; nothing changes where it does."""
        if self._listener() is None:
            self.path("/run/sshd.pid").unlink(missing_ok=True)
            _do(*self._inside(), "/usr/sbin/sshd", "-f", "/etc/ssh/workstation/config", "-E", "/var/log/sshd.log")
            _until(lambda: self.path("/run/sshd.pid").exists(), "sshd")

    # Power

    def restore(self) -> None:
        """End every fault and every process, and empty the home folder."""
        if self._machine is not None:
            self.power_off()
        self.loss(0)
        self.near_link(True)
        self.power_on()
        self.run(f"find {self.home} -mindepth 1 -delete && cp -rT /etc/skel {self.home}")

    def power_on(self) -> None:
        """Boot from the disk as it was left: another boot id, nothing of before runs, the line is whole."""
        (self._between_root() / "boot_id").write_text(f"{uuid.uuid4()}\n")
        self._machine = subprocess.Popen(
            [
                *("nsenter", f"--target={self._between.pid}", "--mount", "--net"),
                *("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child"),
                *("bash", str(_HERE / "workstation_boot.sh"), str(self._disk), *_far_python(), *_hidden()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": _PATH},
        )
        _expect(self._machine, "namespaces")
        between = [*self._router(), "ip"]
        _do(*between, "link", "add", "far", "type", "veth", "peer", "name", "eth0", "netns", str(self._machine.pid))
        _do(*between, "address", "add", f"{self._address(5)}/30", "dev", "far")
        _do(*between, "link", "set", "far", "up")
        self._ip("link set lo up", f"address add {self._address(6)}/30 dev eth0")
        _expect(self._machine, "up")
        (self._init,) = (child.pid for child in psutil.Process(self._machine.pid).children())
        self.start_sshd()
        self.far_link(True)
        self.black_hole(False)

    def power_off(self) -> None:
        """Pull the plug: no packet leaves any more, then everything ends; the disk stays."""
        if self._machine is None:
            return
        self.black_hole(True)
        # Its network lasts as long as connections that nobody ended, unless those give up.
        _do(*self._inside(), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/tcp_orphan_retries")
        _do(*self._router(), "ip", "link", "delete", "far")
        self._kill()

    def _kill(self) -> None:
        if self._machine is not None:
            os.kill(self._init, signal.SIGKILL)
            _end(self._machine)
        self._machine = None

    def _end(self) -> None:
        self._kill()
        _end(self._between)
        with suppress(WorkstationError):
            _do("ip", "route", "delete", "throw", self._net(0, 29))

    # How it is made

    def _write_near_files(self) -> None:
        public = (self._folder / "host_key.pub").read_text()
        (self._folder / "known_hosts").write_text(f"{self.host} {public}")
        self.ssh_config.write_text(
            _SSH.format(host=self.host, address=self._address(6), port=22, user=self.user, folder=self._folder)
        )

    def _install(self) -> None:
        """Lay on the disk what is there before the first boot."""
        upper = self._between_root() / "upper"
        ssh = upper / "etc/ssh/workstation"
        ssh.mkdir(parents=True)
        for name in ("host_key", "host_key.pub"):
            shutil.copy(self._folder / name, ssh)
        shutil.copy(self._folder / "key.pub", ssh / "authorized_keys")
        (ssh / "config").write_text(
            _SSHD.format(address=self._address(6), port=22, folder="/etc/ssh/workstation", pid_file="/run/sshd.pid")
        )
        (upper / "etc/hostname").write_text("workstation\n")
        (upper / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 workstation\n")
        (upper / "opt/python").mkdir(parents=True)
        prefix, _ = _far_python()
        binaries = Path("/opt/python/bin" if prefix else f"{sys.base_prefix}/bin")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        (upper / "opt/environment/bin").mkdir(parents=True)
        (upper / "opt/environment/bin/python").symlink_to(binaries / version)
        (upper / f"opt/environment/lib/{version}/site-packages").mkdir(parents=True)
        (upper / "opt/environment/pyvenv.cfg").write_text(f"home = {binaries}\ninclude-system-site-packages = false\n")
        for name in _own_files():
            whiteout = self._between_root() / "hidden" / name
            whiteout.parent.mkdir(parents=True, exist_ok=True)
            os.mknod(whiteout, stat.S_IFCHR)

    def _connect(self) -> tuple[int, str]:
        """Lay a line to what lies between: its number, the name of its end here; the name is taken as a lock is."""
        for number in range(8192):
            name = f"workstation{number}"
            link = ["ip", "link", "add", name, "type", "veth", "peer", "name", "near", "netns", str(self._between.pid)]
            done = subprocess.run(link, capture_output=True, text=True, check=False, env={"PATH": _PATH})
            if done.returncode == 0:
                break
            if "exists" not in done.stderr:
                raise WorkstationError(f"{shlex.join(link)}: {done.stderr.strip()}")
        else:
            raise WorkstationError("every address for a test workstation is taken")
        self._number, self._near = number, name
        with suppress(WorkstationError):
            _do("ip", "route", "delete", "throw", self._net(0, 29))
        # Nobody answers for a machine that is off.
        _do(*self._router(), "ip", "route", "add", "blackhole", self._net(4, 30), "metric", "9999")
        _do("ip", "address", "add", f"{self._address(1)}/30", "dev", name)
        _do("ip", "link", "set", name, "up")
        between = [*self._router(), "ip"]
        _do(*between, "address", "add", f"{self._address(2)}/30", "dev", "near")
        _do(*between, "link", "set", "near", "up")
        self._route()
        return number, name

    def _await_carrier(self, *ends: list[str]) -> None:
        """Wait until both ends of a cable that was plugged in have noticed it; the kernel looks once a second."""
        _until(lambda: all(" state UP " in _do(*end) for end in ends), "the link")

    def _route(self) -> None:
        _do("ip", "route", "replace", self._net(4, 30), "via", self._address(2))

    def _address(self, offset: int) -> str:
        number = _RANGE + 16 * self._number + offset
        return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))

    def _net(self, offset: int, bits: int) -> str:
        return f"{self._address(offset)}/{bits}"

    def _filter(self) -> None:
        """Tell what lies between which packets to drop: on the way, so that neither end knows."""
        rule = "drop;" if self._black_hole else f"numgen random mod 100 < {self._loss} drop;" if self._loss else ""
        chain = f"chain way {{ type filter hook forward priority 0; policy accept; {rule} }}"
        _do(*self._router(), "nft", "-f", "-", stdin=f"flush ruleset\ntable ip line {{\n{chain}\n}}\n")

    def _router(self) -> list[str]:
        return ["nsenter", f"--target={self._between.pid}", "--net"]

    def _inside(self) -> list[str]:
        return ["nsenter", f"--target={self._init}", "--mount", "--uts", "--ipc", "--net", "--pid"]

    def _ip(self, *commands: str) -> None:
        assert self._machine is not None
        _do("nsenter", f"--target={self._machine.pid}", "--net", "ip", "-batch", "-", stdin="\n".join(commands))

    def _between_root(self) -> Path:
        return Path(f"/proc/{self._between.pid}/root{self._disk}")

    def _listener(self) -> int | None:
        """Process id, here, of the sshd that listens."""
        return next((near for near, _, args in self._all() if args.startswith("sshd: /usr/sbin/sshd")), None)

    def _all(self) -> Iterator[tuple[int, int, str]]:
        """Every process over there but the first: its id here, its id over there, its command line."""
        for process in psutil.Process(self._init).children(recursive=True):
            with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                far = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1]
                yield process.pid, int(far), " ".join(process.cmdline()) or f"[{process.name()}]"


def _far_python() -> tuple[str, str]:
    """Prefix of this Python where the far side must get it under another name, else ""; its site-packages."""
    prefix = Path(sys.base_prefix)
    return "" if prefix.is_relative_to("/usr") else str(prefix), sysconfig.get_path("purelib")


def _hidden() -> list[str]:
    """Folders of this machine that the far side must not see: homes, what is temporary, the project, its state."""
    project = _HERE.parent
    wanted = {Path(path) for path in ("/root", "/home", "/tmp", "/var/tmp", tempfile.gettempdir(), sys.prefix)}
    wanted |= {project, Path.home(), Path(sys.base_prefix)}
    wanted |= {Path(value) for name, value in os.environ.items() if name in ("SWEEPROUTE_STATE", "SWEEPROUTE_CACHE")}
    system = (Path("/usr/local/lib"), Path("/usr/lib/python3/dist-packages"))
    found = {path.resolve() for path in wanted if not path.resolve().is_relative_to("/usr")}
    return [
        *map(str, sorted(path for path in found if not found & set(path.parents))),
        *(
            str(folder)
            for path in system
            for folder in (path, *path.glob("python3*/dist-packages"))
            if folder.name == "dist-packages" and folder.is_dir()
        ),
    ]


def _own_files() -> set[str]:
    """What an installation of the project put into site-packages, each by the topmost name that is its alone."""
    try:
        files = importlib.metadata.distribution("sweeproute").files or []
    except importlib.metadata.PackageNotFoundError:
        return set()
    shared = {"hydra_plugins"}
    own = {file.parts[: 2 if file.parts[0] in shared else 1] for file in files}
    return {"/".join(parts) for parts in own if parts[0] not in ("..", "__pycache__")}


def _make_key(path: Path) -> None:
    _do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "workstation", "-f", str(path))


def _remove_leftovers() -> None:
    """Remove folders of test processes that were killed; the kernel has removed everything else of theirs."""
    for folder in Path(tempfile.gettempdir()).glob("workstation-*-*"):
        if not psutil.pid_exists(int(folder.name.split("-")[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _do(*command: str, stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env={"PATH": _PATH})
    if done.returncode:
        raise WorkstationError(f"{shlex.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _expect(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    if said != word:
        raise WorkstationError(f"{shlex.join(map(str, process.args))}: ended before it said {word!r}")  # type: ignore


def _end(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()
    process.wait(10)


def _until(ready, what: str) -> None:
    give_up = time.monotonic() + 10
    while not ready():
        if time.monotonic() > give_up:
            raise WorkstationError(f"{what} did not come within 10 s")
        time.sleep(0.005)
