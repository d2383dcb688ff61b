"""A platform's slots and memory are what its running jobs leave."""

from dataclasses import replace

import pytest

from hydra_plugins.sweeproute._admission import JobClass, PlatformState
from hydra_plugins.sweeproute._condition import Condition, ForbiddenTransitionError
from hydra_plugins.sweeproute._occupancy import Occupancy

SPEC = PlatformState("local_m4", slots=3, memory_gb=24.0, gpu_memory_gb=24.0)


def test_the_lowest_free_slot_is_taken() -> None:
    place = Occupancy[str](SPEC)
    assert [place.start(job, JobClass(()), 0.0) for job in "abc"] == [0, 1, 2]
    assert not place.open()
    assert place.end(1).job == "b"
    assert place.start("d", JobClass(()), 1.0) == 1


def test_memory_free_is_the_smaller_of_what_reservations_and_measurements_leave() -> None:
    place = Occupancy[str](SPEC)
    place.start("a", JobClass((), memory_gb=8.0), 0.0)
    assert place.memory_free_gb() == 16.0
    place.measure(10.0)  # with "a" running: what it will still allocate is its reservation's affair
    assert place.memory_free_gb() == 10.0
    place.start("b", JobClass((), memory_gb=4.0), 1.0)
    assert place.memory_free_gb() == 6.0
    place.measure(23.0)
    assert place.memory_free_gb() == 12.0


def test_a_job_that_runs_alone_takes_every_slot() -> None:
    place = Occupancy[str](SPEC)
    slot = place.start("a", JobClass((), alone=True), 0.0)
    assert not place.open()
    assert place.state(None).running == 3
    place.end(slot)
    assert place.open()
    assert place.state(None).running == 0


def test_a_platform_that_is_down_is_not_open_and_says_why() -> None:
    place = Occupancy[str](SPEC)
    place.move(Condition.DOWN, "is paused")
    assert not place.open()
    assert (place.state(None).available, place.state(None).why) == (False, "is paused")


def test_work_left_shrinks_until_a_job_is_late_and_then_grows() -> None:
    place = Occupancy[str](SPEC)
    place.start("a", JobClass((), minutes=1.0), 0.0)
    assert [place.left_s(now) for now in (0.0, 50.0, 60.0, 90.0)] == [60.0, 10.0, 0.0, 30.0]


def test_reserved_gpu_memory_is_not_free() -> None:
    place = Occupancy[str](SPEC)
    place.start("a", JobClass((), gpu_memory_gb=16.0), 0.0)
    assert place.state(None).gpu_memory_free_gb == 8.0


def test_a_platform_with_a_queue_of_its_own_may_run_more_than_its_slots() -> None:
    place = Occupancy[str](replace(SPEC, slots=1, ahead=True))
    assert [place.start(job, JobClass(()), 0.0) for job in "abc"] == [0, 1, 2]
    place.end(1)
    assert not place.open()
    place.end(0)
    assert not place.open()
    place.end(2)
    assert place.open()
    assert place.start("d", JobClass(()), 1.0) == 0


def test_what_waits_in_its_own_queue_takes_a_place() -> None:
    place = Occupancy[str](replace(SPEC, ahead=True))
    place.queued = 2
    assert (place.open(), place.state(None).running) == (True, 2)
    place.queued = 3
    assert (place.open(), place.state(None).running) == (False, 3)


def test_a_queue_that_is_held_up_makes_a_platform_full_for_as_long_again() -> None:
    place = Occupancy[str](replace(SPEC, ahead=True))
    place.hold("has 2 GB of GPU memory free, 8 GB needed", 10.0)
    place.hold("has 3 GB of GPU memory free, 8 GB needed", 15.0)
    state = place.state(None)
    assert (place.open(), state.running, state.why) == (False, 3, "has 3 GB of GPU memory free, 8 GB needed")
    assert place.held_s(30.0) == 20.0
    place.hold("", 31.0)
    assert (place.open(), place.held_s(40.0)) == (True, 0.0)


@pytest.mark.parametrize(
    ("condition", "available", "silent"),
    [
        (Condition.AVAILABLE, True, False),
        (Condition.SUSPECT, True, True),
        (Condition.DOWN, False, False),
        (Condition.PAUSED, False, False),
    ],
)
def test_a_suspect_platform_keeps_its_jobs_and_starts_none(condition: Condition, available: bool, silent: bool) -> None:
    place = Occupancy[str](SPEC)
    place.move(condition, "" if condition is Condition.AVAILABLE else f"is {condition}")
    state = place.state(None)
    assert (state.available, state.silent, place.open()) == (available, silent, condition is Condition.AVAILABLE)


def test_the_policy_sees_what_a_platform_can_do_and_what_it_is_known_to_lack() -> None:
    state = Occupancy[str](replace(SPEC, capabilities=("R", "GPU"), lacking={"R": "is gone"})).state(None)
    assert (state.capabilities, state.lacking) == (("R", "GPU"), {"R": "is gone"})


def test_a_silent_platform_begins_as_suspect() -> None:
    assert Occupancy[str](replace(SPEC, silent=True)).condition is Condition.SUSPECT
    assert Occupancy[str](replace(SPEC, silent=True, available=False)).condition is Condition.DOWN


def test_a_condition_changes_only_as_a_machine_can() -> None:
    place = Occupancy[str](SPEC)
    with pytest.raises(ForbiddenTransitionError, match="local_m4 cannot go from available to probing"):
        place.move(Condition.PROBING, "is tried again")
    assert place.condition is Condition.AVAILABLE
