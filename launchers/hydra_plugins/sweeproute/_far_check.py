"""Looks at a far machine from inside, as a job there: its GPUs, its Python, whether a tiny model fits."""

from __future__ import annotations

import contextlib
import json
import platform
import pwd
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from submitit_ssh.far.resources import GPU_QUERY, USE_QUERY, nvidia_smi, parse_gpus

# Seconds that one library may take for its tiny fit, since the first use of a GPU compiles; and that a program may.
_FIT_S = 180.0
_ASK_S = 20.0
_DATA = "import numpy as np; x = np.random.default_rng(0).normal(size=(256, 4)); y = (x[:, 0] > 0).astype(int)\n"
# By library: what fits a tiny model on the device named {device}. Each runs in a process of its own: a library that
# does not agree with the driver may take its process with it.
FITS = {
    "xgboost": _DATA
    + "import json, xgboost\n"
    + "if '{device}' == 'cuda' and not xgboost.build_info().get('USE_CUDA'):\n"
    + "    raise SystemExit('it is built without CUDA')\n"
    + "model = xgboost.XGBClassifier(n_estimators=2, max_depth=2, device='{device}').fit(x, y)\n"
    # It goes on without a word on the CPU where it finds no GPU.
    + "used = json.loads(model.get_booster().save_config())['learner']['generic_param']['device']\n"
    + "if not used.startswith('{device}'): raise SystemExit('it finds no GPU that it can use')\n",
    "torch": _DATA
    + "import torch\n"
    + "if '{device}' == 'cuda' and not torch.cuda.is_available():\n"
    + "    built = 'for CUDA ' + torch.version.cuda if torch.version.cuda else 'without CUDA'\n"
    + "    raise SystemExit('it is built ' + built + ', and finds no GPU that it can use')\n"
    + "model = torch.nn.Linear(4, 1).to('{device}')\n"
    + "step = torch.optim.SGD(model.parameters(), lr=0.1)\n"
    + "x, y = torch.tensor(x, dtype=torch.float32, device='{device}'), torch.tensor(y, device='{device}').float()\n"
    + "torch.nn.functional.binary_cross_entropy_with_logits(model(x)[:, 0], y).backward(); step.step()\n"
    + "if not torch.isfinite(model.weight).all(): raise SystemExit('its weights are no numbers')\n",
    "scikit-learn": _DATA + "from sklearn.linear_model import LogisticRegression; LogisticRegression().fit(x, y)\n",
    "lightgbm": _DATA + "import lightgbm; lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(x, y)\n",
}
# Those that train on a GPU where there is one.
ON_GPU = ("xgboost", "torch")
# Where conda and pyenv lie that are not on the path of a shell that nobody types into.
_CONDAS = (
    *("~/miniconda3", "~/miniforge3", "~/mambaforge", "~/anaconda3", "~/micromamba"),
    *("/opt/conda", "/opt/miniconda3", "/opt/miniforge3", "/opt/anaconda3"),
)


def load(settings: Any) -> None:
    """Nothing is warmed for a look."""


def run(argument: dict[str, Any], folder: str) -> str:  # noqa: ARG001
    """Look at one thing.

    Args:
        argument: look, which is `machine` (with python, a path, and programs), `python` (with packages) or `fit` (with
            library and device).
        folder: The job's folder.

    Returns:
        JSON; see the functions of these names.
    """
    looks = {"machine": _machine, "python": _python, "fit": _fit}
    return json.dumps(looks[argument["look"]](argument))


