"""Decides which points of a search space may be tried at all, by a condition over their values."""

import ast
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._errors import SettingsError, nearest_first

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_WORDS = {"true": True, "false": False, "null": None}
_ALLOWED = "Allowed: + - * / // % **, comparisons, and, or, not, over keys of the search space, numbers and quoted text"

_Values = Mapping[str, Any]


@dataclass(frozen=True)
class Constraint:
    """A condition that a point of a space has to meet.

    Attributes:
        text: As written, such as `model.params.num_leaves <= 2 ** model.params.max_depth`.
    """

    text: str

    @functools.cached_property
    def _parsed(self) -> ast.expr:
        return ast.parse(self.text.strip(), mode="eval").body

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The keys that it speaks of, without the + of one that is added."""
        found: list[str] = []
        _build(self._parsed, found)
        return tuple(dict.fromkeys(found))

    @functools.cached_property
    def normal(self) -> str:
        """The same condition, spaced in one way only."""
        return ast.unparse(self._parsed)

    @functools.cached_property
    def _told(self) -> Callable[[_Values], Any]:
        return _build(self._parsed, [])

    def holds(self, values: _Values) -> bool:
        """Whether a point meets it.

        Args:
            values: The value of each of its names.

        Raises:
            SettingsError: It cannot be told, as where text is compared with a number.
        """
        try:
            return bool(self._told(values))
        except (ArithmeticError, TypeError) as error:
            told = ", ".join(f"{name}={values[name]!r}" for name in self.names)
            raise SettingsError(
                f"The constraint {self.text!r} cannot be told for {told}: {error}. Write it so that each value of "
                "these keys fits."
            ) from error


def read(written: Any, keys: Sequence[str]) -> Constraint:
    """Read a constraint, and refuse one that cannot be told.

    Args:
        written: Its text.
        keys: The names that it may speak of.

    Raises:
        SettingsError: It is no condition, or speaks of a key that the space does not have.
    """
    if not isinstance(written, str):
        raise SettingsError(f"The constraint {written!r} is no text. Write a condition, such as model.a <= model.b.")
    constraint = Constraint(written)
    try:
        parsed = constraint._parsed
    except SyntaxError as error:
        cure = " Two values are compared by ==." if "=" in written.replace("==", "") else ""
        raise SettingsError(f"The constraint {written!r} cannot be read: {error.msg}.{cure} {_ALLOWED}.") from error
    try:
        names = constraint.names
    except _UnknownPartError as error:
        raise SettingsError(
            f"The constraint {written!r} has {str(error)!r}, which is not known. {_ALLOWED}."
        ) from error
    if not _is_condition(parsed):
        raise SettingsError(f"The constraint {written!r} is no condition. Write one, such as model.a <= 2 * model.b.")
    for name in names:
        if name not in keys:
            near = nearest_first(name, keys) or "none here"
            raise SettingsError(
                f"The constraint {written!r} speaks of {name!r}, which the search space does not have. Its keys, "
                f"nearest match first: {near}. Write one of them, or make {name} an axis."
            )
    return constraint


class _UnknownPartError(Exception):
    """A part of a constraint that is none of what it may have."""


def _is_condition(node: ast.expr) -> bool:
    if isinstance(node, ast.BoolOp):
        return all(_is_condition(part) for part in node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return True
    # A key alone may be a switch that is on or off.
    return isinstance(node, (ast.Compare, ast.Name, ast.Attribute))


def _build(node: ast.expr, names: list[str]) -> Callable[[_Values], Any]:
    """A function of the values for a part of a condition; the names that it speaks of are added to a list."""
    match node:
        case ast.Constant(value=str() | int() | float() | None as constant):
            return lambda _: constant
        case ast.Name() | ast.Attribute() if (name := _dotted(node)) is not None:
            if name in _WORDS:
                word = _WORDS[name]
                return lambda _: word
            names.append(name)
            return operator.itemgetter(name)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            calculate, one, other = _ARITHMETIC[type(op)], _build(left, names), _build(right, names)
            return lambda values: calculate(one(values), other(values))
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _SIGNS:
            change, inner = _SIGNS[type(sign)], _build(operand, names)
            return lambda values: change(inner(values))
        case ast.BoolOp(op=ast.And(), values=parts):
            all_of = [_build(part, names) for part in parts]
            return lambda values: all(part(values) for part in all_of)
        case ast.BoolOp(values=parts):
            any_of = [_build(part, names) for part in parts]
            return lambda values: any(part(values) for part in any_of)
        case ast.Compare(left=left, ops=ops, comparators=rights) if all(type(op) in _COMPARISONS for op in ops):
            return _compared([_COMPARISONS[type(op)] for op in ops], [_build(part, names) for part in (left, *rights)])
    raise _UnknownPartError(ast.unparse(node))


def _compared(
    comparisons: Sequence[Callable[[Any, Any], bool]], parts: Sequence[Callable[[_Values], Any]]
) -> Callable[[_Values], bool]:
    if len(comparisons) == 1:
        (compare,), (one, other) = comparisons, parts
        return lambda values: compare(one(values), other(values))

    def chain(values: _Values) -> bool:
        seen = [part(values) for part in parts]
        return all(compare(a, b) for compare, a, b in zip(comparisons, seen, seen[1:], strict=False))

    return chain


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := _dotted(node.value)) is not None:
        return f"{owner}.{node.attr}"
    return None
