"""Draws the figures of a report: of each set of seasons one curve a model."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sweeproute.comparison import Comparison, Row, SetOfSeasons
from sweeproute.deliverables import FIGURES
from sweeproute.figures import DRAWN, MOST_CURVES, Curve, FigureError, keep
from sweeproute.sweep_runs import HOLDOUT

# The parameter of a run that says which fraction of Kelly's stake its second bankroll has.
_KELLY = "betting.kelly_fraction"


@contextmanager
def drawing(comparison: Comparison, titles: Mapping[str, str], level: float) -> Iterator[Callable[[Path], None]]:
    """Draw what a comparison has found, each set of seasons in a process of its own, while something else is done.

    A model is drawn as it is, without a calibration, where it was scored so; of repeats the first. Of more models than
    can be told apart the first ones are drawn.

    Args:
        comparison: What was found.
        titles: What models are called, by their types.
        level: Share of the intervals that should contain the truth.

    Yields:
        What waits until all is drawn, and puts it into a folder of its own in that of the report.
    """
    with tempfile.TemporaryDirectory(prefix="figures-") as name, ExitStack() as stack:
        begun = {found.name: _begin(found, Path(name) / found.name, titles, level, stack) for found in comparison.sets}

        def finish(folder: Path) -> None:
            (folder / FIGURES).mkdir(parents=True, exist_ok=True)
            for set_of_seasons, process in begun.items():
                told, _ = process.communicate()
                if process.returncode:
                    said = told.strip().rpartition("\n")[2] or f"exit code {process.returncode}"
                    raise FigureError(f"The figures of the {set_of_seasons} seasons could not be drawn: {said}")
                suffix = "_holdout" if set_of_seasons == HOLDOUT else ""
                for path in (Path(name) / set_of_seasons / DRAWN).iterdir():
                    shutil.move(path, folder / FIGURES / f"{path.stem}{suffix}{path.suffix}")

        yield finish


def _begin(
    found: SetOfSeasons, folder: Path, titles: Mapping[str, str], level: float, stack: ExitStack
) -> "subprocess.Popen[str]":
    """Start to draw a set of seasons; the process ends with the stack."""
    rows = _rows(found)[:MOST_CURVES]
    kelly = float(rows[0].runs[0].params.get(_KELLY, "0.25"))
    keep([Curve(_label(row, titles), row.games[0]) for row in rows], folder, level=level, kelly_fraction=kelly)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sweeproute.figures", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def _rows(found: SetOfSeasons) -> list[Row]:
    """Of each model the first row: that without a calibration, where there is one."""
    first: dict[str, Row] = {}
    for row in found.rows:
        first.setdefault(row.model, row)
    return list(first.values())


def _label(row: Row, titles: Mapping[str, str]) -> str:
    name = titles.get(row.model, row.model)
    return name if row.calibration == "none" else f"{name}, {row.calibration}"
