"""Keeps the tracking store up to date with a sweep's folder: the only writer of runs.

`python -m sweeproute.tracking FOLDER` is a process beside the coordinator, so that neither a store that is slow nor
one that is away holds up a job. It follows the folder until the coordinator says `over` on its standard input, or is
gone; `sync` does the same once, for a sweep whose coordinator is dead.
"""

import argparse
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sweeproute import code_snapshot, journal, plots
from sweeproute.mlflow_journal import is_journal
from sweeproute.pointers import SweepGoneError
from sweeproute.replay import Phase, Replay
from sweeproute.score_text import result
from sweeproute.selection import DirectionError, rule
from sweeproute.store import DEFAULT_EXPERIMENT, DEFAULT_URI, StoreError, absolute, masked, open_store, refusal
from sweeproute.sweep_facts import sweep_tags
from sweeproute.sweep_folder import ENDED, Attempt, Outcome, SweepFolder, choose, launch_record, own, sweep_record
from sweeproute.tracking_status import UNFINISHED, Settings, Status, add_copy, home, save, saved_settings, saved_status

log = logging.getLogger(__name__)

# What the coordinator says when all jobs have ended.
OVER = "over"
# The lock that makes one process the writer of a folder.
LOCK = "tracking.lock"
# Seconds between two looks at the folder, and the longest pause while the store fails.
_POLL_S, _LONGEST_PAUSE_S = 1.0, 30.0
# Seconds without a single success after which the last writing gives up.
_PATIENCE_S = 10.0
# Seconds that `sync` waits for another writer.
_BUSY_S = 10.0
# Failures in a row that mean that the store is away, not that one run is at fault.
_AWAY = 3


class TrackingBusyError(RuntimeError):
    """Another process is writing this folder's runs."""


