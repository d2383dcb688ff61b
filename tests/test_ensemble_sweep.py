"""A sweep of two models ends with their ensembles, also where it was killed before the last of them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from far_app import wait_until
from handmade_sweep import fresh_store
from small_trial import ONE_SLOT, ROOT, SMALL, composed, end, start
from sweeproute import comparison, registry, sweep_runs
from sweeproute.ensemble import EnsembleError
from sweeproute.ensemble_methods import combine
from sweeproute.experiment import identity, run_trial
from sweeproute.holdout import FILE, HoldoutError
from sweeproute.journal import FILE as JOURNAL
from sweeproute.sweep_folder import own
from sweeproute.trial_checks import admit, validate

# Three tested seasons, and two behind them.
SEASONS = (
    "data.first_season=2013",
    "data.last_season=2020",
    "validation.first_test_season=2016",
    "validation.selection_seasons=[2016,2018]",
    "validation.holdout_seasons=[2019,2020]",
    "calibration.methods=[none,platt]",
    "validation.calibration_seasons=1",
)
WORDS = (
    "-m",
    "model=glm,xgboost",
    "search_space=none",
    "seed=1,2",
    *SEASONS,
    "holdout=true",
    "ensemble=[average,stacking,best_of]",
    "hydra.sweeper.metric=brier",
    "hydra.sweep.dir=out",
    "sweep.id=pair",
    "tracking.models=none",
    ONE_SLOT,
)
METHODS = ("average", "stacking", "best_of")


class Made:
    """The sweep when it has ended."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state, self.uri = folder, folder / "state", fresh_store(folder)
        environment = {"SWEEPROUTE_STATE": str(self.state), "SWEEPROUTE_CACHE": str(folder / "cache")}
        process = start(folder, *WORDS, **environment)  # tracked by the second, which finds all that there is
        note = self.state / FILE
        wait_until(lambda: note.exists() and "Ensemble_best_of" in note.read_text(), "the last jobs to be named", 240)
        process.kill()
        process.communicate()
        self.before = self.launches()
        self.said = end(start(folder, *WORDS, "resume=keep", uri=self.uri, **environment))

    def launches(self) -> dict[int, dict]:
        """The launch record of each job, with its folder."""
        paths = sorted((self.folder / "out").glob("*/launch.json"))
        found = [json.loads(path.read_text()) | {"folder": path.parent} for path in paths]
        return {one["job"]: one for one in found if one["current"]}

    def job(self, *words: str, scored: bool = False) -> dict:
        """The one job that was told all of this."""
        found = [
            one
            for one in self.launches().values()
            if set(words) <= set(one["overrides"])
            and any(word.startswith("validation.scoring=") for word in one["overrides"]) == scored
        ]
        assert len(found) == 1, (words, found)
        return found[0]


def said(job: dict, method: str = "none") -> pd.DataFrame:
    """What a job has predicted under a calibration."""
    below = job["folder"] / "calibrated" / method / "predictions.parquet"
    return pd.read_parquet(below if below.exists() else job["folder"] / "predictions.parquet")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return Made(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def state(made: Made, monkeypatch) -> Made:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(made.state))
    return made


def members(made: Made, method: str, *, scored: bool = False) -> np.ndarray:
    """What each member says of each game: the mean over its two seeds, (2, n_games)."""
    return np.array(
        [
            np.mean(
                [said(made.job(f"model={one}", f"seed={seed}", scored=scored), method).probability for seed in (1, 2)],
                axis=0,
            )
            for one in ("glm", "xgboost")
        ]
    )


def test_it_went_on_after_the_kill_and_ran_nothing_twice(made: Made):
    launches = made.launches()
    kinds = [bool(one.get("follow_up")) for _, one in sorted(launches.items())]
    assert kinds == [False] * 4 + [True] * (len(launches) - 4)
    ended = {number for number, one in made.before.items() if one["state"] == "FINISHED"}
    assert {number: one["ended_at"] for number, one in launches.items() if number in ended} == {
        number: made.before[number]["ended_at"] for number in ended
    }
    assert sum("model=ensemble" in one["overrides"] for one in launches.values()) == 6
    assert all(one["state"] == "FINISHED" for one in launches.values())
    assert made.said.count("ensemble average: ") == 2
    assert "Of the models together, by which nothing was chosen:" in made.said


