"""Tests of how the trials of a sweep are read for its plots."""

import doctest
import json

import pytest

from handmade_sweep import HandmadeSweep, write_trial
from plotted_sweep import finished, plotted, reported
from sweeproute import plot_trials
from sweeproute.plot_trials import PlotError, read
from sweeproute.selection import DirectionError


@pytest.fixture
def sweep(tmp_path) -> HandmadeSweep:
    return HandmadeSweep(tmp_path / "sweep")


def test_what_varies_is_read_as_numbers_where_all_are_numbers(sweep):
    for job, (rate, depth, booster, share) in enumerate(
        [("1e-3", "3", "dart", "0.5"), ("0.2", "null", "gbtree", "1"), ("0.01", "10", "dart", "0.75")]
    ):
        told = {"p.rate": rate, "+p.depth": depth, "p.booster": booster, "p.share": share, "p.same": "1"}
        finished(sweep, job, "model=xgboost", *(f"{key}={text}" for key, text in told.items()), auc=0.6)
    trials = read(sweep.root)
    rate, depth, booster, share = trials.parameters
    assert (rate.key, rate.label, rate.choices, rate.log, rate.whole) == ("p.rate", "rate", None, True, False)
    # Numbers by their size, then words.
    assert (depth.key, depth.choices) == ("p.depth", ("3", "10", "null"))
    assert booster.choices == ("dart", "gbtree")
    assert (share.choices, share.log) == (None, False)
    assert trials.trials[1].params == {"rate": 0.2, "depth": "null", "booster": "gbtree", "share": 1.0}


def test_two_parameters_of_one_name_are_told_apart(sweep):
    for job in (1, 2):
        finished(sweep, job, f"a.x.size={job}", f"b.x.size={job}", f"b.x.rate={job}", auc=0.6)
    assert [one.label for one in read(sweep.root).parameters] == ["a.x.size", "b.x.size", "rate"]


def test_a_text_that_is_another_in_each_of_many_trials_is_no_parameter(sweep):
    for job in range(21):
        finished(sweep, job, f"x={job}", f"name=run_{job}", auc=0.6)
    assert [one.label for one in read(sweep.root).parameters] == ["x"]


def test_repeats_are_one_trial_and_one_that_lacks_some_cannot_be_the_best(sweep):
    sweep.save(repeats=["seed"])
    for job, (x, seed, auc) in enumerate([(1, 0, 0.6), (2, 0, 0.9), (1, 1, 0.7), (2, 1, 0.8), (3, 0, 0.95)]):
        reported(finished(sweep, job, f"x={x}", f"seed={seed}", auc=auc), auc - 0.1)
    sweep.change(sweep.root / "3", state="FAILED")
    trials = read(sweep.root)
    assert [one.label for one in trials.parameters] == ["x"]
    first, second, third = trials.trials
    assert first.values == pytest.approx((0.65,))
    assert first.errors == pytest.approx((0.05,))
    assert first.reports == pytest.approx({1: 0.55})
    assert (second.state, second.values, second.errors) == ("FINISHED", (0.9,), (None,))
    assert [trial.whole for trial in (first, second, third)] == [True, False, False]


def test_states_are_kept_and_what_has_not_ended_is_left_out(tmp_path):
    sweep = plotted(tmp_path / "sweep")
    sweep.start(14, overrides=["model.params.max_depth=9"])
    sweep.change(sweep.start(15), state="KILLED")
    finished(sweep, 16, "model=xgboost", "model.params.max_depth=4", auc=float("nan"))
    trials = read(sweep.root).trials
    assert [trial.number for trial in trials] == list(range(15))
    assert [trial.state for trial in trials[11:]] == ["FINISHED", "PRUNED", "FAILED", "FAILED"]
    assert [trial.values for trial in trials[12:]] == [(), (), ()]
    assert trials[12].reports == {1: 0.5}


