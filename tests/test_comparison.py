"""Tests of what a report compares, and of what it refuses to compare, as the tracking store tells it."""

import time
from pathlib import Path

import numpy as np
import pytest

from handmade_sweep import HandmadeSweep, fresh_store
from reported_sweep import forecasts, games, trial
from sweeproute import comparable, sqlite_layout, sweep_runs
from sweeproute.comparable import ComparisonError
from sweeproute.comparison import SetOfSeasons, compare
from sweeproute.pointers import NoSuchSweepError
from sweeproute.runs_where import RegistryError
from sweeproute.selection import DirectionError
from sweeproute.tracking import sync

PLAYED = games()
SHORT = games((2018,))


def says(noise: float, platt: float, seed: int = 0) -> dict[str, np.ndarray]:
    return {"none": forecasts(PLAYED, noise, seed), "platt": forecasts(PLAYED, platt, seed + 100)}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("compared")
    made = {}

    def sweep(id: str, **record) -> HandmadeSweep:
        made[id] = HandmadeSweep(root / id, id, **{"metric": "brier", "direction": None} | record)
        return made[id]

    chosen = sweep("sweep_chosen", name="chapter")
    # Of the two, one is better as it is, the other calibrated.
    trial(chosen, 0, "XGBoost", says(0.4, 2.0), PLAYED, ["model=xgboost", "model.params.max_depth=2"])
    trial(chosen, 1, "XGBoost", says(2.0, 0.4), PLAYED, ["model=xgboost", "model.params.max_depth=3"])
    trial(chosen, 2, "GLM", says(0.8, 0.8), PLAYED)
    chosen.change(trial(chosen, 3, "GLM", says(0.0, 0.0), PLAYED, ["model=glm", "model.params.C=9"]), state="FAILED")
    first = trial(chosen, 4, "GLM", says(0.0, 0.0), PLAYED, ["model=glm", "model.params.C=8"])
    chosen.change(first, current=False)
    # The holdout: what was chosen and one that does better; scored twice, and worse the second time.
    scored = [
        (5, "GLM", "model=glm", 0.1, "1"),
        (6, "XGBoost", "model.params.max_depth=2", 2.0, "1"),
        (7, "XGBoost", "model.params.max_depth=9", 0.0, "1"),
        (8, "GLM", "model=glm", 2.0, "2"),
    ]
    for job, model, word, noise, scoring in scored:
        words = list(dict.fromkeys([f"model={model.lower()}", word]))
        words += ["calibration.methods=[none]", f"validation.scoring={scoring}"]
        tags = {"set": "holdout", "scoring": scoring}
        trial(chosen, job, model, {"none": forecasts(SHORT, noise)}, SHORT, words, kind="holdout", tags=tags)

    repeated = sweep("sweep_repeated", repeats=["seed"], metric=["platt/auc", "platt/brier"])
    for job, (depth, seed) in enumerate([(2, 1), (2, 2), (3, 1), (3, 2)]):
        words = ["model=xgboost", f"model.params.max_depth={depth}", f"seed={seed}"]
        device = {"device_class": f"cpu;x86_64;threads={seed}"}
        trial(repeated, job, "XGBoost", says(0.3 * depth, 0.3 * depth, seed), PLAYED, words, seed=seed, tags=device)

    mixed = sweep("sweep_mixed")
    for job, hash in enumerate(("ab" * 32, "cd" * 32)):
        trial(mixed, job, "GLM", says(1.0, 1.0), PLAYED, tags={"data_hash": hash})
    seasons = sweep("sweep_seasons")
    trial(seasons, 0, "GLM", {"none": forecasts(PLAYED, 0.5)}, PLAYED)
    trial(seasons, 1, "XGBoost", {"none": forecasts(SHORT, 0.5)}, SHORT)
    others = sweep("sweep_others")
    trial(others, 0, "GLM", {"none": forecasts(SHORT, 0.5)}, SHORT)
    moved = SHORT.assign(game_id=SHORT["game_id"] + "x")
    trial(others, 1, "XGBoost", {"none": forecasts(moved, 0.5)}, moved)
    failed = sweep("sweep_failed")
    failed.change(failed.start(0), state="FAILED", ended_at=2.0)
    bare = sweep("sweep_bare")
    folder = trial(bare, 0, "GLM", {"none": forecasts(SHORT, 0.5)}, SHORT)
    (folder / "predictions.parquet").unlink()

    uri = fresh_store(root)
    for one in made.values():
        one.save(state="FINISHED", ended=time.time())
        status = sync(one.root, uri=uri)
        assert status.written == status.total, status
    return root


