"""Prepares a far machine: makes the Python environment of its jobs, or has them use one that is there."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from submitit_ssh.errors import FarError

from ._check import jobs_python, look_inside
from ._errand import Errand
from ._errors import SettingsError
from ._far import versions
from ._findings import Finding
from ._reach import reach_of
from .config import PlatformConf

_HOW = {
    "made": "made; jobs use {python}",
    "linked": "there already; jobs use {python} from now on",
    "kept": "there already, as it should be; jobs use {python}",
}
# A build of torch that a person has chosen brings its own versions of these.
_WITH_TORCH = re.compile(r"(torch|triton|(nvidia|cuda)-.*)\Z")
_NAME = re.compile(r"\s*([A-Za-z0-9][\w.-]*)")


def setup(
    name: str,
    entry: PlatformConf,
    said: Callable[[str], None],
    notes: Callable[[str], None],
    python: str | None = None,
    pip: str = "",
) -> Iterator[Finding]:
    """Make the Python environment of a far machine, or use one that is there; done again it changes nothing.

    Args:
        name: The platform.
        entry: Its entry in the registry.
        said: Called with what is printed there, as it comes.
        notes: Called with what the person waits for, in a sentence.
        python: A Python, or an environment, there to use.
        pip: More arguments for pip, as a shell would take them.

    Yields:
        What was done, then what a check finds of it.

    Raises:
        SettingsError: It has no host, cannot be reached, or the environment cannot be made.
    """
    if entry.python is not None and (python is not None or pip):
        raise SettingsError(
            f"registry.platforms.{name}.python is {entry.python}, which jobs use instead of what setup makes. "
            "Take it out of the registry, or leave --python and --pip out."
        )
    words = _words(pip)
    argument = {
        "minor": versions()["python"],
        "python": python,
        "constraints": _constraints(words),
        "requirements": _requirements(words),
        "pip": words,
    }
    try:
        with Errand(name, reach_of(name, entry), notes) as errand:
            if errand.load().get("paused"):
                raise SettingsError(
                    f"{name} is paused, so nothing starts there. `sweeproute pause {name} --end` ends that."
                )
            yield _made(name, entry, errand, argument, said)
            yield from look_inside(name, entry, errand)
    except FarError as error:
        raise SettingsError(f"{name}: {error}") from error


def _made(
    name: str, entry: PlatformConf, errand: Errand, argument: Mapping[str, object], said: Callable[[str], None]
) -> Finding:
    if entry.python is not None:
        return Finding("environment", True, f"nothing to make: the registry names {entry.python}, and jobs use that")
    answer = errand.run(
        "hydra_plugins.sweeproute._far_setup", {**argument, "root": errand.root}, errand.machine.settings.python, said
    )
    if answer["problem"]:
        problem = str(answer["problem"]).replace("--python PATH", f"sweeproute setup {name} --python PATH")
        raise SettingsError(f"{name} {problem}.")
    return Finding("environment", True, _HOW[answer["how"]].format(python=jobs_python(entry, errand)))


def _words(pip: str) -> list[str]:
    try:
        return shlex.split(pip)
    except ValueError as error:
        raise SettingsError(
            f"--pip {pip!r} cannot be read ({error}). Write it as in a shell: --pip '--pre torch'."
        ) from None


def _named(words: Sequence[str]) -> set[str]:
    """The packages that pip is told to install, under their plain names."""
    found = (re.match(r"([A-Za-z0-9][\w.-]*?)(\[.*\])?\s*(==|>=|<=|~=|!=|<|>|@|$)", word) for word in words)
    return {_plain(match.group(1)) for match in found if match}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements(words: Sequence[str]) -> str:
    """What this project needs, as pip reads it; the project itself is brought along by each sweep."""
    free = _named(words)
    wanted = [text for text in distribution("sweeproute").requires or [] if "extra ==" not in text]
    return "".join(f"{text}\n" for text in wanted if _plain(_NAME.match(text)[1]) not in free)  # type: ignore[index]


def _constraints(words: Sequence[str]) -> str:
    """The versions that jobs run with: the project's, where it lists them, else those of this machine.

    What both sides pickle with is always as it is here; what the person tells pip is left to them.
    """
    fixed = {_plain(name): found for name, found in versions().items() if name != "python"}
    free = _named(words)
    shared = Path("constraints.txt")
    lines = shared.read_text(encoding="utf-8").splitlines() if shared.is_file() else _installed()
    kept = []
    for line in lines:
        match = _NAME.match(line)
        name = _plain(match.group(1)) if match else ""
        chosen = name in free or ("torch" in free and _WITH_TORCH.match(name))
        if name and not chosen and name not in fixed:
            kept.append(line)
    return "".join(f"{line}\n" for line in [*kept, *(f"{name}=={found}" for name, found in fixed.items())])


def _installed() -> list[str]:
    pins = []
    for text in distribution("sweeproute").requires or []:
        match = _NAME.match(text)
        if match:
            try:
                # Which build of a version, as +cpu says, is the other machine's choice.
                pins.append(f"{match.group(1)}=={version(match.group(1)).split('+')[0]}")
            except PackageNotFoundError:
                continue
    return pins
