"""What has finished says how long the rest will take, and so what should start first."""

import doctest
import itertools
import math
from random import Random
from typing import Any

import pytest

from hydra_plugins.sweeproute import _durations
from hydra_plugins.sweeproute._durations import (
    Durations,
    Load,
    LongestFirst,
    remaining_s,
    time_left,
    uncertain_remaining_s,
)

DEPTHS, TREES, RATES = (3, 5, 7, 9), (100, 300, 500), (0.01, 0.05, 0.1)
GRID = [
    (f"depth={depth}", f"trees={trees}", f"rate={rate}")
    for depth, trees, rate in itertools.product(DEPTHS, TREES, RATES)
]


def seconds_of(point: tuple[str, ...]) -> float:
    depth, trees, _ = (float(override.split("=")[1]) for override in point)
    return trees / 100 * 1.3**depth


def line(point: tuple[str, ...], seconds: float, **settings: Any) -> dict[str, Any]:
    return {
        "model": "XGBoost",
        "platform": "local_m4",
        "overrides": list(point),
        "seconds": seconds,
        "outcome": "FINISHED",
        **settings,
    }


def test_a_point_that_has_run_is_expected_to_take_what_it_took() -> None:
    durations = Durations([line(GRID[0], 12.5), line(GRID[1], 99.0)])
    assert durations.expected(GRID[0], "XGBoost", "local_m4") == 12.5
    assert durations.expected(tuple(reversed(GRID[0]))) == 12.5


def test_of_two_runs_of_a_point_the_newer_one_counts() -> None:
    assert Durations([line(GRID[0], 12.5), line(GRID[0], 20.0)]).expected(GRID[0]) == 20.0


def test_nothing_is_expected_of_axes_that_have_not_run() -> None:
    durations = Durations([line(GRID[0], 12.5)])
    assert durations.expected(["alpha=1"]) is None
    assert Durations().expected(GRID[0]) is None


def test_failed_jobs_and_lines_that_do_not_read_teach_nothing() -> None:
    durations = Durations([line(GRID[0], 5.0, outcome="FAILED"), {"model": "XGBoost"}, line(GRID[0], None)])  # type: ignore[arg-type]
    durations.learn(line(GRID[0], 5.0, outcome="KILLED"))
    assert durations.expected(GRID[0]) is None


def test_effects_learned_online_foresee_the_other_points_of_a_grid() -> None:
    points = GRID.copy()
    Random(2).shuffle(points)
    seen, unseen = points[:18], points[18:]
    durations = Durations()
    for point in seen:
        durations.learn(line(point, seconds_of(point)))
    for point in unseen:
        assert durations.expected(point, "XGBoost") == pytest.approx(seconds_of(point), rel=0.5)
    foreseen = sorted(unseen, key=lambda point: durations.expected(point, "XGBoost") or 0.0)
    longest = set(sorted(unseen, key=seconds_of)[-4:])
    assert len(longest & set(foreseen[-5:])) >= 3


def test_a_point_that_ran_elsewhere_is_expected_by_the_ratio_of_the_platforms() -> None:
    durations = Durations()
    for point in GRID[:20]:
        durations.learn(line(point, seconds_of(point)))
        durations.learn(line(point, seconds_of(point) / 10, platform="remote_4090"))
    durations.learn(line(GRID[30], seconds_of(GRID[30])))
    there = durations.expected(GRID[30], "XGBoost", "remote_4090")
    assert there == pytest.approx(seconds_of(GRID[30]) / 10, rel=0.25)


def test_models_with_the_same_axes_are_told_apart() -> None:
    durations = Durations()
    for seed in range(12):
        durations.learn(line((f"seed={seed}",), 1.0, model="GLM"))
        durations.learn(line((f"seed={seed}",), 100.0, model="RandomForest"))
    assert durations.expected(["seed=99"], "GLM") == pytest.approx(1.0, rel=1.0)
    assert durations.expected(["seed=99"], "RandomForest") == pytest.approx(100.0, rel=0.5)


def test_learning_costs_a_bounded_number_of_fits() -> None:
    durations = Durations()
    for number in range(1000):
        durations.learn(line((f"seed={number % 7}", f"depth={number % 3}"), 1.0 + number % 3))
    assert durations.version <= math.ceil(math.log(1000) / math.log(1.5)) + 2


def queue(durations: Durations, *points: tuple[str, ...]) -> LongestFirst[tuple[str, ...]]:
    it = LongestFirst[tuple[str, ...]](durations, durations.expected)
    for point in points:
        it.add(point)
    return it


def test_the_first_jobs_on_another_platform_are_learned_from_however_many_ran_here() -> None:
    durations = Durations(line(point, seconds_of(point)) for point in GRID * 5)
    before = durations.expected(GRID[0], "XGBoost", "remote_4090")
    assert before == pytest.approx(seconds_of(GRID[0]))
    for point in GRID[1:4]:
        durations.learn(line(point, seconds_of(point) / 10, platform="remote_4090"))
    after = durations.expected(GRID[0], "XGBoost", "remote_4090")
    assert after is not None
    assert after < before / 3


