"""Runs a submission of submitit on a far machine: what a warm parent loads once, and what each fork of it does."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import numbers
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

# submitit's name for this executor, and what a job reads of itself: see JobEnvironment.
NAME = "ssh"
VARIABLES = {
    "job_id": "SUBMITIT_SSH_JOB_ID",
    "num_tasks": "SUBMITIT_SSH_NTASKS",
    "num_nodes": "SUBMITIT_SSH_JOB_NUM_NODES",
    "node": "SUBMITIT_SSH_NODEID",
    "global_rank": "SUBMITIT_SSH_GLOBALID",
    "local_rank": "SUBMITIT_SSH_LOCALID",
}
# Names the signal by which a job is preempted: see JobEnvironment.USR_SIG.
SIGNAL_VARIABLE = "SUBMITIT_PREEMPT_SIGNAL"
# Bytes of JSON that a value may have, and of a traceback that is sent.
_VALUE_LIMIT = 2_900_000
_TRACE_LIMIT = 100_000
# Where a job's process prints at first.
_CONSOLE = "console.log"


class MismatchError(RuntimeError):
    """The near side's submissions cannot be read here."""


class Requeued(SystemExit):
    """Ends a job's process, because the job is to be run once more; raised where a signal has met the job's code."""


class Plugin:
    """Lets submitit find this executor's environment as that of an installed plugin: here nothing is installed."""

    name = "submitit-ssh-far"
    files = {  # noqa: RUF012  (typing costs a parent memory that all of its jobs are forked with)
        "METADATA": f"Name: {name}\nVersion: 0\n",
        "entry_points.txt": "[submitit]\njob_environment = submitit_ssh.environment:SshJobEnvironment\n",
    }

    @staticmethod
    def find_spec(*_: Any) -> None:
        """Find no module."""

    @classmethod
    def find_distributions(cls, context: Any) -> list[Any]:
        """See importlib.metadata.DistributionFinder."""
        from importlib.metadata import Distribution

        class Found(Distribution):
            """What this process knows of the plugin."""

            def read_text(self, filename: str) -> str | None:
                """See Distribution."""
                return cls.files.get(filename)

            def locate_file(self, path: Any) -> Path:
                """See Distribution."""
                return Path(__file__).parent / path

        return [Found()] if context.name in (None, cls.name) else []


@dataclass
class Call:
    """What a job calls, and how many time-outs it still has."""

    function: Any
    args: Any
    kwargs: Any
    countdown: int


def load(settings: dict[str, Any]) -> None:
    """Make this process ready to be forked for jobs; nothing is unpickled before the versions have been compared.

    submitit itself is imported where the jobs' modules do so: every job is forked with what is loaded here.

    Args:
        settings: python (the near side's, as in "3.11"), extras (folder of modules for where this environment has none
            of its own), modules (names of what the jobs will import).

    Raises:
        MismatchError: A function that was pickled there may kill this Python.
    """
    version = "{}.{}".format(*sys.version_info)
    if version != settings["python"]:
        raise MismatchError(
            f"{sys.executable} is Python {version}, and the jobs come from Python {settings['python']}, whose "
            f"functions cannot be read by another: name a Python {settings['python']} over there as ssh_python"
        )
    sys.path.append(str(Path(settings["extras"]).expanduser()))
    sys.meta_path.append(Plugin)
    for name in settings["modules"]:
        # One that does not import says so in the job that needs it, to whoever waits for that.
        with contextlib.suppress(Exception, SystemExit):
            importlib.import_module(name)


def run(argument: dict[str, Any], folder: str) -> str | None:
    """Run one submission in this process, a fork of the warm one.

    Args:
        argument: job_id, call (base64 of the pickled function, args and kwargs; None where that is a file in the
            folder), project (folder whose files the job finds beside its own; or None), logs (names of those of the two
            streams), warn_s (seconds until the job is told that its time is nearly over; or None), timeout_min and
            countdown (as in DelayedSubmission).
        folder: The job's output folder here: its working directory.

    Returns:
        JSON with the outcome: "success" with `value`, "unfit" with `what` the value is, or "error" with `trace`; None
        where the job is to be run again.
    """
    began = time.monotonic()
    number = getattr(signal, "SIG" + os.environ.get(SIGNAL_VARIABLE, "USR2"))
    early: list[int] = []
    # Told to stop before there is anything to be kept.
    signal.signal(number, lambda *_: early.append(number))
    _enter(argument, folder)
    kept = f"{folder}/{argument['job_id']}_submitted.pkl"  # under submitit's own name
    links = _link(argument["project"], folder)
    try:
        call = _call(argument, kept, f"{folder}/{first_name(argument['job_id'])}")
        _follow_signals(call, argument, number, began)
        if early:
            os.kill(os.getpid(), number)
        value = call.function(*call.args, **call.kwargs)
        signal.signal(number, signal.SIG_IGN)
        outcome = _outcome(value)
    except Requeued:
        return None
    except BaseException:  # also exit
        signal.signal(number, signal.SIG_IGN)
        outcome = json.dumps({"outcome": "error", "trace": traceback.format_exc()[-_TRACE_LIMIT:]})
    finally:
        for link in links:
            with contextlib.suppress(OSError):
                os.unlink(link)  # noqa: PTH108  (pathlib is most of what such small calls take)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(kept)  # noqa: PTH108
    return outcome


