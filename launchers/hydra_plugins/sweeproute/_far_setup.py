"""Makes a Python environment on a far machine, as a job there: it goes on while the line is down."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What records how an environment was made; written last, so that one that was begun never counts.
MARK = "sweeproute.json"
# Where interpreters lie that are not on the path of a shell that nobody types into.
PLACES = (
    *("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "~/.local/bin"),
    *("~/.pyenv/versions/*/bin", "~/.local/share/uv/python/*/bin"),
    *("~/miniconda3/bin", "~/miniforge3/bin", "~/mambaforge/bin", "~/anaconda3/bin", "/opt/conda/bin"),
    *("~/miniconda3/envs/*/bin", "~/miniforge3/envs/*/bin", "~/mambaforge/envs/*/bin", "~/anaconda3/envs/*/bin"),
    "/opt/conda/envs/*/bin",
)
# What decides whether an environment is the one that is asked for.
_DECISIVE = ("minor", "python", "constraints", "requirements", "pip")
# Without these a Python runs no job of ours.
_NEEDED = ("hydra", "cloudpickle", "omegaconf")
_PROBE = """
import json, sys
from importlib.util import find_spec
there = lambda *names: all(find_spec(name) is not None for name in names)
print(json.dumps({
    "minor": "%d.%d" % sys.version_info[:2], "prefix": sys.prefix, "executable": sys.executable,
    "packages": there(*sys.argv[1:]), "makes": there("venv", "ensurepip"),
}))
"""


class _SetupError(Exception):
    """The environment cannot be made; the message is a clause that follows the machine's name."""


def load(settings: Any) -> None:
    """Nothing is warmed for it."""


def run(argument: dict[str, Any], folder: str) -> str:
    """Make the environment, or find that it is made.

    Args:
        argument: root (the folder for all of ours there), minor (as in 3.11), python (a Python or an environment to
            use, or null), constraints and requirements (texts), pip (more arguments for pip).
        folder: The job's folder.

    Returns:
        JSON: problem (a clause; empty where all is well), how, python. how is `made` (and jobs use it from now on),
        `linked` (it was there, and jobs use it from now on) or `kept` (jobs used it before).
    """
    environment = Path(argument["root"]) / "env"
    try:
        with _alone(environment.with_name("env.lock")):
            how = _settle(environment, argument, Path(folder))
    except _SetupError as error:
        return json.dumps({"problem": str(error), "how": "", "python": ""})
    return json.dumps({"problem": "", "how": how, "python": str(environment / "bin" / "python")})


def _settle(environment: Path, argument: dict[str, Any], folder: Path) -> str:
    named = argument["python"]
    if named:
        found = _probe(_executable(named))
        if found is None:
            raise _SetupError(f"has no Python at {named}. Name an interpreter, or the folder of an environment")
        if found["minor"] != argument["minor"]:
            raise _SetupError(
                f"has Python {found['minor']} at {named}, and here it is {argument['minor']}: both sides need the same "
                "minor version. Name another one, or leave --python out"
            )
        if found["packages"]:
            return _use(found, environment)
        print(f"{named} has not {', '.join(_NEEDED)}, so an environment is made with it", flush=True)
    else:
        found = None
    key = hashlib.sha256(json.dumps([argument[one] for one in _DECISIVE]).encode()).hexdigest()[:16]
    made = environment.with_name("envs") / key
    if (made / MARK).exists() and _probe(str(made / "bin" / "python")):
        return "linked" if _link(environment, made) else "kept"
    found = found or _interpreter(argument["minor"])
    if not found["makes"]:
        raise _SetupError(_no_venv(found))
    _make(found["executable"], made, argument, folder)
    (made / MARK).write_text(json.dumps({"made_with": found["executable"]}) + "\n", encoding="utf-8")
    _link(environment, made)
    for other in made.parent.iterdir():
        if other != made:
            shutil.rmtree(other, ignore_errors=True)
    return "made"


def _use(found: dict[str, Any], environment: Path) -> str:
    """Use an environment as it is: a person's own, of pyenv, conda or anybody's making."""
    prefix = Path(found["prefix"])
    own = _probe(str(prefix / "bin" / "python"))
    if own is not None and own["prefix"] == found["prefix"] and own["minor"] == found["minor"]:
        return "linked" if _link(environment, prefix) else "kept"
    # An interpreter beside others, as in /usr/bin: a shell of an environment around its packages.
    key = hashlib.sha256(found["executable"].encode()).hexdigest()[:16]
    made = environment.with_name("envs") / key
    if not (made / MARK).exists():
        _step([found["executable"], "-m", "venv", "--clear", "--without-pip", "--system-site-packages", str(made)])
        (made / MARK).write_text(json.dumps({"made_with": found["executable"]}) + "\n", encoding="utf-8")
    return "linked" if _link(environment, made) else "kept"


