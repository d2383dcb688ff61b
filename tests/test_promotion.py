"""Tests of versions of registered models that are made of runs: what they hold and say, and in what environment."""

import ast
import json
import re
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from promoted_runs import METHODS, MODELS, TYPES, Zoo, copied, games_of, make_zoo, table_of, told_file
from sweeproute import estimators
from sweeproute.estimators.files import TRUSTED
from sweeproute.models.r_glm import RGlm
from sweeproute.prediction import predict_upcoming
from sweeproute.promotion import Promotion, PromotionError, loader, promote
from sweeproute.trial_journal import EXAMPLE, saved_calibration

BARE = Path(__file__).with_name("bare_environment.py")
NEEDS = {
    "GLM": {"scikit-learn", "skops"},
    "XGBoost": {"xgboost"},
    "LightGBM": {"lightgbm"},
    "RandomForest": {"scikit-learn", "skops"},
    "NeuralNetwork": {"safetensors", "torch"},
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return make_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(autouse=True)
def here(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(zoo.folder / "state"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", zoo.uri)
    monkeypatch.chdir(zoo.folder)


@pytest.fixture(scope="module")
def promoted(zoo: Zoo) -> dict[tuple[str, str], Promotion]:
    """A version of every model under every calibration, each of a registered model of its own."""
    found = {}
    for kind in TYPES:
        for method in METHODS:
            run = zoo.run(kind, method)
            found[kind, method] = promote(run.info.run_id, f"{kind}-{method}".lower(), uri=zoo.uri)
    return found


@pytest.fixture(scope="module")
def by_r(zoo: Zoo) -> tuple[Promotion, np.ndarray]:
    """A version of what R's glm learns, and what it says of the last season; R itself is not needed for that."""
    dataset = zoo.dataset()
    rows = np.flatnonzero(dataset.season == 2019)
    glm = RGlm()
    draw = np.random.default_rng(3)
    glm.classes_ = np.array([0, 1], dtype=np.int8)
    glm.intercept_, glm.coef_ = draw.normal(size=1), draw.normal(size=(1, dataset.features.shape[1]))
    glm.n_features_in_ = dataset.features.shape[1]
    pipeline = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), glm)
    pipeline[:-1].fit(dataset.features.to_numpy())
    said = estimators.predict(pipeline, games_of(dataset, rows))[:, 1]
    run = copied(
        zoo,
        zoo.run("GLM"),
        model=lambda folder: estimators.save(pipeline, folder),
        says=lambda games: games["probability"].mask(games["season"] == 2019, 0.5),
        tags={"sweeproute.model_type": "GLM_R"},
    )
    return promote(run.info.run_id, "by-r", uri=zoo.uri), said


@pytest.fixture(scope="module")
def bare(
    zoo: Zoo, promoted: dict[tuple[str, str], Promotion], by_r: tuple[Promotion, np.ndarray]
) -> tuple[dict[str, list[str]], dict[str, pd.DataFrame]]:
    """What all of them say in one process without sweeproute of the last season, in which columns stand otherwise."""
    games = zoo.played(2019)
    games[games.columns[::-1]].assign(unasked="x").to_parquet(zoo.folder / "asked.parquet")
    names = [one.name for one in (*promoted.values(), by_r[0])]
    models = [
        {"model": f"models:/{name}@champion", "games": "asked.parquet", "says": f"{name}.parquet"} for name in names
    ]
    (zoo.folder / "asked.json").write_text(json.dumps({"uri": zoo.uri, "models": models}))
    command = [sys.executable, "-I", str(BARE), "asked.json"]
    done = subprocess.run(command, cwd=zoo.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout.splitlines()[-1])
    return heard, {name: pd.read_parquet(zoo.folder / f"{name}.parquet") for name in names}


def files_of(zoo: Zoo, name: str) -> Path:
    """The files of a registered model's champion."""
    version = zoo.client.get_model_version_by_alias(name, "champion")
    return Path(version.source.removeprefix("file://"))


def test_the_models_are_all_that_say_probabilities_of_themselves(zoo: Zoo) -> None:
    assert len(MODELS) == len(TYPES) == len(NEEDS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", TYPES)
def test_a_version_says_bitwise_what_its_trial_says_where_sweeproute_is_not(zoo: Zoo, bare, kind, method) -> None:
    heard, says = bare
    said = says[f"{kind}-{method}".lower()]["probability"].to_numpy()
    run = zoo.run(kind, method)
    games = pd.read_parquet(zoo.client.download_artifacts(run.info.run_id, "predictions.parquet"))
    assert said.tobytes() == games["probability"][games["season"] == 2019].to_numpy().tobytes()

    trial = zoo.run(kind)
    files = Path(zoo.client.download_artifacts(trial.info.run_id, "model"))
    dataset = zoo.dataset()
    asked = games_of(dataset, np.flatnonzero(dataset.season == 2019))
    answer = estimators.predict(estimators.load(files), asked)[:, 1].astype(np.float64)
    assert said.tobytes() == saved_calibration(files, f"{method}/brier")(answer).tobytes()
    if method == "none":
        assert said.tobytes() == answer.tobytes()
    else:
        assert not np.array_equal(said, answer)
    assert heard == {"imported": [], "unpickled": []}


def test_what_rs_glm_has_learned_is_read_without_its_class(bare, by_r: tuple[Promotion, np.ndarray]) -> None:
    assert bare[1]["by-r"]["probability"].to_numpy().tobytes() == by_r[1].tobytes()


@pytest.mark.parametrize("kind", TYPES)
def test_the_files_of_a_version_are_data_and_code_that_can_be_read(zoo: Zoo, promoted, kind) -> None:
    folder = files_of(zoo, f"{kind}-platt".lower())
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    (code,) = (name for name in found if name.startswith("code/"))
    assert re.fullmatch(r"code/sweeproute_model_[0-9a-f]{12}\.py", code)
    assert (folder / code).read_bytes() == Path(loader.__file__).read_bytes()
    suffixes = {Path(name).suffix for name in found} - {".py", ".json", ".yaml", ".txt", ".md", ""}
    assert suffixes <= {".ubj", ".skops", ".safetensors"}
    flavors = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]
    assert flavors.keys() == {"python_function"}
    assert flavors["python_function"]["loader_module"] == Path(code).stem
    for path in folder.rglob("*.skops"):
        with zipfile.ZipFile(path) as archive:
            assert all(name == "schema.json" or name.endswith(".npy") for name in archive.namelist())
    kept = json.loads((folder / "data" / "model" / "calibration.json").read_text())
    assert [one["method"] for one in kept] == ["platt"]


@pytest.mark.parametrize("kind", TYPES)
def test_a_version_asks_for_what_its_model_needs_and_no_more(zoo: Zoo, promoted, kind) -> None:
    pins = dict(line.split("==") for line in (files_of(zoo, f"{kind}-none".lower()) / "requirements.txt").open())
    assert pins.keys() == {"mlflow", "numpy", "pandas"} | NEEDS[kind]
    assert all(pin.strip() == version(name).partition("+")[0] for name, pin in pins.items())
    with_curve = (files_of(zoo, f"{kind}-platt".lower()) / "requirements.txt").read_text()
    assert f"scipy=={version('scipy')}" in with_curve
    listed = mlflow.pyfunc.get_model_dependencies(f"models:/{kind}-none@champion".lower())
    assert Path(listed).read_text().split() == [f"{name}=={pin.strip()}" for name, pin in pins.items()]


@pytest.mark.parametrize("kind", TYPES)
def test_a_version_says_what_it_takes_and_shows_games_that_were_played(zoo: Zoo, promoted, kind) -> None:
    info = mlflow.models.get_model_info(f"models:/{kind}-none@champion".lower())
    dataset = zoo.dataset()
    names = list(dataset.features.columns)
    teams = ["home_team", "away_team"] if kind == "NeuralNetwork" else []
    assert info.signature.inputs.input_names() == names + teams
    assert info.signature.inputs.required_input_names() == names
    assert info.signature.outputs.input_names() == ["probability"]
    example = mlflow.pyfunc.load_model(f"models:/{kind}-none@champion".lower()).input_example
    expected = table_of(dataset, np.flatnonzero(dataset.season == 2019)[:5])[names + teams]
    assert list(example.columns) == names + teams
    assert example[names].to_numpy().tobytes() == expected[names].to_numpy().tobytes()
    assert example[teams].to_numpy().tolist() == expected[teams].to_numpy().tolist()


def test_a_column_that_is_missing_is_named(zoo: Zoo, promoted) -> None:
    model = mlflow.pyfunc.load_model("models:/glm-none@champion")
    with pytest.raises(mlflow.MlflowException, match="elo_fast"):
        model.predict(zoo.played(2019).drop(columns="elo_fast"))


def test_a_network_that_is_told_no_teams_says_what_it_says_of_strangers(zoo: Zoo, promoted) -> None:
    model = mlflow.pyfunc.load_model("models:/neuralnetwork-none@champion")
    games = zoo.played(2019)
    strangers = model.predict(games.assign(home_team="who", away_team="whoever"))["probability"]
    without = model.predict(games.drop(columns=["home_team", "away_team"]))["probability"]
    assert without.equals(strangers)
    assert (without != model.predict(games)["probability"]).mean() > 0.9


@pytest.mark.parametrize(("kind", "method"), [("XGBoost", "none"), ("NeuralNetwork", "platt"), ("GLM", "isotonic")])
def test_predict_takes_a_promoted_model_with_its_own_calibration(zoo: Zoo, promoted, kind, method) -> None:
    name = f"{kind}-{method}".lower()
    table, how = predict_upcoming("zoo", None, [], f"{name}@champion")
    assert f"{name} version 1 ({kind} of run" in how
    dataset = zoo.dataset()
    assert dataset.unplayed is not None
    sides = np.asarray(dataset.team_names, dtype=object)[dataset.unplayed.teams]
    asked = dataset.unplayed.features.assign(home_team=sides[:, 0], away_team=sides[:, 1])
    says = mlflow.pyfunc.load_model(f"models:/{name}@champion").predict(asked)["probability"]
    np.testing.assert_allclose(table["probability"], says, rtol=1e-12)


def test_the_card_says_where_a_model_comes_from_and_how_good_it_is(zoo: Zoo, promoted) -> None:
    run, trial = zoo.run("XGBoost", "platt"), zoo.run("XGBoost")
    made = zoo.client.get_model_version_by_alias("xgboost-platt", "champion")
    text = (files_of(zoo, "xgboost-platt") / "model_card.md").read_text()
    assert made.description == text
    tags, metrics = run.data.tags, run.data.metrics
    for tag in ("data_hash", "code_hash", "fingerprint", "device_class", "platform", "git_commit"):
        assert tags[f"sweeproute.{tag}"] in text
    for told in (
        "xgboost-platt: XGBoost, calibrated by platt",
        "- seed: 42",
        "games of 2018–2019",
        "- window: expanding",
    ):
        assert told in text
    assert f"sweeproute reproduce {trial.info.run_id}" in text
    found = re.search(r"\| Brier score \| ([\d.]+) \| ([\d.]+) to ([\d.]+) \|", text)
    assert found
    value, low, high = map(float, found.groups())
    assert value == pytest.approx(metrics["brier"], abs=1e-4)
    assert low < value < high
    assert made.tags == {
        "sweeproute.run": run.info.run_id,
        "sweeproute.set": "selection",
        **{
            f"sweeproute.{tag}": tags[f"sweeproute.{tag}"]
            for tag in ("fingerprint", "data_hash", "code_hash", "calibration", "model_type", "features_hash")
        },
    }
    (logged,) = zoo.client.get_run(run.info.run_id).outputs.model_outputs
    assert zoo.client.get_logged_model(logged.model_id).artifact_location == made.source


def test_a_run_of_older_code_shows_games_that_are_looked_up_in_its_data(zoo: Zoo) -> None:
    old = copied(zoo, zoo.run("NeuralNetwork"), model=lambda folder: (folder / EXAMPLE).unlink())
    assert promote(old.info.run_id, "old").said == ()
    with_it = mlflow.models.get_model_info("models:/neuralnetwork-none@champion")
    kept = mlflow.pyfunc.load_model("models:/neuralnetwork-none@champion").input_example
    assert with_it.signature == mlflow.models.get_model_info("models:/old@champion").signature
    pd.testing.assert_frame_equal(mlflow.pyfunc.load_model("models:/old@champion").input_example, kept)


def test_a_run_whose_data_is_gone_is_promoted_without_an_example_which_is_said(zoo: Zoo) -> None:
    gone = copied(
        zoo,
        zoo.run("GLM"),
        model=lambda folder: (folder / EXAMPLE).unlink(),
        tags={"sweeproute.data_hash": "5" * 64},
    )
    (said,) = promote(gone.info.run_id, "gone").said
    assert "It has no input example" in said
    assert "changed since" in said
    assert said in zoo.client.get_model_version_by_alias("gone", "champion").description
    model = mlflow.pyfunc.load_model("models:/gone@champion")
    assert model.input_example is None
    assert len(model.predict(zoo.played(2019))) > 200


def test_what_cannot_be_promoted_is_refused_with_what_can(zoo: Zoo) -> None:
    glm = zoo.run("GLM")
    bare = copied(zoo, glm, without="model")
    for word in ("tracking.models=all", "model=glm"):
        with pytest.raises(PromotionError, match=re.escape(word)):
            promote(bare.info.run_id, "refused")
    agent = copied(zoo, glm, model=lambda folder: told_file(folder, "bettor.safetensors"))
    with pytest.raises(PromotionError, match=r"gives stakes at odds.*model that gives probabilities"):
        promote(agent.info.run_id, "refused")
    ensemble = copied(
        zoo, glm, tags={"sweeproute.ensemble": "stacking", "sweeproute.members_of": "sweep_first"}, without="model"
    )
    with pytest.raises(PromotionError, match=r"is an ensemble.*sweeproute promote sweep_first"):
        promote(ensemble.info.run_id, "refused")
    failed = copied(zoo, glm, status="FAILED")
    with pytest.raises(PromotionError, match="is FAILED, not FINISHED"):
        promote(failed.info.run_id, "refused")
    whole = zoo.client.search_runs(zoo.experiments(), "tags.`sweeproute.kind` = 'sweep'")[0]
    with pytest.raises(PromotionError, match=rf"sweeproute promote {whole.data.tags['sweeproute.sweep']}"):
        promote(whole.info.run_id, "refused")
    other = copied(zoo, glm, tags={"sweeproute.kind": ""})
    with pytest.raises(PromotionError, match=r"is not of a trial.*mlflow\.register_model"):
        promote(other.info.run_id, "refused")

    def foreign(folder: Path) -> None:
        with zipfile.ZipFile(folder / "model.skops", "w") as archive:
            archive.writestr("schema.json", json.dumps({"content": [{"__module__": "my_models", "__class__": "Mine"}]}))

    own = copied(zoo, glm, model=foreign)
    with pytest.raises(PromotionError, match=r"holds a class of my_models.*scikit-learn"):
        promote(own.info.run_id, "refused")
    assert "refused" not in {one.name for one in zoo.client.search_registered_models()}
    assert not zoo.client.search_logged_models(zoo.experiments(), "name = 'refused'")


def test_the_code_that_travels_stands_alone_and_trusts_what_is_written() -> None:
    tree = ast.parse(Path(loader.__file__).read_text())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name for name in named if name.partition(".")[0] == "sweeproute"}
    assert {*loader.TRUSTED, f"{loader.STANDS_FOR}.RGlm"} == set(TRUSTED)
    with pytest.raises(KeyError):
        loader._READERS["model.pkl"]
