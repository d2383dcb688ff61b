"""Turns the command line and the search spaces into the points of a grid, one space per choice of groups."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

from ._compose import Composer, parse, without_hydra
from ._errors import SettingsError, nearest_first


def points(
    arguments: Sequence[str],
    params: Mapping[str, Any],
    composer: Composer,
    space: str | None,
    validate: Callable[[DictConfig], None] | None = None,
) -> list[tuple[str, ...]]:
    """List the overrides of every point.

    A list on the command line replaces an axis of the space, a single value fixes it, and a name that is no axis is
    crossed with the rest.

    Args:
        arguments: The command line's overrides, in order.
        params: Axes that every choice of groups has; the command line goes before them, they go before the space.
        composer: Composes the config of each choice of groups, to read its space.
        space: Key of the app's config under which the space lies; None for none.
        validate: The app's own check of a config without its hydra node; raises where it cannot run. None for none.

    Returns:
        The overrides of each point, in the order of the axes; the last axis varies fastest.

    Raises:
        SettingsError: There is nothing to sweep, an axis has no values, or one is of Hydra's own configuration.
        hydra.errors.HydraException: A choice of groups, or a value of an axis, does not compose.
    """
    asked = {parse(text).get_key_element(): choices(text, composer) for text in arguments}
    asked |= _besides(asked, {key: _axis(key, values, composer) for key, values in params.items()})
    groups = {key: values for key, values in asked.items() if composer.chooses_group(parse(values[0]))}
    for values in groups.values():
        _check_options(values, composer)
    listed: list[tuple[str, ...]] = []
    swept = any(len(values) > 1 for values in asked.values())
    for chosen in itertools.product(*groups.values()):
        axes = _axes(composer.base(chosen).config(), space, composer) if space is not None else {}
        swept = swept or any(len(values) > 1 for values in axes.values())
        of_groups = dict(zip(groups, chosen, strict=True))
        merged = {key: [of_groups[key]] if key in of_groups else values for key, values in asked.items()}
        merged |= _besides(merged, axes)
        _check(merged, composer, validate)
        listed += [tuple(point) for point in itertools.product(*merged.values())]
    if space is not None and not swept:
        raise SettingsError(nothing_to_sweep(composer, groups))
    return listed


def choices(override: str, composer: Composer) -> list[str]:
    """The overrides that one sweep override stands for.

    Args:
        override: As typed.
        composer: Knows the options of groups, among which a glob chooses.

    Raises:
        SettingsError: A continuous range, which a grid cannot walk; or nothing that a glob matches.
    """
    parsed = parse(override)
    if not parsed.is_sweep_override():
        return [override]
    if not parsed.is_discrete_sweep():
        raise SettingsError(
            f"A grid cannot walk the continuous axis {override!r}. Give it values: {parsed.get_key_element()}=1,2,3 "
            "or range(start,stop,step)."
        )
    sweep = parsed.value()
    found = sweep.filter(composer.options(parsed.key_or_group)) if isinstance(sweep, Glob) else None
    key = parsed.get_key_element()
    values = [f"{key}={value}" for value in (parsed.sweep_string_iterator() if found is None else found)]
    if not values:
        raise SettingsError(f"The axis {override!r} has no values.")
    return values


def _axes(config: DictConfig, space: str, composer: Composer) -> dict[str, list[str]]:
    written = OmegaConf.select(config, space)
    if written is None:
        return {}
    return {str(key): _axis(str(key), values, composer) for key, values in written.items()}


def _axis(key: str, values: Any, composer: Composer) -> list[str]:
    """The overrides of an axis: a list is its values, text is Hydra's sweep syntax."""
    if not isinstance(values, (list, tuple, ListConfig)):
        return choices(f"{key}={values if isinstance(values, str) else _value(values)}", composer)
    if not values:
        raise SettingsError(f"The axis {key!r} has no values. Give it some, or leave it out.")
    return [f"{key}={_value(value)}" for value in values]


def _value(value: Any) -> str:
    """A value in Hydra's grammar; text is quoted where the grammar would read something else in it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, ListConfig)):
        return f"[{','.join(_value(item) for item in value)}]"
    if isinstance(value, (dict, DictConfig)):
        return f"{{{','.join(f'{key!s}:{_value(item)}' for key, item in value.items())}}}"
    if not isinstance(value, str):
        return str(value)
    try:
        plain = parse(f"key=[{value}]").value() == [value]
    except HydraException:
        plain = False
    return value if plain else QuotedString(value, Quote.single).with_quotes()


def _besides(taken: Mapping[str, list[str]], axes: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The axes whose keys nothing sets yet, whether by =, + or ~."""
    keys = {_name(parse(values[0])) for values in taken.values()}
    return {key: values for key, values in axes.items() if _name(parse(values[0])) not in keys}


def _name(override: Override) -> tuple[str, str | None]:
    return override.key_or_group, override.package


def _check_options(values: Sequence[str], composer: Composer) -> None:
    """Refuse an option that its group does not have: Hydra passes over one of an optional group without a word."""
    for text in values:
        group, option = parse(text).key_or_group, parse(text).value()
        options = composer.options(group)
        # One in a folder below is looked for by Hydra alone.
        if isinstance(option, str) and "/" not in option and option.removesuffix(".yaml") not in options:
            near = nearest_first(option, options)
            raise SettingsError(f"There is no {group}={option}. Options of {group}, nearest match first: {near}.")


def _check(merged: Mapping[str, list[str]], composer: Composer, validate: Callable[[DictConfig], None] | None) -> None:
    """Compose with each value of each axis once: what does not exist, or cannot run, is found before anything runs."""

    def passes(config: DictConfig) -> None:
        if validate is not None:
            validate(without_hydra(config))

    first = {key: values[0] for key, values in merged.items()}
    for text in first.values():
        if parse(text).is_hydra_override():
            raise SettingsError(
                f"{parse(text).key_or_group} cannot be swept: Hydra's own configuration is the same for every job. "
                "Set it to one value on the command line."
            )
    config = composer.compose(list(first.values()))
    passes(config)
    for key, values in merged.items():
        for value in values[1:]:
            passes(
                config if _sets(config, value, composer) else composer.compose(list((first | {key: value}).values()))
            )


def _sets(config: DictConfig, value: str, composer: Composer) -> bool:
    """Whether a value can be set in a config; where it cannot, only composing anew tells whether it is at fault."""
    if composer.chooses_group(parse(value)):
        return False
    try:
        # A key that is added is there by now: the next value replaces it.
        composer.set(config, f"+{value}" if parse(value).is_add() else value)
    except HydraException:
        return False
    return True


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
