"""Turns the parameters of an `mlflow run` into the command that a person would type, and becomes that command.

MLproject's entry points call it: `python -m sweeproute.project ENTRY name=value … --further value …`. MLflow passes a
parameter that an entry point does not declare as `--name value`; such a one is a Hydra override here.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sweeproute.project_command import HERE

# The commands of `sweeproute`: their words by parameter, None where the value stands alone; an empty value is not said.
_COMMANDS: Mapping[str, Mapping[str, str | None]] = {
    "best": {"sweep": "--sweep", "metric": "--metric", "direction": "--direction"},
    "report": {"sweep": None, "to": "--to", "copy_to": "--copy-to", "metric": "--metric"},
    "reproduce": {"run": None},
    "promote": {"run": None, "name": "--name", "alias": "--alias"},
    "sync": {"sweep": None},
}
# Of what a command has said, as much as a description of a run takes.
_DESCRIPTION = 4000


class ProjectError(Exception):
    """The parameters make no command."""


def command(entry: str, words: Sequence[str]) -> list[str]:
    """The command line of an entry point.

    Args:
        entry: main, sweep, or a command of `sweeproute`.
        words: `name=value` for each declared parameter, then `--name value` for each further one.

    Returns:
        The words of the command, the Python that runs this one first.

    Raises:
        ProjectError: `overrides` has a quote without its other half, or a command of `sweeproute` got a parameter that
            it has not.

    Example:
        >>> command("sweep", ["model=glm", "overrides=seed=1,2 sweep.note='a b'"])[1:]
        ['train.py', '-m', 'model=glm', 'seed=1,2', 'sweep.note=a b']
    """
    declared, further = _divided(words)
    overrides = [*_overrides(declared.pop("overrides", "")), *(f"{name}={value}" for name, value in further.items())]
    if entry in ("main", "sweep"):
        own = [f"{name}={value}" for name, value in declared.items() if value]
        if entry == "sweep" and (here := os.environ.get(HERE)):
            # Routed to another machine as a whole, by `mlflow run -b sweeproute`: that is the only platform there.
            own.append(f"hydra.launcher.here={here}")
        return [sys.executable, "train.py", *(["-m"] if entry == "sweep" else []), *own, *overrides]
    known = _COMMANDS[entry]
    if overrides and entry != "report":
        name = overrides[0].partition("=")[0]
        raise ProjectError(f"The entry point {entry} has no parameter {name!r}. It has: {', '.join(known)}.")
    said = [word for name, value in declared.items() if value for word in (known[name], value) if word is not None]
    return [sys.executable, "-m", "sweeproute", entry, *said, *overrides]


def _divided(words: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The declared parameters, and the further ones."""
    first = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
    declared = dict(word.partition("=")[::2] for word in words[:first])
    names, values = words[first::2], words[first + 1 :: 2]
    return declared, {name.removeprefix("--"): value for name, value in zip(names, values, strict=True)}


def _overrides(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        raise ProjectError(
            f"overrides is {text!r}, where a quote has no other half. Overrides are separated by spaces; one that has "
            "spaces stands in quotes, as in a shell."
        ) from None


def _described(words: Sequence[str]) -> int:
    """Run a command of `sweeproute`, and let the project's own run say what it has said."""
    said = ""
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said += line if len(said) < _DESCRIPTION else ""
    if said.strip():
        _describe("".join(f"    {line}\n" for line in said.splitlines()))
    return process.returncode


def _describe(text: str, anew: bool = True) -> None:
    """Have the run that `mlflow run` has made say something, where there is one; or leave what it says already."""
    run = os.environ.get("MLFLOW_RUN_ID")
    if run:
        # lazy import: a trial, which becomes its own command, needs none of it
        from sweeproute.store import DEFAULT_URI, connect

        try:
            client = connect(os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI)
            if anew or "mlflow.note.content" not in client.get_run(run).data.tags:
                client.set_tag(run, "mlflow.note.content", text)
        except Exception as error:  # whatever a store may raise: the command's own end counts
            told = f"{error}".splitlines()[0] if str(error) else type(error).__name__
            print(f"The project's run {run} does not say so, since its store refuses: {told}", file=sys.stderr)


def main(words: Sequence[str] | None = None, become: Callable[[str, list[str]], object] = os.execv) -> int:
    """Become the command.

    Args:
        words: The entry point, and its parameters; the process's own when None.
        become: What replaces this process by another.

    Returns:
        An exit code: 2 where the parameters make no command.
    """
    entry, *rest = sys.argv[1:] if words is None else words
    if entry == "refused":
        # A command that could not start says here why.
        _describe(rest[0][:_DESCRIPTION], anew=False)
        return 0
    try:
        typed = command(entry, rest)
    except ProjectError as error:
        print(error, file=sys.stderr)
        _describe(str(error))
        return 2
    shown = ["sweeproute", *typed[3:]] if entry in _COMMANDS else [Path(typed[0]).name, *typed[1:]]
    print(f"$ {shlex.join(shown)}", file=sys.stderr, flush=True)
    if entry in _COMMANDS:
        return _described(typed)
    become(typed[0], typed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
