"""Reaches a far side that is a folder of this machine: what ssh does, without a network or a server."""

import sys
from pathlib import Path

from submitit_ssh.ssh import Settings

# ssh's own arguments end with the host and the command; a file named `cut` beside it is a line that is down.
_PROGRAM = """#!{python}
import os, sys
here = os.path.dirname(os.path.abspath(__file__))
if os.path.exists(os.path.join(here, "cut")):
    print("ssh: connect to host far port 22: Network is unreachable", file=sys.stderr)
    sys.exit(255)
os.environ["HOME"] = here
os.execv("/bin/sh", ["sh", "-c", sys.argv[-1]])
"""


class NearShell:
    """A place of its own on this machine that is reached as a far one would be.

    Args:
        folder: What is its home folder.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.home = folder
        self.root = folder / ".sweeproute"
        program = folder / "ssh"
        program.write_text(_PROGRAM.format(python=sys.executable))
        program.chmod(0o755)
        self.settings = Settings("far", python=sys.executable, ssh=(str(program),))

    def cut(self, down: bool) -> None:
        """Let new connections fail, or work again."""
        if down:
            (self.home / "cut").touch()
        else:
            (self.home / "cut").unlink()
