"""`sweeproute resume`: goes on with a sweep where it stopped."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sweeproute.commands import Commands

if TYPE_CHECKING:
    from sweeproute.pointers import Pointer
    from sweeproute.progress import Progress


def add(commands: Commands) -> None:
    """Add the command's words."""
    resume = commands.add_parser("resume", help="go on with a sweep where it stopped")
    resume.add_argument("sweep", metavar="SWEEP")
    resume.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="how far a search is to go: hydra.sweeper.n_trials=200"
    )
    changed = resume.add_mutually_exclusive_group()
    changed.add_argument("--keep", action="store_true", help="keep what is done although code or data have changed")
    changed.add_argument("--rerun", action="store_true", help="run again what was done before code or data changed")
    resume.set_defaults(run=run)


class ResumeError(ValueError):
    """A sweep cannot be gone on with in the way that was asked for."""


def run(asked: argparse.Namespace) -> None:
    """Run the sweep's own command again, told to go on."""
    from hydra.core.override_parser.types import Quote, QuotedString

    from hydra_plugins.sweeproute._records import ENDS, says_how_far
    from sweeproute import pointers
    from sweeproute.progress import progress
    from sweeproute.tracking_status import saved_settings

    pointer = pointers.find(asked.sweep)
    for ends in asked.overrides:
        if not says_how_far(ends):
            raise ResumeError(
                f"resume goes on with a sweep as it was begun, and {ends} would change it. It takes "
                f"{' and '.join(one + 'N' for one in ENDS)}, for a search; with anything else begin a new sweep."
            )
    word = "keep" if asked.keep else "rerun" if asked.rerun else "true"
    if pointer.on is not None:
        _elsewhere(pointer, word, asked.overrides)
        return
    pointer.check_there()
    found = progress(pointer)
    if _done(found) and word != "rerun" and not asked.overrides:
        print(_all_done(pointer, found, pointer.argv))
        return
    if settings := saved_settings(pointer.folder):
        # The shell that started the sweep may have named another store than this one does.
        os.environ |= {"MLFLOW_TRACKING_URI": settings.uri, "MLFLOW_EXPERIMENT_NAME": settings.experiment}
    left_out = ("resume=", "hydra.sweeper.resume=", "hydra.sweep.dir=")
    words = [text for text in _as_far_as(pointer.argv, asked.overrides) if not text.startswith(left_out)]
    folder = QuotedString(str(pointer.folder), Quote.single).with_quotes()
    words += [f"hydra.sweeper.resume={word}", f"hydra.sweep.dir={folder}"]
    os.chdir(pointer.cwd)
    # The very command, in this process's place: Ctrl-C and the exit code are its own.
    os.execv(pointer.python, [pointer.python, *words])


def _done(found: "Progress") -> bool:
    return found.state == "finished" and found.count("done") + found.count("pruned") == found.total


def _all_done(pointer: "Pointer", found: "Progress", words: Sequence[str]) -> str:
    from hydra_plugins.sweeproute._records import says_how_far
    from sweeproute.progress import counted

    said = f"All of {pointer.id} is done ({counted(found.total or 0)}). Say --rerun to run it again"
    ends = [word for word in words if says_how_far(word)]
    return f"{said}, or how far to go: {ends[-1].lstrip('+').partition('=')[0]}=N." if ends else f"{said}."


def _as_far_as(words: Sequence[str], ends: Sequence[str]) -> list[str]:
    """A command that is to go as far as it is told now; as far as before where it is told nothing."""
    from hydra_plugins.sweeproute._records import as_far_as

    return as_far_as(words, ends) if ends else list(words)


def _elsewhere(pointer: "Pointer", word: str, ends: Sequence[str]) -> None:
    """Start the coordinator again on the machine where it was, with the code that it had."""
    from submitit_ssh.errors import FarError
    from sweeproute.commands import elsewhere

    assert pointer.on is not None
    contact = elsewhere.bring(pointer, everything=False, patience_s=elsewhere.WORK_S)
    if contact.problem:
        raise elsewhere.ElsewhereError(contact.problem)
    if contact.living:
        print(f"{pointer.id} runs on {pointer.on.platform}. `sweeproute status {pointer.id}` looks at it.")
        return
    found = elsewhere.progress_of(contact)
    if _done(found) and word != "rerun" and not ends:
        print(_all_done(pointer, found, pointer.on.words))
        return
    further = tuple(_as_far_as(pointer.on.words, ends))
    words = (*further, f"hydra.sweeper.resume={word}")
    try:
        with elsewhere.channel(pointer, elsewhere.WORK_S) as far:
            answer = elsewhere.start(pointer, far, words, again=True)
    except FarError as error:
        raise elsewhere.ElsewhereError(f"{pointer.on.platform}: {error}") from None
    argv = tuple(_as_far_as(pointer.argv, ends))
    goes_on = replace(contact.pointer, argv=argv, on=replace(contact.pointer.on or pointer.on, words=further))
    elsewhere.saw(goes_on, living=answer["code"] is None)
    if not answer["has"] and answer["code"] is not None:
        said = bytes(answer["payload"]).decode(errors="replace").strip()
        raise elsewhere.ElsewhereError(f"{said}\nThat is what it said on {pointer.on.platform}, where it has ended.")
    print(f"{pointer.id} goes on on {pointer.on.platform}, as process {answer['pid']} there.")
