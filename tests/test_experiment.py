"""Tests of one trial: what it returns, what it journals, what it leaves behind, what it refuses."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import r_here
import synthetic_games
from handmade_sweep import fresh_store
from small_trial import ROOT, SMALL, compose, composed
from sweeproute import estimators, experiment, journal, trial_checks
from sweeproute.betting import BettingError
from sweeproute.config import ConfigError
from sweeproute.estimators import ModelError
from sweeproute.journal import Page
from sweeproute.replay import Phase, Replay
from sweeproute.store import open_store
from sweeproute.sweep_folder import SweepFolder
from sweeproute.validation import ValidationError

METRICS = {
    *("auc", "brier", "brier_reliability", "brier_resolution", "brier_uncertainty", "log_loss", "accuracy", "ece"),
    *("ace", "roi", "roi_kelly", "roi_flat", "n_bets", "drawdown", "drawdown_kelly", "log_growth", "log_growth_kelly"),
    "n_games",
}


def run(folder: Path, *overrides: str) -> tuple[dict[str, float], Page]:
    """Run a trial; what it returned, and its journal."""
    with composed(folder, *overrides) as config:
        metrics = experiment.run_trial(config)
    return metrics, page(folder)


def page(folder: Path) -> Page:
    return journal.merge(journal.read(folder)[0])


@pytest.fixture(scope="module")
def glm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float], Page]:
    """One trial of the linear model, as several tests look at it."""
    folder = tmp_path_factory.mktemp("glm")
    return folder, *run(folder, *SMALL, "seed=7", "model.params.C=0.02")


def test_it_returns_the_metrics_over_the_selection_seasons(glm: tuple[Path, dict[str, float], Page]) -> None:
    _, metrics, _ = glm
    assert set(metrics) == METRICS
    assert 0.6 < metrics["auc"] < 0.8
    assert 0.19 < metrics["brier"] < 0.25
    assert metrics["n_games"] == int(metrics["n_games"])
    assert json.dumps(metrics)


def test_its_journal_has_the_metrics_of_each_season_as_steps_and_the_pooled_ones_behind_them(
    glm: tuple[Path, dict[str, float], Page],
) -> None:
    _, metrics, written = glm
    assert written.status == "FINISHED"
    by_step: dict[int, dict[str, float]] = {}
    for name, value, step, _ in written.metrics:
        by_step.setdefault(step, {})[name] = value
    assert set(by_step) == {2018, 2019, 2020, 0}
    assert METRICS >= set(by_step[2018]) >= {"auc", "brier", "log_loss", "ece", "roi"}
    assert by_step[2020] == metrics
    assert by_step[2018]["n_games"] + by_step[2019]["n_games"] == metrics["n_games"]
    assert set(by_step[0]) == {"fit_s", "predict_s"}
    assert written.last_metrics().items() >= metrics.items()


def reported(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]


def test_it_reports_after_each_fold_what_it_would_return_were_that_the_last(
    glm: tuple[Path, dict[str, float], Page], tmp_path: Path
) -> None:
    folder, metrics, _ = glm
    first, last = reported(folder)
    each = {}
    for season in (2018, 2019):
        (tmp_path / str(season)).mkdir()
        one = f"validation.selection_seasons=[{season},{season}]"
        each[season], _ = run(tmp_path / str(season), *SMALL[:3], one, "seed=7", "model.params.C=0.02")
    assert first == {"step": 1, **each[2018], **{f"step/{name}": value for name, value in each[2018].items()}}
    assert last == {"step": 2, **metrics, **{f"step/{name}": value for name, value in each[2019].items()}}


def test_what_it_reports_is_of_selection_seasons_alone(tmp_path: Path) -> None:
    held = ("validation.selection_seasons=[2018,2018]", "validation.holdout_seasons=[2019,2019]")
    metrics, _ = run(tmp_path, *SMALL[:3], *held)
    assert [line["n_games"] for line in reported(tmp_path)] == [metrics["n_games"]]


def test_a_trial_that_is_told_to_stop_ends_after_its_fold_with_what_it_has(
    glm: tuple[Path, dict[str, float], Page], tmp_path: Path
) -> None:
    (tmp_path / "stop").write_text("worse than the median of 4 trials")
    returned, written = run(tmp_path, *SMALL, "seed=7", "model.params.C=0.02")
    (only,) = reported(tmp_path)
    metrics = {name: value for name, value in only.items() if not name.startswith("step")}
    assert only == reported(glm[0])[0]
    assert returned == {**metrics, "status": "pruned", "reason": "worse than the median of 4 trials"}
    assert written.status == "PRUNED"
    assert written.tags["sweeproute.pruned"] == "worse than the median of 4 trials"
    assert written.last_metrics() == metrics
    assert {step for _, _, step, _ in written.metrics} == {2018, 2019}
    assert [path for path, _ in written.artifacts] == ["config.yaml", "features.txt"]
    assert not (tmp_path / "model").exists()


def test_a_pruned_trial_has_a_run_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stop").write_text("worse than the median")
    returned, _ = run(tmp_path / "run", *SMALL, "tracking.models=none")
    store = open_store(fresh_store(tmp_path), "test")
    writer = Replay(store, tmp_path / "run", None)
    writer.attach()
    assert writer.write(SweepFolder(tmp_path / "run").attempts(), Phase.OVER)
    (found,) = store.client.search_runs([store.experiment_id])
    tags = found.data.tags
    assert found.info.status == "KILLED"
    assert (tags["sweeproute.state"], tags["sweeproute.pruned"]) == ("PRUNED", "worse than the median")
    assert found.data.metrics == {name: value for name, value in returned.items() if isinstance(value, float)}


def test_a_trial_that_is_told_to_stop_in_its_last_fold_has_finished(tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("late")
    returned, written = run(tmp_path, *SMALL[:3], "validation.selection_seasons=[2018,2018]", SMALL[4])
    assert set(returned) == METRICS
    assert written.status == "FINISHED"


def test_its_parameters_bear_the_names_of_the_configuration(glm: tuple[Path, dict[str, float], Page]) -> None:
    _, _, written = glm
    expected = {
        "seed": "7",
        "model.type": "GLM",
        "model.params._target_": "sklearn.linear_model.LogisticRegression",
        "model.params.C": "0.02",
        "model.params.random_state": "7",
        "data.source": "league",
        "data.first_season": "2015",
        "validation.selection_seasons": "[2018, 2019]",
        "validation.holdout_seasons": "None",
        "betting.min_edge": "0.02",
    }
    assert written.params.items() >= expected.items()
    assert {name.split(".")[0] for name in written.params} == {
        *("seed", "model", "data", "validation", "betting", "calibration"),
    }
    assert not any("${" in value for value in written.params.values())


def test_its_tags_say_what_it_was_made_of(glm: tuple[Path, dict[str, float], Page]) -> None:
    _, _, written = glm
    tags = {name.removeprefix("sweeproute."): value for name, value in written.tags.items()}
    assert all(name.startswith("sweeproute.") for name in written.tags)
    assert (tags["kind"], tags["seed"], tags["model_type"], tags["device"]) == ("trial", "7", "GLM", "cpu")
    assert json.loads(tags["overrides"]) == [*SMALL, "seed=7", "model.params.C=0.02"]
    for name in ("fingerprint", "data_hash", "code_hash", "features_hash"):
        assert len(tags[name]) == 64, name
    assert int(tags["threads"]) >= 1
    assert tags["device_class"].startswith("cpu;")
    assert {"version.python", "version.numpy", "version.scikit-learn"} <= set(tags)


def test_it_is_named_by_its_model_its_job_and_its_own_overrides(
    glm: tuple[Path, dict[str, float], Page], tmp_path: Path
) -> None:
    _, _, alone = glm
    assert alone.name == f"GLM {' '.join(SMALL)} seed=7 C=0.02"
    _, third = run(tmp_path, *SMALL, "model=glm", "tracking.models=none", "model.params.C=0.1", "hydra.job.num=3")
    assert third.name == f"GLM #3 {' '.join(SMALL)} C=0.1"


def test_a_model_that_another_language_fits_says_by_what_and_what_it_learned(tmp_path: Path) -> None:
    r_here.or_skip()
    _, written = run(tmp_path, "model=glm_r", *SMALL, "model.params.max_iter=1", "model.params.engine=stats")
    tags = written.tags
    assert tags["sweeproute.engine"] == f"stats::glm, R {tags['sweeproute.version.R']}"
    assert f",R={tags['sweeproute.version.R']}" in tags["sweeproute.device_class"]
    assert tags["sweeproute.warnings"].startswith("2018, 2019: R's glm did not converge in 1 steps; ")
    assert "coefficients.csv" in [path for path, _ in written.artifacts]
    table = pd.read_csv(tmp_path / "coefficients.csv", index_col="term")
    assert list(table.columns) == ["estimate", "std_error", "z", "p"]
    assert list(table.index) == ["(Intercept)", *(tmp_path / "features.txt").read_text().splitlines()]


def test_where_r_is_absent_a_trial_is_refused_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^model.type=GLM_R needs R_tidymodels, and there is no Rscript .*brew inst"):
        run(tmp_path, "model=glm_r", *SMALL)
    assert list(tmp_path.iterdir()) == []


def test_it_names_its_data_set(glm: tuple[Path, dict[str, float], Page]) -> None:
    _, metrics, written = glm
    (data,) = written.inputs
    assert (data["name"], data["source"], data["context"]) == ("league", "league", "training")
    assert data["hash"] == written.tags["sweeproute.data_hash"]
    assert data["digest"] == data["hash"][:32]
    assert data["profile"]["n_games"] > metrics["n_games"]
    assert data["profile"]["n_features"] == int(written.tags["sweeproute.n_features"])


def test_it_leaves_its_config_its_features_and_its_predictions_as_artifacts(
    glm: tuple[Path, dict[str, float], Page],
) -> None:
    folder, metrics, written = glm
    assert [path for path, _ in written.artifacts] == ["config.yaml", "features.txt", "predictions.parquet"]
    assert "C: 0.02" in (folder / "config.yaml").read_text()
    # Where and how a trial runs, and the environment's own words, stay references.
    assert "uri: ${oc.env:MLFLOW_TRACKING_URI" in (folder / "config.yaml").read_text()
    features = (folder / "features.txt").read_text().splitlines()
    assert len(features) == len(set(features)) == int(written.tags["sweeproute.n_features"])
    predictions = pd.read_parquet(folder / "predictions.parquet")
    assert len(predictions) == metrics["n_games"]
    assert {"game_id", "season", "kickoff", "outcome", "probability", "odds_home", "bet", "stake", "profit"} <= set(
        predictions.columns
    )
    assert set(predictions.season) == {2018, 2019}
    assert np.square(predictions.probability - predictions.outcome).mean() == pytest.approx(metrics["brier"])


def test_its_model_is_saved_and_predicts_as_it_did(glm: tuple[Path, dict[str, float], Page]) -> None:
    folder, _, _ = glm
    from sweeproute import data

    dataset = data.load({"source": "league", "first_season": 2015, "last_season": 2019})
    predictions = pd.read_parquet(folder / "predictions.parquet").query("season == 2019")
    rows = np.flatnonzero(dataset.season == 2019)
    probability = estimators.load(folder / "model").predict_proba(dataset.features.to_numpy()[rows])[:, 1]
    assert list(predictions.game_id) == list(dataset.game_id[rows])
    np.testing.assert_array_equal(predictions.probability, probability)


def test_no_model_is_saved_where_none_is_to_be_kept(tmp_path: Path) -> None:
    run(tmp_path, *SMALL, "tracking.models=none")
    assert not (tmp_path / "model").exists()


def test_the_seed_pins_the_generators_of_python_and_numpy(tmp_path: Path) -> None:
    drawn = []
    for number in (1, 2):
        random.seed(number)
        np.random.seed(number)
        run(tmp_path / str(number), *SMALL, "seed=7", "tracking.models=none")
        drawn.append((random.random(), np.random.random()))
    assert drawn[0] == drawn[1]


def test_a_trial_that_fails_ends_as_failed_and_keeps_what_it_had_written(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="needs 9 earlier seasons"):
        run(tmp_path, *SMALL, "validation.gap_seasons=8")
    assert page(tmp_path).status == "FAILED"
    assert page(tmp_path).params["validation.gap_seasons"] == "8"


def test_a_trial_that_is_stopped_ends_as_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sklearn.linear_model.LogisticRegression.fit", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, *SMALL)
    assert page(tmp_path).status == "KILLED"


def run_into_the_second_fold(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *overrides: str, model: type = LogisticRegression
) -> None:
    """Run a trial that is stopped in the fit of its second fold, and has kept the first."""
    fit = model.fit  # type: ignore[attr-defined]
    folds: list[None] = []

    def stop_in_the_second(*arguments: Any) -> Any:
        folds.append(None)
        if len(folds) == 2:
            raise KeyboardInterrupt
        return fit(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(model, "fit", stop_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            run(folder, *overrides, "checkpoint.minutes=1e-9")
    assert (folder / "checkpoint").is_dir()


def test_a_trial_that_was_stopped_goes_on_from_its_checkpoint_and_says_so(
    glm: tuple[Path, dict[str, float], Page], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, metrics, written = glm
    overrides = [*SMALL, "seed=7", "model.params.C=0.02"]
    run_into_the_second_fold(monkeypatch, tmp_path, *overrides)
    again, said = run(tmp_path, *overrides)
    assert again == metrics
    assert said.tags["sweeproute.resumed_from"] == "fold 2019"
    # The run of this attempt has the metrics of every season, whichever attempt came by them.
    assert said.last_metrics().keys() == written.last_metrics().keys()
    assert {step for _, _, step, _ in said.metrics} == {2018, 2019, 2020, 0}
    assert (tmp_path / "predictions.parquet").read_bytes() == (folder / "predictions.parquet").read_bytes()
    assert not (tmp_path / "checkpoint").exists()
    assert not {"sweeproute.resumed_from", "sweeproute.checkpoint_unused"} & set(written.tags)
    assert said.tags["sweeproute.fingerprint"] == written.tags["sweeproute.fingerprint"]


def test_a_trial_does_not_go_on_from_a_checkpoint_of_other_settings_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_into_the_second_fold(monkeypatch, tmp_path, *SMALL)
    _, changed = run(tmp_path, *SMALL, "model.params.C=0.5")
    assert "is of another config, data or code" in changed.tags["sweeproute.checkpoint_unused"]
    assert "sweeproute.resumed_from" not in changed.tags
    assert not (tmp_path / "checkpoint").exists()


def test_other_threads_are_another_device_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_into_the_second_fold(monkeypatch, tmp_path, *SMALL, "threads=1")
    _, moved = run(tmp_path, *SMALL, "threads=2")
    assert "another device class (threads=1; here threads=2)" in moved.tags["sweeproute.checkpoint_unused"]


def test_what_a_fold_draws_does_not_depend_on_the_folds_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A forest without a seed of its own draws from NumPy's generator, which the trial pins.
    forest = [*SMALL, "model=random_forest", "model.params.n_estimators=3", "model.params.random_state=null"]
    whole, _ = run(tmp_path / "whole", *forest)
    run_into_the_second_fold(monkeypatch, tmp_path / "cut", *forest, model=RandomForestClassifier)
    again, said = run(tmp_path / "cut", *forest)
    assert said.tags["sweeproute.resumed_from"] == "fold 2019"
    assert again == whole


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A feature table of eight seasons, with odds."""
    games = synthetic_games.games()
    assert games.odds is not None
    frame = games.features.assign(
        won=games.outcome, season=games.season, day=games.kickoff, home=games.odds[:, 0], away=games.odds[:, 1]
    )
    frame.to_csv(tmp_path / "games.csv", index=False)
    return tmp_path / "games.csv"


