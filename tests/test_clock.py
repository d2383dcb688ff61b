"""A process that is stopped for minutes goes on as if it had not been."""

from hydra_plugins.sweeproute._clock import AwakeClock


def test_a_closed_lid_takes_a_few_seconds_and_no_more() -> None:
    times = iter([100.0, 100.5, 101.5, 701.5, 702.5])
    clock = AwakeClock(lambda: next(times))
    assert clock() == 0.5
    assert clock() == 1.5
    assert clock() < 10
    after = clock()
    assert after < 11
