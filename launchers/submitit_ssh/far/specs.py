"""Checks what the near side says of a job, before a folder is named after it."""

from __future__ import annotations

import re
from typing import Any

_ID = re.compile(r"[0-9a-f]{32}")
_SHA = re.compile(r"[0-9a-f]{64}")
_NAMED = re.compile(r"[0-9a-f]{64,}")


class SpecError(ValueError):
    """A job that cannot be taken; the message says why."""


def is_id(value: Any) -> bool:
    """Whether this may name a job."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_sha(value: Any) -> bool:
    """Whether this may name staged content."""
    return isinstance(value, str) and _SHA.fullmatch(value) is not None


def shas(text: str) -> set[str]:
    """All that may name staged content in a text."""
    return {run[at : at + 64] for run in _NAMED.findall(text) for at in range(len(run) - 63)}


def is_inside(path: Any) -> bool:
    """Whether this is a path in a folder: relative, forward, without a step out of it."""
    return isinstance(path, str) and "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def check(spec: Any) -> dict[str, Any]:
    """A job's spec with its defaults filled in.

    Args:
        spec: As it came.

    Raises:
        SpecError: Something of it is missing or is not what it should be.
    """
    if not isinstance(spec, dict) or not is_id(spec.get("id")):
        raise SpecError("a job's id is 32 hexadecimal digits")
    checked = {
        "id": spec["id"],
        "owner": _typed(spec, "owner", str, ""),
        "label": _typed(spec, "label", str, ""),
        "environment": _environment(spec.get("environment")),
        "argument": spec.get("argument"),
        "live": _typed(spec, "live", list, []),
        "kept": _typed(spec, "kept", list, []),
        "inputs": _typed(spec, "inputs", dict, {}),
        "alone": _typed(spec, "alone", bool, False),
        "gpus": _typed(spec, "gpus", int, 0),
        "memory_gb": number(spec, "memory_gb") or 0.0,
        "gpu_memory_gb": number(spec, "gpu_memory_gb") or 0.0,
        "timeout_s": number(spec, "timeout_s"),
        "memory_limit_gb": number(spec, "memory_limit_gb"),
    }
    if checked["gpus"] < 0:
        raise SpecError("gpus is less than 0")
    for path in [*checked["live"], *checked["kept"], *checked["inputs"]]:
        if not is_inside(path):
            raise SpecError(f"{path!r:.200} is no path in the job's folder")
    for sha in checked["inputs"].values():
        if not is_sha(sha):
            raise SpecError(f"{sha!r:.200} names no staged file")
    return checked


def number(fields: dict[str, Any], name: str) -> float | None:
    """A number from 0 up; None where there is none.

    Raises:
        SpecError: It is something else.
    """
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise SpecError(f"{name} is {value!r:.200}, where a number from 0 up is needed")
    return float(value)


def _environment(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SpecError("environment is no object")
    checked = {
        "python": _typed(value, "python", str),
        "path": _typed(value, "path", list, []),
        "cwd": _typed(value, "cwd", str),
        "entry": _typed(value, "entry", str),
        "load": value.get("load"),
        "variables": _typed(value, "variables", dict, {}),
    }
    for text in [*checked["path"], *checked["variables"], *checked["variables"].values()]:
        if not isinstance(text, str):
            raise SpecError(f"environment holds {text!r:.200}, where a text is needed")
    return checked


def _typed(fields: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value = fields.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise SpecError(f"{name} is {value!r:.200}, where {kind.__name__} is needed")
    return value
