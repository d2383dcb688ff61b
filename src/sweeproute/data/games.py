"""The games table: the columns of nflverse's games.csv, what is checked in them, when a game begins or ends."""

import numpy as np
import pandas as pd

from sweeproute.betting import american_to_decimal
from sweeproute.data.checks import DataError, check_seasons, day_of, nearest, place, refuse_first

# Columns that every games table has; more may stand beside them (game_type, result, overtime, referee, ...).
REQUIRED = (
    "game_id",
    "season",
    "week",
    "gameday",
    "gametime",
    "away_team",
    "away_score",
    "home_team",
    "home_score",
    "location",
    "away_rest",
    "home_rest",
    "away_moneyline",
    "home_moneyline",
)
# What the market features need besides; spread_line is positive when the home side is favoured.
MARKET = ("spread_line", "total_line")

# Franchises that moved or changed their abbreviation keep one history, under the newest name.
FRANCHISE = {"OAK": "LV", "SD": "LAC", "STL": "LA", "LAR": "LA"}

# Kick-off to final whistle, with room for overtime and delays: a game that lasted longer has not been seen since 1999.
DURATION = np.timedelta64(4, "h")
DAY = np.timedelta64(1, "D")


def spans(games: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Say when each game begins, and by when its result is known.

    A game without a time takes its whole day: it begins at midnight, so that nothing of that day informs it, and is
    known at the next midnight.

    Args:
        games: (n_games, n_columns) with gameday (year-month-day) and gametime (hour:minute, or empty).

    Returns:
        Two arrays (n_games,) datetime64[ns], in the table's own time zone (nflverse: US Eastern).

    Raises:
        DataError: a day or a time is not one; the cell is named.
    """
    day = pd.to_datetime(games["gameday"], format="%Y-%m-%d", errors="coerce")
    refuse_first(games, "gameday", day.isna().to_numpy(), "is not a day", "year-month-day, as 2010-09-12")
    text = games["gametime"].astype("object")
    timed = text.notna().to_numpy() & (text.astype(str).str.strip() != "").to_numpy()
    time = pd.to_datetime(text.where(timed).astype("str"), format="%H:%M", errors="coerce")
    refuse_first(games, "gametime", timed & time.isna().to_numpy(), "is not a time", "hour:minute, as 13:00, or empty")
    begin = day.to_numpy("datetime64[ns]").copy()
    since_midnight = time.to_numpy("datetime64[ns]") - time.dt.normalize().to_numpy("datetime64[ns]")
    begin[timed] += since_midnight[timed]
    return begin, begin + np.where(timed, DURATION, DAY)


def odds_of(games: pd.DataFrame) -> np.ndarray:
    """Return the decimal odds of the closing moneylines, (n_games, 2) for home and away, NaN where absent."""
    return american_to_decimal(games[["home_moneyline", "away_moneyline"]].to_numpy(np.float64))


def teams_of(games: pd.DataFrame) -> np.ndarray:
    """Return the franchises of home and away under their newest names, (n_games, 2) str."""
    return np.column_stack([games[side].replace(FRANCHISE).to_numpy(str) for side in ("home_team", "away_team")])


def is_played(games: pd.DataFrame) -> np.ndarray:
    """Say which games have a score, (n_games,) bool."""
    return games["home_score"].notna().to_numpy()


def check(games: pd.DataFrame, market: bool = False) -> None:
    """Refuse a games table that cannot be what it says it is.

    Args:
        games: (n_games, n_columns) as read from the file, index 0 to n_games - 1.
        market: whether the columns of the market features are needed.

    Raises:
        DataError: a missing column, a value that is none, a game that is there twice, a date that runs backwards, odds
            that cannot be; the row, the column and the value are named.
    """
    for column in REQUIRED + (MARKET if market else ()):
        if column not in games.columns:
            raise DataError(
                f"Column {column} is missing from the games table: {nearest(column, games.columns)} "
                "The table needs the column names of nflverse's games.csv."
            )
    if games.empty:
        raise DataError("The games table has no rows: give a file with at least one game.")
    _check_numbers(games, market)
    for column in ("game_id", "home_team", "away_team"):
        blank = games[column].isna() | (games[column].astype(str).str.strip() == "")
        refuse_first(games, column, blank.to_numpy(), "is no name", "text in every row")
    begin, _ = spans(games)
    again = games["game_id"].duplicated().to_numpy()
    refuse_first(games, "game_id", again, "is a duplicate game, it stands in a row above", "each game once")
    season = games["season"].to_numpy(np.int64)
    check_seasons(season, begin, games.index.to_numpy(), "gameday")
    _check_weeks(games, season, begin)
    # After the dates: a wrong one often falls on a day on which the team plays.
    _check_days(games, begin)


def _check_numbers(games: pd.DataFrame, market: bool) -> None:
    columns = [
        "season",
        "week",
        "home_score",
        "away_score",
        "home_rest",
        "away_rest",
        "home_moneyline",
        "away_moneyline",
    ]
    for column in columns + list(MARKET if market else ()):
        values = pd.to_numeric(games[column], errors="coerce").to_numpy(np.float64)
        wrong = np.isnan(values) & games[column].notna().to_numpy()
        refuse_first(games, column, wrong | np.isinf(values), "is not a number", "a number")
        if column in ("season", "week", "home_rest", "away_rest"):
            refuse_first(games, column, ~(values % 1 == 0), "is not a whole number", "a whole number in every row")
        if column.endswith("_score"):
            bad = ~np.isnan(values) & ~((values >= 0) & (values % 1 == 0))
            refuse_first(games, column, bad, "is no score", "a whole number from 0, or empty before the game")
        if column.endswith("_moneyline"):
            what = "is below decimal odds of 1 or between -100 and 100, which no American odds are"
            refuse_first(games, column, np.abs(values) < 100, what, "-100 or less, 100 or more, or empty")
    for column, other in (("home_score", "away_score"), ("away_score", "home_score")):
        half = games[column].isna() & games[other].notna()
        refuse_first(games, column, half.to_numpy(), f"stands beside a filled {other}", "both scores, or neither")
    if "result" in games.columns:
        margin = games["home_score"] - games["away_score"]
        result = pd.to_numeric(games["result"], errors="coerce")
        differs = (margin.notna() & result.notna() & (margin != result)).to_numpy()
        refuse_first(games, "result", differs, "is not home_score minus away_score", "their difference")


def _check_days(games: pd.DataFrame, begin: np.ndarray) -> None:
    day = begin.astype("datetime64[D]")
    home, away = teams_of(games).T
    refuse_first(games, "away_team", home == away, "plays against itself", "two different teams")
    sides = pd.DataFrame({"team": np.concatenate([home, away]), "day": np.concatenate([day, day])})
    twice = sides.duplicated().to_numpy()
    for column, bad in (("home_team", twice[: len(games)]), ("away_team", twice[len(games) :])):
        what = "is a duplicate game, this team has another one on the same gameday"
        refuse_first(games, column, bad, what, "one game a day for each team")


def _check_weeks(games: pd.DataFrame, season: np.ndarray, begin: np.ndarray) -> None:
    """A game may be put off to a later week's days, but never lies before an earlier week has begun."""
    weeks = pd.DataFrame({"season": season, "week": games["week"].to_numpy(np.int64), "begin": begin})
    opening = weeks.groupby(["season", "week"])["begin"].min()
    latest_earlier = opening.groupby("season").cummax().groupby("season").shift()
    bound = weeks[["season", "week"]].join(latest_earlier.rename("bound"), on=["season", "week"])["bound"]
    bad = np.flatnonzero((weeks["begin"] < bound).to_numpy())
    if len(bad):
        row = bad[0]
        raise DataError(
            f"{place(games.index[row], 'gameday')}: {games['gameday'].iloc[row]}, week {weeks['week'].iloc[row]} of "
            f"season {season[row]}, runs backwards: an earlier week began on "
            f"{day_of(bound.iloc[row].to_datetime64())}: "
            "correct the date or the week."
        )
