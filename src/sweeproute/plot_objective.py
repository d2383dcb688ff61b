"""Draws what a sweep has found: the way to its best trial, its front, what its trials reported, what mattered."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sweeproute import pareto
from sweeproute.plot_style import (
    BLACK,
    BLUE,
    FAMILIES,
    GREY,
    ORANGE,
    RED,
    as_image,
    better,
    figure,
    limits,
    number,
    size,
)
from sweeproute.plot_trials import Trial, Trials, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Parameters whose importance is drawn; the rest are as good as none.
_BARS = 15
_STATES = {"FINISHED": ("finished", BLUE), "PRUNED": ("pruned", ORANGE), "FAILED": ("failed", RED)}


def history(trials: Trials) -> "Figure":
    """Each trial's value in the order of the trials, with the best so far."""
    count = len(trials.objectives)
    drawn, axes = figure(count, height=1.2 + 2.1 * count, sharex=True)
    for position, axis in enumerate(axes[:, 0]):
        _history(axis, trials, position)
    axes[-1, 0].set_xlabel("trial")
    axes[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, borderaxespad=0.2)
    return drawn


def _history(axis: "Axes", trials: Trials, position: int) -> None:
    objective, finished = trials.objectives[position], trials.finished
    numbers = np.array([trial.number for trial in finished])
    values = np.array([trial.values[position] for trial in finished])
    low, high = limits(list(values), objective)
    inside = (values >= low) & (values <= high)
    families = trials.families()
    if len(families) > len(FAMILIES):
        families = [trials]
    for family, colour in zip(families, FAMILIES, strict=False):
        some = [trial for trial in family.finished if low <= trial.values[position] <= high]
        axis.scatter(
            [trial.number for trial in some],
            [trial.values[position] for trial in some],
            size(len(finished)),
            color=colour,
            alpha=0.6,
            linewidths=0,
            label=family.family or "finished",
            rasterized=as_image(len(finished)),
        )
        told = [
            (trial.number, trial.values[position], error)
            for trial in some
            if (error := trial.errors[position]) is not None
        ]
        if told:
            xs, ys, errors = zip(*told, strict=True)
            axis.errorbar(xs, ys, errors, fmt="none", ecolor=colour, elinewidth=0.6, alpha=0.5)
    if not inside.all():
        side, mark = (low, "v") if objective.maximize else (high, "^")
        edge = np.full((~inside).sum(), side)
        axis.scatter(numbers[~inside], edge, 18, color=GREY, marker=mark, clip_on=False, label="off the scale")
    whole = [trial for trial in finished if trial.whole]
    losses = np.minimum.accumulate([objective.loss(trial.values[position]) for trial in whole])
    best = [objective.loss(loss) for loss in losses]
    end = max(trial.number for trial in trials.trials)
    steps = [*(trial.number for trial in whole), end]
    axis.step(steps, [*best, best[-1]], where="post", color=BLACK, linewidth=1.2, label="best so far")
    for state in ("PRUNED", "FAILED"):
        word, colour = _STATES[state]
        there = [trial.number for trial in trials.trials if trial.state == state]
        if there:
            # They have no value that can be compared: they stand along the edge.
            axis.plot(
                there,
                [0.0] * len(there),
                "|",
                color=colour,
                markersize=7,
                markeredgewidth=1.0,
                label=word,
                transform=axis.get_xaxis_transform(),
                clip_on=False,
            )
    axis.set_ylim(low, high)
    axis.margins(x=0.02)
    axis.set_ylabel(better(objective))
    axis.grid(axis="y")


def importances(shares: Sequence[tuple[str, Mapping[str, float]]], trials: int) -> "Figure":
    """How much of each metric's variance the parameters explain.

    Args:
        shares: A metric, with the share of each parameter.
        trials: How many finished trials they were taken from.
    """
    mean = {label: np.mean([share.get(label, 0.0) for _, share in shares]) for _, share in shares for label in share}
    labels = sorted(mean, key=lambda label: mean[label])[-_BARS:]
    drawn, axes = figure(height=1.1 + 0.3 * len(labels) * max(1.0, 0.6 * len(shares)))
    axis = axes[0, 0]
    depth = 0.75 / len(shares)
    for position, (metric, share) in enumerate(shares):
        places = np.arange(len(labels)) + (0.375 - depth / 2 - position * depth)
        told = [share.get(label, 0.0) for label in labels]
        bars = axis.barh(places, told, depth, color=(BLUE, ORANGE)[position % 2], label=metric)
        axis.bar_label(bars, [f"{value:.2f}" if value >= 0.005 else "<0.01" for value in told], padding=3, fontsize=8)
    axis.set_yticks(range(len(labels)), [shown(label, 32) for label in labels])
    axis.margins(x=0.12)
    axis.tick_params(axis="y", length=0)
    axis.set_xlim(left=0)
    what = shares[0][0] if len(shares) == 1 else "each metric"
    axis.set_xlabel(f"share of the variance of {what} (fANOVA, {trials} trials)")
    if len(shares) > 1:
        axis.legend(loc="lower right")
    return drawn


