"""`sweeproute logs`: what a job has printed, and prints, wherever it runs."""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeproute.commands import Commands

if TYPE_CHECKING:
    from hydra_plugins.sweeproute._errand import Errand
    from hydra_plugins.sweeproute._far_sweep import FarSweep
    from sweeproute.pointers import Pointer
    from sweeproute.sweep_folder import Attempt

# Seconds between two looks.
# Seconds of a job's silence after which it is said that there is a job.
_SILENT_S = 3.0
_LOOK_S = 0.2
_AGAIN_S = 1.0
_OPEN = ("QUEUED", "RUNNING")


class LogsError(LookupError):
    """There is no such job, or nothing of what it printed."""


def add(commands: Commands) -> None:
    """Add the command's words."""
    logs = commands.add_parser("logs", help="what a job has printed; with --follow, what it prints until it ends")
    logs.add_argument("job", metavar="JOB", type=int, help="its number in the sweep")
    logs.add_argument("--sweep", default="last", metavar="SWEEP", help="whose job it is (default: %(default)s)")
    logs.add_argument("--follow", "-f", action="store_true", help="go on until the job has ended")
    logs.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Print the console of the newest attempt at a job."""
    from sweeproute import pointers

    pointer = pointers.find(asked.sweep)
    if pointer.on is not None:
        _show_elsewhere(pointer, asked.job, asked.follow)
    else:
        _show(pointer, asked.job, asked.follow)


@dataclass
class _Console:
    """What an attempt has printed, as far as it is here."""

    path: Path
    offset: int = 0

    def show(self) -> None:
        """Print what has come since the last time."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.offset)
                self.put(stream.read())
        except FileNotFoundError:
            return

    def put(self, text: bytes) -> None:
        """Print more of it."""
        self.offset += len(text)
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()


def _show(pointer: "Pointer", job: int, follow: bool) -> None:
    from hydra_plugins.sweeproute._worker import CONSOLE
    from sweeproute.progress import is_running
    from sweeproute.sweep_folder import SweepFolder, launch_record, sweep_record

    sweep = SweepFolder(pointer.folder)
    shown: Attempt | None = None
    said, began = "", time.monotonic()
    while True:
        # Looked at before the job is: one that ends in between has still been followed to its end.
        living = is_running(pointer.folder, sweep_record(pointer.folder))
        attempt = _newest(sweep, pointer, job)
        launch = launch_record(attempt.folder) or {}
        if shown is None or attempt.folder != shown.folder:
            if shown is not None:
                _note(f"Attempt {attempt.number} at job {job}, on {launch.get('platform')}:")
            shown, console = attempt, _Console(attempt.folder / CONSOLE)
        console.show()
        if launch.get("state") not in _OPEN:
            if not (follow and living) or launch.get("current", True):
                break
        elif not living:
            _alone(pointer, job, launch, console, follow)
            return
        elif not follow:
            break
        elif launch["state"] == "QUEUED" and said != attempt.folder.name:
            said = attempt.folder.name
            _note(f"Job {job} waits in the queue of {launch['platform']}.")
        elif console.offset == 0 and said != "runs" and time.monotonic() - began > _SILENT_S:
            said = "runs"
            _note(f"Job {job} runs on {launch['platform']}, and has printed nothing yet.")
        time.sleep(_LOOK_S)
    if console.offset == 0:
        _note(_nothing(job, launch, attempt))


def _show_elsewhere(pointer: "Pointer", job: int, follow: bool) -> None:
    """Print the console of a job of a sweep whose coordinator is on another machine."""
    from hydra_plugins.sweeproute._worker import CONSOLE
    from submitit_ssh.errors import FarError
    from sweeproute.commands import elsewhere
    from sweeproute.sweep_folder import SweepFolder, launch_record

    assert pointer.on is not None
    contact = elsewhere.bring(pointer, everything=False, patience_s=elsewhere.LOOK_S)
    attempt = _newest(SweepFolder(pointer.folder), pointer, job)
    if contact.problem:
        console = _Console(attempt.folder / CONSOLE)
        console.show()
        raise LogsError(
            f"{contact.problem} {'Above is' if console.offset else 'Nothing is here of'} what it had printed."
        )
    console = _Console(attempt.folder / CONSOLE)
    try:
        with elsewhere.channel(pointer, elsewhere.WORK_S) as far:
            while True:
                state, living = _follow_elsewhere(far, pointer, console, follow)
                contact = elsewhere.bring(pointer, everything=False, patience_s=elsewhere.WORK_S)
                if not follow or not living or contact.problem or _counts(attempt):
                    break
                newest = _newest(SweepFolder(pointer.folder), pointer, job)
                if newest.folder == attempt.folder:
                    time.sleep(_AGAIN_S)  # it is to be tried again, and has not been yet
                    continue
                attempt, console = newest, _Console(newest.folder / CONSOLE)
                platform = (launch_record(attempt.folder) or {}).get("platform")
                _note(f"Attempt {attempt.number} at job {job}, on {platform}:")
    except FarError as error:
        raise LogsError(f"{error} What had come by then is above.") from None
    if state in _OPEN and not living:
        _note(
            f"The coordinator of {pointer.id} has died, and job {job} with it. `sweeproute resume {pointer.id}` "
            "goes on with it."
        )
    elif console.offset == 0:
        _note(f"Job {job} has printed nothing{' yet' if state in _OPEN else ''}.")