@pytest.fixture(params=["query", "api"])
def uri(request, store, tmp_path, monkeypatch) -> str:
    """The store, asked in both ways, by whoever has neither the sweeps' folders nor pointers to them."""
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    if request.param == "api":
        monkeypatch.setattr(sqlite_layout, "KNOWN_REVISIONS", frozenset())
    return f"sqlite:///{store / 'mlflow.db'}"


def found(sweep: str, uri: str, metric: str | None = None, **where: str) -> tuple[SetOfSeasons, ...]:
    return compare(sweep_runs.read(sweep, uri=uri, where=where), metric).sets


def test_each_calibration_of_a_model_has_the_configuration_that_is_best_with_it(uri):
    selection, _ = found("chapter", uri)
    told = {(row.model, row.calibration): [run.job for run in row.runs] for row in selection.rows}
    assert told == {
        ("XGBoost", "none"): [0],
        ("XGBoost", "platt"): [1],
        ("GLM", "none"): [2],
        ("GLM", "platt"): [2],
    }
    assert selection.rows[0].overrides == ("model=xgboost", "model.params.max_depth=2")
    assert selection.rows[0].folds == {"validation.selection_seasons": "[2018, 2019]"}
    assert list(selection.rows[0].seasons) == [2018, 2019]


def test_seasons_and_predictions_are_those_that_were_written(uri):
    selection, _ = found("sweep_chosen", uri)
    for row in selection.rows:
        (table,) = row.games
        assert list(table.columns)[:6] == ["game_id", "season", "week", "kickoff", "outcome", "probability"]
        squares = (table["probability"] - table["outcome"]) ** 2
        assert row.metrics["brier"].mean == pytest.approx(squares.mean(), abs=1e-12)
        for season, metrics in row.seasons.items():
            assert metrics["brier"].mean == pytest.approx(squares[table["season"] == season].mean(), abs=1e-12)
        assert not any("/" in name for name in row.metrics)


def test_the_holdout_is_a_set_of_its_own(uri):
    selection, holdout = found("sweep_chosen", uri)
    assert (selection.name, holdout.name) == ("selection", "holdout")
    assert {row.runs[0].kind for row in holdout.rows} == {"holdout"}
    assert len(holdout.games) == len(SHORT) < len(selection.games)


def test_on_the_holdout_nothing_is_chosen_by_its_scores(uri):
    selection, holdout = found("sweep_chosen", uri)
    told = {row.model: ([run.job for run in row.runs], row.scoring) for row in holdout.rows}
    assert told == {"GLM": ([8], 2), "XGBoost": ([6], 1)}
    before = {row.model: row.configuration for row in selection.rows if row.calibration == "none"}
    assert {row.model: row.configuration for row in holdout.rows} == before


def test_repeats_are_chosen_and_told_together(uri):
    (selection,) = found("sweep_repeated", uri)
    assert selection.rule.metrics == ("auc", "brier")
    for row in selection.rows:
        assert [run.job for run in row.runs] == [0, 1]
        assert row.overrides == ("model=xgboost", "model.params.max_depth=2")
        assert row.seeds == ("1", "2")
        assert len(row.games) == row.metrics["brier"].n == 2
        assert row.metrics["brier"].mean == pytest.approx(np.mean([run.metrics["brier"] for run in row.runs]))
        assert row.metrics["brier"].sem > 0
        assert comparable.apart(row.device_classes) == ["threads=1", "threads=2"]


