"""Draws the figures of a report: of each set of seasons one curve a model."""

from collections.abc import Mapping
from pathlib import Path

from sweeproute.comparison import Comparison, Row, SetOfSeasons
from sweeproute.deliverables import FIGURES
from sweeproute.figures import MOST_CURVES, Curve, draw_figures
from sweeproute.sweep_runs import HOLDOUT

# The parameter of a run that says which fraction of Kelly's stake its second bankroll has.
_KELLY = "betting.kelly_fraction"


def draw(comparison: Comparison, folder: Path, titles: Mapping[str, str], level: float) -> None:
    """Draw what a comparison has found.

    A model is drawn as it is, without a calibration, where it was scored so; of repeats the first. Of more models than
    can be told apart the first ones are drawn.

    Args:
        comparison: What was found.
        folder: That of the report; the figures go into a folder of their own in it.
        titles: What models are called, by their types.
        level: Share of the intervals that should contain the truth.
    """
    for found in comparison.sets:
        rows = _rows(found)[:MOST_CURVES]
        kelly = float(rows[0].runs[0].params.get(_KELLY, "0.25"))
        curves = [Curve(_label(row, titles), row.games[0]) for row in rows]
        beside = folder / FIGURES / found.name
        made = draw_figures(curves, beside, level=level, kelly_fraction=kelly)
        suffix = "_holdout" if found.name == HOLDOUT else ""
        for path in made:
            path.replace(folder / FIGURES / f"{path.stem}{suffix}{path.suffix}")
        beside.rmdir()


def _rows(found: SetOfSeasons) -> list[Row]:
    """Of each model the first row: that without a calibration, where there is one."""
    first: dict[str, Row] = {}
    for row in found.rows:
        first.setdefault(row.model, row)
    return list(first.values())


def _label(row: Row, titles: Mapping[str, str]) -> str:
    name = titles.get(row.model, row.model)
    return name if row.calibration == "none" else f"{name}, {row.calibration}"
