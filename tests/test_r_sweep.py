"""Sweeps with R's model: routed beside the others, and refused before anything runs where there is no R."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import r_here
from small_trial import ONE_SLOT, SMALL, end, job_folders, start


def test_beside_scikit_learn_it_is_routed_to_the_laptop_and_says_the_same_as_without_a_penalty(tmp_path: Path) -> None:
    r_here.or_skip()
    folder = tmp_path / 'it\'s "here"'
    folder.mkdir()
    # No penalty, and a solver that comes as close as R does.
    glm = ("model.params.C=inf", "model.params.solver=newton-cholesky", "model.params.tol=1e-10")
    end(start(folder, "-m", "model=glm,glm_r", "search_space=none", ONE_SLOT, *SMALL))
    end(start(folder, "model=glm", *glm, *SMALL))
    launches = [json.loads(path.read_text()) for path in sorted(folder.glob("multirun/*/?/launch.json"))]
    assert [(one["fields"]["model_type"], one["platform"], one["reason"]) for one in launches] == [
        ("GLM", "local_m4", "CPU-bound, R tidymodels optimized"),
        ("GLM_R", "local_m4", "CPU-bound, R tidymodels optimized"),
    ]
    jobs = {words[0]: path for words, path in job_folders(folder / "multirun").items()}
    (alone,) = job_folders(folder / "outputs").values()
    said = {name: read(path) for name, path in {**jobs, "unpenalised": alone}.items()}
    assert said["model=glm_r"] == pytest.approx(said["unpenalised"], abs=1e-6)
    assert np.abs(said["model=glm"] - said["unpenalised"]).max() > 1e-3


def read(folder: Path) -> NDArray[np.float64]:
    return pd.read_parquet(folder / "predictions.parquet")["probability"].to_numpy()


def test_where_r_is_absent_it_is_refused_with_how_to_install_it_and_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    process = start(tmp_path, "-m", "model=glm_r,glm", ONE_SLOT, *SMALL, PATH=str(tmp_path / "bin"))
    said = end(process, code=1)
    assert "A job requires R_tidymodels, and no platform that it may use can do that. local_m4 claims" in said
    assert "`brew install r` (macOS), `apt-get install r-base-core` (Debian, Ubuntu) or `conda install" in said
    assert "Traceback" not in said
    assert list(tmp_path.glob("multirun/*/?")) == []
