"""Keeps in a sweep's folder what became of its report."""

import json
import os
import time
from pathlib import Path
from typing import Any

from sweeproute.sweep_folder import own

FILE = "report.json"


def note(root: Path, problem: str | None) -> None:
    """Note that a report was made, or why it was not.

    Args:
        root: The sweep's folder.
        problem: A sentence; None where it was made.
    """
    path = own(root, FILE)
    beside = path.with_name(f"{path.name}.{os.getpid()}~")
    path.parent.mkdir(exist_ok=True)
    beside.write_text(json.dumps({"made": problem is None, "problem": problem, "at": time.time()}), encoding="utf-8")
    beside.replace(path)


def problem(root: Path) -> str | None:
    """Why the report of a sweep was not made; None where it was, or nobody wanted one."""
    found = _noted(root)
    return str(found["problem"]) if found.get("problem") else None


def made(root: Path) -> bool:
    """Whether the report of a sweep was made."""
    return bool(_noted(root).get("made"))


def _noted(root: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(own(root, FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
