"""A trial that answers for other points leaves bitwise what trials of their own would have left."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_trial import SMALL, composed
from sweeproute import checkpoint as checkpoints
from sweeproute import estimators, journal, shared_fit
from sweeproute.experiment import run_trial
from sweeproute.trial_journal import PREDICTIONS

KEY = "model.params.n_estimators"
# What tells of the clock, and of which job it was.
_APART = ("fit_s", "predict_s")
# Points that are asked for beside 12.
LENGTHS = (3, 8)


def offer(folder: Path, *words: str, lengths: tuple[int, ...] = LENGTHS, key: str = KEY) -> None:
    """Let a trial find what it may answer for."""
    folder.mkdir(exist_ok=True)
    points = [
        {"job": 40 + n, "value": n, "overrides": [*words, f"{key}={n}"], "folder": f"prefix/{40 + n}"} for n in lengths
    ]
    (folder / shared_fit.FILE).write_text(json.dumps({"key": key, "points": points}))


def trial(folder: Path, length: int, *words: str, key: str = KEY) -> dict[str, Any]:
    with composed(folder, *SMALL, "threads=1", "device=cpu", *words, f"{key}={length}") as config:
        return run_trial(config)


def told(folder: Path) -> dict[str, Any]:
    """All that a journal tells of a run, but for clocks, ids and which fit it was."""
    page = journal.merge(journal.read(folder)[0])
    return {
        "params": page.params,
        "metrics": [(name, repr(value), step) for name, value, step, _ in page.metrics if name not in _APART],
        "tags": {k: v for k, v in page.tags.items() if k not in ("sweeproute.shared_fit", "sweeproute.overrides")},
        "artifacts": page.artifacts,
        "inputs": page.inputs,
        "status": page.status,
    }


def assert_same(shared: Path, alone: Path, value: Mapping[str, float]) -> None:
    assert (shared / PREDICTIONS).read_bytes() == (alone / PREDICTIONS).read_bytes()
    for name in ("config.yaml", "features.txt"):
        assert (shared / name).read_bytes() == (alone / name).read_bytes()
    assert told(shared) == told(alone)
    assert repr(json.loads((shared / shared_fit.VALUE).read_text())) == repr(dict(value))
    features = np.random.default_rng(0).normal(size=(50, 16))
    models = [estimators.load(folder / "model") for folder in (shared, alone)]
    first, second = (model.predict_proba(features) for model in models)
    assert (first == second).all()


MODELS = {
    "xgboost": ["model=xgboost", "model.params.max_depth=5", "model.params.colsample_bytree=0.7"],
    "xgboost, other draws": ["model=xgboost", "model.params.subsample=0.9", "+model.params.colsample_bynode=0.5"],
    "xgboost, calibration seasons": ["model=xgboost", "validation.calibration_seasons=1", "seed=3"],
    "lightgbm": ["model=lightgbm", "model.params.num_leaves=8"],
    "lightgbm, goss": ["model=lightgbm", "+model.params.data_sample_strategy=goss", "model.params.subsample_freq=0"],
    "random_forest": ["model=random_forest"],
}


@pytest.mark.parametrize("words", MODELS.values(), ids=MODELS.keys())
def test_every_file_of_a_point_is_bitwise_that_of_a_trial_of_its_own(words: list[str], tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    offer(whole, *words)
    result = trial(whole, 12, *words)
    for length in LENGTHS:
        alone = tmp_path / f"alone-{length}"
        assert_same(whole / "prefix" / str(40 + length), alone, trial(alone, length, *words))
    # The trial itself is what it would have been without them.
    bare = tmp_path / "bare"
    assert repr(trial(bare, 12, *words)) == repr(result)
    assert (whole / PREDICTIONS).read_bytes() == (bare / PREDICTIONS).read_bytes()
    assert told(whole) == told(bare)


def test_what_all_fits_took_is_told_once(tmp_path: Path) -> None:
    offer(tmp_path, "model=xgboost")
    trial(tmp_path, 12, "model=xgboost")
    folders = [tmp_path, *(tmp_path / "prefix" / str(40 + n) for n in LENGTHS)]
    seconds = [journal.merge(journal.read(folder)[0]).last_metrics()["fit_s"] for folder in folders]
    assert [s / seconds[0] for s in seconds] == pytest.approx([1, 3 / 12, 8 / 12])


ALONE = {
    "dart": (["model=xgboost", "+model.params.booster=dart"], KEY),
    "another parameter": (["model=xgboost"], "model.params.max_depth"),
    "a key outside the model": (["model=xgboost"], "seed"),
    "a value that follows from it": (["model=xgboost", f"model.params.min_child_weight=${{{KEY}}}"], KEY),
    "no round without a tree": (["model=lightgbm", "model.params.min_split_gain=1000"], KEY),
}


@pytest.mark.parametrize(("words", "key"), ALONE.values(), ids=ALONE.keys())
def test_where_a_shorter_fit_is_no_part_of_it_a_trial_answers_for_itself_alone(
    words: list[str], key: str, tmp_path: Path
) -> None:
    offer(tmp_path, *words, key=key)
    result = trial(tmp_path, 12, *words, key=key)
    assert not list(tmp_path.glob("prefix/*"))
    assert repr(trial(tmp_path / "bare", 12, *words, key=key)) == repr(result)
    assert told(tmp_path) == told(tmp_path / "bare")


@pytest.mark.parametrize("again", [LENGTHS, (3,), (3, 5), ()], ids=["the same", "fewer", "another", "none"])
def test_a_trial_that_was_stopped_goes_on_for_all_of_them(
    again: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["model=xgboost", "checkpoint.minutes=1e-9"]
    finish = checkpoints.Checkpoint.finish

    def stop(self: checkpoints.Checkpoint, fold: checkpoints.FinishedFold) -> None:
        finish(self, fold)
        raise KeyboardInterrupt

    whole = tmp_path / "whole"
    offer(whole, *words)
    monkeypatch.setattr(checkpoints.Checkpoint, "finish", stop)
    with pytest.raises(KeyboardInterrupt):
        trial(whole, 12, *words)
    monkeypatch.undo()
    assert (whole / "checkpoint").exists()
    offer(whole, *words, lengths=again)
    trial(whole, 12, *words)
    tags = journal.merge(journal.read(whole)[0]).tags
    # A fold that is known for all that are asked for is not fitted again.
    assert tags["sweeproute.resumed_from"].startswith("fold 2019")
    assert {int(path.name) - 40 for path in whole.glob("prefix/*")} == set(again)
    for length in again:
        alone = tmp_path / f"alone-{length}"
        value = trial(alone, length, *words)
        shared = whole / "prefix" / str(40 + length)
        assert (shared / PREDICTIONS).read_bytes() == (alone / PREDICTIONS).read_bytes()
        assert repr(json.loads((shared / shared_fit.VALUE).read_text())) == repr(value)
