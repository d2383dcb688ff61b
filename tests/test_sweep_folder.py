"""Tests of reading a sweep's folder."""

import json
import math

import pytest

from handmade_sweep import HandmadeSweep, write_trial
from sweeproute.selection import rule
from sweeproute.sweep_folder import SweepFolder, choose, error_of, returned_metrics


@pytest.fixture
def sweep(tmp_path) -> HandmadeSweep:
    return HandmadeSweep(tmp_path / "sweep")


def test_attempts_are_read_as_they_are_listed_and_a_torn_line_waits(sweep):
    folder = SweepFolder(sweep.root)
    assert folder.attempts() == []
    sweep.start(0)
    listing = sweep.root / ".sweeproute" / "jobs.jsonl"
    with listing.open("a") as file:
        file.write('{"job": 1, "attempt": 1, "fol')
    assert [attempt.job for attempt in folder.attempts()] == [0]
    with listing.open("a") as file:
        file.write('der": "deep/er/1"}\n')
    assert [attempt.folder for attempt in folder.attempts()] == [sweep.root / "0", sweep.root / "deep/er/1"]


def test_a_folder_with_a_journal_of_its_own_is_one_run(tmp_path):
    write_trial(tmp_path, auc=0.7)
    folder = SweepFolder(tmp_path)
    (attempt,) = folder.attempts()
    assert (attempt.job, attempt.folder) == (None, tmp_path)
    assert not folder.is_sweep()


def test_jobs_of_another_launcher_have_the_numbers_that_hydra_gave_them(tmp_path):
    for number, name in enumerate(("x=2", "x=1")):
        write_trial(tmp_path / name, auc=0.7)
        (tmp_path / name / ".hydra").mkdir()
        text = f"hydra:\n  job:\n    name: app\n    id: '{number}'\n    num: {number}\n"
        (tmp_path / name / ".hydra" / "hydra.yaml").write_text(text)
    write_trial(tmp_path / "nested" / "2", auc=0.7)
    folder = SweepFolder(tmp_path)
    assert {attempt.folder.name: attempt.job for attempt in folder.attempts()} == {"x=2": 0, "x=1": 1, "2": 2}
    assert folder.is_sweep()


def test_what_became_of_a_job_is_what_its_current_attempt_says(sweep):
    sweep.change(sweep.run(0, auc=0.9), state="FAILED", current=False)
    sweep.run(0, 2, auc=0.6)
    sweep.start(1)
    done, running = SweepFolder(sweep.root).outcomes()
    assert (done.attempt.number, done.state, done.metrics) == (2, "FINISHED", {"auc": 0.6})
    assert done.overrides == ("model=xgboost", "model.params.max_depth=3")
    assert running.state == "RUNNING"


def test_a_value_that_is_no_mapping_is_helped_out_by_the_journal(sweep):
    folder = sweep.run(0, auc=0.7)
    sweep.change(folder, value=0.7)
    (outcome,) = SweepFolder(sweep.root).outcomes()
    assert outcome.metrics == {"auc": 0.7, "brier": 0.22, "value": 0.7}


def test_the_best_is_finished_finite_and_the_earlier_of_equals(sweep):
    for job, auc in enumerate((0.6, 0.7, 0.7, math.nan, math.inf)):
        sweep.run(job, auc=auc)
    sweep.change(sweep.run(5, auc=0.9), state="FAILED")
    outcomes = SweepFolder(sweep.root).outcomes()
    choice = choose(outcomes, rule(None, "auc"))
    assert ([one.attempt.job for one in choice.winner.repeats], choice.not_finite) == ([1], 2)
    assert choose(outcomes, rule({"metric": "auc", "direction": "minimize"})).winner.repeats[0].attempt.job == 0
    none = choose(outcomes, rule(None, "roi"))
    assert (none.winner, none.not_finite) == (None, 0)


def test_a_pruned_job_never_wins(sweep):
    sweep.run(0, auc=0.6)
    sweep.change(sweep.run(1, auc=0.9), state="PRUNED")
    assert choose(SweepFolder(sweep.root).outcomes(), rule(None)).winner.repeats[0].attempt.job == 0


def test_the_configuration_with_the_best_mean_wins_over_the_luckiest_repeat(sweep):
    repeats = {("x=1", 0): 0.9, ("x=1", 1): 0.5, ("x=2", 0): 0.75, ("x=2", 1): 0.76, ("x=3", 0): 0.99}
    for job, ((value, seed), auc) in enumerate(repeats.items()):
        sweep.finish(sweep.start(job, overrides=[f"+seed={seed}", value]), {"auc": auc})
    choice = choose(SweepFolder(sweep.root).outcomes(), rule({"repeats": ["seed"]}))
    assert [one.attempt.job for one in choice.winner.repeats] == [2, 3]
    assert choice.winner.estimates["auc"].mean == pytest.approx(0.755)
    assert (choice.compared, choice.repeats, choice.incomplete) == (2, 2, False)


def test_numbers_are_told_from_what_else_a_task_returns():
    value = {"auc": 0.7, "n": 3, "status": "pruned", "flag": True, "roi": "NaN", "none": None}
    found = returned_metrics({"value": value})
    assert found.pop("roi") != 0
    assert found == {"auc": 0.7, "n": 3.0}
    assert returned_metrics({"value": 1.5}) == {"value": 1.5}
    assert returned_metrics({"value": [1, "a", 2]}) == {"value.0": 1.0, "value.2": 2.0}
    assert returned_metrics(None) == returned_metrics({"value": "pruned"}) == {}


def test_an_error_is_told_in_one_line():
    assert error_of({"error": {"class": "killed", "type": "", "message": "by\nsignal 9"}}) == "killed: by signal 9"
    assert error_of({"error": None}) is None


def test_a_record_that_is_half_written_is_none(sweep):
    folder = sweep.start(0)
    (folder / "launch.json").write_text(json.dumps({"state": "FINISHED"})[:-3])
    (outcome,) = SweepFolder(sweep.root).outcomes()
    assert outcome.state == "RUNNING"
