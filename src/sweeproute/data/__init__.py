"""Games behind one Dataset, from any of three sources: a simulated league, real NFL games, a feature table."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweeproute.config import CsvData, LeagueData, NflData
from sweeproute.data.checks import DataError, nearest
from sweeproute.data.dataset import Dataset, Upcoming, assemble
from sweeproute.data.features import build_features, home_wins
from sweeproute.data.games import is_played, odds_of, spans, teams_of
from sweeproute.data.league import simulate
from sweeproute.data.nfl import parse, read_bytes
from sweeproute.data.store import (
    cache_directory,
    get_or_make,
    key_of,
    read_dataset,
    read_frame,
    write_dataset,
    write_frame,
)
from sweeproute.data.table import load_table

__all__ = ["DataError", "Dataset", "Upcoming", "load", "load_games"]

Settings = LeagueData | NflData | CsvData
SOURCES: dict[str, type[Settings]] = {"league": LeagueData, "nfl": NflData, "csv": CsvData}

_loaded: dict[tuple[object, ...], Dataset] = {}


def load(config: Mapping[str, Any]) -> Dataset:
    """Return the data set that a configuration describes.

    It is read once in a process; what is made from games is also kept on disk, under a hash of the games, the settings
    and the code that makes it, in `$SWEEPROUTE_CACHE` or the user's cache directory.

    Args:
        config: the group `data` as a plain mapping: `source` and the fields of its dataclass in `sweeproute.config`.

    Returns:
        The data set; the same object for the same configuration, as long as its file has not changed.

    Raises:
        DataError: the configuration or the input cannot be used.
    """
    settings = _settings(config)
    key = (repr(settings), *_identity(settings))
    if key not in _loaded:
        _loaded[key] = _load(settings)
    return _loaded[key]


def load_games(config: Mapping[str, Any]) -> pd.DataFrame:
    """Return the games table itself, for the sources `league` and `nfl`.

    Args:
        config: the group `data`, as for `load`.

    Returns:
        (n_games, n_columns) in the schema of nflverse's games.csv; the league's has home_win_probability besides.

    Raises:
        DataError: the configuration or the input cannot be used, or the source has no games table.
    """
    settings = _settings(config)
    if isinstance(settings, CsvData):
        raise DataError("data.source=csv has features and no games table: use league or nfl.")
    if isinstance(settings, NflData):
        return parse(read_bytes(settings)[0], settings)
    return _league_games(settings)


def _load(settings: Settings) -> Dataset:
    if isinstance(settings, CsvData):
        return load_table(settings)
    if isinstance(settings, NflData):
        content, digest = read_bytes(settings)
        made_from: tuple[object, ...] = ("nfl", digest, settings.first_season, settings.last_season)
        table = functools.partial(parse, content, settings)
    else:
        made_from = ("league", settings.first_season, settings.last_season, settings.seed)
        table = functools.partial(_league_games, settings)
    path = cache_directory() / f"features-{key_of(*made_from, settings.market_features)}.parquet"
    make = functools.partial(_from_games, settings.source, table, settings.market_features)
    return get_or_make(path, read_dataset, make, write_dataset)


def _league_games(settings: LeagueData) -> pd.DataFrame:
    first, last = settings.first_season, settings.last_season
    if not 1900 <= first <= last <= 2200:
        raise DataError(
            f"data.first_season={first} and data.last_season={last} are no range of seasons: give years from 1900 to "
            "2200, the first not after the last."
        )
    path = cache_directory() / f"league-{key_of(first, last, settings.seed)}.parquet"
    return get_or_make(path, read_frame, lambda: simulate(first, last, settings.seed), write_frame)


def _from_games(name: str, table: Any, market: bool) -> Dataset:
    games = table()
    begin, _ = spans(games)
    return assemble(
        name,
        features=build_features(games, market),
        outcome=home_wins(games),
        unplayed=~is_played(games),
        season=games["season"].to_numpy(np.int64),
        kickoff=begin,
        week=games["week"].to_numpy(np.int64),
        game_id=games["game_id"].to_numpy(str),
        odds=odds_of(games),
        teams=teams_of(games),
    )


def _settings(config: Mapping[str, Any]) -> Settings:
    """Turn the mapping into the source's own dataclass."""
    source = config.get("source")
    if source not in SOURCES:
        raise DataError(f"data.source={source} is no source of games: {nearest(str(source), SOURCES)}")
    known = {field.name for field in dataclasses.fields(SOURCES[source])}
    for name in config:
        if name not in known:
            raise DataError(f"data.{name} is no setting of the source {source}: {nearest(str(name), sorted(known))}")
    settings = SOURCES[source](**{str(name): value for name, value in config.items()})
    for field in dataclasses.fields(settings):
        if getattr(settings, field.name) == "???":
            raise DataError(f"data.{field.name} is not set: give it, as data.{field.name}=VALUE.")
    return settings


def _identity(settings: Settings) -> tuple[object, ...]:
    """Tell one state of a file from another, without reading it."""
    path = getattr(settings, "path", None)
    if path is None:
        return ()
    try:
        state = Path(path).expanduser().stat()
    except OSError:
        return ()
    return (Path(path).expanduser().absolute(), state.st_mtime_ns, state.st_size)
