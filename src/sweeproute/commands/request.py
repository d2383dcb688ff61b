"""`sweeproute request`: shows what a request for training asks for, and runs it."""

import argparse
import os
from pathlib import Path

from sweeproute.commands import Commands


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

    from sweeproute.request import RequestError, read

    found = read(asked.file, Path("conf"), datetime.now().astimezone(), asked.overrides)
    widths = [max((len(line[place]) for line in found.lines), default=0) for place in (0, 1)]
    for part, written, meaning in found.lines:
        print(f"{part:<{widths[0]}}  {written:<{min(widths[1], 60)}}  {meaning}")
    if found.problems:
        raise RequestError(
            "\n".join([f"This request cannot be served as it is ({len(found.problems)}):", *found.problems])
        )
    command = ["train.py", "-m", *found.overrides, *asked.overrides]
    print(f"\npython {shlex.join(command)}", flush=True)
    if asked.start:
        # In this process's place: Ctrl-C and the exit code are the sweep's own.
        os.execv(sys.executable, [sys.executable, *command])
    print("`--run` runs it; hydra.launcher.dry_run=true behind it shows the plan, and whether the deadline is met.")
