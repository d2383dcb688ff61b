"""Draws the plots of a sweep that has ended into its folder.

`python -m sweeproute.plots FOLDER` is a process of its own, so that no coordinator imports what draws, and whatever
becomes of it the sweep stands.
"""

import argparse
import itertools
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sweeproute.plot_trials import PlotError, Trials, read
from sweeproute.selection import DirectionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Where the plots of a sweep lie in its folder, and below its run in the tracking store.
FOLDER = "plots"
# Fewer finished trials make no picture.
FEWEST = 3
# Families of trials that get pictures of their own, the largest first.
_FAMILIES = 6
# Parameters of which each pair gets a contour.
_PAIRED = 3
_KINDS = ("pdf", "png")
# How the folder begins in which they are made.
_BESIDE = ".drawing-"


def draw(
    root: Path,
    metric: str | Sequence[str] | None = None,
    direction: str | None = None,
    default: str = "auc",
    to: Path | None = None,
) -> tuple[list[str], str]:
    """Draw all plots that a sweep has the trials for, each as PDF and as PNG.

    Args:
        root: The folder of the sweep.
        metric: What takes the place of the metrics that the sweep chose by.
        direction: maximize or minimize, where that does not follow from the metric or the sweep's record.
        default: The metric of a sweep whose record names none.
        to: Where they go; `plots` in the sweep's folder when None. What is there of an earlier drawing is replaced.

    Returns:
        The plots' names, and which are missing and why; empty where none is.

    Raises:
        PlotError: Too few trials have finished, or none has the metric.
        sweeproute.selection.DirectionError: It is not known whether more of a metric is better.
    """
    trials = read(root, metric, direction, default)
    if len(trials.finished) < FEWEST:
        raise PlotError(f"{len(trials.finished)} of the {FEWEST} finished trials that a plot takes are there.")
    pictures, missing = _pictures(root, trials)
    # lazy import: it brings matplotlib
    from sweeproute import plot_style

    folder = to or root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_BESIDE}*"):
        # Of a drawing that was killed.
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_BESIDE) as beside, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, picture in pictures.items():
            plot_style.save(picture(), Path(beside), name)
        drawn = {path.name for path in Path(beside).iterdir()}
        for path in Path(beside).iterdir():
            path.replace(folder / path.name)
    if to is None:
        for kind in _KINDS:
            for path in folder.glob(f"*.{kind}"):
                if path.name not in drawn:
                    path.unlink()
    return list(pictures), missing


def _pictures(root: Path, trials: Trials) -> tuple[dict[str, Callable[[], "Figure"]], str]:
    """What is drawn, by its name; and why something is not."""
    # lazy import: these bring matplotlib
    from sweeproute import plot_objective, plot_timeline

    found: dict[str, Callable[[], Figure]] = {"history": lambda: plot_objective.history(trials)}
    if len(trials.objectives) == 2:
        found["front"] = lambda: plot_objective.front(trials)
    if any(trial.reports for trial in trials.trials):
        found["reports"] = lambda: plot_objective.reports(trials)
    bars = plot_timeline.bars(root)
    if bars:
        found["timeline"] = lambda: plot_timeline.timeline(bars)
    families = sorted(trials.families(), key=lambda family: -len(family.finished))
    without: dict[str, list[str]] = {}
    for family in families[:_FAMILIES]:
        found |= _of_parameters(family, without)
    missing = [(f" of {', '.join(names)}" if any(names) else "") + f" ({reason})" for reason, names in without.items()]
    if len(families) > _FAMILIES:
        missing.append(f" of {len(families) - _FAMILIES} smaller families of trials")
    return found, "no importances" + ",".join(missing) if missing else ""


def _of_parameters(trials: Trials, without: dict[str, list[str]]) -> dict[str, Callable[[], "Figure"]]:
    """The pictures of how the objectives depend on the parameters, for one family of trials.

    Args:
        trials: The family.
        without: Takes the family's name by the reason for which it has no importances.
    """
    from sweeproute import plot_objective, plot_parameters
    from sweeproute.plot_importances import MOST, importances, why_not

    found: dict[str, Callable[[], Figure]] = {}
    if len(trials.finished) < FEWEST or not trials.parameters:
        return found
    name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in trials.family)
    suffix = f"_{name}" if name else ""
    shares: dict[str, Mapping[str, float]] = {}
    for at, objective in enumerate(trials.objectives):
        if reason := why_not(trials, at):
            if trials.family not in without.setdefault(reason, []):
                without[reason].append(trials.family)
        else:
            shares[objective.metric] = importances(trials, at)
    if shares:
        count = min(len(trials.finished), MOST)
        found[f"importances{suffix}"] = lambda: plot_objective.importances(list(shares.items()), count)
    for at, objective in enumerate(trials.objectives):
        told = shares.get(objective.metric, {})
        parameters = sorted(trials.parameters, key=lambda parameter: -told.get(parameter.label, -1.0))
        common = [one for one in parameters if all(one.label in trial.params for trial in trials.finished)]
        end = suffix + (f"_{objective.metric}" if len(trials.objectives) > 1 else "")
        found[f"slices{end}"] = partial(plot_parameters.slices, trials, parameters, at)
        if len(common) > 1:
            found[f"parallel{end}"] = partial(plot_parameters.parallel, trials, common, at)
        if told:
            pairs = list(itertools.combinations(common[:_PAIRED], 2))
            found[f"contours{end}"] = partial(plot_parameters.contours, trials, pairs, at)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, and say on standard output what a person is to know.

    Args:
        arguments: The command line; the process's own when None.

    Returns:
        0; 1 where nothing could be drawn.
    """
    parser = argparse.ArgumentParser(prog="python -m sweeproute.plots", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of a sweep")
    parser.add_argument("--default-metric", default="auc")
    asked = parser.parse_args(arguments)
    try:
        _, missing = draw(asked.folder, default=asked.default_metric)
    except (PlotError, DirectionError) as error:
        print(error)
        return 1
    print(missing)
    return 0


if __name__ == "__main__":
    sys.exit(main())
