"""The line between this machine and the test workstation: two cables and a router between them, each of which fails."""

import subprocess
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

from processes import PATH, CommandError, Kept, do, until

# Holds the far disk too, so that it outlives the machine that boots from it.
_BETWEEN = """
set -e
mount -t tmpfs -o mode=755 disk "$1"
cd "$1"
mkdir root upper work hidden home
mount -t tmpfs -o mode=700 home home
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 0 > /proc/sys/net/ipv4/icmp_ratelimit
echo up
while read -r _; do :; done
"""
# A range for tests of networks (RFC 2544), and how many of it each workstation has.
_RANGE = ip_network("198.18.0.0/15")
_ADDRESSES = 16
_LAST = ("metric", "9999")


class Line:
    """A router with a cable to this machine and one to the workstation, which plugs itself in with `connect`.

    Args:
        disk: An empty folder; within the router's namespace a disk in memory is mounted there.
        log: Where the router's complaints go.

    Attributes:
        disk: That disk as this machine's processes can open it.
    """

    def __init__(self, disk: Path, log: Path) -> None:
        self._black_hole = False
        self._loss = 0
        self._between = Kept(["unshare", "--mount", "--net", "bash", "-c", _BETWEEN, "between", str(disk)], log)
        self._between.expect("up")
        self.disk = Path(f"/proc/{self._between.pid}/root{disk}")
        self._take_number()
        _remove_leftovers()
        self._between_do("ip", "address", "add", f"{self.address(2)}/30", "dev", "near")
        self._between_do("ip", "link", "set", "near", "up")
        # Nobody answers for a machine that is off.
        self._between_do("ip", "route", "add", "blackhole", self._far_net, *_LAST)
        do("ip", "address", "add", f"{self.address(1)}/30", "dev", self._near)
        self.near_link(True)

    @property
    def enter(self) -> list[str]:
        """Start of a command line that runs where the disk and the router are."""
        return ["nsenter", f"--target={self._between.pid}", "--mount", "--net"]

    @property
    def far_address(self) -> str:
        """Where the workstation is."""
        return self.address(6)

    def address(self, offset: int) -> str:
        """One of this line's addresses: 1 here, 2 and 5 the router's, 6 the workstation's."""
        return str(_RANGE[_ADDRESSES * self._number + offset])

    def connect(self, pid: int) -> None:
        """Give a network namespace its cable, not yet plugged in.

        Args:
            pid: A process in that namespace.
        """
        self._far_pid = pid
        self._between_do("ip", "link", "add", "far", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self._between_do("ip", "address", "add", f"{self.address(5)}/30", "dev", "far")
        self._between_do("ip", "link", "set", "far", "up")
        self._far_ip("link set lo up", f"address add {self.address(6)}/30 dev eth0")

    def disconnect(self) -> None:
        """Take the workstation's cable away, so that not a packet more leaves it."""
        self._between_do("ip", "link", "delete", "far")

    def near_link(self, up: bool) -> None:
        """Plug the cable in at this machine's end, or pull it: the network is unreachable at once."""
        if up:
            do("ip", "link", "set", self._near, "up")
            self._forget_fault()
            do("ip", "route", "replace", self._far_net, "via", self.address(2))
            self._notice(["ip", "link", "show", self._near], [*self.enter, "ip", "link", "show", "near"])
        else:
            # Without it the packets would go where all others go, into the wide world.
            do("ip", "route", "replace", "throw", self._far_net, *_LAST)
            do("ip", "link", "set", self._near, "down")

    def far_link(self, up: bool) -> None:
        """Plug the cable in at the workstation's end, or pull it: after 3 s there is no route to the host."""
        if not up:
            self._far_ip("link set eth0 down")
            return
        self._far_ip("link set eth0 up", f"route replace default via {self.address(5)}")
        self._notice([*self.enter, "ip", "link", "show", "far"], [*self._far, "ip", "link", "show", "eth0"])
        # Else the first packet waits for the end of a second in which nobody had answered.
        self._between_do("ip", "neighbour", "flush", "dev", "far", "nud", "all")

    def black_hole(self, on: bool) -> None:
        """Drop every packet on the way, in both directions."""
        self._black_hole = on
        self._filter()

    def loss(self, percent: int) -> None:
        """Drop that share of the packets in each direction."""
        self._loss = percent
        self._filter()

    def end(self) -> None:
        """Take everything down; the disk is gone."""
        self._between.end()
        self._forget_fault()

    def _filter(self) -> None:
        """Drop on the way, so that neither end knows."""
        rule = "drop;" if self._black_hole else f"numgen random mod 100 < {self._loss} drop;" if self._loss else ""
        chain = f"chain way {{ type filter hook forward priority 0; policy accept; {rule} }}"
        self._between_do("nft", "-f", "-", stdin=f"flush ruleset\ntable ip line {{\n{chain}\n}}\n")

    def _take_number(self) -> None:
        """Lay the cable to this machine under the first name that is free; the name is taken as a lock is."""
        for number in range(_RANGE.num_addresses // _ADDRESSES):
            near = f"workstation{number}"
            command = ["ip", "link", "add", near, "type", "veth", "peer", "near", "netns", str(self._between.pid)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": PATH})
            if done.returncode == 0:
                self._number, self._near = number, near
                return
            if "exists" not in done.stderr:
                raise CommandError(f"{' '.join(command)}: {done.stderr.strip()}")
        raise CommandError("every address for a test workstation is taken")

    @property
    def _far_net(self) -> str:
        return f"{self.address(4)}/30"

    def _forget_fault(self) -> None:
        with suppress(CommandError):
            do("ip", "route", "delete", "throw", self._far_net, *_LAST)

    def _notice(self, *ends: list[str]) -> None:
        """Wait until both ends of a cable that was plugged in have noticed it; the kernel looks once a second."""
        until(lambda: all(" state UP " in do(*end) for end in ends), "the link")

    def _between_do(self, *command: str, stdin: str = "") -> None:
        do(*self.enter, *command, stdin=stdin)

    @property
    def _far(self) -> list[str]:
        return ["nsenter", f"--target={self._far_pid}", "--net"]

    def _far_ip(self, *commands: str) -> None:
        do(*self._far, "ip", "-batch", "-", stdin="\n".join(commands))


def _remove_leftovers() -> None:
    """Remove what killed processes left of pulled cables: routes, which are in none of the namespaces that ended."""
    for line in do("ip", "route", "show", "type", "throw", *_LAST, "root", str(_RANGE)).splitlines():
        net = line.split()[1]
        number = (int(ip_network(net).network_address) - int(_RANGE.network_address)) // _ADDRESSES
        if not Path(f"/sys/class/net/workstation{number}").exists():
            with suppress(CommandError):
                do("ip", "route", "delete", "throw", net, *_LAST)
