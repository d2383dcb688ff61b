"""Real games: a games.csv of one's own, or nflverse's, downloaded once with its checksum recorded."""

import hashlib
import io
import re
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
from filelock import FileLock

from sweeproute.config import NflData
from sweeproute.data.checks import DataError, nearest
from sweeproute.data.games import check
from sweeproute.data.store import cache_directory, put_bytes

TIMEOUT_S = 30
TEXT = ("game_id", "game_type", "gameday", "weekday", "gametime", "away_team", "home_team", "location")


def read_bytes(data: NflData) -> tuple[bytes, str]:
    """Return the file's content and its SHA-256, after a download where there is no path.

    A download stays in the cache, its checksum beside it in a file of the same name with `.sha256` at the end, as
    `sha256sum -c` reads it. Delete the file to download it again.

    Args:
        data: `path`, `url` and `sha256` are read.

    Returns:
        The bytes of the file, and 64 hexadecimal digits.

    Raises:
        DataError: there is no such file, no network, or the checksum is another one.
    """
    if data.sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", data.sha256):
        raise DataError(f"data.sha256={data.sha256} is no SHA-256: it has 64 hexadecimal digits, or is null.")
    if data.path is None:
        file = _downloaded(data)
        content = file.read_bytes()
    else:
        file = Path(data.path).expanduser()
        content = read_file(file)
    found = hashlib.sha256(content).hexdigest()
    if data.sha256 is not None and found != data.sha256.lower():
        raise DataError(
            f"{file} has the SHA-256 {found}, but data.sha256 is {data.sha256}: set data.sha256 to the first if this "
            "is the file that you mean, else get the right one."
        )
    return content, found


def read_file(file: Path) -> bytes:
    """Read a file that the configuration names.

    Raises:
        DataError: it is not there or cannot be read; the nearest name in its folder is given.
    """
    if not file.is_file():
        folder = file.absolute().parent
        beside = sorted(other.name for other in folder.iterdir() if other.is_file()) if folder.is_dir() else []
        hint = nearest(file.name, beside[:20]) if beside else "its folder is empty or missing."
        raise DataError(f"data.path={file} does not exist (looked in {folder}): {hint} Correct data.path.")
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"data.path={file} cannot be read ({error.strerror}): give a readable file.") from error


def parse(content: bytes, data: NflData) -> pd.DataFrame:
    """Read, check and cut a games table.

    Args:
        content: the file, comma-separated.
        data: the first and last season, and whether the market's columns are needed, are read.

    Returns:
        (n_games, n_columns), indexed by the position in the file.

    Raises:
        DataError: it is no table, it fails `sweeproute.data.games.check`, or no game lies in the seasons.
    """
    try:
        games = pd.read_csv(io.BytesIO(content), dtype=dict.fromkeys(TEXT, "str"), low_memory=False)
    except ValueError as error:
        raise DataError(f"The games table is not a comma-separated file with one row a game ({error}).") from error
    check(games, market=data.market_features)
    first = games["season"].min() if data.first_season is None else data.first_season
    last = games["season"].max() if data.last_season is None else data.last_season
    chosen = games[games["season"].between(first, last)]
    if chosen.empty:
        raise DataError(
            f"No game lies in the seasons {first} to {last} (data.first_season, data.last_season); the table has "
            f"{games['season'].min()} to {games['season'].max()}: choose among these."
        )
    return chosen


def _downloaded(data: NflData) -> Path:
    """Return the file in the cache, downloaded when it is not there yet."""
    # A pinned checksum has a copy of its own: another pin must not be answered with an older download.
    name = hashlib.sha256(f"{data.url} {(data.sha256 or '').lower()}".encode()).hexdigest()[:16]
    file = cache_directory() / f"games-{name}.csv"
    record = file.with_name(file.name + ".sha256")
    with FileLock(file.with_name(file.name + ".lock")):
        if not file.exists():
            content = _download(data.url)
            found = hashlib.sha256(content).hexdigest()
            if data.sha256 is not None and found != data.sha256.lower():
                raise DataError(
                    f"{data.url} has the SHA-256 {found} now, but data.sha256 is {data.sha256}: give data.path of the "
                    "file that you mean, or set data.sha256 to the first to accept this one."
                )
            # The record first: a file that is there has its record.
            put_bytes(record, f"{found}  {file.name}\n".encode())
            put_bytes(file, content)
    recorded = record.read_text(encoding="utf-8").split()[0] if record.exists() else "missing"
    if hashlib.sha256(file.read_bytes()).hexdigest() != recorded:
        raise DataError(
            f"{file} is not what was downloaded (recorded SHA-256: {recorded}): delete it to download it again."
        )
    return file


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            content: bytes = answer.read()
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"{url} could not be downloaded ({reason}): give data.path of a games.csv, use data=league, which needs no "
            "network, or try again with one."
        ) from error
    if b"game_id" not in content[:4096].split(b"\n", 1)[0]:
        raise DataError(
            f"{url} did not answer with a games table (it begins {content[:40]!r}): give the address of nflverse's "
            "games.csv in data.url, or data.path of a file."
        )
    return content
