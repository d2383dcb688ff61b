"""Walk-forward folds: which games train a model, which calibrate it, which test it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOWS = ("expanding", "rolling")


class ValidationError(ValueError):
    """The walk-forward settings do not fit the data, or each other."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One test season with what may be learned from before it; positions are rows of the data set.

    Attributes:
        season: The season that is tested.
        train: Positions of the training games, (n_train,) int64, ascending.
        calibration: Positions of the calibration games, (n_calibration,) int64, ascending; they neither train nor test.
        test: Positions of the tested games, (n_test,) int64, ascending.
    """

    season: int
    train: NDArray[np.int64]
    calibration: NDArray[np.int64]
    test: NDArray[np.int64]


def walk_forward(
    season: NDArray[np.int64],
    kickoff: NDArray[np.datetime64],
    *,
    window: str,
    window_seasons: int | None,
    first_test_season: int,
    gap_seasons: int,
    calibration_seasons: int,
    selection_seasons: Sequence[int],
) -> list[Fold]:
    """Cut the games into walk-forward folds, one per selection season from `first_test_season` on.

    A letter is a season: T trains, - is left out, C calibrates, X is tested, . is not touched, and H is a holdout
    season, later than the last selection season, which no fold touches::

        window=expanding                       window=rolling, window_seasons=3
        gap_seasons=0, calibration_seasons=1   gap_seasons=1, calibration_seasons=0

        03 04 05 06 07 08 09 10 11             03 04 05 06 07 08 09 10 11
         T  T  T  C  X  .  .  H  H              T  T  T  -  X  .  .  H  H
         T  T  T  T  C  X  .  H  H              .  T  T  T  -  X  .  H  H
         T  T  T  T  T  C  X  H  H              .  .  T  T  T  -  X  H  H

    Seasons are counted as they occur in the data, so a season without games is no season.

    Args:
        season: Season of each game, (n_games,).
        kickoff: Kick-off of each game, (n_games,); proves that no season trains on a game played after a later one
            began.
        window: "expanding" (all earlier seasons train) or "rolling" (the last `window_seasons`).
        window_seasons: Length of a rolling window in seasons; None for an expanding one.
        first_test_season: First season that may be tested.
        gap_seasons: Seasons left out between the training window and what follows it.
        calibration_seasons: Seasons directly before the test season that neither train nor test.
        selection_seasons: First and last season that may be tested, inclusive.

    Returns:
        The folds, in the order of their test seasons.

    Raises:
        ValidationError: The settings contradict each other, or the data cannot fill them.

    Example:
        >>> season = np.repeat([2003, 2004, 2005, 2006], 2)
        >>> kickoff = np.datetime64("2003-09-01T00:00", "ns") + 180 * np.arange(8).astype("timedelta64[D]")
        >>> folds = walk_forward(
        ...     season, kickoff, window="rolling", window_seasons=1, first_test_season=2004, gap_seasons=0,
        ...     calibration_seasons=0, selection_seasons=[2004, 2005],
        ... )
        >>> [(fold.season, fold.train.tolist(), fold.test.tolist()) for fold in folds]
        [(2004, [0, 1], [2, 3]), (2005, [2, 3], [4, 5])]
    """
    check_window(window, window_seasons, gap_seasons, calibration_seasons)
    seasons: list[int] = np.unique(season).tolist()
    if not seasons:
        raise ValidationError("The data set has no games, so there is nothing to validate on; check data.path.")
    first, last = _checked_range("validation.selection_seasons", selection_seasons)
    check_fits(seasons, first_test_season, selection_seasons)
    _check_order(season, kickoff, [one for one in seasons if one <= last])

    folds = []
    for number, tested in enumerate(seasons):
        if not max(first, first_test_season) <= tested <= last:
            continue
        calibration_from = number - calibration_seasons
        train_to = calibration_from - gap_seasons
        train_from = 0 if window_seasons is None else train_to - window_seasons
        if train_to < 1 or train_from < 0:
            needed = (window_seasons or 1) + gap_seasons + calibration_seasons
            raise ValidationError(
                f"The first fold tests {tested} and needs {needed} earlier seasons (window {window_seasons or 1}, gap "
                f"{gap_seasons}, calibration {calibration_seasons}), but the data has {number} "
                f"({_spelt(seasons[:number])}); shorten the window or set validation.first_test_season later."
            )
        folds.append(
            Fold(
                season=tested,
                train=_positions(season, seasons[train_from:train_to]),
                calibration=_positions(season, seasons[calibration_from:number]),
                test=_positions(season, [tested]),
            )
        )
    return folds


def check_holdout(selection_seasons: Sequence[int], holdout_seasons: Sequence[int] | None) -> None:
    """Refuse a holdout that the selection could see.

    Args:
        selection_seasons: First and last selection season, inclusive.
        holdout_seasons: First and last holdout season, inclusive; None for no holdout.

    Raises:
        ValidationError: The holdout does not begin after the last selection season.
    """
    _, last = _checked_range("validation.selection_seasons", selection_seasons)
    if holdout_seasons is None:
        return
    first_held, last_held = _checked_range("validation.holdout_seasons", holdout_seasons)
    if first_held <= last:
        raise ValidationError(
            f"validation.holdout_seasons=[{first_held},{last_held}] begins before the selection ends in {last}, so a "
            f"choice could see it; begin the holdout in {last + 1} or later, or end validation.selection_seasons "
            f"before {first_held}."
        )


def check_window(window: str, window_seasons: int | None, gap_seasons: int, calibration_seasons: int) -> None:
    """Refuse settings that contradict each other whatever the data is.

    Args:
        window: "expanding" or "rolling".
        window_seasons: Length of a rolling window in seasons; None for an expanding one.
        gap_seasons: Seasons left out between the training window and what follows it.
        calibration_seasons: Seasons directly before the test season that neither train nor test.

    Raises:
        ValidationError: An unknown window, a length that it cannot have, a negative number of seasons.
    """
    if window not in WINDOWS:
        raise ValidationError(f"validation.window={window} is not known; use {' or '.join(WINDOWS)}.")
    if window == "rolling" and window_seasons is None:
        raise ValidationError(
            "validation.window=rolling has no length; set validation.window_seasons to a number of seasons."
        )
    if window == "expanding" and window_seasons is not None:
        raise ValidationError(
            f"validation.window_seasons={window_seasons} has no meaning for an expanding window; set "
            "validation.window=rolling, or validation.window_seasons=null."
        )
    for name, value, least in (
        ("window_seasons", window_seasons, 1),
        ("gap_seasons", gap_seasons, 0),
        ("calibration_seasons", calibration_seasons, 0),
    ):
        if value is not None and value < least:
            raise ValidationError(f"validation.{name}={value} is out of range; use {least} or more.")


def _checked_range(name: str, bounds: Sequence[int]) -> tuple[int, int]:
    """First and last season of a pair as the configuration spells it."""
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        seen = ",".join(str(bound) for bound in bounds)
        raise ValidationError(f"{name}=[{seen}] is not a first and a last season; write it as [2012,2022].")
    return int(bounds[0]), int(bounds[1])


def check_fits(seasons: list[int], first_test_season: int, selection_seasons: Sequence[int]) -> None:
    """Refuse seasons to test that the data does not have.

    Args:
        seasons: Seasons of the data, ascending; at least one.
        first_test_season: First season that may be tested.
        selection_seasons: First and last season that may be tested, inclusive.

    Raises:
        ValidationError: They lie outside the data, or leave no season to test.
    """
    first, last = _checked_range("validation.selection_seasons", selection_seasons)
    if first_test_season not in seasons:
        raise ValidationError(
            f"validation.first_test_season={first_test_season} is not in the data, which has {_spelt(seasons)}."
        )
    outside = [bound for bound in (first, last) if not seasons[0] <= bound <= seasons[-1]]
    if outside:
        raise ValidationError(
            f"validation.selection_seasons=[{first},{last}] reaches outside the data, which has {_spelt(seasons)}; "
            "set it to seasons that are there."
        )
    if last < first_test_season:
        raise ValidationError(
            f"validation.selection_seasons=[{first},{last}] ends before "
            f"validation.first_test_season={first_test_season}, so no season is tested; move one of them."
        )


def _check_order(season: NDArray[np.int64], kickoff: NDArray[Any], seasons: list[int]) -> None:
    """Seasons must follow one another in time, or an earlier season would train on games of a later one."""
    for earlier, later in pairwise(seasons):
        ended = kickoff[season == earlier].max()
        began = kickoff[season == later].min()
        if ended >= began:
            raise ValidationError(
                f"Season {earlier} has a game on {_day(ended)}, when season {later} had begun ({_day(began)}), so "
                "training would see the future; correct the season or the date of these games in the data."
            )


def _day(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[D]"))


def _positions(season: NDArray[np.int64], wanted: list[int]) -> NDArray[np.int64]:
    return np.flatnonzero(np.isin(season, wanted)).astype(np.int64)


def _spelt(seasons: list[int]) -> str:
    if not seasons:
        return "none"
    return f"{seasons[0]} to {seasons[-1]}" if len(seasons) > 1 else f"{seasons[0]} alone"
