"""Draws how far models are ahead of a baseline that learns nothing, season after season."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sweeproute import figure_style
from sweeproute.figure_curves import Curve
from sweeproute.significance import brier_losses

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ahead(curve: Curve) -> tuple[NDArray[np.int64], NDArray[np.float64], str]:
    """How much lower a model's Brier score is than a baseline's, on all games up to the end of each season.

    Args:
        curve: The model.

    Returns:
        Seasons and differences, (n_seasons,) each, and the name of the baseline: Elo ratings where the predictions
        hold them, else a constant 0.5.
    """
    told = curve.predictions
    ratings = told["elo"].to_numpy(dtype=np.float64) if "elo" in told else np.full(len(told), np.nan)
    name = "0.5" if np.isnan(ratings).any() else "Elo"
    baseline = np.full(len(told), 0.5) if name == "0.5" else ratings
    gained = brier_losses(curve.outcome, baseline[None])[0] - brier_losses(curve.outcome, curve.probability[None])[0]
    season = told["season"].to_numpy(dtype=np.int64)
    seasons = np.unique(season)
    return seasons, np.array([gained[season <= one].mean() for one in seasons]), name


def learning(curves: Sequence[Curve], width: float) -> "Figure":
    """How far each model is ahead, on all games up to the end of each season.

    Args:
        curves: The models.
        width: Inches.
    """
    drawn = figure_style.figure(width, 0.55 * width)
    axis = drawn.subplots()
    # A model that gives no probabilities has no such score.
    told = {place: ahead(curve) for place, curve in enumerate(curves) if curve.forecasts}
    for place, (season, value, _) in told.items():
        axis.plot(season, value, **figure_style.line(place).drawn, zorder=3)
    axis.axhline(0, color="#888888", linewidth=0.8, zorder=1)
    axis.grid(axis="y")
    axis.set_xlabel("season up to which games are counted; each is foretold from the seasons before it")
    names = " or ".join(dict.fromkeys(name for _, _, name in told.values()))
    if not told:
        axis.text(0.5, 0.5, "no model gives probabilities", transform=axis.transAxes, ha="center")
        return drawn
    axis.set_ylabel(f"Brier score below that of {names}")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    entries = [
        (Line2D([], [], **figure_style.line(place).drawn), figure_style.wrapped(curves[place].label)) for place in told
    ]
    figure_style.legend(drawn, entries)
    return drawn
