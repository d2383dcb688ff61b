"""`sweeproute sync`: writes to MLflow what is not there yet of a sweep, here or elsewhere."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sweeproute.commands import Commands

if TYPE_CHECKING:
    from sweeproute.commands.elsewhere import Contact
    from sweeproute.pointers import Pointer
    from sweeproute.tracking_status import Status


class UnfitOptionError(ValueError):
    """An option does not go with what is to be written."""


def add(commands: Commands) -> None:
    """Add the command's words."""
    sync = commands.add_parser("sync", help="write to MLflow what a dead coordinator or a store that was away left out")
    sync.add_argument(
        "sweep", metavar="SWEEP", help="a sweep, the folder of a sweep or a run, or one that journal: has written"
    )
    sync.add_argument("--uri", help="the tracking store; the sweep's own when left out")
    sync.add_argument("--experiment", help="the experiment; the sweep's own when left out")
    sync.add_argument(
        "--clock-offset-ms", type=int, metavar="N", help="added to every time of a journal: folder, in milliseconds"
    )
    sync.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Write what is missing, and say how much is written."""
    from sweeproute import pointers
    from sweeproute.mlflow_journal import is_journal
    from sweeproute.mlflow_journal_folder import is_folder_of_journals
    from sweeproute.progress import counted
    from sweeproute.project_folder import is_project
    from sweeproute.store import StoreError
    from sweeproute.tracking import sync

    folder = _folder(asked.sweep) if is_journal(asked.sweep) else Path(asked.sweep)
    if is_folder_of_journals(folder):
        return _from_journals(folder, asked)
    if is_journal(asked.sweep):
        raise StoreError(f"There is no folder of journals at {str(folder)!r}; nothing has logged to {asked.sweep} yet.")
    if asked.clock_offset_ms is not None:
        raise UnfitOptionError(
            f"--clock-offset-ms is for a folder that journal: has written, and {asked.sweep!r} is none; leave it out."
        )
    pointer = None if Path(asked.sweep).is_dir() else pointers.find(asked.sweep)
    if is_project(root := Path(asked.sweep) if pointer is None else pointer.folder):
        return _project(root, asked)
    came = None
    if pointer is not None and pointer.on is not None:
        status, came = _from_elsewhere(pointer, asked.uri, asked.experiment)
    else:
        status = sync(Path(asked.sweep) if pointer is None else pointer.folder, asked.uri, asked.experiment)
    said = f"{status.written} of {counted(status.total, 'run')} {'is' if status.total == 1 else 'are'} written."
    print(said + (f" {status.problem}" if status.problem else ""))
    well = True
    if pointer is not None and came is not None and came.living is False:
        # Its coordinator has no store, and no folder of here.
        from sweeproute.commands import coming_home

        well = coming_home.make_report(pointer, asked.uri, changed=came.files > 0)
    if status.problem or not well:
        sys.exit(1)


def _folder(address: str) -> Path:
    from sweeproute.mlflow_journal import folder_of
    from sweeproute.store import StoreError

    try:
        return folder_of(address)
    except ValueError as error:
        raise StoreError(f"{error}") from None


def _from_journals(folder: Path, asked: argparse.Namespace) -> None:
    """Bring what MLflow's own calls have written to `journal:` into a real store."""
    from sweeproute.mlflow_journal_sync import sync
    from sweeproute.progress import counted

    if asked.experiment is not None:
        raise UnfitOptionError(
            f"--experiment is for sweeps: the runs in {str(folder)!r} go to the experiments that they were logged to; "
            "leave it out."
        )
    status = sync(folder, asked.uri, asked.clock_offset_ms)
    said = f"{status.written} of {counted(status.total, 'run')} {'is' if status.total == 1 else 'are'} written."
    if status.written < status.total and status.problem is None:
        said += " The others have not ended; what they have logged by now is written, too."
    print(said + (f" {status.problem}" if status.problem else ""))
    if status.problem:
        sys.exit(1)


def _project(root: Path, asked: argparse.Namespace) -> None:
    """Bring home a routed run of an MLflow project whose coordinator has died, or whose store was away."""
    from sweeproute import project_folder
    from sweeproute.mlflow_backend import RoutedRun
    from sweeproute.tracking import refusal

    if asked.uri is not None or asked.experiment is not None:
        raise UnfitOptionError(
            "--uri and --experiment are for sweeps and folders of journals: the run of a project is in the store that "
            "it was started with; leave them out."
        )
    run = RoutedRun(project_folder.load(root).run_id)
    try:
        status = run.bring_home()
    except Exception as error:  # whatever a store raises
        print(f"0 of 1 run is written. The store {refusal(error)}.")
        sys.exit(1)
    if status != "RUNNING":
        print(f"1 of 1 run is written: {run.run_id}, {status}.")
        return
    process = project_folder.coordinator(root)
    print(f"Run {run.run_id} has not ended; process {process.pid if process else '?'} sees to it, and writes it then.")


def _from_elsewhere(pointer: "Pointer", uri: str | None, experiment: str | None) -> "tuple[Status, Contact]":
    """Bring a sweep's folder home, then write what came; jobs that may still run are not written as ended."""
    from contextlib import ExitStack

    from filelock import FileLock, Timeout

    from sweeproute.commands import coming_home, elsewhere
    from sweeproute.commands.check import note
    from sweeproute.progress import counted
    from sweeproute.sweep_folder import own, sweep_record
    from sweeproute.tracking import sync

    assert pointer.on is not None
    own(pointer.folder, "").mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            # Who holds it has the sweep: while its coordinator may live, that is true of nobody here but this.
            held.enter_context(FileLock(own(pointer.folder, "lock"), timeout=0))
        except Timeout:
            raise elsewhere.ElsewhereError(
                f"Another process brings {pointer.id} home right now. Try again when it has ended."
            ) from None
        contact = elsewhere.bring(pointer, everything=True, patience_s=elsewhere.WORK_S)
        for one in contact.left_out:
            note(one)
        if contact.problem:
            note(f"{contact.problem} What is here already is written.")
        else:
            print(f"{counted(contact.files, 'file')} came from {pointer.on.platform}.")
        if sweep_record(pointer.folder) is None:
            raise elsewhere.ElsewhereError(f"Nothing of {pointer.id} is here yet.")
        coming_home.enter_holdout(pointer)
        if contact.living is False:
            held.close()
        status = sync(pointer.folder, uri, experiment)
    if contact.problem:
        sys.exit(1)
    return status, contact
