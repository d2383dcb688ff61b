"""Tests of how far models are drawn ahead of a baseline: each point is a difference of scores up to a season."""

import numpy as np

from predicted_games import predictions
from sweeproute import figure_learning, figure_style, scores
from sweeproute.figure_curves import Curve

SEASONS = (2018, 2019, 2020)


def drawn(*curves: Curve):
    with figure_style.look():
        return figure_learning.learning(curves, 6.3)


def test_each_point_counts_the_games_up_to_its_season():
    frame = predictions(noise=0.4)
    ratings = np.clip(frame["probability"].to_numpy() + np.random.default_rng(1).normal(0, 0.1, len(frame)), 0, 1)
    frame = frame.assign(elo=ratings)
    figure = drawn(Curve("a", frame))
    (axis,) = figure.axes
    line = axis.lines[0]
    assert line.get_xdata().tolist() == list(SEASONS)
    for season, value in zip(SEASONS, line.get_ydata(), strict=True):
        until = frame[frame["season"] <= season]
        outcome = until["outcome"].to_numpy()
        expected = scores.brier(outcome, until["elo"].to_numpy()) - scores.brier(
            outcome, until["probability"].to_numpy()
        )
        np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert axis.get_ylabel() == "Brier score below that of Elo"


def test_without_ratings_a_model_is_compared_with_one_half():
    frame = predictions(noise=0.4)
    for without in (frame, frame.assign(elo=np.nan)):
        axis = drawn(Curve("a", without)).axes[0]
        outcome, probability = frame["outcome"].to_numpy(), frame["probability"].to_numpy()
        np.testing.assert_allclose(axis.lines[0].get_ydata()[-1], 0.25 - scores.brier(outcome, probability), rtol=1e-12)
        assert axis.get_ylabel() == "Brier score below that of 0.5"


def test_a_model_without_probabilities_has_no_line_and_the_others_keep_theirs():
    bettor, model = predictions(noise=0.4).assign(probability=np.nan), predictions(noise=0.4)
    figure = drawn(Curve("bettor", bettor), Curve("model", model))
    line = figure.axes[0].lines[0]
    assert line.get_color() == figure_style.line(1).drawn["color"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["model"]
