"""Runs trials again by the app's own script, in a place of their own: no store, no pointer, no note of the holdout."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sweeproute import journal, pointers
from sweeproute.run_difference import Results
from sweeproute.sweep_folder import SweepFolder

_PREDICTIONS = "predictions.parquet"
# Below the state directory: a folder for each reproduction that runs.
_PLACES = "reproductions"
# What a sweep that is run again does not do: be refused or called for by what others have found, tell anybody.
_OF_LAUNCHER = ("admit", "follow_up", "notify", "plan", "deadline")
# Of what a process has said, the lines that are looked at when it has failed.
_LAST_LINES = 40


class RerunError(Exception):
    """A trial cannot be run again; the message says why, as a sentence."""


@dataclass(frozen=True)
class App:
    """What is run."""

    script: Path
    cwd: Path
    python: str
    # Folders with modules that go before all others.
    path: tuple[Path, ...] = ()

    def environment(self, place: Path) -> dict[str, str]:
        """The environment of its processes."""
        path = [*map(str, self.path), *filter(None, [os.environ.get("PYTHONPATH")])]
        # `mlflow run` names a run in the environment, which is not for these to write to.
        kept = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_RUN_ID", "PYTHONPATH")}
        return {
            **kept,
            "SWEEPROUTE_STATE": str(place / "state"),
            **({"PYTHONPATH": os.pathsep.join(path)} if path else {}),
        }


@dataclass(frozen=True)
class Probe:
    """What trials would be, with the code of an app."""

    # Of each trial fingerprint, data_hash, code_hash and config; or `error`.
    jobs: tuple[Mapping[str, Any], ...]
    # Whether its sweeper takes a list of jobs.
    lists: bool
    # The names of Hydra's callbacks that are ours.
    callbacks: tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """What a trial that was run again has left."""

    tags: Mapping[str, str]
    # By calibration.
    results: Mapping[str, Results]


@contextmanager
def place() -> Iterator[Path]:
    """A folder for what is run again, with a state directory in it; removed when this is left."""
    base = pointers.state_directory() / _PLACES
    base.mkdir(parents=True, exist_ok=True)
    for folder in base.iterdir():
        if folder.is_dir():
            _remove_left(folder)
    folder = base / f"{os.getpid()}-{time.time_ns()}"
    lock = Path(f"{folder}.lock")
    try:
        with FileLock(lock):
            (folder / "state" / "sweeps").mkdir(parents=True)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        lock.unlink(missing_ok=True)


def _remove_left(folder: Path) -> None:
    """Remove what a process has left that was killed."""
    with suppress(Timeout), FileLock(f"{folder}.lock", timeout=0):
        shutil.rmtree(folder, ignore_errors=True)
        Path(f"{folder}.lock").unlink(missing_ok=True)


def lend(place: Path, sweep: str) -> None:
    """Let what is run in a place find a sweep of this machine: an ensemble's members lie in its folder."""
    path = pointers.state_directory() / "sweeps" / f"{sweep}.json"
    if path.is_file():
        shutil.copyfile(path, place / "state" / "sweeps" / path.name)


