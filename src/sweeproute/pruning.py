"""Lets a task say after each step how it does, and whether it may end there.

Two files in the job's folder, so that a task which imports nothing of this project can do the same::

    progress.jsonl      one JSON object a line: step, and value or metrics by their names; appended to by the task
    stop                why the rest of the task is not needed; put there by whoever has decided that

A number may stand there twice, of all steps so far, and of this step alone under the name with `step/` before it: a
pruner that compares trials step by step takes the second.

A task that finds `stop` has a second to return a mapping whose `status` is `pruned`; after that its process is ended.
It counts as pruned either way, with what it reported last.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsFloat

FILE = "progress.jsonl"
STOP = "stop"
PRUNED = "pruned"
# How the name of a number begins that is of the step alone.
OF_STEP = "step/"
# What a number alone is called, as a number that a task returns.
_VALUE = "value"


def report(step: int, metrics: Mapping[str, SupportsFloat] | SupportsFloat, folder: Path | None = None) -> str | None:
    """Say how a task does after a step.

    Args:
        step: Counts upwards within the task, alike in all tasks that are compared: folds, epochs or rounds done.
        metrics: A number, or numbers by their names, of the selection data alone.
        folder: The job's output folder; Hydra's when None.

    Returns:
        Why the task need not go on: it then returns what `pruned` makes of that. None where it goes on.

    Example:
        >>> import tempfile
        >>> job = Path(tempfile.mkdtemp())
        >>> report(1, {"auc": 0.61}, job)
        >>> _ = (job / "stop").write_text("worse than the median")
        >>> report(2, {"auc": 0.6}, job)
        'worse than the median'
    """
    if folder is None:
        # lazy import: a task that names its folder may be no task of Hydra's
        from hydra.core.hydra_config import HydraConfig

        folder = Path(HydraConfig.get().runtime.output_dir)
    named = metrics if isinstance(metrics, Mapping) else {_VALUE: metrics}
    line = json.dumps({**{str(name): _number(value) for name, value in named.items()}, "step": int(step)}) + "\n"
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
    return told(folder)


def told(folder: Path) -> str | None:
    """Why a task need not go on, for one that would like to know between two steps; None where it goes on.

    Args:
        folder: The job's output folder.
    """
    try:
        return (folder / STOP).read_text(encoding="utf-8").strip() or "told to stop"
    except FileNotFoundError:
        return None


def pruned(reason: str, metrics: Mapping[str, SupportsFloat] | SupportsFloat) -> dict[str, Any]:
    """What a task returns that has ended since it need not go on.

    Args:
        reason: As `report` gave it.
        metrics: As they were reported last.
    """
    named = metrics if isinstance(metrics, Mapping) else {_VALUE: metrics}
    return {**named, "status": PRUNED, "reason": reason}


def _number(value: SupportsFloat) -> float | str:
    """A number as JSON can hold it; one that is not finite as a word that `float` takes back."""
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
