"""Holds how a point of a search space is told from others."""

from collections.abc import Mapping
from typing import Any

from ._dimension import Dimension, Value, text
from ._errors import SettingsError, nearest_first
from ._space import Space

Point = tuple[tuple[str, Value], ...]


def point_of(values: Mapping[str, Value]) -> Point:
    """What is the same for the same values, in whatever order they come."""
    return tuple(sorted(values.items()))


def may_run(space: Space, values: Mapping[str, Value]) -> bool:
    """Whether a point meets all constraints; one that cannot be told for these values alone ends no search."""
    try:
        return space.allows(values)
    except SettingsError:
        return False


def starting_point(space: Space, values: Mapping[str, Any]) -> dict[str, Value]:
    """A point that a person gave, or a part of one, as a sampler would give it.

    Args:
        space: Where it should lie.
        values: By key.

    Raises:
        SettingsError: It does not lie there.
    """
    named = {one.key: one for one in space.dimensions}
    for key in values:
        if key not in named:
            raise SettingsError(
                f"hydra.sweeper.enqueue has {key!r}, which {space.name or 'the search space'} does not search. "
                f"Its keys: {nearest_first(key, named)}."
            )
    told = {key: _read(named[key], values[key]) for key in named if key in values}
    for key in told:
        if not named[key].exists(told):
            raise SettingsError(
                f"hydra.sweeper.enqueue has {key!r}, which exists only with {named[key].condition()}. "
                "Leave it out, or set what it depends on."
            )
    if not space.allows(told):
        shown = ", ".join(f"{key}={text(value)}" for key, value in told.items())
        raise SettingsError(f"hydra.sweeper.enqueue has {shown}, which the constraints forbid.")
    return told


def _read(dimension: Dimension, value: Any) -> Value:
    if dimension.choices is not None:
        said = value if value in dimension.choices else text(value)
        if said in dimension.choices:
            return str(said)
        allowed = nearest_first(str(said), dimension.choices)
    else:
        assert dimension.low is not None
        assert dimension.high is not None
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and dimension.low <= value <= dimension.high and dimension.nearest(value) == value:
            return dimension.nearest(value)
        allowed = dimension.shown()
    raise SettingsError(f"hydra.sweeper.enqueue has {dimension.key}={value}. Allowed: {allowed}.")
