"""Ensembles of models that ran on another machine are made where the sweep's folder lies: here, or over there."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from far_app import FarApp, wait_until
from far_commands import at_home
from handmade_sweep import fresh_store
from small_trial import ONE_SLOT, ROOT, SMALL, end, start
from workstation import Workstation

BOX = "registry.platforms.remote_4090"


def test_models_that_were_forced_onto_another_machine_are_combined_here(workstation: Workstation, tmp_path: Path):
    there = [
        f"{BOX}.host={workstation.host}",
        f"{BOX}.ssh_config={workstation.ssh_config}",
        f"{BOX}.python={workstation.python}",
        f"{BOX}.specs.gpu=false",
        f"{BOX}.max_concurrent_jobs=1",
        ONE_SLOT,
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


def test_a_sweep_that_runs_there_as_a_whole_makes_them_there(
    workstation: Workstation, tmp_path: Path, monkeypatch, capsys
):
    app = FarApp(tmp_path / "unused")
    app.folder, app.environment = tmp_path / "project", {**os.environ, "SWEEPROUTE_STATE": str(tmp_path / "state")}
    app.folder.mkdir()
    shutil.copy(ROOT / "train.py", app.folder)
    shutil.copytree(ROOT / "conf", app.folder / "conf")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", fresh_store(tmp_path))
    sweeproute = at_home(app, monkeypatch, capsys)
    here = [f"{BOX}.host={workstation.host}", f"{BOX}.ssh_config={workstation.ssh_config}"]
    here += [f"{BOX}.python={workstation.python}", f"{BOX}.specs.gpu=false", "sweep.id=whole", "plots=false"]
    here += [f"{BOX}.max_concurrent_jobs=1"]
    words = ["model=glm,xgboost", "search_space=none", "ensemble=[stacking]", "tracking.models=none", *SMALL, *here]
    said = sweeproute("run", "--on", "remote_4090", "--", "-m", *words)
    assert said.code == 0, said.out + said.err
    wait_until(lambda: "3 jobs: 3 done" in sweeproute("status", "whole").out, "all of it to be done", 180)
    said = sweeproute("sync", "whole")
    assert said.code == 0, said.out + said.err
    folder = app.folder / "multirun" / "whole" / "2"
    launch = json.loads((folder / "launch.json").read_text())
    assert (launch["platform"], launch["follow_up"]) == ("remote_4090", True)
    assert "model=ensemble" in launch["overrides"]
    assert set(pd.read_csv(folder / "weights.csv")["model"]) == {"GLM", "XGBoost"}
