"""A plan of the project's own sweeps: made in a moment, run as it was made, refused when it no longer holds."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from small_trial import ONE_SLOT, SMALL, end, start

DRY = "hydra.launcher.dry_run=true"
HOST = "registry.platforms.remote_4090.host=me@4090box"


def plan_in(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("multirun/*/plan.json")
    return json.loads(path.read_text()) | {"path": path}


def sweeproute(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sweeproute", *words]
    environment = {**os.environ, "SWEEPROUTE_STATE": str(folder / "state"), "PYTHONPATH": ""}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_grid_of_324_is_planned_over_both_platforms_and_nothing_runs(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    process = start(
        tmp_path,
        *("-m", "model=xgboost", "search_space=xgboost_wide", DRY, HOST),
        uri=store,
        SWEEPROUTE_STATE=str(tmp_path / "state"),
    )
    said = end(process)
    assert said.startswith("Plan of 324 jobs, of which 216 share the fit of another; nothing runs.")
    plan = plan_in(tmp_path)
    assert (plan["model_type"], plan["total_configs"], len(plan["jobs"])) == ("XGBoost", 324, 324)
    assert plan["distribution"]["local_m4"] > 0
    assert plan["distribution"]["remote_4090"] > plan["distribution"]["local_m4"]
    assert Counter(job["platform"] for job in plan["jobs"]) == Counter(
        {name: number for name, number in plan["distribution"].items() if number}
    )
    assert {job["status"] for job in plan["jobs"]} == {"scheduled"}
    assert plan["base_config"]["model"]["params"]["learning_rate"] == 0.03
    assert [path.name for path in plan["path"].parent.iterdir()] == ["plan.json"]
    # no run, no pointer, no history
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "state").exists()


def test_a_plan_is_run_as_it_was_made_and_refused_once_it_no_longer_holds(tmp_path: Path) -> None:
    words = ("-m", "model=xgboost", "model.params.max_depth=1,2", *SMALL, ONE_SLOT, "search_space=none", DRY)
    end(start(tmp_path, *words, SWEEPROUTE_STATE=str(tmp_path / "state")))
    plan = plan_in(tmp_path)
    assert {job["status"] for job in plan["jobs"]} == {"scheduled_fallback"}
    done = sweeproute(tmp_path, "run", str(plan["path"].parent))
    assert done.returncode == 0, done.stderr
    (sweep,) = (path.parents[1] for path in tmp_path.glob("multirun/*/.sweeproute/sweep.json"))
    assert sweep != plan["path"].parent
    for job in plan["jobs"]:
        launch = json.loads((sweep / str(job["job"]) / "launch.json").read_text())
        assert (launch["overrides"], launch["platform"]) == (job["overrides"], job["platform"])
        assert launch["reason"] == f"as planned: {job['reason']}"
    content = json.loads(plan["path"].read_text())
    content["identity"]["model=xgboost search_space=none"]["data_hash"] = "0" * 64
    plan["path"].write_text(json.dumps(content))
    refused = sweeproute(tmp_path, "run", str(plan["path"]))
    assert refused.returncode == 1
    assert "was made, the data (00000000 -> " in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert len(list(tmp_path.glob("multirun/*/.sweeproute"))) == 1


def test_a_plan_says_what_the_sweep_will_launch_when_its_search_has_ended(tmp_path: Path) -> None:
    words = ("-m", "model=glm,xgboost", "search_space=none", "model.params.random_state=1,2", *SMALL[:-1])
    words += ("data.last_season=2021", "validation.holdout_seasons=[2020,2021]", "ensemble=[average]", "holdout=true")
    said = end(start(tmp_path, *words, DRY, ONE_SLOT, SWEEPROUTE_STATE=str(tmp_path / "state")))
    lines = said.splitlines()
    at = lines.index(
        "When all of these have ended well: 2 jobs on the holdout, seasons 2020 to 2021: what has won of GLM and "
        "XGBoost under none."
    )
    assert lines[at + 1] == "When all of these have ended well: 1 ensemble (average) of GLM and XGBoost."
    assert lines[at + 2] == "When those have ended, too: 1 ensemble (average) of GLM and XGBoost, on the holdout."
    plan = plan_in(tmp_path)
    assert len(plan["jobs"]) == 4
    assert [(one["round"], one["at_most"]) for one in plan["afterwards"]] == [(1, 2), (1, 1), (2, 1)]
    assert not (tmp_path / "state").exists()
