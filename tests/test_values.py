"""What of a job's return value survives the way through JSON."""

import collections
import datetime as dt
import decimal
import enum
import errno
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from hydra_plugins.sweeproute._values import describe, to_json

Pair = collections.namedtuple("Pair", "left right")


class NoCompilerError(RuntimeError):
    platform_lacks = True


class Level(enum.IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.1, 0.1),
        ("text", "text"),
        (10**30, 10**30),
        ({"a": 1, "b": {"c": (1, 2)}}, {"a": 1, "b": {"c": [1, 2]}}),
        ((1, (2, [3, (4,)])), [1, [2, [3, [4]]]]),
        (Pair(1, (2,)), [1, [2]]),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Level.LOW, 1),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.str_("s"), "s"),
        (np.array(1.5), 1.5),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        ({"auc": np.float32(0.75), "seasons": np.array([2010, 2011])}, {"auc": 0.75, "seasons": [2010, 2011]}),
        (np.array([1, "a", None], dtype=object), [1, "a", None]),
        (torch.tensor(2.5), 2.5),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.tensor(2.5, requires_grad=True), 2.5),
        (pd.Series([1, 2]), [1, 2]),
        (OmegaConf.create({"a": 1, "b": "${a}", "c": [1]}), {"a": 1, "b": 1, "c": [1]}),
        (OmegaConf.create([1, {"x": 2}]), [1, {"x": 2}]),
    ],
    ids=str,
)
def test_a_value_becomes_plain(value, expected):
    plain, unfit = to_json(value)
    assert unfit is None
    assert plain == expected
    assert json.loads(json.dumps(plain)) == expected
    assert type(json.loads(json.dumps(plain))) is type(expected)


@pytest.mark.parametrize("value", [math.nan, np.float32("nan"), math.inf, -math.inf, np.inf])
def test_a_number_that_is_not_finite_stays_what_it_is(value):
    plain, unfit = to_json(value)
    assert unfit is None
    back = json.loads(json.dumps(plain))
    assert math.isnan(back) if math.isnan(value) else back == value


class Odd:
    pass


def endless():
    ring: list = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Odd(), "Odd"),
        ({"a": [1, {"b": Odd()}]}, "Odd"),
        ({1: "a"}, "key 1"),
        ({"a": {("x", "y"): 1}}, "key"),
        ({1, 2}, "set"),
        (b"bytes", "bytes"),
        (1j, "complex"),
        (np.complex64(1j), "complex"),
        (decimal.Decimal("0.1"), "Decimal"),
        (dt.date(2026, 1, 1), "date"),
        (np.datetime64("2026-01-01"), "date"),
        (pd.DataFrame({"a": [1]}), "DataFrame"),
        (np.array([Odd()], dtype=object), "Odd"),
        (lambda: 1, "function"),
        (endless(), "itself"),
        (OmegaConf.create({"a": "${missing}"}), "missing"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_named(value, why):
    plain, unfit = to_json(value)
    assert plain is None
    assert unfit is not None
    assert why in unfit


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (ValueError("unlucky"), "user"),
        (FileNotFoundError(errno.ENOENT, "no games.csv"), "user"),
        (OSError(errno.ENOSPC, "No space left on device"), "killed"),
        (MemoryError(), "out_of_memory"),
        (NoCompilerError(), "lacking"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_task_is_not_to_blame_for_what_its_machine_lacks(error, error_class):
    assert describe(error)["class"] == error_class
