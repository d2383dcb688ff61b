"""Tests of the sentences that a person's mistakes are answered with."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from small_trial import ROOT, SMALL, compose
from sweeproute.data import DataError
from sweeproute.errors import command, explain, nearest_first
from sweeproute.estimators import ModelError


def said(*overrides: str) -> str:
    """What composing these is answered with."""
    with pytest.raises(HydraException) as caught:
        compose(*overrides)
    sentence = explain(caught.value)
    assert sentence is not None
    return sentence


@pytest.mark.parametrize("word", ["report=true", "model=1", "~model=1"])
def test_a_group_that_is_given_no_option_is_named(word: str) -> None:
    with pytest.raises(ValueError, match="group") as caught:
        compose(word)
    group = word.strip("~").partition("=")[0]
    sentence = explain(caught.value) or ""
    assert sentence.startswith(f"{word} gives the config group {group} what is no option's name.")
    assert f"a single setting in it is written {group}.SETTING=VALUE" in sentence


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "sed=1",
            "There is no key sed. Keys of the config, nearest match first: seed, sweep, reuse, betting, calibration, "
            "checkpoint, code, data, device, ensemble, holdout, importances, job, model, platform, plots, registry, "
            "report, resume, search_space, threads, tracking, validation. To add a key that is new: +sed=1.",
        ),
        (
            "betting.min_egde=0.1",
            "There is no key betting.min_egde. Keys of betting, nearest match first: min_edge, kelly_fraction, stake.",
        ),
        (
            "model=xgbost",
            "There is no model=xgbost. Options of model, nearest match first: xgboost, dqn, ensemble, glm, "
            "glm_r, lightgbm, neural_network, ppo, random_forest. A new one is a file: conf/model/xgbost.yaml.",
        ),
        (
            "data=cvs",
            "There is no data=cvs. Options of data, nearest match first: csv, league, nfl. A new one is a file: "
            "conf/data/cvs.yaml.",
        ),
        ("seed=abc", "seed=abc does not fit: seed takes a whole number."),
        ("seed=null", "seed=null does not fit: seed takes a value, and null is none."),
        ("betting.stake=a lot", "betting.stake=a lot does not fit: betting.stake takes a number."),
        (
            "data.market_features=perhaps",
            "data.market_features=perhaps does not fit: data.market_features takes true or false.",
        ),
        (
            "validation.selection_seasons=2018",
            "validation.selection_seasons=2018 does not fit: validation.selection_seasons takes a list, as in [1,2].",
        ),
        (
            "validation.selection_seasons=[a,b]",
            "validation.selection_seasons=[a,b] does not fit: validation.selection_seasons[0] takes a whole number.",
        ),
        ("model.params=3", "model.params=3 does not fit: model.params takes a mapping, as in {name: value}."),
        (
            "seed==1",
            "The override 'seed==1' cannot be read. Write key=value or group=option, +key=value to add a key, ~key to "
            "take one out; quote what holds spaces or brackets: 'key=\"a b\"'.",
        ),
        ("+seed=1", "The key seed is there already; leave out the + to set it."),
        ("+model=xgboost", "The group model has an option already; leave out the + to choose another."),
    ],
)
def test_a_mistake_in_an_override_is_one_sentence_with_what_is_allowed(override: str, sentence: str) -> None:
    assert said(override) == sentence


def test_a_misspelt_key_in_a_file_is_answered_with_the_file_and_its_keys(tmp_path: Path) -> None:
    (tmp_path / "search_space").mkdir()
    (tmp_path / "search_space" / "mine.yaml").write_text("axes: {seed: [1, 2]}\nconstraint: []\n")
    assert said("search_space=mine", f"hydra.searchpath=[file://{tmp_path}]") == (
        "There is no key search_space.constraint, which search_space/mine.yaml has. Keys of search_space, nearest "
        "match first: constraints, axes."
    )


def test_an_unknown_key_of_the_registry_is_answered_with_those_of_a_platform() -> None:
    sentence = said("registry.platforms.remote_4090.hots=box")
    assert sentence.startswith("There is no key registry.platforms.remote_4090.hots.")
    assert "nearest match first: host, " in sentence
    assert "nearest match first: local_m4, remote_4090, slurm." in said("registry.platforms.local_m5.host=box")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "model.params.gpu_id=0",
            "model.params.gpu_id=0 is outdated; leave it out and use device=cuda, or device=cuda:0 for that GPU.",
        ),
        (
            "model.params.max_dept=5",
            "model.params.max_dept is no parameter of xgboost.XGBClassifier; did you mean max_depth or max_delta_step?",
        ),
        (
            "model.params.max_leaves=5",
            "model.params.max_leaves is a parameter of xgboost.XGBClassifier that the model's file does not set; add "
            "it with a plus: +model.params.max_leaves=5",
        ),
        (
            "model.params.max_leaves=many",
            "model.params.max_leaves=many has type str; xgboost.XGBClassifier takes int or null here.",
        ),
    ],
)
def test_a_parameter_that_the_file_does_not_set_is_looked_for_in_its_library(override: str, sentence: str) -> None:
    assert said("model=xgboost", override) == sentence


def test_what_the_answer_says_to_add_composes() -> None:
    assert compose("model=xgboost", "+model.params.max_leaves=5").model.params.max_leaves == 5


@pytest.mark.parametrize(
    ("content", "key", "sentence"),
    [
        ({"data": {"path": "???"}}, "data.path", "data.path is not set; give it, as data.path=VALUE."),
        ({"a": {"b": "${nowhere}"}}, "a.b", "a.b: Interpolation key 'nowhere' not found."),
        ({"a": {"b": "${no.such:1}"}}, "a.b", "a.b: Unsupported interpolation type no.such."),
    ],
)
def test_a_value_that_is_missing_or_leads_nowhere_is_named_by_its_key(
    content: dict[str, Any], key: str, sentence: str
) -> None:
    config = OmegaConf.create(content)
    with pytest.raises(Exception) as caught:  # noqa: PT011  (each kind has a type of its own)
        config[key.split(".")[0]][key.split(".")[1]]
    assert explain(caught.value) == sentence


def test_our_own_errors_are_their_own_sentences() -> None:
    assert explain(ModelError("no such model")) == "no such model"
    assert explain(DataError("no such column")) == "no such column"


def a_key_that_code_misspelt() -> Any:
    return OmegaConf.create({"seed": 1}, flags={"struct": True}).sed


@pytest.mark.parametrize("wrong", [a_key_that_code_misspelt, lambda: {}["x"], lambda: 1 / 0])
def test_errors_of_a_program_have_no_sentence(wrong: Callable[[], Any]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        wrong()
    assert explain(caught.value) is None


def test_the_nearest_match_comes_first_and_all_others_follow() -> None:
    assert nearest_first("xgbost", ["lightgbm", "xgboost", "glm"]) == "xgboost, glm, lightgbm"


def fail(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """`command` sets HYDRA_FULL_ERROR, which must not outlive the test."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    return monkeypatch


