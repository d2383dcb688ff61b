"""Tests of reliability diagrams: bins, intervals and the isotonic curve agree with the scores."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from predicted_games import predictions
from sweeproute import figure_reliability, figure_style, scores
from sweeproute.figure_curves import Curve

GAMES = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=60)


def drawn(*curves: Curve, **more):
    with figure_style.look():
        return figure_reliability.reliability(curves, 6.3, **more)


def test_the_examples_hold():
    assert doctest.testmod(figure_reliability).failed == 0


@given(GAMES)
def test_the_bins_are_those_of_the_adaptive_calibration_error(games):
    outcome, said = (np.array(column) for column in zip(*games, strict=True))
    found = figure_reliability.bins(outcome, said)
    assert found.count.sum() == len(games)
    gap = (found.count * np.abs(found.stated - found.won)).sum() / len(games)
    assert gap == pytest.approx(scores.ace(outcome, said), abs=1e-12)
    assert (np.diff(found.stated) > 0).all()
    assert (found.low <= found.won + 1e-12).all()
    assert (found.high >= found.won - 1e-12).all()
    assert (found.low >= 0).all()
    assert (found.high <= 1).all()


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_intervals_are_wilsons(level):
    frame = predictions(games=20)
    outcome = np.where(frame["probability"] > 0.7, 1, frame["outcome"])
    found = figure_reliability.bins(outcome, frame["probability"].to_numpy(), level=level)
    assert found.won[-1] == 1.0
    won = np.round(found.won * found.count)
    low, high = proportion_confint(won, found.count, 1 - level, method="wilson")
    np.testing.assert_allclose(found.low, low, atol=1e-12)
    np.testing.assert_allclose(found.high, high, atol=1e-12)


@given(GAMES)
def test_the_isotonic_curve_is_that_of_the_parts_of_the_brier_score(games):
    outcome, said = (np.array(column) for column in zip(*games, strict=True))
    at, curve = figure_reliability.recalibrated(outcome, said)
    assert (np.diff(curve) >= 0).all()
    best = curve[np.searchsorted(at, said)]
    reliability, _, _ = scores.brier_parts(outcome, said)
    assert scores.brier(outcome, said) - scores.brier(outcome, best) == pytest.approx(reliability, abs=1e-12)


def test_each_model_has_a_panel_with_its_bins_its_curve_and_its_histogram():
    curves = [Curve(f"model_{number}", predictions(noise=number, seed=number)) for number in range(5)]
    figure = drawn(*curves, level=0.9)
    used = [axis for axis in figure.axes if axis.axison]
    above, below = [axis for axis in used if axis.lines], [axis for axis in used if axis.patches]
    assert len(above) == len(below) == 5
    titles = [axis.get_title() for axis in above]
    assert titles == [rf"model$\_${number}" for number in range(5)]
    for curve, panel, bars in zip(curves, above, below, strict=True):
        found = figure_reliability.bins(curve.outcome, curve.probability, level=0.9)
        diagonal, isotonic, points = panel.lines
        assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
        np.testing.assert_array_equal(isotonic.get_xdata(), np.unique(curve.probability))
        np.testing.assert_array_equal(points.get_xdata(), found.stated)
        np.testing.assert_array_equal(points.get_ydata(), found.won)
        (ends,) = [container.lines[2][0].get_segments() for container in panel.containers]
        np.testing.assert_allclose([piece[0][1] for piece in ends], found.low, atol=1e-12)
        np.testing.assert_allclose([piece[1][1] for piece in ends], found.high, atol=1e-12)
        assert [text.get_text() for text in panel.texts] == [f"ACE {scores.ace(curve.outcome, curve.probability):.3f}"]
        assert sum(bar.get_height() for bar in bars.patches) == len(curve.predictions)
        assert bars.get_yticks().tolist() == [max(bar.get_height() for bar in bars.patches)]
        assert panel.get_xlim() == bars.get_xlim() == (0, 1)


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (7, 3), (12, 4)])
def test_panels_are_square_and_their_page_is_not_too_high(count, columns):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = drawn(*(Curve(f"a model of number {number}", predictions(seed=number)) for number in range(count)))
    with figure_style.look():
        FigureCanvasAgg(figure).draw()
    panels = [axis for axis in figure.axes if axis.lines]
    assert len({round(axis.bbox.x0) for axis in panels}) == columns
    for axis in panels:
        assert axis.bbox.width == pytest.approx(axis.bbox.height, rel=1e-3)
        assert axis.bbox.width > 1.0 * figure.dpi
    assert figure.get_figheight() < 8.5
