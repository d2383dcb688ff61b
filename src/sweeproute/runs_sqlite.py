"""Reads runs from MLflow's own tables in a local SQLite file, without MLflow.

MLflow's search joins without statistics and takes seconds over ten thousand runs; reading its tables in the right
order takes milliseconds, and needs no import. It is asked only of table layouts that are known.
"""

import math
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sweeproute.configuration import RULE_TAGS
from sweeproute.runs_query import (
    DATA_TAG,
    GAMES_TAG,
    SEASONS_TAG,
    SWEEP_TAG,
    TRIAL_TAGS,
    Answer,
    FoundRun,
    Question,
    Trial,
    earliest,
    in_order,
)
from sweeproute.selection import LARGEST
from sweeproute.sqlite_layout import indexes, layout, tag_index

# Seconds to wait for a writer.
_TIMEOUT_S = 30.0

_EXPERIMENTS = "SELECT experiment_id FROM experiments WHERE lifecycle_stage = 'active' AND workspace = 'default'"
# Conditions for run `r`.
_HAS_TAG = "EXISTS (SELECT 1 FROM tags WHERE key = 'sweeproute.{}' AND run_uuid = r.run_uuid AND value = {})"
_IS_CURRENT = _HAS_TAG.format("current", "'true'")
_IS_TRIAL = _HAS_TAG.format("kind", "'trial'")
_IS_SWEEP = _HAS_TAG.format("kind", "'sweep'")
_OF_SWEEP = "r.run_uuid IN (SELECT run_uuid FROM tags{} WHERE key = 'sweeproute.sweep' AND value = :sweep)"
_HAS_VALUE = (
    "(EXISTS (SELECT 1 FROM params WHERE key = :key{0} AND run_uuid = r.run_uuid AND value {1})"
    " OR EXISTS (SELECT 1 FROM tags WHERE key = 'sweeproute.' || :key{0} AND run_uuid = r.run_uuid AND value {1}))"
)
# The condition for metric `m`.
_FINITE = "NOT m.is_nan AND abs(m.value) < :largest"

# Most often the very best one counts, and needs no order of all.
_VERY_BEST = "SELECT {most}(m.value) FROM latest_metrics m WHERE m.key = :metric AND {finite}"
# In the order of their values, of which only as many are joined as it takes to find one that counts: the inner LIMIT
# keeps SQLite from joining all of them first.
_EXTREME = """
SELECT m.value FROM (
    SELECT m.run_uuid, m.value FROM latest_metrics m
    WHERE m.key = :metric AND {finite} ORDER BY m.value {order} LIMIT -1
) m CROSS JOIN runs r ON r.run_uuid = m.run_uuid
WHERE {counts} LIMIT 1
"""
# Of one sweep: its runs first, since they are few.
_EXTREME_OF_SWEEP = """
SELECT {most}(m.value) FROM {metrics} CROSS JOIN runs r ON r.run_uuid = m.run_uuid
WHERE m.key = :metric AND {finite} AND {counts}
"""
_TIES_AND_ODD_ONES = """
SELECT {finite}, r.run_uuid, r.start_time, coalesce(g.value, ''), coalesce(n.value, '')
FROM {metrics} CROSS JOIN runs r ON r.run_uuid = m.run_uuid
LEFT JOIN tags g ON g.key = 'sweeproute.sweep' AND g.run_uuid = r.run_uuid
LEFT JOIN tags n ON n.key = 'sweeproute.trial' AND n.run_uuid = r.run_uuid
WHERE m.key = :metric AND (m.value = :extreme OR NOT ({finite})) AND {counts}
"""
_ANOTHER = """
SELECT t.value FROM {tags} CROSS JOIN runs r ON r.run_uuid = t.run_uuid
WHERE t.key = '{tag}' AND t.value {beyond} :own AND {counts}
    AND EXISTS (SELECT 1 FROM latest_metrics m WHERE m.key = :metric AND m.run_uuid = r.run_uuid AND {finite}){more}
LIMIT 1
"""
# Beside other data: other games, too, as far as they are known.
_OTHER_GAMES = """
    AND NOT EXISTS (SELECT 1 FROM tags g WHERE g.key = :games AND g.run_uuid = r.run_uuid AND g.value = :own_games)
"""
_TRIALS = "SELECT r.run_uuid, r.status, r.start_time FROM runs r WHERE {counts}"
_TAGS_OF = "SELECT run_uuid, key, value FROM tags WHERE key IN ({keys}) AND run_uuid IN ({runs})"
_METRICS_OF = "SELECT run_uuid, key, value, is_nan FROM latest_metrics WHERE key IN ({keys}) AND run_uuid IN ({runs})"
_HISTORY_OF = (
    "SELECT run_uuid, key, step, value, is_nan FROM metrics "
    "WHERE run_uuid IN ({runs}) AND key NOT GLOB 'system/*' ORDER BY step, timestamp"
)
# Runs in one question, well below the most values that any SQLite takes.
_CHUNK = 500
_OWN_TAGS = """
SELECT t.key, t.value FROM tags t
CROSS JOIN runs r ON r.run_uuid = t.run_uuid
WHERE t.key IN ({keys}) AND {counts}
"""


