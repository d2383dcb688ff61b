"""Draws how a metric depends on the parameters of a sweep: one by one, in pairs, all side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection

from sweeproute.plot_style import (
    BLACK,
    apart,
    as_image,
    better,
    colours,
    figure,
    grid,
    level_axis,
    limits,
    number,
    parameter_axis,
    plt,
    positions,
    size,
)
from sweeproute.plot_trials import Parameter, Trial, Trials, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Panels that a page holds, and axes side by side whose ticks do not run into each other.
_SLICES, _PARALLEL = 12, 8
_ACROSS = 3
# Of a local mean: cells of an axis, width of the kernel as a part of the axis, weight of one trial at that distance.
_CELLS, _KERNEL, _LEAST = 60, 0.12, 0.6


def slices(trials: Trials, parameters: Sequence[Parameter], objective: int = 0) -> "Figure":
    """A metric by each parameter; the later the trial, the darker. What is off the scale stands at its edge.

    Args:
        trials: The trials of a sweep, or a family of them.
        parameters: The most important first; of very many the first are drawn.
        objective: Position of the objective.
    """
    kept = parameters[:_SLICES]
    across = min(_ACROSS, len(kept))
    down = -(-len(kept) // across)
    drawn, axes = figure(down, across, height=0.6 + 2.1 * down, sharey=True)
    finished = trials.finished
    values = [trial.values[objective] for trial in finished]
    low, high = limits(values, trials.objectives[objective])
    shades = plt.Normalize(0, max(1, max(trial.number for trial in finished)))
    for axis, parameter in zip(axes.flat, kept, strict=False):
        there = [trial for trial in finished if parameter.label in trial.params]
        points = axis.scatter(
            positions(parameter, there),
            np.clip([trial.values[objective] for trial in there], low, high),
            size(len(there)),
            c=[trial.number for trial in there],
            cmap="viridis_r",
            norm=shades,
            alpha=0.8,
            linewidths=0,
            rasterized=as_image(len(there)),
        )
        parameter_axis(axis, parameter, there)
        axis.grid(axis="y")
    for axis in axes.flat[len(kept) :]:
        axis.set_visible(False)
    axes[0, 0].set_ylim(low, high)
    for row in axes:
        row[0].set_ylabel(better(trials.objectives[objective]) if down == 1 else trials.objectives[objective].metric)
    drawn.colorbar(points, ax=axes, label="trial", aspect=30, pad=0.02, shrink=0.9)
    return drawn


def contours(trials: Trials, pairs: Sequence[tuple[Parameter, Parameter]], objective: int = 0) -> "Figure":
    """The local mean of a metric over pairs of parameters.

    Args:
        trials: The trials of a sweep, or a family of them.
        pairs: At most three.
        objective: Position of the objective.
    """
    drawn, axes = figure(1, len(pairs), height=2.9 if len(pairs) > 1 else 3.6)
    maps = []
    for first, second in pairs:
        there = [one for one in trials.finished if first.label in one.params and second.label in one.params]
        maps.append(_local_mean(first, second, there, objective))
    told = trials.objectives[objective]
    means = [float(mean) for _, _, mean_at in maps for mean in mean_at.ravel() if np.isfinite(mean)]
    colour_map, shades = colours([trial.values[objective] for trial in trials.finished], told)
    shades.vmin, shades.vmax = max(shades.vmin or 0.0, min(means)), min(shades.vmax or 0.0, max(means))
    for axis, (first, second), (across, up, mean_at) in zip(axes[0], pairs, maps, strict=True):
        mesh = axis.pcolormesh(
            _edges(across, first), _edges(up, second), mean_at, cmap=colour_map, norm=shades, rasterized=True
        )
        _map_axis(axis, first, across, "x", trials)
        _map_axis(axis, second, up, "y", trials)
        there = [one for one in trials.finished if first.label in one.params and second.label in one.params]
        if not (_levels(first, there) or _levels(second, there)):
            levels = np.linspace(shades.vmin or 0.0, shades.vmax or 0.0, 8)[1:-1]
            axis.contour(across, up, mean_at, levels=levels, colors="white", linewidths=0.5, alpha=0.6)
            places = [positions(parameter, there) for parameter in (first, second)]
            axis.scatter(*places, 5, color="white", edgecolors=BLACK, linewidths=0.4, rasterized=as_image(len(there)))
    drawn.colorbar(mesh, ax=axes, label=f"mean {better(told)}", aspect=30, pad=0.02, extend=_extends(means, shades))
    return drawn


def parallel(trials: Trials, parameters: Sequence[Parameter], objective: int = 0) -> "Figure":
    """Each trial as a line through its values, the best trials the darkest.

    Args:
        trials: The trials of a sweep, or a family of them.
        parameters: The most important first; those are drawn that all trials have, and of many the first.
        objective: Position of the objective.
    """
    told = trials.objectives[objective]
    kept = [one for one in parameters if all(one.label in trial.params for trial in trials.finished)][:_PARALLEL]
    # The worst first: the best lie on top.
    finished = sorted(trials.finished, key=lambda trial: -told.loss(trial.values[objective]))
    values = np.array([trial.values[objective] for trial in finished])
    low, high = limits(list(values), told)
    scaled, ticks = [], []
    for parameter in kept:
        there, marks = _upright(parameter, finished)
        scaled.append(there)
        ticks.append(marks)
    scaled.append(np.clip((values - low) / (high - low), 0, 1))
    ticks.append([((value - low) / (high - low), number(value)) for value in _round_ticks(low, high)])
    drawn, axes = figure(height=3.6)
    axis = axes[0, 0]
    colour_map, shades = colours(list(values), told)
    segments = np.stack([np.broadcast_to(np.arange(len(scaled)), (len(finished), len(scaled))), np.array(scaled).T], 2)
    faint = np.linspace(0.25, 0.9, len(finished)) * min(1.0, 12 / len(finished) ** 0.5)
    lines = LineCollection(
        list(segments),
        colors=colour_map(shades(values)),
        alpha=np.clip(faint, 0.1, 0.9),
        linewidths=0.9,
        rasterized=as_image(len(finished) * len(scaled)),
    )
    axis.add_collection(lines)
    best = f"the best (trial {finished[-1].number})"
    axis.plot(np.arange(len(scaled)), segments[-1, :, 1], color=BLACK, linewidth=1.6, label=best)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2)
    for at, marks in enumerate(ticks):
        axis.axvline(at, color=BLACK, linewidth=0.7, zorder=3)
        for height, text in marks:
            axis.annotate(
                text,
                (at, height),
                (3, 0),
                textcoords="offset points",
                fontsize=7,
                va="center",
                zorder=4,
                bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
            )
    names = [shown(parameter.label, 20) for parameter in kept] + [told.metric]
    slanted = sum(map(len, names)) > 60
    turned = {"rotation": 20, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axis.set_xticks(range(len(names)), names, **turned)
    axis.set_xlim(-0.05, len(names) - 1 + 0.45)
    axis.set_ylim(-0.06, 1.06)
    axis.set_yticks([])
    axis.tick_params(axis="x", length=0)
    axis.spines[:].set_visible(False)
    mappable = plt.cm.ScalarMappable(shades, colour_map)
    drawn.colorbar(mappable, ax=axis, label=better(told), aspect=30, pad=0.02, extend=_extends(list(values), shades))
    return drawn


def _upright(parameter: Parameter, trials: Sequence[Trial]) -> tuple["NDArray[np.float64]", list[tuple[float, str]]]:
    """Where trials stand on an upright axis from 0 to 1, and its ticks."""
    there = positions(parameter, trials)
    if parameter.choices is not None:
        last = max(1, len(parameter.choices) - 1)
        # A small part of the room between two choices: lines that share one stay apart, and are seen to share it.
        places = np.array([float(parameter.choices.index(str(trial.params[parameter.label]))) for trial in trials])
        near = places + (there - places) * 0.3
        return near / last, [(at / last, shown(text, 12)) for at, text in enumerate(parameter.choices)]
    low, high = there.min(), there.max()
    if low == high:
        return np.full(len(there), 0.5), [(0.5, number(low))]
    if parameter.log:
        start, end = np.log10(low), np.log10(high)
        marks = list(range(int(np.ceil(start)), int(np.floor(end)) + 1))
        inner = [(power, 10.0**power) for power in marks[:: max(1, len(marks) // 4)]]
        ticks = [(start, low), *((at, v) for at, v in inner if 0.1 < (at - start) / (end - start) < 0.9), (end, high)]
        return (np.log10(there) - start) / (end - start), [((at - start) / (end - start), number(v)) for at, v in ticks]
    told = apart(grid(parameter, trials), False, 0.06) or _round_ticks(low, high)
    return (there - low) / (high - low), [((value - low) / (high - low), number(value)) for value in told]


def _round_ticks(low: float, high: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    return [float(value) for value in MaxNLocator(5).tick_values(low, high) if low <= value <= high]


def _levels(parameter: Parameter, trials: Sequence[Trial]) -> list[float] | list[str]:
    """The places of a parameter that is none to go along: its choices, or the numbers of a grid."""
    return list(parameter.choices) if parameter.choices is not None else grid(parameter, trials)


def _local_mean(
    first: Parameter, second: Parameter, trials: Sequence[Trial], objective: int
) -> tuple["NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]"]:
    """The mean of a metric around each cell of two parameters, weighted by a Gaussian kernel [1]_.

    Args:
        first: The parameter across.
        second: The parameter upwards.
        trials: Finished ones that have both.
        objective: Position of the objective.

    Returns:
        The cells' places across, (A,), and upwards, (U,), scaled as their axis is drawn, and the means, (U, A); NaN
        where no trial is near.

    References:
        .. [1] Nadaraya, E. A. (1964). On estimating regression. Theory of Probability and Its Applications 9, 141-142.
    """
    across, near_x = _weights(first, trials)
    up, near_y = _weights(second, trials)
    weights = np.einsum("at,ut->uat", near_x, near_y)
    values = np.array([trial.values[objective] for trial in trials])
    total = weights.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ values) / total
    return across, up, np.where(total >= _LEAST, means, np.nan)


def _weights(parameter: Parameter, trials: Sequence[Trial]) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
    """Cells along a parameter, (C,), and the weight of each trial in each, (C, T)."""
    levels = _levels(parameter, trials)
    if levels:
        return np.arange(len(levels), dtype=float), np.array(
            [[float(trial.params[parameter.label] == level) for trial in trials] for level in levels]
        )
    there = np.array([float(trial.params[parameter.label]) for trial in trials])
    drawn = np.log10(there) if parameter.log else there
    cells = np.linspace(drawn.min(), drawn.max(), _CELLS)
    near = np.exp(-0.5 * ((cells[:, None] - drawn) / (_KERNEL * np.ptp(drawn))) ** 2)
    return (10**cells if parameter.log else cells), near


def _edges(places: "NDArray[np.float64]", parameter: Parameter) -> "NDArray[np.float64]":
    """The borders between cells: half way, on the scale of the axis."""
    told = np.log10(places) if parameter.log and len(places) == _CELLS else places
    if len(told) == 1:
        return np.array([told[0] - 0.5, told[0] + 0.5])
    between = (told[1:] + told[:-1]) / 2
    edges = np.concatenate([[2 * told[0] - between[0]], between, [2 * told[-1] - between[-1]]])
    return 10**edges if parameter.log and len(places) == _CELLS else edges


def _map_axis(axis: "Axes", parameter: Parameter, places: "NDArray[np.float64]", which: str, trials: Trials) -> None:
    there = [trial for trial in trials.finished if parameter.label in trial.params]
    parameter_axis(axis, parameter, there, which)
    places_of_grid = grid(parameter, there)
    if places_of_grid:
        getattr(axis, f"set_{which}scale")("linear")
        level_axis(axis, [number(level) for level in places_of_grid], which)
    elif parameter.choices is None:
        edges = _edges(places, parameter)
        getattr(axis, f"set_{which}lim")(edges[0], edges[-1])


def _extends(values: Sequence[float], shades: "Normalize") -> str:
    """On which sides there are values beyond the colours."""
    low, high = shades.vmin, shades.vmax
    assert low is not None
    assert high is not None
    below, above = min(values) < low, max(values) > high
    return "both" if below and above else "min" if below else "max" if above else "neither"