def _counts(attempt: "Attempt") -> bool:
    """Whether what became of an attempt is what became of its job."""
    from sweeproute.sweep_folder import launch_record

    return bool((launch_record(attempt.folder) or {}).get("current", True))


def _follow_elsewhere(far: "FarSweep", pointer: "Pointer", console: _Console, follow: bool) -> tuple[str, bool]:
    """Print what there is of a console, or comes until its job ends; the job's state, whether its coordinator lives."""
    path = console.path.relative_to(pointer.folder).as_posix()
    while True:
        answer = far.ask("read", path=path, offset=console.offset)
        console.put(answer["payload"])
        state, living = str(answer["state"]), bool(answer["alive"])
        if console.offset < answer["size"]:
            continue
        if not follow or state not in _OPEN or not living:
            return state, living
        time.sleep(_LOOK_S)


def _newest(sweep: Any, pointer: "Pointer", job: int) -> "Attempt":
    from sweeproute.sweep_folder import sweep_record

    attempts = sweep.attempts()
    mine: list[Attempt] = [attempt for attempt in attempts if attempt.job == job]
    if mine:
        return max(mine, key=lambda attempt: attempt.number)
    numbers = sorted({attempt.job for attempt in attempts if attempt.job is not None})
    total = (sweep_record(pointer.folder) or {}).get("total") or 0
    if 0 <= job < total:
        raise LogsError(f"Job {job} of {pointer.id} has not been given to a platform yet.")
    there = f"its jobs are 0 to {max(total - 1, *numbers)}" if numbers else "it has no jobs yet"
    raise LogsError(f"There is no job {job} in {pointer.id}; {there}. Another sweep is named with --sweep.")


def _nothing(job: int, launch: dict[str, Any], attempt: "Attempt") -> str:
    if launch.get("state") == "QUEUED":
        return f"Job {job} waits in the queue of {launch['platform']}, and has printed nothing."
    error = (launch.get("error") or {}).get("message")
    return f"Job {job} has printed nothing{f' ({error})' if error else ''}. Its files: {attempt.folder}"


def _alone(pointer: "Pointer", job: int, launch: dict[str, Any], console: _Console, follow: bool) -> None:
    """Go on with a job that has no coordinator: where a far machine works on it, ask that."""
    from hydra_plugins.sweeproute._errand import Errand
    from hydra_plugins.sweeproute._reach import reach_of
    from submitit_ssh.errors import SubmititSshError
    from sweeproute.commands import hardware
    from sweeproute.commands.check import note

    resume = f"`sweeproute resume {pointer.id}` goes on with it."
    platform = str(launch["platform"])
    if not launch.get("far"):
        _note(f"The coordinator of {pointer.id} has died, and job {job} with it. {resume}")
        return
    registry = hardware.of_sweep(pointer.folder)
    entry = registry.settings.get(platform) if registry is not None else None
    if entry is None or entry.host is None:
        _note(f"The coordinator of {pointer.id} has died, and the host of {platform} is not known any more.")
        return
    try:
        with Errand(platform, reach_of(platform, entry), note) as errand:
            state = _follow_there(errand, str(launch["far"]["id"]), console, follow)
    except SubmititSshError as error:
        raise LogsError(f"{error} What had come from {platform} by then is above.") from error
    words = {
        "queued": f"Job {job} waits in the queue of {platform}",
        "running": f"Job {job} runs on {platform}",
        "ended": f"Job {job} has ended on {platform}",
    }
    _note(f"{words.get(state, f'{platform} does not know job {job} any more')}; no coordinator lives. {resume}")


def _follow_there(errand: "Errand", identifier: str, console: _Console, follow: bool) -> str:
    """Print what a far machine has of a job's console; the state in which the job is then."""
    from submitit_ssh.errors import FarError

    while True:
        states = {one["id"]: str(one["state"]) for one in errand.ask("status")["jobs"]}
        state = states.get(identifier, "unknown")
        if state in ("running", "ended"):
            size = console.offset + 1
            while console.offset < size:
                try:
                    answer = errand.ask("read", id=identifier, path=console.path.name, offset=console.offset)
                except FarError:
                    break  # it has just begun, and there is no such file yet
                console.put(answer.get("payload", b""))
                size = answer["size"]
        if state not in ("queued", "running") or not follow:
            return state
        time.sleep(_LOOK_S)


def _note(text: str) -> None:
    """Say something that the job has not printed."""
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)
