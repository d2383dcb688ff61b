"""What is on record is run again, on this machine bitwise the same; what cannot be, or is not, is said."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from handmade_sweep import fresh_store
from small_trial import ONE_SLOT, ROOT
from sweeproute import __main__, recorded, rerun_code
from sweeproute.data import load_games
from sweeproute.recorded import Recorded, RecordedIn
from sweeproute.store import connect

GAMES = {"source": "league", "first_season": 2015, "last_season": 2019}
WORDS = (
    "data=nfl",
    "data.path=games.csv",
    "validation.first_test_season=2018",
    "validation.selection_seasons=[2018,2018]",
    "validation.holdout_seasons=[2019,2019]",
)
CALIBRATED = ("calibration.methods=[none,platt]", "validation.calibration_seasons=1")
Run = Callable[..., tuple[int, str, str]]


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


class Home:
    """A folder with games, from which an app in a repository of its own was swept.

    Attributes:
        app: The app's folder: this project's tree, committed.
        uri: The store of its runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.app, self.uri = folder, folder / "app", fresh_store(folder)
        self.app.mkdir()
        for name in ("train.py", "conf", "src", "launchers", ".gitignore"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, self.app / name)
        model = self.app / "conf" / "model" / "xgboost.yaml"
        model.write_text(model.read_text().replace("n_estimators: 200", "n_estimators: 10"))
        git(self.app, "init", "--quiet")
        git(self.app, "add", "--all")
        git(self.app, "commit", "--quiet", "--message", "All")
        load_games(GAMES).drop(columns="home_win_probability").to_csv(folder / "games.csv", index=False)
        self.environment = {
            "SWEEPROUTE_STATE": str(folder / "state"),
            "MLFLOW_TRACKING_URI": self.uri,
            "PYTHONPATH": os.pathsep.join([str(self.app / "src"), str(self.app / "launchers")]),
        }

    def train(self, *words: str) -> None:
        """Run the app's script to its end."""
        command = [sys.executable, str(self.app / "train.py"), *words, "plots=false", *WORDS]
        environment = os.environ | self.environment
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def runs(self, **tags: str) -> list[Any]:
        """The runs with these tags, in the order in which they began."""
        found = connect(self.uri).search_runs(["1"], order_by=["attributes.start_time"])
        return [one for one in found if all(one.data.tags.get(f"sweeproute.{k}") == v for k, v in tags.items())]

    def trial(self, model: str) -> Any:
        """The trial of a model on the selection seasons."""
        return self.runs(kind="trial", model_type=model)[0]

    def below(self, run: Any) -> Any:
        """The run of a trial's further calibration."""
        below = self.runs(kind="calibration")
        return next(one for one in below if one.data.tags["mlflow.parentRunId"] == run.info.run_id)

    def predictions(self, run: Any) -> Path:
        """Where the store keeps what a run has predicted."""
        return Path(run.info.artifact_uri.removeprefix("file://")) / "predictions.parquet"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("reproduced"))
    words = ("model=glm,xgboost", "search_space=none", "holdout=true", "ensemble=[average]", *CALIBRATED, ONE_SLOT)
    home.train("-m", *words, "sweep.name=first", "tracking.models=none")
    return home


