"""Tests of predicting games to come with a network, which knows teams by their names."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from handmade_sweep import fresh_store
from small_trial import ONE_SLOT, SMALL, end, start
from sweeproute import data, estimators, pointers, registry
from sweeproute.estimators import Games
from sweeproute.models.network import NeuralNetwork
from sweeproute.prediction import predict_upcoming
from sweeproute.store import connect
from sweeproute.tracking_status import saved_settings

PARAMS = {"max_epochs": 6, "weight_decay": 0.1, "embedding_dim": 4, "learning_rate": 0.01}
LEAGUE = {"source": "league", "first_season": 2015, "last_season": 2019}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which a games table was swept whose last week is not played yet."""
    folder = tmp_path_factory.mktemp("home")
    games = data.load_games(LEAGUE).drop(columns="home_win_probability")
    to_come = (games.season == 2019) & (games.week == games.week[games.season == 2019].max())
    games.loc[to_come, ["home_score", "away_score", "result", "total", "overtime"]] = np.nan
    games.to_csv(folder / "games.csv", index=False)
    words = ["model=neural_network", "data=nfl", "data.path=games.csv", "device=cpu", "threads=1"]
    words += [f"model.params.{name}={value}" for name, value in PARAMS.items()]
    words += ["search_space=none", "model.params.dropout=0.2,0.5"]
    environment = {"SWEEPROUTE_STATE": str(folder / "state")}
    end(start(folder, "-m", *words, *SMALL[2:], ONE_SLOT, uri=fresh_store(folder), **environment))
    return folder


@pytest.fixture(autouse=True)
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(home / "state"))
    monkeypatch.chdir(home)


def played(home: Path) -> tuple[data.Dataset, Games, Games]:
    """The data, what a network may know of the games that were played, and of those to come."""
    known = data.load({"source": "nfl", "path": str(home / "games.csv")})
    assert known.unplayed is not None
    past = Games(known.features.to_numpy(), known.teams, known.team_names)
    return known, past, Games(known.unplayed.features.to_numpy(), known.unplayed.teams, known.team_names)


def test_the_best_configuration_learns_from_all_seasons_but_the_last_which_it_watches(home: Path) -> None:
    known, past, to_come = played(home)
    table, how = predict_upcoming("last", "auc", [])
    train, watched = np.flatnonzero(known.season < 2019), np.flatnonzero(known.season == 2019)
    dropout = 0.2 if "model.params.dropout=0.2" in registry.best("last").overrides else 0.5
    network = NeuralNetwork(**PARAMS, dropout=dropout, random_state=42)
    apart = past.rows(watched), known.outcome[watched]
    network.fit_games(past.rows(train), known.outcome[train], apart, None, None)
    assert table["probability"].to_numpy().tobytes() == network.predict_games(to_come)[:, 1].tobytes()
    strangers = Games(to_come.features)
    assert (network.predict_games(strangers)[:, 1] != table["probability"].to_numpy()).all()
    last = pd.Timestamp(known.kickoff[train[-1]]).date()
    assert f"fitted on {len(train)} games up to {last}, stopped by the {len(watched)} after them." in how


def test_a_registered_network_knows_its_teams_in_a_table_with_others(home: Path) -> None:
    found = registry.best("last")
    client = connect(saved_settings(pointers.find("last").folder).uri)
    client.create_registered_model("net")
    client.create_model_version("net", f"{found.artifact_uri}/model", found.run_id)
    table, how = predict_upcoming("last", "auc", [], "net/1")
    assert "net version 1 (NeuralNetwork of run" in how

    # New teams, first in the alphabet, give every other one another number.
    games = pd.read_csv("games.csv")
    new = games.iloc[[0]].assign(game_id="new", home_team="AA0", away_team="AA1")
    pd.concat([games, new]).to_csv("more.csv", index=False)
    more = data.load({"source": "nfl", "path": "more.csv"})
    assert more.team_names[:2] == ("AA0", "AA1")
    again, _ = predict_upcoming("last", "auc", ["data.path=more.csv"], "net/1")
    assert (again["game_id"] == table["game_id"]).all()
    # Their game moves the league's means, and so the features, a little.
    np.testing.assert_allclose(again["probability"], table["probability"], atol=0.01)
    network = estimators.load(registry.registered("net/1", home / "loaded").files)
    known, _, to_come = played(home)
    assert more.unplayed is not None
    features = more.unplayed.features.to_numpy()
    by_name = network.predict_games(Games(features, to_come.teams, known.team_names))[:, 1]
    by_number = network.predict_games(Games(features, more.unplayed.teams, (*known.team_names, "x", "y")))[:, 1]
    assert again["probability"].to_numpy().tobytes() == by_name.tobytes()
    assert (by_number != by_name).all()


def test_the_command_prints_it(home: Path) -> None:
    command = [sys.executable, "-m", "sweeproute", "predict", "--csv"]
    ran = subprocess.run(command, cwd=home, capture_output=True, text=True, check=True)
    table, _ = predict_upcoming("last", "auc", [])
    printed = pd.read_csv(io.StringIO(ran.stdout))
    assert printed["game_id"].tolist() == table["game_id"].tolist()
    np.testing.assert_allclose(printed["probability"], table["probability"], rtol=1e-12)
