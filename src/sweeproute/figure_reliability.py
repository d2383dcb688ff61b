"""Draws how often games were won against how likely that was said to be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from sweeproute import figure_style, scores
from sweeproute.figure_curves import Curve
from sweeproute.plot_style import BLACK, BLUE, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Bars of the histogram from 0 to 1.
_BARS = 20
# Inches: the widest panel, and the part that its histogram adds to its height.
_PANEL, _HISTOGRAM = 2.3, 0.25
_DIAGONAL: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": "--"}
_ISOTONIC: dict[str, Any] = {"color": ORANGE, "linewidth": 1.3}
_BINS: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 3.2}
# Columns by the number of curves; beyond these four.
_COLUMNS = {1: 1, 2: 2, 3: 3, 4: 2} | dict.fromkeys(range(5, 10), 3)


@dataclass(frozen=True, eq=False)
class Bins:
    """Games grouped by what was said of them; all arrays are (n_bins,), by rising probability.

    Attributes:
        stated: Mean probability.
        won: Share of games won.
        low: Lower end of the interval of that share.
        high: Upper end of the interval of that share.
        count: Games.
    """

    stated: NDArray[np.float64]
    won: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    count: NDArray[np.intp]


def bins(
    outcome: NDArray[np.integer],
    probability: NDArray[np.floating],
    number: int = scores.ECE_BINS,
    level: float = 0.95,
) -> Bins:
    """The bins of `scores.ace`, which hold about as many games each; games with the same probability share one.

    The interval of each share is Wilson's, which keeps its level for few games and for shares near 0 and 1, where the
    usual one does not (Wilson, Journal of the American Statistical Association 22, 1927; Brown, Cai and DasGupta,
    "Interval estimation for a binomial proportion", Statistical Science 16, 2001). It is of one bin at a time, and
    takes games for independent.

    Args:
        outcome: 1 when the home side won, else 0, (n_games,).
        probability: Probability of a home win, (n_games,).
        number: Bins at most.
        level: Share of intervals that should contain the chance of a bin.

    Returns:
        The bins that hold a game.

    Example:
        >>> found = bins(np.array([1, 0, 1, 1]), np.array([0.5, 0.5, 0.75, 0.75]), number=2)
        >>> found.stated.tolist(), found.won.tolist(), found.low.round(3).tolist()
        ([0.5, 0.75], [0.5, 1.0], [0.095, 0.342])
    """
    from scipy.special import ndtri

    edges = np.sort(probability)[len(probability) * np.arange(1, number) // number]
    place = np.searchsorted(edges, probability, side="right")
    count = np.bincount(place, minlength=number)
    there = count > 0
    games = count[there]
    stated = np.bincount(place, weights=probability, minlength=number)[there] / games
    won = np.bincount(place, weights=outcome, minlength=number)[there] / games
    z = ndtri((1 + level) / 2)
    centre = (won + z**2 / (2 * games)) / (1 + z**2 / games)
    half = z * np.sqrt(won * (1 - won) / games + z**2 / (4 * games**2)) / (1 + z**2 / games)
    return Bins(stated, won, np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0), games)


def recalibrated(
    outcome: NDArray[np.integer], probability: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The best curve that never falls, on which no choice of bins bears.

    It is the one behind `scores.brier_parts` (Dimitriadis, Gneiting and Jordan, "Stable reliability diagrams for
    probabilistic classifiers", PNAS 118, 2021).

    Args:
        outcome: 1 when the home side won, else 0, (n_games,).
        probability: Probability of a home win, (n_games,).

    Returns:
        The probabilities that were said, rising, and the curve at each, both (n_distinct,).

    Example:
        >>> said, curve = recalibrated(np.array([1, 0, 1]), np.array([0.2, 0.4, 0.6]))
        >>> said.tolist(), curve.tolist()
        ([0.2, 0.4, 0.6], [0.5, 0.5, 1.0])
    """
    from scipy.optimize import isotonic_regression

    said, group, count = np.unique(probability, return_inverse=True, return_counts=True)
    share = np.bincount(group, weights=outcome) / count
    return said, isotonic_regression(share, weights=count).x


