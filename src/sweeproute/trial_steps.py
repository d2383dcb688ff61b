"""Reports how a trial does at steps that mean the same in every trial of its model, and ends it where it is told to.

A step is a fold that is done. A model that tells what it says on its way has steps inside each fold as well: after 1,
2, 4 and so on epochs, however many it may take, and one at the fold's end. What is reported inside is how the weights
do that would be kept if the fit ended there, over the games that the fit watches to stop by and the seasons tested so
far: none of these is later than the tested season begins, so nothing of it is known early. A fit that ends by itself
stands with what it has kept at the steps behind that, so two trials are always compared after as many epochs.

Where the sweep chooses by another calibration than the trial's own, as in platt/brier, its metrics are reported, too.
The games that are watched are those that it is learned from; each half of them is calibrated by the other.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from sweeproute import pruning
from sweeproute.journal import Journal

# Epochs of a fold after which a trial reports. Few, since whoever compares trials takes a while for each report.
EPOCHS = tuple(2**power for power in range(8))


class PrunedError(Exception):
    """The rest of a trial is not needed: leaves the folds, and the fit, where they are.

    Attributes:
        reason: As a person is told.
        where: The fold, and the epoch in it, as a clause.
        season: The season that was tested last; None where none was.
        metrics: Over all seasons that were tested, by the trial's own calibration and by those that are followed.
    """

    def __init__(self, reason: str, where: str, season: int | None, metrics: dict[str, float]) -> None:
        super().__init__(reason)
        self.reason, self.where, self.season, self.metrics = reason, where, season, metrics


class Steps:
    """The steps of one trial.

    Args:
        journal: Is told the metrics of each tested season.
        last: The season of the trial's last fold.
        inside: Whether the model tells what it says inside a fit.
    """

    def __init__(self, journal: Journal, last: int, *, inside: bool) -> None:
        self._journal, self._last = journal, last
        self._each_fold = len(EPOCHS) + 1 if inside else 1
        self._folds = 0
        self._season: int | None = None
        self._so_far: dict[str, float] = {}
        # Steps of this fold that are reported, and what would be reported next: None before a fit has told anything.
        self._reported = 0
        self._measure: Callable[[], dict[str, float]] | None = None

    def fold(self, season: int, metrics: dict[str, float], so_far: dict[str, float]) -> None:
        """Report a fold that is done.

        Args:
            season: The season that was tested.
            metrics: Of that season; under names such as platt/brier those of further calibrations, which are reported
                and not journalled: a run of their own has them when all has ended.
            so_far: Over all seasons that were tested, by the same names.

        Raises:
            PrunedError: The other folds are not needed.
        """
        while self._measure is not None and self._reported < len(EPOCHS):
            self._report(self._measure())
        self._journal.metrics(of_own_calibration(metrics), step=season)
        self._folds, self._season, self._so_far = self._folds + 1, season, so_far
        self._reported, self._measure = 0, None
        alone = {f"{pruning.OF_STEP}{name}": value for name, value in metrics.items()}
        reason = pruning.report(self._folds * self._each_fold, so_far | alone, self._folder)
        if reason is not None and season != self._last:  # else it is done, though told late
            raise PrunedError(reason, f"after season {season}", season, so_far)

    def epoch(self, season: int, epoch: int, measure: Callable[[], dict[str, float]]) -> None:
        """Take notice of an epoch that is done.

        Args:
            season: The season that the fold tests.
            epoch: How many are done in this fold.
            measure: Gives the metrics of what would be kept if the fit ended here.

        Raises:
            PrunedError: The rest of this fold, and the others, are not needed.
        """
        self._measure = measure
        if epoch in EPOCHS:
            self._reported = EPOCHS.index(epoch)
            reason = self._report(measure())
        else:
            reason = pruning.told(self._folder)
        if reason is not None:
            where = f"after {epoch} epoch{'' if epoch == 1 else 's'} of season {season}"
            raise PrunedError(reason, where, self._season, self._so_far)

    def _report(self, metrics: Mapping[str, float]) -> str | None:
        self._reported += 1
        # No number of its own: a pruner that compares trials step by step takes each fold once.
        alone = {f"{pruning.OF_STEP}{name}": math.nan for name in metrics}
        step = self._folds * self._each_fold + self._reported
        return pruning.report(step, {**metrics, **alone}, self._folder)

    @property
    def _folder(self) -> Path:
        return self._journal.folder


def of_own_calibration(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those of the metrics that are not of a further calibration, as platt/brier is."""
    return {name: value for name, value in metrics.items() if "/" not in name}
