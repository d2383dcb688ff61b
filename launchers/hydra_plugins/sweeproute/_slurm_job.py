"""Runs one attempt inside a job of SLURM, where submitit has started it."""

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from . import _worker

ANSWER = "answer.json"


@dataclass(frozen=True)
class Call:
    """What a job of SLURM is told.

    Attributes:
        payload: Path of the pickled `_worker.Payload`.
        message: The attempt.
        path: Where the coordinator finds its modules: the task's are imported from there.
    """

    payload: str
    message: _worker.Message
    path: tuple[str, ...]


def run(call: Call) -> None:
    """Run an attempt, and leave its answer in its folder as JSON.

    Nothing is returned: submitit pickles what is, and nothing that a node wrote is unpickled by the coordinator.

    Args:
        call: What to run.
    """
    # submitit's handlers keep a job alive through SIGTERM, and raise in the middle of the task's code on USR2 or start
    # it again in the same folder. Here another attempt is the coordinator's to make, so a job that is told to go goes.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    sys.path[:] = dict.fromkeys([*call.path, *sys.path])
    _worker.start(call.payload, None)
    answer = _worker.run(call.message)
    path = Path(call.message.folder) / ANSWER
    beside = path.with_suffix(".part")
    beside.write_text(answer, encoding="utf-8")
    beside.replace(path)
