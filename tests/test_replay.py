"""Tests of how journals are written to the tracking store."""

import json
import math
from contextlib import suppress

import pytest
from mlflow.entities import ViewType

from handmade_sweep import HandmadeSweep, fresh_store, write_trial
from sweeproute.journal import Journal
from sweeproute.replay import Phase, Replay
from sweeproute.store import Store, open_store
from sweeproute.sweep_folder import SweepFolder, sweep_record

TRIALS = "tags.`sweeproute.kind` = 'trial'"


@pytest.fixture
def store(tmp_path) -> Store:
    return open_store(fresh_store(tmp_path), "test")


@pytest.fixture
def sweep(tmp_path) -> HandmadeSweep:
    return HandmadeSweep(tmp_path / "sweep", name="depths", note="which depth")


def replay(store: Store, root, phase: Phase = Phase.OVER, **settings) -> Replay:
    """One writer's life, from its start to where everything that is there is written."""
    writer = Replay(store, root, sweep_record(root), **settings)
    writer.attach()
    jobs: dict = {}
    for attempt in SweepFolder(root).attempts():
        jobs.setdefault(attempt.job, []).append(attempt)
    for attempts in jobs.values():
        writer.write(attempts, phase)
    return writer


def runs(store: Store, condition: str = TRIALS) -> list:
    found = store.client.search_runs([store.experiment_id], condition, ViewType.ALL, 1000)
    return sorted(found, key=lambda run: [run.data.tags.get(f"sweeproute.{name}", "") for name in ("trial", "attempt")])


def content(store: Store) -> list:
    """All that the store holds of the trials, but for run ids."""
    found = []
    for run in runs(store):
        history = {
            name: sorted((m.step, m.timestamp, m.value) for m in store.client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        }
        tags = {name: value for name, value in run.data.tags.items() if name != "mlflow.parentRunId"}
        files = sorted(artifact.path for artifact in store.client.list_artifacts(run.info.run_id))
        inputs = [i.dataset.digest for i in run.inputs.dataset_inputs]
        found.append((run.info.status, run.info.end_time, run.data.params, history, tags, files, inputs))
    return found


def test_a_trial_becomes_one_run_below_its_sweep_with_all_that_was_journalled(store, sweep):
    folder = sweep.run(0, auc=0.7, brier=0.21)
    replay(store, sweep.root).finish("FINISHED", 1_700_000_100_000)
    (parent,) = store.client.search_runs([store.experiment_id], "tags.`sweeproute.kind` = 'sweep'")
    assert parent.info.run_name == "depths"
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["mlflow.note.content"] == "which depth"
    assert parent.data.tags["sweeproute.command"] == "train.py -m model=xgboost"
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "xgboost 0"
    assert run.data.metrics == {"auc": 0.7, "brier": 0.21}
    history = store.client.get_metric_history(run.info.run_id, "auc")
    assert [(m.step, m.value) for m in history] == [(2010, 0.6), (2011, 0.6), (2012, 0.7)]
    assert len(run.data.params) == 10
    tags = run.data.tags
    assert tags["mlflow.parentRunId"] == parent.info.run_id
    assert tags["mlflow.source.git.commit"] == "9" * 40
    assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type"} <= tags.keys()
    expected = {"sweep": "sweep_a", "trial": "0", "attempt": "1", "platform": "local_m4", "queue_s": "1.0"}
    expected |= {"run_s": "2.0", "threads": "1", "device": "cpu", "current": "true", "seed": "42", "reason": "default"}
    assert {name: tags[f"sweeproute.{name}"] for name in expected} == expected
    assert json.loads(tags["sweeproute.overrides"]) == ["model=xgboost", "model.params.max_depth=3"]
    assert tags["sweeproute.data_hash"] == "ab" * 32
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("league", "ab" * 16)
    assert [artifact.path for artifact in store.client.list_artifacts(run.info.run_id)] == ["predictions.parquet"]
    assert (folder / "predictions.parquet").exists()


def test_a_sweeps_description_tells_its_result_unless_a_person_wrote_another(store, sweep):
    def description() -> str:
        (parent,) = runs(store, "tags.`sweeproute.kind` = 'sweep'")
        return parent.data.tags["mlflow.note.content"]

    sweep.run(0, auc=0.7)
    writer = replay(store, sweep.root)
    assert description() == "which depth"
    writer.finish("KILLED", None, "1 job")
    assert description() == "which depth\n\n1 job"
    writer.finish("FINISHED", None, "2 jobs")
    assert description() == "which depth\n\n2 jobs"
    (parent,) = runs(store, "tags.`sweeproute.kind` = 'sweep'")
    store.client.set_tag(parent.info.run_id, "mlflow.note.content", "which depth, and why")
    replay(store, sweep.root).finish("FINISHED", None, "3 jobs")
    assert description() == "which depth, and why"


def test_metrics_are_there_while_the_job_runs(store, sweep):
    folder = sweep.start(0)
    journal = Journal.open(folder, "live")
    writer = Replay(store, sweep.root, sweep.record)
    writer.attach()
    attempts = SweepFolder(sweep.root).attempts()
    for season, auc in ((2010, 0.6), (2011, 0.65)):
        journal.metrics({"auc": auc}, step=season)
        assert not writer.write(attempts, Phase.FOLLOWING)
        (run,) = runs(store)
        assert run.info.status == "RUNNING"
        assert run.data.metrics == {"auc": auc}
        assert "sweeproute.current" not in run.data.tags
    journal.end()
    assert not writer.write(attempts, Phase.FOLLOWING), "the launcher has not recorded the result yet"
    sweep.finish(folder, {"auc": 0.65})
    assert writer.write(attempts, Phase.FOLLOWING)
    (run,) = runs(store)
    assert (run.info.status, run.data.tags["sweeproute.current"]) == ("FINISHED", "true")


class DyingClient:
    """A client whose process dies right after a call: the store has it, the writer never hears of it."""

    def __init__(self, client, calls: int) -> None:
        self._client = client
        self._left = calls

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*args, **kwargs):
            result = method(*args, **kwargs)
            self._left -= 1
            if self._left < 0:
                raise ConnectionAbortedError("died")
            return result

        return call


