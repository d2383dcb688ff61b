"""`sweeproute sync`: writes to MLflow what a dead coordinator, or a store that was away, left out."""

import argparse
import sys
from pathlib import Path

from sweeproute.commands import Commands


def add(commands: Commands) -> None:
    """Add the command's words."""
    sync = commands.add_parser("sync", help="write to MLflow what a dead coordinator or a store that was away left out")
    sync.add_argument("sweep", metavar="SWEEP", help="a sweep, or the folder of a sweep or a run")
    sync.add_argument("--uri", help="the tracking store; the sweep's own when left out")
    sync.add_argument("--experiment", help="the experiment; the sweep's own when left out")
    sync.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Write what is missing, and say how much is written."""
    from sweeproute import pointers
    from sweeproute.progress import counted
    from sweeproute.tracking import sync

    folder = Path(asked.sweep) if Path(asked.sweep).is_dir() else pointers.find(asked.sweep).folder
    status = sync(folder, asked.uri, asked.experiment)
    said = f"{status.written} of {counted(status.total, 'run')} {'is' if status.total == 1 else 'are'} written."
    print(said + (f" {status.problem}" if status.problem else ""))
    if status.problem:
        sys.exit(1)
