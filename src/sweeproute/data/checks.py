"""What the tables of all sources are checked for, in words that name the row, the column and the value."""

import difflib
import itertools
from collections.abc import Iterable

import numpy as np
import pandas as pd


class DataError(ValueError):
    """Input that cannot be used as it is; the message names the place, the value, what is allowed and the next step."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Say which allowed word a misspelt one may have meant.

    Args:
        word: what was written.
        allowed: the words that would have been right.

    Returns:
        A part of a sentence: the close matches, nearest first, or else all that is allowed.
    """
    words = [str(name) for name in allowed]
    close = difflib.get_close_matches(word, words, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else f"there is: {', '.join(words) or 'nothing'}"


def place(row: int, column: str) -> str:
    """Name a cell as a spreadsheet shows it.

    Args:
        row: position in the table, from 0; the header is the file's row 1, so position 0 is row 2.
        column: name of the column.
    """
    return f"row {int(row) + 2}, column {column}"


def refuse_first(table: pd.DataFrame, column: str, bad: np.ndarray, what: str, allowed: str) -> None:
    """Refuse a column that has a bad cell, naming the first.

    Args:
        table: the table, indexed by the rows of its file.
        column: the column's name.
        bad: (n_rows,) bool.
        what: what is wrong with such a value, after the value itself.
        allowed: what would be right.

    Raises:
        DataError: there is a bad cell.
    """
    rows = np.flatnonzero(bad)
    if len(rows):
        value = table[column].iloc[rows[0]]
        seen = "an empty cell" if pd.isna(value) else repr(value.item() if hasattr(value, "item") else value)
        raise DataError(f"{place(table.index[rows[0]], column)}: {seen} {what} (allowed: {allowed}); correct the cell.")


def check_seasons(season: np.ndarray, when: np.ndarray, rows: np.ndarray, column: str) -> None:
    """Refuse seasons that overlap in time: a date there runs backwards, and walk-forward folds would leak.

    Args:
        season: (n_games,) int64.
        when: (n_games,) datetime64[ns].
        rows: (n_games,) positions in the file, for the message.
        column: the name of the dates' column, for the message.

    Raises:
        DataError: a game of a later season is not after all games of an earlier one.
    """
    years = np.unique(season)
    for earlier, later in itertools.pairwise(years):
        before, after = np.flatnonzero(season == earlier), np.flatnonzero(season == later)
        last, first = before[np.argmax(when[before])], after[np.argmin(when[after])]
        if when[first] > when[last]:
            continue
        # The wrong date is on the side where fewer games are out of order.
        wrong, other = first, last
        if (when[before] >= when[first]).sum() < (when[after] <= when[last]).sum():
            wrong, other = last, first
        raise DataError(
            f"{place(rows[wrong], column)}: {day_of(when[wrong])}, of season {season[wrong]}, runs backwards against "
            f"row {rows[other] + 2}, {day_of(when[other])}, of season {season[other]}: a season begins when the one "
            "before it has ended; correct the date or the season."
        )


def check_odds(odds: np.ndarray, rows: np.ndarray, columns: tuple[str, str]) -> None:
    """Refuse decimal odds that are not above one.

    Args:
        odds: (n_games, 2) decimal, NaN where absent.
        rows: (n_games,) positions in the file, for the message.
        columns: the names of the two columns, for the message.

    Raises:
        DataError: a bet at such odds could never win anything.
    """
    for side, column in enumerate(columns):
        bad = np.flatnonzero(~(np.isnan(odds[:, side]) | ((odds[:, side] > 1) & np.isfinite(odds[:, side]))))
        if len(bad):
            raise DataError(
                f"{place(rows[bad[0]], column)}: odds of {odds[bad[0], side]:g} are not above 1; decimal odds are what "
                "a stake of 1 pays back, the stake included (American -150 is 1.67, +150 is 2.5): convert or empty the "
                "cell."
            )


def check_no_leak(features: pd.DataFrame, outcome: np.ndarray) -> None:
    """Refuse a feature that gives the outcome away.

    A feature equals the outcome, or its opposite; or, in 30 games or more, one threshold on it tells every win from
    every loss, as the final margin would.

    Args:
        features: (n_games, n_features), indexed by the rows of the file.
        outcome: (n_games,) of 0 and 1.

    Raises:
        DataError: such a feature exists; its column and a row are named.
    """
    values = features.to_numpy(np.float64)
    won, lost = values[outcome == 1], values[outcome == 0]
    if not len(won) or not len(lost):
        return
    with np.errstate(invalid="ignore"):
        low_won, high_won = np.fmin.reduce(won), np.fmax.reduce(won)
        low_lost, high_lost = np.fmin.reduce(lost), np.fmax.reduce(lost)
        # Coded 0 and 1, or -1 and 1, either way round.
        equal = (low_won == high_won) & (low_lost == high_lost) & (low_won != low_lost)
        equal &= (
            np.isin(low_won, (-1, 0, 1)) & np.isin(np.abs(low_won - low_lost), (1, 2)) & np.isin(low_lost, (-1, 0, 1))
        )
        apart = ((high_lost < low_won) | (high_won < low_lost)) & (np.isfinite(values).sum(axis=0) >= 30)
    for column in np.flatnonzero(equal | apart).tolist():
        name = features.columns[column]
        row = int(np.flatnonzero(np.isfinite(values[:, column]))[0])
        what = "equals the outcome" if equal[column] else "tells every win from every loss"
        raise DataError(
            f"{place(features.index[row], name)}: the feature {name} {what} (here {values[row, column]:g} where the "
            f"outcome is {int(outcome[row])}), so it was not known before the game: exclude it (data.exclude=[{name}])."
        )


def day_of(when: np.datetime64) -> str:
    """Write a moment's day as year-month-day."""
    return str(when.astype("datetime64[D]"))
