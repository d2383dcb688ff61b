"""Tests of the command line `sweeproute COMMAND`."""

import importlib.metadata
import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from handmade_sweep import fresh_store
from small_trial import ONE_SLOT, ROOT, SMALL, end, start
from sweeproute import __main__, pointers, registry
from sweeproute.data import load_games
from sweeproute.store import connect
from sweeproute.tracking_status import saved_settings

LEAGUE = {"source": "league", "first_season": 2015, "last_season": 2019}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which a games table was swept whose last week is not played yet."""
    folder = tmp_path_factory.mktemp("home")
    games = load_games(LEAGUE).drop(columns="home_win_probability")
    to_come = (games.season == 2019) & (games.week == games.week[games.season == 2019].max())
    games.loc[to_come, ["home_score", "away_score", "result", "total", "overtime"]] = np.nan
    games.to_csv(folder / "games.csv", index=False)
    uri = fresh_store(folder)
    words = ("data=nfl", "data.path=games.csv", "model.params.C=0.01,0.1", "sweep.name=last week", *SMALL[2:], ONE_SLOT)
    environment = {"SWEEPROUTE_STATE": str(folder / "state")}
    end(start(folder, "-m", *words, uri=uri, MLFLOW_EXPERIMENT_NAME="games", **environment))
    return folder


@pytest.fixture
def sweeproute(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; its exit code, what it printed, what it complained of."""
    monkeypatch.setenv("SWEEPROUTE_STATE", str(home / "state"))
    # `command` sets this for good, as befits a process that ends with it.
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.chdir(home)

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            __main__.main(words)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


Run = Callable[..., tuple[int, str, str]]


def best(home: Path) -> dict[str, Any]:
    return registry.frame("last").sort_values("metrics.auc", ascending=False).iloc[0].to_dict()


def test_best_says_the_value_the_command_and_the_run(sweeproute: Run, home: Path) -> None:
    code, said, complaint = sweeproute("best")
    assert (code, complaint) == (0, "")
    top = best(home)
    first, metrics, command, run = said.splitlines()
    job, sweep = top["tags.sweeproute.trial"], top["tags.sweeproute.sweep"]
    assert first == f"auc={top['metrics.auc']:.4f}: job {job} of {sweep}, on local_m4 (cpu)"
    assert f"brier={top['metrics.brier']:.4f}" in metrics.split()
    assert command.startswith("  python train.py data=nfl data.path=games.csv ")
    assert run.startswith(f"  run {top['run_id']} (maximize; asked by ")


def test_best_answers_a_program_with_everything(sweeproute: Run, home: Path) -> None:
    code, said, _ = sweeproute("best", "--sweep", "last", "--metric", "brier", "--json")
    assert code == 0
    answer = json.loads(said)
    table = registry.frame("last")
    assert answer["value"] == table["metrics.brier"].min()
    assert (answer["metric"], answer["direction"]) == ("brier", "minimize")
    assert answer["overrides"][:2] == ["data=nfl", "data.path=games.csv"]
    assert set(answer) >= {"run_id", "job", "sweep", "metrics", "params", "platform", "experiment", "not_finite"}


