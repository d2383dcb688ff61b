"""Reads runs from MLflow's own tables in a local SQLite file, without MLflow.

MLflow's search joins without statistics and takes seconds over ten thousand runs; one query of its tables takes
milliseconds, and needs no import. It is asked only of table layouts that are known.
"""

import json
import math
import sqlite3
from pathlib import Path

from sweeproute.runs_query import Answer, FoundRun, Question, earliest

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
# Seconds to wait for a writer.
_TIMEOUT_S = 30.0
# What infinity is stored as.
_LARGEST = 1.7976931348623157e308

_EXPERIMENTS = "SELECT experiment_id FROM experiments WHERE lifecycle_stage = 'active' AND workspace = 'default'"
_TRIALS = "FROM runs r {joins} WHERE r.lifecycle_stage = 'active' {conditions}"

_BEST = """
WITH candidates AS MATERIALIZED (
    SELECT m.run_uuid, m.value, r.start_time, (NOT m.is_nan AND abs(m.value) < :largest) AS finite
    FROM latest_metrics m
    CROSS JOIN runs r ON r.run_uuid = m.run_uuid
    JOIN tags counts ON counts.key = 'sweeproute.current' AND counts.run_uuid = r.run_uuid AND counts.value = 'true'
    {joins}
    WHERE m.key = :metric AND r.status = 'FINISHED' AND r.lifecycle_stage = 'active' {conditions}
), made AS MATERIALIZED (
    SELECT coalesce(c.value, d.value) AS device_class, h.value AS data_hash
    FROM candidates
    LEFT JOIN tags c ON c.key = 'sweeproute.device_class' AND c.run_uuid = candidates.run_uuid
    LEFT JOIN tags d ON d.key = 'sweeproute.device' AND d.run_uuid = candidates.run_uuid AND c.value IS NULL
    LEFT JOIN tags h ON h.key = 'sweeproute.data_hash' AND h.run_uuid = candidates.run_uuid
    WHERE candidates.finite
), totals AS MATERIALIZED (
    SELECT count(*) AS number, total(finite) AS finite, {extreme}(CASE WHEN finite THEN value END) AS value
    FROM candidates
)
SELECT t.number, t.finite,
    (SELECT json_group_array(DISTINCT device_class) FROM made), (SELECT json_group_array(DISTINCT data_hash) FROM made),
    c.run_uuid, c.start_time, coalesce(s.value, ''), coalesce(n.value, '')
FROM totals t
LEFT JOIN candidates c ON c.finite AND c.value = t.value
LEFT JOIN tags s ON s.key = 'sweeproute.sweep' AND s.run_uuid = c.run_uuid
LEFT JOIN tags n ON n.key = 'sweeproute.trial' AND n.run_uuid = c.run_uuid
"""


