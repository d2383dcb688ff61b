"""What may be searched under one key: its values, its overrides, and whether it exists."""

import json

import pytest
from omegaconf import OmegaConf

from hydra_plugins.sweeproute._compose import parse
from hydra_plugins.sweeproute._dimension import Dimension, ahead, in_order, steps, text

CHOICES = Dimension("model", choices=("tree", "'a b'", "null"))
WHOLE = Dimension("depth", low=1, high=6, whole=True)
STEPPED = Dimension("rows", low=0.4, high=1.0, step=0.05)
TENS = Dimension("trees", low=50, high=400, step=10, whole=True)
CONTINUOUS = Dimension("rate", low=0.005, high=0.3, log=True)


def test_the_values_of_a_dimension_are_listed_in_order():
    assert CHOICES.values() == ("tree", "'a b'", "null")
    assert WHOLE.values() == (1, 2, 3, 4, 5, 6)
    assert TENS.values() == tuple(range(50, 401, 10))
    assert CONTINUOUS.values() is None


def test_numbers_between_steps_are_those_that_a_person_would_write():
    assert STEPPED.values() == (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
    assert ahead(0.1, 0.1, 2) == 0.3 != 0.1 + 2 * 0.1
    assert steps(0.1, 0.7, 0.1) == 6
    assert steps(0.1, 0.75, 0.1) % 1


@pytest.mark.parametrize("one", [CHOICES, WHOLE, STEPPED, TENS, CONTINUOUS])
def test_a_dimension_has_as_many_values_as_it_lists(one):
    values = one.values()
    assert one.count() == (None if values is None else len(values))


def test_both_ends_stand_for_a_range_and_every_choice_for_itself():
    assert (WHOLE.ends(), CONTINUOUS.ends(), CHOICES.ends()) == ((1, 6), (0.005, 0.3), CHOICES.choices)


@pytest.mark.parametrize("value", [0.005, 0.1 + 0.2, 1 / 3, 1e-10, 1e22, 5e-324])
def test_a_number_is_read_back_as_the_very_same(value):
    override = Dimension("rate", low=0.0, high=1e300).override(value)
    assert parse(override).value() == value


def test_a_whole_number_is_written_without_a_point():
    assert WHOLE.override(3.0) == "depth=3"
    assert parse(WHOLE.override(3)).value() == 3


def test_a_sampler_s_number_is_taken_to_the_nearest_of_the_range():
    assert STEPPED.override(0.4 + 4 * 0.05) == "rows=0.6"
    assert TENS.override(54) == "trees=50"
    assert TENS.override(57) == "trees=60"


def test_another_type_of_number_is_written_as_python_s_own():
    class Sampled(float):
        def __repr__(self):
            return f"sampled({float(self)})"

        __str__ = __repr__

    assert CONTINUOUS.override(Sampled(0.25)) == "rate=0.25"


def test_a_choice_is_written_as_it_stands():
    assert [CHOICES.override(value) for value in CHOICES.choices] == ["model=tree", "model='a b'", "model=null"]


def test_a_key_exists_under_the_values_of_its_condition_alone():
    one = Dimension("drop", low=0.0, high=1.0, when=(("booster", ("dart",)), ("depth", ("1", "2"))))
    assert one.exists({"booster": "dart", "depth": 2})
    assert not one.exists({"booster": "tree", "depth": 2})
    assert not one.exists({"booster": "dart", "depth": 3})
    assert not one.exists({"booster": "dart"})
    assert WHOLE.exists({})


@pytest.mark.parametrize(
    ("wide", "narrow", "contained"),
    [
        (WHOLE, Dimension("depth", low=2, high=6, whole=True), True),
        (WHOLE, Dimension("depth", low=0, high=6, whole=True), False),
        (TENS, Dimension("trees", low=60, high=100, step=20, whole=True), True),
        (TENS, Dimension("trees", low=55, high=95, step=10, whole=True), False),
        (TENS, Dimension("trees", low=50, high=100, step=5, whole=True), False),
        (TENS, Dimension("trees", low=50, high=100, whole=True), False),
        (Dimension("trees", low=1, high=400, whole=True), TENS, True),
        (STEPPED, Dimension("rows", low=0.4, high=1.0, step=0.1), True),
        (STEPPED, Dimension("rows", low=0.4, high=1.0), False),
        (Dimension("rows", low=0.4, high=1.0), STEPPED, True),
        (CHOICES, Dimension("model", choices=("null", "tree")), True),
        (CHOICES, Dimension("model", choices=("tree", "line")), False),
    ],
)
def test_a_range_contains_another_where_it_has_all_its_values(wide, narrow, contained):
    assert wide.contains(narrow) is contained
    values = wide.values(), narrow.values()
    if None not in values:
        assert (set(values[1]) <= set(values[0])) is contained


@pytest.mark.parametrize(
    "one", [CHOICES, WHOLE, STEPPED, TENS, CONTINUOUS, Dimension("low", low=0, high=1, whole=True)]
)
@pytest.mark.parametrize("when", [(), (("booster", ("dart", "tree")),)])
def test_a_dimension_is_kept_as_plain_data(one, when):
    one = Dimension(**{**vars(one), "when": when})
    again = Dimension.from_json(json.loads(json.dumps(one.to_json())))
    assert again == one
    assert [type(end) for end in again.ends()] == [type(end) for end in one.ends()]


def test_a_dimension_is_shown_as_a_person_would_write_it():
    assert CHOICES.shown() == "[tree, 'a b', null]"
    assert WHOLE.shown() == "{low: 1, high: 6}"
    assert STEPPED.shown() == "{low: 0.4, high: 1.0, step: 0.05}"
    assert CONTINUOUS.shown() == "{low: 0.005, high: 0.3, log: true}"
    dart = (("booster", ("dart",)),)
    both = (("booster", ("dart", "tree")),)
    assert Dimension("a", low=0.0, high=1.0, when=dart).shown() == "{low: 0.0, high: 1.0, when: {booster: dart}}"
    assert Dimension("a", choices=("1",), when=both).shown() == "{choices: [1], when: {booster: [dart, tree]}}"


def test_a_dimension_stands_behind_those_that_it_depends_on_and_else_where_it_was():
    first = Dimension("a", choices=("1",), when=(("c", ("1",)),))
    second, third = Dimension("b", choices=("1",)), Dimension("c", choices=("1",))
    assert in_order([first, second, third]) == ([second, third, first], [])


def test_what_waits_for_each_other_is_told_apart():
    one = Dimension("a", choices=("1",), when=(("b", ("1",)),))
    other = Dimension("b", choices=("1",), when=(("a", ("1",)),))
    assert in_order([WHOLE, one, other]) == ([WHOLE], [one, other])


@pytest.mark.parametrize("value", ["plain", "a, b", "1", "null", "", None, True, 1, 0.5, [1, "2"], {"a": [None]}])
def test_the_text_of_a_value_is_read_back_as_that_value(value):
    assert parse(f"key={text(value)}").value() == value
    if isinstance(value, list | dict):
        assert text(OmegaConf.create(value)) == text(value)
