"""Tests of the indexes that a local store gets, which no answer depends on."""

import sqlite3
import threading
from pathlib import Path

import pytest
from alembic import command

from sweeproute import sqlite_layout
from sweeproute.runs_query import LOOKED_FOR_TAGS, Answer, Question
from sweeproute.runs_sqlite import SqliteRuns
from sweeproute.sqlite_layout import add_indexes, indexes, layout, tag_index
from sweeproute.store import open_store

ALL = {"sweeproute_metric_values", *(tag_index(tag) for tag in LOOKED_FOR_TAGS)}
RUNS = 2000


def of(path: Path) -> frozenset[str]:
    connection = sqlite3.connect(path)
    try:
        return indexes(connection)
    finally:
        connection.close()


def changed(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was opened, with runs of ten sweeps in it."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    store = open_store(f"sqlite:///{path}", "many")
    connection = sqlite3.connect(path)
    with connection:
        for number in range(RUNS):
            run = f"{number:032x}"
            connection.execute(
                "INSERT INTO runs (run_uuid, name, status, start_time, lifecycle_stage, artifact_uri, experiment_id) "
                "VALUES (?, ?, 'FINISHED', ?, 'active', '', ?)",
                [run, run, number, store.experiment_id],
            )
            connection.execute(
                "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
                "VALUES ('auc', ?, 0, 0, ?, ?)",
                [(number * 7919 % RUNS) / RUNS, number % 500 == 3, run],
            )
            tags = {"sweep": f"sweep_{number % 10}", "trial": str(number // 10), "current": "true", "kind": "trial"}
            tags |= {"device": "cpu", "data_hash": "ab", "seasons": "2012-2021"}
            connection.executemany(
                "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
                [(f"sweeproute.{name}", value, run) for name, value in tags.items()],
            )
    connection.close()
    return path


def asked(path: Path, sweep: str | None = None) -> tuple[Answer, int]:
    """The answer, and how much SQLite has worked for it, in steps of its machine."""
    runs = SqliteRuns(path)
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 10

    runs._connection.set_progress_handler(step, 10)
    return runs.best(Question("auc", True, sweep)), steps


@pytest.mark.parametrize("sweep", [None, "sweep_4"])
def test_with_them_a_question_reads_a_part_of_the_runs_and_answers_the_same(
    path: Path, tmp_path: Path, sweep: str | None
) -> None:
    assert of(path) == ALL
    bare = tmp_path / "bare.db"
    bare.write_bytes(path.read_bytes())
    changed(bare, *(f"DROP INDEX {name}" for name in ALL))
    (quick, few), (slow, many) = asked(path, sweep), asked(bare, sweep)
    assert quick == slow
    assert quick.run is not None
    assert few < many / 2
    # Of the sweep each run is looked at for each thing that others may differ in; of all, one column is walked.
    assert few < (20 * RUNS if sweep is None else 200 * RUNS / 10)


def test_another_value_is_found_on_either_side_of_ones_own(path: Path, tmp_path: Path) -> None:
    best = asked(path)[0].run
    assert best is not None
    for number, value in enumerate(("aa", "ac")):
        other = tmp_path / f"{number}.db"
        other.write_bytes(path.read_bytes())
        run = f"{5 if best.run_id != f'{5:032x}' else 6:032x}"
        changed(other, f"UPDATE tags SET value = '{value}' WHERE key = 'sweeproute.data_hash' AND run_uuid = '{run}'")
        assert asked(other)[0].other_data == value


def test_mlflows_migrations_carry_them_along(tmp_path: Path) -> None:
    from mlflow.store.db.utils import _get_alembic_config
    from sqlalchemy import create_engine

    path = tmp_path / "old.db"
    config = _get_alembic_config(f"sqlite:///{path}")
    oldest = "1b5f0d9ad7c1"
    with create_engine(f"sqlite:///{path}").begin() as connection:
        from mlflow.store.tracking.dbmodels.initial_models import Base

        Base.metadata.create_all(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, oldest)
    add_indexes(path, LOOKED_FOR_TAGS)
    assert of(path) == ALL
    with create_engine(f"sqlite:///{path}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "heads")
    assert of(path) == ALL
    opened = sqlite3.connect(path)
    assert layout(opened) not in (None, oldest)
    opened.close()


def test_a_layout_that_is_not_known_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_layout, "KNOWN_REVISIONS", frozenset())
    open_store(f"sqlite:///{tmp_path}/mlflow.db", "one")
    assert of(tmp_path / "mlflow.db") == set()
    add_indexes(tmp_path / "nothing.db", LOOKED_FOR_TAGS)
    assert of(tmp_path / "nothing.db") == set()


def test_a_store_that_somebody_writes_to_gets_them_the_next_time(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_layout, "_TIMEOUT_S", 0.05)
    busy = tmp_path / "busy.db"
    busy.write_bytes(path.read_bytes())
    changed(busy, *(f"DROP INDEX {name}" for name in ALL))
    writer = sqlite3.connect(busy, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    add_indexes(busy, LOOKED_FOR_TAGS)
    writer.execute("COMMIT")
    writer.close()
    assert of(busy) == set()
    # Several that start at once add them once.
    starts = [threading.Thread(target=add_indexes, args=(busy, LOOKED_FOR_TAGS)) for _ in range(4)]
    monkeypatch.setattr(sqlite_layout, "_TIMEOUT_S", 30.0)
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert of(busy) == ALL