def test_it_ran_on_this_machine_since_the_folder_lies_here(made: Made):
    job = made.job("model=ensemble", "model.params.method=average")
    assert (job["platform"], job["reason"]) == ("local_m4", "no rule matches, and it has sweep_folders")


@pytest.mark.parametrize("calibration", ["none", "platt"])
def test_the_average_is_that_of_its_members_over_their_seeds(made: Made, calibration: str):
    table = said(made.job("model=ensemble", "model.params.method=average"), calibration)
    assert (table["probability"].to_numpy() == members(made, calibration).mean(axis=0)).all()
    other = said(made.job("model=glm", "seed=1"), calibration)
    assert list(table.columns) == list(other.columns)
    assert (table.dtypes == other.dtypes).all()
    assert table["game_id"].equals(other["game_id"])


@pytest.mark.parametrize("calibration", ["none", "platt"])
@pytest.mark.parametrize("method", ["stacking", "best_of"])
def test_on_the_holdout_it_learns_from_the_selection_seasons_and_those_of_the_holdout_before(
    made: Made, method: str, calibration: str
):
    job = made.job("model=ensemble", f"model.params.method={method}", scored=True)
    table = said(job, calibration)
    before = said(made.job("model=glm", "seed=1"), calibration)
    says = np.hstack([members(made, calibration), members(made, calibration, scored=True)])
    games = pd.concat([before, table])
    outcome, season = games["outcome"].to_numpy(), games["season"].to_numpy()

    def brier(member: int, rows: np.ndarray) -> float:
        return float(np.mean((says[member, rows] - outcome[rows]) ** 2))

    combined, weights = combine(method, says, outcome, season, brier)
    assert sorted(set(table["season"])) == [2019, 2020]
    assert table["probability"].to_numpy() == pytest.approx(combined[season >= 2019], abs=1e-12)
    told = pd.read_csv(job["folder"] / "weights.csv")
    mine = told[told["calibration"] == calibration]
    assert mine["weight"].to_numpy() == pytest.approx(np.concatenate([one.members for one in weights[-2:]]), abs=1e-9)
    assert set(mine["method"]) == {method}


def test_the_tracking_store_has_them_as_runs_of_their_own_by_which_nothing_is_chosen(made: Made):
    client = MlflowClient(made.uri)
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    mine = [run for run in runs if run.data.tags.get("sweeproute.ensemble")]
    assert len(mine) == 12  # three methods, two calibrations, two sets of seasons
    apart = [run for run in mine if run.data.tags["sweeproute.kind"] != "calibration"]
    assert sorted(run.data.tags["sweeproute.kind"] for run in apart) == ["ensemble"] * 3 + ["holdout"] * 3
    for run in apart:
        told = json.loads(run.data.tags["sweeproute.members"])
        assert [(one["model"], len(one["jobs"])) for one in told["platt"]] == [("GLM", 2), ("XGBoost", 2)]
        assert run.data.tags["sweeproute.members_of"] == "pair"
        assert run.info.run_name.startswith("Ensemble_")
    assert client.get_run(registry.best("pair", "brier", uri=made.uri).run_id).data.tags["sweeproute.kind"] == "trial"


def test_the_report_has_a_row_for_each_beside_the_models(made: Made):
    compared = comparison.compare(sweep_runs.read("pair", uri=made.uri))
    for found in compared.sets:
        assert [(row.model, row.calibration) for row in found.rows if row.model.startswith("Ensemble")] == [
            (f"Ensemble_{method}", calibration) for method in METHODS for calibration in ("none", "platt")
        ]
        assert len(found.rows) == 10


