"""Tests of tables as CSV, JSON and text."""

import csv
import io
import json
import math

import pytest

from sweeproute.tables import BEST, TIED, Cell, Column, Table, json_text, number, shown, to_csv, to_json, to_text

TABLE = Table(
    name="models",
    caption="Models",
    label="tab:models",
    columns=(Column("model", "Model"), Column("auc", "AUC", 3), Column("roi", "ROI (%)", 1, percent=True)),
    rows=(
        (Cell("GLM", mark="a"), Cell(0.1 + 0.2, 0.25, 0.35, standing=BEST), Cell(None)),
        (Cell("XG, Boost"), Cell(0.2, standing=TIED), Cell(-0.0312, error=0.001)),
        (Cell("market"), Cell(""), Cell(-math.inf)),
    ),
    sections=((2, "Baselines"),),
    notes=("A note.",),
)


def test_csv_is_exact_and_what_is_missing_is_empty():
    rows = list(csv.DictReader(io.StringIO(to_csv(TABLE))))
    assert list(rows[0]) == [
        *("model", "model_mark", "auc", "auc_low", "auc_high", "auc_standing"),
        *("roi", "roi_error"),
    ]
    assert float(rows[0]["auc"]) == 0.1 + 0.2
    assert (rows[0]["roi"], rows[1]["auc_low"], rows[1]["model"]) == ("", "", "XG, Boost")
    assert float(rows[2]["roi"]) == -math.inf


def test_json_is_exact_and_what_is_missing_is_null():
    told = json.loads(to_json(TABLE))
    assert told["rows"][0][1]["value"] == 0.1 + 0.2
    assert told["rows"][0][2]["value"] is None
    assert float(told["rows"][2][2]["value"]) == -math.inf
    assert json_text({"a": float("nan")}) == '{\n  "a": null\n}\n'


def test_text_shows_who_is_best_who_ties_and_what_is_missing():
    lines = to_text(TABLE).splitlines()
    assert lines[:2] == ["Models", ""]
    assert lines[4].split() == ["GLM", "(a)", "0.300*", "–"]
    assert lines[5].split() == ["XG,", "Boost", "0.200=", "-3.1"]
    assert lines[6] == "Baselines"
    assert lines[7].split() == ["market", "−∞"]
    assert lines[-1] == "A note."
    # Digits stand below each other.
    assert len({line.index(".") for line in lines[4:6]}) == 1


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (0.0312, Column("roi", "", 1, percent=True), "3.1"),
        (-0.0001, Column("roi", "", 1, percent=True), "0.0"),
        (0.0004, Column("p", "", 3, least=0.001), "<0.001"),
        (0.001, Column("p", "", 3, least=0.001), "0.001"),
        (1053.0, Column("n", "", 0), "1053"),
        (None, Column("n", "", 0), None),
        ("", Column("n", "", 0), None),
    ],
)
def test_numbers_are_written_for_people(value, column, text):
    assert shown(Cell(value), column) == text


def test_a_number_that_is_none_is_missing():
    assert number(float("nan")) is None
    assert number(None) is None
    assert number(0) == 0.0