def test_a_writer_that_dies_anywhere_is_gone_on_with_and_nothing_is_there_twice(tmp_path):
    sweep = HandmadeSweep(tmp_path / "sweep")
    sweep.run(0, auc=0.7)
    sweep.change(sweep.run(1, auc=0.6), state="FAILED", current=False)
    sweep.run(1, 2, auc=0.65)
    (tmp_path / "whole").mkdir()
    whole = open_store(fresh_store(tmp_path / "whole"), "test")
    replay(whole, sweep.root)
    expected = content(whole)
    died = 0
    while True:
        (tmp_path / str(died)).mkdir()
        store = open_store(fresh_store(tmp_path / str(died)), "test")
        dying = Store(DyingClient(store.client, died), store.uri, store.experiment, store.experiment_id)
        try:
            replay(dying, sweep.root)
        except ConnectionAbortedError:
            died += 1
        else:
            break
        replay(store, sweep.root)
        assert content(store) == expected, f"killed after call {died}"
    assert died >= 8


def test_replaying_again_changes_nothing(store, sweep):
    sweep.run(0, auc=0.7)
    replay(store, sweep.root)
    before = content(store)
    replay(store, sweep.root)
    assert content(store) == before


def test_a_run_that_a_person_deleted_is_not_made_again(store, sweep):
    sweep.run(0, auc=0.7)
    replay(store, sweep.root)
    (run,) = runs(store)
    store.client.delete_run(run.info.run_id)
    replay(store, sweep.root)
    (run,) = runs(store)
    assert run.info.lifecycle_stage == "deleted"


def test_a_run_that_is_deleted_while_it_is_followed_stops_no_other(store, sweep):
    folder = sweep.start(0)
    journal = Journal.open(folder, "live")
    writer = replay(store, sweep.root, Phase.FOLLOWING)
    store.client.delete_run(runs(store)[0].info.run_id)
    journal.metrics({"auc": 0.6})
    assert writer.write(SweepFolder(sweep.root).attempts(), Phase.FOLLOWING)


