"""Draws what betting by each model would have made of a bankroll."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from sweeproute import bankroll, figure_style
from sweeproute.betting import NO_BET, SIDES, Bets
from sweeproute.figure_curves import Curve
from sweeproute.plot_style import BLACK, GREY, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What is left of a bankroll of 1 when all is lost, but for rounding.
_NOTHING = 1e-9
# From the lowest to the highest bankroll, a factor from which on the axis is logarithmic; how far down that goes.
_FACTOR, _FLOOR = 4.0, 1e-4
_RUIN: dict[str, Any] = {"marker": "x", "color": BLACK, "markersize": 6, "markeredgewidth": 1.4}
_OFF: dict[str, Any] = {"marker": "v", "color": GREY, "markersize": 5}
# Markers a curve; the least inches of the figure's height.
_MARKED, _LEAST = 4, 4.6


@dataclass(frozen=True, eq=False)
class Course:
    """How a bankroll fared.

    Attributes:
        moment: The first kick-off, before which nothing has happened, then each kick-off, (1 + n_kickoffs,), up to the
            ruin if there is one: whoever has nothing left cannot bet on.
        bankroll: What it was after each, 1 at first, (1 + n_kickoffs,).
        ruined: Whether the last of these is ruin.
    """

    moment: NDArray[np.datetime64]
    bankroll: NDArray[np.float64]
    ruined: bool


def placed(curve: Curve) -> Bets:
    """The bets of a model by the rule, as its predictions hold them."""
    side = curve.predictions["bet"].to_numpy(dtype=object, na_value="")
    return Bets(
        np.select([side == name for name in SIDES], [0, 1], NO_BET).astype(np.int8),
        curve.predictions["stake"].to_numpy(dtype=np.float64, na_value=np.nan),
        curve.predictions["profit"].to_numpy(dtype=np.float64, na_value=np.nan),
    )


def course(bets: Bets, kickoff: NDArray[np.datetime64]) -> Course | None:
    """How a bankroll fares by some bets, up to its ruin.

    Args:
        bets: One entry a game.
        kickoff: Kick-off of each game, (n_games,).

    Returns:
        None where nothing was staked.
    """
    if np.isnan(bets.stake).all():
        return None
    moment = np.unique(kickoff)
    moment = np.concatenate([moment[:1], moment])
    left = bankroll.path(bets.profit, kickoff)
    gone = np.flatnonzero(left <= _NOTHING)
    end = gone[0] + 1 if len(gone) else len(left)
    return Course(moment[:end], left[:end], bool(len(gone)))


def bankrolls(curves: Sequence[Curve], width: float, kelly_fraction: float = 0.25) -> "Figure":
    """The bankroll over time by each model's bets: as the rule stakes, and at Kelly's stakes.

    Args:
        curves: The models; of one that bets on nothing there is no line, and the legend says so.
        width: Inches.
        kelly_fraction: Fraction of Kelly's stake, in (0, 1]; see `bankroll.kelly`.
    """
    flat = [placed(curve) for curve in curves]
    sized = [
        bankroll.kelly(curve.probability, curve.odds, curve.outcome, curve.kickoff, bets, kelly_fraction)
        for curve, bets in zip(curves, flat, strict=True)
    ]
    panels = [[course(bets, curve.kickoff) for curve, bets in zip(curves, some, strict=True)] for some in (flat, sized)]
    drawn = figure_style.figure(width, max(0.85 * width, _LEAST))
    axes = drawn.subplots(2, 1, sharex=True)
    part = "Kelly's full stakes" if kelly_fraction == 1 else f"{kelly_fraction:g} of Kelly's stakes"
    own = ", or at the model's own stakes" if not all(curve.forecasts for curve in curves) else ""
    titles = (f"by the rule{own}{_stakes(flat)}", f"the same bets at {part}")
    # Flat stakes add up, Kelly's multiply.
    seen = [_panel(axis, courses, log) for axis, courses, log in zip(axes, panels, (False, True), strict=True)]
    if not any(one for some in panels for one in some):
        axes[0].set(xticks=[])
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, loc="left")
        axis.set_ylabel("bankroll")
    axes[1].set_xlabel("kick-off")
    entries: list[tuple[Any, str]] = []
    for position, curve in enumerate(curves):
        by_rule, by_kelly = (some[position] is not None for some in panels)
        # Kelly stakes nothing on a bet of which nothing is expected.
        note = "" if by_kelly else "\n(none at Kelly's stakes)" if by_rule else "\n(no bet)"
        handle = Line2D([], [], **figure_style.line(position).drawn, visible=by_rule)
        entries.append((handle, figure_style.wrapped(curve.label) + note))
    if any(one.ruined for some in panels for one in some if one):
        entries.append((Line2D([], [], linestyle="none", **_RUIN), "ruin"))
    if any(seen):
        entries.append((Line2D([], [], linestyle="none", **_OFF), f"below {_FLOOR:g}"))
    figure_style.legend(drawn, entries)
    return drawn


def _stakes(some: Sequence[Bets]) -> str:
    stakes = np.unique(np.concatenate([bets.stake[~np.isnan(bets.stake)] for bets in some]))
    return f": {100 * stakes[0]:g} % of the first bankroll on each bet" if len(stakes) == 1 else ""


def _panel(axis: "Axes", courses: Sequence[Course | None], may_log: bool) -> bool:
    """Draw one kind of stakes, on a logarithmic axis where that may be and is called for.

    Returns:
        Whether a line has left the axis at the bottom.
    """
    there = [one for one in courses if one is not None]
    if not there:
        axis.text(0.5, 0.5, "no model placed a bet", transform=axis.transAxes, ha="center", va="center")
        # The other panel has the same moments, and may have some.
        axis.set(yticks=[])
        return False
    axis.axhline(1.0, color=GREY, linewidth=0.6, zorder=1)
    left = np.concatenate([one.bankroll[:-1] if one.ruined else one.bankroll for one in there])
    log = may_log and bool(left.max() >= _FACTOR * left.min())
    if log:
        axis.set_yscale("log", nonpositive="mask")
    for position, one in enumerate(courses):
        if one is None:
            continue
        share = (np.arange(_MARKED) + (position + 0.5) / len(courses)) / _MARKED
        marked = np.unique((share * len(one.moment)).astype(int)).tolist()
        axis.step(
            one.moment, one.bankroll, where="post", markevery=marked, **figure_style.line(position).drawn, zorder=2
        )
    low = max(left.min(), _FLOOR)
    bottom, top = (low / 1.2, left.max() * 1.2) if log else _room(there)
    axis.set_ylim(bottom, top)
    off = False
    for position, one in enumerate(courses):
        if one is None:
            continue
        if one.ruined:
            axis.plot(one.moment[-1:], [max(one.bankroll[-1], bottom)], **_RUIN, clip_on=False, zorder=4)
        if one.bankroll[-1] < bottom:
            # Where it went for good.
            gone = np.flatnonzero(one.bankroll >= bottom)[-1] + 1
            if not one.ruined or gone < len(one.moment) - 1:
                mark = _OFF | {"color": figure_style.line(position).color}
                axis.plot(one.moment[gone : gone + 1], [bottom], **mark, clip_on=False, zorder=4)
                off = True
    if log:
        axis.yaxis.set_minor_locator(NullLocator())
        if top < 1000 * bottom:
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if top < 100 * bottom else (1, 3), numticks=8))
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        else:
            axis.yaxis.set_major_locator(LogLocator(numticks=8))
    locator = AutoDateLocator(minticks=3, maxticks=10)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axis.grid(axis="y")
    return off


def _room(there: Sequence[Course]) -> tuple[float, float]:
    everything = np.concatenate([one.bankroll for one in there])
    room = 0.05 * np.ptp(everything) or 0.05
    return everything.min() - room, everything.max() + room
