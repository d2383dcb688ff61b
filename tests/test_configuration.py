"""Tests of the repeats of a configuration."""

import doctest
import math

import numpy as np
import pytest

from sweeproute import configuration, score_text
from sweeproute.configuration import Estimate, estimate, estimates, rule_tags, run_tags, split, told_rule


def test_the_key_alone_tells_a_repeat_apart():
    overrides = ["model=glm", "++seed=3", "model.params.seed=4", "~note", "seeds=1"]
    assert split(overrides, ["seed"]) == (("model=glm", "model.params.seed=4", "~note", "seeds=1"), ("++seed=3",))
    assert split(overrides, []) == (tuple(overrides), ())


def test_the_error_of_the_mean_is_that_of_the_sample():
    values = np.random.default_rng(0).normal(size=7)
    found = estimate(values.tolist())
    assert found.mean == pytest.approx(values.mean())
    assert found.sem == pytest.approx(values.std(ddof=1) / math.sqrt(7))
    assert estimate([0.5]) == Estimate(0.5, None, 1)


def test_what_is_not_finite_is_left_out_of_an_estimate_and_shows_in_its_size():
    assert estimate([0.5, math.nan, 0.7, math.inf]).n == 2
    none = estimate([math.nan, math.nan])
    assert (math.isnan(none.mean), none.sem, none.n) == (True, None, 0)
    assert estimates([{"auc": 0.5, "roi": 1.0}, {"auc": 0.5}])["roi"] == Estimate(1.0, None, 1)


def test_repeats_share_a_tag_and_configurations_do_not():
    sweep = {"repeats": ["seed"]}
    first = run_tags(sweep, ["x=1", "y=2", "seed=0"])
    assert first == run_tags(sweep, ["seed=1", "y=2", "x=1"])
    assert first != run_tags(sweep, ["x=1", "y=3", "seed=0"])
    assert run_tags(sweep, ["x=1"]) == run_tags({"repeats": []}, ["seed=1"]) == run_tags(None, ["x=1"]) == {}


def test_what_a_sweep_chooses_by_is_read_back_from_the_store():
    record = {"metric": ["auc", "brier"], "direction": None, "repeats": ["seed"], "id": "sweep_a"}
    assert told_rule(rule_tags(record)) == {"metric": ["auc", "brier"], "repeats": ["seed"]}
    assert told_rule(rule_tags({"metric": "auc", "direction": "maximize"})) == {
        "metric": "auc",
        "direction": "maximize",
    }


@pytest.mark.parametrize("module", [configuration, score_text])
def test_the_examples_run(module):
    assert doctest.testmod(module).failed == 0
