"""A sampler that thinks for long is asked beside the sweep, which goes on meanwhile and loses nothing."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._proposals import Proposals
from hydra_plugins.sweeproute._reports import Reports
from small_search import Ended, Searched, X, finish, score, space, take

WAIT_S = 60


class Thinking:
    """Stands before a study's ask: no answer leaves before it is let go."""

    def __init__(self, points: Proposals, searched: Searched) -> None:
        self.points, self.study = points, searched.shares[0].study
        self.go, self.asks = threading.Semaphore(0), 0
        self.ask, self.study.ask = self.study.ask, self.answer

    def answer(self):
        self.asks += 1
        assert self.go.acquire(timeout=WAIT_S)
        return self.ask()

    def let_go(self) -> None:
        """Let one answer come, and wait until it is there."""
        self.go.release()
        self.points._thread._asked[1].exception(timeout=WAIT_S)


@pytest.fixture
def searched(tmp_path: Path) -> Iterator[Searched]:
    return Searched(tmp_path)


def begun(searched: Searched, **more) -> tuple[Proposals, Thinking, int]:
    """A search whose first job runs, while its sampler thinks about the second."""
    points = searched.start(space(X), name="gp", **more)
    points._thread._asked[1].result(timeout=WAIT_S)
    points.prepare()
    number = take(points)
    thinking = Thinking(points, searched)
    assert not points.prepare()
    return points, thinking, number


def test_the_sweep_goes_on_while_a_sampler_thinks(searched: Searched):
    points, thinking, number = begun(searched)
    assert points.busy
    assert points.wait_s() < 1
    points.told(number, Ended({"score": 1.0}))
    assert not points.prepare()
    assert points.waiting() == {}
    assert not points.closed()  # another is to come
    assert [one.trial for one in thinking.study.running()] == [0]  # told when it has answered
    thinking.let_go()
    assert points.prepare()
    assert sum(points.waiting().values()) == 9
    assert [one.trial for one in thinking.study.running()] == [1]
    assert thinking.asks == 1  # none is asked for while one is ready


def test_the_last_point_of_the_budget_is_waited_for(searched: Searched):
    points, thinking, number = begun(searched, budget=2)
    points.told(number, Ended({"score": 1.0}))
    thinking.let_go()
    assert not points.closed()  # although the study has proposed all that it may
    assert points.prepare()
    assert points.closed()
    finish(points, take(points))
    assert points.waiting() == {}
    assert points.wait_s() == float("inf")


def test_what_a_job_reports_meanwhile_is_taken_in_before_its_result(searched: Searched):
    points, thinking, number = begun(searched, prunes="median")
    assert points.reported(number, 0, {"score": 0.25}) is None
    points.told(number, Ended({"score": 1.0}))
    thinking.let_go()
    points.prepare()
    first = thinking.study._study.trials[0]
    assert (first.intermediate_values, first.values) == ({0: 0.25}, [1.0])


def test_a_sampler_that_cannot_answer_ends_the_search_with_its_sentence(searched: Searched):
    points, thinking, _ = begun(searched)

    def refuse():
        raise SettingsError("The sampler gp could not propose a point.")

    thinking.ask = refuse
    thinking.let_go()
    with pytest.raises(SettingsError, match="could not propose"):
        points.prepare()


def test_a_sweep_that_is_stopped_waits_for_the_answer_and_a_later_one_has_it(searched: Searched):
    points, thinking, number = begun(searched)
    overrides = dict(points.overrides)
    threading.Timer(0.2, thinking.go.release).start()
    points.told(number, Ended({"score": 1.0}))
    with pytest.raises(KeyboardInterrupt), points:
        raise KeyboardInterrupt
    assert not points.busy
    asked = [one.trial for one in thinking.study.running()]
    assert asked == [0, 1]  # nothing was told any more: the launch record has it
    again = searched.start(space(X), name="tpe")
    assert set(overrides.values()) <= set(again.overrides.values())
    assert len(again.overrides) == 2


def test_who_does_not_wait_leaves_a_log_to_which_nothing_is_added(searched: Searched, tmp_path: Path, monkeypatch):
    points, thinking, _ = begun(searched)
    log = tmp_path / "study.log"
    before = log.read_bytes()
    pool = points._thread._pool
    shutdown = pool.shutdown

    def interrupted(*given, **named):
        raise KeyboardInterrupt  # the second one

    monkeypatch.setattr(pool, "shutdown", interrupted)
    points._thread._abandon = searched.storage.abandon
    with pytest.raises(KeyboardInterrupt), points:
        raise KeyboardInterrupt
    again = searched.start(space(X), name="tpe")  # somebody else goes on with the sweep
    proposed = again.overrides
    taken = log.read_bytes()
    thinking.go.release()
    shutdown()
    assert log.read_bytes() == taken
    assert taken.startswith(before)
    assert proposed == again.overrides


def test_a_loop_that_waits_for_reports_waits_while_a_sampler_thinks(searched: Searched):
    points, thinking, _ = begun(searched, prunes="median")
    reports = Reports(points)
    assert points.busy
    assert list(reports.look({}, 100.0)) == []
    assert reports.wait_s(100.0) == float("inf")
    thinking.let_go()
    assert reports.wait_s(100.0) == 0.0


def test_at_the_end_the_last_result_is_told(searched: Searched):
    points, thinking, number = begun(searched)
    thinking.let_go()
    with points:
        points.told(number, Ended({"score": 1.0}))
    assert thinking.study._study.trials[0].values == [1.0]


def test_batches_wait_for_the_answer(searched: Searched):
    points = searched.start(space(X), name="gp", budget=5)
    done = []
    while batch := points.batch(2):
        done += batch
        for number in batch:
            points.told(number, Ended({"score": score(batch[number])}))
    assert done == [0, 1, 2, 3, 4]
