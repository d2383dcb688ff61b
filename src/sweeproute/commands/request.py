"""`sweeproute request`: shows what a request for training asks for and how long it takes, and runs it."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeproute.commands import Commands

if TYPE_CHECKING:
    from sweeproute.request import Understood


def add(commands: Commands) -> None:
    """Add the command's words."""
    request = commands.add_parser("request", help="show what a request for training asks for; run it")
    request.add_argument("file", type=Path, metavar="FILE", help="a YAML file with trigger: parallel_training_request")
    request.add_argument("--run", dest="start", action="store_true", help="run it, once it is understood")
    request.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="more words for the sweep; they go before")
    request.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Show it; run it where that is asked for and nothing stands in the way."""
    # lazy import: as in every command, so that --help answers at once
    import shlex
    import sys
    from datetime import datetime

    from sweeproute.commands.check import note
    from sweeproute.commands.forecast import forecast
    from sweeproute.request import RequestError, read
    from sweeproute.request.understood import override

    now = datetime.now().astimezone()
    found = read(asked.file, Path("conf"), now, asked.overrides)
    widths = [max((len(line[place]) for line in found.lines), default=0) for place in (0, 1)]
    for part, written, meaning in found.lines:
        print(f"{part:<{widths[0]}}  {written:<{min(widths[1], 60)}}  {meaning}")
    if found.problems:
        raise RequestError(
            "\n".join([f"This request cannot be served as it is ({len(found.problems)}):", *found.problems])
        )
    command = ["train.py", "-m", *found.overrides, *asked.overrides]
    print(f"\npython {shlex.join(command)}", flush=True)
    expected = forecast(Path(command[0]).absolute(), command[2:], now)
    print("\n".join(["", *expected.lines]))
    for warning in expected.warnings:
        note(f"Warning: {warning}")
    if asked.start:
        sys.stdout.flush()
        command.insert(2, override("sweep.request", str(_keep(found, command))))
        # In this process's place: Ctrl-C and the exit code are the sweep's own.
        os.execv(sys.executable, [sys.executable, *command])
    print("`--run` runs it; hydra.launcher.dry_run=true behind it shows the plan, job by job.")


def _keep(found: "Understood", command: Sequence[str]) -> Path:
    """Write a request down with what was understood of it; the sweep takes that along into its folder."""
    import hashlib

    from sweeproute import request_kept
    from sweeproute.pointers import state_directory

    text = request_kept.text(found.written, found.lines, ["python", *command])
    path = state_directory() / "requests" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}~")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return path
