"""Tests of keeping how far a trial has come, up to a trial that is killed in the middle of a fit."""

import hashlib
import json
import logging
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from small_trial import SMALL, composed, start
from sweeproute import experiment, importance, journal
from sweeproute.checkpoint import FOLDER, INDEX, Checkpoint
from sweeproute.finished_fold import Answer, FinishedFold, Leaning

ALWAYS = 1e-9  # minutes
SEASONS = [2018, 2019, 2020]


def opened(
    folder: Path, minutes: float | None = ALWAYS, fingerprint: str = "f" * 64, device: str = "cpu"
) -> Checkpoint:
    return Checkpoint.open(folder, fingerprint, f"{device};x86_64;threads=2;numpy=2.0,xgboost=3.2", minutes)


def assert_same(found: Answer, expected: Answer) -> None:
    np.testing.assert_array_equal(found.probability, expected.probability)
    np.testing.assert_array_equal(found.calibration, expected.calibration)


def finished(season: int) -> FinishedFold:
    said = np.random.default_rng(season).random(10)
    return FinishedFold(season, Answer(said[:7], said[7:], 0.25), 1.5)


def leaning(season: int, repeats: int = 5) -> FinishedFold:
    return replace(finished(season), leaning=Leaning(np.random.default_rng(season).normal(size=(4, 2)), repeats, 7))


