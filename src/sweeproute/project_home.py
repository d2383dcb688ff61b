"""Brings into the run of an MLflow project what its job has left: what it logged, what it printed, how it ended."""

from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sweeproute import journal, project_command, project_folder, tracking, tracking_status
from sweeproute.launch_facts import launch_tags
from sweeproute.mlflow_journal_folder import JournalFolder, is_folder_of_journals
from sweeproute.mlflow_journal_records import RunRecord
from sweeproute.mlflow_journal_replay import JournalReplay
from sweeproute.mlflow_limits import clean_tags
from sweeproute.replay import Phase
from sweeproute.store import StoreError, connect
from sweeproute.store_run import StoreRun
from sweeproute.sweep_folder import ENDED, OWN, Attempt, Outcome, SweepFolder, launch_record, own, sweep_record

# Of a job's tags those that are of a trial among others, and mean nothing for a run alone.
_OF_TRIALS = ("sweeproute.current", "sweeproute.superseded", "sweeproute.overrides")
# What the launcher knows better than the command does.
_LAUNCHERS = ("platform", "reason", "decision", "queue_s", "run_s", "state", "error")
_BUSY_S = 10.0
# Milliseconds from a job's start to the first line of its journal, at most.
_START_MS = 10_000
DIED = "what saw to it was killed, and its command with that"
_DESCRIPTION = "mlflow.note.content"


def bring(root: Path, uri: str, problem: str | None = None) -> str:
    """Write to the run what is not there yet; once more changes nothing.

    Args:
        root: The run's folder.
        uri: The store, with its password.
        problem: Why its sweep did not go through, where that is known.

    Returns:
        How the run ended: FINISHED, FAILED or KILLED; RUNNING where it has not.

    Raises:
        TrackingBusyError: Another process is writing it.
        Exception: Whatever the store raises when it refuses.
    """
    try:
        with FileLock(own(root, project_folder.LOCK), timeout=_BUSY_S):
            return _bring(root, uri, problem)
    except Timeout:
        raise tracking.TrackingBusyError(
            f"Another process is writing the run in {str(root)!r} right now. Try again when it has ended."
        ) from None


def _bring(root: Path, uri: str, problem: str | None) -> str:
    run = project_folder.load(root)
    client = connect(uri)
    outcomes = SweepFolder(root).outcomes()
    outcome = outcomes[0] if outcomes else None
    status = _status(root, outcome, problem)
    if client.get_run(run.run_id).info.lifecycle_stage == "deleted":
        # By a person: it is left alone.
        project_folder.note_written(root, status)
        return status
    if status == "RUNNING":
        return status
    for attempt in SweepFolder(root).attempts() if outcome is None else [outcome.attempt]:
        _replay(attempt, uri, run.run_id)
        _track(attempt, uri, run)
    # Read anew: what was replayed may have set it.
    found = StoreRun.found(_store(client, uri, run), client.get_run(run.run_id))
    if outcome is not None and (log := outcome.attempt.folder / project_command.CONSOLE).is_file():
        found.keep([log], log.parent, "sweeproute.log")
    found.write(tags=_tags(outcome, found, run.sweep, status, problem))
    found.end(status, None)
    project_folder.note_written(root, status)
    if (settings := tracking_status.saved_settings(root, uri)) is not None:
        tracking_status.save(root, settings, tracking_status.Status(1, 1))
    return status


def _status(root: Path, outcome: Outcome | None, problem: str | None) -> str:
    record = sweep_record(root) or {}
    if outcome is not None and outcome.state in ENDED:
        return {"FINISHED": "FINISHED", "KILLED": "KILLED"}.get(outcome.state, "FAILED")
    if record.get("state") == "KILLED":
        return "KILLED"
    launch = {} if outcome is None else launch_record(outcome.attempt.folder) or {}
    if launch and not launch.get("far"):
        # What ran here died with its coordinator, and has begun to write: it is not begun anew unasked.
        return "KILLED"
    return "FAILED" if problem is not None and not launch else "RUNNING"


def _replay(attempt: Attempt, uri: str, run_id: str) -> None:
    folder = attempt.folder / project_command.JOURNAL
    if is_folder_of_journals(folder):
        files = JournalFolder(folder)
        replay = JournalReplay(files, uri, _behind_ms(attempt, files.run(run_id)), adopted=(run_id,))
        for id in replay.attach():
            replay.write(id)
        replay.write_models()


def _track(attempt: Attempt, uri: str, run: project_folder.ProjectRun) -> None:
    """Write the trials of an app of ours that ran over there: each has a journal in its own folder, and no store."""
    work = attempt.folder / project_command.WORK
    if not is_folder_of_journals(attempt.folder / project_command.JOURNAL):
        return
    sweeps = [path.parent.parent for path in sorted(work.rglob(f"{OWN}/sweep.json"))]
    alone = [
        path.parent
        for path in sorted(work.rglob(journal.FILE))
        if (path.parent / ".hydra").is_dir() and not any(path.is_relative_to(sweep) for sweep in sweeps)
    ]
    # A trial alone is the project's run itself; of several none is.
    for root in [*sweeps, *(alone if len(alone) == 1 else ())]:
        settings = tracking_status.Settings(uri, run.experiment, parent_run=run.run_id)
        status = tracking.Tracker(root, settings).drain(Phase.OVER)
        if status.problem is not None:
            raise StoreError(status.problem)


def _behind_ms(attempt: Attempt, begun: Path) -> int:
    """By how many milliseconds the clock of the machine was behind that ran an attempt.

    The launcher has its start by this machine's clock, and its journal by that one's; what a start takes is no such
    difference.
    """
    began, noted = (launch_record(attempt.folder) or {}).get("started_at"), RunRecord.head(begun).started
    apart = int(float(began) * 1000) - noted if began and noted else 0
    return apart if abs(apart) > _START_MS else 0


def _tags(outcome: Outcome | None, found: StoreRun, sweep: str, status: str, problem: str | None) -> dict[str, str]:
    tags: dict[str, str] = {}
    if outcome is not None:
        told = launch_tags(outcome.attempt, launch_record(outcome.attempt.folder), superseded=False, ended=True)
        better = {f"sweeproute.{name}" for name in _LAUNCHERS}
        tags |= {
            name: value
            for name, value in told.items()
            if name not in _OF_TRIALS and (name in better or name not in found.tags)
        }
    elif problem is not None:
        tags["sweeproute.error"] = problem
    tags |= {name: value for name, value in _marks(sweep).items() if name not in found.tags}
    tags["sweeproute.state"] = status
    if status != "FINISHED" and _DESCRIPTION not in found.tags:
        tags[_DESCRIPTION] = tags.get("sweeproute.error") or problem or DIED
    return dict(clean_tags(tags))


def _marks(sweep: str) -> dict[str, str]:
    return {"sweeproute.kind": "project", "sweeproute.routed": sweep}


def _store(client: Any, uri: str, run: project_folder.ProjectRun) -> Any:
    from sweeproute.store import Store

    return Store(client, uri, run.experiment, client.get_run(run.run_id).info.experiment_id)