def test_of_several_attempts_only_the_one_that_counts_is_current(store, sweep):
    first = sweep.run(0, auc=0.6)
    replay(store, sweep.root)
    assert [run.data.tags["sweeproute.current"] for run in runs(store)] == ["true"]
    sweep.change(first, current=False)
    sweep.run(0, 2, auc=0.7)
    replay(store, sweep.root)
    older, newer = runs(store)
    assert (older.info.status, older.data.tags["sweeproute.current"]) == ("KILLED", "false")
    assert older.data.tags["sweeproute.superseded"] == "true"
    assert (newer.info.status, newer.data.tags["sweeproute.current"]) == ("FINISHED", "true")
    assert "sweeproute.superseded" not in newer.data.tags


def test_never_are_two_attempts_current_even_if_the_writer_dies_between(store, sweep):
    first = sweep.run(0, auc=0.6)
    replay(store, sweep.root)
    sweep.change(first, current=False)
    sweep.run(0, 2, auc=0.7)
    for calls in range(12):
        dying = Store(DyingClient(store.client, calls), store.uri, store.experiment, store.experiment_id)
        with suppress(ConnectionAbortedError):
            replay(dying, sweep.root)
        assert sum(run.data.tags.get("sweeproute.current") == "true" for run in runs(store)) <= 1


def test_a_job_without_a_journal_becomes_a_run_with_its_state_and_what_went_wrong(store, sweep):
    error = {"class": "precheck", "type": "ImportError", "message": "no module\nfoo", "traceback": "..."}
    sweep.change(sweep.start(0), state="FAILED", error=error, current=True, ended_at=1_700_000_005.0)
    sweep.finish(sweep.start(1), {"score": 1.5, "status": "fine"})
    replay(store, sweep.root)
    failed, foreign = runs(store)
    assert failed.info.status == "FAILED"
    assert failed.info.end_time == 1_700_000_005_000
    assert failed.data.tags["sweeproute.error"] == "ImportError: no module foo"
    assert failed.data.params == {"model": "xgboost", "model.params.max_depth": "3"}
    assert foreign.info.status == "FINISHED"
    assert foreign.data.metrics == {"score": 1.5}


@pytest.mark.parametrize(("state", "status"), [("KILLED", "KILLED"), ("FAILED", "FAILED"), ("LOST", "FAILED")])
def test_a_journal_that_was_cut_off_ends_as_the_launcher_says(store, sweep, state, status):
    folder = sweep.start(0)
    Journal.open(folder, "cut").metrics({"auc": 0.6}, step=2010)
    sweep.change(folder, state=state, ended_at=1_700_000_009.0)
    replay(store, sweep.root, Phase.LEAVING)
    (run,) = runs(store)
    assert (run.info.status, run.data.metrics) == (status, {"auc": 0.6})


def test_a_pruned_trial_is_a_run_that_did_not_finish_and_says_why(store, sweep):
    told = Journal.open(sweep.start(0), "told")
    told.metrics({"auc": 0.5}, step=2010)
    told.metrics({"auc": 0.5, "brier": 0.3}, step=2011)
    told.tags({"sweeproute.pruned": "below the median"})
    told.end("PRUNED")
    pruned = {"state": "PRUNED", "current": True, "pruned": "below the median", "ended_at": 1_700_000_009.0}
    sweep.change(told.folder, **pruned, value={"status": "pruned", "auc": 0.5, "brier": 0.3})
    # It did not listen, so its process was ended: what it had reported stands in the launcher's record alone.
    deaf = Journal.open(sweep.start(1), "deaf")
    deaf.metrics({"auc": 0.4}, step=2010)
    sweep.change(deaf.folder, **pruned, value={"status": "pruned", "auc": 0.45, "brier": 0.3})
    before = [content(store) for _ in range(2) if replay(store, sweep.root, Phase.LEAVING)]
    assert before[0] == before[1]
    for run, auc in zip(runs(store), (0.5, 0.45), strict=True):
        assert (run.info.status, run.info.end_time) == ("KILLED", 1_700_000_009_000)
        assert run.data.metrics == {"auc": auc, "brier": 0.3}
        tags = {name: run.data.tags[f"sweeproute.{name}"] for name in ("state", "pruned", "current")}
        assert tags == {"state": "PRUNED", "pruned": "below the median", "current": "true"}
        assert "sweeproute.error" not in run.data.tags


