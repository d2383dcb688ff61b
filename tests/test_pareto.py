"""Tests of the front of several objectives."""

import doctest
import itertools
import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import optuna
import pytest

from sweeproute import pareto
from sweeproute.pareto import front, knee

FIXED = hypothesis.settings(derandomize=True, deadline=None)

# Few values, so that equals and ties come often; and any, so that they do not.
FEW = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0, 3.0])
ANY = st.floats(-1e6, 1e6, allow_subnormal=False)
CLOUDS = st.integers(1, 4).flatmap(
    lambda size: st.one_of(
        st.lists(st.tuples(*[FEW] * size), max_size=30), st.lists(st.tuples(*[ANY] * size), max_size=30)
    )
)


def dominates(a, b) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


@FIXED
@hypothesis.given(CLOUDS)
def test_the_front_is_all_that_nothing_dominates_and_of_equals_the_first(points):
    expected = [
        place
        for place, point in enumerate(points)
        if not any(dominates(other, point) for other in points) and point not in points[:place]
    ]
    assert front(points) == expected


@pytest.mark.parametrize("directions", [("maximize", "minimize"), ("minimize", "maximize", "maximize")])
def test_the_front_holds_the_values_of_optunas_best_trials(directions):
    chance = np.random.default_rng(0)
    values = chance.integers(0, 12, (60, len(directions))) / 4
    values = np.vstack([values, values])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=directions)
    study.add_trials([optuna.trial.create_trial(values=row.tolist()) for row in values])
    signs = [-1 if direction == "maximize" else 1 for direction in directions]
    ours = front([tuple(sign * value for sign, value in zip(signs, row, strict=True)) for row in values.tolist()])
    theirs = study.best_trials
    assert {tuple(values[place]) for place in ours} == {tuple(trial.values) for trial in theirs}
    # Optuna lists each of several equals, we the earliest alone.
    assert len(ours) < len(theirs)
    assert all(min(t.number for t in theirs if t.values == values[place].tolist()) == place for place in ours)


def far(points) -> np.ndarray:
    """How far each point lies from the hyperplane through the extreme points, in another way: a null space."""
    losses = np.array(points, float)
    losses = (losses - losses.min(0)) / np.ptp(losses, axis=0)
    ends = losses[losses.argmin(0)]
    normal = np.linalg.svd(ends[1:] - ends[0])[2][-1]
    offset = ends[0] @ normal
    return np.sign(offset) * (offset - losses @ normal)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_knee_is_farthest_from_the_hyperplane_through_the_extreme_points(size):
    chance = np.random.default_rng(size)
    seen = set()
    for _ in range(200):
        # A cloud that bulges towards the ideal, with one point far out for each objective.
        cloud = 1 - np.abs(chance.normal(size=(25, size)))
        cloud = np.vstack([cloud, 9 - 18 * np.eye(size) - chance.random((size, size))])
        points = [tuple(row) for row in cloud.tolist()]
        points = [points[place] for place in front(points)]
        expected = far(points)
        place = knee(points)
        assert expected[place] == pytest.approx(expected.max(), abs=1e-9)
        seen.add(place)
    assert len(seen) > 3


def test_the_knee_does_not_depend_on_the_units_of_the_objectives():
    points = [(0.0, 1.0), (0.1, 0.5), (0.2, 0.3), (0.4, 0.2), (1.0, 0.0)]
    assert knee(points) == 2
    assert knee([(1000 * a - 7, b / 1000 + 3) for a, b in points]) == 2
    assert knee([(b, a) for a, b in points]) == 2


def test_without_a_bulge_the_first_objective_decides():
    assert knee([(3.0, 4.0)]) == 0
    assert knee([(2.0, 0.0), (1.0, 5.0)]) == 1
    on_a_line = [(0.3, 0.7), (0.0, 1.0), (0.1, 0.9), (1.0, 0.0)]
    assert knee(on_a_line) == 1
    inward = [(1.0, 0.0), (0.9, 0.8), (0.8, 0.9), (0.0, 1.0)]
    assert knee(inward) == 3


def test_of_points_equally_far_the_best_in_the_first_objective_is_the_knee():
    points = [(1.0, 0.0), (0.6, 0.1), (0.1, 0.6), (0.0, 1.0)]
    assert knee(points) == 2


def test_an_objective_in_which_all_are_equal_does_not_count():
    points = [(0.0, 7.0, 1.0), (0.2, 7.0, 0.2), (1.0, 7.0, 0.0)]
    assert knee(points) == 1


def test_where_the_extreme_points_give_no_plane_the_worst_of_each_objective_does():
    # The first is best in two objectives, so that two extreme points are left for a plane in three dimensions.
    points = [(0.0, 0.0, 1.0), (0.2, 0.3, 0.1), (1.0, 0.9, 0.0), (0.9, 1.0, 0.05)]
    sums = [sum(point) for point in points]
    assert knee(points) == sums.index(min(sums)) == 1


@FIXED
@hypothesis.given(CLOUDS.filter(bool))
def test_every_front_has_a_knee_whatever_the_order_of_its_points(points):
    kept = [points[place] for place in front(points)]
    chosen = kept[knee(kept)]
    for turned in itertools.islice(itertools.permutations(kept), 1, 4):
        again = turned[knee(turned)]
        assert again[0] == chosen[0] or math.isclose(again[0], chosen[0], rel_tol=1e-6)


def test_the_examples_run():
    assert doctest.testmod(pareto).failed == 0
