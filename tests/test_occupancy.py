"""A platform's slots and memory are what its running jobs leave."""

from hydra_plugins.sweeproute._admission import JobClass, PlatformState
from hydra_plugins.sweeproute._occupancy import Condition, Occupancy

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
