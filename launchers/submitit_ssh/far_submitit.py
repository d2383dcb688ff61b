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
from pathlib import Path
from types import FrameType
from typing import Any

# Bytes of JSON that a value may have, and of a traceback that is sent.
_VALUE_LIMIT = 2_900_000
_TRACE_LIMIT = 100_000
# Where a job's process prints at first.
_CONSOLE = "console.log"


class MismatchError(RuntimeError):
    """The near side's submissions cannot be read here."""


def load(settings: dict[str, Any]) -> None:
    """Make this process ready to be forked for jobs; nothing is unpickled before the versions have been compared.

    Args:
        settings: python (the near side's, as in "3.11"), support (folder with submitit and what it needs), modules
            (names of what the jobs will import).

    Raises:
        MismatchError: A function that was pickled there may kill this Python.
    """
    version = "{}.{}".format(*sys.version_info)
    if version != settings["python"]:
        raise MismatchError(
            f"{sys.executable} is Python {version}, and the jobs come from Python {settings['python']}, whose "
            f"functions cannot be read by another: name a Python {settings['python']} over there as ssh_python"
        )
    _import_submitit(str(Path(settings["support"]).expanduser()))
    for name in settings["modules"]:
        # One that does not import says so in the job that needs it, to whoever waits for that.
        with contextlib.suppress(Exception, SystemExit):
            importlib.import_module(name)


def _import_submitit(support: str) -> None:
    # What submitit shares with others is taken from this environment, where it has that.
    sys.path.remove(support)
    with contextlib.suppress(ImportError):
        importlib.import_module("typing_extensions")
    # A pickle is read by the very versions that wrote it.
    sys.path.insert(0, support)
    import cloudpickle  # noqa: F401
    from submitit.core import plugins

    from .environment import SshJobEnvironment

    if SshJobEnvironment.name() not in plugins.get_job_environments():
        # As an installed plugin would be found; nothing is installed here.
        plugins._get_plugins()[1].append(SshJobEnvironment())
        plugins.get_job_environments.cache_clear()


def run(argument: dict[str, Any], folder: str) -> str | None:
    """Run one submission in this process, a fork of the warm one.

    Args:
        argument: job_id, submission (base64 of its pickle; None where it is a file in the folder), project (folder
            whose files the job finds beside its own; or None), logs (names of those of the two streams), warn_s
            (seconds until the job is told that its time is nearly over; or None).
        folder: The job's output folder here: its working directory.

    Returns:
        JSON with the outcome: "success" with `value`, "unfit" with `what` the value is, or "error" with `trace`; None
        where the job is to be run again.
    """
    began = time.monotonic()
    early: list[int] = []
    # Told to stop before the submission is there to be kept.
    signal.signal(_preemption(), lambda number, _: early.append(number))
    _enter(argument, folder)
    kept = f"{folder}/{argument['job_id']}_submitted.pkl"  # under submitit's own name
    links = _link(argument["project"], folder)
    try:
        delayed = _submission(argument, kept, f"{folder}/{first_name(argument['job_id'])}")
        _follow_signals(delayed, began, argument["warn_s"])
        if early:
            os.kill(os.getpid(), early[0])
        value = delayed.result()
        signal.signal(_preemption(), signal.SIG_IGN)
        outcome = _outcome(value)
    except BaseException as error:  # also exit
        signal.signal(_preemption(), signal.SIG_IGN)
        if _is_requeued(error):
            return None
        outcome = json.dumps({"outcome": "error", "trace": traceback.format_exc()[-_TRACE_LIMIT:]})
    finally:
        for link in links:
            with contextlib.suppress(OSError):
                os.unlink(link)  # noqa: PTH108  (pathlib is most of what such small calls take)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(kept)  # noqa: PTH108
    return outcome


def first_name(job_id: str) -> str:
    """Name in the output folder of a submission that comes as a file."""
    return f"{job_id}_first.pkl"


def _preemption() -> int:
    from submitit.core.job_environment import JobEnvironment

    return int(JobEnvironment._usr_sig())


def _is_requeued(error: BaseException) -> bool:
    from .environment import Requeued

    return isinstance(error, Requeued)


def _enter(argument: dict[str, Any], folder: str) -> None:
    """Make this process the job that it is to be: its variables, its working directory, where it prints."""
    from .environment import SshJobEnvironment

    os.chdir(folder)
    values = {"job_id": argument["job_id"], "num_tasks": "1", "num_nodes": "1"}
    for key, name in SshJobEnvironment._env.items():
        os.environ[name] = values.get(key, "0")
    os.environ["SUBMITIT_EXECUTOR"] = SshJobEnvironment.name()
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


def _submission(argument: dict[str, Any], kept: str, first: str) -> Any:
    """The submission: the one that was kept, or else the first."""
    from submitit.core.utils import DelayedSubmission

    again = os.path.exists(kept)  # noqa: PTH110
    if argument["submission"] is not None and not again:
        return pickle.loads(base64.b64decode(argument["submission"]))  # noqa: S301  (from whoever started this job)
    if not again:
        os.rename(first, kept)  # noqa: PTH104
    elif argument["submission"] is None:
        os.unlink(first)  # noqa: PTH108
    return DelayedSubmission.load(kept)


def _follow_signals(delayed: Any, began: float, warn_s: float | None) -> None:
    """Keep a submission, and queue it again, when it is preempted or its time is nearly over."""

    def told(number: int, frame: FrameType | None) -> None:
        # Once: what is kept then must not be disturbed.
        signal.signal(number, signal.SIG_IGN)
        timed_out = warn_s is not None and time.monotonic() - began >= warn_s
        _handler(delayed, timed_out).checkpoint_and_try_requeue(number, frame)

    signal.signal(_preemption(), told)
    if warn_s is not None:
        timer = threading.Timer(max(0.0, began + warn_s - time.monotonic()), os.kill, (os.getpid(), _preemption()))
        timer.daemon = True
        timer.start()


def _handler(delayed: Any, timed_out: bool) -> Any:
    from submitit.core.job_environment import JobEnvironment, SignalHandler

    class Handler(SignalHandler):
        """submitit's own, which does not know what time it is."""

        def has_timed_out(self) -> bool:
            """See SignalHandler."""
            return timed_out

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