class SqliteRuns:
    """The runs in a local SQLite file; see runs_query.Runs."""

    def __init__(self, path: Path) -> None:
        """Open the file for reading.

        Raises:
            UnknownSchemaError: Its tables are not of a known layout.
            sqlite3.Error: It cannot be read.
        """
        self.how = f"read-only from {path}"
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_TIMEOUT_S)
        # The joins look up rows all over the file: reading them in place takes a third off.
        self._connection.execute("PRAGMA mmap_size = 1073741824")
        if layout(self._connection) is None:
            raise UnknownSchemaError(f"The tables of {path} are of a schema revision that is not known here.")
        self._indexes = indexes(self._connection)

    def best(self, question: Question) -> Answer:
        """Find the best run; of equals the earlier trial."""
        scope, values = self._scope(question)
        counts = f"{scope} AND r.status = 'FINISHED' AND {_IS_CURRENT}"
        values |= {"metric": question.metric, "largest": LARGEST}
        order, most = ("DESC", "max") if question.maximize else ("ASC", "min")
        parts = {"finite": _FINITE, "counts": counts, "order": order, "most": most}
        parts["metrics"] = self._among(question, "latest_metrics m")
        ask = self._connection.execute
        # One transaction, so that all is said of the same moment.
        with self._connection:
            ask("BEGIN")
            for query in (_VERY_BEST, _EXTREME) if question.sweep is None else (_EXTREME_OF_SWEEP,):
                extreme = ask(query.format(**parts), values).fetchone()
                rows = ask(_TIES_AND_ODD_ONES.format(**parts), values | {"extreme": extreme and extreme[0]}).fetchall()
                if ties := [row[1:] for row in rows if row[0]]:
                    break
            else:
                return Answer(None, not_finite=len(rows))
            run = self.run(earliest(ties))

            def other(tag: str, more: str = "") -> str | None:
                own = {"own": run.tags.get(tag, ""), "games": GAMES_TAG, "own_games": run.tags.get(GAMES_TAG)}
                by = "" if question.sweep else self._by(tag)
                tags = self._among(question, f"tags t{by}")
                # What is below and what is above an index finds at once, and "<>" by a walk through all.
                for beyond in ("<", ">") if by else ("<>",):
                    query = _ANOTHER.format(**parts, tags=tags, tag=tag, beyond=beyond, more=more)
                    if found := ask(query, values | own).fetchone():
                        return found[0]
                return None

            device, data = other(run.device_tag), other(DATA_TAG)
            games = data and other(DATA_TAG, _OTHER_GAMES)
            # A run of a time when seasons were not recorded is no other.
            seasons = other(SEASONS_TAG) if SEASONS_TAG in run.tags else None
        return Answer(run, len(rows) - len(ties), device, data, games, seasons)

    def trials(self, question: Question, metrics: Sequence[str]) -> list[Trial]:
        """All trials of the question's sweep and experiment, in their order, whatever became of them."""
        scope, values = self._scope(question)
        ask = self._connection.execute
        with self._connection:
            ask("BEGIN")
            runs = ask(_TRIALS.format(counts=f"{scope} AND {_IS_TRIAL}"), values).fetchall()
            tags: dict[str, dict[str, str]] = {row[0]: {} for row in runs}
            scores: dict[str, dict[str, float]] = {row[0]: {} for row in runs}
            ids = list(tags)
            for some in (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)):
                for run_id, key, value in ask(_TAGS_OF.format(**_marks(TRIAL_TAGS, some)), [*TRIAL_TAGS, *some]):
                    tags[run_id][key] = value
                query = _METRICS_OF.format(**_marks(metrics, some))
                for run_id, key, value, is_nan in ask(query, [*metrics, *some]):
                    scores[run_id][key] = math.nan if is_nan else value
        found = []
        for run_id, status, start in runs:
            finished = status == "FINISHED" and tags[run_id].get("sweeproute.current") == "true"
            found.append((start, Trial(run_id, finished, tags[run_id], scores[run_id])))
        return in_order(found)

    def histories(self, run_ids: Sequence[str]) -> dict[str, dict[str, dict[int, float]]]:
        """Every value of every metric of some runs: by run, name and step; of one step the last that was written."""
        found: dict[str, dict[str, dict[int, float]]] = {run_id: {} for run_id in run_ids}
        ids = list(found)
        for some in (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)):
            query = _HISTORY_OF.format(runs=", ".join("?" * len(some)))
            for run_id, name, step, value, is_nan in self._connection.execute(query, some):
                found[run_id].setdefault(name, {})[step] = math.nan if is_nan else value
        return found

    def sweep_tags(self, sweep: str) -> dict[str, str]:
        """What the sweep's own run says of what the sweep chooses by."""
        scope, values = self._scope(Question(metric="", maximize=True, sweep=sweep))
        query = _OWN_TAGS.format(keys=", ".join(f"'{tag}'" for tag in RULE_TAGS), counts=scope)
        return dict(self._connection.execute(query, values).fetchall())

    def metric_names(self, question: Question) -> list[str]:
        """The metrics that were logged within the question's sweep and experiment."""
        scope, values = self._scope(question)
        query = "SELECT DISTINCT m.key FROM runs r JOIN latest_metrics m ON m.run_uuid = r.run_uuid"
        own = f"{query} WHERE {scope} AND m.key NOT GLOB 'system/*' ORDER BY m.key"
        return [row[0] for row in self._connection.execute(own, values)]

    def states(self, question: Question) -> dict[str, int]:
        """How many trials of the question's sweep and experiment are in which state."""
        scope, values = self._scope(question)
        trials = f"{scope} AND {_IS_TRIAL}"
        query = f"SELECT r.status, count(*) FROM runs r WHERE {trials} GROUP BY r.status"
        return dict(self._connection.execute(query, values).fetchall())

    def sweeps(self) -> list[tuple[str, str]]:
        """Id and name of every sweep, the newest first."""
        scope, values = self._scope(Question(metric="", maximize=True))
        query = (
            "SELECT s.value, r.name FROM runs r "
            "JOIN tags s ON s.key = 'sweeproute.sweep' AND s.run_uuid = r.run_uuid "
            f"WHERE {scope} AND {_IS_SWEEP} ORDER BY r.start_time DESC"
        )
        return self._connection.execute(query, values).fetchall()

    def experiments(self) -> list[str]:
        """The names of the experiments."""
        query = f"SELECT name FROM experiments WHERE experiment_id IN ({_EXPERIMENTS}) ORDER BY name"
        return [row[0] for row in self._connection.execute(query)]

    def run(self, run_id: str) -> FoundRun:
        """One run with all that it holds."""
        of_run = "WHERE run_uuid = ?"
        query = (
            "SELECT e.name, r.artifact_uri FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id "
            "WHERE r.run_uuid = ?"
        )
        experiment, artifact_uri = self._connection.execute(query, [run_id]).fetchone()
        own = "SELECT key, value, is_nan FROM latest_metrics WHERE run_uuid = ? AND key NOT GLOB 'system/*'"
        metrics = self._connection.execute(own, [run_id])
        return FoundRun(
            run_id,
            experiment,
            artifact_uri,
            params=dict(self._connection.execute(f"SELECT key, value FROM params {of_run}", [run_id]).fetchall()),
            metrics={key: math.nan if is_nan else value for key, value, is_nan in metrics},
            tags=dict(self._connection.execute(f"SELECT key, value FROM tags {of_run}", [run_id]).fetchall()),
        )

    def _scope(self, question: Question) -> tuple[str, dict[str, str | float | None]]:
        """The condition for runs `r` of the question's sweep and experiment, and the values that it names."""
        conditions, experiments = ["r.lifecycle_stage = 'active'"], _EXPERIMENTS
        values: dict[str, str | float | None] = {}
        if question.sweep is not None:
            # First, since it rules out the most.
            conditions.insert(0, _OF_SWEEP.format(self._by(SWEEP_TAG)))
            values["sweep"] = question.sweep
        for number, (key, wanted) in enumerate(question.where):
            beginning = key.endswith("_hash")
            conditions.append(_HAS_VALUE.format(number, f"GLOB :value{number}" if beginning else f"= :value{number}"))
            values |= {f"key{number}": key, f"value{number}": f"{wanted}*" if beginning else wanted}
        if question.experiment is not None:
            experiments += " AND name = :experiment"
            values["experiment"] = question.experiment
        return " AND ".join([*conditions, f"r.experiment_id IN ({experiments})"]), values

    def _by(self, tag: str) -> str:
        """The words that have a table of tags read by the index of this tag's values, where the file has it.

        SQLite itself, which knows of no statistics here, takes the tag's name to rule out more than its value.
        """
        return f" INDEXED BY {name}" if (name := tag_index(tag)) in self._indexes else ""

    def _among(self, question: Question, rows: str) -> str:
        """Where to read from: all rows of a table, or by way of a sweep's own runs, since they are few."""
        if question.sweep is None:
            return rows
        return (
            f"tags s{self._by(SWEEP_TAG)} CROSS JOIN {rows} "
            f"ON s.key = '{SWEEP_TAG}' AND s.value = :sweep AND {rows.split()[1]}.run_uuid = s.run_uuid"
        )


class UnknownSchemaError(Exception):
    """The tables are of another version of MLflow."""


def _marks(keys: Sequence[str], runs: Sequence[str]) -> dict[str, str]:
    """The places of values in a question."""
    return {"keys": ", ".join("?" * len(keys)), "runs": ", ".join("?" * len(runs))}
