"""Brings the far side's code to a machine through the one channel that is open, without a round trip of its own."""

import functools
import hashlib
import json
import re
import zlib
from pathlib import Path

from .errors import SettingError
from .far.frames import MARKER

# The name under which far/ is imported over there.
PACKAGE = "sweeproute_far"
# One word in single quotes for every login shell: no quote, backslash, exclamation mark or newline may be in it. The
# file object is unbuffered, so that what follows the program stays in the channel for the relay.
_LOADER = 'import io;i=io.open(0,"rb",0);exec(i.readline())'
# Python 2.7 can read it too, to say that it is too old.
_PROGRAM = """
import sys
def refuse(message):
    import json
    frame = json.dumps({"op": "refused", "class": "precheck", "message": message})
    sys.stdout.write(MARKER + frame + chr(10))
    sys.stdout.flush()
    sys.exit(0)
version = ".".join(map(str, sys.version_info[:3]))
if sys.version_info < (3, 9):
    refuse("has Python " + version + " at " + str(sys.executable) + ", and 3.9 or later is needed: name another one")
# A file that lies in the home folder must not pass for a library's.
sys.path[:] = [entry for entry in sys.path if entry]
import json, os, zlib
data = b""
while len(data) < SIZE:
    more = i.read(SIZE - len(data))
    if not more:
        sys.exit(0)
    data += more
root = os.path.abspath(os.path.expanduser(ROOT))
code = os.path.join(root, "bin", HASH)
try:
    os.makedirs(root, 0o700, exist_ok=True)
    os.makedirs(os.path.join(code, PACKAGE), 0o700, exist_ok=True)
    for name, text in json.loads(zlib.decompress(data)).items():
        path = os.path.join(code, PACKAGE, name)
        try:
            with open(path, encoding="utf-8") as stream:
                if stream.read() == text:
                    continue
        except (OSError, ValueError):
            pass
        beside = path + "." + str(os.getpid())
        with open(beside, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(beside, path)
except OSError as error:
    refuse("cannot keep anything in " + root + " (" + str(error) + "): make room there, or name another folder")
sys.path.insert(0, code)
from sweeproute_far import relay
relay.main(root, code)
"""


def command(python: str) -> str:
    """The command line that ssh is given; it reads what `payload` made, under any login shell.

    Args:
        python: Name or path of the far Python, 3.9 or later; `~` is the far home.

    Returns:
        One line for sh, bash, zsh, fish or csh. Where there is no such Python it ends with code 127.

    Raises:
        SettingError: No shell could be given that name.
    """
    if not python or re.search(r"['\\!\n\x00]", python):
        raise SettingError(
            f"python is {python!r}, which not every login shell takes: "
            "give the name or the path of a far Python, without quotes, backslashes and exclamation marks."
        )
    home, rest = ("~/", python[2:]) if python.startswith("~/") else ("", python)
    word = python if re.fullmatch(r"[\w./+@%:,-]+", rest, re.ASCII) else f"{home}'{rest}'"
    # env has one exit code for what is missing, whatever the shell.
    return f"exec env {word} -E -s -S -c '{_LOADER}'"


def payload(root: str | None) -> bytes:
    """What is written to the channel first; everything after it is frames.

    Args:
        root: Folder on the far machine in which all is kept; None is ~/.sweeproute.
    """
    version, code = _code()
    values = {
        "MARKER": MARKER.decode(),
        "SIZE": len(code),
        "ROOT": root or "~/.sweeproute",
        "HASH": version,
        "PACKAGE": PACKAGE,
    }
    assignments = "".join(f"{name} = {value!a}\n" for name, value in values.items())
    return b"exec(" + ascii(assignments + _PROGRAM).encode() + b")\n" + code


@functools.cache
def _code() -> tuple[str, bytes]:
    """Hash of the far side's files, and the files as they are sent."""
    files = {
        path.name: path.read_text(encoding="utf-8") for path in sorted((Path(__file__).parent / "far").glob("*.py"))
    }
    text = json.dumps(files, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()[:16], zlib.compress(text, 9)
