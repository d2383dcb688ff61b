"""Draws how good models were in each season, beside the market."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sweeproute import figure_style, scores
from sweeproute.betting import implied_probability
from sweeproute.figure_curves import Curve
from sweeproute.plot_style import BLACK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Score = Callable[[NDArray[np.integer], NDArray[np.floating]], float]
_PANELS: tuple[tuple[str, Score], ...] = (
    ("Brier score (lower is better)", scores.brier),
    ("AUC (higher is better)", scores.auc),
)
_MARKET: dict[str, Any] = {"color": BLACK, "linestyle": (0, (2, 2)), "linewidth": 1.6, "marker": "_", "markersize": 9}
# Seasons that each have a name at the axis; the least inches of the figure's height.
_NAMED, _LEAST = 12, 4.4
# Points of one season stand beside each other, so far apart, over at most so much of it; and alone over that much.
_BESIDE, _SPREAD = 0.05, 0.5


def by_season(
    season: NDArray[np.integer], outcome: NDArray[np.integer], probability: NDArray[np.floating], score: Score
) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
    """A score of each season, both (n_seasons,) by rising season; NaN where it is undefined."""
    seasons = np.unique(season)
    return seasons, np.array([score(outcome[season == one], probability[season == one]) for one in seasons])


def market(curves: Sequence[Curve]) -> tuple[pd.DataFrame, float]:
    """What the closing odds said of the games that any of the models was tested on.

    Returns:
        Games that have odds: season, outcome, and probability with the overround removed
        (`betting.implied_probability`); and their share of all games.
    """
    columns = ["game_id", "season", "outcome", "odds_home", "odds_away"]
    games = pd.concat([curve.predictions[columns] for curve in curves], ignore_index=True)
    # A model may know odds of a game that another lacks.
    games = games.sort_values(["odds_home", "odds_away"], kind="stable", na_position="last").drop_duplicates("game_id")
    odds = games[["odds_home", "odds_away"]].to_numpy(dtype=np.float64, na_value=np.nan)
    said = implied_probability(odds)
    known = ~np.isnan(said)
    return games[["season", "outcome"]].assign(probability=said)[known], float(known.mean())


def seasons(curves: Sequence[Curve], width: float) -> "Figure":
    """Brier score and AUC of each season, by model, and those of the market where there are odds.

    Args:
        curves: The models; one that gives stakes has neither.
        width: Inches.
    """
    priced, share = market(curves)
    drawn = figure_style.figure(width, max(0.8 * width, _LEAST))
    axes = drawn.subplots(len(_PANELS), 1, sharex=True)
    everything = np.unique(np.concatenate([curve.predictions["season"].to_numpy(dtype=np.int64) for curve in curves]))
    spread = _SPREAD if len(everything) == 1 else min(_SPREAD, _BESIDE * len(curves))
    for axis, (name, score) in zip(axes, _PANELS, strict=True):
        for position, curve in enumerate(curves):
            if not curve.forecasts:
                continue
            season, value = by_season(
                curve.predictions["season"].to_numpy(dtype=np.int64), curve.outcome, curve.probability, score
            )
            aside = spread * ((position + 0.5) / len(curves) - 0.5)
            axis.plot(season + aside, value, **figure_style.line(position).drawn, zorder=3)
        if len(priced):
            season, value = by_season(
                priced["season"].to_numpy(dtype=np.int64),
                priced["outcome"].to_numpy(dtype=np.int8),
                priced["probability"].to_numpy(),
                score,
            )
            # A season without odds is a gap.
            told = pd.Series(value, season).reindex(everything)
            axis.plot(everything, told.to_numpy(), **_MARKET, zorder=2)
        if all(np.isnan(one.get_ydata()).all() for one in axis.lines):
            why = "not defined: all games ended alike" if axis.lines else "no model gives probabilities"
            axis.text(0.5, 0.5, why, transform=axis.transAxes, ha="center")
            axis.set_yticks([])
        axis.set_ylabel(name)
        axis.grid(axis="y")
    axes[-1].set_xlabel("season")
    axes[-1].set_xlim(everything[0] - 0.5, everything[-1] + 0.5)
    if len(everything) <= _NAMED:
        axes[-1].set_xticks(everything)
    else:
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    entries = [
        (Line2D([], [], **figure_style.line(position).drawn), figure_style.wrapped(curve.label))
        for position, curve in enumerate(curves)
        if curve.forecasts
    ]
    if len(priced):
        part = "" if share == 1 else f"\n({share:.1%} of the games)"
        entries.append((Line2D([], [], **_MARKET), f"market (closing odds){part}"))
    figure_style.legend(drawn, entries)
    return drawn
