"""Times `best` over many runs in a local SQLite store beside MLflow's own search of the same store."""

import argparse
import json
import random
import sqlite3
import statistics
import tempfile
import time
import uuid
from pathlib import Path

from sweeproute.runs_query import Question
from sweeproute.runs_sqlite import SqliteRuns
from sweeproute.store import absolute, open_store

PARAMS, METRICS, TAGS = 40, 10, 20


def fill(path: Path, experiment_id: str, number: int, seed: int = 0) -> None:
    """Write runs straight into the tables: through the API this would take ten minutes."""
    chance = random.Random(seed)
    runs, params, metrics, latest, tags = [], [], [], [], []
    for job in range(number):
        run_id = uuid.UUID(int=chance.getrandbits(128)).hex
        start = 1_700_000_000_000 + job
        location = f"file:///artifacts/{run_id}/artifacts"
        runs.append((run_id, f"job {job}", "me", "FINISHED", start, start + 1000, "active", location, experiment_id))
        params += [(f"model.params.p{index}", str(chance.random()), run_id) for index in range(PARAMS)]
        names = ["auc", "brier", "log_loss", "ece", "roi", *(f"m{index}" for index in range(METRICS - 5))]
        for name in names:
            value = chance.random()
            metrics.append((name, value, start, run_id, 0, False))
            latest.append((name, value, start, 0, False, run_id))
        known = {
            "sweep": f"sweep_{job // 500}",
            "trial": str(job),
            "current": "true",
            "kind": "trial",
            "device": "cpu",
            "device_class": "cpu, OpenBLAS Haswell, 1 thread, xgboost 3.2.0",
            "data_hash": "ab" * 32,
            "seasons": "2012-2021",
            "overrides": json.dumps(["model=xgboost", f"seed={job}"]),
        }
        known |= {f"t{index}": "x" * 20 for index in range(TAGS - len(known))}
        tags += [(f"sweeproute.{name}", value, run_id) for name, value in known.items()]
    with sqlite3.connect(path) as store:
        store.executemany(
            "INSERT INTO runs (run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri, "
            "experiment_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            runs,
        )
        store.executemany("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", params)
        store.executemany(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)", metrics
        )
        store.executemany(
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)",
            latest,
        )
        store.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", tags)


def timed(repeats: int, work: object) -> tuple[float, object]:
    """Median seconds of some calls, and what the last one gave."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()  # type: ignore[operator]
        spent.append(time.perf_counter() - start)
    return statistics.median(spent), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--alone", action="store_true", help="without MLflow's search: of 50,000 runs it takes minutes")
    parser.add_argument("--repeats", type=int, default=9, help="of our query; MLflow's search runs once")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        store = open_store(absolute(f"sqlite:///{path}"), "benchmark")
        fill(path, store.experiment_id, asked.runs)

        def ask(sweep: str | None = None) -> str:
            # Opening the file is part of the price.
            answer = SqliteRuns(path).best(Question("auc", maximize=True, sweep=sweep))
            assert answer.run is not None
            return answer.run.run_id

        ours, found = timed(asked.repeats, ask)
        one_sweep, _ = timed(asked.repeats, lambda: ask("sweep_3"))
        one_kind, _ = timed(
            asked.repeats,
            lambda: SqliteRuns(path).best(Question("auc", maximize=True, where=(("model.params.p0", "?"),))),
        )
        if not asked.alone:
            theirs, page = timed(
                1,
                lambda: store.client.search_runs(
                    [store.experiment_id],
                    "attributes.status = 'FINISHED' and tags.`sweeproute.current` = 'true'",
                    order_by=["metrics.auc DESC"],
                    max_results=1,
                ),
            )
            assert found == page[0].info.run_id, "the two answers differ"  # type: ignore[index]
    print(f"{asked.runs} runs of {PARAMS} params, {METRICS} metrics, {TAGS} tags in SQLite {sqlite3.sqlite_version}")
    print(f"  best over all runs   {ours * 1e3:8.1f} ms (median of {asked.repeats})")
    print(f"  best of one sweep    {one_sweep * 1e3:8.1f} ms")
    print(f"  best of a kind that no run is of {one_kind * 1e3:8.1f} ms")
    if not asked.alone:
        print(f"  MLflow's search_runs {theirs * 1e3:8.1f} ms, {theirs / ours:.0f} times as long, same answer")


if __name__ == "__main__":
    main()
