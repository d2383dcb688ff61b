"""Says what the folder of a sweep that is over tells of it, in the tracking store's terms."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeproute import history
from sweeproute.targets import targets

# When its coordinators ran, and with how many slots; what was reached; how many jobs there are; when it had to end.
SESSIONS, TARGETS, TOTAL, DEADLINE = (f"sweeproute.{name}" for name in ("sessions", "targets", "total", "deadline"))


def sweep_tags(root: Path, record: Mapping[str, Any] | None) -> dict[str, str]:
    """Tags of a sweep's own run, by which its report needs no folder.

    Args:
        root: The sweep's folder.
        record: Its record; None where it is no sweep of our launcher.

    Returns:
        Text by tag; what is not known has none.
    """
    if record is None:
        return {}
    tags = {}
    if isinstance(record.get("total"), int):
        tags[TOTAL] = str(record["total"])
    if record.get("deadline"):
        tags[DEADLINE] = str(record["deadline"])
    found = history.sweep(root)
    if found is not None and found.sessions:
        told = [[round(one.started, 3), round(one.ended, 3), dict(one.slots)] for one in found.sessions]
        tags[SESSIONS] = json.dumps(told)
        tags[TARGETS] = json.dumps([asdict(target) for target in targets([found], found.attempts)])
    return tags
