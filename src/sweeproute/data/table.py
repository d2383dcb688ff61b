"""Any feature table as a data set: a file with one row a game, its columns named by the configuration."""

import fnmatch
import io
from pathlib import Path

import numpy as np
import pandas as pd

from sweeproute.config import CsvData
from sweeproute.data.checks import DataError, check_no_leak, check_odds, check_seasons, nearest, place, refuse_first
from sweeproute.data.dataset import Dataset, assemble
from sweeproute.data.nfl import read_file


def load_table(data: CsvData) -> Dataset:
    """Read a feature table.

    Args:
        data: the file (comma-separated, or parquet by its suffix) and the roles of its columns.

    Returns:
        The data set, without weeks; rows without an outcome are the unplayed games. Features may have NaN.

    Raises:
        DataError: a column is missing, a value is none that its role allows, a game is there twice, a date runs
            backwards, or a feature gives the outcome away; row, column and value are named.
    """
    table = _read(Path(data.path).expanduser())
    roles = {
        "outcome": data.outcome,
        "season": data.season,
        "date": data.date,
        "game_id": data.game_id,
        "odds_home": data.odds_home,
        "odds_away": data.odds_away,
        "home_team": data.home_team,
        "away_team": data.away_team,
    }
    for role, column in roles.items():
        if column is not None and column not in table.columns:
            raise DataError(
                f"Column {column} (data.{role}) is missing from {data.path}: {nearest(column, table.columns)} "
                f"Correct data.{role}."
            )
    if table.empty:
        raise DataError(f"{data.path} has no rows: give a file with at least one game.")
    outcome = _outcome(table, data.outcome)
    season = _numbers(table, data.season)
    refuse_first(table, data.season, season % 1 != 0, "is not a season", "a year, as 2010, in every row")
    kickoff = _dates(table, data.date)
    check_seasons(season.astype(np.int64), kickoff, table.index.to_numpy(), data.date)
    features = _features(table, data, {column for column in roles.values() if column is not None})
    played = ~np.isnan(outcome)
    check_no_leak(features[played], outcome[played])
    return assemble(
        "csv",
        features=features,
        outcome=outcome,
        unplayed=~played,
        season=season,
        kickoff=kickoff,
        week=None,
        game_id=_game_ids(table, data.game_id),
        odds=_odds(table, data),
        teams=_teams(table, data),
    )


def _read(file: Path) -> pd.DataFrame:
    content = read_file(file)
    try:
        if file.suffix == ".parquet":
            return pd.read_parquet(io.BytesIO(content)).reset_index(drop=True)
        return pd.read_csv(io.BytesIO(content), low_memory=False)
    except (ValueError, OSError) as error:
        raise DataError(f"data.path={file} is no table that can be read ({error}): give CSV or parquet.") from error


