"""Makes a Python environment on a far machine, as a job there: it goes on while the line is down."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

# What records how an environment was made; written last.
MARK = "sweeproute.json"
# Where interpreters lie that are not on the path of a shell that nobody logs in to.
_PLACES = (
    "/usr/bin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "~/.local/bin",
    "~/.pyenv/versions/*/bin",
    "~/miniconda3/envs/*/bin",
    "~/miniforge3/envs/*/bin",
    "~/anaconda3/envs/*/bin",
    "~/.local/share/uv/python/*/bin",
)


def load(settings: Any) -> None:
    """Nothing is warmed for it."""


def run(argument: dict[str, Any], folder: str) -> str:  # noqa: ARG001
    """Make the environment, or find that it is made.

    Args:
        argument: root (the folder for all of ours there), minor (as in 3.11), python (a path to use, or null),
            constraints and requirements (texts), pip (more arguments for pip).
        folder: The job's folder.

    Returns:
        JSON: done (whether anything was done), problem (a sentence; empty where all is well), python.
    """
    environment = Path(argument["root"]) / "env"
    python = argument["python"]
    if python and (Path(python).expanduser().is_dir()):
        python = str(Path(python).expanduser() / "bin" / "python")
    if python and _has_packages(python):
        return _adopt(Path(python).expanduser(), environment)
    wanted = hashlib.sha256(json.dumps([argument[key] for key in _DECISIVE]).encode()).hexdigest()
    if _mark(environment) == wanted:
        return json.dumps({"done": False, "problem": "", "python": str(environment / "bin" / "python")})
    found = _interpreter(argument["minor"], python)
    if found is None:
        return json.dumps(
            {
                "done": False,
                "problem": f"has no Python {argument['minor']} that can make an environment, and the two sides need "
                "the same minor version. Install it there (with its venv module), or name one: "
                "sweeproute setup PLATFORM --python PATH",
                "python": "",
            }
        )
    problem = _make(found, environment, argument)
    if not problem:
        (environment / MARK).write_text(json.dumps({"made_of": wanted}) + "\n")
    return json.dumps({"done": True, "problem": problem, "python": str(environment / "bin" / "python")})


_DECISIVE = ("minor", "python", "constraints", "requirements", "pip")


def _mark(environment: Path) -> str | None:
    try:
        made_of: str = json.loads((environment / MARK).read_text())["made_of"]
    except (OSError, ValueError, KeyError):
        return None
    return made_of


def _has_packages(python: str) -> bool:
    command = [os.path.expanduser(python), "-c", "import hydra, cloudpickle, omegaconf"]  # noqa: PTH111
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def _adopt(python: Path, environment: Path) -> str:
    """Use an environment that is there, of pyenv, conda or anyone's making, as it is."""
    prefix = python.parent.parent
    if environment.is_symlink() and os.readlink(environment) == str(prefix):  # noqa: PTH115
        return json.dumps({"done": False, "problem": "", "python": str(environment / "bin" / "python")})
    if environment.is_symlink():
        environment.unlink()
    elif environment.exists():
        shutil.rmtree(environment)
    environment.symlink_to(prefix)
    return json.dumps({"done": True, "problem": "", "python": str(environment / "bin" / "python")})


def _interpreter(minor: str, named: str | None) -> str | None:
    names = [named] if named else [f"python{minor}", "python3", sys.executable]
    candidates: list[str] = []
    for name in names:
        if "/" in name:
            candidates.append(os.path.expanduser(name))  # noqa: PTH111
            continue
        on_path = shutil.which(name)
        candidates += [on_path] if on_path else []
        for place in _PLACES:
            candidates += sorted(glob.glob(os.path.join(os.path.expanduser(place), name)), reverse=True)  # noqa: PTH111,PTH118,PTH207
    asks = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    for candidate in candidates:
        try:
            answer = subprocess.run([candidate, "-c", asks], capture_output=True, text=True)
        except OSError:
            continue
        if answer.returncode == 0 and answer.stdout.strip() == minor:
            return candidate
    return None


def _make(python: str, environment: Path, argument: dict[str, Any]) -> str:
    """Make the environment afresh; returns what went wrong, empty where nothing did."""
    print(f"{python} makes {environment}", flush=True)
    if environment.is_symlink():
        environment.unlink()
    constraints, requirements = Path("constraints.txt").absolute(), Path("requirements.txt").absolute()
    constraints.write_text(argument["constraints"])
    requirements.write_text(argument["requirements"])
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    pip += ["--constraint", str(constraints)]
    steps = (
        [python, "-m", "venv", "--clear", str(environment)],
        [*pip, "pip"],
        [*pip, *argument["pip"], "--requirement", str(requirements)],
    )
    for step in steps:
        code = subprocess.run(step).returncode
        if code != 0:
            return f"could not run `{' '.join(step)}` (exit code {code}); what it said is above"
    return ""