@pytest.mark.usefixtures("environment")
class TestCommand:
    def test_it_ends_with_0_where_all_went_well(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            command(lambda: None)
        assert ended.value.code == 0
        assert capsys.readouterr() == ("", "")

    def test_a_mistake_of_the_person_is_said_on_standard_error_with_exit_code_1(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            command(fail(ModelError("no such model")))
        assert ended.value.code == 1
        assert capsys.readouterr() == ("", "no such model\n")

    def test_an_error_of_a_program_passes_through(self) -> None:
        with pytest.raises(ZeroDivisionError):
            command(lambda: 1 / 0)

    def test_with_hydras_own_switch_everything_passes_through(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("HYDRA_FULL_ERROR", "1")
        with pytest.raises(ModelError):
            command(fail(ModelError("no such model")))

    def test_ctrl_c_ends_with_130(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            command(fail(KeyboardInterrupt()))
        assert ended.value.code == 130
        assert capsys.readouterr().err == "Stopped.\n"

    def test_an_exit_code_passes_through(self) -> None:
        with pytest.raises(SystemExit) as ended:
            command(fail(SystemExit(3)))
        assert ended.value.code == 3


def train(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_train_says_a_mistake_without_a_traceback(mode: list[str]) -> None:
    done = train(*mode, "model=xgboost", "model.params.gpu_id=0", *SMALL)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "model.params.gpu_id=0 is outdated; leave it out and use device=cuda, or device=cuda:0 for that GPU.\n"
    )


def test_train_keeps_the_traceback_where_it_is_asked_for() -> None:
    done = train("seed=abc", HYDRA_FULL_ERROR="1")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "ConfigCompositionException" in done.stderr


def test_saying_a_mistake_imports_nothing_heavy() -> None:
    code = (
        "import sys; from sweeproute.errors import explain; explain(ValueError());"
        "print(*{'pandas', 'sklearn', 'mlflow', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
