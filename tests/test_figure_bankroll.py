"""Tests of bankrolls over time: what is drawn is what betting brought."""

import numpy as np
import pytest

from predicted_games import bet, predictions, without_odds
from sweeproute import bankroll, figure_bankroll, figure_style
from sweeproute.betting import BettingRule, settle
from sweeproute.figure_curves import Curve

BOLD = BettingRule(stake=0.5)


def drawn(*curves: Curve, **more):
    with figure_style.look():
        return figure_bankroll.bankrolls(curves, 6.3, **more)


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def moved(axis) -> list:
    """The lines that stand for models."""
    return [line for line in axis.lines if line.get_drawstyle() == "steps-post"]


def test_bets_are_read_from_the_predictions_as_they_were_placed():
    frame = predictions()
    read = figure_bankroll.placed(Curve("a", frame))
    odds = frame[["odds_home", "odds_away"]].to_numpy()
    settled = settle(frame["probability"].to_numpy(), odds, frame["outcome"].to_numpy(), BettingRule())
    np.testing.assert_array_equal(read.side, settled.side)
    np.testing.assert_array_equal(read.stake, settled.stake)
    np.testing.assert_array_equal(read.profit, settled.profit)


@pytest.mark.parametrize("fraction", [0.1, 0.25])
def test_each_model_has_its_path_by_the_rule_and_by_kellys_stakes(fraction):
    curves = [Curve("a", predictions(noise=0.2)), Curve("b", predictions(noise=0.8, seed=3))]
    figure = drawn(*curves, kelly_fraction=fraction)
    flat, sized = figure.axes
    for position, curve in enumerate(curves):
        frame, bets = curve.predictions, figure_bankroll.placed(curve)
        kickoff = frame["kickoff"].to_numpy()
        kelly = bankroll.kelly(curve.probability, curve.odds, curve.outcome, kickoff, bets, fraction)
        for axis, profit in ((flat, bets.profit), (sized, kelly.profit)):
            line = moved(axis)[position]
            np.testing.assert_array_equal(line.get_ydata(), bankroll.path(profit, kickoff))
            np.testing.assert_array_equal(line.get_xdata()[1:], np.unique(kickoff))
            assert line.get_xdata()[0] == kickoff.min()
    assert flat.get_title("left") == "by the rule: 1 % of the first bankroll on each bet"
    assert sized.get_title("left") == f"the same bets at {fraction:g} of Kelly's stakes"
    assert texts(figure) == ["a", "b"]


def test_whoever_is_ruined_bets_no_further_and_it_is_marked():
    lost = predictions(noise=3.0, seed=1, rule=BOLD)
    figure = drawn(Curve("a", lost))
    (line,) = moved(figure.axes[0])
    path = bankroll.path(lost["profit"].to_numpy(), lost["kickoff"].to_numpy())
    end = int(np.flatnonzero(path <= 0)[0])
    assert 0 < end < len(path) - 1
    np.testing.assert_array_equal(line.get_ydata(), path[: end + 1])
    (mark,) = [one for one in figure.axes[0].lines if one.get_marker() == "x"]
    assert mark.get_xydata()[0, 1] == path[end]
    assert "ruin" in texts(figure)


def test_kellys_full_stakes_that_lose_all_are_ruin():
    frame = predictions(seasons=(2020,), weeks=3, games=2)
    frame["probability"], frame["outcome"] = 0.999, [0, 0, 1, 1, 1, 1]
    frame = bet(frame, BettingRule())
    figure = drawn(Curve("a", frame), kelly_fraction=1.0)
    (line,) = moved(figure.axes[1])
    assert line.get_ydata()[0] == 1
    assert line.get_ydata()[-1] == pytest.approx(0, abs=1e-9)
    assert len(line.get_ydata()) == 2
    assert "ruin" in texts(figure)


def test_a_bankroll_that_shrinks_many_times_over_is_on_a_logarithmic_axis_and_leaves_it_at_the_bottom():
    wild = predictions(noise=2.5, seed=9, seasons=(2017, 2018, 2019, 2020))
    path = figure_bankroll.course(_kelly(wild, 0.5), wild["kickoff"].to_numpy())
    assert not path.ruined
    assert path.bankroll[-1] < 1e-4
    figure = drawn(Curve("a", wild), Curve("b", predictions(noise=0.1)), kelly_fraction=0.5)
    flat, sized = figure.axes
    assert (flat.get_yscale(), sized.get_yscale()) == ("linear", "log")
    assert sized.get_ylim()[0] < 1e-4
    (mark,) = [one for one in sized.lines if one.get_marker() == "v" and one.get_drawstyle() == "default"]
    left = np.flatnonzero(path.bankroll >= sized.get_ylim()[0])[-1] + 1
    assert mark.get_xdata()[0] == path.moment[left]
    assert texts(figure)[-1] == "below 0.0001"


def _kelly(frame, fraction):
    curve = Curve("a", frame)
    placed = figure_bankroll.placed(curve)
    return bankroll.kelly(curve.probability, curve.odds, curve.outcome, curve.kickoff, placed, fraction)


def test_a_small_change_is_on_a_linear_axis():
    figure = drawn(Curve("a", predictions(seasons=(2020,), weeks=2)), kelly_fraction=0.05)
    assert [axis.get_yscale() for axis in figure.axes] == ["linear", "linear"]


def test_a_model_that_never_bets_has_no_line_and_the_legend_says_so():
    figure = drawn(Curve("bets", predictions()), Curve("never", without_odds(predictions())))
    assert [len(moved(axis)) for axis in figure.axes] == [1, 1]
    assert texts(figure) == ["bets", "never\n(no bet)"]


def test_a_model_that_bets_at_even_chances_has_no_line_by_kelly_and_the_legend_says_so():
    frame = predictions().assign(probability=0.5, odds_home=2.0, odds_away=2.0)
    figure = drawn(Curve("even", bet(frame, BettingRule(min_edge=0.0))))
    assert [len(moved(axis)) for axis in figure.axes] == [1, 0]
    assert texts(figure) == ["even\n(none at Kelly's stakes)"]


def test_where_no_model_bets_nothing_is_drawn_and_it_is_said():
    figure = drawn(Curve("never", without_odds(predictions())))
    for axis in figure.axes:
        assert len(axis.lines) == 0
        assert [text.get_text() for text in axis.texts] == ["no model placed a bet"]


def test_games_without_odds_among_others_change_nothing():
    frame = predictions()
    some = without_odds(frame, frame["season"] == 2019)
    (line,) = moved(drawn(Curve("a", some)).axes[0])
    profit = frame["profit"].where(frame["season"] != 2019).to_numpy()
    np.testing.assert_array_equal(line.get_ydata(), bankroll.path(profit, frame["kickoff"].to_numpy()))
