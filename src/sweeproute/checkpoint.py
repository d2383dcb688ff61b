"""Keeps how far a long trial has come, so that a later attempt goes on from there.

A trial that has run for longer than the interval has a folder `checkpoint/` in its output folder::

    checkpoint.json     of which trial and device class this is, and what it holds; replaced last
    *-2018.npy          what a finished fold added to the result; see `finished_fold`
    fit-3/              where the fit of the fold after it stood, in files of the model's own

All of it is data, nothing is unpickled. A part counts only under the hash that checkpoint.json has of it, so a copy
that was torn, here or on its way from another machine, costs what it held and nothing else.
"""

import contextlib
import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sweeproute import finished_fold
from sweeproute.finished_fold import FinishedFold
from sweeproute.sealed_files import BESIDE, put, seal, seen

log = logging.getLogger(__name__)

FOLDER = "checkpoint"
INDEX = "checkpoint.json"
# Raise it when the files change their meaning.
_FORMAT = 3


@dataclass(frozen=True)
class _Fit:
    """Where the fit of a season stood, in words: the number of its folder, the hashes of the files there."""

    season: int
    number: int
    what: str
    seconds: float
    files: dict[str, str]


@runtime_checkable
class Continuable(Protocol):
    """A model whose fit can be gone on with; a class of a library has an adapter in `sweeproute.estimators.fitting`."""

    def fit_from(self, features: NDArray[np.float64], outcome: NDArray[np.int8], progress: "Progress") -> Any:
        """Fit as `fit` does, from where `progress.saved` stands, and save whenever `progress.due()`.

        However often it was killed and gone on with, what it has learned must be bitwise what `fit` learns: whatever
        draws random numbers saves its generator with its weights. A model that cannot hold this has no `fit_from`, and
        is fitted again.

        Args:
            features: Features of the training games, (n_train, n_features).
            outcome: 1 when the home side won, else 0, (n_train,).
            progress: Where the fit stood, and where to keep how far it has come.
        """
        ...


class Progress:
    """The fit of one fold, as a model sees it.

    Args:
        checkpoint: The trial's checkpoint.
        season: The fold's test season.
        saved: Folder of the files that a former attempt wrote; None where the fit begins. Valid until the next `save`.
        seconds: Time that former attempts have spent up to there.
    """

    def __init__(self, checkpoint: "Checkpoint", season: int, saved: Path | None, seconds: float) -> None:
        self.saved = saved
        self.seconds = seconds
        self._checkpoint = checkpoint
        self._season = season
        self._started = time.perf_counter()

    def due(self) -> bool:
        """Whether it is time to save; takes a fraction of a microsecond, so ask at each round or epoch."""
        return self._checkpoint._due()

    def save(self, what: str, write: Callable[[Path], None]) -> None:
        """Keep how far the fit has come in place of what was kept before.

        Args:
            what: How far, in words that follow "fold 2019, ": "312 rounds".
            write: Writes files, no folders, into the empty folder that it is given.
        """
        seconds = self.seconds + time.perf_counter() - self._started
        self._checkpoint._save_fit(self._season, what, seconds, write)

    def cannot(self, reason: str) -> None:
        """Say why nothing is kept inside this fit.

        Args:
            reason: A clause; it is logged should the trial become long enough for a checkpoint.
        """
        if self._checkpoint._why is None:
            self._checkpoint._why = reason


