"""The snapshot of the platforms carries what was measured on each."""

from typing import Any

import pytest

from hydra_plugins.sweeproute._admission import JobClass, PlatformState
from hydra_plugins.sweeproute._board import Board
from hydra_plugins.sweeproute._condition import Condition
from hydra_plugins.sweeproute._durations import Durations
from hydra_plugins.sweeproute._policy import Policy, Rule

XGBOOST = JobClass((("model_type", "XGBoost"),), minutes=60.0)
PLATFORMS = [
    PlatformState("here", slots=2),
    PlatformState("there", slots=2, speed={"XGBoost": 10.0}),
    PlatformState("third", slots=2, speed={"XGBoost": 2.0}),
]


def line(platform: str, seconds: float, model: str = "XGBoost", num: int = 0) -> dict[str, Any]:
    return {
        "model": model,
        "platform": platform,
        "overrides": [f"x={num}"],
        "seconds": seconds,
        "outcome": "FINISHED",
    }


def board(*lines: dict[str, Any]) -> tuple[Board, Durations]:
    durations = Durations(lines)
    policy = Policy([Rule({"model_type": "XGBoost"}, "there", "GPU there")], "here")
    return Board(policy, PLATFORMS, durations), durations


def expected(it: Board) -> dict[str, float]:
    it.home(XGBOOST)
    return {name: state.expected_s[XGBOOST] for name, state in it.states.items()}


def test_without_history_durations_are_those_that_the_class_and_the_registry_state() -> None:
    assert expected(board()[0]) == {"here": 3600.0, "there": 360.0, "third": 1800.0}


def test_what_was_measured_beats_what_is_stated_and_scales_the_rest() -> None:
    it, _ = board(line("here", 50.0), line("here", 70.0), line("here", 60.0), line("here", 9.0, model="GLM"))
    assert expected(it) == {"here": 60.0, "there": 6.0, "third": 30.0}
    it, _ = board(line("here", 60.0), line("there", 20.0))
    assert expected(it) == {"here": 60.0, "there": 20.0, "third": pytest.approx(130.0 / 2)}  # of 60 and of 200


def test_what_is_learned_on_the_way_counts_from_the_next_decision_on() -> None:
    it, durations = board()
    slot = it.places["here"].start(object(), XGBOOST, 0.0)  # type: ignore[arg-type]
    assert expected(it)["here"] == 3600.0
    durations.learn(line("here", 60.0))
    assert it.learn()
    assert not it.learn()
    assert expected(it)["here"] == 60.0
    assert it.places["here"].running[slot].expected_s == 60.0


def test_the_fallback_is_the_platform_on_which_the_model_was_measured_to_be_fastest() -> None:
    it, _ = board(line("here", 10.0), line("third", 30.0))
    it.move("there", Condition.DOWN, "is down")
    assert it.home(XGBOOST).platform == "here"