def first_name(job_id: str) -> str:
    """Name in the output folder of a call that comes as a file."""
    return f"{job_id}_first.pkl"


def _enter(argument: dict[str, Any], folder: str) -> None:
    """Make this process the job that it is to be: its variables, its working directory, where it prints."""
    os.chdir(folder)
    values = {"job_id": argument["job_id"], "num_tasks": "1", "num_nodes": "1"}
    for key, name in VARIABLES.items():
        os.environ[name] = values.get(key, "0")
    os.environ["SUBMITIT_EXECUTOR"] = NAME
    os.environ["SUBMITIT_FOLDER"] = folder
    out, err = argument["logs"]
    if os.path.exists(out):  # noqa: PTH110  (a job that goes on goes on printing)
        _print_to(out, 1)
        os.unlink(_CONSOLE)  # noqa: PTH108
    else:
        os.rename(_CONSOLE, out)  # noqa: PTH104  (where both streams go already)
    _print_to(err, 2)


def _print_to(name: str, descriptor: int) -> None:
    log = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, descriptor)
    os.close(log)


def _link(project: str | None, folder: str) -> list[str]:
    """Let a job find the project's files under their names, in a working directory that is its own.

    Returns:
        The links that were made.
    """
    links = []
    if project is not None:
        for entry in os.scandir(os.path.expanduser(project)):  # noqa: PTH111
            with contextlib.suppress(FileExistsError):
                os.symlink(entry.path, f"{folder}/{entry.name}")  # noqa: PTH211
                links.append(f"{folder}/{entry.name}")
    return links


def _call(argument: dict[str, Any], kept: str, first: str) -> Call:
    """What to call: what was kept, or else what was submitted."""
    if os.path.exists(kept):  # noqa: PTH110
        from submitit.core.utils import DelayedSubmission

        delayed = DelayedSubmission.load(kept)
        return Call(delayed.function, delayed.args, delayed.kwargs, delayed._timeout_countdown)
    if argument["call"] is not None:
        pickled = base64.b64decode(argument["call"])
    else:
        pickled = Path(first).read_bytes()
        os.unlink(first)  # noqa: PTH108  (it does not go back)
    function, args, kwargs = pickle.loads(pickled)  # noqa: S301  (from whoever started this job)
    return Call(function, args, kwargs, argument["countdown"])


def _follow_signals(call: Call, argument: dict[str, Any], number: int, began: float) -> None:
    """Keep a call, and queue it again, when it is preempted or its time is nearly over."""
    warn_s = argument["warn_s"]

    def told(number: int, frame: FrameType | None) -> None:
        # Once: what is kept then must not be disturbed.
        signal.signal(number, signal.SIG_IGN)
        timed_out = warn_s is not None and time.monotonic() - began >= warn_s
        _handler(call, argument["timeout_min"], timed_out).checkpoint_and_try_requeue(number, frame)

    signal.signal(number, told)
    if warn_s is not None:
        timer = threading.Timer(max(0.0, began + warn_s - time.monotonic()), os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()


def _handler(call: Call, timeout_min: Any, timed_out: bool) -> Any:
    from submitit.core.job_environment import JobEnvironment, SignalHandler
    from submitit.core.utils import DelayedSubmission

    class Handler(SignalHandler):
        """submitit's own, which does not know what time it is."""

        def has_timed_out(self) -> bool:
            """See SignalHandler."""
            return timed_out

    delayed = DelayedSubmission(call.function, *call.args, **call.kwargs)
    delayed.set_timeout(timeout_min, call.countdown)
    env = JobEnvironment()
    return Handler(env, env.paths, delayed)


def _outcome(value: Any) -> str:
    try:
        text = json.dumps({"outcome": "success", "value": _plain(value)})
    except TypeError as error:
        return json.dumps({"outcome": "unfit", "what": str(error)})
    except RecursionError:
        return json.dumps({"outcome": "unfit", "what": "a structure that contains itself, or is nested too deeply"})
    if len(text) > _VALUE_LIMIT:
        what = f"{len(text) / 1e6:.1f} MB of JSON, where {_VALUE_LIMIT / 1e6:.1f} MB fit"
        return json.dumps({"outcome": "unfit", "what": what})
    return text


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a mapping with the key {key!r:.80}, which is no string")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars, tensors
        plain = value.tolist()
        if type(plain) is type(value) and isinstance(plain, numbers.Real):
            return float(plain)  # more precise than Python's own: tolist leaves it as it is
        return _plain(plain)
    raise TypeError(f"an object of type {type(value).__qualname__}")