def test_best_gives_a_shell_the_overrides_that_run_the_trial_again(sweeproute: Run, home: Path) -> None:
    code, said, _ = sweeproute("best", "--sweep", "last week", "--overrides")
    assert code == 0
    assert len(said.splitlines()) == 1
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'train.py'))} {said.strip()}"
    done = subprocess.run(
        ["sh", "-c", f"{command} '~hydra.callbacks.tracking'"],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    top = best(home)
    assert f"auc={top['metrics.auc']:.4f}  brier={top['metrics.brier']:.4f}" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("best", "--sweep", "last wek"), "There is no sweep 'last wek'; the nearest are last week"),
        (("best", "--metric", "acu"), "Metrics of a trial, nearest match first: auc, "),
        (("best", "--metric", "sharpe", "--direction", "maximize"), "has a metric 'sharpe'; logged are "),
        (("best", "--experiment", "gmaes"), "There is no experiment 'gmaes' in "),
        (("best", "--uri", "sqlite:///nowhere.db"), "There is no tracking store "),
        (("resume", "lats"), "There is no sweep 'lats'; the nearest are "),
        (("sync", "lats"), "There is no sweep 'lats'; the nearest are "),
        (("status", "lats"), "There is no sweep 'lats'; the nearest are "),
        (("run", "nowhere.json"), "There is no plan "),
        (("predict", "--sweep", "lats"), "There is no sweep 'lats'; the nearest are "),
        (("predict", "data.path=gmaes.csv"), "data.path=gmaes.csv is no file"),
        (("predict", "data.pth=games.csv"), "There is no key data.pth. Keys of data, nearest match first: path, "),
    ],
)
def test_what_is_not_there_is_a_sentence_with_what_is(sweeproute: Run, words: tuple[str, ...], sentence: str) -> None:
    code, said, complaint = sweeproute(*words)
    assert (code, said) == (1, "")
    assert sentence in complaint
    assert "Traceback" not in complaint
    assert len(complaint.splitlines()) == 1


def test_sync_says_that_all_is_written(sweeproute: Run, home: Path) -> None:
    assert sweeproute("sync", "last")[:2] == (0, "2 of 2 runs are written.\n")
    (folder,) = (home / "multirun").iterdir()
    assert sweeproute("sync", str(folder))[:2] == (0, "2 of 2 runs are written.\n")


def test_sync_writes_a_sweep_into_another_store_when_it_is_named(sweeproute: Run, home: Path, tmp_path: Path) -> None:
    uri = fresh_store(tmp_path)
    assert sweeproute("sync", "last", "--uri", uri, "--experiment", "copies")[0] == 0
    assert len(registry.frame("last", "copies", uri)) == 2


def test_predict_gives_each_game_that_is_not_played_a_probability(sweeproute: Run, home: Path) -> None:
    code, said, how = sweeproute("predict", "--csv")
    assert code == 0
    (home / "predicted.csv").write_text(said)
    predicted = pd.read_csv(home / "predicted.csv")
    games = pd.read_csv(home / "games.csv")
    to_come = games[games.home_score.isna()]
    assert 1 <= len(to_come) == len(predicted)
    assert set(predicted.game_id) == set(to_come.game_id)
    assert list(predicted.columns) == ["game_id", "season", "kickoff", "probability", "odds_home", "odds_away"]
    assert predicted.probability.between(0.02, 0.98).all()
    assert (predicted.odds_home > 1).all()
    decided = games.home_score.notna() & (games.home_score != games.away_score)
    assert f"fitted on {decided.sum()} games up to {games[decided].gameday.max()}." in how
    assert "best auc of sweep_" in how


def test_predict_takes_a_newer_table_and_prints_a_table_for_people(sweeproute: Run, home: Path) -> None:
    games = pd.read_csv(home / "games.csv")
    first = games.index[games.home_score.isna()][0]
    games.loc[games.index[games.week == games.week.max() - 1][-1], ["home_score", "away_score"]] = np.nan
    games.to_csv(home / "newer.csv", index=False)
    code, said, _ = sweeproute("predict", "--metric", "brier", "data.path=newer.csv")
    assert code == 0
    assert games.game_id[first] in said
    assert said.splitlines()[0].split() == ["game_id", "season", "kickoff", "probability", "odds_home", "odds_away"]


@pytest.mark.parametrize(
    "words",
    [("best",), ("best", "--sweep", "elsewhere"), ("promote", "abcdef1", "--name", "x"), ("report", "elsewhere")],
)
def test_a_store_that_does_not_answer_or_serves_no_questions_is_a_sentence(
    sweeproute: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://me:secret@127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody)
        code, said, complaint = sweeproute(*words)
    assert (code, said) == (1, "")
    assert complaint.startswith("The tracking store does not answer (")
    assert "secret" not in complaint
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "journal:runs")
    code, said, complaint = sweeproute(*words)
    assert (code, said) == (1, "")
    assert "sweeproute sync" in complaint
    assert "Traceback" not in complaint
    assert len(complaint.splitlines()) == 1


