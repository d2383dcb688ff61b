"""What a job and a platform declare decides whether they meet."""

import pytest

from hydra_plugins.sweeproute._admission import JobClass, PlatformState, RoutingError, barrier, expected_s, obstacle

GLM = JobClass((("model_type", "GLM"),), minutes=10.0)


def test_classes_with_equal_settings_are_one() -> None:
    assert {JobClass((("model_type", "GLM"),)), JobClass((("model_type", "GLM"),))} == {
        JobClass((("model_type", "GLM"),))
    }
    assert JobClass((), priority=6) != JobClass(())


@pytest.mark.parametrize("priority", [0, 11])
def test_a_priority_outside_1_to_10_is_refused(priority: int) -> None:
    with pytest.raises(RoutingError, match=f"priority {priority}. Allowed: 1 to 10"):
        JobClass((), priority=priority)


@pytest.mark.parametrize(
    ("speed", "seconds"), [({}, 600.0), ({"GLM": 2.0}, 300.0), ({"glm": 0.5}, 1200.0), ({"XGBoost": 9.0}, 600.0)]
)
def test_speed_is_looked_up_by_model_type_in_any_case(speed: dict[str, float], seconds: float) -> None:
    assert expected_s(GLM, PlatformState("here", slots=1, speed=speed)) == seconds


def test_an_unavailable_platform_without_a_reason_still_has_a_clause() -> None:
    assert barrier(GLM, PlatformState("here", slots=1, available=False)) == "is unavailable"


def test_a_full_platform_is_full_whatever_memory_is_free() -> None:
    assert obstacle(GLM, PlatformState("here", slots=1, running=1)) == "is full"


def test_measured_memory_below_nothing_reads_as_none() -> None:
    state = PlatformState("here", slots=2, running=1, memory_gb=8.0, memory_free_gb=-1.0)
    assert obstacle(GLM, state) == "has 0 GB of memory free, 1 GB needed"