def test_a_scale_is_taken_from_the_space_that_was_searched(sweep):
    for job, x in enumerate((1, 2, 3)):
        finished(sweep, job, f"+a.x={x}", f"a.y={x}", auc=0.6)
    assert [one.log for one in read(sweep.root).parameters] == [False, False]
    space = {"dimensions": [{"key": "+a.x", "low": 1, "high": 9, "log": True}, {"key": "a.y", "low": 1, "high": 9}]}
    lines = [{"op_code": 0, "study_name": "search"}, {"op_code": 2, "study_id": 0, "user_attr": {"space": space}}]
    (sweep.root / ".sweeproute" / "study.log").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{")
    assert [one.log for one in read(sweep.root).parameters] == [True, False]


def test_without_a_space_the_scale_is_the_one_on_which_the_numbers_are_spread(sweep):
    for job in range(40):
        x = (job + 0.1) / 40
        finished(sweep, job, f"even={x}", f"decades={10 ** (4 * x - 4)}", f"power={2 ** (job % 8)}", auc=0.6)
    assert [(one.label, one.log) for one in read(sweep.root).parameters] == [
        ("even", False),
        ("decades", True),
        ("power", True),
    ]


def test_a_step_that_was_done_twice_counts_as_it_was_last(sweep):
    folder = finished(sweep, 0, "x=1", auc=0.6)
    lines = [{"auc": 0.5, "step": 1}, {"auc": 0.4, "step": 1}, {"auc": "NaN", "step": 2}, {"value": 0.6, "step": 3}]
    (folder / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"auc"')
    assert read(sweep.root).trials[0].reports == {1: 0.4, 3: 0.6}


def test_trials_are_split_by_what_decides_which_parameters_they_have(sweep):
    for job in range(6):
        model = ("xgboost", "glm")[job % 2]
        own = f"p.depth={job}" if model == "xgboost" else f"p.strength={job}"
        # The newer data is, as it happens, of one model alone.
        finished(sweep, job, f"model={model}", own, f"data={'new' if job == 2 else 'old'}", auc=0.6)
    xgboost, glm = read(sweep.root).families()
    assert (xgboost.family, glm.family) == ("xgboost", "glm")
    assert [one.label for one in xgboost.parameters] == ["depth", "data"]
    assert [one.label for one in glm.parameters] == ["strength"]
    assert [trial.number for trial in glm.trials] == [1, 3, 5]


def test_trials_of_one_set_of_parameters_are_one_family(sweep):
    for job in range(4):
        finished(sweep, job, f"model={('a', 'b')[job % 2]}", f"x={job}", auc=0.6)
    assert len(read(sweep.root).families()) == 1


def test_a_metric_that_no_job_has_is_answered_with_those_that_there_are(tmp_path):
    sweep = plotted(tmp_path / "sweep")
    with pytest.raises(PlotError, match="No finished job has a metric acu; there are auc, brier, flat"):
        read(sweep.root, "acu", "maximize")
    with pytest.raises(DirectionError):
        read(sweep.root, "flat")
    assert read(sweep.root, "flat", "minimize").objectives[0].maximize is False


def test_metrics_that_are_asked_for_take_their_directions_from_the_sweep(tmp_path):
    sweep = plotted(tmp_path / "sweep", metric=["flat", "brier"], direction=["maximize", "maximize"])
    asked = read(sweep.root, ["flat", "auc"]).objectives
    assert [(one.metric, one.maximize) for one in asked] == [("flat", True), ("auc", True)]
    assert read(sweep.root, "brier").objectives[0].maximize is True


def test_a_sweep_without_a_result_says_so(sweep):
    sweep.start(0)
    with pytest.raises(PlotError, match="No job has finished with a finite auc yet"):
        read(sweep.root)


def test_a_sweep_of_another_launcher_is_read_from_its_journals(tmp_path):
    for job in range(3):
        write_trial(tmp_path / str(job), auc=0.6 + job / 100)
        (tmp_path / str(job) / ".hydra").mkdir()
        (tmp_path / str(job) / ".hydra" / "overrides.yaml").write_text(f"- x={job}\n")
    trials = read(tmp_path)
    assert [(trial.params, trial.values) for trial in trials.trials] == [
        ({"x": 0.0}, (0.6,)),
        ({"x": 1.0}, (0.61,)),
        ({"x": 2.0}, (0.62,)),
    ]


def test_the_examples_run():
    assert doctest.testmod(plot_trials).failed == 0
