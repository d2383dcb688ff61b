"""Tests of scores by season: each point is a score, and the market stands beside."""

import numpy as np
import pytest

from predicted_games import predictions, without_odds
from sweeproute import figure_seasons, figure_style, scores
from sweeproute.betting import implied_probability
from sweeproute.figure_curves import Curve

SEASONS = (2018, 2019, 2020)


def drawn(*curves: Curve):
    with figure_style.look():
        return figure_seasons.seasons(curves, 6.3)


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_model_has_its_scores_and_the_market_has_its_own():
    curves = [Curve("a", predictions(noise=0.2)), Curve("b", predictions(noise=1.0, seed=3, distinct=10))]
    figure = drawn(*curves)
    odds = curves[0].odds
    said = [*(curve.probability for curve in curves), implied_probability(odds)]
    season, outcome = curves[0].predictions["season"].to_numpy(), curves[0].outcome
    for axis, score in zip(figure.axes, (scores.brier, scores.auc), strict=True):
        assert len(axis.lines) == 3
        for line, probability in zip(axis.lines, said, strict=True):
            expected = [score(outcome[season == year], probability[season == year]) for year in SEASONS]
            np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-12)
            # Side by side, but nearer to their own season than to any other.
            assert np.round(line.get_xdata()).tolist() == list(SEASONS)
    assert texts(figure) == ["a", "b", "market (closing odds)"]
    assert figure.axes[1].get_xticks().tolist() == list(SEASONS)


def test_a_season_without_odds_is_a_gap_in_the_markets_line_and_its_share_is_said():
    frame = predictions()
    figure = drawn(Curve("a", without_odds(frame, frame["season"] == 2019)))
    market = figure.axes[0].lines[-1]
    assert np.isnan(market.get_ydata()).tolist() == [False, True, False]
    assert texts(figure)[-1] == "market (closing odds)\n(66.7% of the games)"


def test_without_odds_there_is_no_market():
    figure = drawn(Curve("a", without_odds(predictions())))
    assert [len(axis.lines) for axis in figure.axes] == [1, 1]
    assert texts(figure) == ["a"]


def test_the_market_counts_each_game_once_also_where_only_one_model_knows_the_odds():
    frame = predictions()
    known, unknown = Curve("a", frame), Curve("b", without_odds(frame))
    later = Curve("c", predictions(seasons=(2021,)).assign(game_id=lambda it: "later" + it["game_id"]))
    priced, share = figure_seasons.market([unknown, known])
    assert (len(priced), share) == (len(frame), 1.0)
    np.testing.assert_array_equal(np.sort(priced["probability"]), np.sort(implied_probability(known.odds)))
    assert len(figure_seasons.market([known, later])[0]) == len(frame) + len(later.predictions)


def test_models_of_other_seasons_stand_at_their_own():
    figure = drawn(Curve("a", predictions(seasons=(2010, 2011))), Curve("b", predictions(seasons=(2011, 2012))))
    assert [np.round(line.get_xdata()).tolist() for line in figure.axes[0].lines] == [
        [2010, 2011],
        [2011, 2012],
        [2010, 2011, 2012],
    ]


def test_the_points_of_one_season_stand_apart():
    figure = drawn(*(Curve(str(number), predictions(seasons=(2020,), seed=number)) for number in range(4)))
    places = [line.get_xdata()[0] for line in figure.axes[0].lines[:4]]
    assert np.diff(places) == pytest.approx([0.125] * 3)
    assert np.mean(places) == pytest.approx(2020)
    assert figure.axes[1].get_xlim() == (2019.5, 2020.5)


def test_an_area_that_is_not_defined_in_any_season_is_said():
    frame = predictions()
    figure = drawn(Curve("a", frame[frame["outcome"] == 1]))
    assert [text.get_text() for text in figure.axes[1].texts] == ["not defined: all games ended alike"]
    assert len(figure.axes[0].texts) == 0