def test_another_metric_may_decide(uri):
    told = [run.job for row in found("sweep_chosen", uri, "roi")[0].rows for run in row.runs]
    best = {row.model: row.metrics["roi"].mean for row in found("sweep_chosen", uri, "roi")[0].rows[:2]}
    assert len(told) == 4
    assert best["XGBoost"] >= found("sweep_chosen", uri)[0].rows[1].metrics["roi"].mean
    with pytest.raises(RegistryError, match=r"No run of XGBoost none has a metric 'aucc'; logged are auc"):
        compare(sweep_runs.read("sweep_chosen", uri=uri), "aucc", "maximize")
    with pytest.raises(DirectionError, match="'aucc'"):
        found("sweep_chosen", uri, "aucc")


def test_runs_of_different_data_are_refused_and_one_of_them_can_be_taken(uri):
    with pytest.raises(ComparisonError, match=r"different data .*--where data_hash=abababababab\.$"):
        found("sweep_mixed", uri)
    (selection,) = found("sweep_mixed", uri, data_hash="cdcd")
    assert selection.data_hash == "cd" * 32
    assert [run.job for row in selection.rows for run in row.runs] == [1, 1]


def test_runs_on_other_games_are_refused_and_one_of_them_can_be_taken(uri):
    with pytest.raises(ComparisonError, match=r"476 games, XGBoost none, job 1, on 238, .*--where 'validation\.sel"):
        found("sweep_seasons", uri)
    (selection,) = found("sweep_seasons", uri, **{"validation.selection_seasons": "[2018, 2018]"})
    assert [row.model for row in selection.rows] == ["XGBoost"]
    with pytest.raises(ComparisonError, match=r"238 games of 2018, XGBoost none, job 1, on 238 games of 2018"):
        found("sweep_others", uri)


@pytest.mark.parametrize(
    ("sweep", "where", "error", "sentence"),
    [
        ("sweep_chosn", {}, NoSuchSweepError, "There is no sweep 'sweep_chosn'; the nearest are sweep_chosen"),
        ("sweep_failed", {}, RegistryError, r"No trial of sweep sweep_failed has finished \(1 FAILED\)"),
        ("sweep_bare", {}, RegistryError, r"\(GLM none\) has no predictions.parquet in the store"),
        ("sweep_mixed", {"data_hsh": "ab"}, RegistryError, r"No run has 'data_hsh'; .* nearest match first: data_hash"),
        ("sweep_mixed", {"model_type": "GML"}, RegistryError, "No run has model_type=GML; there are GLM"),
    ],
)
def test_what_is_not_there_is_a_sentence(uri, sweep, where, error, sentence):
    with pytest.raises(error, match=sentence):
        found(sweep, uri, **where)


def test_an_experiment_that_is_not_there_is_a_sentence(uri):
    with pytest.raises(RegistryError, match=r"There is no experiment 'sweeproutte' in .*; there are sweeproute"):
        sweep_runs.read("sweep_chosen", "sweeproutte", uri)


def test_of_ensembles_of_the_sweeps_own_models_the_last_counts_and_not_the_best(tmp_path: Path) -> None:
    sweep = HandmadeSweep(tmp_path / "sweep_further", "sweep_further", metric="brier", direction=None)
    trial(sweep, 0, "GLM", says(0.4, 0.4), PLAYED)
    trial(sweep, 1, "XGBoost", says(0.5, 0.5), PLAYED)
    for job, noise in ((2, 0.0), (3, 1.0)):  # before the sweep went further, and after
        words = ["model=ensemble", f"model.params.members={{none:[[{job}]]}}"]
        tags = {"ensemble": "average", "members_of": "sweep_further"}
        trial(sweep, job, "Ensemble_average", says(noise, noise), PLAYED, words, tags=tags, kind="ensemble")
    sweep.save(state="FINISHED", ended=time.time())
    uri = fresh_store(tmp_path)
    sync(sweep.root, uri)
    (found,) = compare(sweep_runs.read("sweep_further", uri=uri)).sets
    rows = {(row.model, row.calibration): [run.job for run in row.runs] for row in found.rows}
    assert list(rows)[-2:] == [("Ensemble_average", "none"), ("Ensemble_average", "platt")]
    assert rows["Ensemble_average", "none"] == [3]
    (platt,) = [row for row in found.rows if (row.model, row.calibration) == ("Ensemble_average", "platt")]
    assert platt.games[0]["probability"].to_numpy() == pytest.approx(forecasts(PLAYED, 1.0, 100))
