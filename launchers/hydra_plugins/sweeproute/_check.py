"""Diagnoses a far machine, and prepares it: whatever could keep jobs from running there, with the next step."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

from submitit_ssh.errors import FarError

from ._errand import Errand
from ._errors import SettingsError
from ._far import versions
from ._far_check import FITS, ON_GPU
from ._records import cache_dir
from .config import PlatformConf

# GB of disk below which a sweep's outputs soon find no room, and seconds that the clocks may differ without a word.
_DISK_GB = 5.0
_SKEW_S = 60.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: Its name.
        ok: Whether it is as it should be.
        said: What was found.
        step: What the person can do; empty where nothing has to be done.
    """

    what: str
    ok: bool
    said: str
    step: str = ""


def reach_of(name: str, entry: PlatformConf) -> Any:
    """How a platform of the registry is reached.

    Args:
        name: The platform.
        entry: Its entry in the registry.

    Returns:
        The settings of its machine.

    Raises:
        SettingsError: It has no host.
    """
    from submitit_ssh.ssh import Settings

    if entry.host is None:
        raise SettingsError(
            f"{name} has no host. Say what ssh is given, here or in the registry: "
            f"registry.platforms.{name}.host=me@box."
        )
    return Settings(entry.host, entry.ssh_config, root=entry.root)


def check(name: str, entry: PlatformConf) -> Iterator[Finding]:
    """Look at a far machine, each thing in its turn; what depends on one that failed is not looked at.

    Args:
        name: The platform.
        entry: Its entry in the registry.

    Yields:
        Findings, as they are made.

    Raises:
        SettingsError: It has no host.
    """
    errand = Errand(reach_of(name, entry), cache_dir() / "staging")
    try:
        errand.open()
    except FarError as error:
        yield Finding("reach", False, str(error), f"When `ssh {entry.host}` works without a question, check again.")
        return
    try:
        yield from _inside(name, entry, errand)
    finally:
        errand.close()


def setup(
    name: str, entry: PlatformConf, said: Callable[[str], None], python: str | None = None, pip: tuple[str, ...] = ()
) -> str:
    """Make the Python environment of a far machine, or use one that is there; done again it changes nothing.

    Args:
        name: The platform.
        entry: Its entry in the registry.
        said: Called with what is printed there, as it comes.
        python: A Python or an environment there to use.
        pip: More arguments for pip.

    Returns:
        What was done, in a sentence.

    Raises:
        SettingsError: It has no host, or the environment could not be made.
    """
    argument = {
        "minor": versions()["python"],
        "python": python,
        "constraints": _constraints(),
        "requirements": _requirements(),
        "pip": list(pip),
    }
    try:
        with Errand(reach_of(name, entry), cache_dir() / "staging") as errand:
            argument["root"] = errand.root
            made = errand.run("hydra_plugins.sweeproute._far_setup", argument, "python3", said)
    except FarError as error:
        raise SettingsError(f"{name}: {error}") from error
    if made["problem"]:
        raise SettingsError(f"{name} {made['problem']}.")
    return f"{name} {'has' if made['done'] else 'had'} its environment: {made['python']}"


def _inside(name: str, entry: PlatformConf, errand: Errand) -> Iterator[Finding]:
    """What is looked at once the machine has answered."""
    machine = errand.machine
    took = f" in {1000 * machine.round_trip_s:.0f} ms" if machine.round_trip_s else ""
    yield Finding("reach", True, f"{machine.host} answers{took}; all is kept in {errand.root}")
    try:
        load = errand.load()
    except FarError as error:
        yield Finding("supervisor", False, str(error), f"{errand.root}/supervisor.log may say more.")
        return
    yield from _resources(load, entry, machine.clock_offset_s)
    with_gpu = bool(entry.specs.gpu)
    packages = sorted({*versions(), *FITS, "mlflow", "pandas", "numpy"} - {"python"})
    argument = {"packages": packages, "device": "cuda" if with_gpu else "cpu"}
    try:
        python = entry.python or f"{errand.root}/env/bin/python"
        found = errand.run("hydra_plugins.sweeproute._far_check", argument, python)
    except FarError as error:
        yield Finding("python", False, str(error), f"`sweeproute setup {name}` makes an environment.")
        return
    yield from _python(name, found, with_gpu)


