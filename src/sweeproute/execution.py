"""Measures by the runs of a sweep how long it took, and how busy its platforms were."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeproute.sweep_facts import SESSIONS, TOTAL
from sweeproute.sweep_runs import Attempt, SweepRuns

# How attempts end that give their job's result.
_WITH_RESULT = ("FINISHED", "PRUNED")
# Seconds by which the ends of runs may be off, as the store counts in milliseconds.
_OFF_S = 0.01


@dataclass(frozen=True)
class PlatformUse:
    """What one platform has done for a sweep."""

    platform: str
    # In the order in which they began there.
    models: tuple[str, ...]
    # Jobs that ran there at the same time, at most.
    concurrent: int
    # Seconds of all attempts there.
    busy_s: float
    # None where it is not known.
    slots: int | None
    # Share of its slots' time in which a job ran there, of 1; None where the slots are not known.
    share: float | None


@dataclass(frozen=True)
class Execution:
    """How a sweep went."""

    # Seconds since 1970: when it was begun and when it was over, else of its first job's start and last one's end; None
    # where no job has both.
    started: float | None
    ended: float | None
    # Seconds in which somebody coordinated it; of all jobs one after another.
    parallel_s: float
    sequential_s: float
    platforms: tuple[PlatformUse, ...]
    # Jobs with a result; those without, by how they ended; those that never began, where that is known.
    done: int
    without: Mapping[str, int]
    not_started: int


def execution(sweep: SweepRuns) -> Execution:
    """Measure a sweep.

    Args:
        sweep: Its runs, of whatever end; what was taken over from an earlier sweep took no time in this one.

    Returns:
        What was measured.
    """
    spans = [(one, *span) for one in sweep.attempts if not one.reused and (span := _span(one)) is not None]
    started = min((start for _, start, _ in spans), default=None)
    ended = max((end for _, _, end in spans), default=None)
    windows = _windows(sweep.told.get(SESSIONS), started, ended)
    if windows:
        started, ended = windows[0][0], max(end for _, end, _ in windows)
    parallel_s = sum(end - start for start, end, _ in windows)
    counting = [one for one, _, _ in spans if one.current and one.state in _WITH_RESULT]
    platforms = tuple(
        _use(name, [entry for entry in spans if entry[0].platform == name], windows)
        for name in dict.fromkeys(one.platform for one, _, _ in sorted(spans, key=lambda entry: entry[1]))
    )
    states: dict[int | None, list[str]] = {}
    for one in sweep.attempts:
        states.setdefault(one.job, []).append(one.state)
    lacking = [ends[-1] for ends in states.values() if not set(ends) & set(_WITH_RESULT)]
    total = sweep.told.get(TOTAL, "")
    # A search that finds no further point ends in order with fewer jobs than it might have had.
    ended_early = total.isdecimal() and sweep.told.get("sweeproute.state") != "FINISHED"
    return Execution(
        started,
        ended,
        parallel_s,
        sum(one.run_s or 0.0 for one in counting),
        platforms,
        len(states) - len(lacking),
        {state: lacking.count(state) for state in sorted(set(lacking))},
        max(0, int(total) - len(states)) if ended_early else 0,
    )


def _span(one: Attempt) -> tuple[float, float] | None:
    if one.ended is None or (one.run_s is None and one.started is None):
        return None
    start = one.ended - one.run_s if one.run_s is not None else one.started
    assert start is not None
    return min(start, one.ended), one.ended


Window = tuple[float, float, Mapping[str, int] | None]


def _windows(told: str | None, started: float | None, ended: float | None) -> list[Window]:
    """When somebody coordinated the sweep, its start-up included, and the slots that there were; as targets take it."""
    if started is None or ended is None:
        return []
    # What a far machine did while nobody coordinated stands outside of them.
    windows: list[Window] = [(begins, ends, slots) for begins, ends, slots in json.loads(told)] if told else []
    return sorted(windows, key=lambda window: window[:2]) or [(started, ended, None)]


def _use(name: str, spans: Sequence[tuple[Attempt, float, float]], windows: Sequence[Window]) -> PlatformUse:
    busy_s = sum(end - start for _, start, end in spans)
    slots_s = overlap_s = 0.0
    slots = None
    for begins, ends, told in windows:
        if told is not None and name in told:
            slots = max(slots or 0, told[name])
            slots_s += told[name] * (ends - begins)
            overlap_s += sum(max(0.0, min(end, ends) - max(start, begins)) for _, start, end in spans)
    return PlatformUse(
        name,
        tuple(dict.fromkeys(one.model for one, _, _ in sorted(spans, key=lambda entry: entry[1]))),
        _at_once([(start, end) for _, start, end in spans]),
        busy_s,
        slots,
        min(1.0, overlap_s / slots_s) if slots_s else None,
    )


def _at_once(spans: Sequence[tuple[float, float]]) -> int:
    """How many spans there are at the same time, at most."""
    marks = [mark for start, end in spans for mark in ((start + _OFF_S, 1), (max(end, start + 2 * _OFF_S), -1))]
    most = now = 0
    for _, step in sorted(marks):
        now += step
        most = max(most, now)
    return most
