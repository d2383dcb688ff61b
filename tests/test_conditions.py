"""A platform's condition: what its machine says, and what a person wants of it."""

import pytest

from hydra_plugins.sweeproute._backend import Moved
from hydra_plugins.sweeproute._condition import Condition
from hydra_plugins.sweeproute._conditions import Conditions, end_pause, pause

LOST_S = 100.0


@pytest.fixture
def conditions(monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path))
    return Conditions({"box": Condition.AVAILABLE}, LOST_S)


def hear(conditions, condition, now=0.0, **more):
    return conditions.moved(Moved("box", condition, "", **more), now)


def look(conditions):
    return [conditions.moved(moved, 0.0) for moved in conditions.look(0.0)]


def test_a_machine_that_does_not_answer_is_waited_for_and_then_given_up(conditions):
    assert hear(conditions, Condition.SUSPECT) is Condition.SUSPECT
    assert hear(conditions, Condition.DOWN, 10.0) is Condition.DOWN
    assert conditions.may_return(10.0 + LOST_S)
    assert not conditions.lost(10.0 + LOST_S)
    assert conditions.lost(10.1 + LOST_S) == ["box"]
    assert not conditions.may_return(10.1 + LOST_S)
    assert hear(conditions, Condition.AVAILABLE, 300.0) is Condition.AVAILABLE
    assert not conditions.lost(1000.0)


def test_what_runs_on_a_machine_that_answers_is_not_lost_though_it_takes_no_more_jobs(conditions):
    assert hear(conditions, Condition.DOWN, silent=False) is Condition.DOWN
    assert not conditions.lost(10 * LOST_S)
    assert not conditions.may_return(0.0)


def test_silence_is_no_news_of_a_machine_that_takes_no_jobs(conditions):
    hear(conditions, Condition.DOWN, silent=False)
    assert hear(conditions, Condition.SUSPECT) is None


def test_a_queue_is_held_once_it_has_stood_still_for_long_while_nothing_of_ours_runs_there(conditions):
    waits = {"waits": "the slot is taken"}
    why = "cannot start the next job yet (the slot is taken)"
    assert [conditions.held("box", waits, 0, now) for now in (0.0, 14.0, 15.0, 60.0)] == ["", "", why, why]
    assert conditions.held("box", waits, 1, 61.0) == ""
    assert conditions.held("box", waits, 0, 62.0) == ""
    assert conditions.held("box", waits, 0, 77.0) == why
    assert conditions.held("box", {"waits": ""}, 0, 78.0) == conditions.held("box", None, 0, 79.0) == ""
    hear(conditions, Condition.SUSPECT)
    assert conditions.held("box", waits, 0, 100.0) == conditions.held("box", waits, 0, 200.0) == ""


def test_a_gpu_that_does_not_say_how_busy_it_is_is_shown_without(conditions):
    gpu = {"memory_gb": 24.0, "memory_free_gb": 20.0, "utilisation": None}
    load = {"gpus": [gpu, gpu | {"utilisation": 50.0}], "waits": "the slot is taken"}
    assert conditions.note("box", load, 0) == "GPU 4.0 of 24 GB; GPU 50 %, 4.0 of 24 GB"
    assert conditions.note("box", load, 2).endswith("; the slot is taken")
    hear(conditions, Condition.DOWN)
    assert conditions.note("box", load, 2) == "down"


def test_a_platform_on_which_a_job_could_not_run_is_tried_again_later_and_later(conditions):
    def look_at(now):
        return [(conditions.moved(moved, now), moved.why) for moved in conditions.look(now)]

    hear(conditions, Condition.AVAILABLE)
    for at, wait in ((0.0, 300.0), (1000.0, 600.0), (2000.0, 1200.0)):
        assert hear(conditions, Condition.DOWN, at, silent=False, precheck=True) is Condition.DOWN
        for _ in range(20):  # the jobs that were sent there with it
            assert hear(conditions, Condition.DOWN, at + 1.0, silent=False, precheck=True) is None
        assert look_at(at + wait - 1.0) == []
        assert look_at(at + wait) == [(Condition.AVAILABLE, "is tried again")]
    hear(conditions, Condition.DOWN, 5000.0, silent=False, precheck=True)
    hear(conditions, Condition.DOWN, 5000.0)  # and now the line, too
    assert look_at(10_000.0) == []


def test_a_pause_outlives_an_outage(conditions):
    pause("box", None)
    assert look(conditions) == [Condition.PAUSED]
    assert hear(conditions, Condition.DOWN) is Condition.DOWN
    assert hear(conditions, Condition.AVAILABLE) is Condition.PAUSED
    assert hear(conditions, Condition.AVAILABLE) is None  # another channel, as after a moment of silence
    end_pause("box")
    assert look(conditions) == [Condition.AVAILABLE]


def test_a_pause_of_a_machine_that_is_away_begins_when_it_is_back(conditions):
    hear(conditions, Condition.DOWN)
    pause("box", None)
    assert look(conditions) == [None]
    assert conditions.was_away("box") is False
    assert hear(conditions, Condition.AVAILABLE) is Condition.PAUSED


def test_a_pause_that_ends_while_the_machine_is_away_leaves_it_away(conditions):
    pause("box", None)
    look(conditions)
    hear(conditions, Condition.DOWN)
    end_pause("box")
    assert look(conditions) == [None]
    assert hear(conditions, Condition.AVAILABLE) is Condition.AVAILABLE


def test_what_a_queue_waited_for_is_not_said_of_one_that_is_empty(conditions):
    load = {"waits": "the slot is taken", "gpus": []}
    assert conditions.note("box", load, queued=1) == "the slot is taken"
    assert conditions.note("box", load, queued=0) == ""
