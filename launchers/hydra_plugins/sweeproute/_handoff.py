"""Writes the messages that are handed on to whoever looks after the machines."""

import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

UNAVAILABLE = "platform_unavailable.yaml"


def platform_unavailable(facts: Mapping[str, Any]) -> Path:
    """Say that a platform is lost to a sweep, what that means, what is asked for.

    The file has the keys and the form of a hand-kept one: valid YAML, whose `context` is a list of single keys. It is
    written anew when the platform is lost again.

    Args:
        facts: Of the sweep and the platform, as the launcher knows them; those with a default may be left out:
            folder: The sweep's folder, where the file is written.
            platform: Its name in the registry.
            issue: What happened to it, as a clause that follows its name, or a sentence.
            host: What ssh is given (None).
            ssh_config: An ssh configuration other than the usual one (None).
            answers: Whether it answers, and cannot run the jobs (False).
            gpu: Whether it has a GPU (False).
            queued: Jobs that were to run there and have not begun (0).
            models: How many of them each model has ({}).
            running: Jobs that may still run there (0).
            fallback: The platform that runs them instead; None where there is none (None).
            slower: How many times longer they take there; None where that is not known (None).
            left_s: Expected seconds to the end of the sweep as things stand; None where that is not known (None).
            deadline: When it has to end, seconds since 1970; None where that is not said (None).
            now: Seconds since 1970 (the present).

    Returns:
        The path of the file.
    """
    # lazy import: what loads this module at a sweep's start needs it at a loss alone
    import yaml

    now = facts.get("now") or time.time()
    message = {
        "trigger": "platform_unavailable",
        "context": [
            {"platform": facts["platform"]},
            {"issue": facts["issue"]},
            {"impact": _impact(facts)},
            {"queued_tasks": _queued(facts)},
        ],
        "request": _requests(facts),
        "urgency": _urgency(facts, now),
        "workaround": _workaround(facts),
        "timeline": _timeline(facts, now),
    }
    path = Path(facts["folder"]) / UNAVAILABLE
    beside = path.with_name(f"{path.name}.{os.getpid()}~")
    beside.write_text(yaml.safe_dump(message, sort_keys=False, allow_unicode=True, width=1000), encoding="utf-8")
    beside.replace(path)
    return path


def _impact(facts: Mapping[str, Any]) -> str:
    if facts.get("gpu"):
        return "Cannot execute GPU-accelerated training"
    return f"Cannot execute training on {facts['platform']}"


def _queued(facts: Mapping[str, Any]) -> str:
    number, models = facts.get("queued") or 0, facts.get("models") or {}
    of = f" ({', '.join(models)} hyperparameter search)" if models else ""
    running = facts.get("running") or 0
    return f"{number}{of}" + (f", and {running} that may still run there" if running else "")


def _requests(facts: Mapping[str, Any]) -> list[str]:
    platform, host = facts["platform"], facts.get("host")
    if facts.get("answers"):
        return [f"Find out what is missing (sweeproute check {platform})"]
    asked = [f"Verify {platform} is online"]
    if host:
        config = f"-F {shlex.quote(facts['ssh_config'])} " if facts.get("ssh_config") else ""
        asked.append(f"Check SSH service status (ssh {config}{host} true)")
    if facts.get("gpu"):
        asked += ["Confirm CUDA drivers loaded", "Test GPU availability (nvidia-smi)"]
    return asked


def _urgency(facts: Mapping[str, Any], now: float) -> str:
    if facts.get("fallback") is None and facts.get("queued"):
        return "high"
    late = _late_s(facts, now)
    if late is not None and late > 0:
        return "high"
    return "medium" if facts.get("queued") or facts.get("running") else "low"


def _workaround(facts: Mapping[str, Any]) -> str:
    fallback, slower = facts.get("fallback"), facts.get("slower")
    if fallback is None:
        return "None: the jobs wait until it is back"
    pace = "" if slower is None else f" ({slower:.3g}x slower)" if slower > 1 else " (not slower, by what has run)"
    return f"Falling back to {fallback}{pace}"


def _timeline(facts: Mapping[str, Any], now: float) -> str:
    left_s, deadline, late = facts.get("left_s"), facts.get("deadline"), _late_s(facts, now)
    if deadline is None:
        return "No deadline is set" + (f"; as things stand the sweep ends in {_hours(left_s)}" if left_s else "")
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(deadline))
    if late is None or left_s is None:
        return f"The deadline is {when}; how long the rest takes is not known"
    if late <= 0:
        return f"The deadline, {when}, is met without it: the sweep ends in {_hours(left_s)}"
    # Back at the platform's own speed, the rest would take a share of the time.
    within_s = deadline - now - left_s / max(1.0, facts.get("slower") or 1.0)
    if within_s <= 0:
        return f"The deadline, {when}, cannot be met any more"
    return f"Need resolution within {_hours(within_s)} to meet deadline ({when})"


def _late_s(facts: Mapping[str, Any], now: float) -> float | None:
    """Seconds by which the sweep would miss its deadline; below 0 where it would not, None where that is not known."""
    left_s, deadline = facts.get("left_s"), facts.get("deadline")
    return None if left_s is None or deadline is None else now + left_s - deadline


def _hours(seconds: float) -> str:
    if seconds < 60:
        return "less than a minute"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.3g} hours"
