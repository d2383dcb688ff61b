"""Holds what may be searched under one key: choices, or a range of numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig

from ._compose import parse

# A choice is the text of its override, a range's value is a number.
Value = str | int | float | bool | None


def text(value: Any) -> str:
    """A value in Hydra's grammar; text is quoted where the grammar would read something else in it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, ListConfig)):
        return f"[{','.join(text(item) for item in value)}]"
    if isinstance(value, (dict, DictConfig)):
        return f"{{{','.join(f'{key!s}:{text(item)}' for key, item in value.items())}}}"
    if not isinstance(value, str):
        return str(value)
    try:
        plain = parse(f"key=[{value}]").value() == [value]
    except HydraException:
        plain = False
    return value if plain else QuotedString(value, Quote.single).with_quotes()


def steps(low: float, high: float, step: float) -> Decimal:
    """How many steps lead from one number to another, in decimals as people write them: 6 of 0.1 from 0.1 to 0.7."""
    return (Decimal(repr(high)) - Decimal(repr(low))) / Decimal(repr(step))


def ahead(low: float, step: float, count: int) -> float:
    """The number so many steps ahead, in decimals as people write them: 0.1 and two steps of 0.1 are 0.3."""
    return float(Decimal(repr(low)) + count * Decimal(repr(step)))


@dataclass(frozen=True)
class Dimension:
    """What may be searched under one key.

    Attributes:
        key: As in an override, with its + where the key is added.
        choices: What may stand behind the equals sign, in Hydra's grammar; None for a range.
        low: The smallest number of a range.
        high: The largest number of a range; it can be reached.
        step: Distance of a range's numbers; None is 1 where they are whole, and no distance elsewhere.
        log: Whether a range is searched on a logarithmic scale.
        whole: Whether a range has integers alone.
        when: The conditions under which the key exists: keys of other dimensions, each with the texts of those of its
            values under which it does.
    """

    key: str
    choices: tuple[str, ...] | None = None
    low: float | int | None = None
    high: float | int | None = None
    step: float | int | None = None
    log: bool = False
    whole: bool = False
    when: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def kind(self) -> str:
        """categorical, int or float."""
        return "categorical" if self.choices is not None else "int" if self.whole else "float"

    def exists(self, values: Mapping[str, Value]) -> bool:
        """Whether the key is there under these values of the others; a value that is missing does not exist itself."""
        for key, texts in self.when:
            if key not in values:
                return False
            value = values[key]
            if (value if isinstance(value, str) else text(value)) not in texts:
                return False
        return True

    def override(self, value: Value) -> str:
        """The override that sets a value.

        Args:
            value: A choice, or a number of the range; where the range has steps, the nearest of its numbers is meant.

        Returns:
            `key=value`; a number is read back as the very same.
        """
        if self.choices is None:
            value = self.nearest(value)
        return f"{self.key}={value}"

    def nearest(self, value: Any) -> Value:
        """A value as it is written: the choice as text, or the nearest number of the range, counted in decimals."""
        if self.choices is not None:
            return str(value)
        assert self.low is not None
        if self.whole:
            step = self.step or 1
            return int(self.low + round((value - self.low) / step) * step)
        # A sampler's own type of number is written in another way than Python's.
        return float(value) if self.step is None else ahead(self.low, self.step, round((value - self.low) / self.step))

    def count(self) -> int | None:
        """How many values there are; None where the range is continuous."""
        if self.choices is not None:
            return len(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.whole:
            return int((self.high - self.low) // (self.step or 1)) + 1
        return None if self.step is None else round(steps(self.low, self.high, self.step)) + 1

    def values(self) -> tuple[Value, ...] | None:
        """Every value, in order; None where the range is continuous."""
        if self.choices is not None:
            return self.choices
        count = self.count()
        return None if count is None else tuple(self._at(place) for place in range(count))

    def _at(self, place: int) -> float | int:
        assert self.low is not None
        if self.whole:
            return int(self.low + place * (self.step or 1))
        assert self.step is not None
        return ahead(self.low, self.step, place)

    def ends(self) -> tuple[Value, ...]:
        """What stands for all values where they are too many to be looked at: both ends of a range, every choice."""
        return self.choices if self.choices is not None else (self.low, self.high)

    def contains(self, other: "Dimension") -> bool:
        """Whether every value of another dimension of the same kind is one of this."""
        if self.choices is not None:
            return set(other.choices or ()) <= set(self.choices)
        assert self.low is not None
        assert self.high is not None
        assert other.low is not None
        assert other.high is not None
        if other.low < self.low or other.high > self.high:
            return False
        ours, theirs = self._distance(), other._distance()
        if ours is None:
            return True
        return theirs is not None and not (steps(self.low, other.low, ours) % 1 or steps(0, theirs, ours) % 1)

    def _distance(self) -> float | int | None:
        return (self.step or 1) if self.whole else self.step

    def shown(self) -> str:
        """As a person would write it into a search space."""
        if self.choices is not None:
            said = _in_brackets(self.choices)
            return f"{{choices: {said}, when: {self.condition()}}}" if self.when else said
        parts = [f"low: {self.low}", f"high: {self.high}"]
        parts += [f"step: {self.step}"] * (self.step is not None) + ["log: true"] * self.log
        return f"{{{', '.join([*parts, f'when: {self.condition()}'] if self.when else parts)}}}"

    def condition(self) -> str:
        """Its `when`, as a person would write it; empty where there is none."""
        each = (f"{key}: {texts[0] if len(texts) == 1 else _in_brackets(texts)}" for key, texts in self.when)
        return f"{{{', '.join(each)}}}" if self.when else ""

    def to_json(self) -> dict[str, Any]:
        """The same as plain data; what is not set is left out."""
        told = {one.name: (getattr(self, one.name), one.default) for one in fields(self)}
        return {name: value for name, (value, default) in told.items() if value != default}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Dimension":
        """The dimension that `to_json` made plain."""
        choices, when = plain.get("choices"), plain.get("when", ())
        return cls(
            **{
                **plain,
                "choices": None if choices is None else tuple(choices),
                "when": tuple((key, tuple(texts)) for key, texts in when),
            }
        )


def _in_brackets(texts: Sequence[str]) -> str:
    return f"[{', '.join(texts)}]"


def in_order(dimensions: Sequence[Dimension]) -> tuple[list[Dimension], list[Dimension]]:
    """Put each dimension behind those that its `when` names, and else leave them as they are.

    Args:
        dimensions: In any order.

    Returns:
        Those that could be placed, in order; those that wait for each other in a circle.
    """
    placed: list[Dimension] = []
    there: set[str] = set()
    waiting = list(dimensions)
    keys = {one.key for one in dimensions}
    while waiting:
        ready = next((one for one in waiting if all(key in there or key not in keys for key, _ in one.when)), None)
        if ready is None:
            break
        waiting.remove(ready)
        placed.append(ready)
        there.add(ready.key)
    return placed, waiting
