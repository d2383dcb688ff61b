"""Turns the command line and the search spaces into the points of a grid, one space per choice of groups."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ._compose import Composer, parse
from ._errors import SettingsError


def points(
    arguments: Sequence[str], params: Mapping[str, Any], composer: Composer, space: str | None
) -> list[tuple[str, ...]]:
    """List the overrides of every point.

    A list on the command line replaces an axis of the space, a single value fixes it, and a name that is no axis is
    crossed with the rest.

    Args:
        arguments: The command line's overrides, in order.
        params: Axes that every choice of groups has.
        composer: Composes the config of each choice of groups, to read its space.
        space: Key of the app's config under which the space lies; None for none.

    Returns:
        The overrides of each point, in the order of the axes; the last axis varies fastest.

    Raises:
        SettingsError: There is nothing to sweep, or an axis has no values.
        hydra.errors.HydraException: A choice of groups, or a value of an axis, does not compose.
    """
    asked = {parse(text).get_key_element(): choices(text) for text in arguments}
    groups = {key: values for key, values in asked.items() if composer.chooses_group(parse(values[0]))}
    named = {key.lstrip("+") for key in asked}  # `++key=1,2` means the axis `key` too
    listed: list[tuple[str, ...]] = []
    swept = any(len(values) > 1 for values in asked.values())
    for chosen in itertools.product(*groups.values()):
        axes = {key: choices(f"{key}={_text(values)}") for key, values in params.items()}
        if space is not None:
            axes |= _axes(composer.base(chosen).config(), space)
        swept = swept or any(len(values) > 1 for values in axes.values())
        of_groups = dict(zip(groups, chosen, strict=True))
        merged = {key: [of_groups[key]] if key in of_groups else values for key, values in asked.items()}
        merged |= {key: values for key, values in axes.items() if key not in named}
        _check(merged, composer)
        listed += [tuple(point) for point in itertools.product(*merged.values())]
    if space is not None and not swept:
        raise SettingsError(nothing_to_sweep(composer, groups))
    return listed


def choices(override: str) -> list[str]:
    """The overrides that one sweep override stands for.

    Raises:
        SettingsError: A continuous range, which a grid cannot walk.
    """
    parsed = parse(override)
    if not parsed.is_sweep_override():
        return [override]
    if not parsed.is_discrete_sweep():
        raise SettingsError(
            f"A grid cannot walk the continuous axis {override!r}. Give it values: {parsed.get_key_element()}=1,2,3 "
            "or range(start,stop,step)."
        )
    key = parsed.get_key_element()
    values = [f"{key}={value}" for value in parsed.sweep_string_iterator()]
    if not values:
        raise SettingsError(f"The axis {override!r} has no values.")
    return values


def _axes(config: DictConfig, space: str) -> dict[str, list[str]]:
    written = OmegaConf.select(config, space)
    if written is None:
        return {}
    return {str(key): choices(f"{key}={_text(values)}") for key, values in written.items()}


def _text(values: Any) -> str:
    """An axis as Hydra's sweep syntax: a list is a choice, text is taken as it is."""
    if isinstance(values, (list, tuple, ListConfig)):
        return ",".join(_value(value) for value in values)
    return _value(values) if not isinstance(values, str) else values


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, ListConfig)):
        return f"[{','.join(_value(item) for item in value)}]"
    return str(value)


def _check(merged: Mapping[str, list[str]], composer: Composer) -> None:
    """Compose with each value of each axis once: a key or a value that does not exist is found before anything runs."""
    config = composer.compose([values[0] for values in merged.values()])
    for values in merged.values():
        for value in values[1:]:
            # A key that is added is there by now: the next value replaces it.
            composer.set(config, f"+{value}" if parse(value).is_add() else value)


def nothing_to_sweep(composer: Composer, groups: Mapping[str, list[str]]) -> str:
    """What to say to -m without anything to sweep: what could be."""
    could: Iterator[str] = (
        f"{group}={','.join(options[:3])}"
        for group in ("model", "search_space", *groups)
        if len(options := composer.options(group)) > 1
    )
    return (
        "There is nothing to sweep: no value on the command line is a list, and the search space has no axis. "
        f"Sweep over a group ({'; '.join(dict.fromkeys(could)) or 'none here'}), over any key (seed=1,2,3), "
        "or leave -m out to run one trial."
    )
