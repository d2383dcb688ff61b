"""Turns what a person got wrong into a sentence with the next step, where a traceback would have stood."""

import difflib
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
    ValidationError,
)

# What Hydra's messages say: the key that does not exist, the override that would add it, the one that failed.
_NO_SUCH_KEY = re.compile(r"Could not override '([^']+)'")
_APPEND = re.compile(r"To append to your config use \+(.+)")
_FAILED = re.compile(r"Error merging override (.+)")
_IN_FILE = re.compile(r"In '([^']+)': ConfigKeyError.*?full_key: (\S+)\s+reference_type=(\w+)", re.DOTALL)
_THERE = re.compile(r"An item is already at '([^']+)'")
_CHOSEN = re.compile(r"Multiple values for (\S+)\.")
# What OmegaConf's messages say of a value that does not fit, and what would.
_KINDS = (
    (re.compile(r"could not be converted to Integer"), "a whole number"),
    (re.compile(r"could not be converted to Float"), "a number"),
    (re.compile(r"not a valid bool|could not be converted to Boolean"), "true or false"),
    (re.compile(r"is not a ListConfig, list or tuple"), "a list, as in [1,2]"),
    (re.compile(r"Cannot assign \w+ to Dict"), "a mapping, as in {name: value}"),
    (re.compile(r"not Optional"), "a value, and null is none"),
)
# What a person's own words can bring OmegaConf to raise while a trial runs; the rest of its errors are a program's.
_OF_VALUES = (MissingMandatoryValue, InterpolationResolutionError, UnsupportedInterpolationType, ValidationError)
_PARAMETERS = "model.params."


# Whether what a command was to do is done, and something at its end has failed.
_failed_at_end = False


def fail_at_end() -> None:
    """Let the command of this process end with exit code 1, though its own work is done."""
    global _failed_at_end
    _failed_at_end = True


