"""`sweeproute run`: runs exactly what a plan says, or a sweep whose coordinator is on a far machine."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from sweeproute.commands import Commands

_FILE = "plan.json"


class PlanError(LookupError):
    """There is no plan, or what it needs to run is not there."""


def add(commands: Commands) -> None:
    """Add the command's words."""
    run_ = commands.add_parser(
        "run",
        help="run exactly what a plan says, or with --on a sweep that a far machine runs while this one is shut",
        usage="%(prog)s PLAN\n       %(prog)s --on PLATFORM [--app FILE] -- -m OVERRIDE ...",
    )
    run_.add_argument("--on", metavar="PLATFORM", help="start the sweep's coordinator on this platform of the registry")
    run_.add_argument("--app", metavar="FILE", default="train.py", help="the script (default: %(default)s)")
    run_.add_argument(
        "words",
        nargs="*",
        metavar="PLAN",
        help="a plan.json, or the folder that it lies in (hydra.launcher.dry_run=true makes one)",
    )
    run_.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Run what was asked for."""
    if asked.on is not None:
        from sweeproute.commands.run_on import run_on

        run_on(asked.on, asked.app, asked.words)
    elif len(asked.words) == 1:
        _run_plan(asked.words[0])
    else:
        raise PlanError(
            "`sweeproute run PLAN` takes one plan. A sweep on a far machine: "
            "`sweeproute run --on PLATFORM -- -m model=xgboost`."
        )


def _run_plan(plan_of: str) -> None:
    """Run the plan's own command again, bound to the plan."""
    from hydra.core.override_parser.types import Quote, QuotedString

    path = Path(plan_of).absolute()
    path = path / _FILE if path.is_dir() else path
    plan = _read(path)
    _check_there(plan)
    # The sweep makes a folder of its own, unless the command names one.
    words = [
        text
        for text in plan["argv"]
        if not text.lstrip("+").startswith(("hydra.launcher.dry_run=", "hydra.launcher.plan="))
    ]
    words.append(f"hydra.launcher.plan={QuotedString(str(path), Quote.single).with_quotes()}")
    os.chdir(plan["cwd"])
    # In this process's place: Ctrl-C and the exit code are the sweep's own.
    os.execv(plan["python"], [plan["python"], *words])


def _read(path: Path) -> dict[str, Any]:
    try:
        plan = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise PlanError(
            f"There is no plan {str(path)!r}. A sweep's command makes one when hydra.launcher.dry_run=true is added."
        ) from None
    except (OSError, ValueError) as error:
        raise PlanError(f"{str(path)!r} is no plan: {error}.") from None
    if not isinstance(plan, dict) or not {"argv", "cwd", "python", "jobs"} <= plan.keys():
        raise PlanError(f"{str(path)!r} is no plan: it does not say which command it is of (argv, cwd, python, jobs).")
    return plan


def _check_there(plan: dict[str, Any]) -> None:
    for what, place in {"working directory": plan["cwd"], "Python": plan["python"]}.items():
        if not Path(place).exists():
            raise PlanError(f"The {what} of the plan, {place}, is not there any more; put it back, or make a new plan.")