def words(text: str, folder: Path) -> None:
    (folder / "words.txt").write_text(text)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The folder of a trial that was cut short in its second fold."""
    checkpoint = opened(tmp_path)
    checkpoint.fit(2018).save("3 words", lambda folder: words("a b c", folder))
    checkpoint.finish(finished(2018))
    checkpoint.fit(2019).save("1 word", lambda folder: words("d", folder))
    checkpoint.fit(2019).save("2 words", lambda folder: words("d e", folder))
    return tmp_path


def test_a_later_attempt_has_the_finished_folds_bitwise_and_the_files_of_the_fit(kept: Path) -> None:
    again = opened(kept)
    assert list(again.finished) == [2018]
    assert_same(again.finished[2018].answer, finished(2018).answer)
    assert (again.finished[2018].fit_seconds, again.finished[2018].answer.seconds) == (1.5, 0.25)
    progress = again.fit(2019)
    assert progress.saved is not None
    assert (progress.saved / "words.txt").read_text() == "d e"
    assert progress.seconds > 0
    assert again.fit(2020).saved is None
    assert again.resumed_from(SEASONS) == "fold 2019, 2 words"
    assert again.unused is None


def test_it_goes_on_at_a_folds_beginning_where_nothing_was_kept_inside(tmp_path: Path) -> None:
    assert opened(tmp_path).resumed_from(SEASONS) is None
    opened(tmp_path).finish(finished(2018))
    assert opened(tmp_path).resumed_from(SEASONS) == "fold 2019"


def test_only_what_is_of_use_stays_in_the_folder(kept: Path) -> None:
    there = {path.name for path in (kept / FOLDER).iterdir()}
    assert there == {INDEX, "fold-2018.npy", "fit-3"}
    opened(kept).finish(finished(2019))
    assert {path.name for path in (kept / FOLDER).iterdir()} == {INDEX, "fold-2018.npy", "fold-2019.npy"}


def test_what_a_folds_model_leans_on_comes_back_bitwise_and_goes_with_the_fold(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.finish(leaning(2018))
    first.finish(finished(2019))
    there = {path.name for path in (tmp_path / FOLDER).iterdir()}
    assert there == {INDEX, "fold-2018.npy", "fold-2019.npy", "leaning-2018.npy"}
    again = opened(tmp_path)
    found, expected = again.finished[2018].leaning, leaning(2018).leaning
    assert found is not None
    assert expected is not None
    np.testing.assert_array_equal(found.found, expected.found)
    assert (found.repeats, found.seed) == (5, 7)
    assert again.finished[2019].leaning is None
    again.finish(finished(2018))
    assert not (tmp_path / FOLDER / "leaning-2018.npy").exists()
    assert opened(tmp_path).finished[2018].leaning is None


def test_a_fold_is_fitted_again_where_what_its_model_leans_on_was_torn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(tmp_path)
    for season in (2018, 2019):
        first.finish(leaning(season))
    path = tmp_path / FOLDER / "leaning-2018.npy"
    path.write_bytes(path.read_bytes()[:-1])
    again = opened(tmp_path)
    assert list(again.finished) == [2019]
    assert f"{path} is not what was kept; season 2018 is fitted again." in caplog.text


def test_a_checkpoint_that_was_written_before_importances_were_kept_is_taken_up(tmp_path: Path) -> None:
    said = np.random.default_rng(0).random((2, 10))
    folder = tmp_path / FOLDER
    folder.mkdir()
    np.save(folder / "fold-2018.npy", said)
    entry = {
        "season": 2018,
        "sha256": hashlib.sha256((folder / "fold-2018.npy").read_bytes()).hexdigest(),
        "n_test": 7,
        "stakes": False,
        "fit_seconds": 1.5,
        "shorter": [100],
        "predict_seconds": [0.25, 0.125],
    }
    trial = {"format": 3, "fingerprint": "f" * 64, "device_class": "cpu;x86_64;threads=2;numpy=2.0,xgboost=3.2"}
    (folder / INDEX).write_text(json.dumps({**trial, "folds": [entry], "fit": None}))
    found = opened(tmp_path)
    assert found.unused is None
    fold = found.finished[2018]
    assert_same(fold.answer, Answer(said[0, :7], said[0, 7:], 0.25))
    assert_same(fold.shorter[100], Answer(said[1, :7], said[1, 7:], 0.125))
    assert (fold.fit_seconds, fold.shorter[100].seconds, fold.leaning) == (1.5, 0.125, None)
    found.finish(leaning(2019))
    again = opened(tmp_path)
    assert list(again.finished) == [2018, 2019]
    assert_same(again.finished[2018].answer, fold.answer)


def test_the_times_of_all_attempts_add_up(kept: Path) -> None:
    again = opened(kept)
    before = again.fit(2019).seconds
    again.fit(2019).save("3 words", lambda folder: words("d e f", folder))
    assert opened(kept).fit(2019).seconds > before


@pytest.mark.parametrize("minutes", [None, 0, 30])
def test_nothing_is_written_before_the_interval_has_passed(tmp_path: Path, minutes: float | None) -> None:
    checkpoint = opened(tmp_path, minutes)
    assert not checkpoint.fit(2018).due()
    checkpoint.finish(finished(2018))
    assert not any(tmp_path.iterdir())


def test_without_an_interval_an_earlier_checkpoint_is_used_and_left_as_it_is(kept: Path) -> None:
    again = opened(kept, None)
    again.finish(finished(2019))
    assert again.resumed_from(SEASONS) == "fold 2020"
    assert opened(kept).resumed_from(SEASONS) == "fold 2019, 2 words"


def test_after_a_save_the_interval_begins_anew(tmp_path: Path) -> None:
    progress = opened(tmp_path, minutes=10).fit(2018)
    progress.save("1 word", lambda folder: words("a", folder))
    assert not progress.due()
    always = opened(tmp_path).fit(2018)
    assert always.due()
    always.save("1 word", lambda folder: words("a", folder))
    assert always.due()


def test_a_checkpoint_of_another_trial_is_not_used_and_that_is_said(kept: Path) -> None:
    other = opened(kept, fingerprint="e" * 64)
    assert not other.finished
    assert other.fit(2019).saved is None
    assert other.resumed_from(SEASONS) is None
    assert other.unused == (
        "The checkpoint is of another config, data or code (fingerprint ffffffffffff, here eeeeeeeeeeee); the trial "
        "starts again."
    )


def test_a_checkpoint_of_another_device_class_is_not_used_and_the_difference_is_said(kept: Path) -> None:
    other = opened(kept, device="cuda (NVIDIA GeForce RTX 4090)")
    assert other.resumed_from(SEASONS) is None
    assert other.unused == (
        "The checkpoint is of another device class (cpu; here cuda (NVIDIA GeForce RTX 4090)), which gives other last "
        "bits; the trial starts again."
    )


def test_what_is_not_used_stays_until_there_is_something_to_put_in_its_place(kept: Path) -> None:
    other = opened(kept, device="cuda")
    assert opened(kept).resumed_from(SEASONS) == "fold 2019, 2 words"
    other.finish(finished(2018))
    assert opened(kept).unused is not None
    assert opened(kept, device="cuda").resumed_from(SEASONS) == "fold 2019"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1, "fingerprint": 7}', '{"format": 2}'])
def test_an_index_that_cannot_be_read_is_said_and_costs_only_the_progress(kept: Path, content: str) -> None:
    (kept / FOLDER / INDEX).write_text(content)
    again = opened(kept)
    assert again.unused is not None
    assert again.unused.endswith("the trial starts again.")
    assert again.resumed_from(SEASONS) is None
    again.finish(finished(2018))
    assert opened(kept).resumed_from(SEASONS) == "fold 2019"


def test_a_fold_whose_file_was_torn_is_fitted_again_alone(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened(kept).finish(finished(2019))
    path = kept / FOLDER / "fold-2018.npy"
    path.write_bytes(path.read_bytes()[:-1])
    again = opened(kept)
    assert list(again.finished) == [2019]
    assert again.resumed_from(SEASONS) == "fold 2018"
    assert "season 2018 is fitted again" in caplog.text


@pytest.mark.parametrize("harm", ["torn", "missing", "more", "link", "folder"])
def test_a_fit_whose_files_are_not_what_was_kept_starts_again(kept: Path, tmp_path: Path, harm: str) -> None:
    file = kept / FOLDER / "fit-3" / "words.txt"
    if harm == "torn":
        file.write_text("d")
    elif harm == "more":
        (file.parent / "more.txt").touch()
    elif harm == "folder":
        (file.parent / "more").mkdir()
    else:
        file.rename(tmp_path / "elsewhere.txt")
        if harm == "link":
            file.symlink_to(tmp_path / "elsewhere.txt")
    again = opened(kept)
    assert again.fit(2019).saved is None
    assert again.resumed_from(SEASONS) == "fold 2019"


def test_names_in_an_index_reach_nothing_outside_the_folder(kept: Path) -> None:
    path = kept / FOLDER / INDEX
    index = json.loads(path.read_text())
    index["fit"]["number"] = "../../3"
    path.write_text(json.dumps(index))
    assert "cannot be read (ValueError" in (opened(kept).unused or "")


def test_a_save_that_is_cut_short_leaves_the_one_before(kept: Path) -> None:
    again = opened(kept)
    again.finish(finished(2019))

    def cut(folder: Path) -> None:
        words("half", folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again.fit(2020).save("1 word", cut)
    assert opened(kept).resumed_from(SEASONS) == "fold 2020"
    opened(kept).fit(2020).save("2 words", lambda folder: words("g h", folder))
    assert opened(kept).resumed_from(SEASONS) == "fold 2020, 2 words"


def test_a_full_disk_costs_a_trial_its_checkpoint_alone(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    again = opened(kept)

    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    again.fit(2019).save("3 words", full)
    assert "could not be written ([Errno 28] No space left on device); the trial goes on without." in caplog.text
    assert opened(kept).resumed_from(SEASONS) == "fold 2019, 2 words"


def test_why_nothing_is_kept_inside_a_fit_is_said_once_it_matters(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    short = opened(tmp_path, 30)
    short.fit(2018).cannot("GLM cannot go on with a fit")
    short.finish(finished(2018))
    assert not caplog.messages
    long = opened(tmp_path)
    for season in SEASONS:
        long.fit(season).cannot("GLM cannot go on with a fit")
        long.finish(finished(season))
    assert caplog.messages == [
        "Checkpoint: 1 finished fold; nothing inside a fit, since GLM cannot go on with a fit",
        "Checkpoint: 2 finished folds",
        "Checkpoint: 3 finished folds",
    ]


def test_what_was_kept_is_removed_with_the_result(kept: Path) -> None:
    opened(kept).remove()
    assert not (kept / FOLDER).exists()
    opened(kept).remove()


# Two folds of a second each, by trees that draw nothing, which every XGBoost goes on with.
LONG = (
    *SMALL,
    "model=xgboost",
    "model.params.n_estimators=1500",
    "model.params.max_depth=5",
    "model.params.min_child_weight=1",
    "model.params.subsample=1.0",
    "model.params.colsample_bytree=1.0",
    "device=cpu",
    "threads=1",
    "importances.of=all",
    "importances.repeats=2",
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

    # As the launcher hands it on to the next attempt.
    shutil.copytree(first / FOLDER, second / FOLDER)
    pages = {}
    for folder in (second, whole):
        with composed(folder, *LONG) as config:
            experiment.run_trial(config)
        pages[folder] = journal.merge(journal.read(folder)[0])

    resumed_from = pages[second].tags["sweeproute.resumed_from"]
    assert resumed_from.startswith("fold 2019, ")
    assert 0 < int(resumed_from.split()[2]) < 1500
    assert "sweeproute.resumed_from" not in pages[whole].tags
    for file in ("predictions.parquet", "model/model.ubj", importance.FILE):
        assert (second / file).read_bytes() == (whole / file).read_bytes(), file
    metrics = {
        folder: [row[:3] for row in page.metrics if row[0] not in ("fit_s", "predict_s")]
        for folder, page in pages.items()
    }
    assert metrics[second] == metrics[whole]
    assert not (second / FOLDER).exists()
