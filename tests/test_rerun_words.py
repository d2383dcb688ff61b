"""Tests of the words by which a trial is run again."""

from pathlib import Path

import pytest

from small_trial import SMALL, compose
from sweeproute.fingerprint import hashes
from sweeproute.rerun_words import WordError, again, check, of_sweep

WORDS = ["model=xgboost", *SMALL, "model.params.max_depth=2", "seed=3"]


def test_words_that_say_where_and_what_follows_give_way_and_the_trial_is_the_same() -> None:
    given = [
        *WORDS,
        "holdout=true",
        "ensemble=[average]",
        "sweep.name=a",
        "report.at_end=true",
        "threads=7",
        "reuse=true",
    ]
    words = again(given, {"device": "cpu", "threads": "2"})
    assert [
        word for word in words if word.partition("=")[0] in ("holdout", "ensemble", "threads", "device", "reuse")
    ] == [
        "holdout=false",
        "ensemble=[]",
        "reuse=false",
        "device=cpu",
        "threads=2",
    ]
    assert not [word for word in words if word.startswith(("sweep.", "report."))]
    assert hashes(compose(*words), "d") == hashes(compose(*given), "d")


def test_a_gpu_of_then_is_whatever_is_here() -> None:
    assert "device=auto" in again([*WORDS, "device=cuda"], {"device": "cuda"})


def test_the_look_at_the_holdout_is_part_of_what_a_trial_is() -> None:
    assert "validation.scoring=2" in again([*WORDS, "validation.scoring=2"], {})


def test_data_lies_where_it_did_or_where_a_person_says(tmp_path: Path) -> None:
    given = ["data=nfl", "data.path=games.csv"]
    assert f"data.path='{tmp_path}/games.csv'" in again(given, {}, cwd=tmp_path)
    assert "data.path='/far/games.csv'" not in again(
        ["data.path='/far/games.csv'"], {}, (), {"/far/": "/near/"}, tmp_path
    )
    assert [word for word in again(given, {}, ["data.path=/other.csv"], cwd=tmp_path) if "path" in word] == [
        "data.path=/other.csv"
    ]


def test_members_are_those_of_the_sweep_that_was_the_last_one_then() -> None:
    words = again(["model=ensemble", "model.params.sweep=last"], {"ensemble": "average", "members_of": "sweep_1"})
    assert words[-1] == "model.params.sweep='sweep_1'"


def test_a_sweep_has_the_platforms_that_all_of_its_jobs_name() -> None:
    host, slots = "registry.platforms.box.host=a", "registry.platforms.box.max_concurrent_jobs=1"
    assert of_sweep([[host, slots, "seed=1"], [host, "seed=2"]]) == [host]
    assert of_sweep([[host]], ["registry.platforms.box.host=b", "data.path=a"]) == ["registry.platforms.box.host=b"]


@pytest.mark.parametrize("word", ["seed=3", "model=glm", "data=csv", "data.seed=1", "validation.scoring=1"])
def test_words_that_would_make_another_trial_are_refused(word: str) -> None:
    check(["data.path=a", "platform=local_m4", "registry.platforms.box.host=a", "checkpoint.minutes=1"])
    with pytest.raises(WordError, match=f"{word} would make another trial"):
        check([word])
