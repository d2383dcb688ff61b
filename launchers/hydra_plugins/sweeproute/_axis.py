"""Reads what is written for one key of a search into what may be searched under it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Glob, IntervalSweep, RangeSweep
from omegaconf import DictConfig, ListConfig

from ._compose import Composer, parse
from ._dimension import Dimension, ahead, steps, text
from ._errors import SettingsError, nearest_first

# What is searched, or the whole override that fixes the key.
Axis = Dimension | str

_RANGE = ("low", "high", "step", "log")
_FIELDS = (*_RANGE, "choices", "when")
_EXAMPLES = "{low: 1, high: 6}, {low: 0.01, high: 0.3, log: true} or {choices: [1, 2]}"


def asked(override: str, composer: Composer) -> Axis:
    """Read one override of the command line.

    Args:
        override: As typed.
        composer: Knows the options of groups, among which a glob chooses.

    Returns:
        Its dimension; or the override itself, where it has one value.

    Raises:
        SettingsError: It has no values, or is a range that cannot be.
    """
    parsed = parse(override)
    if not parsed.is_sweep_override():
        return override
    key, sweep = parsed.get_key_element(), parsed.value()
    if isinstance(sweep, IntervalSweep):
        whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)
        dimension = Dimension(key, low=sweep.start, high=sweep.end, log=_tagged_log(override, sweep.tags), whole=whole)
        _check_range(dimension, override)
        return dimension
    if isinstance(sweep, RangeSweep):
        if sweep.step == 0:
            raise SettingsError(f"The range {override!r} has a step of 0. Write another, or leave it out for 1.")
        if sweep.step > 0 and not sweep.shuffle:
            return _ascending(key, sweep, override)
    found = sweep.filter(composer.options(parsed.key_or_group)) if isinstance(sweep, Glob) else None
    values = list(parsed.sweep_string_iterator() if found is None else found)
    if not values:
        raise SettingsError(f"The axis {override!r} has no values.")
    return _choices(key, values)


def written(key: str, values: Any, composer: Composer) -> Axis:
    """Read one axis of a search space.

    Args:
        key: As in an override.
        values: A list of choices; a mapping, as in `{low: 1, high: 6}`; a text in Hydra's sweep syntax; one value.
        composer: Knows the options of groups, among which a glob chooses.

    Returns:
        Its dimension, whose `when` is yet as it is written; or the whole override, where it has one value.

    Raises:
        SettingsError: It has no values, or is a range that cannot be.
    """
    if isinstance(values, (dict, DictConfig)):
        return _mapping(key, values)
    if not isinstance(values, (list, tuple, ListConfig)):
        return asked(f"{key}={values if isinstance(values, str) else text(values)}", composer)
    return _choices(key, _texts(key, values))


def overrides(axis: Axis) -> list[str]:
    """What stands for an axis where its values are looked at one by one: each choice, both ends of a range."""
    return [axis] if isinstance(axis, str) else [axis.override(value) for value in axis.ends()]


def _texts(key: str, values: Sequence[Any] | ListConfig) -> list[str]:
    if not values:
        raise SettingsError(f"The axis {key!r} has no values. Give it some, or leave it out.")
    return [text(value) for value in values]


def _choices(key: str, texts: Sequence[str]) -> Axis:
    return f"{key}={texts[0]}" if len(texts) == 1 else Dimension(key, choices=tuple(texts))


def _tagged_log(override: str, tags: set[str]) -> bool:
    unknown = sorted(tags - {"log"})
    if unknown:
        raise SettingsError(f"The range {override!r} has the tag {unknown[0]!r}. Allowed: log.")
    return bool(tags)


def _ascending(key: str, sweep: RangeSweep, override: str) -> Axis:
    """A range of Hydra's: what it stops at is not one of its numbers."""
    numbers = sweep.range()
    count = len(numbers) if isinstance(numbers, range) else sum(1 for _ in numbers)
    if not count:
        raise SettingsError(f"The axis {override!r} has no values.")
    assert sweep.start is not None
    whole = isinstance(numbers, range)
    last = numbers[-1] if isinstance(numbers, range) else ahead(sweep.start, sweep.step, count - 1)
    if count == 1:
        return f"{key}={sweep.start if whole else float(sweep.start)}"
    log = _tagged_log(override, sweep.tags) if sweep.tags else False
    step = None if whole and sweep.step == 1 else sweep.step
    low = sweep.start if whole else float(sweep.start)
    dimension = Dimension(key, low=low, high=last, step=step, log=log, whole=whole)
    _check_range(dimension, override)
    return dimension