def test_a_pruned_trial_that_another_launcher_ran_says_so_too(store, tmp_path):
    with Journal.open(tmp_path / "run", "alone") as journal:
        journal.metrics({"auc": 0.5}, step=2010)
        journal.end("PRUNED")
    replay(store, tmp_path / "run")
    (run,) = runs(store)
    assert (run.info.status, run.data.tags["sweeproute.state"]) == ("KILLED", "PRUNED")


def test_a_run_alone_has_no_parent(store, tmp_path):
    write_trial(tmp_path / "run", auc=0.7)
    replay(store, tmp_path / "run")
    (run,) = runs(store)
    assert "mlflow.parentRunId" not in run.data.tags
    assert run.data.tags["sweeproute.current"] == "true"


def test_the_run_that_a_project_made_is_the_run_alone_or_the_parent_of_the_sweep(store, sweep, tmp_path):
    alone, parent = (store.client.create_run(store.experiment_id).info.run_id for _ in range(2))
    store.client.log_param(alone, "model.params.p0", "from the command line")
    write_trial(tmp_path / "run", auc=0.7)
    for _ in range(2):
        replay(store, tmp_path / "run", parent_run=alone)
    (run,) = runs(store)
    assert run.info.run_id == alone
    assert run.data.params["model.params.p0"] == "from the command line"
    assert run.data.metrics["auc"] == 0.7
    sweep.run(0, auc=0.6)
    for _ in range(2):
        replay(store, sweep.root, parent_run=parent)
    child = runs(store, f"{TRIALS} and tags.`sweeproute.sweep` = 'sweep_a'")[0]
    assert child.data.tags["mlflow.parentRunId"] == parent
    assert store.client.get_run(parent).data.tags["sweeproute.kind"] == "sweep"


def test_more_than_one_request_holds_is_split_and_what_is_too_long_is_cut(store, tmp_path):
    with Journal.open(tmp_path / "run", "large") as journal:
        journal.params({f"p{number}": "x" * 3000 for number in range(250)} | {"long": "y" * 9000, "odd[0]": 1})
        for step in range(250):
            journal.metrics({f"m{number}": step for number in range(10)}, step=step)
        journal.tags({f"t{number}": "z" * 9000 for number in range(150)})
    replay(store, tmp_path / "run")
    (run,) = runs(store)
    assert len(run.data.params) == 252
    assert len(run.data.params["long"]) == 6000
    assert run.data.params["long"].endswith("(cut: 9000 characters)")
    assert run.data.params["odd_0_"] == "1"
    assert len(store.client.get_metric_history(run.info.run_id, "m0")) == 250
    assert len(run.data.tags["t149"]) == 8000


def test_numbers_that_are_not_finite_reach_the_store(store, tmp_path):
    with Journal.open(tmp_path / "run", "odd") as journal:
        journal.metrics({"roi": float("nan"), "log_loss": float("inf")})
    replay(store, tmp_path / "run")
    (run,) = runs(store)
    assert math.isnan(run.data.metrics["roi"])
    assert run.data.metrics["log_loss"] > 1e308


def test_no_password_reaches_the_store(store, tmp_path):
    with Journal.open(tmp_path / "run", "secret", {"t": "http://me:secret@host/x"}) as journal:
        journal.params({"tracking.uri": "postgresql://me:secret@host/db"})
    replay(store, tmp_path / "run")
    (run,) = runs(store)
    assert run.data.params["tracking.uri"] == "postgresql://***@host/db"
    assert run.data.tags["t"] == "http://***@host/x"


def test_artifacts_that_are_missing_or_lead_elsewhere_cost_the_run_nothing_else(store, tmp_path):
    (tmp_path / "outside.txt").write_text("x")
    with Journal.open(tmp_path / "run", "odd") as journal:
        journal.artifact("missing.txt")
        journal._append({"verb": "log_artifact", "path": "../outside.txt", "to": ""})
        (tmp_path / "run" / "plots").mkdir()
        (tmp_path / "run" / "plots" / "a.pdf").write_text("x")
        journal.artifact("plots")
    replay(store, tmp_path / "run")
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert [artifact.path for artifact in store.client.list_artifacts(run.info.run_id)] == ["plots"]


