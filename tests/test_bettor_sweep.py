"""Bettors in a sweep of this project's own configuration beside a classifier: chosen, scored, reported, asked again."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from handmade_sweep import fresh_store
from small_trial import ONE_SLOT, ROOT, SMALL, composed, end, start
from sweeproute import data, experiment, figures, journal, pointers, prediction, registry
from sweeproute.chapter_figures import drawing
from sweeproute.checkpoint import FOLDER
from sweeproute.commands import composing
from sweeproute.report import Made, Question, make
from sweeproute.store import connect
from sweeproute.tracking_status import saved_settings

FIVE = {"source": "league", "first_season": 2015, "last_season": 2019, "seed": 7, "market_features": False}
# A bettor of the person's own, which learns for a sixteenth of the games: enough to bet.
SHORT = (
    "# @package _global_\ndefaults: [dqn]\nmodel: {params: {total_timesteps: 3000, n_envs: 16, learning_starts: 500}}\n"
)
QUICK = ("model.params.total_timesteps=3000", "model.params.n_envs=16", "model.params.learning_starts=500")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where a sweep of two models by their return has ended, its holdout scored, with games still to come."""
    folder = tmp_path_factory.mktemp("home")
    games = data.load_games(FIVE).drop(columns="home_win_probability")
    to_come = (games.season == 2019) & (games.week == games.week[games.season == 2019].max())
    games.loc[to_come, ["home_score", "away_score", "result", "total", "overtime"]] = np.nan
    games.to_csv(folder / "games.csv", index=False)
    (folder / "own" / "model").mkdir(parents=True)
    (folder / "own" / "model" / "short_dqn.yaml").write_text(SHORT)
    words = ["model=glm,short_dqn", f"hydra.searchpath=[file://{folder / 'own'}]"]
    words += ["search_space=none", "hydra.sweeper.metric=roi", "sweep.name=mixed", "holdout=true"]
    words += ["calibration=all", "validation.calibration_seasons=1", "data=nfl", "data.path=games.csv", "threads=1"]
    words += ["validation.first_test_season=2018", "validation.selection_seasons=[2018,2018]", "device=cpu"]
    words += ["validation.holdout_seasons=[2019,2019]", "tracking.models=all"]
    environment = {"SWEEPROUTE_STATE": str(folder / "state")}
    told = end(start(folder, "-m", *words, ONE_SLOT, uri=fresh_store(folder), **environment))
    (folder / "told.txt").write_text(told, encoding="utf-8")
    return folder


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(home / "state"))
    monkeypatch.chdir(home)
    return home


def test_both_compete_by_their_return_and_the_bettor_has_one_run(here: Path) -> None:
    runs = registry.frame("mixed")
    of_trials = runs[runs["tags.sweeproute.set"] == "selection"]
    bettor = of_trials[of_trials["tags.sweeproute.model_type"] == "RL_DQN"]
    assert len(bettor) == 1
    assert bettor["tags.sweeproute.calibration"].tolist() == ["none"]
    assert bettor["metrics.auc"].isna().all()
    assert bettor["metrics.roi"].notna().all()
    found = registry.chosen("mixed")
    assert isinstance(found, registry.BestRun)
    assert found.metric == "roi"
    own = of_trials[~of_trials["tags.sweeproute.kind"].eq("calibration")]
    assert found.value == own["metrics.roi"].max()
    told = (here / "told.txt").read_text(encoding="utf-8")
    assert "RL_DQN gives stakes, which are not calibrated: it has no platt, isotonic." in log_of(here, "RL_DQN")
    assert "Best roi" in told
    assert "auc=" in told  # of glm on the holdout
    assert "=nan" not in told + log_of(here, "RL_DQN")


def log_of(folder: Path, model: str) -> str:
    (sweep,) = (folder / "multirun").iterdir()
    texts = [path.read_text(encoding="utf-8") for path in sorted(sweep.glob("*/*.log"))]
    return next(text for text in texts if model in text)


