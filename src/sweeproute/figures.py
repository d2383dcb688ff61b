"""Draws the figures of a comparison of models: from their predictions to PDF and PNG.

The one door to them: what draws is imported only when something is drawn. `python -m sweeproute.figures FOLDER` draws
in a process of its own what `keep` has put there, into a folder beside it.
"""

import json
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sweeproute.figure_curves import MOST_CURVES, Curve, FigureError, check

__all__ = ["DRAWN", "MOST_CURVES", "NAMES", "Curve", "FigureError", "draw_figures", "keep"]

# Inches.
_NARROWEST = 4.0
# What `keep` writes beside tables of predictions, and where they are drawn to.
_CURVES, DRAWN = "curves.json", "drawn"
# The files' names, each as .pdf and as .png.
NAMES = ("model_roc_curves", "reliability", "bankroll", "metric_by_season", "learning_curve")


def draw_figures(
    curves: Sequence[Curve],
    folder: Path,
    *,
    width: float | None = None,
    level: float = 0.95,
    kelly_fraction: float = 0.25,
) -> list[Path]:
    """Draw all figures of a comparison, each as PDF and as PNG; the same curves give the same bytes.

    All files are always there: a figure that has nothing to show says so. They are made beside what is there of an
    earlier drawing, which they replace when all are done.

    Args:
        curves: The models, at most `MOST_CURVES`; each is drawn alike in all figures, by its place.
        folder: Where they go; made if it is not there.
        width: Inches, that of a text column; None for the width of all plots.
        level: Share of the intervals that should contain the truth, in (0, 1).
        kelly_fraction: Fraction of Kelly's stake by which the second bankroll is staked, in (0, 1].

    Returns:
        The files, in the order of `NAMES`.

    Raises:
        FigureError: There is no curve, or more than can be told apart; predictions are not what a trial writes; or a
            setting is out of its range.
    """
    check(curves)
    if not 0 < kelly_fraction <= 1:
        raise FigureError(f"kelly_fraction={kelly_fraction} is no fraction of a stake; use more than 0, at most 1.")
    if not 0 < level < 1:
        raise FigureError(f"level={level} is no share of intervals; use one between 0 and 1, such as 0.95.")
    # lazy import: these bring matplotlib
    from sweeproute import figure_style
    from sweeproute.figure_bankroll import bankrolls
    from sweeproute.figure_learning import learning
    from sweeproute.figure_reliability import reliability
    from sweeproute.figure_roc import roc
    from sweeproute.figure_seasons import seasons
    from sweeproute.plot_style import WIDTH

    wide = WIDTH if width is None else width
    if not wide >= _NARROWEST:
        raise FigureError(f"A figure of {wide:g} inches has no room for its text; make it {_NARROWEST:g} or more.")
    pictures = {
        "model_roc_curves": lambda: roc(curves, wide, level),
        "reliability": lambda: reliability(curves, wide, level),
        "bankroll": lambda: bankrolls(curves, wide, kelly_fraction),
        "metric_by_season": lambda: seasons(curves, wide),
        "learning_curve": lambda: learning(curves, wide),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".drawing-") as beside, warnings.catch_warnings():
        # Letters that none of the fonts has are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph ")
        with figure_style.look():
            made = [path for name in NAMES for path in figure_style.save(pictures[name](), Path(beside), name)]
        return [path.replace(folder / path.name) for path in made]


def keep(curves: Sequence[Curve], folder: Path, *, level: float, kelly_fraction: float) -> None:
    """Put models into a new folder, for a process that draws them; see `draw_figures`."""
    folder.mkdir(parents=True)
    for number, curve in enumerate(curves):
        curve.predictions.to_parquet(folder / f"{number}.parquet", index=False)
    told = {"labels": [curve.label for curve in curves], "level": level, "kelly_fraction": kelly_fraction}
    (folder / _CURVES).write_text(json.dumps(told), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what `keep` has put into a folder.

    Args:
        arguments: The folder; the process's own argument when None.

    Returns:
        0; 1 where it cannot be drawn, for a reason that was said.
    """
    (name,) = sys.argv[1:] if arguments is None else arguments
    folder = Path(name)
    told = json.loads((folder / _CURVES).read_text(encoding="utf-8"))
    tables = [pd.read_parquet(folder / f"{number}.parquet") for number in range(len(told["labels"]))]
    curves = [Curve(label, table) for label, table in zip(told["labels"], tables, strict=True)]
    try:
        draw_figures(curves, folder / DRAWN, level=told["level"], kelly_fraction=told["kelly_fraction"])
    except FigureError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