@pytest.mark.parametrize("models", ["all", "none"])
def test_models_are_kept_as_asked(store, sweep, models):
    sweep.run(0, auc=0.7)
    replay(store, sweep.root, models=models)
    files = {artifact.path for artifact in store.client.list_artifacts(runs(store)[0].info.run_id)}
    assert ("model" in files) == (models == "all")


def write_calibrated(folder, method: str, brier: float) -> Journal:
    with Journal.open(folder / "calibrated" / method, f"xgboost {method}", {"sweeproute.kind": "calibration"}) as below:
        below.params({"calibration": method})
        below.metrics({"brier": brier}, step=2012)
        (below.folder / "predictions.parquet").write_bytes(b"PAR1" + method.encode())
        below.artifact("predictions.parquet")
    return below


def calibrated(sweep: HandmadeSweep, job: int = 0, attempt: int = 1, **record):
    """A job with a run below its own."""
    folder = sweep.start(job, attempt, **record)
    with Journal.open(folder, f"xgboost {job}") as journal:
        journal.metrics({"brier": 0.22}, step=2012)
        journal.nested(write_calibrated(folder, "platt", 0.21).folder)
    return folder


BELOW = "tags.`sweeproute.kind` = 'calibration'"


def test_a_run_below_a_trials_own_has_its_facts_and_is_no_trial(store, sweep):
    folder = calibrated(sweep)
    sweep.finish(folder, {"brier": 0.22})
    for _ in range(2):
        replay(store, sweep.root)
    (trial,), (below,) = runs(store), runs(store, BELOW)
    assert below.data.tags["mlflow.parentRunId"] == trial.info.run_id
    assert below.info.run_name == "xgboost platt"
    assert below.data.metrics == {"brier": 0.21}
    assert below.data.params == {"calibration": "platt"}
    assert below.info.status == "FINISHED"
    assert below.data.tags["sweeproute.platform"] == "local_m4"
    assert below.data.tags["sweeproute.sweep"] == sweep.id
    assert "sweeproute.current" not in below.data.tags
    assert [one.path for one in store.client.list_artifacts(below.info.run_id)] == ["predictions.parquet"]


def test_the_runs_below_one_that_is_superseded_are_killed_with_it(store, sweep):
    calibrated(sweep, state="FINISHED")
    sweep.finish(calibrated(sweep, attempt=2), {"brier": 0.22})
    replay(store, sweep.root)
    by_attempt = {run.data.tags["sweeproute.attempt"]: run.info.status for run in runs(store, BELOW)}
    assert by_attempt == {"1": "KILLED", "2": "FINISHED"}


def test_a_run_below_that_comes_after_its_trials_journal_is_waited_for(store, sweep):
    folder = sweep.start(0)
    with Journal.open(folder, "xgboost") as journal:
        journal.nested(folder / "calibrated" / "platt")
    sweep.finish(folder, {"brier": 0.22})
    writer = Replay(store, sweep.root, sweep_record(sweep.root))
    writer.attach()
    attempts = SweepFolder(sweep.root).attempts()
    assert not writer.write(attempts, Phase.FOLLOWING)
    write_calibrated(folder, "platt", 0.21)
    assert writer.write(attempts, Phase.FOLLOWING)
    assert [run.data.metrics for run in runs(store, BELOW)] == [{"brier": 0.21}]
    writer.write(attempts, Phase.OVER)
    assert len(runs(store, BELOW)) == 1


def test_a_run_alone_has_its_runs_below_it_once(store, tmp_path):
    folder = tmp_path / "alone"
    with Journal.open(folder, "glm") as journal:
        journal.nested(write_calibrated(folder, "platt", 0.21).folder)
    for _ in range(2):
        replay(store, folder)
    (trial,), (below,) = runs(store), runs(store, BELOW)
    assert below.data.tags["mlflow.parentRunId"] == trial.info.run_id