def _machine(argument: dict[str, Any]) -> dict[str, Any]:
    """What is there besides Python's packages.

    Returns:
        nvidia_smi (a path, or null), on_path (whether a shell finds it), problem (what it said instead of an answer),
        driver, cuda (versions, or empty), gpus and uses (see _gpus), conda (folders off the path, with environments),
        python (whether the one that is asked for is there), programs (what each says of its version, null where it is
        not there).
    """
    python = shutil.which(Path(argument["python"]).expanduser())
    programs = {name: _version(name) for name in argument["programs"]}
    found = {"python": python is not None, "programs": programs, "conda": _condas(), **_no_gpus()}
    program = nvidia_smi()
    if program is None:
        return found
    found |= {"nvidia_smi": program, "on_path": shutil.which("nvidia-smi") is not None}
    code, said = _ask(program)
    if code != 0:
        return {**found, "problem": " ".join(said.split()) or f"it ended with code {code}"}
    cuda = re.search(r"CUDA Version:\s*([\d.]+)", said)
    drivers = _ask(program, "--query-gpu=driver_version", "--format=csv,noheader")[1].split()
    return {**found, **_gpus(program), "driver": drivers[0] if drivers else "", "cuda": cuda.group(1) if cuda else ""}


def _version(program: str) -> str | None:
    path = shutil.which(program)
    if path is None:
        return None
    said = " ".join(_ask(path, "--version")[1].split())
    return f"{said} at {path}"


def _no_gpus() -> dict[str, Any]:
    return {"nvidia_smi": None, "on_path": False, "problem": "", "driver": "", "cuda": "", "gpus": [], "uses": []}


def _gpus(program: str) -> dict[str, Any]:
    """The GPUs, and who uses them.

    Returns:
        gpus: index, name, memory_gb, memory_free_gb, utilisation (per cent, or null). uses: index, pid, user and
        program (empty where they cannot be seen), memory_gb.
    """
    gpus = parse_gpus(_ask(program, *GPU_QUERY)[1], _ask(program, *USE_QUERY)[1])
    return {
        "gpus": [
            {
                "index": gpu.index,
                "name": gpu.name,
                "memory_gb": gpu.memory_gb,
                "memory_free_gb": gpu.memory_free_gb,
                "utilisation": gpu.utilisation,
            }
            for gpu in gpus
        ],
        "uses": [
            {"index": gpu.index, "pid": pid, "memory_gb": used, **_who(pid)}
            for gpu in gpus
            for pid, used in sorted(gpu.used_gb.items())
        ],
    }


def _who(pid: int) -> dict[str, str]:
    who = {"user": "", "program": ""}
    with contextlib.suppress(OSError, KeyError):
        who["user"] = pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name
        who["program"] = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return who


def _condas() -> list[dict[str, Any]]:
    """Installations of conda that a shell does not find, with the environments that could be used."""
    if shutil.which("conda") or shutil.which("mamba"):
        return []
    folders = [Path(place).expanduser() for place in _CONDAS]
    return [
        {
            "folder": str(folder),
            "environments": [str(path.parents[1]) for path in sorted(folder.glob("envs/*/bin/python"))],
        }
        for folder in folders
        if (folder / "conda-meta").is_dir() or (folder / "envs").is_dir()
    ]


def _python(argument: dict[str, Any]) -> dict[str, Any]:
    """This Python.

    Returns:
        python, executable, versions by package (null where it is missing).
    """
    versions: dict[str, str | None] = {}
    for name in argument["packages"]:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {"python": platform.python_version(), "executable": sys.executable, "versions": versions}


def _fit(argument: dict[str, Any]) -> str:
    """Fit a tiny model with one library; what it said where that failed."""
    script = FITS[argument["library"]].format(device=argument["device"])
    code, said = _ask(sys.executable, "-c", script, timeout_s=_FIT_S)
    if code == 0:
        return ""
    lines = said.strip().splitlines()
    return lines[-1] if lines else f"it ended with code {code}"


def _ask(*command: str, timeout_s: float = _ASK_S) -> tuple[int, str]:
    """Exit code of a program, and what it said: on stderr where it has failed and said something there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return -1, f"it took longer than {timeout_s:.0f} s"
    except OSError as error:
        return -1, str(error)
    return done.returncode, done.stderr if done.returncode and done.stderr.strip() else done.stdout
