"""Tests of what makes two trials the same."""

import copy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from small_trial import ROOT, compose
from sweeproute import fingerprint

DATA = "d" * 64


@pytest.fixture(scope="module")
def xgboost() -> DictConfig:
    return compose("model=xgboost")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Code and repositories change between these tests, as they never do within a process that runs trials."""
    fingerprint.code_hash.cache_clear()
    fingerprint.git_state.cache_clear()
    yield
    fingerprint.code_hash.cache_clear()
    fingerprint.git_state.cache_clear()


def changed(config: DictConfig, **values: Any) -> DictConfig:
    """A copy with other values, by dotted key written with two underscores for a dot."""
    other = copy.deepcopy(config)
    for key, value in values.items():
        OmegaConf.update(other, key.replace("__", "."), value, force_add=True)
    return other


def of(config: DictConfig, data_hash: str = DATA) -> str:
    return fingerprint.hashes(config, data_hash)["fingerprint"]


def test_equal_trials_have_equal_hashes_of_64_digits(xgboost: DictConfig) -> None:
    first, second = fingerprint.hashes(xgboost, DATA), fingerprint.hashes(copy.deepcopy(xgboost), DATA)
    assert first == second
    assert {len(first[name]) for name in ("fingerprint", "data_hash", "code_hash")} == {64}
    assert first["data_hash"] == DATA


@pytest.mark.parametrize(
    "values",
    [
        {"seed": 43},
        {"model__params__max_depth": 7},
        {"model__params__max_leaves": 7},
        {"model__type": "LightGBM"},
        {"data__last_season": 2020},
        {"data__market_features": True},
        {"validation__gap_seasons": 1},
        {"validation__selection_seasons": [2012, 2021]},
        {"betting__min_edge": 0.05},
    ],
    ids=lambda values: next(iter(values)),
)
def test_it_changes_with_all_that_a_trial_is(xgboost: DictConfig, values: dict[str, Any]) -> None:
    assert of(changed(xgboost, **values)) != of(xgboost)


def test_it_changes_with_the_data_and_with_the_code(xgboost: DictConfig, tmp_path: Path, monkeypatch) -> None:
    assert of(xgboost, "e" * 64) != of(xgboost)
    monkeypatch.chdir(tmp_path)
    code = tmp_path / "mine.py"
    code.write_text("x = 1\n")
    config = changed(xgboost, code=["mine.py"])
    before = fingerprint.hashes(config, DATA)
    code.write_text("x = 2\n")
    fingerprint.code_hash.cache_clear()
    after = fingerprint.hashes(config, DATA)
    assert before["fingerprint"] != after["fingerprint"]
    assert before["code_hash"] != after["code_hash"]


@pytest.mark.parametrize(
    "values",
    [
        {"device": "cuda"},
        {"threads": 7},
        {"platform__name": "remote_4090"},
        {"registry__platforms__remote_4090__host": "me@box"},
        {"tracking__uri": "http://127.0.0.1:5000", "tracking__models": "all"},
        {"sweep__id": "other", "sweep__name": "depths", "sweep__note": "a note"},
        {"resume": True},
        {"reuse": True},
        {"job__priority": 10, "job__required_memory_gb": 8.0},
        {"search_space__axes": {}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_it_does_not_change_with_where_and_how(xgboost: DictConfig, values: dict[str, Any]) -> None:
    assert of(changed(xgboost, **values)) == of(xgboost)


def test_a_path_counts_by_its_content_and_a_role_by_its_name() -> None:
    roles = ("data.outcome=won", "data.season=season", "data.date=day")
    config = compose("data=csv", "data.path=here.csv", *roles)
    assert of(changed(config, data__path="/elsewhere/there.csv")) == of(config)
    assert of(changed(config, data__outcome="lost")) != of(config)
    games = compose("data=nfl")
    places = {"data__path": "games.csv", "data__sha256": "0" * 64, "data__url": "https://example.org/games.csv"}
    assert of(changed(games, **places)) == of(games)


@pytest.mark.parametrize(
    "text", ["${now:%H%M%S%f}", "${hydra:runtime.cwd}", "${oc.env:FINGERPRINT_X,none}", "a ${oc.env:FINGERPRINT_X,b} c"]
)
def test_what_differs_from_run_to_run_counts_by_its_text(
    xgboost: DictConfig, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed(xgboost, model__params__note=text)
    before = of(config)
    monkeypatch.setenv("FINGERPRINT_X", "1")
    assert of(config) == before
    assert fingerprint.settled_config(config)["model"]["params"]["note"] == text
    assert of(changed(xgboost, model__params__note="other ${now:%H}")) != before


@pytest.mark.parametrize(
    "reference",
    [
        "${first}",
        "${oc.select:first}",
        "${oc.select:first,none}",
        "before ${first} after",
        "${model.params.near}",
        "${.near}",
        "${..params.near}",
    ],
)
def test_what_leads_to_the_environment_counts_by_its_text_too(
    xgboost: DictConfig, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed(
        xgboost,
        first="${second}",
        second="${oc.env:FINGERPRINT_X,none}",
        model__params__near="${first}",
        model__params__far=reference,
    )
    before = of(config)
    monkeypatch.setenv("FINGERPRINT_X", "1")
    assert of(config) == before
    assert fingerprint.settled_config(config)["model"]["params"]["far"] == reference


@pytest.mark.parametrize("reference", ["${seed}", "${.random_state}", "${oc.select:seed}", "${oc.select:nothing,42}"])
def test_any_other_reference_counts_by_its_value(xgboost: DictConfig, reference: str) -> None:
    config = changed(xgboost, model__params__far=reference)
    assert fingerprint.settled_config(config)["model"]["params"]["far"] == 42


def test_what_refers_to_where_and_how_stays_a_reference(xgboost: DictConfig) -> None:
    params = fingerprint.settled_config(xgboost)["model"]["params"]
    assert (params["device"], params["n_jobs"], params["random_state"]) == ("${device}", "${threads}", 42)
    # The linear model's pipeline holds its parameters by reference: they count there with their values.
    glm = fingerprint.settled_config(compose("model=glm"))["model"]
    assert glm["estimator"]["_args_"][-1] == glm["params"]


def test_the_code_hash_covers_files_modules_and_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "hashed_package" / "inner").mkdir(parents=True)
    files = ["hashed_file.py", "hashed_module.py", "hashed_package/__init__.py", "hashed_package/inner/deep.py"]
    files += ["hashed_package/inner/script.R"]
    for name in files:
        (tmp_path / name).write_text("value = 1\n")
    names = ("hashed_file.py", "hashed_module", "hashed_package")
    seen = {fingerprint.code_hash(names)}
    for name in files:
        (tmp_path / name).write_text("value = 2\n")
        fingerprint.code_hash.cache_clear()
        seen.add(fingerprint.code_hash(names))
    assert len(seen) == 6
    (tmp_path / "hashed_package" / "notes.txt").write_text("no code")
    (tmp_path / "unnamed.py").write_text("value = 1\n")
    fingerprint.code_hash.cache_clear()
    assert fingerprint.code_hash(names) in seen


@pytest.mark.parametrize("name", ["absent.py", "absent", "absent.module", "json.absent", "json.decoder.absent", "sys"])
def test_what_is_not_there_counts_as_absent(name: str) -> None:
    assert fingerprint.code_hash((name,)) == fingerprint.code_hash(())


def test_the_code_that_the_configuration_names_is_there() -> None:
    for name in compose().code:
        assert fingerprint.code_hash((name,), ROOT) != fingerprint.code_hash((), ROOT), name


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def git(*words: str) -> str:
        identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        done = subprocess.run(["git", *identity, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        fingerprint.git_state.cache_clear()
        return done.stdout.strip()

    return git


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_the_state_of_the_repository_is_its_commit_and_whether_it_was_changed(
    repository: Callable[..., str], tmp_path: Path
) -> None:
    assert fingerprint.git_state() == {}
    repository("init", "--quiet")
    assert fingerprint.git_state() == {}
    (tmp_path / "a.txt").write_text("1")
    repository("add", "a.txt")
    repository("commit", "--quiet", "--message", "one")
    commit = repository("rev-parse", "HEAD")
    assert fingerprint.git_state() == {"git_commit": commit, "git_dirty": "false"}
    (tmp_path / "untracked.txt").write_text("1")
    repository("status")
    assert fingerprint.git_state()["git_dirty"] == "false"
    (tmp_path / "a.txt").write_text("2")
    repository("status")
    assert fingerprint.git_state() == {"git_commit": commit, "git_dirty": "true"}


def test_without_git_there_is_no_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fingerprint.git_state() == {}


def test_the_class_of_device_names_all_that_bitwise_equality_needs() -> None:
    versions = fingerprint.library_versions()
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"numpy", "pandas", "scikit-learn", "xgboost", "lightgbm"} <= set(versions)
    text = fingerprint.device_class("cpu", 2)
    assert text.startswith("cpu;")
    assert "threads=2" in text
    assert f"numpy={versions['numpy']}" in text
    assert text != fingerprint.device_class("cpu", 1)
    assert fingerprint.device_class("cpu", 2, {"R": "4.2.2"}) == f"{text},R=4.2.2"


def test_the_class_of_device_does_not_depend_on_what_a_warm_worker_has_imported() -> None:
    code = """
import numpy
from sweeproute import fingerprint
cold = fingerprint.device_class("cpu", 1)
import lightgbm, scipy.linalg, sklearn.ensemble, torch, xgboost
print(cold == fingerprint.device_class("cpu", 1))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "True"
