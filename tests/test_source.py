"""Points wait by class, the longest first where durations are known, and are composed once per stratum."""

import pytest
from hydra.core.utils import JobReturn

from hydra_plugins.sweeproute._durations import Durations
from hydra_plugins.sweeproute._policy import JobClass
from hydra_plugins.sweeproute._source import Points


def class_of(number, overrides):
    model = next(text.removeprefix("model=") for text in overrides if text.startswith("model="))
    return JobClass(fields=(("model_type", model),))


A, B = class_of(0, ("model=a",)), class_of(0, ("model=b",))
OVERRIDES = {n: (f"model={'a' if n % 3 else 'b'}", f"size={n}") for n in range(9)}


def opened(overrides=OVERRIDES, history=(), done=(), asked=None):
    points = Points(overrides)
    for number in done:
        points.told(number, JobReturn())

    def job_class(number, words):
        if asked is not None:
            asked.append(number)
        return class_of(number, words)

    points.open(50.0, Durations(history), lambda words: words[0], job_class)
    return points


def entry(size, seconds, model="a"):
    return {
        "model": model,
        "platform": "here",
        "overrides": [f"model={model}", f"size={size}"],
        "seconds": seconds,
        "outcome": "FINISHED",
        "at": 1.0,
    }


def test_points_wait_by_class_in_the_order_in_which_classes_were_asked_for():
    assert list(opened().waiting().items()) == [(B, 3), (A, 6)]


def test_each_point_is_taken_once_with_its_own_number_and_overrides():
    points = opened()
    taken = [points.take(job_class) for job_class in (A, B, A, A, B, A, A, A, B)]
    assert sorted(job.num for job in taken) == list(range(9))
    for job in taken:
        assert job.overrides == OVERRIDES[job.num]
        assert job.job_class == (A if job.num % 3 else B)
        assert job.queued_at == 50.0
    assert points.waiting() == {}
    assert points.closed()


def test_without_history_points_run_in_their_order():
    points = opened()
    assert [points.take(A).num for _ in range(6)] == [1, 2, 4, 5, 7, 8]


def test_the_longest_runs_first_where_durations_are_known():
    points = opened(history=[entry(n, 10.0 + n) for n in (1, 2, 4, 5, 7, 8)])
    assert [points.take(A).num for _ in range(6)] == [8, 7, 5, 4, 2, 1]
    assert points.waiting() == {B: 3}


def test_the_seconds_that_wait_are_the_sum_of_what_is_expected():
    points = opened(history=[entry(n, 10.0) for n in (1, 2, 4, 5, 7, 8)])
    assert points.waiting_s(A) == pytest.approx(60.0)
    points.take(A)
    assert points.waiting_s(A) == pytest.approx(50.0)
    assert opened().waiting_s(A) is None


def test_a_point_that_an_earlier_coordinator_began_is_taken_out_of_turn():
    points = opened(history=[entry(n, 10.0 + n) for n in (1, 2, 4, 5, 7, 8)])
    job = points.withdraw(5)
    assert (job.num, job.overrides, job.job_class, job.queued_at) == (5, OVERRIDES[5], A, 50.0)
    assert points.waiting() == {B: 3, A: 5}
    assert points.waiting_s(A) == pytest.approx(11.0 + 12.0 + 14.0 + 17.0 + 18.0)
    assert [points.take(A).num for _ in range(5)] == [8, 7, 4, 2, 1]


def test_one_point_of_each_stratum_is_looked_at():
    asked: list[int] = []
    opened(asked=asked)
    assert asked == [0, 1]


def test_a_point_that_has_run_before_does_not_wait():
    asked: list[int] = []
    points = opened(done=[0, 1, 3, 6], asked=asked)
    assert points.waiting() == {A: 5}
    assert asked == [2]
    assert set(points.returns) == {0, 1, 3, 6}


def test_returns_are_kept_by_number():
    points = opened()
    one = JobReturn(task_name="x")
    points.told(points.take(B).num, one)
    assert points.returns == {0: one}


def test_no_points_are_nothing_to_wait_for():
    points = opened({})
    assert points.waiting() == {}
    assert points.closed()