def test_its_predictions_hold_its_bets_and_no_probability(here: Path) -> None:
    runs = registry.frame("mixed")
    for _, run in runs[runs["tags.sweeproute.model_type"] == "RL_DQN"].iterrows():
        games = registry.predictions(run["run_id"])
        assert games["probability"].isna().all()
        assert set(games["stake"].dropna().round(6)) <= {0.01, 0.02}
        assert run["metrics.roi"] == pytest.approx(games["profit"].sum() / games["stake"].sum())


@pytest.fixture(scope="module")
def made(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPROUTE_STATE", str(home / "state"))
        patch.chdir(ROOT)
        settings = composing.report(["report.resamples=200"])
        settings.to = str(tmp_path_factory.mktemp("report") / "r")
        uri = f"sqlite:///{home / 'mlflow.db'}"
        titles = dict(settings.titles)
        return make(Question("mixed", uri=uri), settings, lambda one: drawing(one, titles, 0.95))


def cells(made: Made, name: str) -> dict[tuple[str, str], dict[str, str]]:
    with (made.folder / "tables" / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["model"], row["calibration"]): row for row in rows}


@pytest.mark.parametrize("suffix", ["", "_holdout"])
def test_the_report_has_its_bets_beside_the_others_and_leaves_out_what_it_lacks(made: Made, suffix: str) -> None:
    rows = cells(made, f"multimodel_comparison_table{suffix}")
    bettor, glm = rows["DQN", "None"], rows["GLM", "None"]
    assert [key for key in rows if key[0] == "DQN"] == [("DQN", "None")]
    assert ("GLM", "Platt") in rows
    for name in ("auc", "brier", "log_loss", "accuracy", "ece", "auc_low", "brier_high"):
        assert bettor[name] == ""
        assert glm[name] != ""
    bets = cells(made, f"betting_table{suffix}")["DQN", "None"]
    assert (bets["roi_kelly"], bets["roi_flat"]) == ("", "")
    for row in (bettor, bets):
        assert float(row["roi_low"]) < float(row["roi"]) < float(row["roi_high"])
        assert int(float(row["n_bets"])) > 0
    notes = next(table.notes for table in made.tables if table.name == f"betting_table{suffix}")
    assert "Stakes and no probabilities, so no score of these: DQN." in notes
    assert "By stakes of their own, in units of the rule's, not by the rule: DQN." in notes
    drawn = {path.stem for path in (made.folder / "figures").glob("*.pdf")}
    assert drawn >= {f"{name}{suffix}" for name in figures.NAMES}


def test_what_is_tested_is_as_it_would_be_without_the_bettor_and_its_return_is_tested_too(made: Made) -> None:
    with (made.folder / "significance.csv").open(newline="") as file:
        tests = list(csv.DictReader(file))
    own = [row for row in tests if "RL_DQN" in (row["model"], row["other_model"]) and row["other_model"] != "market"]
    assert own
    for row in own:
        assert (row["p"] == "") == (row["metric"] != "roi"), row
    others = [row for row in tests if row["model"] == row["other_model"] == "GLM"]
    assert all(row["p"] for row in others if row["metric"] in ("auc", "brier"))


