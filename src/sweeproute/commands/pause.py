"""`sweeproute pause`: gives a platform back to its person for a while."""

import argparse
import re
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sweeproute.commands import Commands

if TYPE_CHECKING:
    from hydra_plugins.sweeproute.config import PlatformConf

_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "hours": 3600, "d": 86400}


class DurationError(ValueError):
    """A length of time that cannot be read."""


def add(commands: Commands) -> None:
    """Add the command's words."""
    pause = commands.add_parser(
        "pause", help="let what runs on a platform end, and start nothing more there until the pause ends"
    )
    pause.add_argument("platform", metavar="PLATFORM", help="its name in the registry")
    length = pause.add_mutually_exclusive_group()
    length.add_argument("--for", metavar="TIME", dest="length", help="it ends by itself after this: 45m, 1h, 1h30m")
    length.add_argument("--end", action="store_true", help="end the pause")
    pause.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as in registry.platforms.NAME.host=me@box")
    pause.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Pause, or end a pause; say which sweeps that touches."""
    import time

    from hydra_plugins.sweeproute import _conditions
    from sweeproute.commands import composing, elsewhere, hardware
    from sweeproute.commands.check import note
    from sweeproute.progress import clock

    name = asked.platform
    for_s = seconds(asked.length) if asked.length is not None else None
    entry = hardware.platform(name, composing.registry(asked.overrides))
    was = True
    if asked.end:
        was = _conditions.end_pause(name)
        print(f"{name} is {'no longer' if was else 'not'} paused.")
    else:
        until = None if for_s is None else time.time() + for_s
        _conditions.pause(name, until)
        print(f"{name} is paused until {clock(until) if until else f'`sweeproute pause {name} --end`'}.")
    for line in _touched(name, asked.end) if was else ():
        print(f"  {line}")
    untold = elsewhere.pause(name, for_s, end=asked.end)
    for line in untold:
        note(line)
    if entry.backend != "ssh":
        return
    if entry.host is None:
        again = f"{_command(asked)} registry.platforms.{name}.host=me@box"
        note(f"Its own queue has not been told, since the registry names no host for it. With its host: {again}")
        return
    _tell(asked, entry, for_s)
    if untold:
        sys.exit(1)


def seconds(length: str) -> float:
    """Seconds of a length of time.

    Args:
        length: As in 45m, 1h or 1h30m.

    Raises:
        DurationError: It is none, or nothing.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", length.lower())
    whole = re.sub(r"\s", "", length.lower())
    if "".join(number + unit for number, unit in parts) == whole and all(unit in _UNITS for _, unit in parts):
        found = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if found > 0:
            return found
    raise DurationError(f"--for is {length!r}. It takes a length of time: 30s, 45m, 1h, 1h30m, 2d.")


def _touched(name: str, ends: bool) -> Iterator[str]:
    """What becomes of the sweeps that run, or whose jobs a far machine works on."""
    from sweeproute import pointers
    from sweeproute.commands import hardware
    from sweeproute.progress import is_running
    from sweeproute.sweep_folder import SweepFolder, launch_record, sweep_record

    any_there = False
    for pointer in pointers.pointers():
        record = sweep_record(pointer.folder)
        if record is None or record.get("state") != "RUNNING" or record.get("id") != pointer.id:
            continue
        living = is_running(pointer.folder, record)
        launches = [launch_record(attempt.folder) or {} for attempt in SweepFolder(pointer.folder).attempts()]
        there = [one for one in launches if one.get("platform") == name and (living or one.get("far"))]
        runs, waits = (sum(one.get("state") == state for one in there) for state in ("RUNNING", "QUEUED"))
        title = f"{pointer.id} ({pointer.name})" if pointer.name else pointer.id
        if not living and not runs and not waits:
            continue
        if living and not runs and not waits:
            registry = hardware.of_sweep(pointer.folder)
            if registry is None or name not in registry.settings:
                continue
        any_there = True
        if ends:
            yield f"{title} may use it again"
            continue
        ending = f"{runs} of its jobs {_to_the_end(runs, ' there')}" if runs else "none of its jobs runs there"
        if living:
            rest = f"{waits} that {'waits there goes' if waits == 1 else 'wait there go'} elsewhere, or {_wait(waits)}"
        else:
            rest = f"{waits} {_wait(waits)} there for the pause's end"
        yield f"{title}: {ending}" + (f"; {rest}" if waits else "")
    if not any_there:
        yield "no sweep that runs here uses it"


def _tell(asked: argparse.Namespace, entry: "PlatformConf", for_s: float | None) -> None:
    """Tell the machine's own queue, which goes on where no coordinator lives."""
    from hydra_plugins.sweeproute._errand import Errand
    from hydra_plugins.sweeproute._reach import reach_of
    from submitit_ssh.errors import SubmititSshError
    from sweeproute.commands.check import note
    from sweeproute.progress import counted

    name = asked.platform
    try:
        with Errand(name, reach_of(name, entry), note) as errand:
            was = errand.load()["paused"]
            errand.ask("slots", slots=None, paused=not asked.end, for_s=for_s)
            load = errand.load()
    except SubmititSshError as error:
        note(f"Its own queue could not be told: {error} When it is back: {_command(asked)}")
        sys.exit(1)
    running, queued = len(load["running"]), load["queued"]
    waiting = f"{counted(queued)} {_wait(queued)}" if queued else "no job waits"
    if not asked.end:
        print(
            f"Over there {counted(running)} {_to_the_end(running)}, and {queued} {_wait(queued)}; nothing more starts."
        )
    elif not was:
        print(f"Over there it is not paused, and {waiting}.")
    else:
        print(f"Over there it is no longer paused either, and {waiting}.")


def _command(asked: argparse.Namespace) -> str:
    """The person's command, to be given to a shell again."""
    how = ["--end"] if asked.end else ["--for", asked.length] if asked.length is not None else []
    return shlex.join(["sweeproute", "pause", asked.platform, *how, *asked.overrides])


def _to_the_end(number: int, where: str = "") -> str:
    return f"runs{where} to its end" if number == 1 else f"run{where} to their end"


def _wait(number: int) -> str:
    return "waits" if number == 1 else "wait"