def _resources(load: Any, entry: PlatformConf, skew_s: float) -> Iterator[Finding]:
    free, total = load["memory_free_gb"], load["memory_gb"]
    stated = entry.specs.memory_gb
    short = stated is not None and total < 0.8 * stated
    step = f"The registry says {stated:g} GB: correct specs.memory_gb." if short else ""
    yield Finding("memory", not short, f"{free:.1f} of {total:.1f} GB free, {load['cores']} cores", step)
    disk = load["disk_free_gb"]
    step = "" if disk >= _DISK_GB else "Make room, or name another folder as the platform's root."
    yield Finding("disk", disk >= _DISK_GB, f"{disk:.1f} GB free", step)
    step = "" if abs(skew_s) < _SKEW_S else "Results are right all the same: times are shifted. An ntp client ends it."
    yield Finding("clock", True, f"{skew_s:+.1f} s against this machine", step)
    if not entry.specs.gpu:
        return
    if not load["gpus"]:
        step = (
            "Is the driver loaded? `nvidia-smi` has to work there; where the machine has no GPU, say specs.gpu=false."
        )
        yield Finding("gpu", False, "nvidia-smi names none", step)
    for gpu in load["gpus"]:
        others = f", {gpu['others_gb']:.1f} GB of it by others" if gpu.get("others_gb") else ""
        used = gpu["memory_gb"] - gpu["memory_free_gb"]
        said = f"{gpu['name']}: {used:.1f} of {gpu['memory_gb']:.1f} GB used{others}, {gpu['utilisation']:.0f} % busy"
        yield Finding("gpu", True, said)


def _python(name: str, found: Any, with_gpu: bool) -> Iterator[Finding]:
    yield Finding("python", True, f"{found['python']} at {found['executable']}")
    there = {"python": ".".join(found["python"].split(".")[:2]), **found["versions"]}
    for package, here in versions().items():
        has = there.get(package)
        step = (
            "" if has == here else f"`sweeproute setup {name}` makes an environment with the versions of this machine."
        )
        said = str(has or "missing") if has == here else f"{has or 'missing'} there, {here} here"
        yield Finding(package, has == here, said, step)
    for package in FITS:
        has = there.get(package)
        if has is None:
            yield Finding(package, False, "missing", f"`sweeproute setup {name}` installs it.")
            continue
        device = "cuda" if with_gpu and package in ON_GPU else "cpu"
        problem = found["fits"][package]
        said = f"{has}{_differs(package, has)}; a tiny model on {device}: {problem or 'fitted'}"
        step = (
            f"Install a build that the driver can run: sweeproute setup {name} --pip '{package}==VERSION'."
            if problem
            else ""
        )
        yield Finding(package, not problem, said, step)


def _differs(package: str, there: str) -> str:
    try:
        here = version(package)
    except ModuleNotFoundError:
        return ""
    # A local label, as in 2.6.0+cpu, names the build, and that may differ.
    return "" if here.split("+")[0] == there.split("+")[0] else f" ({here} here: results may differ)"


def _requirements() -> str:
    """What this project needs, as pip reads it; the project itself is brought along by each sweep."""
    wanted = distribution("sweeproute").requires or []
    return "\n".join(text for text in wanted if "extra ==" not in text) + "\n"


def _constraints() -> str:
    """The versions that this machine has, so that the two agree; which build of one is the other machine's choice."""
    pins = []
    for text in distribution("sweeproute").requires or []:
        package = re.match(r"[\w.-]+", text)
        if package:
            try:
                pins.append(f"{package.group()}=={version(package.group()).split('+')[0]}")
            except ModuleNotFoundError:
                continue
    shared = Path("constraints.txt")
    if shared.is_file():
        return shared.read_text(encoding="utf-8")
    return "\n".join(pins) + "\n"
