"""The conditions that a point of a search space has to meet."""

import pytest

from hydra_plugins.sweeproute._constraint import Constraint, read
from hydra_plugins.sweeproute._errors import SettingsError

KEYS = ["model.leaves", "model.depth", "model.booster", "rate"]


@pytest.mark.parametrize(
    ("written", "values", "holds"),
    [
        ("model.leaves <= 2 ** model.depth", {"model.leaves": 8, "model.depth": 3}, True),
        ("model.leaves <= 2 ** model.depth", {"model.leaves": 9, "model.depth": 3}, False),
        ("1 < model.depth <= 3", {"model.depth": 3}, True),
        ("1 < model.depth <= 3", {"model.depth": 1}, False),
        ("1 < model.depth <= 3", {"model.depth": 4}, False),
        ("model.booster == 'dart' or rate < 0.1", {"model.booster": "tree", "rate": 0.2}, False),
        ("model.booster == 'dart' or rate < 0.1", {"model.booster": "dart", "rate": 0.2}, True),
        ("model.booster != 'dart' and rate < 0.1", {"model.booster": "tree", "rate": 0.05}, True),
        ("model.booster != 'dart' and rate < 0.1", {"model.booster": "dart", "rate": 0.05}, False),
        ("not rate > 0.1", {"rate": 0.2}, False),
        ("not rate > 0.1", {"rate": 0.1}, True),
        ("-rate + 1 == +0.75", {"rate": 0.25}, True),
        ("model.leaves % 2 == 0 and model.leaves // 3 == 2", {"model.leaves": 8}, True),
        ("model.leaves % 2 == 0 and model.leaves // 3 == 2", {"model.leaves": 7}, False),
        ("model.leaves * rate / 2 - 1 >= 0", {"model.leaves": 8, "rate": 0.25}, True),
        ("model.leaves * rate / 2 - 1 >= 0", {"model.leaves": 8, "rate": 0.2}, False),
        ("model.booster == null", {"model.booster": None}, True),
        ("model.booster == true", {"model.booster": False}, False),
        ("  rate > 0 ", {"rate": 1}, True),
        ("model.booster", {"model.booster": False}, False),
    ],
)
def test_a_constraint_holds_as_it_reads(written, values, holds):
    constraint = read(written, KEYS)
    assert constraint.holds(values) is holds
    assert set(constraint.names) == values.keys()


def test_a_constraint_is_the_same_however_it_is_spaced():
    assert Constraint("rate<2*model.depth").normal == Constraint(" rate  < 2 * model.depth").normal
    assert Constraint("rate < 2").normal != Constraint("rate < 3").normal


def test_a_key_that_the_space_lacks_is_named_with_the_nearest():
    with pytest.raises(SettingsError, match=r"speaks of 'model\.leafs'.*nearest match first: model\.leaves") as refusal:
        read("model.leafs <= 3", KEYS)
    assert "make model.leafs an axis" in str(refusal.value)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("rate <", "cannot be read"),
        ("rate = 3", "compared by =="),
        ("rate < 1; rate > 0", "cannot be read"),
        ("abs(rate) < 1", r"'abs\(rate\)', which is not known.*\*\*, comparisons"),
        ("__import__('os').system('true') == 0", "which is not known"),
        ("rate.real[0] < 1", "which is not known"),
        ("rate in (1, 2)", "which is not known"),
        ("(lambda: rate)() < 1", "which is not known"),
        ("rate < 1j", "which is not known"),
        ("rate < b'x'", "which is not known"),
        ("f'{rate}' < 'x'", "which is not known"),
        ("rate << 1 > 3", "which is not known"),
        ("[rate] < [1]", "which is not known"),
        ("rate + 1", "is no condition"),
        ("rate < 1 and 3", "is no condition"),
        ("3", "is no condition"),
        (3, "is no text"),
    ],
)
def test_what_is_no_condition_is_refused(written, said):
    with pytest.raises(SettingsError, match=said):
        read(written, KEYS)


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("rate < 'a'", {"rate": 1}),
        ("1 / rate < 2", {"rate": 0}),
        ("2.0 ** rate < 3", {"rate": 5000}),
        ("(-1) ** rate < 3", {"rate": 0.5}),
    ],
)
def test_a_constraint_that_cannot_be_told_says_for_which_values(written, values):
    constraint = read(written, KEYS)
    with pytest.raises(SettingsError, match=rf"cannot be told for rate={values['rate']}: .*each value"):
        constraint.holds(values)