class Tracker:
    """Writes the runs of one folder, again and again while it grows; the folder's lock is the caller's to hold."""

    def __init__(self, root: Path, settings: Settings, keep: bool = True) -> None:
        """Begin with nothing written; keep: whether word is left in the folder of where its runs go, and how far."""
        self._root = root
        self._keep = keep
        self._settings = settings
        self._folder = SweepFolder(root)
        self._replay: Replay | None = None
        # What the files of each job looked like when they were last written, and the jobs that have no more to come.
        self._seen: dict[Any, tuple[object, ...]] = {}
        self._settled: set[Any] = set()
        self._problem: str | None = None
        self._saved_at = 0.0
        # Snapshots of the code that stand in the store.
        self._patches = 0

    def look(self, phase: Phase = Phase.FOLLOWING) -> tuple[int, int]:
        """Write what is new in the folder, as far as the store takes it.

        Args:
            phase: What is known of the jobs.

        Returns:
            How many jobs were written, and how many could not be.
        """
        if phase is Phase.FOLLOWING and self._replay is None and not self._has_results():
            return 0, 0
        written = failed = 0
        for job, attempts in self._jobs().items():
            if phase is Phase.FOLLOWING and job in self._settled and len(self._seen[job]) == len(attempts):
                continue
            # Taken before the files are read: what changes meanwhile is news at the next look.
            looks = tuple(_look(attempt.folder) for attempt in attempts)
            if self._seen.get(job) == looks or not any(any(look) for look in looks):
                continue
            if failed >= _AWAY and not written:
                failed += 1
                continue
            try:
                self._replay = self._replay or self._open()
                settled = self._replay.write(attempts, phase)
            except Exception as error:
                self._failed(error)
                failed += 1
                continue
            written += 1
            self._write_code()
            self._seen[job] = looks
            (self._settled.add if settled else self._settled.discard)(job)
            self._save()
        if not failed:
            self._problem = None
        return written, failed

    def _has_results(self) -> bool:
        """Whether a job has scored or ended: until then the jobs' own imports have the machine, and MLflow's wait."""
        return any(
            any(entry.get("metrics") for entry in journal.read(attempt.folder)[0])
            or (launch_record(attempt.folder) or {}).get("state") in ENDED
            for attempts in self._jobs().values()
            for attempt in attempts
        )

    def drain(self, phase: Phase) -> Status:
        """Write all that is there; give up when the store has failed for a while without one success.

        Args:
            phase: LEAVING or OVER.

        Returns:
            How far it came.
        """
        # The phase decides how what has no end ends, so these are looked at again though nothing has changed.
        self._seen = {job: looks for job, looks in self._seen.items() if job in self._settled}
        deadline, pause = time.monotonic() + _PATIENCE_S, 0.5
        while True:
            written, failed = self.look(phase)
            if not failed:
                self._finish(phase)
                break
            if written:
                deadline, pause = time.monotonic() + _PATIENCE_S, 0.5
            if time.monotonic() + pause > deadline:
                break
            time.sleep(pause)
            pause *= 2
        self._save(now=True)
        return self.status()

    def status(self) -> Status:
        """How far it is."""
        jobs = {job: sum(any(_look(attempt.folder)) for attempt in attempts) for job, attempts in self._jobs().items()}
        return Status(sum(jobs[job] for job in self._settled if job in jobs), sum(jobs.values()), self._problem)

    def announce(self) -> None:
        """Leave word where the runs go, so that `sync` can go on should this process die."""
        self._save(now=True)

    def _open(self) -> Replay:
        settings = self._settings
        sweep = sweep_record(self._root)
        if sweep is None and self._folder.is_sweep():
            # Another launcher's sweep: its folder's name is all that tells it from others.
            sweep = {"id": f"{self._root.parent.name}/{self._root.name}", "argv": [settings.script]}
        store = open_store(settings.uri, settings.experiment, settings.parent_run)
        replay = Replay(
            store,
            self._root,
            sweep,
            models=settings.models,
            parent_run=settings.parent_run,
            script=settings.script,
        )
        replay.attach()
        return replay

    def _finish(self, phase: Phase) -> None:
        """Write what only the end of a sweep can tell: the best model, and how the sweep ended."""
        sweep = sweep_record(self._root)
        state = (sweep or {}).get("state")
        outcomes = self._folder.outcomes()
        if sweep is None and phase is Phase.LEAVING and all(outcome.state in ENDED for outcome in outcomes):
            # Another launcher's sweep that failed or was stopped: Hydra then tells no callback of its end.
            state = "FAILED" if any(outcome.state == "FAILED" for outcome in outcomes) else "KILLED"
        if self._replay is None or (phase is not Phase.OVER and state not in ENDED):
            return
        told = ""
        try:
            with suppress(DirectionError):
                choice = choose(outcomes, rule(sweep, self._settings.metric))
                if choice.winner is not None:
                    first = choice.winner.repeats[0].attempt
                    if self._settings.models == "best":
                        self._replay.write_model(first)
                    told = result(choice, self._replay.link(first))
            if state == "RUNNING":
                state = "KILLED"  # its coordinator died
            elif state not in ENDED:
                state = "FAILED" if any(outcome.state in ("FAILED", "LOST") for outcome in outcomes) else "FINISHED"
            ended = (sweep or {}).get("ended")
            self._replay.write_plots(self._root / plots.FOLDER)
            text = "\n\n".join(part for part in (_counts(outcomes), _first_error(outcomes), told) if part)
            facts = sweep_tags(self._root, sweep)
            self._replay.finish(str(state), int(float(ended) * 1000) if ended else None, text, facts)
        except Exception as error:
            self._failed(error)

    def _write_code(self) -> None:
        """Keep the snapshot of the code, which more than its sweep needs to be written for."""
        try:
            if self._replay is not None and len(patches := code_snapshot.kept(self._root)) != self._patches:
                self._replay.write_code(patches)
                self._patches = len(patches)
        except Exception as error:
            self._failed(error)

    def _jobs(self) -> dict[Any, list[Attempt]]:
        jobs: dict[Any, list[Attempt]] = {}
        for attempt in self._folder.attempts():
            jobs.setdefault(attempt.folder if attempt.job is None else attempt.job, []).append(attempt)
        return jobs

    def _failed(self, error: Exception) -> None:
        self._problem = f"{masked(self._settings.uri)} {refusal(error)}"
        trace = "" if isinstance(error, StoreError) else "\n" + masked("".join(traceback.format_exception(error)))
        log.warning("%s%s", self._problem, trace)

    def _save(self, now: bool = False) -> None:
        # Twice a second is enough for whoever watches, and cheap at ten thousand jobs.
        if not self._keep or (not now and time.monotonic() - self._saved_at < 0.5):
            return
        self._saved_at = time.monotonic()
        save(self._root, self._settings, self.status())


def sync(root: Path, uri: str | None = None, experiment: str | None = None) -> Status:
    """Replay once what a coordinator that is dead, or a store that was away, left unwritten.

    Args:
        root: The folder of a sweep, or of one run.
        uri: The store; the one that the coordinator wrote to when None. Another one gets a copy, and the runs stay
            where they are looked for; unless none of them has been written there.
        experiment: The experiment; the coordinator's when None.

    Returns:
        How far it came.

    Raises:
        TrackingBusyError: Another process is writing this folder's runs.
        StoreError: The store's address was kept without its password, or names a folder of journals.
        sweeproute.pointers.SweepGoneError: There is no such folder, or nothing in it that could be written.
    """
    root = Path(root).absolute()
    if not root.is_dir():
        raise SweepGoneError(f"There is no folder {str(root)!r} to sync; the sweep was removed, or moved.")
    uri = None if uri is None else absolute(uri)
    settings = saved_settings(root, uri)
    if settings is None:
        settings = Settings(uri or absolute(os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI))
    if is_journal(settings.uri):
        raise StoreError(
            f"{settings.uri} takes what MLflow's own calls log, and the runs of {str(root)!r} lie in their folder "
            "already; name the store that they go to: --uri sqlite:///mlflow.db, or a server's address."
        )
    if experiment is not None:
        settings = replace(settings, experiment=experiment)
    if sweep_record(root) is None and not SweepFolder(root).attempts():
        raise SweepGoneError(
            f"The folder {str(root)!r} is none of a sweep's or a run's, and no journal: has written to it; there is "
            "nothing to sync."
        )
    own(root, LOCK).parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(own(root, LOCK), timeout=_BUSY_S):
            over = (sweep_record(root) or {}).get("state") in ENDED or _is_abandoned(root)
            elsewhere = home(root) not in (None, masked(settings.uri))
            before = saved_status(root)
            came = Tracker(root, settings, keep=not elsewhere).drain(Phase.OVER if over else Phase.LEAVING)
            if elsewhere and came.written and not before.written:
                save(root, settings, came)
            elif elsewhere and came.written and came.written == came.total:
                add_copy(root, settings.uri)
            return came
    except Timeout:
        raise TrackingBusyError(
            f"Another process is writing the runs of {str(root)!r} right now; they appear by themselves. Try again "
            f"when it has ended."
        ) from None


