"""Tests of finding runs again."""

import json
import math
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from handmade_sweep import HandmadeSweep, fresh_store
from sweeproute import runs_sqlite, sqlite_layout
from sweeproute.journal import Journal
from sweeproute.pointers import NoSuchSweepError
from sweeproute.registry import RegistryError, best, frame, predictions
from sweeproute.runs_api import ApiRuns
from sweeproute.runs_query import Question
from sweeproute.selection import DirectionError
from sweeproute.tracking import sync

REVISION = "UPDATE alembic_version SET version_num = 'ffffffffffff'"


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


def point(state: Path, sweep: HandmadeSweep) -> None:
    (state / "sweeps").mkdir(parents=True, exist_ok=True)
    pointer = {"id": sweep.id, "name": sweep.record["name"], "folder": str(sweep.root), "argv": [], "cwd": "/"}
    pointer |= {"python": "python", "started": sweep.record["started"]}
    (state / "sweeps" / f"{sweep.id}.json").write_text(json.dumps(pointer))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Two sweeps: depths, then learning rates; an attempt that does not count, a failure, odd numbers."""
    root = tmp_path_factory.mktemp("written")
    uri = fresh_store(root)
    depths = HandmadeSweep(root / "depths", "sweep_depths", name="depths", started=1_700_000_000.0)
    depths.run(0, auc=0.70, brier=0.22)
    depths.run(1, auc=0.72, brier=0.21)
    depths.run(2, auc=0.72, brier=0.215)
    depths.change(depths.run(3, auc=0.99), state="FAILED", current=False)
    depths.run(3, 2, auc=0.60, brier=0.23)
    depths.run(4, auc=float("nan"))
    depths.run(5, auc=float("inf"))
    depths.change(depths.run(6, auc=0.98), state="FAILED")
    rates = HandmadeSweep(root / "rates", "sweep_rates", name="rates", started=1_700_001_000.0)
    rates.run(0, auc=0.75, brier=0.25)
    for sweep in (depths, rates):
        sweep.save(state="FINISHED", ended=time.time())
        point(root / "state", sweep)
        status = sync(sweep.root, uri=uri)
        assert status.written == status.total
    return root


@pytest.fixture
def uri(written, tmp_path, state) -> str:
    """A store of this test's own with both sweeps, and the pointers to them."""
    shutil.copytree(written / "state", state)
    shutil.copyfile(written / "mlflow.db", tmp_path / "mlflow.db")
    for pointer in (state / "sweeps").iterdir():
        folder = Path(json.loads(pointer.read_text())["folder"])
        pointer.write_text(pointer.read_text().replace(str(written), str(tmp_path)))
        ours = tmp_path / folder.name / ".sweeproute"
        ours.mkdir(parents=True)
        told = (folder / ".sweeproute" / "tracking.json").read_text()
        (ours / "tracking.json").write_text(told.replace(str(written), str(tmp_path)))
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture(params=["query", "query without indexes", "api"])
def either(request, uri, monkeypatch) -> str:
    """The same store asked in both ways: one whose schema is not known goes to MLflow's API."""
    if request.param == "api":
        monkeypatch.setattr(sqlite_layout, "KNOWN_REVISIONS", frozenset())
    if request.param == "query without indexes":
        monkeypatch.setattr(runs_sqlite, "indexes", lambda connection: frozenset())
    return request.param


def test_the_best_run_is_found_with_the_overrides_that_reproduce_it(uri, either):
    found = best("depths", uri=uri)
    assert (found.job, found.value, found.metrics["brier"]) == (1, 0.72, 0.21)
    assert found.overrides == ("model=xgboost", "model.params.max_depth=4")
    assert (found.sweep, found.platform, found.device) == ("sweep_depths", "local_m4", "cpu")
    assert found.params["model.params.p3"] == "3"
    assert found.artifact_uri.endswith(f"{found.run_id}/artifacts")
    assert ("read-only from" in found.how) == (either != "api")


def test_of_equals_the_earlier_trial_wins(uri, either):
    assert best("depths", uri=uri).job == 1


def test_what_failed_or_was_superseded_or_is_not_finite_never_wins_and_is_counted(uri, either):
    found = best("sweep_depths", uri=uri)
    assert found.not_finite == 2
    assert any("2 runs have a value that is not finite" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("metric", "direction", "job"), [("brier", None, 1), ("auc", "minimize", 3), ("brier", "maximize", 3)]
)
def test_the_direction_follows_from_the_metric_unless_it_is_said(uri, either, metric, direction, job):
    assert best("depths", metric, direction, uri=uri).job == job


def test_last_is_the_newest_sweep_of_this_machine_in_the_store_that_its_runs_went_to(uri, either):
    assert best("last").sweep == "sweep_rates"


