"""Holds what may be searched for one choice of groups."""

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ._compose import parse
from ._constraint import Constraint
from ._dimension import Dimension, Value, in_order

# Up to here points are counted one by one.
_COUNTED = 1_000_000


@dataclass(frozen=True)
class Change:
    """What became of a space between two starts of a sweep.

    Attributes:
        kind: same, widened (each point of the earlier space is one of the later) or incompatible.
        text: What differs, for people; empty for the same.
    """

    kind: Literal["same", "widened", "incompatible"]
    text: str = ""


@dataclass(frozen=True)
class Space:
    """What may be searched for one choice of groups.

    A point's values are those of the dimensions that exist in it, by key.

    Attributes:
        name: The choice of groups that tells it from the sweep's other spaces, as in `model=xgboost`; empty for one.
        order: The keys of a point, in the order of its overrides.
        fixed: Keys that are the same in every point, each with its whole override.
        dimensions: What is searched; a dimension stands behind those that its `when` names.
        constraints: What a point has to meet.
        repeats: Under each combination of their values every point is run; they are never searched over.
    """

    name: str
    order: tuple[str, ...]
    fixed: tuple[tuple[str, str], ...]
    dimensions: tuple[Dimension, ...]
    constraints: tuple[Constraint, ...] = ()
    repeats: tuple[Dimension, ...] = ()

    def active(self, values: Mapping[str, Value]) -> tuple[Dimension, ...]:
        """The dimensions that exist under these values, in order."""
        if not self._conditional:
            return self.dimensions
        found: list[Dimension] = []
        seen: dict[str, Value] = {}
        for one in self.dimensions:
            if one.exists(seen):
                found.append(one)
                if one.key in values:
                    seen[one.key] = values[one.key]
        return tuple(found)

    def allows(self, values: Mapping[str, Value]) -> bool:
        """Whether a point meets all constraints; one over a parameter that does not exist in it holds.

        Raises:
            SettingsError: A constraint cannot be told for these values.
        """
        if not self.constraints:
            return True
        there = {one.key for one in self.active(values)} if self._conditional else None
        for constraint in self.constraints:
            told: dict[str, Any] = {}
            for name in constraint.names:
                if name in self._settled:
                    told[name] = self._settled[name]
                    continue
                key, meanings = self._read.get(name, ("", None))
                if key not in values or (there is not None and key not in there):
                    break
                value = values[key]
                told[name] = value if meanings is None else meanings[str(value)]
            else:
                if not constraint.holds(told):
                    return False
        return True

    def overrides(self, values: Mapping[str, Value], repeat: Mapping[str, Value] | None = None) -> tuple[str, ...]:
        """The overrides of a point, in order.

        Args:
            values: The value of each dimension that exists in it, by key.
            repeat: The value of each repeat, by key; None leaves their overrides out.

        Returns:
            One override for each key that exists in the point.
        """
        there = {one.key for one in self.active(values)} if self._conditional else None
        listed = []
        for key, fixed, dimension, repeats in self._parts:
            if dimension is None:
                listed.append(fixed)
            elif repeats:
                if repeat is not None:
                    listed.append(dimension.override(repeat[key]))
            elif there is None or key in there:
                listed.append(dimension.override(values[key]))
        return tuple(listed)

    def points(self) -> Iterator[tuple[str, ...]]:
        """List the overrides of every point under every repeat; the last axis varies fastest.

        Raises:
            ValueError: A dimension is continuous.
        """
        walked, _ = in_order([one for _, _, one, _ in self._parts if one is not None])
        if not self._conditional and not self.constraints:
            # An override is made once, not once for each point that has it.
            made = {one.key: [one.override(value) for value in _listed(one)] for one in walked}
            return itertools.product(*([text] if one is None else made[key] for key, text, one, _ in self._parts))
        again = [one.key for one in self.repeats]
        return (
            self.overrides(values, {key: values[key] for key in again})
            for values in combinations([(one, _listed(one)) for one in walked])
            if self.allows(values)
        )

    def size(self) -> int | None:
        """How many distinct points may be searched, repeats aside.

        Returns:
            Their number; an upper bound where the dimensions that constraints or conditions tie to each other have more
            than a million combinations. None where a dimension is continuous.
        """
        return self._size

    def times(self) -> int:
        """How many times each point is run: the combinations of the repeats' values."""
        return math.prod(map(_distinct, self.repeats))

    @functools.cached_property
    def _size(self) -> int | None:
        if any(one.count() is None for one in self.dimensions):
            return None
        names = {name for constraint in self.constraints for name in constraint.names}
        parents = {key for one in self.dimensions for key, _ in one.when}
        tied = [one for one in self.dimensions if one.when or one.key in parents or bare(one.key) in names]
        loose = math.prod(_distinct(one) for one in self.dimensions if one not in tied)
        bound = math.prod(_distinct(one) for one in tied)
        if bound > _COUNTED:
            return loose * bound
        combined = combinations([(one, tuple(dict.fromkeys(_listed(one)))) for one in tied])
        return loose * sum(self.allows(values) for values in combined)

    @functools.cached_property
    def _conditional(self) -> bool:
        return any(one.when for one in self.dimensions)

    @functools.cached_property
    def _parts(self) -> tuple[tuple[str, str, Dimension | None, bool], ...]:
        """For each key in order its fixed override, or its dimension and whether this is a repeat."""
        fixed = dict(self.fixed)
        free = {one.key: (one, False) for one in self.dimensions} | {one.key: (one, True) for one in self.repeats}
        return tuple((key, fixed.get(key, ""), *free.get(key, (None, False))) for key in self.order)

    @functools.cached_property
    def _settled(self) -> dict[str, Any]:
        """What constraints read of the fixed keys."""
        parsed = {key: parse(text) for key, text in self.fixed}
        return {bare(key): override.value() for key, override in parsed.items() if not override.is_delete()}

    @functools.cached_property
    def _read(self) -> dict[str, tuple[str, dict[str, Any] | None]]:
        """How constraints read the dimensions: by name the key, and what each choice means."""
        spoken = {name for constraint in self.constraints for name in constraint.names}
        return {
            bare(one.key): (
                one.key,
                None if one.choices is None else {text: parse(f"key={text}").value() for text in one.choices},
            )
            for one in self.dimensions
            if bare(one.key) in spoken
        }

    def to_json(self) -> dict[str, Any]:
        """The same as plain data, to be kept beside what was found in it."""
        return {
            "name": self.name,
            "order": list(self.order),
            "fixed": [list(pair) for pair in self.fixed],
            "dimensions": [one.to_json() for one in self.dimensions],
            "constraints": [one.text for one in self.constraints],
            "repeats": [one.to_json() for one in self.repeats],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Space":
        """The space that `to_json` made plain."""
        return cls(
            name=plain["name"],
            order=tuple(plain["order"]),
            fixed=tuple((key, text) for key, text in plain["fixed"]),
            dimensions=tuple(Dimension.from_json(one) for one in plain["dimensions"]),
            constraints=tuple(Constraint(text) for text in plain["constraints"]),
            repeats=tuple(Dimension.from_json(one) for one in plain["repeats"]),
        )

    def change(self, now: "Space") -> Change:
        """What became of this space in a later start; the order of keys and of choices is no difference."""
        widened: list[str] = []
        against: list[str] = []
        before, after = dict(self.fixed), dict(now.fixed)
        free = {one.key for one in (*self.dimensions, *now.dimensions, *self.repeats, *now.repeats)}
        for key in [*before, *(key for key in after if key not in before)]:
            if before.get(key) != after.get(key) and key not in free:
                against.append(_turned(key, before.get(key), after.get(key)))
        _compare(self, now, widened, against)
        held, holds = ({one.normal: one.text for one in space.constraints} for space in (self, now))
        against += [f"the constraint {text} is new" for normal, text in holds.items() if normal not in held]
        widened += [f"the constraint {text} is gone" for normal, text in held.items() if normal not in holds]
        if self.name != now.name:
            against.append(f"it was the space of {self.name or 'the whole sweep'}")
        if against:
            return Change("incompatible", "; ".join(against))
        return Change("widened", "; ".join(widened)) if widened else Change("same")


def bare(key: str) -> str:
    """A key without the signs of an override that adds or deletes it."""
    return key.lstrip("+~")


def _turned(key: str, before: str | None, after: str | None) -> str:
    return (
        f"{key} was {before if before is not None else 'not set'}, and is {after if after is not None else 'not set'}"
    )


def _compare(earlier: Space, later: Space, widened: list[str], against: list[str]) -> None:
    # A point that is done would never run under a value that is new among the repeats.
    for was, now, word, wider in (
        (earlier.dimensions, later.dimensions, "searched", widened),
        (earlier.repeats, later.repeats, "repeated", against),
    ):
        before, after = {one.key: one for one in was}, {one.key: one for one in now}
        against += [f"{key} is no longer {word}" for key in before if key not in after]
        against += [f"{key} is newly {word}" for key in after if key not in before]
        for key in before:
            difference = _difference(before[key], after[key]) if key in after else None
            if difference is not None:
                (wider if difference else against).append(f"{key} was {before[key].shown()}, is {after[key].shown()}")


def _difference(before: Dimension, after: Dimension) -> bool | None:
    """Whether a dimension was widened; None where it is the same."""
    if before == after:
        return None
    alike = all(getattr(before, name) == getattr(after, name) for name in ("kind", "log"))
    conditions = [{key: set(texts) for key, texts in one.when} for one in (before, after)]
    if not alike or conditions[0] != conditions[1] or not after.contains(before):
        return False
    return None if before.contains(after) else True


def _listed(dimension: Dimension) -> Sequence[Value]:
    values = dimension.values()
    if values is None:
        raise ValueError(f"{dimension.key} is continuous: its values cannot be listed")
    return values


def _distinct(dimension: Dimension) -> int:
    return len(set(dimension.choices)) if dimension.choices is not None else dimension.count() or 0


def combinations(walked: Sequence[tuple[Dimension, Sequence[Value]]]) -> Iterator[dict[str, Value]]:
    """Every combination of values, each with those of the dimensions that exist in it; the last varies fastest."""

    def below(place: int, values: dict[str, Value]) -> Iterator[dict[str, Value]]:
        if place == len(walked):
            yield values
            return
        one, listed = walked[place]
        if not one.exists(values):
            yield from below(place + 1, values)
            return
        for value in listed:
            yield from below(place + 1, values | {one.key: value})

    return below(0, {})
