"""Checks the parameters of the SSH executor when they are given, not when a job fails by them."""

import difflib
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import boot
from .errors import SettingError

# Of a job, under the names that submitit has for every cluster.
SHARED = (
    *("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "stderr_to_stdout"),
)
# Of this executor alone: AutoExecutor takes them with ssh_ before them.
OWN = ("host", "config", "python", "root", "slots", "stage", "signal_delay_s", "gpu_mem_gb")
NAMES = frozenset((*SHARED, *OWN))


def check(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check parameters.

    Args:
        given: Some of `NAMES`; None leaves one at its default.

    Returns:
        The same, paths expanded.

    Raises:
        SettingError: There is no such parameter, or no such value of it.
    """
    checked = {}
    for name, value in given.items():
        if name not in NAMES:
            raise SettingError(_unknown(name))
        if value is not None:
            fits, what = _RULES[name]
            if not fits(value):
                raise SettingError(f"{_shown(name)} is {value!r}, where {what} is needed.")
            value = _settled(name, value)
        checked[name] = value
    return checked


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.removeprefix("ssh_"), NAMES, n=1)
    hint = f"Did you mean {_shown(near[0])}? " if near else ""
    return f"The ssh executor has no parameter {name!r}. {hint}It has {', '.join(map(_shown, sorted(NAMES)))}."


def _shown(name: str) -> str:
    return f"ssh_{name}" if name in OWN else name


def _settled(name: str, value: Any) -> Any:
    if name == "config":
        return str(Path(value).expanduser().absolute())
    if name == "stage" and value is not False:
        return Path(value).expanduser().absolute()
    if name == "python":
        boot.command(value)  # raises where no shell could be given it
    return value.rstrip("/") if name == "root" else value


def _number(low: float, above: bool = False) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        return number and (value > low if above else value >= low)

    return fits


def _whole(low: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= low


def _text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != "" and not value.startswith("-")


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


_ONE = (lambda value: value == 1, "1, for a machine of one's own is one node and a job one task,")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "host": (_text, "what ssh is given, as in 'me@4090box',"),
    "config": (lambda value: _is_path(value) and Path(value).expanduser().is_file(), "an ssh configuration file"),
    "python": (_text, "the name or the path of a Python over there"),
    "root": (lambda value: _text(value) and value.startswith(("/", "~/")), "a folder over there, from / or ~/ on,"),
    "slots": (_whole(1), "a number of jobs from 1 up"),
    "stage": (
        lambda value: value is False or (_is_path(value) and Path(value).expanduser().is_dir()),
        "a folder of the project, or False for no code,",
    ),
    "signal_delay_s": (_number(0), "a number of seconds from 0 up"),
    "gpu_mem_gb": (_number(0, above=True), "a number of GB above 0"),
    "name": (lambda value: isinstance(value, str), "a text"),
    "timeout_min": (_number(0, above=True), "a number of minutes above 0"),
    "mem_gb": (_number(0, above=True), "a number of GB above 0"),
    "nodes": _ONE,
    "cpus_per_task": (_whole(1), "a number of cores from 1 up"),
    "gpus_per_node": (_whole(0), "a number of GPUs from 0 up"),
    "tasks_per_node": _ONE,
    "stderr_to_stdout": (lambda value: isinstance(value, bool), "True or False"),
}
