"""The cache on disk of what is made from games, safe for processes that make it at the same time."""

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from filelock import FileLock
from platformdirs import user_cache_path

from sweeproute.data.checks import DataError
from sweeproute.data.dataset import Dataset, Upcoming

T = TypeVar("T")
# How features are told from the other columns of a stored data set.
PREFIX = "feature:"


def cache_directory() -> Path:
    """Where tables are kept: `data` in `$SWEEPROUTE_CACHE`, else in the user's cache directory.

    Raises:
        DataError: the folder cannot be made or written.
    """
    root = os.environ.get("SWEEPROUTE_CACHE")
    folder = (Path(root) if root else user_cache_path("sweeproute")) / "data"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise DataError(f"The cache folder {folder} cannot be written: set SWEEPROUTE_CACHE to a folder that can.")
    return folder


def key_of(*parts: object) -> str:
    """Return a name for what follows from these parts and from the code of this package, 24 hexadecimal digits."""
    return hashlib.sha256(json.dumps([_code_version(), *parts], sort_keys=True).encode()).hexdigest()[:24]


def get_or_make(path: Path, read: Callable[[Path], T], make: Callable[[], T], write: Callable[[T, Path], None]) -> T:
    """Return what is stored at a path, or make and store it; of several processes only one makes it.

    Args:
        path: where it is, or will be; a file that `read` refuses is made anew.
        read: reads it.
        make: makes it; what it raises passes through, and nothing is stored.
        write: writes it to the path that it is given, which is renamed when it is whole.
    """
    found = _read_whole(path, read)
    if found is not None:
        return found
    with FileLock(path.with_name(path.name + ".lock")):
        found = _read_whole(path, read)
        if found is None:
            found = make()
            put(path, functools.partial(write, found))
        return found


def put(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside its place and rename it, so that no reader sees half of it."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    os.close(handle)
    try:
        write(Path(beside))
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def put_bytes(path: Path, content: bytes) -> None:
    """Write bytes beside their place, then rename."""

    def write(beside: Path) -> None:
        beside.write_bytes(content)

    put(path, write)


def read_frame(path: Path) -> pd.DataFrame:
    """Read a table that `write_frame` wrote."""
    return pd.read_parquet(path)


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as parquet."""
    frame.to_parquet(path)


def write_dataset(dataset: Dataset, path: Path) -> None:
    """Write a data set of games as one parquet file, the unplayed games below the others with outcome -1.

    Args:
        dataset: one that has weeks, odds and teams, as all that are made from games.
        path: the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    upcoming = dataset.unplayed
    below = [] if upcoming is None else [upcoming]
    n_below = 0 if upcoming is None else len(upcoming.game_id)
    assert dataset.week is not None
    assert dataset.odds is not None
    assert dataset.teams is not None
    odds = np.concatenate([dataset.odds, *(part.odds for part in below if part.odds is not None)])
    teams = np.concatenate([dataset.teams, *(part.teams for part in below if part.teams is not None)])
    columns: dict[str, np.ndarray] = {
        "game_id": np.concatenate([dataset.game_id, *(part.game_id for part in below)]),
        "season": np.concatenate([dataset.season, *(part.season for part in below)]),
        "kickoff": np.concatenate([dataset.kickoff, *(part.kickoff for part in below)]),
        "week": np.concatenate([dataset.week, np.full(n_below, -1)]),
        "outcome": np.concatenate([dataset.outcome, np.full(n_below, -1, np.int8)]),
        "odds_home": odds[:, 0],
        "odds_away": odds[:, 1],
        "home_team": teams[:, 0],
        "away_team": teams[:, 1],
    }
    features = pd.concat([dataset.features, *(part.features for part in below)])
    columns |= {PREFIX + name: features[name].to_numpy() for name in features.columns}
    about = {"name": dataset.name, "set_aside": dataset.set_aside, "team_names": dataset.team_names}
    table = pa.table(columns).replace_schema_metadata({"sweeproute": json.dumps(about)})
    pq.write_table(table, path)


def read_dataset(path: Path) -> Dataset:
    """Read a data set that `write_dataset` wrote, bit for bit."""
    import pyarrow.parquet as pq

    table = pq.read_table(path, use_threads=False)
    about = json.loads(table.schema.metadata[b"sweeproute"])
    column = {name: table.column(name).to_numpy() for name in table.column_names}
    names = [name for name in column if name.startswith(PREFIX)]
    features = pd.DataFrame(
        np.column_stack([column[name] for name in names]), columns=[name.removeprefix(PREFIX) for name in names]
    )
    game_id = column["game_id"].astype(str)
    odds = np.column_stack([column["odds_home"], column["odds_away"]])
    teams = np.column_stack([column["home_team"], column["away_team"]])
    played = column["outcome"] >= 0
    upcoming = None
    if not played.all():
        upcoming = Upcoming(
            features=features[~played].reset_index(drop=True),
            game_id=game_id[~played],
            kickoff=column["kickoff"][~played],
            season=column["season"][~played],
            odds=odds[~played],
            teams=teams[~played],
        )
    return Dataset(
        name=about["name"],
        features=features[played].reset_index(drop=True),
        outcome=column["outcome"][played],
        season=column["season"][played],
        kickoff=column["kickoff"][played],
        week=column["week"][played],
        game_id=game_id[played],
        odds=odds[played],
        set_aside=about["set_aside"],
        unplayed=upcoming,
        teams=teams[played],
        team_names=tuple(about["team_names"]),
    )


def _read_whole(path: Path, read: Callable[[Path], T]) -> T | None:
    try:
        return read(path) if path.exists() else None
    except (OSError, ValueError, KeyError):  # pyarrow's errors of a broken file are among these
        return None


@functools.cache
def _code_version() -> str:
    """Hash of the code that makes the tables: an edit makes them anew, without a number that one forgets to raise."""
    folder = Path(__file__).parent
    digest = hashlib.sha256(np.__version__.encode())  # its random streams may change with a release
    for file in [*sorted(folder.glob("*.py")), folder.parent / "betting.py"]:
        digest.update(file.read_bytes())
    return digest.hexdigest()