def reliability(curves: Sequence[Curve], width: float, level: float = 0.95) -> "Figure":
    """A reliability diagram for each model, with a histogram of what it said below.

    Args:
        curves: The models; one that gives stakes has none.
        width: Inches.
        level: Share of intervals that should contain the chance of a bin.
    """
    curves = [curve for curve in curves if curve.forecasts]
    if not curves:
        drawn = figure_style.figure(width, 1.0)
        axis = drawn.subplots()
        axis.axis("off")
        axis.text(0.5, 0.5, "no model gives probabilities", transform=axis.transAxes, ha="center", va="center")
        return drawn
    columns = _COLUMNS.get(len(curves), 4)
    rows = -(-len(curves) // columns)
    side = min(_PANEL, width / columns - 0.25)
    # Titles of narrow panels wrap earlier.
    titles = [figure_style.wrapped(curve.label, int(14 * side)) for curve in curves]
    most = [max(title.count("\n") + 1 for title in titles[row * columns :][:columns]) for row in range(rows)]
    height = rows * side * (1 + _HISTOGRAM) + 0.16 * sum(most) + 0.45
    drawn = figure_style.figure(width, height)
    axes = drawn.subplots(
        2 * rows, columns, squeeze=False, sharex=True, gridspec_kw={"height_ratios": [1, _HISTOGRAM] * rows}
    )
    for position in range(rows * columns):
        above, below = (axes[2 * (position // columns) + part, position % columns] for part in (0, 1))
        if position >= len(curves):
            above.axis("off")
            below.axis("off")
            continue
        _diagram(above, curves[position], level)
        figure_style.lettered(above.set_title(" ", fontsize=8.5), titles[position])
        count, _, _ = below.hist(
            curves[position].probability, _BARS, range=(0, 1), color=GREY, edgecolor="white", linewidth=0.3
        )
        # Each has a scale of its own, of which the tallest bar is named: one model that says one thing would press all
        # others flat.
        below.set(xlim=(0, 1), ylim=(0, 1.08 * count.max()), box_aspect=_HISTOGRAM)
        below.set_yticks([count.max()], [f"{count.max():.0f}"], fontsize=7)
        if position % columns == 0:
            above.set_ylabel("share won")
            below.set_ylabel("games")
        else:
            above.tick_params(labelleft=False)
        last = position + columns >= len(curves)
        below.tick_params(labelbottom=last)
        if last:
            below.set_xlabel("stated probability")
    drawn.align_ylabels()
    entries = [
        (Line2D([], [], **_BINS, linewidth=0.9), f"bins with {level:.0%} intervals"),
        (Line2D([], [], **_ISOTONIC), "isotonic curve"),
        (Line2D([], [], **_DIAGONAL), "perfectly reliable"),
    ]
    figure_style.legend(drawn, entries)
    return drawn


def _diagram(axis: "Axes", curve: Curve, level: float) -> None:
    found = bins(curve.outcome, curve.probability, level=level)
    axis.plot([0, 1], [0, 1], **_DIAGONAL, zorder=1)
    axis.plot(*recalibrated(curve.outcome, curve.probability), **_ISOTONIC, zorder=2)
    ends = np.vstack([found.won - found.low, found.high - found.won])
    axis.errorbar(found.stated, found.won, ends, fmt="none", ecolor=BLUE, elinewidth=0.9, clip_on=False, zorder=3)
    axis.plot(found.stated, found.won, **_BINS, linestyle="none", clip_on=False, zorder=4)
    axis.set(xlim=(0, 1), ylim=(0, 1), box_aspect=1)
    axis.set_xticks([0, 0.5, 1])
    axis.set_yticks([0, 0.5, 1])
    axis.tick_params(labelbottom=False)
    error = scores.ace(curve.outcome, curve.probability)
    axis.text(0.04, 0.96, f"ACE {error:.3f}", transform=axis.transAxes, fontsize=8, va="top", color=BLACK)
