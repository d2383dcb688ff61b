"""Tests of ROC curves: what is drawn is what the scores say."""

import doctest
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predicted_games import predictions
from sweeproute import figure_roc, figure_style, scores
from sweeproute.figure_curves import Curve
from sweeproute.significance import areas


def drawn(*curves: Curve, width: float = 6.3, **more):
    with figure_style.look():
        return figure_roc.roc(curves, width, **more)


def test_the_examples_hold():
    assert doctest.testmod(figure_roc).failed == 0


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=2, max_size=40))
def test_the_area_below_is_the_score_and_no_corner_is_to_spare(games):
    outcome, said = (np.array(column) for column in zip(*games, strict=True))
    lost, won = figure_roc.points(outcome, said / 8)
    if len(set(outcome.tolist())) == 1:
        assert lost.size == won.size == 0
        return
    assert np.trapezoid(won, lost) == pytest.approx(scores.auc(outcome, said / 8))
    assert (np.diff(lost) >= 0).all()
    assert (np.diff(won) >= 0).all()
    assert (lost[0], won[0], lost[-1], won[-1]) == (0, 0, 1, 1)
    step = np.column_stack([np.diff(lost), np.diff(won)])
    assert (np.abs(step[1:, 0] * step[:-1, 1] - step[1:, 1] * step[:-1, 0]) > 1e-12).all()
    # Every threshold lies on the curve.
    for bound in range(9):
        taken = said >= bound
        share = taken[outcome == 0].mean(), taken[outcome == 1].mean()
        gaps = np.abs(np.interp(share[0], lost, won) - share[1]), np.abs(np.interp(share[1], won, lost) - share[0])
        assert min(gaps) < 1e-9 or share[0] in lost


def test_each_model_has_a_line_with_its_area_and_the_interval_by_week():
    curves = [Curve("a", predictions(noise=0.2)), Curve("b", predictions(noise=2.0, distinct=10, seed=3))]
    figure = drawn(*curves)
    (axis,) = figure.axes
    diagonal, *lines = axis.lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert len(lines) == 2
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    for curve, line, text in zip(curves, lines, said, strict=False):
        frame = curve.predictions
        assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(
            scores.auc(curve.outcome, curve.probability)
        )
        weeks = figure_roc.weeks(curve)
        assert weeks.n_weeks == len(frame[["season", "week"]].drop_duplicates()) == 24
        found = areas(curve.outcome, curve.probability[None, :], weeks)
        assert text == f"{curve.label}\n{found.auc[0]:.3f} [{found.low[0]:.3f}, {found.high[0]:.3f}]"
    assert [line.get_color() for line in lines] == [figure_style.line(at).color for at in (0, 1)]


def test_another_level_has_another_interval():
    curve = Curve("a", predictions())
    narrow, wide = (drawn(curve, level=level).legends[0] for level in (0.5, 0.99))
    assert narrow.get_title().get_text().endswith("[50% interval]")
    assert narrow.get_texts()[0].get_text() != wide.get_texts()[0].get_text()


def test_games_whose_week_is_not_known_are_grouped_by_their_day():
    frame = predictions()
    frame.loc[frame["season"] == 2018, "week"] = None
    known = figure_roc.weeks(Curve("a", predictions()))
    assert (figure_roc.weeks(Curve("a", frame)).n_weeks, known.n_weeks) == (24, 24)


def test_games_that_ended_alike_have_no_curve_and_it_is_said():
    frame = predictions()
    figure = drawn(Curve("alike", frame[frame["outcome"] == 1]), Curve("other", frame))
    assert len(figure.axes[0].lines[1].get_xdata()) == 0
    assert figure.legends[0].get_texts()[0].get_text() == "alike\nnot defined: all games ended alike"


def test_the_axes_are_square_and_nothing_is_cut_off():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for label, width in itertools.product(("a", "a label that is long enough to take two lines of it"), (4.0, 6.3)):
        figure = drawn(Curve(label, predictions()), width=width)
        with figure_style.look():
            FigureCanvasAgg(figure).draw()
        (axis,) = figure.axes
        assert axis.bbox.width == pytest.approx(axis.bbox.height, rel=1e-3)
        box, legend = axis.get_tightbbox(), figure.legends[0].get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= legend.x0 + 5 or box.y0 >= legend.y1 - 5
        assert axis.bbox.width > 0.4 * figure.bbox.width
        assert legend.x1 <= figure.bbox.width
        assert legend.y0 >= 0
