"""Tests of the walk-forward folds."""

import doctest
import sys
from typing import Any

import numpy as np
import pytest

from sweeproute.validation import Fold, ValidationError, check_holdout, walk_forward
from synthetic_games import games

SEASONS = np.repeat(np.arange(2003, 2012), 4)
KICKOFF = np.repeat(np.arange(2003, 2012), 4).astype("U").astype("datetime64[ns]") + np.tile(np.arange(4), 9).astype(
    "timedelta64[D]"
)
DEFAULTS: dict[str, Any] = {
    "window": "expanding",
    "window_seasons": None,
    "first_test_season": 2007,
    "gap_seasons": 0,
    "calibration_seasons": 0,
    "selection_seasons": [2007, 2009],
}


def folds(**changes: Any) -> list[Fold]:
    return walk_forward(SEASONS, KICKOFF, **(DEFAULTS | changes))


def drawn(fold: Fold) -> str:
    """A fold as in the docstring of walk_forward, without what tells gap and later seasons apart."""
    letter = {}
    for name, positions in (("T", fold.train), ("C", fold.calibration), ("X", fold.test)):
        letter |= dict.fromkeys(SEASONS[positions].tolist(), name)
    return "".join(letter.get(season, ".") for season in range(2003, 2012))


def test_an_expanding_window_trains_on_all_earlier_seasons() -> None:
    assert [drawn(fold) for fold in folds()] == ["TTTTX....", "TTTTTX...", "TTTTTTX.."]


def test_a_rolling_window_keeps_its_length() -> None:
    assert [drawn(fold) for fold in folds(window="rolling", window_seasons=2)] == [
        "..TTX....",
        "...TTX...",
        "....TTX..",
    ]


def test_the_calibration_season_is_held_out_of_training() -> None:
    assert [drawn(fold) for fold in folds(calibration_seasons=1)] == ["TTTCX....", "TTTTCX...", "TTTTTCX.."]


def test_the_gap_lies_between_training_and_what_follows() -> None:
    cut = folds(window="rolling", window_seasons=2, gap_seasons=1, calibration_seasons=1)
    assert [drawn(fold) for fold in cut] == ["TT.CX....", ".TT.CX...", "..TT.CX.."]


def test_only_selection_seasons_from_the_first_test_season_on_are_tested() -> None:
    assert [fold.season for fold in folds(selection_seasons=[2005, 2008])] == [2007, 2008]
    assert [fold.season for fold in folds(selection_seasons=[2008, 2009])] == [2008, 2009]


def test_no_fold_touches_a_game_after_the_last_selection_season() -> None:
    for fold in folds(calibration_seasons=1):
        touched = np.concatenate([fold.train, fold.calibration, fold.test])
        assert SEASONS[touched].max() <= 2009


def test_positions_are_ascending_int64_and_whole_seasons() -> None:
    for fold in folds(calibration_seasons=1):
        for positions in (fold.train, fold.calibration, fold.test):
            assert positions.dtype == np.int64
            assert (np.diff(positions) > 0).all()
            assert np.isin(SEASONS, np.unique(SEASONS[positions])).sum() == positions.size


def test_a_season_without_games_is_no_season() -> None:
    there = SEASONS != 2006
    cut = walk_forward(SEASONS[there], KICKOFF[there], **(DEFAULTS | {"window": "rolling", "window_seasons": 2}))
    assert np.unique(SEASONS[there][cut[0].train]).tolist() == [2004, 2005]


def test_shuffled_games_are_found_too() -> None:
    order = np.random.default_rng(0).permutation(SEASONS.size)
    shuffled = walk_forward(SEASONS[order], KICKOFF[order], **DEFAULTS)
    for one, other in zip(folds(), shuffled, strict=True):
        assert set(one.train) == set(order[other.train])


def test_every_training_game_was_played_before_every_tested_one() -> None:
    dataset = games()
    for fold in walk_forward(dataset.season, dataset.kickoff, **DEFAULTS):
        assert dataset.kickoff[fold.train].max() < dataset.kickoff[fold.test].min()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"first_test_season": 2025}, "first_test_season=2025 is not in the data, which has 2003 to 2011"),
        (
            {"first_test_season": 2003, "selection_seasons": [2003, 2009]},
            r"The first fold tests 2003 and needs 1 earlier seasons .* has 0 \(none\)",
        ),
        ({"window": "rolling", "window_seasons": 5}, "needs 5 earlier seasons .* has 4 .*2003 to 2006"),
        ({"window": "rolling"}, "set validation.window_seasons"),
        ({"window_seasons": 3}, "no meaning for an expanding window"),
        ({"window": "slidng"}, "slidng is not known; use expanding or rolling"),
        ({"window": "rolling", "window_seasons": 0}, "window_seasons=0 is out of range; use 1 or more"),
        ({"gap_seasons": -1}, "gap_seasons=-1 is out of range"),
        ({"calibration_seasons": 4}, "needs 5 earlier seasons"),
        ({"selection_seasons": [2007, 2030]}, r"\[2007,2030\] reaches outside the data, which has 2003 to 2011"),
        ({"selection_seasons": [2009, 2007]}, "is not a first and a last season"),
        ({"selection_seasons": [2009]}, "is not a first and a last season"),
        ({"selection_seasons": [2004, 2006]}, "ends before validation.first_test_season=2007"),
    ],
)
def test_settings_that_do_not_fit_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        folds(**changes)


def test_an_empty_data_set_is_named() -> None:
    with pytest.raises(ValidationError, match="no games"):
        walk_forward(SEASONS[:0], KICKOFF[:0], **DEFAULTS)


def test_seasons_that_overlap_in_time_are_refused() -> None:
    kickoff = KICKOFF.copy()
    kickoff[SEASONS == 2005] += np.timedelta64(400, "D")
    with pytest.raises(ValidationError, match="Season 2005 has a game on 2006-02-08, when season 2006 had begun"):
        walk_forward(SEASONS, kickoff, **DEFAULTS)


def test_dates_of_the_holdout_are_not_looked_at() -> None:
    kickoff = KICKOFF.copy()
    kickoff[SEASONS >= 2010] = np.datetime64("1990-01-01", "ns")
    assert [drawn(fold) for fold in walk_forward(SEASONS, kickoff, **DEFAULTS)] == [drawn(fold) for fold in folds()]


def test_a_holdout_inside_the_selection_is_refused() -> None:
    with pytest.raises(ValidationError, match="begins before the selection ends in 2022"):
        check_holdout([2012, 2022], [2022, 2024])
    check_holdout([2012, 2022], [2023, 2024])
    check_holdout([2012, 2022], None)


def test_the_examples_in_the_docstrings_hold() -> None:
    tried = doctest.testmod(sys.modules["sweeproute.validation"])
    assert tried.attempted > 0
    assert tried.failed == 0
