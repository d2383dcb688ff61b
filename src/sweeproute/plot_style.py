"""Gives all plots of a sweep one look."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

# Files alone are drawn: no window system is looked for.
mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt

from sweeproute.plot_trials import Parameter, Trial, shown
from sweeproute.selection import Objective

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Inches: the width of a text column on A4, so that the letters keep their size in a thesis.
WIDTH = 6.3
# The palette of Okabe and Ito (2008), which the colour-blind can tell apart.
BLUE, ORANGE, RED, GREEN, GREY, PURPLE, BLACK = (
    *("#0072B2", "#E69F00", "#D55E00", "#009E73", "#A6A6A6", "#CC79A7", "#222222"),
)
# For up to six families of trials.
FAMILIES = (BLUE, ORANGE, GREEN, PURPLE, "#56B4E9", "#8C6D31")
# Of the trials by their values: the best are the darkest, on white paper and for every eye.
_VALUES = "viridis_r"
# A PDF for print keeps its letters as text; a PNG is what MLflow's pages and a mail show.
_DPI = 160
_LOOK: Any = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": False,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    # Outlines of the letters alone: text stays text, and to cut a whole font down takes longer than the picture.
    "pdf.fonttype": 3,
    "figure.constrained_layout.use": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 5),
}
# Numbers of at most so many values are places of a grid, not points on a line.
_PLACES = 8
# The part of a small axis that the name of a tick takes.
_TICK = 0.12
# Points of a picture beyond which a PDF holds them as an image: thousands of circles open slowly.
_VECTORS = 2000


def figure(rows: int = 1, columns: int = 1, height: float = 3.2, **more: Any) -> tuple["Figure", "NDArray[Any]"]:
    """A figure of the common width.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        height: Inches.
        more: As `pyplot.subplots` takes it.

    Returns:
        The figure, and its axes by (row, column).
    """
    mpl.rcParams.update(_LOOK)
    return plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, **more)


def save(drawn: "Figure", folder: Path, name: str) -> None:
    """Write a figure as PDF and as PNG, the same bytes each time, and let go of it."""
    engine = drawn.get_layout_engine()
    if engine is not None:
        # Once for both files.
        engine.execute(drawn)
        drawn.set_layout_engine("none")
    for kind, told in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        drawn.savefig(folder / f"{name}.{kind}", format=kind, dpi=_DPI, metadata=told)
    plt.close(drawn)


def size(count: int) -> float:
    """The area of a point, in square points of print, where there are this many."""
    return float(np.clip(30 - 4 * np.log2(max(count, 8) / 8), 8, 30))


def as_image(count: int) -> bool:
    """Whether so many points become an image within a PDF."""
    return count > _VECTORS


def limits(values: Sequence[float], objective: Objective) -> tuple[float, float]:
    """The part of a metric's axis that is worth showing: a few values that are far worse than the rest are cut off.

    Args:
        values: At least one.
        objective: Which side is better.

    Returns:
        Low and high end, some room included.
    """
    losses = np.array([objective.loss(value) for value in values])
    best, most, worst = losses.min(), np.quantile(losses, 0.9), losses.max()
    if most > best and worst - best > 4 * (most - best):
        worst = most + 0.5 * (most - best)
    room = 0.06 * (worst - best) or 0.05 * abs(best) or 0.5
    ends = sorted(objective.loss(loss) for loss in (best - room, worst + room))
    return float(ends[0]), float(ends[1])


def colours(values: Sequence[float], objective: Objective) -> tuple["Colormap", "Normalize"]:
    """The colours of a metric's values, the best the darkest."""
    low, high = limits(values, objective)
    kept = [value for value in values if low <= value <= high]
    name = _VALUES if objective.maximize else _VALUES.removesuffix("_r")
    return plt.get_cmap(name), mpl.colors.Normalize(min(kept), max(kept))


def better(objective: Objective) -> str:
    """A metric's name with the side that is better."""
    return f"{objective.metric} ({'higher' if objective.maximize else 'lower'} is better)"


def positions(parameter: Parameter, trials: Sequence[Trial]) -> "NDArray[np.float64]":
    """Where trials stand on a parameter's axis: at their numbers, or around the place of their choice."""
    if parameter.choices is None:
        return np.array([float(trial.params[parameter.label]) for trial in trials])
    place = {text: float(at) for at, text in enumerate(parameter.choices)}
    # By the golden ratio neighbours in number stand apart, and the same trial at the same place each time.
    aside = [((trial.number * 0.618034) % 1 - 0.5) * 0.5 for trial in trials]
    return np.array([place[str(trial.params[parameter.label])] for trial in trials]) + aside


def grid(parameter: Parameter, trials: Sequence[Trial]) -> list[float]:
    """The few numbers that trials share, as in a grid; none where they are points on a line, or choices."""
    if parameter.choices is not None:
        return []
    found = sorted({float(trial.params[parameter.label]) for trial in trials})
    return found if len(found) <= _PLACES and 2 * len(found) <= len(trials) else []


def apart(values: Sequence[float], log: bool, least: float) -> list[float]:
    """Those of some ascending numbers whose names at an axis have this part of it to themselves."""
    if not values:
        return []
    drawn = np.log10(values) if log else np.array(values)
    kept = [0]
    for at in range(1, len(values)):
        if drawn[at] - drawn[kept[-1]] >= least * np.ptp(drawn):
            kept.append(at)
    return [values[at] for at in kept]


def parameter_axis(axis: "Axes", parameter: Parameter, trials: Sequence[Trial], which: str = "x") -> None:
    """Set an axis for a parameter of some trials: its name, its scale, its ticks.

    Args:
        axis: Where.
        parameter: What stands along it.
        trials: Trials that have it.
        which: x or y.
    """
    getattr(axis, f"set_{which}label")(shown(parameter.label, 22))
    if parameter.choices is not None:
        level_axis(axis, parameter.choices, which)
        return
    if parameter.log:
        getattr(axis, f"set_{which}scale")("log")
    drawn = getattr(axis, f"{which}axis")
    named = mpl.ticker.FuncFormatter(lambda value, _: number(value))
    places = grid(parameter, trials)
    if places:
        drawn.set_major_locator(mpl.ticker.FixedLocator(apart(places, parameter.log, _TICK)))
        drawn.set_major_formatter(named)
        drawn.set_minor_locator(mpl.ticker.NullLocator())
    elif parameter.log:
        there = np.log10([float(trial.params[parameter.label]) for trial in trials])
        if np.ptp(there) >= 2:
            drawn.set_major_locator(mpl.ticker.LogLocator(numticks=5))
        else:
            drawn.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5) if np.ptp(there) < 1 else (1, 3), numticks=6))
            drawn.set_major_formatter(named)
        # A dozen small marks an axis would take half the time of its picture.
        drawn.set_minor_locator(mpl.ticker.NullLocator())
    else:
        drawn.set_major_locator(mpl.ticker.MaxNLocator(nbins=5, integer=parameter.whole))


def level_axis(axis: "Axes", texts: Sequence[str], which: str = "x") -> None:
    """Set an axis for places that have names."""
    told = [shown(text, 12) for text in texts]
    getattr(axis, f"set_{which}ticks")(range(len(told)), told)
    getattr(axis, f"set_{which}lim")(-0.5, len(told) - 0.5)
    if which == "x" and sum(len(text) + 2 for text in told) > 24:
        plt.setp(axis.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")


def number(value: float) -> str:
    """A number at an axis, in three digits."""
    return f"{value:.3g}" if not float(value).is_integer() or abs(value) >= 1e6 else str(int(value))
