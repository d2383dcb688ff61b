"""Draws the plots of a sweep that has ended into its folder.

`python -m sweeproute.plots FOLDER` is a process of its own, so that no coordinator imports what draws, and whatever
becomes of it the sweep stands.
"""

import argparse
import itertools
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeproute.plot_trials import Parameter, PlotError, Trials, read
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


def draw(
    root: Path,
    metric: str | Sequence[str] | None = None,
    direction: str | None = None,
    default: str = "auc",
    to: Path | None = None,
) -> tuple[list[str], list[str]]:
    """Draw all plots that a sweep has the trials for, each as PDF and as PNG.

    Args:
        root: The folder of the sweep.
        metric: What takes the place of the metrics that the sweep chose by.
        direction: maximize or minimize, where that does not follow from the metric or the sweep's record.
        default: The metric of a sweep whose record names none.
        to: Where they go; `plots` in the sweep's folder when None. What is there of an earlier drawing is replaced.

    Returns:
        The plots' names, and why others are missing, a few words each.

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
    with tempfile.TemporaryDirectory(dir=folder) as beside, warnings.catch_warnings():
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


def _pictures(root: Path, trials: Trials) -> tuple[dict[str, Callable[[], "Figure"]], list[str]]:
    """What is drawn, by its name; and why something is not."""
    # lazy import: these bring matplotlib
    from sweeproute import plot_objective, plot_timeline

    found: dict[str, Callable[[], Figure]] = {"history": lambda: plot_objective.history(trials)}
    missing: list[str] = []
    if len(trials.objectives) == 2:
        found["front"] = lambda: plot_objective.front(trials)
    if any(trial.reports for trial in trials.trials):
        found["reports"] = lambda: plot_objective.reports(trials)
    bars = plot_timeline.bars(root)
    if bars:
        found["timeline"] = lambda: plot_timeline.timeline(bars)
    families = trials.families()
    families = sorted(families, key=lambda family: -len(family.finished))[:_FAMILIES]
    for family in families:
        suffix = "".join(c if c.isalnum() or c in "-." else "_" for c in f" {family.family}".rstrip())
        more, why = _of_parameters(family, suffix)
        found |= more
        missing += [f"{words}{f' of {family.family}' if family.family else ''}" for words in why]
    return found, missing


def _of_parameters(trials: Trials, suffix: str) -> tuple[dict[str, Callable[[], "Figure"]], list[str]]:
    """The pictures of how the objectives depend on the parameters, for one family of trials."""
    from sweeproute import plot_objective, plot_parameters
    from sweeproute.plot_importances import MOST, importances, why_not

    found: dict[str, Callable[[], Figure]] = {}
    if len(trials.finished) < FEWEST or not trials.parameters:
        return found, []
    why = {objective.metric: why_not(trials, at) for at, objective in enumerate(trials.objectives)}
    shares = [
        (objective.metric, importances(trials, at))
        for at, objective in enumerate(trials.objectives)
        if why[objective.metric] is None
    ]
    if shares:
        count = min(len(trials.finished), MOST)
        found[f"importances{suffix}"] = lambda: plot_objective.importances(shares, count)
    for at, objective in enumerate(trials.objectives):
        told = dict(shares).get(objective.metric, {})
        parameters = _most_important(trials.parameters, told)
        end = suffix + (f"_{objective.metric}" if len(trials.objectives) > 1 else "")
        found[f"slices{end}"] = lambda a=at, p=parameters: plot_parameters.slices(trials, p, a)  # type: ignore[misc]
        common = [one for one in parameters if all(one.label in trial.params for trial in trials.finished)]
        if len(common) < 2:
            continue
        found[f"parallel{end}"] = lambda a=at, p=common: plot_parameters.parallel(trials, p, a)  # type: ignore[misc]
        pairs = list(itertools.combinations(common[:_PAIRED], 2))
        if told:
            found[f"contours{end}"] = lambda a=at, p=pairs: plot_parameters.contours(trials, p, a)  # type: ignore[misc]
    reasons = dict.fromkeys(f"no importances, since {reason}" for reason in why.values() if reason)
    return found, list(reasons)


def _most_important(parameters: Sequence[Parameter], shares: Mapping[str, float]) -> list[Parameter]:
    return sorted(parameters, key=lambda parameter: -shares.get(parameter.label, -1.0))


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
    print("; ".join(missing))
    return 0


if __name__ == "__main__":
    sys.exit(main())
