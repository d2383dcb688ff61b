"""Says which seasons a request tests, chooses by and holds out, and by models of which ones."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeproute.request.table import Table, plain
from sweeproute.request.understood import Understood, listed, whole

# Of a range of seasons: how many come before the first one that is tested, how many a rolling window has, and how many
# are the holdout. Those that calibrate come on top.
_EXPANDING, _ROLLING, _HOLDOUT = 9, 10, 2
_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBER = rf"(\d+|{'|'.join(_WORDS)})\b"
_OF_A_WINDOW = re.compile(
    rf"window(?:\s+of|\s+is|\s*[=:])?\s*{_NUMBER}|\b{_NUMBER}[\s-]*(?:seasons?|years?)?[\s-]*(?:rolling[\s-]*)?window"
)
_OF_SEASONS = re.compile(rf"\b{_NUMBER}[\s-]*(?:seasons?|years?)\b")


@dataclass(frozen=True)
class Folds:
    """How many seasons come before a tested one.

    Attributes:
        rolling: Whether a window of always as many seasons trains; else all earlier ones do.
        window: Seasons of a rolling window; of one that expands, those that it begins with.
        gap: Seasons that are left out.
        calibration: Seasons that calibrate.
    """

    rolling: bool
    window: int
    gap: int
    calibration: int

    @property
    def before(self) -> int:
        """All of them."""
        return self.window + self.gap + self.calibration

    def __str__(self) -> str:
        parts = {"window": self.window, "gap": self.gap, "calibration": self.calibration}
        return ", ".join(f"{name} {number}" for name, number in parts.items() if number)


def read_range(written: Any, found: Understood) -> tuple[int, int] | None:
    """Read a range of seasons as people write it.

    Args:
        written: As in [2003-2024], or "2003 to 2024".
        found: Takes up what cannot be served; its words behind the file may move the bounds.

    Returns:
        The first and the last season; None where there is none.
    """
    if written is None:
        return None
    years = [int(year) for one in listed(written) for year in re.findall(r"\d{4}", str(one))]
    if not years:
        found.refuse(
            f"seasons is {written!r}; write a first and a last one, as in [2003-2024].", "validation.selection_seasons"
        )
        return None
    return whole(found, "data.first_season", min(years)), whole(found, "data.last_season", max(years))


def read_folds(validation: Any, calibrating: bool, found: Understood) -> Folds:
    """Read how the folds are cut: what the request says, and what is said behind it.

    Args:
        validation: In plain words, as "rolling window of 8 seasons".
        calibrating: Whether seasons are needed to calibrate.
        found: Takes up what cannot be served.
    """
    window = found.said("validation.window")
    rolling = window == "rolling" if isinstance(window, str) else "rolling" in plain(validation or "")
    length = _EXPANDING
    if rolling:
        length = whole(found, "validation.window_seasons", _window(str(validation or ""), found))
    calibration = whole(found, "validation.calibration_seasons", int(calibrating))
    return Folds(rolling, length, whole(found, "validation.gap_seasons", 0), calibration)


def say_seasons(
    written: Any, years: tuple[int, int] | None, folds: Folds, table: Table | None, found: Understood
) -> None:
    """Say which seasons are tested, chosen by and held out, if the data and the window allow it.

    Args:
        written: What the request has for its seasons.
        years: First and last season.
        folds: How the folds are cut.
        table: The table that the data is; None for a league or nflverse's games.
        found: Takes up the words, or what cannot be served.
    """
    settled = ("validation.selection_seasons", "validation.first_test_season")
    if years is None:
        there = table.seasons if table is not None else []
        # The configuration's own seasons are those of the league, and nine of them come before the first tested one.
        if written is None and (
            there or folds.before > _EXPANDING + 1 or (folds.rolling and folds.before > _EXPANDING)
        ):
            example = f"{there[0]}-{there[-1]}" if there else "2003-2024"
            found.refuse(f"The request names no seasons; write a first and a last one: seasons: [{example}].", *settled)
        return
    first, last = years
    tested, chosen = whole(found, settled[1], first + folds.before), last - _HOLDOUT
    if tested > chosen:
        found.refuse(
            f"seasons {first} to {last} are {last - first + 1}; {folds.before + _HOLDOUT + 1} or more are needed, "
            f"{folds.before} of them to begin with ({folds}) and {_HOLDOUT} for the holdout.",
            *settled,
        )
        return
    selection = _pair(found, settled[0], (tested, chosen))
    holdout = _pair(found, "validation.holdout_seasons", (chosen + 1, last))
    found.say(
        "seasons",
        written,
        f"{max(tested, selection[0])} to {selection[1]} are tested and chosen by, each by models of "
        f"{_learned_from(first, folds, table)}; {holdout[0]} to {holdout[1]} are the holdout, scored once",
        f"validation.first_test_season={tested}",
        f"validation.selection_seasons=[{tested},{chosen}]",
        f"validation.holdout_seasons=[{chosen + 1},{last}]",
        "holdout=true",
    )
    if table is not None and table.games is not None:
        _check_folds(table, folds, tested, selection, holdout, found)


def say_validation(written: Any, folds: Folds, found: Understood) -> None:
    """Say what a validation in plain words means.

    Args:
        written: What the request has for it.
        folds: How the folds are cut.
        found: Takes up the words, or what cannot be served.
    """
    if written is None:
        return
    settled = ("validation", "validation.window")
    if "walkforward" not in plain(written) and "rolling" not in plain(written):
        found.refuse(
            f"validation is {written!r}; what there is: walk-forward, over an expanding window or a rolling one.",
            *settled,
        )
        return
    if folds.rolling:
        words = ("validation.window=rolling", f"validation.window_seasons={folds.window}")
        found.say("validation", written, f"walk-forward over {folds.window} seasons at a time", *words)
        return
    if re.search(r"\d", str(written)):
        found.refuse(
            f"validation is {written!r}, and an expanding window takes all earlier seasons, whatever their number; "
            "write walk-forward, or a rolling window of 10 seasons.",
            *settled,
        )
    found.say("validation", written, "walk-forward over all earlier seasons", "validation=walk_forward")


def _window(written: str, found: Understood) -> int:
    """How many seasons a rolling window has: as many as a number says, if there is one."""
    words = written.lower()
    near = _OF_A_WINDOW.search(words)
    numbers = [next(filter(None, near.groups()))] if near is not None else _OF_SEASONS.findall(words)
    if len(numbers) == 1 and (length := _number(numbers[0])) > 0:
        return length
    if numbers or re.search(r"\d", words):
        found.refuse(
            f"validation is {written!r}, of which the number is not understood; write a rolling window of "
            f"{_ROLLING} seasons, or say validation.window_seasons=N behind the request.",
            "validation.window_seasons",
        )
    return _ROLLING


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _WORDS.index(word) + 2


def _learned_from(first: int, folds: Folds, table: Table | None) -> str:
    """The seasons that train, in words. A table has no first one but its own."""
    if folds.rolling:
        return f"{folds.window} earlier seasons"
    if table is None or table.settings["source"] != "csv":
        return f"the seasons from {first} on"
    there = table.seasons
    has = f", which has {there[0]} to {there[-1]}" if there else ""
    return f"all earlier seasons of the table{has}"


def _pair(found: Understood, key: str, otherwise: tuple[int, int]) -> tuple[int, int]:
    """Two seasons that are said behind the file; train.py answers what is none."""
    value = found.said(key)
    two = isinstance(value, list) and len(value) == 2 and all(isinstance(one, int) for one in value)
    return (value[0], value[1]) if two else otherwise


def _check_folds(
    table: Table, folds: Folds, tested: int, selection: Sequence[int], holdout: tuple[int, int], found: Understood
) -> None:
    """Refuse seasons that the table cannot fill: every job would find it out for itself."""
    from sweeproute.validation import ValidationError, walk_forward

    assert table.games is not None
    there = table.seasons
    absent = [one for one in range(holdout[0], holdout[1] + 1) if one not in there]
    if absent:
        found.refuse(
            f"seasons has {absent[0]} in its holdout, and the table has no game of it that is decided; it has "
            f"{there[0]} to {there[-1]}: write seasons: [{there[0]}-{there[-1]}]."
        )
        return
    try:
        walk_forward(
            table.games.season,
            table.games.kickoff,
            window="rolling" if folds.rolling else "expanding",
            window_seasons=folds.window if folds.rolling else None,
            first_test_season=tested,
            gap_seasons=folds.gap,
            calibration_seasons=folds.calibration,
            selection_seasons=selection,
        )
    except ValidationError as error:
        found.refuse(f"seasons and table do not fit: {error}")
