"""Tests of Holm's adjustment, and of who is shown as best."""

import doctest
import gc
import sys

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from sweeproute.significance import (
    ConfidenceSet,
    SignificanceError,
    holm,
    holm_pairs,
    standing_of_pairs,
    standing_of_set,
)

FIXED = hypothesis.settings(derandomize=True, deadline=None, max_examples=30)
NAN = float("nan")


@FIXED
@hypothesis.given(st.lists(st.one_of(st.floats(0, 1), st.just(NAN), st.sampled_from([0.0, 0.01, 0.02, 1.0]))))
def test_holm_is_that_of_statsmodels_over_the_tests_that_were_made(values: list[float]) -> None:
    value = np.array(values)
    made = ~np.isnan(value)
    adjusted = holm(value)
    assert np.isnan(adjusted[~made]).all()
    if made.any():
        gc.freeze()  # multipletests collects garbage, which takes long where a whole suite has been imported
        try:
            expected = multipletests(value[made], method="holm")[1]
        finally:
            gc.unfreeze()
        np.testing.assert_allclose(adjusted[made], expected, atol=1e-12)


def test_pairs_count_once_and_those_without_a_test_not_at_all() -> None:
    p = np.array([[1, 0.01, 0.02, NAN], [0.01, 1, 0.04, NAN], [0.02, 0.04, 1, NAN], [NAN, NAN, NAN, NAN]])
    adjusted = holm_pairs(p)
    np.testing.assert_allclose(
        adjusted, [[1, 0.03, 0.04, NAN], [0.03, 1, 0.04, NAN], [0.04, 0.04, 1, NAN], [NAN, NAN, NAN, NAN]]
    )
    assert p[0, 1] == 0.01


def pairs(*above: float) -> np.ndarray:
    """Symmetric p-values of three models, from those of 0 and 1, 0 and 2, 1 and 2."""
    a, b, c = above
    return np.array([[1, a, b], [a, 1, c], [b, c, 1]])


@pytest.mark.parametrize(
    ("value", "p", "tied", "bold"),
    [
        ([0.70, 0.65, 0.60], pairs(0.01, 0.01, 0.5), [1, 0, 0], [1, 0, 0]),
        ([0.70, 0.65, 0.60], pairs(0.20, 0.01, 0.5), [1, 1, 0], [0, 0, 0]),
        # A tie does not go on: 2 ties with 1, which ties with 0, and yet is worse than 0.
        ([0.70, 0.65, 0.60], pairs(0.20, 0.05, 0.9), [1, 1, 0], [0, 0, 0]),
        # Nothing says that 2 is worse, for there is no test; 1 has no value.
        ([0.70, NAN, 0.60], pairs(NAN, NAN, NAN), [1, 0, 1], [0, 0, 0]),
        # Two are best, and 2 is worse than one of them alone.
        ([0.70, 0.70, 0.60], pairs(0.9, 0.01, 0.2), [1, 1, 1], [0, 0, 0]),
        ([0.70, 0.70, 0.60], pairs(0.9, 0.01, 0.01), [1, 1, 0], [0, 0, 0]),
        # Of two with one value that differ for sure, neither is better.
        ([0.70, 0.70, 0.60], pairs(0.0, 0.01, 0.01), [1, 1, 0], [0, 0, 0]),
        ([NAN, NAN, NAN], pairs(NAN, NAN, NAN), [0, 0, 0], [0, 0, 0]),
    ],
)
def test_who_ties_with_the_best_is_shown_as_a_tie_and_who_is_alone_is_bold(value, p, tied, bold) -> None:
    found = standing_of_pairs(np.array(value), p, higher_is_better=True)
    assert found.tied.tolist() == [bool(one) for one in tied]
    assert found.bold.tolist() == [bool(one) for one in bold]
    lower = standing_of_pairs(-np.array(value), p, higher_is_better=False)
    assert lower.tied.tolist() == found.tied.tolist()
    assert lower.best.tolist() == found.best.tolist()


def test_the_members_of_a_confidence_set_tie() -> None:
    found = standing_of_set(ConfidenceSet(np.array([0.2, 0.21, 0.3]), np.array([1.0, 0.4, 0.02])))
    assert (found.best.tolist(), found.tied.tolist()) == ([True, False, False], [True, True, False])
    assert not found.bold.any()
    alone = standing_of_set(ConfidenceSet(np.array([0.2, 0.21, 0.3]), np.array([1.0, 0.04, 0.02])))
    assert alone.bold.tolist() == [True, False, False]
    unknown = standing_of_set(ConfidenceSet(np.array([0.2, 0.21]), np.array([NAN, NAN])))
    assert unknown.tied.all()
    nothing = standing_of_set(ConfidenceSet(np.array([NAN]), np.array([NAN])))
    assert not nothing.tied.any()


def test_p_values_of_other_models_are_refused() -> None:
    with pytest.raises(SignificanceError, match=r"shape \(3, 3\); for 2 models"):
        standing_of_pairs(np.array([0.1, 0.2]), pairs(1, 1, 1), higher_is_better=True)


@pytest.mark.parametrize("name", ["pairs", "standing"])
def test_the_examples_in_the_docstrings_hold(name: str) -> None:
    tried = doctest.testmod(sys.modules[f"sweeproute.significance.{name}"])
    assert tried.attempted > 0
    assert tried.failed == 0
