"""Draws ROC curves of models, with the areas under them and how sure these are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from sweeproute import figure_style, significance
from sweeproute.figure_curves import Curve
from sweeproute.plot_style import GREY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Markers a curve.
_MARKED = 3
# The height of the axes beside a narrow legend, and the width from which on a legend stands below, as parts of the
# figure's width.
_HIGHEST, _BESIDE = 0.66, 0.45
_DIAGONAL: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": "--"}


def points(
    outcome: NDArray[np.integer], probability: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The corners of a ROC curve: one for each threshold at which its direction changes.

    Games with the same probability are one straight piece, so that the area below is `scores.auc`, in which ties count
    half (Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27, 2006).

    Args:
        outcome: 1 when the home side won, else 0, (n_games,).
        probability: Probability of a home win, (n_games,).

    Returns:
        The share of lost games, and that of won ones, which a threshold takes for won, both (n_corners,) from 0 to 1;
        empty where all games ended the same way.

    Example:
        >>> lost, won = points(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.7]))
        >>> lost.tolist(), won.tolist()
        ([0.0, 0.0, 1.0], [0.0, 0.5, 1.0])
    """
    _, group = np.unique(-probability, return_inverse=True)
    won = np.concatenate([[0.0], np.cumsum(np.bincount(group, weights=outcome == 1))])
    lost = np.concatenate([[0.0], np.cumsum(np.bincount(group, weights=outcome != 1))])
    if won[-1] == 0 or lost[-1] == 0:
        return np.empty(0), np.empty(0)
    up, right = np.diff(won), np.diff(lost)
    turns = up[1:] * right[:-1] != right[1:] * up[:-1]
    kept = np.concatenate([[True], turns, [True]])
    return lost[kept] / lost[-1], won[kept] / won[-1]


def weeks(curve: Curve) -> "significance.Weeks":
    """The week of each game; where weeks are not known, its day."""
    frame = curve.predictions
    number, day = frame["season"].astype("int64") * 100 + frame["week"].astype("Int64"), frame["kickoff"]
    names = [
        f"week {one}" if known else f"day {when:%Y-%m-%d}"
        for one, known, when in zip(number, number.notna(), day, strict=True)
    ]
    return significance.weeks_of(names, n_resamples=1)


def roc(curves: Sequence[Curve], width: float, level: float = 0.95) -> "Figure":
    """ROC curves on one pair of axes, with the area under each and its interval in the legend.

    Intervals are DeLong's with games grouped by week; see `significance.areas`.

    Args:
        curves: The models; one that gives stakes has no curve.
        width: Inches.
        level: Share of intervals that should contain the true area.
    """
    drawn = figure_style.figure(width, width)
    axis = drawn.subplots()
    axis.plot([0, 1], [0, 1], **_DIAGONAL, zorder=1)
    entries = []
    for position, curve in enumerate(curves):
        if not curve.forecasts:
            continue
        look = figure_style.line(position)
        lost, won = points(curve.outcome, curve.probability)
        # The markers of curves that run close together stand apart.
        at = (np.arange(_MARKED) + (position + 0.5) / len(curves)) / _MARKED
        marked = np.unique(np.abs((lost + won)[:, None] / 2 - at).argmin(axis=0)).tolist() if len(lost) else []
        axis.plot(lost, won, markevery=marked, **look.drawn, zorder=2)
        found = significance.areas(curve.outcome, curve.probability[None, :], weeks(curve), level)
        entries.append((Line2D([], [], **look.drawn), _entry(curve.label, found)))
    if not entries:
        axis.text(0.5, 0.55, "no model gives probabilities", ha="center")
    entries.append((Line2D([], [], **_DIAGONAL), "no skill: 0.500"))
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set_xlabel("false positive rate")
    axis.set_ylabel("true positive rate")
    axis.set_xticks(np.linspace(0, 1, 6))
    axis.set_yticks(np.linspace(0, 1, 6))
    # Markers at the ends are not cut off.
    for one in axis.lines:
        one.set_clip_on(False)
    title = f"area under the curve\n[{level:.0%} interval]"
    wide, high = figure_style.legend(drawn, entries, beside=True, title=title)
    if wide <= _BESIDE * width:
        # The square that is left beside the legend.
        drawn.set_figheight(max(min(width - wide - 0.2, _HIGHEST * width), high + 0.1))
    else:
        drawn.legends[0].remove()
        drawn.set_figheight(_HIGHEST * width)
        figure_style.legend(drawn, entries, title=title)
    return drawn


def _entry(label: str, found: "significance.Areas") -> str:
    if np.isnan(found.auc[0]):
        return f"{figure_style.wrapped(label)}\nnot defined: all games ended alike"
    ends = "no interval" if np.isnan(found.low[0]) else f"{found.low[0]:.3f}, {found.high[0]:.3f}"
    return f"{figure_style.wrapped(label)}\n{found.auc[0]:.3f} [{ends}]"
