"""Holds what a finished fold added to a trial's result, and keeps it in files that are data.

The files of a fold count only under the hashes that its entry in the checkpoint's index has of them::

    fold-2018.npy       what was said of it, (1 + n_shorter, n_test + n_calibration) float64: the fit's own
                        probabilities, then those of shorter fits that were taken from it; or the stakes of a bettor
    leaning-2018.npy    on what its model leans, where that was asked for: `Leaning.found`
"""

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeproute.sealed_files import put, seen

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Answer:
    """What a fitted model said of a fold's games.

    Attributes:
        probability: Probability of a home win for each tested game, (n_test,) float64; NaN where it gives stakes.
        calibration: The same for each calibration game, (n_calibration,) float64; none where nothing is calibrated.
        seconds: Time in `predict_proba`, or in `stakes`.
        units: What it stakes on each tested game, (n_test,) float64, as `estimators.Bettor` says it; None where it
            gives probabilities.
    """

    probability: NDArray[np.float64]
    calibration: NDArray[np.float64]
    seconds: float
    units: NDArray[np.float64] | None = None

    @property
    def row(self) -> NDArray[np.float64]:
        """All that it said, (n_test + n_calibration,)."""
        return np.concatenate([self.probability if self.units is None else self.units, self.calibration])

    @classmethod
    def of_row(cls, row: NDArray[np.float64], n_test: int, seconds: float, *, stakes: bool) -> "Answer":
        """What `row` gave, back again."""
        said, calibration = row[:n_test], row[n_test:]
        if stakes:
            return cls(np.full(n_test, np.nan), calibration, seconds, said)
        return cls(said, calibration, seconds)


@dataclass(frozen=True, eq=False)
class Leaning:
    """On what a fold's model leans.

    Attributes:
        found: The numbers of `importance.permuted`, mean increase and deviation of each feature, and at last of the
            teams where the model is told of them, (n_features or one more, 2) float64.
        repeats: Shuffles of each feature.
        seed: Of the shuffles.
    """

    found: NDArray[np.float64]
    repeats: int
    seed: int


@dataclass(frozen=True, eq=False)
class FinishedFold:
    """What a fold added to the result.

    Attributes:
        season: The season that was tested.
        answer: What its model said.
        fit_seconds: Time in `fit`, that of former attempts included.
        shorter: What a shorter fit said, by its length.
        leaning: On what its model leans; None where nobody asked, or it gives stakes.
    """

    season: int
    answer: Answer
    fit_seconds: float
    shorter: dict[int, Answer] = field(default_factory=dict)
    leaning: Leaning | None = None


def write(folder: Path, fold: FinishedFold) -> dict[str, Any]:
    """Write a fold's files.

    Args:
        folder: The checkpoint's.
        fold: The fold.

    Returns:
        Its entry in the index, as plain data.

    Raises:
        OSError: They cannot be written.
    """
    answers = (fold.answer, *fold.shorter.values())
    entry: dict[str, Any] = {
        "season": fold.season,
        "sha256": put(_said(folder, fold.season), _bytes(np.stack([one.row for one in answers]))),
        "n_test": len(fold.answer.probability),
        "stakes": fold.answer.units is not None,
        "fit_seconds": fold.fit_seconds,
        "shorter": list(fold.shorter),
        "predict_seconds": [one.seconds for one in answers],
    }
    if fold.leaning is not None:
        sealed = put(_leaning(folder, fold.season), _bytes(fold.leaning.found))
        entry["leaning"] = {"sha256": sealed, "repeats": fold.leaning.repeats, "seed": fold.leaning.seed}
    return entry


def read(folder: Path, entry: Mapping[str, Any]) -> FinishedFold | None:
    """Read back what `write` wrote.

    Args:
        folder: The checkpoint's.
        entry: The fold's, of the index.

    Returns:
        The fold; None where one of its files is not what was kept, which is logged.

    Raises:
        OSError: A file cannot be read.
        ValueError, KeyError, TypeError: It is no entry of a fold.
    """
    season, kept = int(entry["season"]), entry.get("leaning")
    sealed = {_said(folder, season): entry["sha256"]}
    if kept is not None:
        sealed[_leaning(folder, season)] = kept["sha256"]
    for path, content in sealed.items():
        if seen(path) != content:
            log.warning("%s is not what was kept; season %d is fitted again.", path, season)
            return None
    rows = np.load(_said(folder, season), allow_pickle=False)
    answer, *others = (
        Answer.of_row(row, entry["n_test"], float(seconds), stakes=entry["stakes"])
        for row, seconds in zip(rows, entry["predict_seconds"], strict=True)
    )
    shorter = {int(length): other for length, other in zip(entry["shorter"], others, strict=True)}
    leaning = None
    if kept is not None:
        found = np.load(_leaning(folder, season), allow_pickle=False)
        leaning = Leaning(found, int(kept["repeats"]), int(kept["seed"]))
    return FinishedFold(season, answer, float(entry["fit_seconds"]), shorter, leaning)


def names(entry: Mapping[str, Any]) -> set[str]:
    """The names of a fold's files, by its entry in the index."""
    season = int(entry["season"])
    return {_said(Path(), season).name, *([_leaning(Path(), season).name] if "leaning" in entry else [])}


def _said(folder: Path, season: int) -> Path:
    return folder / f"fold-{season}.npy"


def _leaning(folder: Path, season: int) -> Path:
    return folder / f"leaning-{season}.npy"


def _bytes(array: NDArray[np.float64]) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()
