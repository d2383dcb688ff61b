"""Rows of text stand under each other."""

import doctest

from hydra_plugins.sweeproute import _columns
from hydra_plugins.sweeproute._columns import columns


def test_columns_are_as_wide_as_their_widest_cell():
    assert columns([("a", "n"), ("long", "12")], right=(1,)) == ["a      n", "long  12"]


def test_a_row_does_not_end_in_blanks():
    assert columns([("a", "note"), ("b", "")]) == ["a  note", "b"]


def test_the_example_runs():
    assert doctest.testmod(_columns).failed == 0
