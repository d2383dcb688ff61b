"""Tests of the neural network: what it learns from, when it stops, how it goes on, and what it leaves as it was."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.utils.estimator_checks import parametrize_with_checks

from small_trial import ROOT, SMALL, composed, start
from sweeproute import estimators, experiment, journal
from sweeproute.betting import BettingRule
from sweeproute.checkpoint import FOLDER, Checkpoint, Progress
from sweeproute.data.dataset import Dataset
from sweeproute.estimators import Games, ModelError
from sweeproute.estimators import device as device_module
from sweeproute.evaluation import evaluate
from sweeproute.models import network_training
from sweeproute.models.network import NeuralNetwork
from sweeproute.validation import walk_forward
from synthetic_games import games

PLAIN = games(per_season=80)
SIDES = np.random.default_rng(3).permuted(np.tile(np.arange(6), (len(PLAIN.outcome), 1)), axis=1)[:, :2]
NAMES = tuple("ABCDEF")
DATASET = replace(PLAIN, teams=SIDES.astype(np.int64), team_names=NAMES)
FEATURES = DATASET.features.to_numpy(dtype=np.float64)
ALL = Games(FEATURES, DATASET.teams, NAMES)
EARLY, LATE = np.flatnonzero(DATASET.season < 2010), np.flatnonzero(DATASET.season == 2010)
QUICK: dict[str, Any] = {"max_epochs": 12, "patience": 12, "width": 16, "batch_size": 64}


def fitted(
    progress: Progress | None = None, told: Any = None, outcome: np.ndarray = DATASET.outcome, **changes: Any
) -> NeuralNetwork:
    network = NeuralNetwork(**QUICK | changes)
    watched = ALL.rows(LATE), outcome[LATE]
    return network.fit_games(ALL.rows(EARLY), outcome[EARLY], watched, progress, told)


def learned(network: NeuralNetwork) -> dict[str, bytes]:
    """What a fit learned, and what it says, bit for bit."""
    found = {name: one.tobytes() for name, one in network.weights_.items()}
    return found | {"says": network.predict_games(ALL).tobytes(), "epochs": bytes([network.n_epochs_, network.n_iter_])}


# What scikit-learn asks of a classifier

# Refused, with the reason.
REFUSED = {"check_fit_score_takes_y": "its arguments are called features and outcome, as this project calls them"}


@parametrize_with_checks([NeuralNetwork(max_epochs=60)], expected_failed_checks=lambda _: REFUSED)
def test_it_is_a_classifier_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


# What it learns from


def test_it_keeps_the_weights_of_the_epoch_that_predicted_the_watched_games_best() -> None:
    said: list[np.ndarray] = []
    network = fitted(told=lambda epoch, says: said.append(says), max_epochs=200, patience=5, learning_rate=0.02)
    won = DATASET.outcome[LATE] == 1
    losses = [float(-np.log(np.where(won, one, 1 - one)).mean()) for one in said]
    assert network.n_iter_ == network.n_epochs_ + 5 == len(said) < 200
    assert network.loss_ == pytest.approx(min(losses), rel=1e-5)
    assert losses == sorted(losses, reverse=True)
    assert network.predict_games(ALL.rows(LATE))[:, 1] == pytest.approx(said[-1], abs=1e-6)
    shorter = fitted(max_epochs=network.n_epochs_, patience=5, learning_rate=0.02)
    assert shorter.predict_games(ALL).tobytes() == network.predict_games(ALL).tobytes()


def test_watched_games_teach_it_nothing_but_when_to_stop() -> None:
    flipped = DATASET.outcome.copy()
    flipped[LATE] = 1 - flipped[LATE]
    told: dict[str, list[int]] = {"as it was": [], "flipped": []}
    one = fitted(told=lambda epoch, says: told["as it was"].append(epoch), max_epochs=3)
    two = fitted(told=lambda epoch, says: told["flipped"].append(epoch), max_epochs=3, outcome=flipped)
    assert told["as it was"] == told["flipped"] == [1, 2, 3]
    assert one.n_epochs_ != two.n_epochs_
    assert learned(fitted(max_epochs=1)) == learned(fitted(max_epochs=1, outcome=flipped))


def test_nothing_of_the_watched_games_is_in_the_scale_of_the_features() -> None:
    wild = FEATURES.copy()
    wild[LATE] *= 1000
    network = NeuralNetwork(**QUICK | {"max_epochs": 1})
    games = Games(wild, DATASET.teams, NAMES)
    network.fit_games(games.rows(EARLY), DATASET.outcome[EARLY], (games.rows(LATE), DATASET.outcome[LATE]), None, None)
    known = FEATURES[EARLY]
    np.testing.assert_allclose(network.mean_, np.nanmean(known, axis=0))
    np.testing.assert_allclose(network.scale_, np.nanstd(known, axis=0))
    assert learned(network)["hidden.0.weight"] == learned(fitted(max_epochs=1))["hidden.0.weight"]


@pytest.mark.parametrize("calibration_seasons", [0, 1])
def test_what_is_said_of_a_season_does_not_depend_on_its_results_nor_on_later_ones(calibration_seasons: int) -> None:
    def probabilities(data: Dataset) -> np.ndarray:
        folds = walk_forward(
            data.season,
            data.kickoff,
            window="expanding",
            window_seasons=None,
            first_test_season=2007,
            gap_seasons=0,
            calibration_seasons=calibration_seasons,
            selection_seasons=[2007, 2008],
        )
        report = evaluate(lambda: NeuralNetwork(**QUICK), data, folds, BettingRule())
        return report.predictions.set_index("season")["probability"].loc[2007].to_numpy()

    flipped = np.where(DATASET.season >= 2007, 1 - DATASET.outcome, DATASET.outcome).astype(np.int8)
    assert probabilities(replace(DATASET, outcome=flipped)).tobytes() == probabilities(DATASET).tobytes()
    earlier = np.where(DATASET.season == 2006, 1 - DATASET.outcome, DATASET.outcome).astype(np.int8)
    assert probabilities(replace(DATASET, outcome=earlier)).tobytes() != probabilities(DATASET).tobytes()


def test_it_learns_who_wins_where_no_feature_tells() -> None:
    generator = np.random.default_rng(8)
    outcome = (SIDES[:, 0] < SIDES[:, 1]).astype(np.int8)
    blind = Games(generator.normal(size=(len(outcome), 2)), DATASET.teams, NAMES)

    def share(**changes: Any) -> float:
        network = NeuralNetwork(max_epochs=60, patience=60, weight_decay=0.01, embedding_dim=4, **changes)
        network.fit_games(blind.rows(EARLY), outcome[EARLY], (blind.rows(LATE), outcome[LATE]), None, None)
        return float(((network.predict_games(blind.rows(LATE))[:, 1] > 0.5) == outcome[LATE]).mean())

    assert share() > 0.9
    assert 0.3 < share(depth=0) <= 1
    without = NeuralNetwork(**QUICK | {"embedding_dim": 0})
    without.fit_games(blind.rows(EARLY), outcome[EARLY], (blind.rows(LATE), outcome[LATE]), None, None)
    swapped = Games(blind.features, SIDES[:, ::-1].astype(np.int64), NAMES)
    assert without.predict_games(swapped).tobytes() == without.predict_games(blind).tobytes()


def test_a_team_is_known_by_its_name_and_all_that_are_not_share_a_place_that_says_nothing() -> None:
    network = fitted()
    assert network.team_names_ == NAMES
    renumbered = Games(FEATURES, DATASET.teams + 2, ("Aa", "B0", *NAMES))
    assert network.predict_games(renumbered).tobytes() == network.predict_games(ALL).tobytes()
    strangers = [Games(FEATURES, DATASET.teams, tuple(f"{prefix}{name}" for name in NAMES)) for prefix in "xy"]
    assert network.predict_games(strangers[0]).tobytes() == network.predict_games(strangers[1]).tobytes()
    assert network.predict_games(strangers[0]).tobytes() == network.predict_proba(FEATURES).tobytes()
    assert network.predict_games(strangers[0]).tobytes() != network.predict_games(ALL).tobytes()
    assert not network.weights_["teams.weight"][0].any()


def test_a_team_that_first_plays_in_the_watched_season_is_a_stranger() -> None:
    late = np.where(DATASET.season[:, None] == 2010, 6, DATASET.teams)
    games = Games(FEATURES, np.column_stack([DATASET.teams[:, 0], late[:, 1]]), (*NAMES, "G"))
    network = NeuralNetwork(**QUICK)
    network.fit_games(games.rows(EARLY), DATASET.outcome[EARLY], (games.rows(LATE), DATASET.outcome[LATE]), None, None)
    assert network.team_names_ == NAMES


# Repeatable, and nothing left changed


def test_it_leaves_the_random_states_the_threads_and_the_flags_of_torch_as_they_were() -> None:
    def states() -> tuple[Any, ...]:
        draws = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
        flags = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        return *draws, torch.get_num_threads(), *flags

    before = states()
    network = fitted(n_jobs=1)
    network.predict_games(ALL)
    assert states() == before
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        before = states()
        fitted()
        assert states() == before
    finally:
        torch.use_deterministic_algorithms(False)


def test_it_does_not_depend_on_what_others_draw_or_have_set() -> None:
    first = learned(fitted())
    torch.manual_seed(99)
    torch.rand(3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1 + threads % 2)
    try:
        assert learned(fitted()) == first
    finally:
        torch.set_num_threads(threads)
    assert learned(fitted(random_state=1)) != first


def test_on_the_device_and_in_the_kind_of_numbers_that_it_is_told() -> None:
    with pytest.raises(ModelError, match=r"device=cuda:7 is not there for torch .*; use device=cpu"):
        fitted(device="cuda:7")
    with pytest.raises(ModelError, match=r"device=gpu is not known; use cpu, cuda, cuda:N or mps"):
        fitted(device="gpu")
    assert learned(fitted(mixed_precision=False)) == learned(fitted(mixed_precision=True))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_learns_nearly_the_same_and_goes_on_bitwise(
    kind: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For want of a GPU on the CPU, which is slower there, and not done for that.
    exact = fitted()
    monkeypatch.setattr(network_training, "MIXED_ON", ("cpu",))
    monkeypatch.setattr(network_training, "half_of", lambda device: kind)
    mixed = fitted()
    assert learned(mixed)["hidden.0.weight"] != learned(exact)["hidden.0.weight"]
    assert mixed.predict_games(ALL) == pytest.approx(exact.predict_games(ALL), abs=0.05)
    cut(tmp_path, 5)
    assert learned(fitted(opened(tmp_path).fit(2018))) == learned(mixed)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch sees")
@pytest.mark.parametrize("mixed", [False, True])
def test_on_a_gpu_it_learns_the_same_twice_goes_on_bitwise_and_predicts_on_the_cpu(mixed: bool, tmp_path: Path) -> None:
    changes = {"device": "cuda", "mixed_precision": mixed}
    whole = fitted(**changes)
    assert learned(fitted(**changes)) == learned(whole)
    cut(tmp_path, 5, **changes)
    assert learned(fitted(opened(tmp_path).fit(2018), **changes)) == learned(whole)
    assert whole.predict_games(ALL) == pytest.approx(fitted().predict_games(ALL), abs=0.05)


# Going on


class Cut(Exception):
    """A process that ends in the middle of a fit."""


class CutAfter(Progress):
    """Saves at each epoch, and ends when it has saved so many."""

    def __init__(self, checkpoint: Checkpoint, saves: int) -> None:
        super().__init__(checkpoint, 2018, checkpoint.fit(2018).saved, 0.0)
        self._left = saves

    def due(self) -> bool:
        return True

    def save(self, what: str, write: Any) -> None:
        super().save(what, write)
        self._left -= 1
        if not self._left:
            raise Cut


def opened(folder: Path) -> Checkpoint:
    return Checkpoint.open(folder, "f", "cpu", None)


def cut(folder: Path, saves: int, **changes: Any) -> None:
    with pytest.raises(Cut):
        fitted(CutAfter(opened(folder), saves), **changes)


@pytest.mark.parametrize(
    "changes",
    [{}, {"dropout": 0.0}, {"depth": 0}, {"depth": 3}, {"embedding_dim": 0}, {"patience": 3, "learning_rate": 0.05}],
    ids=str,
)
def test_a_fit_that_was_cut_twice_learns_bitwise_what_it_learns_at_once(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    whole = fitted(**changes)
    for saves in (2, 1):
        cut(tmp_path, saves, **changes)
    again = opened(tmp_path)
    assert again.resumed_from([2018]) == "fold 2018, 3 epochs"
    said: list[int] = []
    assert learned(fitted(again.fit(2018), lambda epoch, _: said.append(epoch), **changes)) == learned(whole)
    assert said == list(range(4, whole.n_iter_ + 1))


def test_a_fit_that_was_cut_after_its_last_epoch_learns_no_more(tmp_path: Path) -> None:
    cut(tmp_path, QUICK["max_epochs"])
    assert learned(fitted(opened(tmp_path).fit(2018))) == learned(fitted())


def test_what_is_kept_of_a_fit_is_data(tmp_path: Path) -> None:
    cut(tmp_path, 2)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".json", ".safetensors"}


def test_features_alone_go_on_as_well(tmp_path: Path) -> None:
    whole = NeuralNetwork(**QUICK).fit(FEATURES, DATASET.outcome)
    assert whole.n_iter_ == 12
    with pytest.raises(Cut):
        NeuralNetwork(**QUICK).fit_from(FEATURES, DATASET.outcome, CutAfter(opened(tmp_path), 4))
    again = NeuralNetwork(**QUICK).fit_from(FEATURES, DATASET.outcome, opened(tmp_path).fit(2018))
    assert learned(again) == learned(whole)


# Two folds of a second or so each.
LONG = (
    *SMALL,
    "model=neural_network",
    "model.params.max_epochs=150",
    "model.params.patience=150",
    "model.params.batch_size=32",
    "device=cpu",
    "threads=1",
)


def test_a_trial_that_is_killed_in_a_fit_goes_on_from_there_to_the_same_result_bitwise(tmp_path: Path) -> None:
    first, second, whole = tmp_path / "0", tmp_path / "0.attempt2", tmp_path / "whole"
    process = start(tmp_path, *LONG, "checkpoint.minutes=0.002", f"hydra.run.dir={first}")
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
    assert 0 < int(resumed_from.split()[2]) < 150
    for file in ("predictions.parquet", "model/model.safetensors"):
        assert (second / file).read_bytes() == (whole / file).read_bytes(), file


# Files


def test_a_network_comes_back_with_its_teams_and_its_parameters(tmp_path: Path) -> None:
    network = fitted(depth=2)
    estimators.save(network, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    again = estimators.load(tmp_path)
    assert learned(again) == learned(network)
    assert again.get_params() == network.get_params()
    assert (again.loss_, again.team_names_) == (network.loss_, NAMES)
    assert again.classes_.tolist() == [0, 1]
    estimators.save(again, tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


@pytest.mark.parametrize("content", [b"not a model", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"file": "model.safetensors"}), encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model.safetensors cannot be read"):
        estimators.load(tmp_path)


# Parameters and devices


def node(**params: Any) -> Any:
    target = {"_target_": "sweeproute.models.network.NeuralNetwork"}
    return OmegaConf.create({"type": "NeuralNetwork", "params": target | params, "estimator": None})


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"widht": 3}, "did you mean width"),
        ({"width": 2.5}, "width=2.5 has type float; sweeproute.models.network.NeuralNetwork takes int here"),
        ({"dropout": "half"}, "dropout=half has type str"),
        ({"mixed_precision": 1}, "mixed_precision=1 has type int"),
        ({"device": 0}, "device=0 has type int"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_before_anything_runs(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        estimators.check_parameters(node(**params))


def test_parameters_are_checked_without_the_libraries_once_the_source_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPROUTE_CACHE", str(tmp_path))
    code = (
        "import sys; from sweeproute.estimators import check_parameter;"
        "check_parameter('sweeproute.models.network.NeuralNetwork', 'width', 8);"
        "print([name for name in ('sklearn', 'torch', 'safetensors') if name in sys.modules])"
    )
    ran = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    ]
    assert ran == ["['sklearn']", "[]"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("dropout", 1.0, "numbers that are 0 or more and below 1"),
        ("dropout", -1, "numbers that are 0 or more and below 1"),
        ("width", 0, "whole numbers that are 1 or more"),
        ("learning_rate", 0.0, "numbers that are more than 0"),
    ],
)
def test_a_value_out_of_range_is_refused_before_anything_runs(name: str, value: float, words: str) -> None:
    with pytest.raises(ModelError, match=rf"{name}={value} is out of range; sweep.*NeuralNetwork takes {words} here"):
        estimators.check_parameters(node(**{name: value}))
    with pytest.raises(ModelError, match="is out of range"):
        estimators.check_axes(node(**{name: 1}), {f"model.params.{name}": [value]})


@pytest.mark.parametrize("value", [-1, 1.0])
def test_a_value_out_of_range_is_refused_in_a_sentence(value: float) -> None:
    with pytest.raises(ValueError, match=r"The 'dropout' parameter of NeuralNetwork must be a float in the range"):
        fitted(dropout=value)


def apple(monkeypatch: pytest.MonkeyPatch, sees: bool) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(device_module.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: sees)


@pytest.mark.parametrize(("sees", "device"), [(True, "mps"), (False, "cpu")])
def test_the_gpu_of_an_apple_chip_is_for_models_that_can_use_it(
    sees: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apple(monkeypatch, sees)
    assert estimators.settle_device("auto", ["cpu", "cuda", "mps"]) == device
    assert estimators.settle_device("auto") == "cpu"
    assert estimators.settle_device("mps", ["cpu", "cuda", "mps"]) == "mps"
    with pytest.raises(ModelError, match=r"device=mps is not for this model, which can use cpu and cuda"):
        estimators.settle_device("mps")


def test_each_model_of_the_configuration_is_given_a_device_that_it_can_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    apple(monkeypatch, True)
    found = {}
    for model in ("glm", "xgboost", "lightgbm", "random_forest", "neural_network"):
        with composed(tmp_path, f"model={model}", "threads=1") as config:
            experiment.settle(config)
            found[model] = (config.device, config.model.params.get("device"))
    assert found.pop("neural_network") == ("mps", "mps")
    assert {device for device, _ in found.values()} == {"cpu"}
    assert found["xgboost"] == ("cpu", "cpu")


def imported(folder: Path, *words: str) -> set[str]:
    """What a command imports, by the names of its packages."""
    command = [sys.executable, "-X", "importtime", str(ROOT / "train.py"), *words, "~hydra.callbacks.tracking"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    lines = [line for line in ran.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("-m", "model=neural_network", "hydra.launcher.dry_run=true"),
        ("model=xgboost", "threads=1", "tracking.models=none", *SMALL),
    ],
    ids=["help", "plan", "another model"],
)
def test_torch_is_imported_where_a_network_is_fitted_and_nowhere_else(words: tuple[str, ...], tmp_path: Path) -> None:
    found = imported(tmp_path, *words)
    assert "hydra" in found
    assert not found & {"torch", "safetensors"}