def command(main: Callable[[], Any], through_hydra: bool = True) -> NoReturn:
    """Run a command, and end the process as it ended.

    A mistake of the person's is said in sentences on standard error, with exit code 1. Whatever else is raised is an
    error of a program, and keeps its traceback.

    Args:
        main: The command; a function that Hydra has decorated, for one.
        through_hydra: Whether it is such a function.
    """
    asked = os.environ.get("HYDRA_FULL_ERROR")
    # What follows the run takes its id out of the environment.
    project = {name: os.environ[name] for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI") if name in os.environ}
    if through_hydra:
        # Hydra would print and exit by itself; with this it lets the exception through.
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
        if "MLFLOW_RUN_ID" in project:
            # Else the project's run would fail without a word of why, where nothing had begun.
            words = [sys.executable, "-P", "-m", "sweeproute.project", "refused", sentence]
            subprocess.run(words, env={**os.environ, **project}, check=False)
        sys.exit(1)
    sys.exit(1 if _failed_at_end else 0)


def nobody_reads() -> None:
    """Let what is still written to standard output go nowhere: whoever read it, `head` for one, has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def explain(error: BaseException) -> str | None:
    """Say in sentences what a person got wrong.

    Args:
        error: What was raised.

    Returns:
        The sentences; None where the error is not a mistake of theirs.
    """
    if isinstance(error, MissingConfigException):
        return _missing_option(error)
    if isinstance(error, OverrideParseException):
        return (
            f"The override {error.override!r} cannot be read. Write key=value or group=option, +key=value to add a "
            "key, ~key to take one out; quote what holds spaces or brackets: 'key=\"a b\"'."
        )
    if isinstance(error, HydraException):
        return _composition(error)
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return _no_name_of_an_option(error)
    if isinstance(error, _OF_VALUES):
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
    # A schema stands behind an option, and is none.
    options = [option for option in error.options or [] if not option.endswith("_schema")]
    if not options or not group:
        return str(error)
    return (
        f"There is no {group}={option}. Options of {group}, nearest match first: {nearest_first(option, options)}. "
        f"A new one is a file: conf/{group}/{option}.yaml."
    )


def _no_name_of_an_option(error: ValueError) -> str:
    """A config group that was given a number or a truth value; Hydra says of what type, and not which group."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    override = frames[-1].f_locals.get("override") if frames else None
    word, group = (override.input_line, override.key_or_group) if override is not None else ("a word", "the group")
    return (
        f"{word} gives the config group {group} what is no option's name. An option is a file, "
        f"conf/{group}/OPTION.yaml, and is chosen by {group}=OPTION; a single setting in it is written "
        f"{group}.SETTING=VALUE."
    )


def _composition(error: HydraException) -> str:
    text = str(error)
    cause = error.__cause__
    if found := _NO_SUCH_KEY.search(text):
        append = _APPEND.search(text)
        return _missing_key(found[1], cause, append[1].strip() if append else None) or text
    if isinstance(cause, OmegaConfBaseException):
        failed = _FAILED.search(text)
        return f"{failed[1]} does not fit: {_value(cause)}" if failed else f"{' '.join(text.split())} {_value(cause)}"
    if found := _IN_FILE.search(text):
        return _key_of_file(*found.groups()) or text
    if found := _THERE.search(text):
        return f"The key {found[1]} is there already; leave out the + to set it."
    if found := _CHOSEN.search(text):
        return f"The group {found[1]} has an option already; leave out the + to choose another."
    return text


def _missing_key(key: str, cause: BaseException | None, override: str | None) -> str | None:
    """A key that does not exist; None where it is not known what does.

    Args:
        key: The dotted key.
        cause: What OmegaConf raised.
        override: The override that named it, where it could be added.
    """
    node: Any = getattr(cause, "parent_node", None)
    keys = _keys(node)
    if not keys:
        return None
    if key.startswith(_PARAMETERS) and "." not in key.removeprefix(_PARAMETERS) and override:
        return _parameter(str(node.get("_target_")), key.removeprefix(_PARAMETERS), override)
    parent, _, leaf = key.rpartition(".")
    return (
        f"There is no key {key}. Keys of {parent or 'the config'}, nearest match first: {nearest_first(leaf, keys)}."
        # A group of ours takes none.
        + (f" To add a key that is new: +{override}." if override and not parent else "")
    )


def _key_of_file(file: str, key: str, schema: str) -> str | None:
    """A key in a file of the config that its schema does not have; None where it is another schema than ours."""
    from sweeproute import config

    fields = getattr(getattr(config, schema, None), "__dataclass_fields__", None)
    if fields is None:
        return None
    parent, _, leaf = key.rpartition(".")
    keys = nearest_first(leaf, fields)
    return (
        f"There is no key {key}, which {file}.yaml has. Keys of {parent or 'the config'}, nearest match first: {keys}."
    )


def _keys(node: Any) -> list[str]:
    """The keys that stand where the missing one was looked for, but for Hydra's own."""
    try:
        return [str(key) for key in node if key != "hydra" and not str(key).startswith("_")] if node is not None else []
    except (TypeError, OmegaConfBaseException):
        return []


def _parameter(target: str, name: str, override: str) -> str:
    """A parameter that the model's file does not set: its library knows whether there is such a one."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from sweeproute.estimators import ModelError, check_parameter

    try:
        check_parameter(target, name, OverridesParser.create().parse_override(override).value())
    except ModelError as error:
        return str(error)
    return (
        f"{_PARAMETERS}{name} is a parameter of {target} that the model's file does not set; "
        f"add it with a plus: +{override}"
    )


def _value(error: OmegaConfBaseException) -> str:
    """A value of the wrong type, or a missing one, by what OmegaConf says in its first line."""
    first, *rest = str(error).splitlines()
    key = next((line.split(":", 1)[1].strip() for line in rest if line.strip().startswith("full_key:")), "")
    if isinstance(error, MissingMandatoryValue):
        return f"{key} is not set; give it, as {key}=VALUE."
    for pattern, kind in _KINDS:
        if key and pattern.search(first):
            return f"{key} takes {kind}."
    first = first.rstrip(".")
    return f"{key}: {first}." if key and key not in first else f"{first}."
