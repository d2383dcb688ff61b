"""Brings a `journal:` folder into a real tracking store, and finds there what had another id in it."""

import os
import traceback
from pathlib import Path

from filelock import FileLock, Timeout

from sweeproute.mlflow_journal import SCHEME, is_journal
from sweeproute.mlflow_journal_folder import JournalFolder
from sweeproute.mlflow_journal_replay import ID, JournalReplay
from sweeproute.store import DEFAULT_URI, StoreError, absolute, connect, masked
from sweeproute.store_run import found_runs
from sweeproute.sweep_folder import own
from sweeproute.tracking import LOCK, TrackingBusyError, log, refusal
from sweeproute.tracking_status import Status

# Seconds that one replay waits for another, and failures in a row that mean that the store is away.
_BUSY_S, _AWAY = 10.0, 3


def sync(root: Path, uri: str | None = None, clock_offset_ms: int | None = None) -> Status:
    """Write to a real store what is not there yet of a `journal:` folder; once more changes nothing.

    Args:
        root: The folder.
        uri: The store; MLFLOW_TRACKING_URI, else MLflow's default, when None.
        clock_offset_ms: Milliseconds that are added to every time; what the journals themselves say when None.

    Returns:
        How many runs have ended and stand in the store whole, of how many.

    Raises:
        StoreError: The store named is a `journal:` folder itself, or an experiment was deleted there.
        TrackingBusyError: Another process replays this folder.
    """
    root = Path(root).absolute()
    uri = absolute(uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI)
    if is_journal(uri):
        raise StoreError(
            f"{uri} is a folder of journals and no store to bring them to; name one, for example "
            f"--uri {DEFAULT_URI} or --uri http://localhost:5000."
        )
    own(root, LOCK).parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(own(root, LOCK), timeout=_BUSY_S):
            return _write(JournalReplay(JournalFolder(root), uri, clock_offset_ms), uri)
    except Timeout:
        raise TrackingBusyError(
            f"Another process is writing the runs of {str(root)!r} right now. Try again when it has ended."
        ) from None


def new_id(id: str, uri: str | None = None) -> str:
    """The id in a real store of a run or a logged model that had another in a `journal:` folder.

    Args:
        id: The id in the folder.
        uri: The store; see `sync`.

    Returns:
        Its id there.

    Raises:
        StoreError: It is not there.

    Example:
        With MLflow alone the same search is ``tags.`sweeproute.journal` = 'ID'``.
    """
    uri = absolute(uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI)
    client = connect(uri)
    experiments, token = [], None
    while token != "":
        page = client.search_experiments(page_token=token)
        experiments += [experiment.experiment_id for experiment in page]
        token = page.token or ""
    found: list[str] = []
    if id.startswith("m-"):
        models = client.search_logged_models(experiments, f"tags.`{ID}` = '{id}'", max_results=1)
        found = [model.model_id for model in models]
    else:
        found = [run.info.run_id for run in found_runs(client, experiments, ID, id)]
    if not found:
        raise StoreError(
            f"{masked(uri)} has no run or model that was {id} in a {SCHEME} folder; bring it there by sweeproute sync "
            f"FOLDER --uri {masked(uri)}."
        )
    return found[0]


def _write(replay: JournalReplay, uri: str) -> Status:
    written = failed = 0
    problem = None

    def note(error: Exception) -> str:
        trace = "" if isinstance(error, StoreError) else "\n" + masked("".join(traceback.format_exception(error)))
        said = f"{masked(uri)} {refusal(error)}"
        log.warning("%s%s", said, trace)
        return said

    try:
        runs = replay.attach()
    except StoreError:
        raise
    except Exception as error:
        return Status(0, 0, note(error))
    for id in runs:
        try:
            written += replay.write(id)
            failed = 0
        except Exception as error:
            problem, failed = note(error), failed + 1
            if failed == _AWAY:
                break
    if problem is None:
        try:
            replay.write_models()
        except Exception as error:
            problem = note(error)
    return Status(written, len(runs), problem)
