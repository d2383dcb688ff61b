"""Tests of what all plots of a sweep share."""

import pytest

from handmade_sweep import HandmadeSweep
from plotted_sweep import finished
from sweeproute.plot_style import apart, colours, grid, limits, number, positions
from sweeproute.plot_trials import read
from sweeproute.selection import Objective

UP, DOWN = Objective("auc", True), Objective("log_loss", False)


def test_a_few_values_that_are_far_worse_do_not_press_the_others_together():
    usual = [0.60 + step / 1000 for step in range(40)]
    low, high = limits([*usual, 0.1], UP)
    assert 0.5 < low < 0.6
    assert 0.639 < high < 0.66
    low, high = limits([*(-value for value in usual), 30.0], DOWN)
    assert -0.6 < high < -0.5


def test_values_that_are_better_than_all_others_are_never_cut_off():
    usual = [0.5 + step / 1000 for step in range(20)]
    assert limits([*usual, 0.99], UP)[1] > 0.99
    assert limits([*usual, 0.01], DOWN)[0] < 0.01


def test_one_value_alone_has_room_around_it():
    low, high = limits([0.7, 0.7], UP)
    assert low < 0.7 < high
    assert limits([0.0], DOWN) == (-0.5, 0.5)


@pytest.mark.parametrize(("objective", "best"), [(UP, 0.9), (DOWN, 0.1)])
def test_the_best_value_is_the_darkest(objective, best):
    colour_map, shades = colours([0.1, 0.5, 0.9], objective)
    brightness = {value: sum(colour_map(shades(value))[:3]) for value in (0.1, 0.5, 0.9)}
    assert min(brightness, key=brightness.get) == best


def test_numbers_of_a_grid_are_places_and_scattered_ones_are_not(tmp_path):
    sweep = HandmadeSweep(tmp_path / "sweep")
    for job in range(8):
        finished(sweep, job, f"x={job % 3}", f"y={job}", f"z={('a', 'b')[job % 2]}", auc=0.6)
    trials = read(sweep.root)
    x, y, z = trials.parameters
    assert grid(x, trials.trials) == [0, 1, 2]
    assert grid(y, trials.trials) == []
    assert grid(z, trials.trials) == []
    # Around the place of its choice, and at the same place each time.
    there = positions(z, trials.trials)
    assert [round(at) for at in there] == [0, 1] * 4
    assert len(set(there)) == 8
    assert (there == positions(z, trials.trials)).all()


def test_names_at_an_axis_do_not_overlap():
    assert apart([1, 2, 3, 50, 100], False, 0.1) == [1, 50, 100]
    assert apart([1, 10, 11, 100], True, 0.1) == [1, 10, 100]
    assert apart([], False, 0.1) == []


def test_numbers_at_an_axis_are_short():
    assert [number(value) for value in (3.0, 0.000123456, 1234.5, 0.1)] == ["3", "0.000123", "1.23e+03", "0.1"]