@pytest.fixture
def sweeproute(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process; its exit code, what it printed, what it complained of."""
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    # `command` sets this for good, as befits a process that ends with it.
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.chdir(home.folder)

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            __main__.main(words)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def restored(home: Home) -> Iterator[Path]:
    """The file of the store, which is put back at the end."""
    path = home.folder / "mlflow.db"
    with sqlite3.connect(path) as store, sqlite3.connect(":memory:") as kept:
        store.backup(kept)
        yield path
        # In place: MLflow keeps the file open.
        kept.backup(store)


@pytest.fixture
def clean_tree(home: Home) -> Iterator[Path]:
    """The app's folder, which is as it was committed at the end."""
    yield home.app
    git(home.app, "checkout", "--quiet", ".")
    git(home.app, "clean", "--quiet", "--force", "-d")


def alter(store: Path, run_id: str, metric: str, step: int, by: float) -> float:
    """Change a metric of a run behind the store's back; the value that it had."""
    where = "WHERE run_uuid = ? AND key = ? AND step = ?"
    with sqlite3.connect(store) as connection:
        (value,) = connection.execute(f"SELECT value FROM metrics {where}", (run_id, metric, step)).fetchone()
        connection.execute(f"UPDATE metrics SET value = ? {where}", (value + by, run_id, metric, step))
    return float(value)


def tag(store: Path, run_id: str, name: str, value: str) -> None:
    with sqlite3.connect(store) as connection:
        where = "WHERE run_uuid = ? AND key = ?"
        assert connection.execute(f"UPDATE tags SET value = ? {where}", (value, run_id, f"sweeproute.{name}")).rowcount


def test_a_sweep_with_its_holdout_and_its_ensembles_comes_out_bitwise_the_same(
    home: Home, sweeproute: Run, restored: Path
) -> None:
    looks = (home.folder / "state" / "holdout.jsonl").read_bytes()
    before = len(home.runs())
    code, said, complaint = sweeproute("reproduce", "last")
    (sweep,) = home.runs(kind="sweep")
    assert (code, said) == (0, f"{sweep.data.tags['sweeproute.sweep']}: of 6 runs 6 identical.\n"), complaint
    # It is no sweep of this person's, nothing that `best` could choose, and no second look at the holdout.
    assert len(home.runs()) == before
    assert len(list((home.folder / "state" / "sweeps").iterdir())) == 1
    assert (home.folder / "state" / "holdout.jsonl").read_bytes() == looks
    assert list((home.folder / "state" / "reproductions").iterdir()) == []
    for run in (one for kind in ("trial", "holdout", "ensemble") for one in home.runs(kind=kind)):
        tags = run.data.tags
        assert tags["sweeproute.reproduced"] == "identical"
        assert tags["sweeproute.reproduced_on"] == tags["sweeproute.device_class"]
        assert tags["sweeproute.reproduced_at"].endswith("+00:00")


def test_a_sweep_lists_what_is_not_the_same_and_ends_as_its_worst(
    home: Home, sweeproute: Run, restored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    glm, xgboost = home.trial("GLM"), home.trial("XGBoost")
    # As another machine would have it: the last digits, and what tells machines apart.
    alter(restored, glm.info.run_id, "auc", 2018, 1e-9)
    tag(restored, glm.info.run_id, "device_class", glm.data.tags["sweeproute.device_class"].replace("cpu", "cuda (A)"))
    path = home.predictions(home.below(xgboost))
    kept = path.read_bytes()
    table = pd.read_parquet(path)
    game, was = table.loc[5, "game_id"], float(table.loc[5, "probability"])
    table.loc[5, "probability"] = was + 1e-12
    table.to_parquet(path, index=False)
    code, said, complaint = sweeproute("reproduce", "first")
    path.write_bytes(kept)
    head, first, second, summary = said.splitlines()
    assert head.split() == ["job", "run", "model", "verdict"]
    assert first.split()[:5] == ["0", glm.info.run_id, "GLM", "within", "1e-06"]
    assert "differ by 1.0e-09 at most; another device class: cuda (A) then, cpu now" in first
    assert second.split()[:4] == ["1", xgboost.info.run_id, "XGBoost", "different"]
    assert second.endswith(
        f"under platt, game {game}, probability is {was + 1e-12!r} on record, and came out as {was!r}"
    )
    assert summary.endswith("of 6 runs 4 identical, 1 within 1e-06, 1 different.")
    assert code == 1, complaint
    assert home.trial("GLM").data.tags["sweeproute.reproduced"] == "within 1e-06"


def test_a_run_whose_metric_was_altered_is_different_and_the_metric_is_named(
    home: Home, sweeproute: Run, restored: Path
) -> None:
    run_id = home.trial("GLM").info.run_id
    was = alter(restored, run_id, "brier", 2018, 0.001)
    code, said, _ = sweeproute("reproduce", run_id[:8], "--no-record")
    sweep = home.runs(kind="sweep")[0].data.tags["sweeproute.sweep"]
    told = f"metric brier at step 2018 is {was + 0.001!r} on record, and came out as {was!r}"
    assert (code, said) == (1, f"different: run {run_id} (GLM, job 0 of {sweep}): {told}\n")
    assert "sweeproute.reproduced" not in home.trial("GLM").data.tags


def test_changed_data_is_refused_before_anything_is_trained(home: Home, sweeproute: Run, restored: Path) -> None:
    path = home.folder / "games.csv"
    kept = path.read_bytes()
    games = pd.read_csv(path)
    games.loc[3, ["home_score", "result", "total"]] += 1
    games.to_csv(path, index=False)
    was = home.trial("XGBoost").data.tags["sweeproute.data_hash"]
    try:
        code, said, complaint = sweeproute("reproduce", home.trial("XGBoost").info.run_id)
    finally:
        path.write_bytes(kept)
    assert code == 2
    assert said.startswith("cannot be reproduced: run ")
    assert f"its hash was {was[:12]}, and is " in said
    assert f"it lies in {path}." in said
    # Neither was a trial begun, nor a commit laid out.
    assert complaint == ""
    assert "sweeproute.reproduced" not in home.trial("XGBoost").data.tags


def test_changed_code_is_run_again_in_a_worktree_of_its_commit(
    home: Home, sweeproute: Run, restored: Path, clean_tree: Path
) -> None:
    # With this code everything would be lost, and with this configuration nothing that is compared would be the same.
    (clean_tree / "src" / "sweeproute" / "scores.py").write_text("raise RuntimeError\n")
    (clean_tree / "conf" / "betting" / "threshold.yaml").write_text("min_edge: 0.5\n")
    changed = git(clean_tree, "status", "--short")
    commit = git(clean_tree, "rev-parse", "HEAD").strip()
    code, said, complaint = sweeproute("reproduce", home.trial("XGBoost").info.run_id)
    assert said.startswith("identical: run ")
    assert code == 0
    assert f"run again in a worktree of its commit {commit[:12]}." in complaint
    # The person's tree is as it was.
    assert git(clean_tree, "status", "--short") == changed
    assert len(git(clean_tree, "worktree", "list").splitlines()) == 1


def test_a_run_of_a_dirty_tree_is_run_again_with_its_snapshot(
    home: Home, sweeproute: Run, restored: Path, clean_tree: Path
) -> None:
    with (clean_tree / "src" / "sweeproute" / "scores.py").open("a") as stream:
        stream.write("\n# not committed\n")
    glm = (clean_tree / "conf" / "model" / "glm.yaml").read_text()
    (clean_tree / "conf" / "model" / "mine.yaml").write_text(glm.replace("type: GLM", "type: Mine"))
    (clean_tree / "notes.txt").write_text("not for others\n")
    home.train("model=mine")
    git(clean_tree, "checkout", "--quiet", ".")
    git(clean_tree, "clean", "--quiet", "--force", "-d")
    run = home.trial("Mine")
    patch = Path(run.info.artifact_uri.removeprefix("file://")) / "code.patch"
    assert "not for others" not in patch.read_text()
    words = ("reproduce", run.info.run_id, "--app", str(clean_tree / "train.py"))
    code, said, complaint = sweeproute(*words)
    assert said.startswith(f"identical: run {run.info.run_id} (Mine): ")
    assert code == 0
    assert "the snapshot of it is what is used" in complaint
    patch.unlink()
    code, said, _ = sweeproute(*words)
    assert code == 2
    assert said.startswith(f"cannot be reproduced: run {run.info.run_id} (Mine): Since then ")
    assert "no snapshot of it was kept" in said


def test_a_verdict_that_the_store_does_not_take_is_said_all_the_same(
    home: Home, sweeproute: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MlflowException("read-only")

    monkeypatch.setattr(RecordedIn, "note", refuse)
    code, said, complaint = sweeproute("reproduce", home.trial("GLM").info.run_id)
    assert code == 0
    assert said.startswith("identical: run ")
    assert "not in the tags of the runs: the tracking store does not take them (read-only)." in complaint


def test_each_option_that_was_chosen_is_looked_at() -> None:
    words = ("model=glm", "betting=threshold", "seed=1", "model.params.C=1")
    told = [words, ("model=glm", "betting=threshold", "seed=2", "model.params.C=2"), (words[0], "betting=bold")]
    runs = [Recorded(str(n), {"model_type": "GLM", "overrides": json.dumps(one)}, {}) for n, one in enumerate(told)]
    assert [run.run_id for run in rerun_code._few(runs)] == ["0", "2"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("first", "seed=3"), "seed=3 would make another trial. A reproduction takes what says where it runs"),
        (("0123456789",), "There is no run whose id begins with 0123456789 in "),
        (("frist",), "There is no sweep 'frist'; the nearest are first"),
        (("last", "--uri", "sqlite:///nowhere.db"), "There is no tracking store "),
    ],
)
def test_what_cannot_be_asked_for_is_no_difference(sweeproute: Run, words: tuple[str, ...], sentence: str) -> None:
    code, said, complaint = sweeproute("reproduce", *words)
    assert (code, complaint) == (2, "")
    assert said.startswith(f"cannot be reproduced: {sentence}")


def test_the_run_of_a_calibration_or_of_a_sweep_leads_to_what_was_run(
    home: Home, sweeproute: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    glm, (sweep,) = home.trial("GLM"), home.runs(kind="sweep")
    assert [one.run_id for one in recorded.find(home.below(glm).info.run_id).runs] == [glm.info.run_id]
    asked = recorded.find(sweep.info.run_id)
    assert asked.sweep == sweep.data.tags["sweeproute.sweep"]
    assert [json.loads(one.tags["trial"]) for one in asked.runs] == [0, 1, 4, 2, 3, 5]


def test_what_has_no_result_is_counted(home: Home, sweeproute: Run, restored: Path) -> None:
    run_id = home.trial("GLM").info.run_id
    for name, value in {"state": "PRUNED", "current": "false"}.items():
        tag(restored, run_id, name, value)
    with sqlite3.connect(restored) as connection:
        connection.execute("UPDATE runs SET status = 'KILLED' WHERE run_uuid = ?", (run_id,))
    asked = recorded.find("first")
    assert dict(asked.left) == {"pruned": 1}
    assert len(asked.runs) == 5
    with pytest.raises(recorded.NotRecordedError, match=r"has not finished \(pruned\)"):
        recorded.find(run_id[:6])


def test_numbers_of_the_store_are_those_of_the_trials(home: Home, sweeproute: Run, tmp_path: Path) -> None:
    asked = recorded.find("first")
    results = asked.store.results(asked.runs[0].run_id, tmp_path)
    assert results.metrics["auc"].keys() == {2018, 2019}
    assert results.predictions is not None
    assert np.isfinite(results.predictions["probability"]).all()
    assert not {"fit_s", "predict_s"} & {name for _, name in results.compared}
