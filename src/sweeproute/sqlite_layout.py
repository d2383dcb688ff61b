"""The layouts of MLflow's tables in a SQLite file that are known here, and the indexes that a file of ours has besides.

MLflow indexes a metric and a tag by its name and run alone: whatever asks for values reads all of them. With these
indexes a question over fifty thousand runs reads a few rows. SQLite keeps them true by itself, whoever writes; a
question that does not find them is answered without, and MLflow's migrations carry them along.
"""

import sqlite3
from pathlib import Path

# Schema revisions of MLflow under which the tables read here are the same, the newest first. An unknown one is not
# guessed at: the public API answers instead.
KNOWN_REVISIONS = frozenset(
    {
        "dc11669786a5",
        "75868b020152",
        "b7e2c1a4d9f3",
        "17e22815139b",
        "1971f2d9a75b",
        "6f8d9c3b2a1e",
        "c3d9e7f1a2b4",
        "c1d2e3f4a5b6",
        "a8b9c0d1e2f3",
        "b7e4c1a90f23",
        "89d3d66ed43f",
        "da6fb0208061",
        "7d34483879f0",
        "ae8bbe7743c9",
        "a5b4c3d2e1f0",
        "c3d6457b6d8a",
        "76601a5f987d",
        "e1f2a3b4c5d6",
        "1b5f0d9ad7c1",
    }
)
# Seconds to wait for a writer: whoever opens a store is about to work, and the next one can add what is missing.
_TIMEOUT_S = 5.0
# Of a metric the run, too, so that the table itself is not read.
_METRIC_VALUES = "CREATE INDEX IF NOT EXISTS sweeproute_metric_values ON latest_metrics (key, value, is_nan, run_uuid)"
# One for each tag that is looked for by its value, so that all other tags are written as before.
_TAG_VALUES = "CREATE INDEX IF NOT EXISTS {name} ON tags (value, run_uuid) WHERE key = '{tag}'"


def tag_index(tag: str) -> str:
    """The name of the index of a tag's values.

    Example:
        >>> tag_index("sweeproute.data_hash")
        'sweeproute_data_hash'
    """
    return tag.replace(".", "_")


def indexes(connection: sqlite3.Connection) -> frozenset[str]:
    """The names of the indexes that are there of those that `add_indexes` adds."""
    query = "SELECT name FROM sqlite_master WHERE type = 'index' AND name GLOB 'sweeproute_*'"
    return frozenset(row[0] for row in connection.execute(query))


def layout(connection: sqlite3.Connection) -> str | None:
    """The revision of MLflow's tables, None where it is not a known one.

    Raises:
        sqlite3.Error: There are no tables of MLflow's, or the file cannot be read.
    """
    rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return rows[0][0] if len(rows) == 1 and rows[0][0] in KNOWN_REVISIONS else None


def add_indexes(path: Path, tags: tuple[str, ...]) -> None:
    """Add the indexes that a file lacks: over fifty thousand runs they take two seconds, once, and else nothing.

    A file that is not of a known layout is left as it is, and so is one that cannot be written just now: they make
    questions quick, and no answer depends on them.

    Args:
        path: The SQLite file, with MLflow's tables in it.
        tags: The tags that are looked for by their values.
    """
    try:
        connection = sqlite3.connect(path, timeout=_TIMEOUT_S)
        try:
            if layout(connection) is None or len(indexes(connection)) == 1 + len(tags):
                return
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_METRIC_VALUES)
            for tag in tags:
                connection.execute(_TAG_VALUES.format(name=tag_index(tag), tag=tag))
            connection.commit()
        finally:
            connection.close()
    except sqlite3.Error:
        return
