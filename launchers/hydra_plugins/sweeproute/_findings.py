"""Says what was found on a far machine, and what a person can do about it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any

from ._far import versions
from .config import PlatformConf

# GB of disk below which a sweep's outputs soon find no room, and seconds that the clocks may differ without a word.
_DISK_GB = 5.0
_SKEW_S = 60.0
# The program without which a machine lacks a capability, and how it is installed.
_PROGRAMS = {"R_tidymodels": ("Rscript", "apt-get install r-base-core, brew install r or conda install r-base")}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: Its name.
        ok: Whether jobs can run as it is.
        said: What was found.
        step: What the person can do; empty where nothing has to be done.
    """

    what: str
    ok: bool
    said: str
    step: str = ""


def resources(name: str, entry: PlatformConf, load: Mapping[str, Any], skew_s: float) -> Iterator[Finding]:
    """Memory, disk, clock and queue.

    Args:
        name: The platform.
        entry: Its entry in the registry.
        load: What the far side says of itself.
        skew_s: Seconds that its clock is ahead of this machine's.

    Yields:
        A finding each.
    """
    free, total = load["memory_free_gb"], load["memory_gb"]
    stated = entry.specs.memory_gb
    short = stated is not None and total < 0.8 * stated
    step = f"The registry says {stated:g} GB: correct registry.platforms.{name}.specs.memory_gb." if short else ""
    yield Finding("memory", not short, f"{free:.1f} of {total:.1f} GB free", step)
    wanted, there = entry.specs.cpu_cores, load["cores"]
    fewer = wanted is not None and there < wanted
    step = f"The registry says {wanted}: correct registry.platforms.{name}.specs.cpu_cores." if fewer else ""
    yield Finding("cores", not fewer, f"{there}", step)
    disk = load["disk_free_gb"]
    step = "" if disk >= _DISK_GB else f"Make room, or name another folder: registry.platforms.{name}.root=FOLDER"
    yield Finding("disk", disk >= _DISK_GB, f"{disk:.1f} GB free", step)
    step = "" if abs(skew_s) < _SKEW_S else "Results are right all the same, since times are shifted; ntp sets a clock."
    yield Finding("clock", True, f"{round(skew_s, 1) + 0.0:+.1f} s against this machine", step)
    running, queued = len(load["running"]), load["queued"]
    if running or queued:
        yield Finding("queue", True, f"{running} of {load['slots']} slots are taken, {queued} jobs wait")


def gpus(entry: PlatformConf, there: Mapping[str, Any]) -> Iterator[Finding]:
    """Driver and GPUs.

    Args:
        entry: The platform's entry in the registry.
        there: What `_far_check` says of the machine.

    Yields:
        A finding each.
    """
    if there["nvidia_smi"] is None:
        step = "Install NVIDIA's driver; where the machine has no GPU, say specs.gpu=false in the registry."
        yield Finding("gpu", False, "there is no nvidia-smi, nor at the usual places off the path", step)
        return
    where = "" if there["on_path"] else f", found at {there['nvidia_smi']}, off the path"
    if there["problem"]:
        step = "Make `nvidia-smi` work there: the driver may have to be loaded, or the machine started anew."
        yield Finding("driver", False, f"nvidia-smi{where}: {there['problem']}", step)
        return
    stated = entry.specs.cuda_version
    differs = f"; the registry says {stated}" if stated not in (None, there["cuda"]) else ""
    yield Finding("driver", True, f"{there['driver']}, runs CUDA up to {there['cuda']}{differs}{where}")
    if not there["gpus"]:
        yield Finding("gpu", not entry.specs.gpu, "nvidia-smi names none", "Is the driver loaded?")
    for gpu in there["gpus"]:
        used = gpu["memory_gb"] - gpu["memory_free_gb"]
        busy = "" if gpu["utilisation"] is None else f", {gpu['utilisation']:.0f} % busy"
        said = f"{gpu['index']}, {gpu['name']}: {gpu['memory_free_gb']:.1f} of {gpu['memory_gb']:.1f} GB free{busy}"
        users = [_use(use) for use in there["uses"] if use["index"] == gpu["index"]]
        if users:
            said += f"; used by {', '.join(users)}"
        elif used > 1:
            said += f"; {used:.1f} GB are used, by whom it does not say"
        unused = "" if entry.specs.gpu else "The registry says specs.gpu=false, so jobs there run on the CPU."
        yield Finding("gpu", True, said, unused)


def _use(use: Mapping[str, Any]) -> str:
    who = f"{use['user']}'s {use['program'] or 'process'}" if use["user"] else "process"
    return f"{who} {use['pid']} ({use['memory_gb']:.1f} GB)"


def programs_of(entry: PlatformConf) -> dict[str, str]:
    """By the capabilities that a platform claims the programs that it then has."""
    return {name: program for name, (program, _) in _PROGRAMS.items() if name in entry.capabilities}