def probe(app: App, place: Path, jobs: Sequence[Sequence[str]]) -> Probe:
    """Ask what trials would be.

    Args:
        app: Whose.
        place: See `place`.
        jobs: The overrides of each.

    Returns:
        What they would be.

    Raises:
        RerunError: The code does not say.
    """
    file, script = place / "probe.json", Path(__file__).with_name("rerun_probe.py")
    file.unlink(missing_ok=True)
    done = subprocess.run(
        [app.python, "-P", str(script), str(file)],
        input=json.dumps({"script": str(app.script), "jobs": [list(job) for job in jobs]}),
        cwd=app.cwd,
        env=app.environment(place),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not file.is_file():
        lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise RerunError(f"What {app.script} would run cannot be told: {lines[-1]}")
    found = json.loads(file.read_bytes())
    return Probe(tuple(found["jobs"]), bool(found["lists"]), tuple(found["callbacks"]))


def alone(app: App, place: Path, words: Sequence[str], callbacks: Sequence[str], number: int = 0) -> Path:
    """Run a trial as `python train.py OVERRIDES` does.

    Args:
        app: The app.
        place: See `place`.
        words: The overrides.
        callbacks: The names of Hydra's callbacks that are left out.
        number: Tells its folder from those of others.

    Returns:
        Its folder.

    Raises:
        RerunError: It has failed.
    """
    folder = place / f"run-{number}"
    code, said = _run(app, place, [*words, *_without(callbacks), f"hydra.run.dir={_quoted(folder)}"])
    if code:
        raise RerunError(f"It ended with exit code {code}: {_reason(said)}")
    return folder


def sweep(
    app: App, place: Path, jobs: Sequence[Sequence[str]], words: Sequence[str], probed: Probe, number: int = 0
) -> list[Path | str]:
    """Run trials as a sweep: routed, at the same time.

    Args:
        app: The app.
        place: See `place`.
        jobs: The overrides of each trial; a single one where the app's sweeper takes no list.
        words: Overrides of the sweep itself, as of its platforms.
        probed: What is known of the app.
        number: Tells its folder from those of others.

    Returns:
        For each trial its folder, or in a clause why it has none.

    Raises:
        RerunError: The sweep did not begin.
    """
    folder, listed = place / f"sweep-{number}", place / f"jobs-{number}.json"
    listed.write_text(json.dumps([list(job) for job in jobs]), encoding="utf-8")
    # Hydra's own sweeper takes a job that sweeps nothing.
    own = [*words, f"hydra.sweeper.jobs={_quoted(listed)}"] if probed.lists else [*jobs[0], "hydra/sweeper=basic"]
    settled = [f"hydra.launcher.{name}=null" for name in _OF_LAUNCHER]
    code, said = _run(
        app,
        place,
        ["-m", *own, *settled, *_without(probed.callbacks), f"hydra.sweep.dir={_quoted(folder)}", "plots=false"],
    )
    outcomes = {outcome.attempt.job: outcome for outcome in SweepFolder(folder).outcomes()} if folder.is_dir() else {}
    if not outcomes:
        raise RerunError(f"They did not begin (exit code {code}): {_reason(said)}")
    found: list[Path | str] = []
    for job in range(len(jobs)):
        outcome = outcomes.get(job)
        if outcome is None:
            found.append("it was not begun")
        elif outcome.state != "FINISHED":
            found.append(f"it has {outcome.state.lower()}" + (f" ({outcome.error})" if outcome.error else ""))
        else:
            found.append(outcome.attempt.folder)
    return found


def made(folder: Path) -> Made:
    """Read what a trial has left in its folder."""
    page = journal.merge(journal.read(folder)[0])
    found = {page.tags.get("sweeproute.calibration", "none"): _results(folder, page)}
    for path in page.nested:
        below = journal.merge(journal.read(folder / path)[0])
        found[below.tags.get("sweeproute.calibration", path)] = _results(folder / path, below)
    return Made(page.tags, found)


def _results(folder: Path, page: journal.Page) -> Results:
    import pandas as pd

    metrics: dict[str, dict[int, float]] = {}
    for name, value, step, _ in page.metrics:
        metrics.setdefault(name, {})[step] = value
    path = folder / _PREDICTIONS
    return Results(metrics, pd.read_parquet(path) if path.is_file() else None)


def _run(app: App, place: Path, words: Sequence[str]) -> tuple[int, list[str]]:
    """Run the script to its end; its exit code, and its last lines, which the person has seen on standard error."""
    process = subprocess.Popen(
        [app.python, str(app.script), *words],
        cwd=app.cwd,
        env=app.environment(place),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    said: deque[str] = deque(maxlen=_LAST_LINES)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said.append(line.rstrip())
            sys.stderr.write(line)
        return process.wait(), list(said)
    finally:
        # Ctrl-C has reached it, too, and it ends in order.
        process.wait()


def _reason(said: Sequence[str]) -> str:
    return next((line for line in reversed(said) if line.strip()), "it said nothing")


def _without(callbacks: Sequence[str]) -> list[str]:
    return [f"~hydra.callbacks.{name}" for name in callbacks]


def _quoted(path: Path) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(str(path), Quote.single).with_quotes()
