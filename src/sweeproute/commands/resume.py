"""`sweeproute resume`: goes on with a sweep where it stopped."""

import argparse
import os

from sweeproute.commands import Commands


def add(commands: Commands) -> None:
    """Add the command's words."""
    resume = commands.add_parser("resume", help="go on with a sweep where it stopped")
    resume.add_argument("sweep", metavar="SWEEP")
    changed = resume.add_mutually_exclusive_group()
    changed.add_argument("--keep", action="store_true", help="keep what is done although code or data have changed")
    changed.add_argument("--rerun", action="store_true", help="run again what was done before code or data changed")
    resume.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Run the sweep's own command again, told to go on."""
    from hydra.core.override_parser.types import Quote, QuotedString

    from sweeproute import pointers
    from sweeproute.progress import counted, progress
    from sweeproute.tracking_status import saved_settings

    pointer = pointers.find(asked.sweep)
    pointer.check_there()
    found = progress(pointer)
    if found.state == "finished" and found.count("done") == found.total and not asked.rerun:
        print(f"All of {pointer.id} is done ({counted(found.total or 0)}). Say --rerun to run it again.")
        return
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
