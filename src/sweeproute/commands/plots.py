"""`sweeproute plots`: draws the plots of a sweep again, or by another metric."""

import argparse
from pathlib import Path

from sweeproute.commands import Commands


def add(commands: Commands) -> None:
    """Add the command's words."""
    plots = commands.add_parser("plots", help="draw the plots of a sweep, as PDF and PNG")
    plots.add_argument("sweep", metavar="SWEEP", help="a sweep, or its folder")
    plots.add_argument(
        "--metric", action="append", help="what is drawn (default: what the sweep chose by); twice for a front of two"
    )
    plots.add_argument("--direction", choices=("maximize", "minimize"), help="follows from the metric when left out")
    plots.add_argument("--out", type=Path, metavar="DIR", help="where to (default: plots in the sweep's folder)")
    plots.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Draw, and name the files."""
    # lazy import: as in every command, so that --help answers at once
    from sweeproute import plots, pointers

    folder = Path(asked.sweep) if Path(asked.sweep).is_dir() else pointers.find(asked.sweep).folder
    to = asked.out
    if to is None and asked.metric is not None:
        # What the sweep chose by keeps its place, there and in the tracking store.
        to = folder / plots.FOLDER / "_".join(asked.metric)
    names, missing = plots.draw(folder, asked.metric, asked.direction, to=to)
    print(f"{to or folder / plots.FOLDER}: {', '.join(names)}")
    if missing:
        print(f"{missing}.")
    if to is None and (folder / ".sweeproute" / "tracking.json").exists():
        print(f"`sweeproute sync {asked.sweep}` brings them to MLflow.")
