"""`sweeproute resume`: goes on with a sweep where it stopped."""

import argparse
import os
from typing import TYPE_CHECKING

from sweeproute.commands import Commands

if TYPE_CHECKING:
    from sweeproute.pointers import Pointer


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
    word = "keep" if asked.keep else "rerun" if asked.rerun else "true"
    if pointer.on is not None:
        _elsewhere(pointer, word)
        return
    pointer.check_there()
    found = progress(pointer)
    if found.state == "finished" and found.count("done") == found.total and not asked.rerun:
        print(f"All of {pointer.id} is done ({counted(found.total or 0)}). Say --rerun to run it again.")
        return
    if settings := saved_settings(pointer.folder):
        # The shell that started the sweep may have named another store than this one does.
        os.environ |= {"MLFLOW_TRACKING_URI": settings.uri, "MLFLOW_EXPERIMENT_NAME": settings.experiment}
    left_out = ("resume=", "hydra.sweeper.resume=", "hydra.sweep.dir=")
    words = [text for text in pointer.argv if not text.startswith(left_out)]
    folder = QuotedString(str(pointer.folder), Quote.single).with_quotes()
    words += [f"hydra.sweeper.resume={word}", f"hydra.sweep.dir={folder}"]
    os.chdir(pointer.cwd)
    # The very command, in this process's place: Ctrl-C and the exit code are its own.
    os.execv(pointer.python, [pointer.python, *words])


def _elsewhere(pointer: "Pointer", word: str) -> None:
    """Start the coordinator again on the machine where it was, with the code that it had."""
    from submitit_ssh.errors import FarError
    from sweeproute.commands import elsewhere
    from sweeproute.progress import counted

    assert pointer.on is not None
    contact = elsewhere.bring(pointer, everything=False, patience_s=elsewhere.WORK_S)
    if contact.problem:
        raise elsewhere.ElsewhereError(contact.problem)
    if contact.living:
        print(f"{pointer.id} runs on {pointer.on.platform}. `sweeproute status {pointer.id}` looks at it.")
        return
    found = elsewhere.progress_of(contact)
    if found.state == "finished" and found.count("done") == found.total and word != "rerun":
        print(f"All of {pointer.id} is done ({counted(found.total or 0)}). Say --rerun to run it again.")
        return
    words = (*pointer.on.words, f"hydra.sweeper.resume={word}")
    try:
        with elsewhere.channel(pointer, elsewhere.WORK_S) as far:
            answer = elsewhere.start(pointer, far, words, again=True)
    except FarError as error:
        raise elsewhere.ElsewhereError(f"{pointer.on.platform}: {error}") from None
    elsewhere.saw(contact.pointer, living=answer["code"] is None)
    if not answer["has"] and answer["code"] is not None:
        said = bytes(answer["payload"]).decode(errors="replace").strip()
        raise elsewhere.ElsewhereError(f"{said}\nThat is what it said on {pointer.on.platform}, where it has ended.")
    print(f"{pointer.id} goes on on {pointer.on.platform}, as process {answer['pid']} there.")