def test_the_same_of_the_finished_sweep_is_bitwise_the_same_under_the_same_fingerprint(state: Made, tmp_path: Path):
    for method in METHODS:
        folder = tmp_path / method
        folder.mkdir()
        words = ["model=ensemble", f"model.params.method={method}", "model.params.sweep=pair", "seed=1", *SEASONS]
        with composed(folder, *words) as cfg:
            validate(cfg)
            metrics = run_trial(cfg)
            mine = identity(cfg)
        follower = state.job("model=ensemble", f"model.params.method={method}")
        assert mine == follower["identity"]
        assert pd.read_parquet(folder / "predictions.parquet").equals(said(follower))
        assert metrics["platt/brier"] == follower["value"]["platt/brier"]
        kinds = [json.loads(line).get("tags", {}).get("sweeproute.kind") for line in (folder / JOURNAL).open()]
        assert "trial" in kinds


def test_other_members_make_another_fingerprint(state: Made, tmp_path: Path):
    words = ["model=ensemble", "model.params.sweep=pair", "seed=1", *SEASONS]
    prints = set()
    for pinned in ("null", "{none:[[0,1],[2,3]],platt:[[0,1],[2,3]]}", "{none:[[0],[2]],platt:[[0],[2]]}"):
        with composed(tmp_path, *words, f"model.params.members={pinned}") as cfg:
            prints.add(identity(cfg)["fingerprint"])
    assert len(prints) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model.params.sweep=piar", *SEASONS], "There is no sweep 'piar'; the nearest are pair"),
        (
            [*SMALL[:-1], "validation.holdout_seasons=null"],
            "GLM, job 0 of sweep pair, has validation.first_test_season=2016, and this ensemble 2018, so that they "
            "are not judged alike; give the words of that sweep again: data.first_season=2013",
        ),
        ([*SEASONS, "betting.stake=0.05"], "has betting.stake=0.01, and this ensemble 0.05"),
        ([*SEASONS, "calibration.methods=[isotonic]"], "has isotonic, and sweep pair has none, platt alone"),
        ([*SEASONS, "model.params.members={none:[[0]],platt:[[0]]}"], "takes two models or more .* has GLM alone"),
        ([*SEASONS, "model.params.members={none:[[0],[77]]}"], "has job 77, which sweep pair does not have"),
        ([*SEASONS, "model.params.clip=0.5"], "use more than 0 and less than 0.5"),
        ([*SEASONS, "model.params.C=0"], "use more than 0"),
        ([*SEASONS, "ensemble=[mean]"], r"ensemble=\[mean\] has 'mean', which is not known; use average, stacking"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_before_it_runs(state: Made, tmp_path: Path, words, sentence):
    with (
        composed(tmp_path, "model=ensemble", *words) as cfg,
        pytest.raises((EnsembleError, LookupError), match=sentence),
    ):
        validate(cfg)


def test_members_of_other_data_are_refused(state: Made, tmp_path: Path):
    with (
        composed(tmp_path, "model=ensemble", *SEASONS, "data.seed=8") as cfg,
        pytest.raises(EnsembleError, match="GLM, job 0 of sweep pair, was made from other data"),
    ):
        run_trial(cfg)


def test_a_sweep_that_has_not_ended_or_whose_folder_or_predictions_are_gone_is_said(
    made: Made, tmp_path: Path, monkeypatch
):
    moved, state = tmp_path / "moved", tmp_path / "state"
    shutil.copytree(made.folder / "out", moved)
    shutil.copytree(made.state, state)
    monkeypatch.setenv("SWEEPROUTE_STATE", str(state))
    pointer = state / "sweeps" / "pair.json"
    pointer.write_text(json.dumps(json.loads(pointer.read_text()) | {"folder": str(moved)}))
    next(moved.glob("0/predictions.parquet")).unlink()
    (tmp_path / "run").mkdir()
    record = own(moved, "sweep.json")
    ended = record.read_text()
    with composed(tmp_path / "run", "model=ensemble", *SEASONS) as cfg:
        record.write_text(json.dumps(json.loads(ended) | {"state": "RUNNING"}))
        with pytest.raises(EnsembleError, match="Sweep pair has not ended"):
            validate(cfg)
        record.write_text(ended)
        with pytest.raises(EnsembleError, match="Job 0 of sweep pair has left no predictions"):
            run_trial(cfg)
        shutil.rmtree(moved)
        with pytest.raises(EnsembleError, match=r"The folder of sweep pair, .*, is not there any more"):
            validate(cfg)


def test_a_sweep_of_ensembles_may_begin_where_their_members_were_scored_as_it_is_to_be(state: Made, tmp_path: Path):
    words = ["model=ensemble", "model.params.sweep=pair", *SEASONS]
    with composed(tmp_path, *words, "holdout=again") as cfg:
        admit(cfg, {"metric": "auc"})
    with (
        composed(tmp_path, *words, "holdout=true") as cfg,
        pytest.raises(HoldoutError, match="Ensemble_average before"),
    ):
        admit(cfg, {"metric": "auc"})
    with composed(tmp_path, *words, "data.seed=8") as cfg, pytest.raises(EnsembleError, match="made from other data"):
        admit(cfg, {"metric": "auc"})
    later = "validation.holdout_seasons=[2020,2020]"
    with composed(tmp_path, *words, "holdout=again", later) as cfg:
        cfg.validation.scoring = 1
        with pytest.raises(EnsembleError, match=r"has validation.holdout_seasons=\[2019,2020\], and this ensemble"):
            validate(cfg)


# What each search of the README's table finds, told by the tags, the status and the metrics of a run.
FOUND_BY = {
    "sweeps, a line each": lambda tags, run: tags["kind"] == "sweep",
    "the trials of a sweep that count": lambda tags, run: (tags["kind"], tags.get("current")) == ("trial", "true"),
    "scores on the holdout": lambda tags, run: tags.get("set") == "holdout",
    "ensembles on the seasons that chose": lambda tags, run: "ensemble" in tags and tags["set"] == "selection",
    "good trials of one model": lambda tags, run: (
        (tags["kind"], tags.get("model_type")) == ("trial", "XGBoost") and run.data.metrics["brier"] < 0.23
    ),
    "what went elsewhere than the rules say": lambda tags, run: (
        tags["kind"] == "trial" and tags["decision"] == "scheduled_fallback"
    ),
    "what ran on a machine": lambda tags, run: tags["kind"] == "trial" and tags["platform"] == "local_m4",
    "what failed": lambda tags, run: run.info.status == "FAILED",
    "what was pruned": lambda tags, run: tags.get("state") == "PRUNED",
    "what was begun with changes that no commit has": lambda tags, run: tags.get("git_dirty") == "true",
    "the same games, whatever the features": lambda tags, run: tags["kind"] != "sweep",
    "what came out differently when it was run again": lambda tags, run: tags.get("reproduced") == "different",
}
# Of this sweep nothing is left for these to find.
NONE_HERE = {"what failed", "what was pruned", "what came out differently when it was run again"}


def test_the_searches_of_the_readme_find_what_they_say(made: Made):
    client = MlflowClient(made.uri)
    everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(everywhere)
    tags = {
        run.info.run_id: {name.removeprefix("sweeproute."): value for name, value in run.data.tags.items()}
        for run in runs
    }
    games = next(own["games_hash"] for own in tags.values() if "games_hash" in own)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|`]+) \| ``([^|]+?)`` \|$", readme, re.MULTILINE))
    assert rows.keys() == FOUND_BY.keys()
    for which, search in rows.items():
        asked = search.replace("'SWEEP'", "'pair'").replace("BEGINNING", games[:8])
        found = {run.info.run_id for run in client.search_runs(everywhere, asked)}
        wanted = {run.info.run_id for run in runs if FOUND_BY[which](tags[run.info.run_id], run)}
        assert found == wanted, which
        nothing = which in NONE_HERE or (which.startswith("what was begun") and not wanted)
        assert bool(found) != nothing, which