def _mapping(key: str, values: Mapping[Any, Any] | DictConfig) -> Axis:
    said = f"{key}: {text(values)}"
    for name in values:
        if name not in _FIELDS:
            near = nearest_first(str(name), _FIELDS)
            raise SettingsError(
                f"The axis {said!r} has {str(name)!r}. A mapping takes, nearest match first: {near}. Write {_EXAMPLES}."
            )
    when = _when(key, values["when"]) if "when" in values else ()
    if "choices" in values:
        over = next((name for name in _RANGE if name in values), None)
        if over is not None:
            raise SettingsError(f"The axis {said!r} has choices and {over}. It is one of both: leave the other out.")
        listed = values["choices"]
        if not isinstance(listed, (list, tuple, ListConfig)):
            raise SettingsError(f"The choices of {key!r} are {listed!r}. They are a list: [{text(listed)}].")
        texts = tuple(_texts(key, listed))
        return Dimension(key, choices=texts, when=when) if when else _choices(key, texts)
    dimension = _range(key, values, said)
    _check_range(dimension, said)
    _check_step(dimension, said)
    return dataclasses.replace(dimension, when=when)


def _range(key: str, values: Mapping[Any, Any] | DictConfig, said: str) -> Dimension:
    for name in ("low", "high"):
        if name not in values:
            raise SettingsError(f"The axis {said!r} has no {name}. Write {_EXAMPLES}.")
    low, high, step, log = values["low"], values["high"], values.get("step"), values.get("log", False)
    for name, number in (("low", low), ("high", high), ("step", step)):
        if not _is_number(number) and not (name == "step" and number is None):
            raise SettingsError(f"The axis {said!r} has {name}: {text(number)}. It is a number, such as 1 or 0.5.")
    if not isinstance(log, bool):
        raise SettingsError(f"The axis {said!r} has log: {text(log)}. Allowed: true, false.")
    whole = all(isinstance(number, int) for number in (low, high, step) if number is not None)
    if not whole:
        low, high, step = float(low), float(high), None if step is None else float(step)
    return Dimension(key, low=low, high=high, step=None if whole and step == 1 else step, log=log, whole=whole)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _when(key: str, condition: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(condition, (dict, DictConfig)) or not condition:
        raise SettingsError(
            f"The axis {key!r} has when: {text(condition)}. It is a mapping of another key to the value or the "
            "list of values under which this one exists: {model.params.booster: dart}."
        )
    pairs = []
    for other, values in ((str(name), values) for name, values in condition.items()):
        listed = list(values) if isinstance(values, (list, tuple, ListConfig)) else [values]
        if not listed:
            raise SettingsError(f"The axis {key!r} exists under no value of {other}: its when is an empty list.")
        pairs.append((other, tuple(text(value) for value in listed)))
    return tuple(pairs)


def _check_range(dimension: Dimension, said: str) -> None:
    low, high, step = dimension.low, dimension.high, dimension.step
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise SettingsError(f"The range {said!r} has no end. Both of its ends are numbers.")
    if low >= high:
        cure = f"low {high} and high {low}" if low > high else "one value, or two ends that differ"
        raise SettingsError(f"The range {said!r} begins at {low} and ends at {high}. Write {cure}.")
    if dimension.log and low <= 0:
        raise SettingsError(
            f"The range {said!r} is logarithmic and begins at {low}. It has to begin above 0; or leave log out."
        )
    if dimension.log and step is not None:
        raise SettingsError(f"The range {said!r} has log and a step of {step}. It is one of both: leave the other out.")


def _check_step(dimension: Dimension, said: str) -> None:
    low, high, step = dimension.low, dimension.high, dimension.step
    if low is None or high is None or step is None:
        return
    if not 0 < step <= high - low:
        raise SettingsError(f"The range {said!r} has a step of {step}. It is above 0, and no longer than the range.")
    if (count := steps(low, high, step)) % 1:
        reached = ahead(low, step, int(count))
        shown = int(reached) if dimension.whole else reached
        raise SettingsError(
            f"The range {said!r} has a step of {step}, which leads from {low} to {shown} and then past {high}. "
            f"Write high: {shown}, or another step."
        )
