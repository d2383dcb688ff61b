"""The command line: `sweeproute COMMAND`, what a person asks of sweeps that have run."""

import argparse
import os
import sys
from collections.abc import Sequence

from sweeproute.commands import (
    best,
    cancel,
    check,
    clean,
    logs,
    pause,
    platforms,
    plots,
    predict,
    promote,
    report,
    reproduce,
    request,
    resume,
    run,
    setup,
    status,
    sync,
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; see `sweeproute --help`."""
    parser = _parser()
    asked, rest = parser.parse_known_args(argv)
    words = getattr(asked, "overrides", None)
    if isinstance(words, list) and not any(word.startswith("-") for word in rest):
        # argparse gives a list of words what stands before the first option, and no more.
        words += rest
    else:
        asked = parser.parse_args(argv)
    # lazy import: --help answers before Hydra is there
    from sweeproute.errors import command

    command(lambda: _run(asked), through_hydra=False)


def _run(asked: argparse.Namespace) -> None:
    # lazy import: see main
    from sweeproute.errors import nobody_reads

    try:
        asked.run(asked)
        sys.stdout.flush()
    except BrokenPipeError:
        nobody_reads()
    except Exception as error:
        # What a store has refused, or that it does not answer, is no error of a program.
        if (
            not type(error).__module__.startswith(("mlflow.", "sqlalchemy."))
            or os.environ.get("HYDRA_FULL_ERROR") == "1"
        ):
            raise
        # lazy import: see main
        from sweeproute.store import StoreError, refusal

        raise StoreError(f"The tracking store {refusal(error, 'refuses')}.") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweeproute",
        description="Find, resume and use what `python train.py` has run.",
        epilog="A SWEEP is its id, its name, or `last`: the newest that was started on this machine.",
    )
    parser.add_argument("--version", action=_Version, help="say which version this is")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    asking = (run, request, status, logs, resume, cancel, best, promote, reproduce, predict, report, plots, sync)
    for command in (*asking, platforms, pause, check, setup, clean):
        command.add(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up when it is asked for: the look costs more than the rest of --help."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print the version, and end."""
        from importlib.metadata import version

        print(f"sweeproute {version('sweeproute')}")
        parser.exit()


if __name__ == "__main__":
    main()
