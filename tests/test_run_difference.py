"""Tests of what counts as the first difference of two results."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from sweeproute.run_difference import Results, first_difference, largest_difference
from sweeproute.selection import LARGEST

NAN = float("nan")


def results(**changes: Any) -> Results:
    """Two seasons of two metrics, three games."""
    metrics = {"auc": {2018: 0.7, 2019: 0.6}, "brier": {2018: 0.2, 2019: NAN}, "fit_s": {0: 1.0}}
    games = pd.DataFrame(
        {
            "game_id": ["a", "b", "c"],
            "kickoff": pd.to_datetime(["2018-09-01", "2018-09-02", "2019-09-01"]),
            "probability": [0.5, 0.25, NAN],
            "bet": pd.array(["home", None, "away"], dtype="string"),
        }
    )
    return Results(metrics | changes.get("metrics", {}), changes.get("predictions", games))


def changed(column: str, row: int, value: Any) -> Results:
    table = results().predictions
    assert table is not None
    table.loc[row, column] = value
    return results(predictions=table)


def test_the_same_numbers_are_no_difference_and_a_nan_is_one_of_them() -> None:
    assert first_difference(results(), results()) is None
    assert largest_difference(results(), results()) == 0


@pytest.mark.parametrize("metric", ["fit_s", "predict_s", "system/cpu_utilization_percentage"])
def test_what_a_clock_or_a_machine_measured_is_not_compared(metric: str) -> None:
    assert first_difference(results(), results(metrics={metric: {0: 5.0}})) is None


def test_an_infinity_is_what_a_store_makes_of_it() -> None:
    before, after = results(metrics={"roi": {2018: -LARGEST}}), results(metrics={"roi": {2018: -math.inf}})
    assert first_difference(before, after) is None


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({"brier": {2018: 0.2, 2019: 0.1}}, "metric brier at step 2019 is nan on record, and came out as 0.1"),
        # Of several, the one at the earliest step.
        (
            {"auc": {2018: 0.7, 2019: 0.5}, "brier": {2018: 0.3, 2019: NAN}},
            "metric brier at step 2018 is 0.2 on record, and came out as 0.3",
        ),
        ({"auc": {2018: 0.7}}, "metric auc at step 2019 is 0.6 on record, and was not made again"),
        ({"roi": {2017: 1.0}}, "metric roi at step 2017 is not on record, and came out as 1.0"),
    ],
)
def test_the_first_metric_that_differs_is_named_with_its_step(metrics: dict[str, Any], told: str) -> None:
    assert first_difference(results(), results(metrics=metrics)) == told


@pytest.mark.parametrize(
    ("column", "row", "value", "told"),
    [
        ("probability", 1, 0.26, "game b, probability is 0.25 on record, and came out as 0.26"),
        ("probability", 2, 0.5, "game c, probability is nan on record, and came out as 0.5"),
        ("bet", 1, "home", "game b, bet is <NA> on record, and came out as home"),
        ("bet", 0, None, "game a, bet is home on record, and came out as <NA>"),
        ("kickoff", 0, pd.Timestamp("2018-09-03"), "game a, kickoff is 2018-09-01 00:00:00 on record"),
    ],
)
def test_the_first_cell_that_differs_is_named_with_its_game(column: str, row: int, value: Any, told: str) -> None:
    difference = first_difference(results(), changed(column, row, value))
    assert difference is not None
    assert difference.startswith(told)


def test_games_in_another_order_are_the_same_games() -> None:
    table = results().predictions
    assert table is not None
    assert first_difference(results(), results(predictions=table[::-1].reset_index(drop=True))) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda table: table[:2], "game c of the predictions was not predicted again"),
        (lambda table: table.assign(stake=1.0), "column stake of the predictions is not on record"),
        (lambda table: table.drop(columns="bet"), "column bet of the predictions was not predicted again"),
        (lambda table: pd.concat([table, table[:1]]), "game a is there twice in those that came out"),
        (lambda table: None, "predictions are on record, and were not made again"),
    ],
)
def test_games_and_columns_that_are_missing_are_named(change: Callable[[Any], Any], told: str) -> None:
    assert first_difference(results(), results(predictions=change(results().predictions))) == told


def test_within_a_tolerance_numbers_may_differ_and_words_may_not() -> None:
    close = changed("probability", 0, 0.5 + 1e-9)
    assert first_difference(results(), close) is not None
    assert first_difference(results(), close, 1e-6) is None
    assert largest_difference(results(), close) == pytest.approx(1e-9, rel=1e-6)
    assert first_difference(results(), changed("probability", 0, 0.5 + 1e-5), 1e-6) is not None
    assert first_difference(results(), changed("probability", 2, 0.5), 1e6) is not None
    assert first_difference(results(), changed("bet", 0, "away"), 1e-6) is not None
    assert first_difference(results(), results(metrics={"auc": {2018: 0.7 + 2e-6, 2019: 0.6}}), 1e-6) is not None
