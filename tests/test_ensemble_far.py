"""Ensembles of models that ran on another machine are made where the sweep's folder lies: here, or over there."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from small_trial import SMALL, end, start
from workstation import Workstation

BOX = "registry.platforms.remote_4090"


def test_models_that_were_forced_onto_another_machine_are_combined_here(workstation: Workstation, tmp_path: Path):
    there = [
        f"{BOX}.host={workstation.host}",
        f"{BOX}.ssh_config={workstation.ssh_config}",
        f"{BOX}.python={workstation.python}",
        f"{BOX}.specs.gpu=false",
        "platform=remote_4090",
    ]
    words = ["-m", "model=glm,xgboost", "search_space=none", "ensemble=[average]", *SMALL, *there]
    said = end(start(tmp_path, *words, "hydra.sweep.dir=out", SWEEPROUTE_STATE=str(tmp_path / "state")))
    assert "Ensembles are made where the sweep's folder lies" in said
    jobs = [json.loads((tmp_path / "out" / str(job) / "launch.json").read_text()) for job in range(3)]
    assert [(one["platform"], one["reason"]) for one in jobs] == [
        ("remote_4090", "asked for"),
        ("remote_4090", "asked for"),
        ("local_m4", "no rule matches, and it has sweep_folders"),
    ]
    tables = [pd.read_parquet(tmp_path / "out" / str(job) / "predictions.parquet") for job in range(3)]
    glm, xgboost, together = (table["probability"].to_numpy() for table in tables)
    assert (together == np.mean([glm, xgboost], axis=0)).all()
