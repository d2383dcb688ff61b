"""Says what the launcher's record of an attempt tells of its run, in the tracking store's terms."""

import json
from collections.abc import Mapping
from typing import Any

from sweeproute import journal
from sweeproute.mlflow_limits import TAG_LENGTH
from sweeproute.store_run import MetricRow
from sweeproute.sweep_folder import Attempt, error_of, overrides_of, returned_metrics

# What a launch record says, under the names of the tags.
_FACTS = ("platform", "device", "reason", "decision", "queue_s", "run_s", "threads", "pruned")
Record = Mapping[str, Any]


def launch_tags(attempt: Attempt, record: Record | None, superseded: bool, ended: bool) -> dict[str, str]:
    """What is known of a run from its launch; whether it counts only once it has ended."""
    tags: dict[str, str] = {}
    overrides = json.dumps(list(overrides_of(attempt.folder, record)))
    if len(overrides) <= TAG_LENGTH:
        # Longer ones stay out: half a list reproduces nothing.
        tags["sweeproute.overrides"] = overrides
    if record is not None:
        for name, fact in ((name, record.get(name)) for name in _FACTS):
            if fact is not None:
                tags[f"sweeproute.{name}"] = str(round(fact, 3) if isinstance(fact, float) else fact)
        tags |= {f"sweeproute.{name}": str(value) for name, value in (record.get("identity") or {}).items()}
        tags["sweeproute.state"] = str(record.get("state"))
    if error := error_of(record):
        tags["sweeproute.error"] = error
    if ended:
        counts = not superseded if record is None else bool(record.get("current"))
        tags["sweeproute.current"] = "true" if counts else "false"
        if superseded:
            tags["sweeproute.superseded"] = "true"
    return tags


def from_record(attempt: Attempt, record: Record) -> tuple[dict[str, str], list[MetricRow]]:
    """Parameters and metrics of a job without a journal: its overrides, and the numbers that it returned."""
    pairs = (override.lstrip("+~").partition("=") for override in overrides_of(attempt.folder, record))
    moment = milliseconds(record.get("ended_at")) or 0
    metrics = [(name, value, 0, moment) for name, value in returned_metrics(record).items()]
    return {key: value for key, _, value in pairs}, metrics


def reported_last(attempt: Attempt, record: Record) -> list[MetricRow]:
    """What a trial that was ended had reported over all its seasons so far, behind what it had journalled of each."""
    journalled = journal.merge(journal.read(attempt.folder)[0]).metrics
    step = max((step for _, _, step, _ in journalled), default=-1) + 1
    moment = milliseconds(record.get("ended_at")) or 0
    return [(name, value, step, moment) for name, value in returned_metrics(record).items()]


def milliseconds(seconds: float | None) -> int | None:
    """Milliseconds since 1970, as the store counts; None where there is no time."""
    return int(float(seconds) * 1000) if seconds else None
