"""How long a job is expected to run, and what that is known from."""

import pytest

from hydra_plugins.sweeproute._admission import JobClass, PlatformState
from hydra_plugins.sweeproute._assignment import Job
from hydra_plugins.sweeproute._estimates import Estimate, Estimates

STATES = (PlatformState("laptop", slots=2), PlatformState("box", slots=2, speed={"Trees": 10.0}))
JOB = Job(0, ("model=trees", "depth=3"), JobClass((("model_type", "Trees"),), minutes=2.0))


def line(seconds: float, platform: str = "laptop", depth: int = 3, **changes: object) -> dict[str, object]:
    written = {"model": "Trees", "platform": platform, "overrides": ["model=trees", f"depth={depth}"]}
    return {**written, "seconds": seconds, "outcome": "FINISHED", **changes}


def test_without_a_finished_run_a_job_takes_what_its_config_states_by_the_registrys_speed() -> None:
    estimates = Estimates([line(9.0, outcome="FAILED"), line(9.0, model="Other")], STATES)
    assert estimates.of(JOB, "laptop") == Estimate(120.0, "stated")
    assert estimates.of(JOB, "box") == Estimate(12.0, "stated")
    assert estimates.finished("Trees", "laptop") == 0


def test_a_model_that_has_finished_elsewhere_is_scaled_by_the_registrys_speed() -> None:
    estimates = Estimates([line(40.0), line(60.0, depth=9)], STATES)
    assert estimates.of(JOB, "box") == Estimate(5.0, "scaled")


def test_a_point_that_has_finished_there_is_expected_to_take_the_same_time_again() -> None:
    estimates = Estimates([line(40.0), line(60.0, depth=9), line(7.0, "box", depth=9)], STATES)
    assert estimates.of(JOB, "laptop") == Estimate(40.0, "measured")
    assert estimates.finished("Trees", "laptop") == 2
    assert estimates.of(JOB, "box").basis == "measured"
    assert 1.0 < estimates.of(JOB, "box").seconds < 40.0


def test_a_point_of_other_axes_takes_what_the_model_typically_takes_there() -> None:
    estimates = Estimates([line(s) for s in (10.0, 20.0, 90.0)], STATES)
    other = Job(1, ("model=trees", "rounds=100"), JOB.job_class)
    assert estimates.of(other, "laptop") == Estimate(20.0, "measured")


def test_an_app_without_model_types_is_estimated_too() -> None:
    estimates = Estimates([line(5.0, model=None)], STATES)
    found = estimates.of(Job(0, ("depth=4",), JobClass(())), "laptop")
    assert found == Estimate(pytest.approx(5.0), "measured")
