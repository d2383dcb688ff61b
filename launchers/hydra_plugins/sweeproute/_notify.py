"""Runs a command of the person's when something has happened to a sweep."""

import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

from omegaconf import OmegaConf

from ._errors import SettingsError, headline
from ._records import SweepFolder

# Seconds that a sweep waits for the command at most; it goes on by itself afterwards.
PATIENCE_S = 5.0


def words(command: Any) -> list[str]:
    """Read the setting hydra.launcher.notify: a list is a command with its arguments, a string is split into them.

    Args:
        command: As it is written; None for none.

    Returns:
        The command, empty for none. No shell reads it, unless it names one.

    Raises:
        SettingsError: It is neither.

    Example:
        >>> words("notify-send 'sweep over'")
        ['notify-send', 'sweep over']
    """
    if command is None:
        return []
    listed = OmegaConf.to_container(command) if OmegaConf.is_config(command) else command
    if isinstance(listed, str):
        try:
            listed = shlex.split(listed)
        except ValueError as error:
            raise SettingsError(f"hydra.launcher.notify is {command!r}, which does not read: {error}.") from None
    if not isinstance(listed, list) or not listed:
        raise SettingsError(
            f"hydra.launcher.notify is {command!r}. It takes a command: a string, or a list of a program with its "
            "arguments."
        )
    return [str(word) for word in listed]


def notify(
    command: Any,
    event: str,
    facts: Mapping[str, Any],
    *,
    wait_s: float = PATIENCE_S,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> None:
    """Run the command, with what has happened in its environment (SWEEP_EVENT, SWEEP_ID, …) and as JSON on its input.

    It never raises, and never holds the sweep up for longer than it is told to; the command itself is left to go on.

    Args:
        command: The setting hydra.launcher.notify.
        event: finished, failed or platform_lost.
        facts: What is known of it; of the environment are those that are text, numbers, true or false.
        wait_s: Seconds that are waited for the command's end at most, so that its failure can be said.
        say: Takes a warning, from another thread perhaps.
    """
    listed = words(command)
    if not listed:
        return
    content = {"event": event, **facts}
    environment = {f"SWEEP_{key.upper()}": _text(fact) for key, fact in content.items() if _is_single(fact)}
    given, answer = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115  (the command's by then)
    given.write(json.dumps(content, default=str))
    given.seek(0)
    try:
        # In a session of its own: Ctrl-C is for the sweep alone.
        process = subprocess.Popen(
            listed,
            stdin=given,
            stdout=answer,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    except OSError as error:
        say(f"The command of hydra.launcher.notify cannot be run: {error.strerror or error} ({listed[0]}).")
        return
    watcher = threading.Thread(target=_watch, args=(process, listed[0], answer, say), name="notify", daemon=True)
    watcher.start()
    watcher.join(wait_s)


def facts_of(sweep: SweepFolder) -> dict[str, Any]:
    """What is to be told of a sweep that is over.

    Args:
        sweep: Its folder.

    Returns:
        id, name, folder, state, total, done, pruned, failed, seconds; metric, best and best_job where the sweep has a
        metric with a direction, and results.
    """
    record, launches = sweep.record, sweep.launches.values()
    states = [launch["state"] for launch in launches]
    facts = {
        "id": record["id"],
        "name": record["name"],
        "folder": str(sweep.folder),
        "state": record["state"],
        "total": record["total"],
        "done": states.count("FINISHED"),
        "pruned": states.count("PRUNED"),
        "failed": sum(state in ("FAILED", "LOST") for state in states),
        "seconds": round(record["ended"] - record["started"], 1),
    }
    metric = record["metric"]
    trials = [launch for launch in launches if not launch.get("follow_up")]
    whole = [launch for launch in trials if launch["state"] == "FINISHED" and isinstance(launch["value"], dict)]
    # Of several metrics none decides alone.
    results = [(launch["value"].get(metric), launch["job"]) for launch in whole] if isinstance(metric, str) else []
    scored = [(score, job) for score, job in results if isinstance(score, int | float) and math.isfinite(score)]
    if scored and record["direction"] in ("maximize", "minimize"):
        sign = -1 if record["direction"] == "maximize" else 1
        best, job = min(scored, key=lambda result: (sign * result[0], result[1]))
        facts |= {"metric": metric, "best": best, "best_job": job}
    return facts


def _watch(process: "subprocess.Popen[bytes]", program: str, answer: IO[str], say: Callable[[str], None]) -> None:
    code = process.wait()
    if code:
        answer.seek(0)
        said = headline(answer.read(10_000))
        why = f"exit code {code}{f': {said}' if said else ''}"
        say(f"The command of hydra.launcher.notify ({program}) failed: {why}.")


def _is_single(fact: Any) -> bool:
    return isinstance(fact, str | int | float)


def _text(fact: Any) -> str:
    return str(fact).lower() if isinstance(fact, bool) else str(fact)