def _is_abandoned(root: Path) -> bool:
    """Whether a sweep's coordinator is dead, and every job with it: jobs on a far machine outlive it."""
    if sweep_record(root) is None:
        return False
    records = (launch_record(attempt.folder) or {} for attempt in SweepFolder(root).attempts())
    if any(record.get("far") and record.get("state") not in ENDED for record in records):
        return False
    lock = FileLock(own(root, "lock"))
    try:
        with lock.acquire(timeout=0):
            return True
    except Timeout:
        return False


def _counts(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(outcome.state.lower() for outcome in outcomes)
    return f"{len(outcomes)} jobs: {', '.join(f'{number} {state}' for state, number in counts.most_common())}."


def _first_error(outcomes: Sequence[Outcome]) -> str:
    """Why the first of the jobs that failed did; empty where none did."""
    failed = next((outcome for outcome in outcomes if outcome.error and outcome.state in ("FAILED", "LOST")), None)
    return "" if failed is None else f"Job {failed.attempt.job} failed: {failed.error}"


def _look(folder: Path) -> tuple[int, ...]:
    """What a job's files look like from outside; all zero where there are none."""
    marks = []
    for name in (journal.FILE, "launch.json"):
        try:
            stat = (folder / name).stat()
            marks += [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        except OSError:
            marks += [0, 0, 0]
    return tuple(marks)


class _Orders:
    """Listens to the coordinator: `told` is set when it says that all is over, or is gone."""

    def __init__(self, descriptor: int) -> None:
        self.told = threading.Event()
        self.over = False
        self._descriptor = descriptor
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        heard = b""
        while not self.over:
            # Read below Python's own buffer, whose lock a waiting thread would hold at exit.
            piece = os.read(self._descriptor, 4096)
            if not piece:
                break
            heard += piece
            self.over = OVER.encode() in heard.split(b"\n")[:-1]
        self.told.set()


def main(arguments: Sequence[str] | None = None) -> int:
    """Follow a folder until the coordinator says `over`, or is gone.

    Args:
        arguments: The command line; the process's own when None.

    Returns:
        0, or UNFINISHED when the store refused something.
    """
    parser = argparse.ArgumentParser(prog="python -m sweeproute.tracking", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of a sweep, or of one run")
    parser.add_argument("--uri", default=os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI)
    parser.add_argument("--experiment", default=DEFAULT_EXPERIMENT)
    parser.add_argument("--models", choices=["best", "all", "none"], default="best")
    parser.add_argument("--metric", default="auc")
    parser.add_argument("--parent-run")
    parser.add_argument("--script", default="train.py")
    parser.add_argument("--code", type=json.loads, help="folder of the app, and what its results depend on, in JSON")
    asked = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    with suppress(OSError):
        # The jobs come first.
        os.nice(10)
    coordinator = os.getppid()
    orders = _Orders(sys.stdin.fileno())
    root = asked.folder.absolute()
    settings = Settings(
        absolute(asked.uri), asked.experiment, asked.models, asked.metric, asked.parent_run, asked.script
    )
    own(root, LOCK).parent.mkdir(parents=True, exist_ok=True)
    if asked.code is not None:
        # Before all else: whoever works on while it runs changes the code.
        app, *names = asked.code
        sys.path.append(app)  # where a script finds modules of its own
        code_snapshot.keep(root, Path(app), names)
    with FileLock(own(root, LOCK)):
        tracker = Tracker(root, settings)
        tracker.announce()
        pause = 0.0
        while not orders.told.wait(pause) and os.getppid() == coordinator:
            written, failed = tracker.look()
            pause = min(max(pause, _POLL_S) * 2, _LONGEST_PAUSE_S) if failed and not written else _POLL_S
        # A run alone is its own coordinator: it is over when that is gone.
        ended = (sweep_record(root) or {}).get("state") in ENDED or not SweepFolder(root).is_sweep()
        status = tracker.drain(Phase.OVER if orders.over or ended else Phase.LEAVING)
    return 0 if status.problem is None else UNFINISHED


if __name__ == "__main__":
    sys.exit(main())