class Checkpoint:
    """How far one trial has come; made by `open`.

    Attributes:
        finished: The folds that need no fit, by season.
        unused: Why what stands in the folder is not used, as a sentence; None where it is, or nothing stands there.
    """

    def __init__(self, folder: Path, fingerprint: str, device_class: str, minutes: float | None) -> None:
        self.finished: dict[int, FinishedFold] = {}
        self.unused: str | None = None
        self._folder = folder
        self._trial = {"format": _FORMAT, "fingerprint": fingerprint, "device_class": device_class}
        self._interval_s = minutes * 60 if minutes else math.inf
        # Monotonic, and counted from here: a short trial writes nothing.
        self._first = self._next = time.monotonic() + self._interval_s
        # Of the finished folds that are on the disk, what the index says.
        self._entries: dict[int, dict[str, Any]] = {}
        self._fit: _Fit | None = None
        # Of the newest folder of a fit: a name is never used again, so what the index on the disk names stays whole.
        self._number = 0
        # Why nothing is kept inside a fit: None until a fit says so, empty when that was logged.
        self._why: str | None = None

    @classmethod
    def open(cls, folder: Path, fingerprint: str, device_class: str, minutes: float | None) -> "Checkpoint":
        """Take up what a former attempt left in a trial's folder, if it is of this trial and of this device class.

        Args:
            folder: The trial's output folder.
            fingerprint: The trial's identity.
            device_class: What else has to agree for results to be bitwise equal.
            minutes: Time of running after which, and then each time which, progress is kept; None or 0 for never.

        Returns:
            The checkpoint. Nothing is written, and what is not used is left until there is something to put in place.
        """
        checkpoint = cls(folder / FOLDER, fingerprint, device_class, minutes)
        path = checkpoint._folder / INDEX
        if not path.is_file():
            return checkpoint
        try:
            checkpoint._take_up(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            checkpoint.finished, checkpoint._entries, checkpoint._fit = {}, {}, None
            checkpoint.unused = f"{path} cannot be read ({type(error).__name__}: {error}); the trial starts again."
        return checkpoint

    def resumed_from(self, seasons: Sequence[int]) -> str | None:
        """Where the trial goes on.

        Args:
            seasons: The test seasons of its folds, in order; at least one.

        Returns:
            "fold 2019", or "fold 2019, 312 rounds" inside a fit; None where it starts at its beginning.
        """
        if not self.finished and self._fit is None:
            return None
        season = next((one for one in seasons if one not in self.finished), seasons[-1])
        inside = f", {self._fit.what}" if self._fit is not None and self._fit.season == season else ""
        return f"fold {season}{inside}"

    def fit(self, season: int) -> Progress:
        """Begin the fit of a fold.

        Args:
            season: The fold's test season.
        """
        if self._fit is None or self._fit.season != season:
            return Progress(self, season, None, 0.0)
        return Progress(self, season, self._fit_folder(self._fit), self._fit.seconds)

    def finish(self, fold: FinishedFold) -> None:
        """Keep a finished fold, on disk once the trial has run for the interval.

        Args:
            fold: The fold. The last one of a trial is not to be kept: its model is part of the result.
        """
        self.finished[fold.season] = fold
        self._entries.pop(fold.season, None)
        if self._fit is not None and self._fit.season == fold.season:
            self._fit = None
        if time.monotonic() >= self._first:
            number = len(self.finished)
            self._write(f"{number} finished {'fold' if number == 1 else 'folds'}")

    def remove(self) -> None:
        """Remove what was kept: the trial has its result."""
        if self._folder.exists():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _due(self) -> bool:
        return time.monotonic() >= self._next

    def _take_up(self, index: dict[str, Any]) -> None:
        if index["format"] != _FORMAT:
            self.unused = f"The checkpoint has format {index['format']}, not {_FORMAT}; the trial starts again."
        elif index["fingerprint"] != self._trial["fingerprint"]:
            self.unused = (
                f"The checkpoint is of another config, data or code (fingerprint {str(index['fingerprint'])[:12]}, "
                f"here {str(self._trial['fingerprint'])[:12]}); the trial starts again."
            )
        elif index["device_class"] != self._trial["device_class"]:
            there, here = (
                set(str(trial["device_class"]).replace(",", ";").split(";")) for trial in (index, self._trial)
            )
            self.unused = (
                f"The checkpoint is of another device class ({', '.join(sorted(there - here))}; here "
                f"{', '.join(sorted(here - there))}), which gives other last bits; the trial starts again."
            )
        else:
            self._read_parts(index)

    def _read_parts(self, index: dict[str, Any]) -> None:
        for entry in index["folds"]:
            fold = finished_fold.read(self._folder, entry)
            if fold is not None:
                self.finished[fold.season], self._entries[fold.season] = fold, entry
        if index["fit"] is not None:
            kept = index["fit"]
            self._number = int(kept["number"])
            fit = _Fit(int(kept["season"]), self._number, str(kept["what"]), float(kept["seconds"]), kept["files"])
            folder = self._fit_folder(fit)
            if not folder.is_dir() or {file.name: seen(file) for file in folder.iterdir()} != fit.files:
                log.warning("%s is not what was kept; the fit of season %d starts again.", folder, fit.season)
            elif fit.season not in self.finished:
                self._fit = fit

    def _save_fit(self, season: int, what: str, seconds: float, write: Callable[[Path], None]) -> None:
        before = self._fit
        beside = self._folder / f"fit{BESIDE}"
        self._number += 1
        try:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            write(beside)
            files = {file.name: seal(file) for file in beside.iterdir()}
            fit = _Fit(season, self._number, what, seconds, files)
            shutil.rmtree(self._fit_folder(fit), ignore_errors=True)
            beside.replace(self._fit_folder(fit))
        except OSError as error:
            self._could_not(error)
            return
        self._fit = fit
        if not self._write(f"fold {season}, {what}"):
            # What stands on disk is the index of before.
            self._fit = before

    def _write(self, what: str) -> bool:
        """Write what is finished and is not yet there, then the index that names all; whether that went well."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for season, fold in self.finished.items():
                if season not in self._entries:
                    self._entries[season] = finished_fold.write(self._folder, fold)
            put(self._folder / INDEX, json.dumps(self._index(), indent=1).encode())
        except OSError as error:
            self._could_not(error)
            return False
        self._tidy()
        self._next = time.monotonic() + self._interval_s
        why, self._why = self._why, ""
        log.info("Checkpoint: %s%s", what, f"; nothing inside a fit, since {why}" if why else "")
        return True

    def _index(self) -> dict[str, Any]:
        folds = [self._entries[season] for season in self.finished]
        return {**self._trial, "folds": folds, "fit": None if self._fit is None else vars(self._fit)}

    def _tidy(self) -> None:
        named = {INDEX}.union(*map(finished_fold.names, self._entries.values()))
        if self._fit is not None:
            named.add(self._fit_folder(self._fit).name)
        for path in self._folder.iterdir():
            if path.name in named:
                continue
            # What cannot be removed is in nobody's way.
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def _could_not(self, error: OSError) -> None:
        """A trial does not fail for want of a checkpoint: it tries again after the interval."""
        self._next = time.monotonic() + self._interval_s
        log.warning("The checkpoint in %s could not be written (%s); the trial goes on without.", self._folder, error)

    def _fit_folder(self, fit: _Fit) -> Path:
        return self._folder / f"fit-{fit.number}"
