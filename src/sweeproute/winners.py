"""Says which configuration of each model of a sweep has won, under each calibration, from the records of its jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweeproute.choice import Scored, choose
from sweeproute.configuration import split
from sweeproute.selection import Objective, Rule
from sweeproute.sweep_folder import returned_metrics

Record = Mapping[str, Any]


def by_model(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The launch records of each model type, in their order."""
    found: dict[str, list[Record]] = {}
    for one in records:
        found.setdefault(str((one.get("fields") or {}).get("model_type")), []).append(one)
    return found


def differs(records: Sequence[Record], groups: Sequence[str]) -> str | None:
    """The first of some config groups in which jobs were told different things; None where there is none."""
    for group in groups:
        told = {
            frozenset(word for word in one["overrides"] if word.lstrip("+").split("=")[0].split(".")[0] == group)
            for one in records
        }
        if len(told) > 1:
            return group
    return None


def named(metric: str, method: str, methods: Sequence[str]) -> str:
    """What a job calls a metric under one of its calibrations; the first is its own, and has no name before it."""
    return metric if method == methods[0] else f"{method}/{metric}"


def winners(records: Sequence[Record], decides: Rule, methods: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Choose among the jobs of one model, once for each calibration and by the scores under it.

    Args:
        records: The launch records of those that have finished.
        decides: What the sweep chooses by.
        methods: The calibrations that each of them has, its own first.

    Returns:
        Of each calibration the positions of the jobs of the configuration that won, one for each of its repeats; none
        where none can.
    """
    won = {}
    for method in methods:
        bare = [(one.metric.rpartition("/")[2], one.maximize) for one in decides.objectives]
        objectives = tuple(Objective(named(metric, method, methods), maximize) for metric, maximize in bare)
        scored = []
        for position, one in enumerate(records):
            kept, repeat = split(one["overrides"], decides.repeats)
            scored.append(Scored(position, True, frozenset(kept), repeat, returned_metrics(one)))
        winner = choose(scored, replace(decides, objectives=objectives)).winner
        won[method] = winner.repeats if winner is not None else ()
    return won
