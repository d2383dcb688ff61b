"""How OpenSSH is called to reach a far machine, and what its refusals mean."""

import re
import shlex
from dataclasses import dataclass

from . import boot


@dataclass(frozen=True)
class Settings:
    """How a far machine is reached.

    Attributes:
        host: What `ssh` is given, as in me@4090box.
        ssh_config: Path of a configuration other than ~/.ssh/config.
        python: The Python that runs the supervisor there, 3.9 or later; it needs no packages.
        root: The folder on the far machine in which everything is kept; None is ~/.sweeproute.
        ssh: The program, with arguments that come before ours.
    """

    host: str
    ssh_config: str | None = None
    python: str = "python3"
    root: str | None = None
    ssh: tuple[str, ...] = ("ssh",)

    def command(self, timeout_s: float, *, own: bool = False) -> list[str]:
        """The command that opens the channel.

        Args:
            timeout_s: Seconds until ssh gives up on connecting.
            own: Whether the channel gets a connection of its own where the person's configuration lets several share
                one (ControlMaster): a shared one that an outage has cut is noticed by whoever opened it, in minutes.
        """
        config = ["-F", self.ssh_config] if self.ssh_config else []
        options = {
            "BatchMode": "yes",  # nobody is there to answer a question
            "ConnectTimeout": str(max(1, round(timeout_s))),
            "RequestTTY": "no",
            "RemoteCommand": "none",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
        }
        if own:
            options |= {"ControlMaster": "no", "ControlPath": "none"}
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return [*self.ssh, *config, *flags, "--", self.host, boot.command(self.python)]


_REFUSALS = (
    (
        re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed"),
        "has another host key than the one that is known. If it was set up anew, remove the old key with "
        "`ssh-keygen -R {name}` and connect once with `{ssh}`; if not, somebody may be in between",
    ),
    (
        re.compile(r"Host key verification failed|No .* host key is known for"),
        "has a host key that is not known here. Connect once with `{ssh}` and compare the key",
    ),
    (
        re.compile(r"Permission denied|Too many authentication failures|no mutual signature"),
        "refuses the login. Make `{ssh}` work without a question: a key in an agent, or without a passphrase",
    ),
    (
        re.compile(r"Bad configuration option|terminating, .* bad configuration|Can't open user config file"),
        "cannot be reached with this ssh configuration: {said}",
    ),
)


def refusal(code: int | None, stderr: bytes, settings: Settings) -> str | None:
    """Tell a machine that cannot be used from one that cannot be reached.

    Args:
        code: ssh's exit code, None where it is not known.
        stderr: What it said.
        settings: How it was started.

    Returns:
        A clause with the cure, that follows the machine's name; None for a machine that cannot be reached.
    """
    said = stderr.decode(errors="replace")
    config = ["-F", settings.ssh_config] if settings.ssh_config else []
    words = {
        "ssh": shlex.join([*settings.ssh, *config, settings.host]),
        "name": settings.host.rpartition("@")[2],
        "said": said.strip().splitlines()[-1] if said.strip() else "",
    }
    for pattern, clause in _REFUSALS:
        if pattern.search(said):
            return clause.format(**words)
    if code in (126, 127):
        return (
            f"has no Python under the name {settings.python!r} on the path of a shell that nobody logs in to "
            f"({words['said'] or f'exit code {code}'}). Name one by its path"
        )
    if code is not None and code not in (0, 255) and said.strip():
        return f"cannot start the supervisor: {words['said']}"
    return None
