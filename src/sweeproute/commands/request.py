"""`sweeproute request`: shows what a request for training asks for, and runs it."""

import argparse
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
    import subprocess
    import sys
    from datetime import datetime

    from sweeproute.request import RequestError, read

    found = read(asked.file, Path("conf"), datetime.now().astimezone())
    settled = {word.lstrip("+").partition("=")[0] for word in asked.overrides}
    widths = [max((len(line[place]) for line in found.lines), default=0) for place in (0, 1)]
    for part, written, meaning in found.lines:
        print(f"{part:<{widths[0]}}  {written:<{min(widths[1], 60)}}  {meaning}")
    problems = [said for said in found.problems if not any(f"{key}=" in said for key in settled)]
    if problems:
        raise RequestError("\n".join([f"This request cannot be served as it is ({len(problems)}):", *problems]))
    kept = [word for word in found.overrides if word.partition("=")[0] not in settled]
    command = ["train.py", "-m", *kept, *asked.overrides]
    print(f"\npython {shlex.join(command)}", flush=True)
    if asked.start:
        sys.exit(subprocess.run([sys.executable, *command], check=False).returncode)
    print("`--run` runs it; hydra.launcher.dry_run=true behind it shows the plan, and whether the deadline is met.")
