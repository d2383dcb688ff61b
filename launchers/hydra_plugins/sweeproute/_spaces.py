"""Turns the command line and what is written for each choice of groups into the spaces of a sweep."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

from ._axis import Axis, asked, overrides, written
from ._compose import Composer, parse, without_hydra
from ._constraint import read
from ._dimension import Dimension, Value, in_order, text
from ._errors import SettingsError, nearest_first
from ._space import Space, bare, combinations

Check = Callable[[DictConfig], None]
# Combinations that are tried to find a point that constraints allow, before one is taken as it is.
_TRIED = 1_000


def spaces(
    arguments: Sequence[str],
    params: Mapping[str, Any],
    composer: Composer,
    space_key: str | None,
    constraints_key: str | None = None,
    repeats: Sequence[str] = (),
    validate: Check | None = None,
    defaults: Sequence[str] = (),
) -> list[Space]:
    """Read what may be searched, one space per choice of groups, and check it.

    A list on the command line replaces an axis of the space, a single value fixes it, and a name that is no axis is
    searched with the rest.

    Args:
        arguments: The command line's overrides, in order.
        params: Axes that every choice of groups has; the command line goes before them, they go before the space.
        composer: Composes the config of each choice of groups, to read its space.
        space_key: Key of the app's config under which the axes lie; None for none.
        constraints_key: Key of the app's config under which a list of constraints lies; None for none.
        repeats: Keys over whose values every point is run, rather than searched.
        validate: The app's own check of a config without its hydra node; raises where it cannot run. None for none.
        defaults: Options of groups of which the command line chooses none; one that is not there is left out.

    Returns:
        The spaces, in the order of the choices of groups.

    Raises:
        SettingsError: There is nothing to sweep, an axis or a constraint is not right, or an axis is of Hydra's own
            configuration.
        hydra.errors.HydraException: A choice of groups, or a value of an axis, does not compose.
    """
    axes = {parse(word).get_key_element(): asked(word, composer) for word in arguments}
    axes |= _besides(axes, {key: written(key, values, composer) for key, values in params.items()})
    groups = {key: _options(axis, composer) for key, axis in axes.items() if _chooses_group(axis, composer)}
    varied = [key for key, options in groups.items() if len(options) > 1]
    again = {bare(key) for key in repeats}
    if (group := next((key for key in varied if bare(key) in again), None)) is not None:
        raise SettingsError(
            f"Points cannot be repeated over {group}, a group: each of its options is searched by itself."
        )
    found: list[Space] = []
    swept = any(isinstance(axis, Dimension) for axis in axes.values())
    for chosen in itertools.product(*groups.values()):
        config = composer.base(chosen).config()
        _check_followed(chosen, config, composer)
        of_groups = dict(zip(groups, chosen, strict=True))
        if besides := _defaults(defaults, of_groups, config, composer):
            of_groups |= besides
            config = composer.base(tuple(of_groups.values())).config()
        own = _axes(config, space_key, composer) if space_key is not None else {}
        swept = swept or any(isinstance(axis, Dimension) for axis in own.values())
        merged = axes | of_groups
        merged = _with_conditions(merged, own) | _besides(merged, own)
        listed = _listed(config, constraints_key) if constraints_key is not None else []
        name = " ".join(of_groups[key] for key in varied)
        tied = _tie({key: axis for key, axis in merged.items() if bare(key) not in again}, axes, own)
        space = _space(name, merged, tied, listed, again)
        _check(space, composer, validate)
        found.append(space)
    if space_key is not None and not swept:
        raise SettingsError(_nothing_to_sweep(composer, groups))
    return found


def _chooses_group(axis: Axis, composer: Composer) -> bool:
    return composer.chooses_group(parse(overrides(axis)[0]))


def _check_option(group: str, option: str, options: Sequence[str]) -> None:
    if option not in options:
        near = nearest_first(option, options)
        raise SettingsError(f"There is no {group}={option}. Options of {group}, nearest match first: {near}.")


def _check_followed(chosen: Sequence[str], config: DictConfig, composer: Composer) -> None:
    """Refuse what an option such as `${model}_ranges` comes to where its group has no such option."""
    for word in chosen:
        group, option = parse(word).key_or_group, parse(word).value()
        if isinstance(option, str) and "${" in option:
            _check_option(group, _followed(r"\$\{([^${}]+)\}", option, config), composer.options(group))


def _followed(naming: str, option: str, config: DictConfig) -> str:
    """An option that follows groups, which it names in this form, as it comes out under a choice of groups."""
    choices = config.hydra.runtime.choices
    return re.sub(naming, lambda key: str(choices.get(key.group(1), key.group(0))), option)


def _defaults(
    words: Sequence[str], chosen: Mapping[str, str], config: DictConfig, composer: Composer
) -> dict[str, str]:
    """The options of groups that are there of those that nothing else chooses."""
    taken = {bare(key) for key in chosen}
    found = {}
    for word in words:
        group, _, option = word.partition("=")
        option = _followed(r"\{([^{}]+)\}", option, config)
        if group not in taken and option in composer.options(group):
            found[group] = f"{group}={option}"
    return found


def _options(axis: Axis, composer: Composer) -> list[str]:
    """The overrides of a choice of options, each of which its group has."""
    if isinstance(axis, Dimension) and axis.choices is None:
        raise SettingsError(f"{axis.key} is a group, and {axis.shown()} a range. Name its options: {axis.key}=a,b.")
    texts = overrides(axis)
    for word in texts:
        # Hydra passes over an option of an optional group that is not there without a word.
        group, option = parse(word).key_or_group, parse(word).value()
        options = composer.options(group)
        # One in a folder below is looked for by Hydra alone, one that follows another group is not known yet.
        if isinstance(option, str) and "/" not in option and "${" not in option:
            _check_option(group, option.removesuffix(".yaml"), options)
    return texts


def _axes(config: DictConfig, key: str, composer: Composer) -> dict[str, Axis]:
    found = OmegaConf.select(config, key)
    return {} if found is None else {str(name): written(str(name), values, composer) for name, values in found.items()}


def _listed(config: DictConfig, key: str) -> list[Any]:
    found = OmegaConf.select(config, key)
    if found is not None and not isinstance(found, ListConfig):
        raise SettingsError(f"{key} is {found!r}. It is a list of conditions: [{found!r}].")
    return list(found or ())


def _besides(taken: Mapping[str, Axis], axes: Mapping[str, Axis]) -> dict[str, Axis]:
    """The axes whose keys nothing sets yet, whether by =, + or ~."""
    names = {_name(axis) for axis in taken.values()}
    return {key: axis for key, axis in axes.items() if _name(axis) not in names}


def _with_conditions(axes: Mapping[str, Axis], own: Mapping[str, Axis]) -> dict[str, Axis]:
    """Let axes that replace one of the space exist when that one does; what is fixed is so in every point."""
    when = {_name(axis): axis.when for axis in own.values() if isinstance(axis, Dimension)}
    return {
        key: axis if isinstance(axis, str) or axis.when else dataclasses.replace(axis, when=when.get(_name(axis), ()))
        for key, axis in axes.items()
    }


def _name(axis: Axis) -> tuple[str, str | None]:
    parsed: Override = parse(overrides(axis)[0])
    return parsed.key_or_group, parsed.package


def _space(
    name: str, merged: Mapping[str, Axis], tied: Mapping[str, Axis], conditions: Sequence[Any], again: Container[str]
) -> Space:
    """Put the axes of one choice of groups together.

    Args:
        name: Of the space.
        merged: The axis of each key, in order.
        tied: Those that are not repeated and can exist, their conditions settled.
        conditions: The constraints as they are written.
        again: The bare keys over whose values every point is run.
    """
    fixed = {key: axis for key, axis in merged.items() if isinstance(axis, str)}
    repeats = [axis for key, axis in merged.items() if isinstance(axis, Dimension) and bare(key) in again]
    for axis in repeats:
        if axis.when or axis.count() is None:
            said = "exists only sometimes" if axis.when else "is continuous"
            raise SettingsError(f"Points cannot be repeated over {axis.key}, which {said}. Write {axis.key}=1,2,3.")
    ordered, circle = in_order([axis for axis in tied.values() if isinstance(axis, Dimension)])
    if circle:
        said = "; ".join(f"{one.key} when {one.condition()}" for one in circle)
        raise SettingsError(f"These exist under values of each other alone: {said}. Take a when out.")
    there = fixed.keys() | tied.keys() | {one.key for one in repeats}
    names = [bare(key) for key in merged if bare(key) not in again or key in fixed]
    return Space(
        name=name,
        order=tuple(key for key in merged if key in there),
        fixed=tuple(fixed.items()),
        dimensions=tuple(ordered),
        constraints=tuple(read(condition, names) for condition in conditions),
        repeats=tuple(repeats),
    )


def _tie(merged: Mapping[str, Axis], axes: Mapping[str, Axis], own: Mapping[str, Axis]) -> dict[str, Axis]:
    """Settle the condition of each axis: by the other's own key and the texts of its values.

    Args:
        merged: The axes of one choice of groups.
        axes: Those of the command line and of every choice of groups.
        own: Those that are written in the space, whatever the command line makes of them.

    Returns:
        The axes that can exist.
    """
    there = {bare(key): axis for key, axis in merged.items()}
    before = {bare(key): axis for key, axis in (*axes.items(), *own.items())}
    tied = {}
    for key, axis in merged.items():
        if isinstance(axis, str) or not axis.when:
            tied[key] = axis
            continue
        ties = []
        for other, texts in axis.when:
            _check_condition(axis, other, texts, there, before.get(bare(other)))
            values = _values(there[bare(other)])
            meant = dict.fromkeys(value for word in texts for value in _meant(word, values))
            ties.append((there[bare(other)], tuple(meant)))
        if all(meant for _, meant in ties):
            when = tuple((other.key, meant) for other, meant in ties if isinstance(other, Dimension))
            tied[key] = dataclasses.replace(axis, when=when)
    return _possible(tied, {key for key, axis in merged.items() if isinstance(axis, Dimension)})


def _possible(tied: dict[str, Axis], keys: set[str]) -> dict[str, Axis]:
    """Leave out what exists only under values of something that cannot exist itself."""
    gone = keys - tied.keys()
    kept = {k: axis for k, axis in tied.items() if isinstance(axis, str) or not gone & {key for key, _ in axis.when}}
    return kept if len(kept) == len(tied) else _possible(kept, keys)


def _check_condition(
    axis: Dimension, other: str, texts: Sequence[str], there: Mapping[str, Axis], before: Axis | None
) -> None:
    """Refuse a condition over a key that is not there, or over a value that this cannot have."""
    said = f"The axis {axis.key!r} exists when {other} is {' or '.join(texts)}"
    if bare(other) not in there:
        near = nearest_first(bare(other), [name for name in there if name != bare(axis.key)]) or "none here"
        raise SettingsError(
            f"{said}, and the search space has no {other}. Its other keys, nearest match first: {near}. Write one of "
            f"them, or make {bare(other)} an axis."
        )
    now = there[bare(other)]
    if isinstance(now, Dimension) and now.count() is None:
        raise SettingsError(f"{said}, and that is continuous: {now.shown()}. Name a key that has choices.")
    if before is None or (isinstance(before, Dimension) and before.count() is None):
        return
    # What the command line leaves out of a list is no mistake of whoever wrote the condition.
    values = [*_values(before), *_values(now)]
    for word in texts:
        if not _meant(word, values):
            near = nearest_first(word, values)
            raise SettingsError(f"{said}, and {word} is none of its values. Allowed, nearest match first: {near}.")


def _values(axis: Axis) -> list[str]:
    """The texts of all values of an axis; one that is deleted has none."""
    if isinstance(axis, str):
        return [axis.partition("=")[2]] if not parse(axis).is_delete() else []
    return [_as_text(value) for value in axis.values() or ()]


def _as_text(value: Value) -> str:
    return value if isinstance(value, str) else text(value)


def _meant(word: str, values: Sequence[str]) -> list[str]:
    """Which texts say the same as a word; quotes, and how a number is written, make no difference."""
    if word in values:
        return [word]
    said = parse(f"key={word}").value()
    read_as = ((text, parse(f"key={text}").value()) for text in values)
    return [text for text, other in read_as if other == said and isinstance(other, bool) == isinstance(said, bool)]


def _check(space: Space, composer: Composer, validate: Check | None) -> None:
    """Compose with each choice and both ends of each range once: what cannot run is found before anything runs."""
    repeat = {one.key: one.ends()[0] for one in space.repeats}
    free = {one.key: one for one in (*space.dimensions, *space.repeats)}
    fixed = dict(space.fixed)
    for key in space.order:
        word = parse(fixed[key] if key in fixed else overrides(free[key])[0])
        if word.is_hydra_override():
            raise SettingsError(
                f"{word.key_or_group} cannot be swept: Hydra's own configuration is the same for every job. "
                "Set it to one value on the command line."
            )

    def passes(config: DictConfig, allowed: bool) -> None:
        # What constraints keep from running may well be what the app refuses.
        if validate is not None and allowed:
            validate(without_hydra(config))

    first, allowed = _point(space, {})
    if not allowed and space.size() == 0:
        said = "; ".join(constraint.text for constraint in space.constraints)
        raise SettingsError(
            f"No point of {space.name or 'the search space'} meets its constraints: {said}. Loosen one."
        )
    config = composer.compose(space.overrides(first, repeat))
    passes(config, allowed)
    parents = {key for one in space.dimensions for key, _ in one.when}
    for one in space.dimensions:
        for value in one.ends():
            if one.key in first and first[one.key] == value:
                continue
            point, allowed = _point(space, {one.key: value})
            alone = one.key in first and one.key not in parents and point == first | {one.key: value}
            if alone and _sets(config, one.override(value), composer):
                passes(config, allowed)
            else:
                passes(composer.compose(space.overrides(point, repeat)), allowed)
        if one.key in first:
            _sets(config, one.override(first[one.key]), composer)
    first, allowed = _point(space, {})
    for one in space.repeats:
        for value in one.ends()[1:]:
            if _sets(config, one.override(value), composer):
                passes(config, allowed)
            else:
                passes(composer.compose(space.overrides(first, repeat | {one.key: value})), allowed)


def _point(space: Space, given: Mapping[str, Value]) -> tuple[dict[str, Value], bool]:
    """A point that has the given values, and whether constraints allow it: one that they allow is looked for."""
    dimensions = {one.key: one for one in space.dimensions}
    needed = dict(given)
    waiting = list(given)
    while waiting:
        for key, texts in dimensions[waiting.pop()].when:
            if key not in needed:
                needed[key] = next(value for value in dimensions[key].values() or () if _as_text(value) == texts[0])
                waiting.append(key)
    spoken = {name for constraint in space.constraints for name in constraint.names}
    walked = [
        (one, (needed[one.key],) if one.key in needed else one.ends() if bare(one.key) in spoken else one.ends()[:1])
        for one in space.dimensions
    ]
    tried = itertools.islice(combinations(walked), _TRIED)
    first = next(tried)
    if space.allows(first):
        return first, True
    found = next((values for values in tried if space.allows(values)), None)
    return (first, False) if found is None else (found, True)


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


def _nothing_to_sweep(composer: Composer, groups: Mapping[str, list[str]]) -> str:
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
