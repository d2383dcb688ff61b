"""Turns what a person got wrong into a sentence with the next step, where a traceback would have stood."""

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

# Raised by Hydra where a key does not exist.
_NO_SUCH_KEY = re.compile(r"Could not override '([^']+)'")
_APPEND = re.compile(r"To append to your config use \+(\S+)")


def command(main: Callable[[], Any]) -> NoReturn:
    """Run a command, and end the process as it ended.

    A mistake of the person's is said in sentences on standard error, with exit code 1. Whatever else is raised is an
    error of a program, and keeps its traceback.

    Args:
        main: The command; a function that Hydra has decorated, for one.
    """
    # Hydra would print and exit by itself; with this it lets the exception through.
    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        sys.exit(130)
    except Exception as error:
        sentence = explain(error)
        if sentence is None or asked == "1":
            raise
        sys.stderr.write(sentence.rstrip() + "\n")
        sys.exit(1)
    sys.exit(0)


def explain(error: BaseException) -> str | None:
    """Say in sentences what a person got wrong.

    Args:
        error: What was raised.

    Returns:
        The sentences; None where the error is not a mistake of theirs.
    """
    if isinstance(error, MissingConfigException):
        return _missing_option(error)
    if isinstance(error, HydraException):
        return _composition(error)
    if isinstance(error, OmegaConfBaseException):
        return _value(error)
    if type(error).__module__.startswith("sweeproute."):
        return str(error)
    return None


def nearest_first(name: str, allowed: Iterable[str]) -> str:
    """List what is allowed, the nearest match first."""
    names = sorted({str(a) for a in allowed})
    near = difflib.get_close_matches(name, names, n=len(names) or 1, cutoff=0.5)
    return ", ".join([*near, *(n for n in names if n not in near)])


def _missing_option(error: MissingConfigException) -> str:
    """An option of a config group that does not exist."""
    name = error.missing_cfg_file or ""
    group, _, option = str(name).rpartition("/")
    options = error.options or []
    if not options or not group:
        return str(error)
    return (
        f"There is no {group}={option}. Options of {group}, nearest match first: {nearest_first(option, options)}. "
        f"A new one is a file: conf/{group}/{option}.yaml."
    )


def _composition(error: HydraException) -> str:
    text = str(error)
    found = _NO_SUCH_KEY.search(text)
    cause = error.__cause__
    if found is None:
        return f"{text}\n{_value(cause)}" if isinstance(cause, OmegaConfBaseException) else text
    key = found.group(1)
    keys = _siblings(cause)
    if not keys:
        return text
    parent, _, leaf = key.rpartition(".")
    append = _APPEND.search(text)
    return (
        f"There is no key {key}. Keys of {parent or 'the config'}, nearest match first: {nearest_first(leaf, keys)}."
        + (f" To add a key that is new: +{append.group(1)}." if append else "")
    )


def _siblings(cause: BaseException | None) -> list[str]:
    """The keys that stand where the missing one was looked for."""
    node = getattr(cause, "parent_node", None)
    try:
        return [str(key) for key in node if key != "hydra"] if node is not None else []
    except (TypeError, OmegaConfBaseException):
        return []


def _value(error: BaseException | None) -> str:
    """A value of the wrong type, or a missing one: OmegaConf's own first line names both."""
    first, *rest = str(error).splitlines()
    key = next((line.split(":", 1)[1].strip() for line in rest if line.strip().startswith("full_key:")), "")
    return f"{key}: {first}." if key and key not in first else f"{first}."