class SqliteRuns:
    """The runs in a local SQLite file; see runs_query.Runs."""

    def __init__(self, path: Path) -> None:
        """Open the file for reading.

        Raises:
            UnknownSchemaError: Its tables are not of a known layout.
            sqlite3.Error: It cannot be read.
        """
        self.how = f"one read-only query of {path}"
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_TIMEOUT_S)
        # The joins look up rows all over the file: reading them in place takes a third off.
        self._connection.execute("PRAGMA mmap_size = 1073741824")
        revision = self._connection.execute("SELECT version_num FROM alembic_version").fetchall()
        if len(revision) != 1 or revision[0][0] not in KNOWN_REVISIONS:
            raise UnknownSchemaError(f"The schema revision of {path} is {revision}, which is not known here.")

    def best(self, question: Question) -> Answer:
        """Find the best run; of equals the earlier trial."""
        joins, conditions, values = _scope(question)
        query = _BEST.format(joins=joins, conditions=conditions, extreme="max" if question.maximize else "min")
        values |= {"metric": question.metric, "largest": _LARGEST}
        # One transaction, so that the details are those of the run that was found.
        with self._connection:
            self._connection.execute("BEGIN")
            rows = self._connection.execute(query, values).fetchall()
            number, finite, devices, hashes = rows[0][:4]
            run = None if rows[0][4] is None else self._run(earliest([row[4:] for row in rows]))
        return Answer(run, int(finite), int(number - finite), _parts(devices), _parts(hashes))

    def metric_names(self, question: Question) -> list[str]:
        """The metrics that were logged within the question's sweep and experiment."""
        joins, conditions, values = _scope(question)
        joins = f"JOIN latest_metrics m ON m.run_uuid = r.run_uuid {joins}"
        query = f"SELECT DISTINCT m.key {_TRIALS.format(joins=joins, conditions=conditions)} ORDER BY m.key"
        return [row[0] for row in self._connection.execute(query, values)]

    def states(self, question: Question) -> dict[str, int]:
        """How many trials of the question's sweep and experiment are in which state."""
        joins, conditions, values = _scope(question)
        joins = f"JOIN tags k ON k.key = 'sweeproute.kind' AND k.run_uuid = r.run_uuid AND k.value = 'trial' {joins}"
        query = f"SELECT r.status, count(*) {_TRIALS.format(joins=joins, conditions=conditions)} GROUP BY r.status"
        return dict(self._connection.execute(query, values).fetchall())

    def sweeps(self) -> list[tuple[str, str]]:
        """Id and name of every sweep, the newest first."""
        joins = (
            "JOIN tags k ON k.key = 'sweeproute.kind' AND k.run_uuid = r.run_uuid AND k.value = 'sweep' "
            "JOIN tags s ON s.key = 'sweeproute.sweep' AND s.run_uuid = r.run_uuid"
        )
        conditions = f"AND r.experiment_id IN ({_EXPERIMENTS})"
        trials = _TRIALS.format(joins=joins, conditions=conditions)
        query = f"SELECT s.value, r.name {trials} ORDER BY r.start_time DESC"
        return self._connection.execute(query).fetchall()

    def experiments(self) -> list[str]:
        """The names of the experiments."""
        query = f"SELECT name FROM experiments WHERE experiment_id IN ({_EXPERIMENTS}) ORDER BY name"
        return [row[0] for row in self._connection.execute(query)]

    def _run(self, run_id: str) -> FoundRun:
        of_run = "WHERE run_uuid = ?"
        query = (
            "SELECT e.name, r.artifact_uri FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id "
            "WHERE r.run_uuid = ?"
        )
        experiment, artifact_uri = self._connection.execute(query, [run_id]).fetchone()
        metrics = self._connection.execute(f"SELECT key, value, is_nan FROM latest_metrics {of_run}", [run_id])
        return FoundRun(
            run_id,
            experiment,
            artifact_uri,
            params=dict(self._connection.execute(f"SELECT key, value FROM params {of_run}", [run_id]).fetchall()),
            metrics={key: math.nan if is_nan else value for key, value, is_nan in metrics},
            tags=dict(self._connection.execute(f"SELECT key, value FROM tags {of_run}", [run_id]).fetchall()),
        )


class UnknownSchemaError(Exception):
    """The tables are of another version of MLflow."""


def _scope(question: Question) -> tuple[str, str, dict[str, str | float]]:
    joins, experiments = "", _EXPERIMENTS
    values: dict[str, str | float] = {}
    if question.sweep is not None:
        joins = "JOIN tags w ON w.key = 'sweeproute.sweep' AND w.run_uuid = r.run_uuid AND w.value = :sweep"
        values["sweep"] = question.sweep
    if question.experiment is not None:
        experiments += " AND name = :experiment"
        values["experiment"] = question.experiment
    return joins, f"AND r.experiment_id IN ({experiments})", values


def _parts(listed: str) -> tuple[str, ...]:
    return tuple(sorted(part for part in json.loads(listed) if part is not None))
