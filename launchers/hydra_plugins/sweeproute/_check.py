"""Diagnoses a far machine: whatever could keep jobs from running there, each with the next step."""

import re
import subprocess
from collections.abc import Callable, Iterator

from submitit_ssh.errors import FarError, SubmititSshError
from submitit_ssh.ssh import Settings

from . import _findings
from ._errand import Errand
from ._far import versions
from ._far_check import FITS, ON_GPU
from ._far_setup import PLACES
from ._findings import Finding
from ._reach import reach_of
from .config import PlatformConf

_ENTRY = "hydra_plugins.sweeproute._far_check"
# The oldest Python that the supervisor runs under.
_OLDEST = (3, 9)
_ASK_S = 20.0


def check(name: str, entry: PlatformConf, notes: Callable[[str], None]) -> Iterator[Finding]:
    """Look at a far machine, each thing in its turn; what depends on one that failed is not looked at.

    Args:
        name: The platform.
        entry: Its entry in the registry.
        notes: Called with what the person waits for, in a sentence.

    Yields:
        Findings, as they are made.

    Raises:
        SettingsError: It has no host.
    """
    reach = reach_of(name, entry)
    errand = Errand(name, reach, notes)
    try:
        errand.open()
    except SubmititSshError as error:
        yield _unreached(name, reach, str(error))
        return
    try:
        machine = errand.machine
        load = errand.load()
        took = f" in {1000 * machine.round_trip_s:.0f} ms" if machine.round_trip_s is not None else ""
        yield Finding("reach", True, f"{machine.host} answers{took}; everything is kept in {errand.root}")
        yield from _findings.resources(name, entry, load, machine.clock_offset_s)
        if load["paused"]:
            step = f"`sweeproute pause {name} --end` ends that; then check again."
            yield Finding("queue", False, "paused: nothing starts there, this check's jobs neither", step)
            return
        yield from look_inside(name, entry, errand)
    except FarError as error:
        yield Finding("supervisor", False, f"{name} {error}", f"{errand.root}/supervisor.log may say more.")
    finally:
        errand.close()


def look_inside(name: str, entry: PlatformConf, errand: Errand) -> Iterator[Finding]:
    """Look at the GPUs and the environment of the jobs, with jobs there.

    Args:
        name: The platform.
        entry: Its entry in the registry.
        errand: A connection that is open.

    Yields:
        Findings, as they are made.

    Raises:
        FarError: It cannot be asked.
    """
    python = jobs_python(entry, errand)
    supervisors = errand.machine.settings.python
    programs = _findings.programs_of(entry)
    looked_for = {"look": "machine", "python": python, "programs": list(programs.values())}
    there = errand.run(_ENTRY, looked_for, supervisors)
    if entry.specs.gpu or there["nvidia_smi"]:
        yield from _findings.gpus(entry, there)
    for capability, program in programs.items():
        yield _findings.claimed(name, capability, program, there["programs"][program])
    for conda in there["conda"]:
        yield _findings.conda(name, conda)
    setup = f"`sweeproute setup {name}`"
    if not there["python"]:
        step = f"{setup} makes an environment." if entry.python is None else "Correct it in the registry."
        yield Finding("python", False, f"there is none at {python}", step)
        return
    packages = sorted({*versions(), *FITS, *_findings.libraries()} - {"python"})
    try:
        found = errand.run(_ENTRY, {"look": "python", "packages": packages}, python)
    except FarError as error:
        yield Finding("python", False, f"{python}: {error}", f"{setup} makes an environment.")
        return
    yield from _findings.python(name, entry, found)
    with_gpu = bool(entry.specs.gpu)
    for library in FITS:
        if found["versions"].get(library) is None:
            continue  # said already
        device = "cuda" if with_gpu and library in ON_GPU else "cpu"
        gpus = 1 if device == "cuda" and there["gpus"] else 0
        argument = {"look": "fit", "library": library, "device": device}
        try:
            problem = str(errand.run(_ENTRY, argument, python, gpus=gpus))
        except FarError as error:
            problem = str(error)
        yield _findings.fitted(name, entry, library, found["versions"][library], device, problem, there)


def jobs_python(entry: PlatformConf, errand: Errand) -> str:
    """The Python that runs a platform's jobs."""
    return entry.python or f"{errand.root}/env/bin/python"


def _unreached(name: str, reach: Settings, error: str) -> Finding:
    """Why there is no connection: what ssh, or the far side, has said, and its cure."""
    said, _, cure = error.removeprefix(f"{reach.host} ").rstrip(".").partition(". ")
    step = f"{cure}." if cure else ""
    if "host key" in said:
        return Finding("host key", False, said, step)
    if "refuses the login" in said:
        return Finding("login", False, said, step)
    if "Python" in said:
        return Finding("python", False, said.removesuffix(": name another one"), _name_python(name, reach))
    if "ssh configuration" in said:
        return Finding("ssh configuration", False, said, "Correct it, then check again.")
    config = f"-F {reach.ssh_config} " if reach.ssh_config else ""
    return Finding("reach", False, said, step or f"When `ssh {config}{reach.host} true` works, check again.")


def _name_python(name: str, reach: Settings) -> str:
    """What to do about a Python that is missing, or too old, where a shell that nobody types into looks for it."""
    places = " ".join(f'"$HOME"{place[1:]}' if place.startswith("~") else place for place in PLACES)
    # In single quotes any login shell hands it to sh: no quote, backslash, exclamation mark or newline is in it.
    script = (
        f"for d in {places}; do for p in $d/python3 $d/python3.[0-9] $d/python3.[0-9][0-9]; do if [ -x $p ]; "
        f'then $p -c "import sys; print(sys.executable, sys.version_info[0], sys.version_info[1])"; fi; done; done'
    )
    command = [*reach.command(_ASK_S)[:-1], f"exec sh -c '{script}'"]
    try:
        said = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_ASK_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    found = [(match[1], int(match[2]), int(match[3])) for match in re.finditer(r"^(\S+) (\d+) (\d+)$", said, re.M)]
    fit = [path for path, *minor in found if tuple(minor) >= _OLDEST]
    same = [path for path, *minor in found if ".".join(map(str, minor)) == versions()["python"]]
    if fit:
        return f"There is one off that path; name it: registry.platforms.{name}.python={(same or fit)[0]}"
    return (
        f"Install Python {versions()['python']} there, as here; where it is off that path, name it: "
        f"registry.platforms.{name}.python=PATH"
    )