def test_typical_is_the_median_of_the_last_jobs_of_a_model_on_a_platform() -> None:
    durations = Durations([line(GRID[0], 5.0), line(GRID[1], 7.0), line(GRID[2], 100.0)])
    assert durations.typical_s("XGBoost", "local_m4") == 7.0
    assert durations.typical_s("XGBoost", "remote_4090") is None
    assert durations.typical_s("GLM", "local_m4") is None
    for point in GRID * 2:
        durations.learn(line(point, 1.0))
    assert durations.typical_s("XGBoost", "local_m4") == 1.0


def test_expectations_are_trusted_as_far_as_they_have_held() -> None:
    durations = Durations()
    assert durations.spread(GRID[0]) == 1.0
    rng = Random(2)
    for point in rng.sample(GRID, len(GRID)):
        durations.learn(line(point, seconds_of(point)))
    foreseen = durations.spread(("depth=11", "trees=100", "rate=0.1"))
    assert durations.spread(GRID[0]) == 0.2  # it has run before
    wild = Durations()
    for num in range(40):
        wild.learn(line((f"x={num}",), rng.lognormvariate(4.0, 0.8)))
    assert foreseen < 0.65 < wild.spread(("x=99",)) < 1.2


@pytest.mark.parametrize("elapsed", [0.0, 20.0, 60.0, 150.0, 400.0])
def test_what_is_left_of_an_uncertain_job_is_the_mean_of_those_that_ran_as_long(elapsed: float) -> None:
    rng = Random(1)
    seconds = [rng.lognormvariate(math.log(60.0), 0.8) for _ in range(200_000)]
    left = [total - elapsed for total in seconds if total > elapsed]
    expected = max(elapsed - 60.0, sum(left) / len(left))
    assert uncertain_remaining_s(60.0, elapsed, 0.8) == pytest.approx(expected, rel=0.05)


def test_a_job_that_is_far_beyond_what_is_likely_needs_as_long_again() -> None:
    assert uncertain_remaining_s(60.0, 600.0, 0.05) == 540.0
    assert uncertain_remaining_s(60.0, 1e6, 0.01) == 1e6 - 60.0


def test_the_longest_known_comes_first_and_the_unknown_before_it_in_the_order_given() -> None:
    durations = Durations([line(GRID[0], 1.0), line(GRID[1], 3.0), line(GRID[2], 2.0)])
    strange = [("alpha=1",), ("beta=2",)]
    it = queue(durations, GRID[0], strange[0], GRID[1], strange[1], GRID[2])
    assert it.longest_s() == math.inf
    assert [it.pop() for _ in range(5)] == [*strange, GRID[1], GRID[2], GRID[0]]
    with pytest.raises(IndexError):
        it.pop()


def test_without_knowledge_the_order_given_holds() -> None:
    it = queue(Durations(), *GRID[:4])
    assert [it.pop() for _ in range(4)] == GRID[:4]


def test_the_queue_is_ordered_anew_when_something_was_learned() -> None:
    durations = Durations()
    it = queue(durations, *GRID)
    for _ in range(12):
        point = it.pop()
        durations.learn(line(point, seconds_of(point)))
    left = [it.pop() for _ in range(len(it))]
    expected = [durations.expected(point) or 0.0 for point in left]
    assert expected == sorted(expected, reverse=True)


def test_an_item_may_be_taken_out_of_turn() -> None:
    durations = Durations([line(GRID[0], 1.0), line(GRID[1], 3.0), line(GRID[2], 2.0)])
    it = queue(durations, *GRID[:3])
    it.remove(GRID[1])
    assert it.total_s() == pytest.approx(3.0)
    assert [it.pop(), it.pop()] == [GRID[2], GRID[0]]
    with pytest.raises(ValueError, match="not in list"):
        it.remove(GRID[0])


def test_the_total_counts_the_unknown_as_the_mean_of_the_known() -> None:
    durations = Durations([line(GRID[0], 1.0), line(GRID[1], 3.0)])
    it = queue(durations, GRID[0], GRID[1], ("alpha=1",))
    assert it.total_s() == pytest.approx(6.0)
    it.pop()
    it.pop()
    assert it.total_s() == pytest.approx(1.0)
    assert queue(durations, ("alpha=1",)).total_s() is None
    assert queue(durations).total_s() == 0.0


def test_a_late_job_needs_as_long_again_as_it_is_late() -> None:
    assert [remaining_s(10.0, elapsed) for elapsed in (0.0, 8.0, 10.0, 14.0)] == [10.0, 2.0, 0.0, 4.0]


def test_the_time_left_is_that_of_the_platform_that_ends_last() -> None:
    busy = Load(slots=2, waiting_s=(60.0,), running_s=((10.0, 4.0), (10.0, 6.0)))
    quick = Load(slots=4, waiting_s=(8.0,), running_s=())
    assert time_left([quick, busy]) == 35.0
    assert time_left([Load(slots=4, waiting_s=(), running_s=((100.0, 10.0),))]) == 90.0
    assert time_left([]) == 0.0


def test_the_time_left_is_unknown_while_a_part_of_it_is() -> None:
    assert time_left([Load(slots=2, waiting_s=(60.0, None), running_s=())]) is None
    assert time_left([Load(slots=2, waiting_s=(60.0,), running_s=((None, 5.0),))]) is None


def test_examples_run() -> None:
    assert doctest.testmod(_durations).failed == 0