def test_a_file_that_is_no_store_is_a_sentence(sweeproute: Run, tmp_path: Path) -> None:
    (tmp_path / "torn.db").write_text("{}" * 100)
    code, said, complaint = sweeproute("best", "--uri", f"sqlite:///{tmp_path}/torn.db")
    assert (code, said) == (1, "")
    assert complaint.splitlines()[-1].startswith("The tracking store refuses (")
    assert "file is not a database" in complaint
    assert "Traceback" not in complaint


def test_a_trial_whose_address_is_a_folder_of_journals_says_how_to_bring_it_to_a_store(tmp_path: Path) -> None:
    state = {"SWEEPROUTE_STATE": str(tmp_path / "state")}
    said = end(start(tmp_path, "model=glm", "hydra.run.dir=out", *SMALL, uri="journal:runs", **state))
    assert "Runs: in their folder alone, since journal:" in said
    assert "Next: sweeproute sync out --uri sqlite:///mlflow.db" in said
    fresh_store(tmp_path)
    command = [sys.executable, "-m", "sweeproute", "sync", "out", "--uri", "sqlite:///mlflow.db"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | state, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1 of 1 run is written.\n"), done.stderr


def test_predict_without_a_game_to_come_says_what_to_name(sweeproute: Run, home: Path) -> None:
    games = pd.read_csv(home / "games.csv")
    games[games.home_score.notna()].to_csv(home / "played.csv", index=False)
    code, _, complaint = sweeproute("predict", "data.path=played.csv")
    assert code == 1
    assert "has no game to come" in complaint
    assert "behind the same command: data.path=games.csv" in complaint


def test_predict_uses_a_registered_model_as_it_is(sweeproute: Run, home: Path) -> None:
    found = registry.best("last")
    client = connect(saved_settings(pointers.find("last").folder).uri)
    client.create_registered_model("nfl-win")
    client.create_model_version("nfl-win", f"{found.artifact_uri}/model", found.run_id)
    client.set_registered_model_alias("nfl-win", "champion", "1")
    code, said, how = sweeproute("predict", "--csv", "--model", "nfl-win@champion")
    assert code == 0, how
    (home / "registered.csv").write_text(said)
    registered = pd.read_csv(home / "registered.csv")
    assert len(registered) >= 1
    assert registered.probability.between(0, 1).all()
    assert "nfl-win version 1" in how
    for wrong, sentence in (
        ("nfl-win@chalenger", "There is no registered model 'nfl-win@chalenger'"),
        ("nfl-wim/1", "Registered, nearest match first: nfl-win"),
        ("nfl-win", "Say which version"),
    ):
        code, _, complaint = sweeproute("predict", "--model", wrong)
        assert code == 1
        assert sentence in complaint


def test_predictions_are_loaded_without_a_word(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(home / "state"))
    table = registry.predictions(best(home)["run_id"])
    assert {"game_id", "probability", "outcome"} <= set(table.columns)
    assert capfd.readouterr() == ("", "")


def test_a_reader_that_has_seen_enough_is_no_error(home: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m sweeproute status | true"
    environment = {**os.environ, "SWEEPROUTE_STATE": str(home / "state")}
    done = subprocess.run(
        ["sh", "-c", command], cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""


def test_the_version_is_that_of_the_distribution(sweeproute: Run) -> None:
    assert sweeproute("--version") == (0, f"sweeproute {importlib.metadata.version('sweeproute')}\n", "")


@pytest.mark.parametrize("words", [["--help"], ["best", "--help"], ["predict", "--help"], []])
def test_help_comes_before_hydra_and_everything_heavy(words: list[str]) -> None:
    heavy = {"hydra", "omegaconf", "numpy", "pandas", "mlflow", "sklearn"}
    code = f"""
import sys
from sweeproute.__main__ import main
try:
    main({words})
finally:
    print(sorted({heavy} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == (0 if words else 2)
    assert done.stderr.splitlines()[-1] == "[]"
    if words == ["--help"]:
        for command in ("run", "status", "resume", "best", "predict", "sync", "platforms", "clean"):
            assert f"    {command}" in done.stdout
