"""`sweeproute best`: the best run, or the front of several metrics, with the overrides that reproduce it."""

import argparse
import dataclasses
import shlex
import sys
from typing import TYPE_CHECKING

from sweeproute.commands import Commands, kinds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweeproute.configuration import Estimate
    from sweeproute.registry import BestRun, ChosenRun, Front

# Points of a front that are listed one by one.
_SHOWN = 30


def add(commands: Commands) -> None:
    """Add the command's words."""
    best = commands.add_parser("best", help="the best run, and the overrides that reproduce it")
    best.add_argument("--sweep", help="of one sweep; of all when left out")
    best.add_argument("--metric", help="what decides (default: what the sweep was told, else auc)")
    best.add_argument("--direction", choices=("maximize", "minimize"), help="follows from the metric when left out")
    best.add_argument("--experiment", help="of one MLflow experiment; of all when left out")
    best.add_argument(
        "--where", action="append", metavar="KEY=VALUE", help="only runs with this parameter or tag; as often as needed"
    )
    best.add_argument(
        "--mixed", action="store_true", help="compare runs of different data or seasons, which is refused otherwise"
    )
    best.add_argument("--uri", help="the tracking store; the sweep's own when left out")
    form = best.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything, for a program")
    form.add_argument("--overrides", action="store_true", help="the overrides alone, on one line fit for a shell")
    best.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Print the best run; of several metrics the front, its knee marked."""
    # lazy import: as in every command, so that --help answers at once
    from sweeproute import registry

    where = kinds(asked.where or ())
    found = registry.chosen(asked.sweep, asked.metric, asked.direction, asked.experiment, asked.uri, where, asked.mixed)
    winner = found.front[found.knee] if isinstance(found, registry.Front) else found
    if asked.json:
        from sweeproute.tables import json_text

        # Python's own word for what a model does not have, NaN, is none of JSON's.
        print(json_text(dataclasses.asdict(found), indent=None), end="")
    elif asked.overrides:
        print(shlex.join(winner.overrides))
    else:
        print("\n".join(_front(found) if isinstance(found, registry.Front) else _best(found)))
    for warning in found.warnings:
        print(warning, file=sys.stderr)


def _best(found: "BestRun") -> list[str]:
    from sweeproute.score_text import estimated

    repeated = f" ({_counted(found)})" if found.repeats else ""
    value = f"{found.metric}={estimated(_estimates(found)[found.metric])}{repeated}"
    where = f"{_jobs(found)} of {found.sweep}" if found.sweep else "a run alone"
    text = [f"{value}: {where}, on {found.platform or 'this machine'} ({found.device})"]
    return text + _details(found, (found.metric,), f"{found.direction}; asked by {found.how}")


def _front(found: "Front") -> list[str]:
    from sweeproute.score_text import front_table, front_title

    knee = found.front[found.knee]
    pairs = list(zip(found.metrics, found.directions, strict=True))
    text = [f"{front_title(pairs, len(found.front), found.compared)} in {knee.sweep}"]
    points = [(_jobs(point).partition(" ")[2], _estimates(point), f"run {point.run_id}") for point in found.front]
    text += [f"  {line}" for line in front_table(found.metrics, points, found.knee, _SHOWN)]
    repeated = f", {_counted(knee)}" if knee.repeats else ""
    text.append(f"Its knee: {_jobs(knee)}{repeated}, on {knee.platform or 'this machine'} ({knee.device})")
    return text + _details(knee, found.metrics, f"asked by {found.how}")


def _details(run: "ChosenRun", first: "Sequence[str]", how: str) -> list[str]:
    from sweeproute.score_text import scores

    text = [f"  {scores(_estimates(run), first)}", f"  {shlex.join(['python', 'train.py', *run.overrides])}"]
    if run.repeats is None:
        return [*text, f"  run {run.run_id} ({how})"]
    told = zip(run.repeats.run_ids, run.repeats.overrides, strict=True)
    return [*text, *(f"  run {run_id}: {shlex.join(apart)}" for run_id, apart in told), f"  ({how})"]


def _estimates(run: "ChosenRun") -> "Mapping[str, Estimate]":
    from sweeproute.configuration import estimates

    found = run.repeats.metrics if run.repeats is not None else estimates([run.metrics])
    return dict(sorted(found.items()))


def _jobs(run: "ChosenRun") -> str:
    from sweeproute.score_text import jobs

    return jobs(run.repeats.jobs if run.repeats is not None else [run.job])


def _counted(run: "ChosenRun") -> str:
    from sweeproute.score_text import repeats

    assert run.repeats is not None
    return repeats(run.repeats.n, run.repeats.keys)
