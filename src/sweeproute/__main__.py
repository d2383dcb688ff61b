"""The command line: `sweeproute COMMAND`, what a person asks of sweeps that have run."""

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; see `sweeproute --help`."""
    asked = _parser().parse_args(argv)
    # lazy import: --help answers before Hydra is there
    from sweeproute.errors import command

    command(lambda: asked.run(asked), through_hydra=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweeproute",
        description="Find, resume and use what `python train.py` has run.",
        epilog="A SWEEP is its id, its name, or `last`: the newest that was started on this machine.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    best = commands.add_parser("best", help="the best run, and the overrides that reproduce it")
    best.add_argument("--sweep", help="of one sweep; of all when left out")
    best.add_argument("--metric", default="auc", help="what decides (default: %(default)s)")
    best.add_argument("--direction", choices=("maximize", "minimize"), help="follows from the metric when left out")
    best.add_argument("--experiment", help="of one MLflow experiment; of all when left out")
    best.add_argument("--uri", help="the tracking store; the sweep's own when left out")
    form = best.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything, for a program")
    form.add_argument("--overrides", action="store_true", help="the overrides alone, on one line fit for a shell")
    best.set_defaults(run=_best)

    resume = commands.add_parser("resume", help="go on with a sweep where it stopped")
    resume.add_argument("sweep", metavar="SWEEP")
    changed = resume.add_mutually_exclusive_group()
    changed.add_argument("--keep", action="store_true", help="keep what is done although code or data have changed")
    changed.add_argument("--rerun", action="store_true", help="run again what was done before code or data changed")
    resume.set_defaults(run=_resume)

    sync = commands.add_parser("sync", help="write to MLflow what a dead coordinator or a store that was away left out")
    sync.add_argument("sweep", metavar="SWEEP", help="a sweep, or the folder of a sweep or a run")
    sync.add_argument("--uri", help="the tracking store; the sweep's own when left out")
    sync.add_argument("--experiment", help="the experiment; the sweep's own when left out")
    sync.set_defaults(run=_sync)

    predict = commands.add_parser("predict", help="probabilities of the games that are not played yet")
    predict.add_argument("--sweep", default="last", help="whose best configuration predicts (default: %(default)s)")
    predict.add_argument("--metric", default="auc", help="what decides which is the best (default: %(default)s)")
    predict.add_argument("--model", help="a registered model instead, as it is: NAME@ALIAS or NAME/VERSION")
    predict.add_argument("--csv", action="store_true", help="comma-separated values instead of a table")
    predict.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as in data.path=games.csv")
    predict.set_defaults(run=_predict)
    return parser


def _best(asked: argparse.Namespace) -> None:
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


def _resume(asked: argparse.Namespace) -> None:
    import os

    from hydra.core.override_parser.types import Quote, QuotedString

    from sweeproute import pointers
    from sweeproute.tracking_status import saved_settings

    pointer = pointers.find(asked.sweep)
    pointer.check_there()
    if settings := saved_settings(pointer.folder):
        # The shell that started the sweep may have named another store than this one does.
        os.environ |= {"MLFLOW_TRACKING_URI": settings.uri, "MLFLOW_EXPERIMENT_NAME": settings.experiment}
    word = "keep" if asked.keep else "rerun" if asked.rerun else "true"
    left_out = ("resume=", "hydra.sweeper.resume=", "hydra.sweep.dir=")
    words = [text for text in pointer.argv if not text.startswith(left_out)]
    folder = QuotedString(str(pointer.folder), Quote.single).with_quotes()
    words += [f"hydra.sweeper.resume={word}", f"hydra.sweep.dir={folder}"]
    os.chdir(pointer.cwd)
    # The very command, in this process's place: Ctrl-C and the exit code are its own.
    os.execv(pointer.python, [pointer.python, *words])


def _sync(asked: argparse.Namespace) -> None:
    from pathlib import Path

    from sweeproute import pointers
    from sweeproute.tracking import sync

    folder = Path(asked.sweep) if Path(asked.sweep).is_dir() else pointers.find(asked.sweep).folder
    status = sync(folder, asked.uri, asked.experiment)
    print(f"{status.written} of {status.total} runs are written." + (f" {status.problem}" if status.problem else ""))
    if status.problem:
        sys.exit(1)


def _predict(asked: argparse.Namespace) -> None:
    from sweeproute.prediction import predict_upcoming

    table, how = predict_upcoming(asked.sweep, asked.metric, asked.overrides, asked.model)
    print(table.to_csv(index=False) if asked.csv else table.to_string(index=False))
    print(how, file=sys.stderr)


if __name__ == "__main__":
    main()