def _link(environment: Path, made: Path) -> bool:
    """Let jobs find an environment from now on; whether they found another one, or none, until now."""
    if environment.is_symlink() and os.readlink(environment) == str(made):  # noqa: PTH115
        return False
    if environment.is_dir() and not environment.is_symlink():
        shutil.rmtree(environment)
    beside = environment.with_name("env~")
    beside.unlink(missing_ok=True)
    beside.symlink_to(made)
    beside.replace(environment)
    return True


def _make(python: str, made: Path, argument: dict[str, Any], folder: Path) -> None:
    """Make an environment afresh; what pip has downloaded before, it takes from its cache."""
    print(f"{python} makes {made}", flush=True)
    made.parent.mkdir(mode=0o700, exist_ok=True)
    _step([python, "-m", "venv", "--clear", str(made)])
    for name in ("constraints", "requirements"):
        (folder / f"{name}.txt").write_text(argument[name], encoding="utf-8")
    pip = [str(made / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    wanted = ["--requirement", "requirements.txt"] if argument["requirements"].strip() else []
    if wanted or argument["pip"]:
        _step([*pip, "--constraint", "constraints.txt", *argument["pip"], *wanted], folder)


def _step(command: list[str], folder: Path | None = None) -> None:
    code = subprocess.run(command, stdin=subprocess.DEVNULL, cwd=folder, check=False).returncode
    if code != 0:
        raise _SetupError(
            f"could not run `{' '.join(command)}` (exit code {code}); what it said is above. "
            "What was downloaded is kept: setup goes on from there"
        )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One at a time: a setup whose line was cut may still be at work."""
    with path.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another setup is at work there; this one waits for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _executable(named: str) -> str:
    path = Path(named).expanduser()
    if not path.is_dir():
        return str(path) if "/" in named else shutil.which(named) or named
    return str(next((one for one in (path / "bin" / "python", path / "bin" / "python3") if one.exists()), path))


def _interpreter(minor: str) -> dict[str, Any]:
    """A Python of this minor version, one that can make an environment if there is any."""
    found, others = [], set()
    for name in (f"python{minor}", "python3", "python"):
        for candidate in _candidates(name):
            one = _probe(candidate)
            if one is None:
                continue
            if one["minor"] != minor:
                others.add(f"{one['minor']} at {candidate}")
            elif one["makes"]:
                return one
            else:
                found.append(one)
    if found:
        return found[0]
    there = f" (it has {', '.join(sorted(others))})" if others else ""
    conda = " With conda there, `conda create -n sweeproute python=" + minor + "` makes one." if _has_conda() else ""
    raise _SetupError(
        f"has no Python {minor}{there}, and both sides need the same minor version.{conda} Install it there, or name "
        "one that is elsewhere: --python PATH"
    )


def _no_venv(found: dict[str, Any]) -> str:
    return (
        f"has Python {found['minor']} at {found['executable']} without its venv module, which makes environments. "
        f"Install that there (on Debian and Ubuntu it is the package python{found['minor']}-venv), or name another "
        "Python: --python PATH"
    )


def _candidates(name: str) -> Iterator[str]:
    on_path = shutil.which(name)
    if on_path:
        yield on_path
    for place in PLACES:
        folder = Path(place).expanduser()
        yield from map(
            str, sorted(Path(folder.anchor).glob(f"{str(folder)[1:]}/{name}"), key=_newest_last, reverse=True)
        )


def _newest_last(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]


def _has_conda() -> bool:
    places = (Path(place).expanduser() / "conda" for place in PLACES if "*" not in place)
    return shutil.which("conda") is not None or any(place.exists() for place in places)


def _probe(python: str) -> dict[str, Any] | None:
    """What a Python is: minor, prefix, executable, packages (whether it can run jobs), makes (environments)."""
    try:
        done = subprocess.run([python, "-c", _PROBE, *_NEEDED], capture_output=True, text=True, timeout=30, check=False)
        found: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return found if done.returncode == 0 else None