def _numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as float64 with NaN for empty cells; text and infinity are refused."""
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
    wrong = np.isinf(values) | (np.isnan(values) & table[column].notna().to_numpy())
    refuse_first(table, column, wrong, "is not a number", "a finite number")
    return values


def _outcome(table: pd.DataFrame, column: str) -> np.ndarray:
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
    third = table[column].notna().to_numpy() & ~np.isin(values, (0, 1))
    what = "is a third outcome, or none"
    refuse_first(table, column, third, what, "1 where the home side won, 0 where it lost, empty for a game to come")
    for value, side in ((0, "away"), (1, "home")):
        if not (values == value).any():
            raise DataError(
                f"Column {column} has no {value}: without a game that the {side} side won nothing is learned."
            )
    return values


def _dates(table: pd.DataFrame, column: str) -> np.ndarray:
    when = pd.to_datetime(table[column].astype("str"), format="ISO8601", errors="coerce", utc=True)
    allowed = "year-month-day, as 2010-09-12, with or without a time"
    refuse_first(table, column, when.isna().to_numpy(), "is not a date", allowed)
    return when.dt.tz_localize(None).to_numpy("datetime64[ns]")


def _game_ids(table: pd.DataFrame, column: str | None) -> np.ndarray:
    if column is None:
        again = table.duplicated().to_numpy()
        refuse_first(table, str(table.columns[0]), again, "begins a duplicate game, all its cells stand above", "once")
        # Padded, so that text sorts as the numbers do.
        width = len(str(len(table) + 1))
        return np.array([f"{row + 2:0{width}d}" for row in range(len(table))])
    refuse_first(table, column, table[column].isna().to_numpy(), "is no id", "a name or a number in every row")
    again = table[column].duplicated().to_numpy()
    refuse_first(table, column, again, "is a duplicate game, it stands in a row above", "each game once")
    return table[column].astype(str).to_numpy(str)


def _odds(table: pd.DataFrame, data: CsvData) -> np.ndarray | None:
    columns = _both_sides("odds_home", data.odds_home, "odds_away", data.odds_away, "odds are")
    if columns is None:
        return None
    odds = np.column_stack([_numbers(table, column) for column in columns])
    check_odds(odds, table.index.to_numpy(), columns)
    return odds


def _teams(table: pd.DataFrame, data: CsvData) -> np.ndarray | None:
    """Return the names of home and away, (n_rows, 2) str."""
    columns = _both_sides("home_team", data.home_team, "away_team", data.away_team, "team is")
    if columns is None:
        return None
    for column in columns:
        blank = table[column].isna() | (table[column].astype(str).str.strip() == "")
        refuse_first(table, column, blank.to_numpy(), "is no team", "a name in every row")
    home, away = (table[column].astype(str).to_numpy(str) for column in columns)
    refuse_first(table, columns[1], home == away, "plays against itself", "two different teams")
    return np.column_stack([home, away])


def _both_sides(
    home_role: str, home: str | None, away_role: str, away: str | None, what: str
) -> tuple[str, str] | None:
    """Return the columns of home and away, or None where neither is named."""
    if home is None and away is None:
        return None
    if home is None or away is None:
        missing = home_role if home is None else away_role
        raise DataError(f"data.{missing} is null while the other side's {what} named: name both columns or neither.")
    return home, away


def _features(table: pd.DataFrame, data: CsvData, taken: set[str]) -> pd.DataFrame:
    """Choose the features in the order of the file, or in the order in which they are named."""
    excluded = _matches(table, data.exclude, "exclude")
    if data.features:
        named = _matches(table, data.features, "features")
        for column in data.features:
            if column in taken:
                raise DataError(
                    f"Column {column} has another role and cannot be a feature: take it out of data.features."
                )
        columns = [column for column in named if column not in excluded and column not in taken]
    else:
        numeric = table.select_dtypes(["number", "bool"]).columns
        columns = [str(column) for column in numeric if column not in excluded and column not in taken]
    if not columns:
        raise DataError(
            f"No feature is left in {data.path} after data.features={list(data.features)} and "
            f"data.exclude={list(data.exclude)}: name at least one numeric column."
        )
    features = pd.DataFrame({column: _numbers(table, column) for column in columns}, index=table.index)
    for column in columns:
        if features[column].isna().all():
            raise DataError(f"{place(0, column)}: the feature {column} is empty in every row: exclude it.")
    return features


def _matches(table: pd.DataFrame, patterns: list[str], key: str) -> list[str]:
    """Return the columns that names or glob patterns match, each once."""
    chosen: dict[str, None] = {}
    for pattern in patterns:
        # A name with brackets in it is a name first.
        found = [pattern] if pattern in table.columns else fnmatch.filter(map(str, table.columns), pattern)
        if not found:
            raise DataError(
                f"data.{key} has {pattern}, which matches none of the table's {len(table.columns)} columns: "
                f"{nearest(pattern, map(str, table.columns))} Correct data.{key}."
            )
        chosen |= dict.fromkeys(found)
    return list(chosen)
