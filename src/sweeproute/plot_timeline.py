"""Draws which job ran where and when, a lane for each that ran at the same time."""

import heapq
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Patch

from sweeproute.plot_style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, as_image, figure
from sweeproute.progress import counted
from sweeproute.sweep_folder import SweepFolder, launch_record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Outcomes in the order of the legend, each with its word and its colour.
_OUTCOMES = {
    "FINISHED": ("finished", BLUE),
    "PRUNED": ("pruned", ORANGE),
    "FAILED": ("failed", RED),
    "LOST": ("lost", PURPLE),
    "KILLED": ("stopped", GREY),
    "TWICE": ("ran twice, not counted", "#DCDCDC"),
    "RUNNING": ("running", GREEN),
}
# A pause of the whole sweep of so many seconds, and of such a part of its work, is drawn as this part of it.
_PAUSE_S, _LONG, _PAUSE = 60.0, 0.3, 0.04
_UNITS = ((1.0, "seconds"), (60.0, "minutes"), (3600.0, "hours"))


@dataclass(frozen=True)
class Bar:
    """One attempt at a job; seconds are since 1970."""

    platform: str
    started: float
    ended: float
    # A key of the legend.
    outcome: str
    lane: int = 0


def bars(root: Path) -> list[Bar]:
    """The attempts of a sweep that were begun, each in a lane of its platform that was free by then.

    Args:
        root: The folder of the sweep.

    Returns:
        In the order in which they were begun; none where no launcher of ours kept a record of them.
    """
    found = []
    for attempt in SweepFolder(root).attempts():
        record = launch_record(attempt.folder) or {}
        started, ended, state = record.get("started_at"), record.get("ended_at"), str(record.get("state"))
        if started is None or state not in _OUTCOMES:
            continue
        if ended is None:
            ended = started + record["run_s"] if record.get("run_s") is not None else time.time()
        if state == "FINISHED" and not record.get("current"):
            state = "TWICE"
        found.append(Bar(str(record.get("platform") or "none"), float(started), max(float(ended), started), state))
    return _in_lanes(sorted(found, key=lambda bar: bar.started))


def _in_lanes(some: Sequence[Bar]) -> list[Bar]:
    free: dict[str, list[int]] = {}
    busy: dict[str, list[tuple[float, int]]] = {}
    placed = []
    for bar in some:
        lanes, running = free.setdefault(bar.platform, []), busy.setdefault(bar.platform, [])
        while running and running[0][0] <= bar.started:
            heapq.heappush(lanes, heapq.heappop(running)[1])
        lane = heapq.heappop(lanes) if lanes else len(running)
        heapq.heappush(running, (bar.ended, lane))
        placed.append(replace(bar, lane=lane))
    return placed


def timeline(some: Sequence[Bar]) -> "Figure":
    """The attempts as bars in lanes, by platform.

    Args:
        some: As `bars` gives them, at least one.
    """
    platforms = list(dict.fromkeys(bar.platform for bar in some))
    lanes = {name: 1 + max(bar.lane for bar in some if bar.platform == name) for name in platforms}
    start = min(bar.started for bar in some)
    at, breaks = pauses(some)
    span = max(at(bar.ended) for bar in some) or 1.0
    unit, word = next((told for told in reversed(_UNITS) if span >= 3 * told[0]), _UNITS[0])
    depth = float(np.clip(5.0 / sum(lanes.values()), 0.1, 0.26))
    drawn, axes = figure(height=1.3 + depth * (sum(lanes.values()) + 0.8 * len(platforms)))
    axis = axes[0, 0]
    top, ticks = 0.0, []
    for name in platforms:
        here = [bar for bar in some if bar.platform == name]
        for outcome, (_, colour) in _OUTCOMES.items():
            told = [bar for bar in here if bar.outcome == outcome]
            for lane in sorted({bar.lane for bar in told}):
                # A bar too short to be seen is drawn as wide as a hair.
                spans = [
                    (at(bar.started) / unit, max(at(bar.ended) - at(bar.started), span / 600) / unit)
                    for bar in told
                    if bar.lane == lane
                ]
                axis.broken_barh(
                    spans,
                    (top + lane + 0.06, 0.88),
                    facecolors=colour,
                    edgecolors="white",
                    linewidth=min(0.4, 16 / len(spans)),
                    rasterized=as_image(len(some)),
                )
        share = sum(bar.ended - bar.started for bar in here) / (span * lanes[name])
        ticks.append((top + lanes[name] / 2, f"{name}\n{counted(len(here))}, {min(share, 1):.0%} busy"))
        top += lanes[name]
        if name != platforms[-1]:
            axis.axhline(top + 0.4, color=GREY, linewidth=0.6)
        top += 0.8
    for pause, seconds in breaks:
        axis.axvline(pause / unit, color=GREY, linestyle=":", linewidth=1)
        size_s, named = next((told for told in reversed(_UNITS) if seconds >= told[0]), _UNITS[0])
        axis.annotate(
            f"{seconds / size_s:.0f} {named} of pause",
            (pause / unit, top),
            fontsize=7,
            ha="center",
            va="bottom",
            color="#555555",
            annotation_clip=False,
        )
    axis.set_ylim(top - 0.8, 0)
    axis.set_xlim(0, span / unit * 1.01)
    axis.set_yticks([place for place, _ in ticks], [text for _, text in ticks])
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel(f"{word} since {time.strftime('%Y-%m-%d %H:%M', time.localtime(start))}")
    counts = {outcome: sum(bar.outcome == outcome for bar in some) for outcome in _OUTCOMES}
    axis.legend(
        handles=[
            Patch(facecolor=colour, edgecolor="white", label=f"{counts[outcome]} {text}")
            for outcome, (text, colour) in _OUTCOMES.items()
            if counts[outcome]
        ],
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=4,
        borderaxespad=0.3,
    )
    return drawn


def pauses(some: Sequence[Bar]) -> tuple[Callable[[float], float], list[tuple[float, float]]]:
    """Shorten the times in which nothing ran at all, as between a stop and a resume.

    Args:
        some: In the order in which they were begun.

    Returns:
        From seconds since 1970 to seconds on the axis; and the pauses, by where they are and how long they were.
    """
    joined: list[list[float]] = []
    for bar in some:
        if joined and bar.started <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], bar.ended)
        else:
            joined.append([bar.started, bar.ended])
    worked = sum(end - start for start, end in joined) or 1.0
    short = _PAUSE * worked
    shifts, breaks, cut = [(joined[0][0], joined[0][0])], [], joined[0][0]
    for (_, end), (start, _) in itertools.pairwise(joined):
        if start - end > max(_PAUSE_S, _LONG * worked):
            cut += start - end - short
            breaks.append((end + short / 2 - (cut - (start - end - short)), start - end))
            shifts.append((start, cut))

    def at(moment: float) -> float:
        return moment - next(shift for begin, shift in reversed(shifts) if moment >= begin)

    return at, breaks