def test_without_a_sweep_all_runs_are_asked(uri, either):
    assert best(uri=uri).value == 0.75
    assert best(uri=uri, experiment="sweeproute").value == 0.75


def test_different_data_and_devices_are_said(uri, either, tmp_path):
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        (odd,) = store.execute("SELECT run_uuid FROM latest_metrics WHERE key = 'auc' AND value = 0.75").fetchone()
        store.execute("UPDATE tags SET value = 'cd' WHERE key = 'sweeproute.data_hash' AND run_uuid = ?", [odd])
        change = "UPDATE tags SET value = 'cuda, RTX 4090' WHERE key = 'sweeproute.device_class' AND run_uuid = ?"
        store.execute(change, [odd])
    with pytest.raises(RegistryError, match=r"different data, of other games \(cd and abab.*--where data_hash=cd"):
        best(uri=uri)
    assert best(uri=uri, where={"data_hash": "ab"}).value < 0.75
    found = best(uri=uri, mixed=True)
    assert any("made from different data" in warning for warning in found.warnings)
    assert any("different classes of device (cuda, RTX 4090; cpu)" in warning for warning in found.warnings)
    assert not any("different" in warning for warning in best("depths", uri=uri).warnings)


def test_other_features_of_the_same_games_are_compared_and_said(uri, either, tmp_path):
    ids = list(frame("depths", uri=uri)["run_id"])
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        for run_id in ids:
            store.execute("INSERT INTO tags (key, value, run_uuid) VALUES ('sweeproute.games_hash', 'g', ?)", [run_id])
        change = "UPDATE tags SET value = 'cd' WHERE key = 'sweeproute.data_hash' AND run_uuid = ?"
        store.execute(change, [ids[0]])
    found = best("depths", uri=uri)
    assert any("made from different data; their scores are of the same games" in said for said in found.warnings)
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        change = "UPDATE tags SET value = 'h' WHERE key = 'sweeproute.games_hash' AND run_uuid = ?"
        store.execute(change, [ids[0]])
    with pytest.raises(RegistryError, match="of other games"):
        best("depths", uri=uri)


def test_a_value_is_that_of_a_parameter_or_of_our_tags_and_the_machine_is_no_metric(uri, either, tmp_path):
    ids = list(frame("depths", uri=uri)["run_id"])
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        row = ("system/cpu_utilization_percentage", 99.0, 1, 0, False, ids[1])
        for table in ("metrics", "latest_metrics"):
            columns = "(key, value, timestamp, step, is_nan, run_uuid)"
            store.execute(f"INSERT INTO {table} {columns} VALUES (?, ?, ?, ?, ?, ?)", row)
        store.execute("INSERT INTO tags (key, value, run_uuid) VALUES ('sweeproute.both', 'tag', ?)", [ids[1]])
        store.execute("INSERT INTO params (key, value, run_uuid) VALUES ('both', 'param', ?)", [ids[1]])
        store.execute("INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.note', 'mine', ?)", [ids[1]])
    for value in ("tag", "param"):
        found = best("depths", uri=uri, where={"both": value})
        assert found.run_id == ids[1]
        assert not [name for name in found.metrics if name.startswith("system/")]
    with pytest.raises(RegistryError, match=r"has mlflow\.note=mine"):
        best("depths", uri=uri, where={"mlflow.note": "mine"})


def test_runs_that_were_tested_on_other_seasons_are_not_compared(uri, either, tmp_path):
    ids = list(frame("depths", uri=uri)["run_id"])
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        for place, run_id in enumerate(ids):
            row = ("sweeproute.seasons", "2010-2019" if place else "2018-2019", run_id)
            store.execute("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", row)
    with pytest.raises(RegistryError, match=r"tested on different seasons \(2010-2019 and 2018-2019\).*--mixed"):
        best("depths", uri=uri)
    assert best("depths", uri=uri, where={"seasons": "2018-2019"}).run_id == ids[0]
    assert any("different seasons" in said for said in best("depths", uri=uri, mixed=True).warnings)


def test_what_a_machine_did_is_no_score(uri, either):
    with pytest.raises(RegistryError, match=r"system/gpu_0_power is of the machine.*nearest match first: .*auc"):
        best("depths", metric="system/gpu_0_power", direction="minimize", uri=uri)


def test_a_deleted_run_is_no_candidate(uri, either, tmp_path):
    first = best("depths", uri=uri)
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        store.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", [first.run_id])
    assert best("depths", uri=uri).job == 2