def claimed(name: str, capability: str, program: str, version: str | None) -> Finding:
    """A capability that stands or falls with a program.

    Args:
        name: The platform.
        capability: What it claims.
        program: What has to be on its PATH.
        version: What that says of its version; None where it is not there.
    """
    if version is not None:
        return Finding(capability, True, version)
    step = (
        f"Install it there ({_PROGRAMS[capability][1]}), or take {capability} out of "
        f"registry.platforms.{name}.capabilities: its jobs then go elsewhere."
    )
    return Finding(capability, False, f"there is no {program} on its PATH", step)


def conda(name: str, conda: Mapping[str, Any]) -> Finding:
    """An installation of conda that no shell would find by itself; see gpus."""
    listed = ", ".join(conda["environments"][:4]) or "without environments of its own"
    said = f"{conda['folder']}, off the path of a shell that nobody types into: {listed}"
    return Finding("conda", True, said, f"To use one: sweeproute setup {name} --python ENVIRONMENT")


def python(name: str, entry: PlatformConf, found: Mapping[str, Any]) -> Iterator[Finding]:
    """The Python of the jobs, and what both sides have to agree on.

    Args:
        name: The platform.
        entry: Its entry in the registry.
        found: What `_far_check` says of that Python.

    Yields:
        A finding each.
    """
    setup = f"`sweeproute setup {name}` makes an environment with the versions of this machine."
    if entry.python is not None:
        setup = f"Name another as registry.platforms.{name}.python, or take that key out: then {setup}"
    minor, here = ".".join(found["python"].split(".")[:2]), versions()
    said = f"{found['python']} at {found['executable']}"
    if minor == here["python"]:
        yield Finding("python", True, said)
    else:
        yield Finding("python", False, f"{said}; {here['python']} here, and both need the same minor version", setup)
    for package in here:
        if package == "python":
            continue
        has = found["versions"].get(package)
        same = has == here[package]
        said = str(has) if same else f"{has or 'missing'} there, {here[package]} here, and both need the same"
        yield Finding(package, same, said, "" if same else setup)
    yield _compared(found["versions"], setup)


def _compared(there: Mapping[str, str | None], setup: str) -> Finding:
    """The libraries of the trials, against this machine's."""
    near = libraries()
    missing = [library for library in near if there.get(library) is None]
    # A local label, as in 2.6.0+cpu, names the build, and that may differ.
    differing = [
        f"{library} {there[library]} there, {has} here"
        for library, has in near.items()
        if library not in missing and str(there[library]).split("+")[0] != has.split("+")[0]
    ]
    said = f"{len(near) - len(missing) - len(differing)} of {len(near)} as here"
    if differing:
        said += f"; {', '.join(differing)}: results may differ"
    if missing:
        return Finding("libraries", False, f"{said}; missing: {', '.join(missing)}", setup)
    return Finding("libraries", True, said)


def libraries() -> dict[str, str]:
    """What this project builds on, as far as this machine has it."""
    found = {}
    for text in distribution("sweeproute").requires or []:
        match = re.match(r"[\w.-]+", text)
        if match and "extra ==" not in text:
            try:
                found[match.group()] = version(match.group())
            except PackageNotFoundError:
                continue
    return found


def fitted(
    name: str, entry: PlatformConf, library: str, has: str, device: str, problem: str, there: Mapping[str, Any]
) -> Finding:
    """A tiny model of one library.

    Args:
        name: The platform.
        entry: Its entry in the registry.
        library: The library.
        has: Its version there.
        device: cpu or cuda.
        problem: What it said; empty where the model was fitted.
        there: What `_far_check` says of the machine.
    """
    if not problem:
        return Finding(library, True, f"{has} fits a tiny model on {device}")
    step = _build(name, entry, library, device, there)
    return Finding(library, False, f"{has} fits no tiny model on {device}: {problem}", step)


def _build(name: str, entry: PlatformConf, library: str, device: str, there: Mapping[str, Any]) -> str:
    """Which build of a library would do."""
    if device == "cpu" and entry.python is None:
        return f"`sweeproute setup {name}` installs the version of this machine."
    if device == "cpu" or not there["cuda"]:
        return ""  # the person's own environment; or the driver is what is wrong, and that is said
    pinned, where = f"{library}==VERSION", ""
    if library == "torch":
        pinned = f"--extra-index-url URL torch==VERSION+cu{there['cuda'].replace('.', '')}"
        where = ", where URL is the list of torch's builds for each CUDA"
    command = f"sweeproute setup {name} --pip '{pinned}'" if entry.python is None else f"pip install {pinned}"
    return f"The driver runs builds for CUDA {there['cuda']} and older; pin one, as in {command}{where}."
