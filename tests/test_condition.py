"""A platform goes from one condition to another only as its machine can."""

import pytest

from hydra_plugins.sweeproute._condition import KEEPS_JOBS, NEXT, UNREACHABLE, Condition, ForbiddenTransitionError


def test_every_condition_can_become_available_again_and_go_down() -> None:
    assert set(NEXT) == set(Condition)
    for condition, following in NEXT.items():
        assert condition is Condition.AVAILABLE or Condition.AVAILABLE in following
        assert condition is Condition.DOWN or Condition.DOWN in following


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (Condition.AVAILABLE, Condition.PROBING),
        (Condition.DOWN, Condition.SUSPECT),
        (Condition.PROBING, Condition.SUSPECT),
        (Condition.PAUSED, Condition.SUSPECT),
        (Condition.PAUSED, Condition.PROBING),
    ],
)
def test_contact_is_tried_again_after_down_alone_and_silence_is_no_matter_where_nothing_starts(
    old: Condition, new: Condition
) -> None:
    assert new not in NEXT[old]


def test_what_cannot_be_asked_keeps_no_jobs() -> None:
    assert not KEEPS_JOBS & UNREACHABLE
    assert Condition.PAUSED not in KEEPS_JOBS | UNREACHABLE


def test_a_forbidden_transition_names_those_that_are_allowed() -> None:
    error = ForbiddenTransitionError("there", Condition.DOWN, Condition.SUSPECT)
    assert str(error) == "there cannot go from down to suspect. Allowed: available, paused, probing."