def front(trials: Trials) -> "Figure":
    """All trials by two objectives, with the front that none dominates, and its knee.

    What is off the scale stands at its edge.
    """
    first, second = trials.objectives
    finished = trials.finished
    whole = [trial for trial in finished if trial.whole]
    losses = [[one.loss(value) for one, value in zip(trials.objectives, trial.values, strict=True)] for trial in whole]
    kept = sorted(pareto.front(losses), key=lambda position: losses[position])
    points = [whole[position].values for position in kept]
    knee = points[pareto.knee([losses[position] for position in kept])]
    drawn, axes = figure(height=3.9)
    axis = axes[0, 0]
    rest = np.array([trial.values for trial in finished])
    (left, right), (low, high) = limits(list(rest[:, 0]), first), limits(list(rest[:, 1]), second)
    axis.scatter(
        np.clip(rest[:, 0], left, right),
        np.clip(rest[:, 1], low, high),
        size(len(finished)),
        color=GREY,
        linewidths=0,
        label="dominated",
        rasterized=as_image(len(finished)),
    )
    # Between two points of the front only what both of them reach is known to be reached: a stair, never a slope.
    axis.plot(*_stairs(points), color=BLUE, linewidth=0.9, zorder=2)
    axis.scatter(*np.array(points).T, 26, color=BLUE, zorder=3, label=f"front ({len(points)} trials)")
    axis.scatter(*knee, 110, color=RED, marker="*", zorder=4, label=f"knee ({number(knee[0])}, {number(knee[1])})")
    axis.set_xlabel(better(first))
    axis.set_ylabel(better(second))
    axis.set_xlim(left, right)
    axis.set_ylim(low, high)
    axis.grid()
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.2)
    return drawn


def _stairs(points: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """The corners between the points of a front, of which the first is the best in the first objective."""
    xs, ys = [points[0][0]], [points[0][1]]
    for x, y in points[1:]:
        xs += [x, x]
        ys += [ys[-1], y]
    return xs, ys


def reports(trials: Trials) -> "Figure":
    """What each trial reported step by step; the best one stands out."""
    drawn, axes = figure(height=3.3)
    axis = axes[0, 0]
    objective = trials.objectives[0]
    told = [trial for trial in trials.trials if trial.reports]
    faint = float(np.clip(12 / len(told), 0.12, 0.7))
    for trial in told:
        colour = _STATES[trial.state][1]
        ends = trial.state != "FINISHED"
        axis.plot(
            list(trial.reports),
            list(trial.reports.values()),
            color=colour,
            linewidth=0.8,
            alpha=min(1.0, faint * (2 if ends else 1)),
            marker="o" if len(trial.reports) == 1 else None,
            markersize=2.5,
            rasterized=as_image(8 * len(told)),
            zorder=2 if ends else 1,
        )
        if ends:
            step = max(trial.reports)
            axis.plot(
                step,
                trial.reports[step],
                marker="x",
                color=colour,
                markersize=3.5,
                markeredgewidth=0.8,
                linestyle="none",
                zorder=3,
            )
    best = _best([trial for trial in told if trial.values], trials)
    if best is not None:
        axis.plot(list(best.reports), list(best.reports.values()), color=BLACK, linewidth=1.6, zorder=4)
    values = [value for trial in told for value in trial.reports.values()]
    axis.set_ylim(limits(values, objective))
    axis.set_xlabel("step")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylabel(better(objective))
    axis.grid(axis="y")
    counts = {state: sum(trial.state == state for trial in told) for state in _STATES}
    handles = [
        Line2D([], [], color=colour, label=f"{counts[state]} {word}")
        for state, (word, colour) in _STATES.items()
        if counts[state]
    ]
    if best is not None:
        handles.append(Line2D([], [], color=BLACK, linewidth=1.6, label=f"the best (trial {best.number})"))
    axis.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, borderaxespad=0.2)
    return drawn


def _best(some: Sequence[Trial], trials: Trials) -> Trial | None:
    whole = [trial for trial in some if trial.whole]
    return min(whole, key=lambda trial: trials.objectives[0].loss(trial.values[0]), default=None)
