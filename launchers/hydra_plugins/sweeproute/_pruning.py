"""Knows what a task that may be pruned leaves in its folder, what it is told there, what its end is called."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a task reports while it runs: an object a line, `step` and numbers by their names.
PROGRESS = "progress.jsonl"
# Why it need not go on, put there for the task to find.
STOP = "stop"
# How the name of a number begins that is of the reported step alone, where the same without it is of all steps so far.
OF_STEP = "step/"
# Seconds from the word to the end by force, of a task that does not listen.
GRACE_S = 1.0
# What a task that has ended early calls its own status.
_PRUNED = "pruned"
# Numbers for which JSON has no word.
_WORDS = ("NaN", "Infinity", "-Infinity")
# Bytes of reports that are read at once, and characters of a reason that somebody else has written.
_AT_ONCE = 1 << 20
_REASON = 500


@dataclass(frozen=True)
class Report:
    """What a task said of itself after a step.

    Attributes:
        step: Counts upwards within the task.
        metrics: Numbers by their names; one alone is called `value`.
    """

    step: int
    metrics: Mapping[str, float]


def tell(folder: Path, reason: str) -> None:
    """Let a task find in its folder that the rest of it is not needed; from a disk that is full it hears nothing."""
    beside = folder / f"{STOP}~"
    with contextlib.suppress(OSError):
        beside.write_text(f"{reason[:_REASON]}\n", encoding="utf-8")
        beside.replace(folder / STOP)


def read_reports(folder: Path, offset: int) -> tuple[list[Report], int]:
    """Read what a task has reported since.

    Args:
        folder: The attempt's.
        offset: Bytes of it that are known.

    Returns:
        The reports in whole lines behind these, and the offset behind them; what is no report is passed over.
    """
    try:
        with (folder / PROGRESS).open("rb") as stream:
            stream.seek(offset)
            content = stream.read(_AT_ONCE)
    except OSError:
        return [], offset
    whole = content[: content.rfind(b"\n") + 1]
    if not whole and len(content) == _AT_ONCE:
        whole = content  # no line of ours is as long
    found = [report for line in whole.splitlines() if (report := _report(line)) is not None]
    return found, offset + len(whole)


def pruned_answer(folder: Path, reason: str, run_s: float) -> dict[str, Any]:
    """What `_worker.run` would have answered, had the task listened.

    Args:
        folder: The attempt's: its last report stands for what it would have returned.
        reason: As the task was told.
        run_s: Seconds that it ran.
    """
    last: Mapping[str, float] = {}
    offset = 0
    while (read := read_reports(folder, offset))[1] > offset:
        reports, offset = read
        last = reports[-1].metrics if reports else last
    so_far = {name: number for name, number in last.items() if not name.startswith(OF_STEP)}
    value = {**so_far, "status": _PRUNED, "reason": reason}
    return {"status": "COMPLETED", "value": value, "unfit": None, "run_s": run_s}


def why_pruned(value: Any) -> str | None:
    """Why a task ended early, by what it returned; None where it ran to its end."""
    if not isinstance(value, Mapping) or value.get("status") != _PRUNED:
        return None
    return str(value.get("reason") or "its task said so")[:_REASON]


def _report(line: bytes) -> Report | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    step = found.get("step") if isinstance(found, dict) else None
    if not isinstance(step, int) or isinstance(step, bool):
        return None
    numbers = {str(name): _number(value) for name, value in found.items() if name != "step"}
    return Report(step, {name: number for name, number in numbers.items() if number is not None})


def _number(value: Any) -> float | None:
    """A number, also one that JSON has no word for; None where it is something else."""
    if isinstance(value, bool) or not (isinstance(value, int | float) or value in _WORDS):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