def test_a_schema_that_is_not_known_is_never_guessed_at(uri, tmp_path):
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        store.execute(REVISION)
    with pytest.raises(runs_sqlite.UnknownSchemaError):
        runs_sqlite.SqliteRuns(tmp_path / "mlflow.db")


def test_the_schema_of_the_installed_mlflow_is_known(uri, tmp_path):
    runs_sqlite.SqliteRuns(tmp_path / "mlflow.db")


def test_a_sweep_that_is_not_there_is_answered_with_the_nearest(uri, either):
    with pytest.raises(NoSuchSweepError, match=r"no sweep 'sweep_depth'; the nearest are sweep_depths"):
        best("sweep_depth", uri=uri)


def test_a_sweep_of_another_machine_is_found_in_the_store(uri, either, state):
    for pointer in (state / "sweeps").iterdir():
        pointer.unlink()
    assert best("depths", uri=uri).sweep == "sweep_depths"
    with pytest.raises(NoSuchSweepError, match="No sweep was started here yet"):
        best("last", uri=uri)


def test_a_metric_that_was_not_logged_is_answered_with_those_that_are(uri, either):
    with pytest.raises(RegistryError, match="has a metric 'log_loss'; logged are auc, brier"):
        best("depths", "log_loss", uri=uri)


def test_a_metric_of_which_more_or_less_may_be_better_needs_a_direction(uri):
    with pytest.raises(DirectionError, match="say the direction, maximize or minimize"):
        best("depths", "sharpe", uri=uri)
    with pytest.raises(DirectionError, match="did you mean 'maximize'"):
        best("depths", direction="max", uri=uri)


def test_an_experiment_that_is_not_there_is_answered_with_the_nearest(uri, either):
    with pytest.raises(RegistryError, match=r"no experiment 'sweeproutes' in .*; there are sweeproute, Default"):
        best(uri=uri, experiment="sweeproutes")


def test_a_sweep_in_which_nothing_can_win_says_what_is_there(uri, either, state, tmp_path):
    sweep = HandmadeSweep(tmp_path / "none", "sweep_none", started=1_700_002_000.0)
    sweep.change(sweep.run(0, auc=0.7), state="FAILED")
    Journal.open(sweep.start(1), "running").metrics({"auc": 0.6})
    point(state, sweep)
    with pytest.raises(RegistryError, match=r"No trial of sweep sweep_none .*sweeproute sync sweep_none"):
        best("last", uri=uri)
    sync(sweep.root, uri=uri)
    with pytest.raises(RegistryError, match="can be the best by auc: 1 FAILED, 1 KILLED"):
        best("last", uri=uri)


def test_a_store_that_is_not_there_is_not_made(state, tmp_path):
    with pytest.raises(RegistryError, match=r"no tracking store .* yet; run something first"):
        best(uri=f"sqlite:///{tmp_path / 'absent.db'}")
    assert not (tmp_path / "absent.db").exists()


def test_asking_changes_nothing_and_imports_no_mlflow(uri, tmp_path):
    before = (tmp_path / "mlflow.db").read_bytes()
    code = (
        "import sys; from sweeproute.registry import best; best('last')\n"
        "print(*{'mlflow', 'pandas', 'numpy', 'hydra', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_a_notebook_gets_a_sweep_as_a_table_with_numbers_as_numbers(uri):
    table = frame("depths")
    assert list(table["tags.sweeproute.trial"]) == [str(job) for job in range(7)]
    assert table["params.model.params.p3"].dtype.kind == "i"
    assert table["metrics.auc"].max() == pytest.approx(1.7976931348623157e308)
    assert math.isnan(table["metrics.auc"][4])
    assert set(table["status"]) == {"FINISHED", "FAILED"}
    assert len(frame(None, uri=uri)) == 8


def test_predictions_come_back_as_they_were_written(uri, state, tmp_path):
    table = pd.DataFrame({"game_id": ["2010_01"], "probability": [0.61]})
    sweep = HandmadeSweep(tmp_path / "predicted", "sweep_predicted", started=1_700_003_000.0)
    folder = sweep.start(0)
    with Journal.open(folder, "predicted") as journal:
        table.to_parquet(folder / "predictions.parquet")
        journal.artifact("predictions.parquet")
        journal.metrics({"auc": 0.8})
    sweep.finish(folder, {"auc": 0.8})
    point(state, sweep)
    sync(sweep.root, uri=uri)
    pd.testing.assert_frame_equal(predictions(best("last").run_id), table)
    question = Question("", maximize=True, sweep="sweep_predicted")
    (parent,) = ApiRuns(uri).search(question, ["tags.`sweeproute.kind` = 'sweep'"])
    with pytest.raises(RegistryError, match=r"has no predictions\.parquet"):
        predictions(parent.info.run_id)
