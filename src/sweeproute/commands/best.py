"""`sweeproute best`: the best run, with the overrides that reproduce it."""

import argparse
import dataclasses
import json
import shlex
import sys

from sweeproute.commands import Commands


def add(commands: Commands) -> None:
    """Add the command's words."""
    best = commands.add_parser("best", help="the best run, and the overrides that reproduce it")
    best.add_argument("--sweep", help="of one sweep; of all when left out")
    best.add_argument("--metric", default="auc", help="what decides (default: %(default)s)")
    best.add_argument("--direction", choices=("maximize", "minimize"), help="follows from the metric when left out")
    best.add_argument("--experiment", help="of one MLflow experiment; of all when left out")
    best.add_argument("--uri", help="the tracking store; the sweep's own when left out")
    form = best.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything, for a program")
    form.add_argument("--overrides", action="store_true", help="the overrides alone, on one line fit for a shell")
    best.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Print the best run."""
    # lazy import: as in every command, so that --help answers at once
    from sweeproute import registry

    found = registry.best(asked.sweep, asked.metric, asked.direction, asked.experiment, asked.uri)
    if asked.json:
        print(json.dumps(dataclasses.asdict(found), default=str))
    elif asked.overrides:
        print(shlex.join(found.overrides))
    else:
        where = f"job {found.job} of {found.sweep}" if found.sweep else "a run alone"
        print(f"{found.metric}={found.value:.4f}: {where}, on {found.platform or 'this machine'} ({found.device})")
        print("  " + "  ".join(f"{name}={value:.4f}" for name, value in sorted(found.metrics.items())))
        print(f"  {shlex.join(['python', 'train.py', *found.overrides])}")
        print(f"  run {found.run_id} ({found.direction}; asked by {found.how})")
    for warning in found.warnings:
        print(warning, file=sys.stderr)
