"""Tests of how much of a metric each parameter explains."""

import pytest

from handmade_sweep import HandmadeSweep
from plotted_sweep import finished, plotted
from sweeproute.plot_importances import MOST, importances, why_not
from sweeproute.plot_trials import read


def test_the_parameter_that_decides_has_nearly_all_and_it_is_the_same_each_time(tmp_path):
    trials = read(plotted(tmp_path / "sweep").root)
    found = importances(trials)
    assert list(found) == ["learning_rate", "max_depth"]
    assert found["learning_rate"] > 0.9
    assert sum(found.values()) == pytest.approx(1)
    assert importances(trials) == found


def test_without_enough_to_go_by_there_are_none_and_it_is_said_why(tmp_path):
    sweep = plotted(tmp_path / "sweep")
    assert why_not(read(sweep.root)) is None
    assert why_not(read(sweep.root, "flat", "minimize")) == "flat is the same in all"
    for job in range(3):
        sweep.change(sweep.root / str(job), state="FAILED")
    assert why_not(read(sweep.root)) == "it takes 10 finished trials"
    alone = HandmadeSweep(tmp_path / "alone")
    for job in range(12):
        finished(alone, job, f"x={job}", auc=0.6 + job / 100)
    assert why_not(read(alone.root)) == "fewer than two parameters vary"


def test_a_parameter_that_some_trials_lack_is_left_out_and_choices_count(tmp_path):
    sweep = HandmadeSweep(tmp_path / "sweep")
    for job in range(24):
        booster = ("tree", "dart")[job % 2]
        more = [f"p.drop=0.{job}1"] if booster == "dart" else []
        finished(sweep, job, f"p.booster={booster}", f"p.x={job % 7}", *more, auc=0.9 if booster == "dart" else 0.5)
    found = importances(read(sweep.root))
    assert list(found) == ["booster", "x"]
    assert found["booster"] > 0.95


def test_of_very_many_trials_a_part_is_taken(tmp_path):
    sweep = HandmadeSweep(tmp_path / "sweep")
    for job in range(MOST + 50):
        finished(sweep, job, f"x={job}", f"y={job % 5}", auc=job / 1000)
    trials = read(sweep.root)
    assert importances(trials) == importances(trials)
    assert list(importances(trials)) == ["x", "y"]
