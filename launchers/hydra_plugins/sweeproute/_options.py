"""Holds options from a config against the signature of what they are for."""

import inspect
import warnings
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from ._errors import SettingsError, headline, nearest_first

Made = TypeVar("Made")

# What a person can write down, by the names that annotations use.
_WRITTEN: dict[str, type[Any] | tuple[type[Any], ...]] = {
    "int": int,
    "float": (int, float),
    "bool": bool,
    "str": str,
    "dict": Mapping,
    "None": type(None),
}
_SAID = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "dict": "a mapping",
    "None": "null",
}


def check_options(
    setting: str, name: str, made: type[Any], options: Mapping[str, Any], ours: Collection[str] = ()
) -> None:
    """Refuse options that a constructor does not take.

    Args:
        setting: The setting that holds them, as in hydra.sweeper.sampler_options.
        name: What the person calls the thing.
        made: Its class.
        options: As given.
        ours: Parameters of the constructor that are not the person's to give.

    Raises:
        SettingsError: One is unknown, or is of a type that it does not take.
    """
    parameters = dict(inspect.signature(made).parameters)
    types = {key: _types(one) for key, one in parameters.items() if key not in ours}
    allowed = {key: kinds for key, kinds in types.items() if kinds}
    for key, value in options.items():
        if key not in allowed:
            offer = f"Allowed: {nearest_first(key, allowed)}" if allowed else "It takes none"
            raise SettingsError(f"{setting} has {key!r}, which {name} does not take. {offer}.")
        if not _fits(value, allowed[key]):
            raise SettingsError(
                f"{setting}.{key} is {value!r}. {name} takes {' or '.join(_SAID[one] for one in allowed[key])} there."
            )


def build(setting: str, name: str, made: type[Made], **options: Any) -> Made:
    """Make something of options that were checked.

    Raises:
        SettingsError: It refuses their values.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts that Optuna calls experimental, or means to drop
            return made(**options)
    except (ValueError, TypeError, AssertionError) as error:
        raise SettingsError(f"{setting} was refused by {name}: {headline(str(error)).rstrip('.')}.") from error


def _types(parameter: inspect.Parameter) -> list[str]:
    """The types of a parameter that can be written down; empty where it takes objects of Python."""
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return []
    text = inspect.formatannotation(parameter.annotation).strip("'\"")
    names = [part.strip().partition("[")[0] for part in text.split("|")]
    writable = set(names) & _WRITTEN.keys() - {"None"} and not {"Callable", "list"} & set(names)
    return [one for one in names if one in _WRITTEN] if writable else []


def _fits(value: Any, names: list[str]) -> bool:
    if isinstance(value, bool):
        return "bool" in names
    return any(isinstance(value, _WRITTEN[one]) for one in names)
