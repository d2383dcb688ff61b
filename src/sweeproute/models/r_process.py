"""Starts R for one question, and reads its answer."""

import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeproute.estimators.errors import ModelError

SCRIPT = Path(__file__).with_name("glm.R")
INSTALL = (
    "install R with `brew install r` (macOS), `apt-get install r-base-core` (Debian, Ubuntu) or "
    "`conda install -c conda-forge r-base`"
)
# The packages that are tidymodels here.
TIDYMODELS = ("parsnip", "workflows")
# More threads of BLAS would change the last bits of a fit.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_ANSWER = "answer.json"
_DATA = "data.bin"


def missing() -> str | None:
    """Why R cannot be started here, as a clause with the cure; None where it can be."""
    return None if shutil.which("Rscript") else f"there is no Rscript on its PATH: {INSTALL}"


def versions() -> dict[str, str]:
    """Versions of R, of its BLAS, and of the packages of tidymodels that it has; R is asked once a process.

    Raises:
        ModelError: R is not there, or does not start.
    """
    return dict(_versions(_rscript()))


@functools.lru_cache(maxsize=4)
def _versions(rscript: str) -> dict[str, str]:
    return {name: version for name, version in _ask(rscript, "look").items() if version}


def fit(
    features: NDArray[np.float64], outcome: NDArray[np.bool_], engine: str, max_iter: int, epsilon: float
) -> dict[str, Any]:
    """Let R fit a logistic regression.

    Args:
        features: (n_games, n_features), finite.
        outcome: (n_games,).
        engine: tidymodels or stats.
        max_iter: Steps of glm at most.
        epsilon: Relative change of the deviance below which it has converged.

    Returns:
        coefficients (a list of estimate, standard error, z and p for the intercept and each feature, None where there
        is none), converged, certain (how many fitted probabilities are 0 or 1), iterations, deviance, null_deviance.

    Raises:
        ModelError: R is not there, or its glm raises.
    """
    n_games, n_features = features.shape
    numbers = np.vstack([outcome.astype(np.float64), features.T])  # (1 + n_features, n_games)
    # As bytes, so that R gets the very numbers.
    content = np.ascontiguousarray(numbers, dtype="<f8").tobytes()
    words = [_DATA, n_games, n_features, engine, max_iter, repr(float(epsilon))]
    return _ask(_rscript(), "fit", words, content)


def _rscript() -> str:
    program = shutil.which("Rscript")
    if program is None:
        raise ModelError(f"model=glm_r needs R, and {missing()}.")
    return program


def _ask(rscript: str, question: str, words: Sequence[Any] = (), content: bytes = b"") -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sweeproute-r-") as name:
        folder = Path(name)
        (folder / _DATA).write_bytes(content)
        # A person's profile could change what glm does; ~/.Renviron stays, since it may say where packages are. R's own
        # temporary folder goes into ours by a relative path: it hands its path to a shell, which a quote would break.
        command = [rscript, "--no-init-file", "--no-site-file", str(SCRIPT), question, _ANSWER, *map(str, words)]
        ran = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"TMPDIR": "."} | dict.fromkeys(_ONE_THREAD, "1"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if ran.returncode == 0:
            answer: dict[str, Any] = json.loads((folder / _ANSWER).read_text(encoding="utf-8"))
            return answer
    said = " ".join(ran.stderr.split()) or f"no word, exit code {ran.returncode}"
    raise ModelError(
        f"R ended with an error: {said}. Run `Rscript --version` where the job ran; if that works, look for features "
        "without bounds, or use model=glm."
    )