def test_a_report_by_a_score_that_it_lacks_shows_its_first_configuration_and_says_so(
    here: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        settings = composing.report(["report.resamples=200"])
    settings.to = str(tmp_path / "r")
    found = make(Question("mixed", metric="brier", uri=f"sqlite:///{here / 'mlflow.db'}"), settings)
    best = json.loads((tmp_path / "r" / "best_config.json").read_text(encoding="utf-8"))
    assert best["model"] == "GLM"
    notes = found.tables[0].notes
    assert "Without it, so that the first configuration stands here, chosen by nothing: DQN." in notes


def test_a_registered_bettor_stakes_on_games_to_come(here: Path) -> None:
    runs = registry.frame("mixed")
    bettor = runs[(runs["tags.sweeproute.model_type"] == "RL_DQN") & (runs["tags.sweeproute.set"] == "selection")]
    run_id = bettor["run_id"].iloc[0]
    client = connect(saved_settings(pointers.find("last").folder).uri)
    client.create_registered_model("bettor")
    client.create_model_version("bettor", f"{client.get_run(run_id).info.artifact_uri}/model", run_id)
    own = f"hydra.searchpath=[file://{here / 'own'}]"
    table, how = prediction.predict_upcoming("last", None, [own], "bettor/1")
    assert "bettor version 1 (RL_DQN of run" in how
    assert "probability" not in table
    placed = table["bet"].notna()
    assert set(table["bet"][placed]) <= {"home", "away"}
    assert (table["stake"].notna() == placed).all()
    assert set(table["stake"].dropna().round(6)) <= {0.01, 0.02}


def test_the_best_bettor_is_fitted_on_every_game_that_has_ended(here: Path, tmp_path: Path) -> None:
    with composed(tmp_path, "model=dqn", *QUICK, "device=cpu", "threads=1") as config:
        dataset = data.load({"source": "nfl", "path": str(here / "games.csv")})
        bettor, calibrator, learned = prediction._fitted(config, dataset, "none")
    assert (learned, calibrator.method) == (len(dataset.outcome), "none")
    assert np.isfinite(bettor.layers_[0]).all()


def test_the_command_that_asks_for_what_it_lacks_says_so_before_anything_runs(tmp_path: Path) -> None:
    said = end(start(tmp_path, "-m", "model=glm,ppo", SWEEPROUTE_STATE=str(tmp_path / "state")), code=1)
    assert (
        "model.type=RL_PPO gives stakes and has no probabilities, so that it has no auc; choose by what it has" in said
    )
    assert "Traceback" not in said
    assert not list((tmp_path / "multirun").rglob("overrides.yaml"))


def test_rules_send_both_to_the_workstation_with_their_reasons(tmp_path: Path) -> None:
    words = ["model=dqn,ppo", "search_space=none", "hydra.sweeper.metric=roi", "hydra.launcher.dry_run=true"]
    end(start(tmp_path, "-m", *words, "hydra.sweep.dir=plan", SWEEPROUTE_STATE=str(tmp_path / "state")))
    with composed(tmp_path) as config:
        rules = {rule.model_type: (rule.route_to, rule.reason) for rule in config.registry.task_routing_rules}
    assert rules["RL_DQN"] == ("remote_4090", "GPU-accelerated replay buffer")
    assert rules["RL_PPO"][0] == "remote_4090"
    jobs = json.loads((tmp_path / "plan" / "plan.json").read_text(encoding="utf-8"))["jobs"]
    assert [job["platform"] for job in jobs] == ["local_m4"] * 2
    assert all("remote_4090 has no host configured" in job["reason"] for job in jobs)


# Two folds of some seconds each.
LONG = (
    *(*SMALL, "model=dqn", "model.params.total_timesteps=6000", "model.params.n_envs=8", "model.params.batch_size=32"),
    *("model.params.gradient_steps=1", "device=cpu", "threads=1"),
)


def test_a_trial_that_is_killed_in_a_fit_goes_on_from_there_to_the_same_result_bitwise(tmp_path: Path) -> None:
    first, second, whole = tmp_path / "0", tmp_path / "0.attempt2", tmp_path / "whole"
    process = start(tmp_path, *LONG, "checkpoint.minutes=0.005", f"hydra.run.dir={first}")
    assert process.stdout is not None
    for line in process.stdout:
        if "Checkpoint: fold 2019, " in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL

    shutil.copytree(first / FOLDER, second / FOLDER)
    pages = {}
    for folder in (second, whole):
        with composed(folder, *LONG) as config:
            experiment.run_trial(config)
        pages[folder] = journal.merge(journal.read(folder)[0])
    resumed_from = pages[second].tags["sweeproute.resumed_from"]
    assert resumed_from.startswith("fold 2019, ")
    assert 0 < int(resumed_from.split()[2]) < 6000
    for file in ("predictions.parquet", "model/bettor.safetensors"):
        assert (second / file).read_bytes() == (whole / file).read_bytes(), file