def csv(path: Path) -> list[str]:
    roles = ["data.outcome=won", "data.season=season", "data.date=day", "data.odds_home=home", "data.odds_away=away"]
    seasons = ["validation.first_test_season=2006", "validation.selection_seasons=[2006,2008]"]
    return ["data=csv", f"data.path={path}", *roles, *seasons, "validation.holdout_seasons=[2009,2010]"]


def test_the_holdouts_outcomes_change_nothing_that_a_choice_could_be_made_by(table: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(table)
    held = frame.season >= 2009
    frame.loc[held, "won"] = 1 - frame.loc[held, "won"]
    flipped = table.with_name("flipped.csv")
    frame.to_csv(flipped, index=False)
    told = {}
    for path in (table, flipped):
        folder = tmp_path / path.stem
        metrics, written = run(folder, *csv(path), "model=xgboost", "model.params.n_estimators=5", "threads=1")
        numbers = [row[:3] for row in written.metrics if row[0] not in ("fit_s", "predict_s")]
        told[path] = metrics, numbers, (folder / "predictions.parquet").read_bytes()
        assert set(pd.read_parquet(folder / "predictions.parquet").season) == {2006, 2007, 2008}
    assert told[table] == told[flipped]
    assert told[table][0]["auc"] > 0.6


# What composes and cannot run, by what it is refused with.
REFUSED = [
    (["data=csv", "data.outcome=won", "data.season=s", "data.date=d"], ConfigError, "data=csv needs data.path; give"),
    (
        ["data=csv", "data.path=train.py"],
        ConfigError,
        "data=csv needs data.outcome and data.season and data.date; give them, as in data.outcome=VALUE",
    ),
    (["data=nfl", "data.path=no/gmaes.csv"], ConfigError, "give the path of the table, from here or whole."),
    (["tracking.models=bset"], ConfigError, "tracking.models=bset is not known"),
    (["checkpoint.minutes=-1"], ConfigError, "checkpoint.minutes=-1.0 is no time between checkpoints"),
    (["tracking.system_metrics_s=0.1"], ConfigError, "tracking.system_metrics_s=0.1 is no time between two samples"),
    (["device=gpu"], ModelError, "device=gpu is not known; use auto, cpu, cuda, cuda:N or mps."),
    (["model=xgboost", "+model.params.gpu_id=1"], ModelError, "model.params.gpu_id=1 is outdated"),
    (["model=xgboost", "model.params.tree_method=gpu_hist"], ModelError, "use model.params.tree_method=hist"),
    (["+search_space.axes={model.params.c: [1]}"], ModelError, "model.params.c is no parameter"),
    (
        ["importances.of=holdouts"],
        ConfigError,
        "of=holdouts is not known; it is one of holdout, all, none.",
    ),
    (["importances.repeats=0"], ConfigError, "importances.repeats=0 shuffles nothing; use 1 or more"),
    (["betting.stake=2"], BettingError, "betting.stake=2.0 is not a fraction of the bankroll"),
    (["validation.window=rollin"], ValidationError, "validation.window=rollin is not known"),
    (["data.last_season=2010"], ValidationError, "first_test_season=2012 is not in the data, which has 2003 to 2010"),
    (["data.last_season=2020"], ValidationError, "selection_seasons=[2012,2022] reaches outside the data"),
    (["validation.holdout_seasons=[2022,2024]"], ValidationError, "begins before the selection ends in 2022"),
]


@pytest.mark.parametrize(("overrides", "kind", "message"), REFUSED, ids=[refused[2][:30] for refused in REFUSED])
def test_what_cannot_run_is_refused_in_a_sentence(overrides: list[str], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        trial_checks.validate(compose(*overrides))
    assert message in str(caught.value)


def test_a_path_that_is_misspelt_is_answered_with_the_nearest_file(table: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        trial_checks.validate(compose("data=nfl", f"data.path={table.with_name('gmaes.csv')}"))
    assert str(caught.value) == (
        f"data.path={table.with_name('gmaes.csv')} is no file (looked in {table.parent}); did you mean {table}?"
    )


def test_refusing_needs_no_pandas_and_no_library_of_models() -> None:
    config = ["data=csv", "data.path=no.csv", "data.outcome=won", "data.season=s", "data.date=d", "model=xgboost"]
    with pytest.raises(ConfigError):
        # Once with the library, whose list of parameters is then known.
        trial_checks.validate(compose(*config))
    code = f"""
import sys
from small_trial import compose
from sweeproute import trial_checks
config = compose(*{config})
try:
    trial_checks.validate(config)
except ValueError as error:
    print(error, *{{"pandas", "sklearn", "xgboost", "mlflow", "pyarrow"}} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "tests", capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip().endswith("give the path of the table, from here or whole.")


def test_a_worker_is_warmed_with_the_data_and_the_models_class() -> None:
    config = compose(*SMALL, "model=lightgbm")
    experiment.preload(config)
    assert "lightgbm" in sys.modules
    from sweeproute import data

    assert experiment.identity(config)["data_hash"] == data.load(experiment.plain(config.data)).hash
    assert set(experiment.identity(config)) == {"fingerprint", "data_hash", "code_hash", "games_hash"}


def test_a_trial_has_the_identity_that_was_told_before_it_ran(tmp_path: Path) -> None:
    overrides = [*SMALL, "seed=11", "tracking.models=none"]
    with composed(tmp_path, *overrides) as config:
        before = experiment.identity(config)
    _, written = run(tmp_path, *overrides)
    assert {name: written.tags[f"sweeproute.{name}"] for name in before} == before
