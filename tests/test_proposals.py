"""Studies are asked as slots free up: the next point is ready, each result is told once, a kill loses nothing."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus

from hydra_plugins.sweeproute._adaptive import shares
from hydra_plugins.sweeproute._dimension import Dimension
from hydra_plugins.sweeproute._durations import Durations
from hydra_plugins.sweeproute._errors import SettingsError, SweepError
from hydra_plugins.sweeproute._policy import JobClass
from hydra_plugins.sweeproute._proposals import Known
from small_search import SEEDS, TWO, Ended, Searched, X, class_of, finish, score, space, take, values_of, work_through


@pytest.fixture
def searched(tmp_path: Path) -> Iterator[Searched]:
    return Searched(tmp_path)


def test_one_point_is_ready_and_the_rest_of_the_budget_is_known(searched: Searched) -> None:
    points = searched.start(space(X), budget=5)
    assert points.waiting() == {class_of(0, ()): 5}
    assert len(points.overrides) == 1
    assert points.total() == 5
    number = take(points)
    assert points.waiting() == {}  # until it is asked again, after the slot has been filled
    assert points.prepare()
    assert points.waiting() == {class_of(0, ()): 4}
    assert not points.prepare()
    points.told(number, Ended({"score": 1.0}))
    assert searched.shares[0].study.running()[0].trial == 0  # told when no slot waits
    points.prepare()
    assert [one.trial for one in searched.shares[0].study.running()] == [1]


def test_the_search_ends_with_its_budget(searched: Searched) -> None:
    points = searched.start(space(X), budget=4)
    assert work_through(points) == [0, 1, 2, 3]
    assert len(set(points.overrides.values())) == 4
    assert points.total() == 4
    assert points.closed()


def test_a_space_that_is_smaller_ends_it_sooner(searched: Searched) -> None:
    points = searched.start(space(TWO), budget=50)
    assert points.total() == 2
    assert sorted(points.overrides[number] for number in work_through(points)) == [("y=a",), ("y=b",)]


def test_models_share_the_budget_and_are_all_there_to_choose_from(searched: Searched) -> None:
    points = searched.start(space(X, name="model=a"), space(X, name="model=b"), budget=3)
    assert [dict(one.fields)["model_type"] for one in points.waiting()] == ["a", "b"]
    done = work_through(points)
    models = [values_of(points.overrides[number])["model"] for number in done]
    assert (models.count("a"), models.count("b")) == (3, 3)


def test_a_point_is_run_under_each_seed_and_told_once_as_their_mean(searched: Searched) -> None:
    points = searched.start(space(X, repeats=(SEEDS,)), budget=2)
    assert points.total() == 6
    jobs = [take(points) for _ in range(3)]
    assert [values_of(points.overrides[number])["seed"] for number in jobs] == ["1", "2", "3"]
    assert len({points.overrides[number][0] for number in jobs}) == 1
    for number, value in zip(jobs, (0.1, 0.2, 0.6), strict=True):
        points.told(number, Ended({"score": value}))
        points.prepare()
    (told,) = [one for one in searched.shares[0].study._study.trials if one.state.name == "COMPLETE"]
    assert told.values == [pytest.approx(0.3)]


def test_repeats_that_fail_are_left_out_of_the_mean_and_a_point_without_any_is_failed(searched: Searched) -> None:
    points = searched.start(space(X, repeats=(SEEDS,)), budget=2)
    boom = {"class": "user", "message": "boom"}
    jobs = [take(points) for _ in range(3)]
    for number, end in zip(
        jobs, (Ended({"score": 0.5}), Ended(None, boom), Ended({"score": float("nan")})), strict=True
    ):
        points.told(number, end)
    points.prepare()
    for number in [take(points) for _ in range(3)]:
        points.told(number, Ended(None, boom))
    points.prepare()
    assert [(one.state.name, one.values) for one in searched.shares[0].study._study.trials] == [
        ("COMPLETE", [0.5]),
        ("FAIL", None),
    ]


@pytest.mark.parametrize("cut", range(1, 12))
def test_whatever_a_kill_leaves_is_gone_on_with_to_the_same_budget(searched: Searched, cut: int) -> None:
    """Two jobs run at a time; the process ends after `cut` steps, with what was told and recorded as it is."""
    points = searched.start(space(X), budget=8)
    running: list[int] = []
    finished: dict[int, JobReturn] = {}
    for step in range(cut):
        if len(running) < 2:
            running.append(take(points))
            points.prepare()
        else:
            number = running.pop(0)
            finished[number] = Ended({"score": score(points.overrides[number])})
            points.told(number, finished[number])
            if step < cut - 1:  # killed between the record and the study
                points.prepare()
    launched = {number: points.overrides[number] for number in [*finished, *running]}
    asked = dict(points.overrides)

    known = {overrides: Known(number, finished.get(number)) for number, overrides in launched.items()}
    again = searched.start(space(X), budget=8, known=known)
    for number in running:  # they outlived the coordinator, and are adopted
        assert again.withdraw(number).overrides == launched[number]
    ended = {again.overrides[number] for number in (*finished, *running)}
    for number in running:
        finish(again, number)
    ended |= {again.overrides[number] for number in work_through(again)}
    assert len(ended) == 8
    assert again.total() == 8
    assert set(asked.values()) <= ended  # also the one that was ready, and never taken
    told = [one for one in searched.shares[0].study._study.trials if one.state.name == "COMPLETE"]
    assert len(told) == 8
    assert sorted(one.values[0] for one in told) == sorted(map(score, ended))


def test_a_job_is_known_whatever_the_order_of_its_words(searched: Searched) -> None:
    searched.start(space(X, name="model=a"))
    (proposal,) = searched.shares[0].study.running()
    earlier = (f"x={proposal.values['x']!r}", "model=a")
    again = searched.start(space(X, name="model=a"), known={earlier: Known(7, None)})
    assert again.overrides == {7: earlier}


def test_the_same_seed_twice_is_one_repeat(searched: Searched) -> None:
    points = searched.start(space(X, repeats=(Dimension("seed", choices=("1", "1")),)), budget=2)
    assert points.total() == 2
    assert len(work_through(points)) == 2


def test_nothing_new_is_begun_when_the_time_is_up_and_repeats_are_brought_to_their_end(searched: Searched) -> None:
    late = False
    points = searched.start(space(X, repeats=(SEEDS,)), budget=None, over=lambda: late)
    assert points.total() is None
    first = take(points)
    late = True
    points.prepare()
    assert sum(points.waiting().values()) == 2
    for number in (first, take(points), take(points)):
        finish(points, number)
    assert points.closed()
    assert points.waiting() == {}
    assert points.total() == 3


def test_a_point_that_never_began_is_dropped_when_the_time_is_up(searched: Searched) -> None:
    late = False
    points = searched.start(space(X), budget=None, over=lambda: late)
    number = take(points)
    points.prepare()
    assert points.waiting()
    late = True
    finish(points, number)
    assert points.waiting() == {}
    assert points.closed()


def test_a_task_that_returns_another_metric_ends_the_search_with_the_nearest(searched: Searched) -> None:
    points = searched.start(space(X))
    points.told(take(points), Ended({"scores": 1.0, "time": 2.0}))
    with pytest.raises(SweepError, match=r"metric is 'score'.*nearest match first: scores, time"):
        points.prepare()


def test_what_no_platform_can_run_ends_the_search_and_is_asked_for_again_at_the_next_start(searched: Searched) -> None:
    points = searched.start(space(X))
    number = take(points)
    overrides = points.overrides[number]
    points.told(number, Ended(None, {"class": "precheck", "message": "nowhere"}))
    points.prepare()
    assert points.closed()
    assert overrides in searched.start(space(X)).overrides.values()


def test_a_point_that_can_run_nowhere_has_failed_and_the_search_goes_on(searched: Searched) -> None:
    points = searched.start(space(X), budget=6)

    def picky(number: int, overrides: tuple[str, ...]) -> JobClass:
        if score(overrides) > 0.5:
            raise SettingsError("it fits nowhere")
        return class_of(number, overrides)

    points.open(50.0, Durations(), lambda overrides: overrides, picky)
    points.prepare()
    work_through(points)
    failed = [number for number, one in points.returns.items() if one.status == JobStatus.FAILED]
    assert failed
    assert all(score(points.overrides[number]) > 0.5 for number in failed)
    assert sorted(points.returns) == list(range(6))
    states = [one.state.name for one in searched.shares[0].study._study.trials]
    assert states.count("FAIL") == len(failed)
    assert states.count("COMPLETE") == 6 - len(failed)


def test_a_job_without_prospects_is_stopped_with_a_reason_and_told_as_pruned(searched: Searched) -> None:
    points = searched.start(space(X), prunes="median", budget=20)
    reasons = []
    for rank in range(8):
        number = take(points)
        reasons += [points.reported(number, step, {"score": 1.0 - rank / 10, "time": 9.0}) for step in range(3)]
        if reasons[-1]:
            points.told(number, Ended({"status": "pruned", "score": 0.1}))
        else:
            points.told(number, Ended({"score": 1.0 - rank / 10}))
        points.prepare()
    assert reasons[:15] == [None] * 15  # of the first five trials
    assert reasons[-1] == "pruned by median at step 2: score was 0.3"
    states = [one.state.name for one in searched.shares[0].study._study.trials]
    assert states[:8] == ["COMPLETE"] * 5 + ["PRUNED"] * 3


@pytest.mark.parametrize(("name", "compared"), [("median", 0.6), ("wilcoxon", 0.9)])
def test_a_pruner_that_pairs_steps_is_given_each_by_itself(searched: Searched, name: str, compared: float) -> None:
    points = searched.start(space(X), prunes=name)
    points.reported(take(points), 1, {"score": 0.6, "step/score": 0.9})
    assert searched.shares[0].study._study.trials[0].intermediate_values == {1: compared}


@pytest.mark.parametrize(("ask_ahead", "expected"), [(None, 4), (0, 0), (7, 7)])
def test_as_many_jobs_are_sent_ahead_as_are_asked_for(searched: Searched, ask_ahead: int | None, expected: int) -> None:
    assert searched.start(space(X), ask_ahead=ask_ahead).ahead(4) == expected


def test_a_batch_has_numbers_that_follow_one_another(searched: Searched) -> None:
    points = searched.start(space(X, name="model=a"), space(X, name="model=b"), budget=4)
    numbers: list[int] = []
    while batch := points.batch(3):
        numbers += batch
        for number in batch:
            points.told(number, Ended({"score": score(batch[number])}))
    assert numbers == list(range(8))


def test_the_expected_time_of_what_waits_counts_what_is_still_to_be_asked(searched: Searched) -> None:
    points = searched.start(space(X), budget=5)
    (job_class,) = points.waiting()
    assert points.waiting_s(job_class) is None
    entry = {"model": "", "platform": "here", "overrides": ["x=0.5"], "seconds": 2.0, "outcome": "FINISHED"}
    points.open(50.0, Durations([entry]), lambda _: "", class_of)
    assert points.waiting_s(job_class) == pytest.approx(10.0)


@pytest.mark.parametrize("sizes", list(itertools.product([1, 5, 40, None], repeat=3)))
def test_shares_are_equal_as_far_as_the_spaces_have_points(sizes: tuple[int | None, ...]) -> None:
    found = shares(31, sizes)
    assert all(size is None or share <= size for share, size in zip(found, sizes, strict=True))
    assert sum(found) == min(31, sum(size if size is not None else 31 for size in sizes))
    open_ended = [share for share, size in zip(found, sizes, strict=True) if size is None or share < size]
    assert not open_ended or max(open_ended) - min(open_ended) <= 1
    assert all(share <= min(open_ended) + 1 for share in found if open_ended)


def test_without_a_budget_there_are_no_shares() -> None:
    assert shares(None, [3, None]) == [None, None]
