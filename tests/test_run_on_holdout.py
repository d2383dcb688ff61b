"""What was scored of the holdout here is asked for before a sweep is sent to another machine."""

import os
import shutil
from pathlib import Path

import pytest

from far_app import FarApp
from far_commands import Command, at_home
from small_trial import ROOT, SMALL, compose
from sweeproute.experiment import identity
from sweeproute.holdout import FILE, follow_up

BOX = "registry.platforms.remote_4090"
LATER = (*SMALL[:-1], "data.last_season=2021", "validation.holdout_seasons=[2020,2021]")
RULE = {"metric": "brier", "direction": "minimize", "repeats": ["seed"]}


@pytest.fixture
def sweeproute(tmp_path: Path, monkeypatch, capsys) -> Command:
    """The command in a copy of the project whose one far machine refuses every connection."""
    app = FarApp(tmp_path / "unused")
    app.folder, app.environment = tmp_path / "project", {**os.environ, "SWEEPROUTE_STATE": str(tmp_path / "state")}
    app.folder.mkdir()
    shutil.copy(ROOT / "train.py", app.folder)
    shutil.copytree(ROOT / "conf", app.folder / "conf")
    (tmp_path / "ssh_config").write_text("Host box\n  HostName 127.0.0.1\n  Port 9\n")
    command = at_home(app, monkeypatch, capsys)
    there = [f"{BOX}.host=box", f"{BOX}.ssh_config={tmp_path / 'ssh_config'}", "sweep.id=away"]

    def run(*words: str):
        return command("run", "--on", "remote_4090", "--", "-m", *words, "search_space=none", *LATER, *there)

    return run


def score(model: str, *words: str) -> None:
    """Note on the record here that a sweep of here has scored a model."""
    cfg = compose(*LATER, "holdout=true")
    games = identity(cfg)["games_hash"]
    one = {"sweep": "here", "state": "FINISHED", "fields": {"model_type": model}, "overrides": list(words)}
    assert follow_up([{**one, "identity": {"games_hash": games}, "value": {"brier": 0.2}}], RULE, cfg)


def test_what_was_scored_here_is_refused_before_anything_is_sent(sweeproute: Command, tmp_path: Path):
    score("RandomForest")
    noted = (tmp_path / "state" / FILE).read_text()
    refused = "Seasons of 2020 to 2021 were scored for RandomForest before, by sweep here."
    # The second choice of groups is asked about, too; and where a sampler chooses the points.
    sampled = ["hydra.sweeper.sampler=tpe", "hydra.sweeper.n_trials=2", "model.params.max_depth=2,3"]
    for words in (["model=glm,random_forest"], ["model=random_forest", *sampled]):
        said = sweeproute(*words, "holdout=true")
        assert said.code == 1
        assert said.err.startswith(refused), said.err
        assert "holdout=again" in said.err
    assert (tmp_path / "state" / FILE).read_text() == noted
    assert not list((tmp_path / "state" / "sweeps").glob("*"))
    # What may be sent comes as far as the machine, which is not there.
    for words in (["model=glm", "holdout=true"], ["model=random_forest", "holdout=again"], ["model=random_forest"]):
        said = sweeproute(*words, "seed=1,2")
        assert said.code == 1
        assert said.err.startswith("remote_4090: "), said.err
