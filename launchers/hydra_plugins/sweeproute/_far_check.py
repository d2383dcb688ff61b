"""Looks at a far machine's Python from inside, as a job there: what it has, and whether a tiny model fits."""

import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# Seconds that one library may take for its tiny fit; the first use of a GPU compiles.
_FIT_S = 180.0
_DATA = "import numpy as np; x = np.random.default_rng(0).normal(size=(256, 4)); y = (x[:, 0] > 0).astype(int)\n"
# By library: what fits a tiny model on the device named {device}. Each runs in a process of its own: a library that
# does not agree with the driver may take its process with it.
FITS = {
    "xgboost": _DATA
    + "import xgboost\n"
    + "if '{device}' == 'cuda' and not xgboost.build_info().get('USE_CUDA'): raise SystemExit('built without CUDA')\n"
    + "model = xgboost.XGBClassifier(n_estimators=2, max_depth=2, device='{device}').fit(x, y)\n"
    + "model.get_booster().num_boosted_rounds() == 2 or exit('no trees')\n",
    "torch": _DATA
    + "import torch\n"
    + "if '{device}' == 'cuda' and not torch.cuda.is_available():\n"
    + "    raise SystemExit('built for CUDA ' + str(torch.version.cuda) + ', and finds no GPU that it can use')\n"
    + "a = torch.tensor(x, device='{device}', dtype=torch.float32, requires_grad=True)\n"
    + "(a.sum(dim=1) ** 2).mean().backward(); float(a.grad.sum())\n",
    "scikit-learn": _DATA + "from sklearn.linear_model import LogisticRegression; LogisticRegression().fit(x, y)\n",
    "lightgbm": _DATA + "import lightgbm; lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(x, y)\n",
}
# Those that train on a GPU where there is one.
ON_GPU = ("xgboost", "torch")


def load(settings: Any) -> None:
    """Nothing is warmed for a look."""


def run(argument: dict[str, Any], folder: str) -> str:  # noqa: ARG001
    """Look.

    Args:
        argument: packages (names whose versions are wanted), device (cpu or cuda).
        folder: The job's folder.

    Returns:
        JSON: python, executable, versions by package (null where it is missing), fits by library (an empty text where
        its tiny model was fitted, else what it said).
    """
    versions: dict[str, str | None] = {}
    for name in argument["packages"]:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    fits = {
        name: _fit(script.format(device=argument["device"] if name in ON_GPU else "cpu"))
        for name, script in FITS.items()
        if versions.get(name)
    }
    return json.dumps(
        {"python": platform.python_version(), "executable": sys.executable, "versions": versions, "fits": fits}
    )


def _fit(script: str) -> str:
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=_FIT_S)
    except subprocess.TimeoutExpired:
        return f"took longer than {_FIT_S:.0f} s"
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"ended with the code {done.returncode}"
