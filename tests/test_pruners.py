"""A pruner is what its name says, and prunes in a later start as it would have in one."""

import optuna
import pytest

from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._pruners import PRUNERS, pruner
from small_study import continuous, opened, plain, space_of

LINE = space_of(continuous("x"))


def test_every_name_makes_its_pruner():
    assert {name: type(pruner(name, {}).make()).__name__ for name in PRUNERS} == {
        "none": "NopPruner",
        "median": "MedianPruner",
        "halving": "SuccessiveHalvingPruner",
        "hyperband": "HyperbandPruner",
        "wilcoxon": "WilcoxonPruner",
    }


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("meddian", {}, "hydra.sweeper.pruner is 'meddian'. Allowed: median, "),
        ("median", {"n_warmup_step": 1}, "'n_warmup_step', which median does not take. Allowed: n_warmup_steps, "),
        ("median", {"n_warmup_steps": "x"}, "n_warmup_steps is 'x'. median takes an integer there"),
        ("median", {"interval_steps": 0}, "was refused by median: Pruning interval steps must be at least 1"),
        ("halving", {"min_resource": "all"}, "was refused by halving: "),
        ("hyperband", {"max_resource": "all"}, "was refused by hyperband: "),
        ("hyperband", {"max_resource": 1.5}, "max_resource is 1.5. hyperband takes text or an integer there"),
        ("wilcoxon", {"p_threshold": 2}, "was refused by wilcoxon: "),
        ("none", {"interval_steps": 1}, "'interval_steps', which none does not take. It takes none"),
    ],
)
def test_an_option_that_a_pruner_does_not_take_is_said(name, options, sentence):
    with pytest.raises(SettingsError) as caught:
        pruner(name, options)
    assert sentence in str(caught.value)


def test_several_objectives_are_not_pruned():
    assert pruner("none", {}, 2).name == "none"
    with pytest.raises(SettingsError, match=r"hydra\.sweeper\.pruner is 'median', and there are 2 objectives"):
        pruner("median", {}, 2)


def run(study, slope, steps=9):
    """Report a line of values until the pruner stops it; the step at which it did, None where it did not."""
    trial = study.ask().trial
    for step in range(steps):
        if study.report(trial, step, slope * (step + 1)):
            study.tell(trial, None, "pruned")
            return step
    study.tell(trial, [slope * steps], "complete")
    return None


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("median", {"n_startup_trials": 2}),
        ("halving", {"reduction_factor": 2}),
        ("hyperband", {"reduction_factor": 2}),
        ("hyperband", {"reduction_factor": 2, "max_resource": 9}),
        ("wilcoxon", {"p_threshold": 0.3}),
    ],
)
def test_bad_trials_are_stopped_in_every_start_alike(name, options, tmp_path):
    slopes = [1.0, 2.0, 1.5, 8.0, 0.5, 9.0, 7.0, 0.25, 6.0, 3.0, 5.0, 4.0]
    ended = {}
    for cut in (None, 1, 3, 6):
        folder = tmp_path / str(cut)
        study, ended[cut] = opened(folder, "tpe", LINE, {}, name, options), []
        for number, slope in enumerate(slopes):
            if number == cut:
                study = opened(folder, "tpe", LINE, {}, name, options)
            ended[cut].append(run(study, slope))
    assert any(step is not None for step in ended[None])
    assert ended[None][0] is None
    assert all(steps == ended[None] for steps in ended.values())
    points = [[one.params for one in plain(tmp_path / str(cut)).trials] for cut in ended]
    assert all(one == points[0] for one in points)


def test_without_a_pruner_nothing_is_stopped(tmp_path):
    study = opened(tmp_path, "random", LINE)
    assert [run(study, slope) for slope in (1.0, 50.0, 100.0)] == [None] * 3


def test_a_step_counts_once_and_reports_of_ended_trials_are_passed_over(tmp_path):
    study = opened(tmp_path, "random", LINE, prune="median", prune_options={"n_startup_trials": 1})
    run(study, 1.0)
    trial = study.ask().trial
    assert study.report(trial, 0, 5.0)
    assert study.report(trial, 0, 0.0)  # the first value counts
    study.tell(trial, None, "pruned")
    assert not study.report(trial, 1, 7.0)
    assert plain(tmp_path).trials[trial].intermediate_values == {0: 5.0}


def test_a_trial_of_an_earlier_start_goes_on_reporting(tmp_path):
    study = opened(tmp_path, "random", LINE, prune="median", prune_options={"n_startup_trials": 1})
    run(study, 1.0)
    trial = study.ask().trial
    assert not study.report(trial, 0, 0.5)
    study = opened(tmp_path, "random", LINE, prune="median", prune_options={"n_startup_trials": 1})
    assert study.report(trial, 3, 50.0) is False  # its best value so far is better than the median
    assert study.report(trial, 4, float("nan")) is False
    study.tell(trial, None, "pruned")
    trial = plain(tmp_path).trials[trial]
    assert trial.state == optuna.trial.TrialState.PRUNED
