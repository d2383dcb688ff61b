"""What a sweep has scored on another machine counts here once it has come home."""

from pathlib import Path

import pytest

from handmade_sweep import HandmadeSweep
from small_trial import compose
from sweeproute.holdout import HoldoutError, follow_up
from sweeproute.holdout_home import merge
from sweeproute.holdout_record import scored
from test_holdout import CALIBRATED, RULE, three

CONFIG = "validation: {holdout_seasons: [2023, 2024]}\n"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def sweep(tmp_path: Path) -> HandmadeSweep:
    return HandmadeSweep(tmp_path / "away", "away")


def job(sweep: HandmadeSweep, number: int, model: str, *words: str, config: str | None = CONFIG, **more) -> None:
    record = {"fields": {"model_type": model}, "identity": {"games_hash": "d1"}, "overrides": list(words)} | more
    folder = sweep.start(number, **record)
    if config is not None:
        (folder / "config.yaml").write_text(config)


def test_what_was_scored_over_there_is_refused_here_afterwards(sweep: HandmadeSweep):
    job(sweep, 0, "GLM", "model=glm", state="FINISHED")
    job(sweep, 1, "GLM", "model=glm", "validation.scoring=1", follow_up=True, state="FINISHED")
    (entered,) = merge(sweep.root)
    assert (entered["model"], entered["sweep"], entered["seasons"]) == ("GLM", "away", [2023, 2024])
    assert merge(sweep.root) == []
    with pytest.raises(HoldoutError, match="were scored for GLM before, by sweep away"):
        follow_up(three()[:2], RULE, compose(*CALIBRATED))
    assert follow_up(three()[2:], RULE, compose(*CALIBRATED))[0][-1] == "validation.scoring=1"
    assert follow_up(three()[:2], RULE, compose(*CALIBRATED, "holdout=again"))[0][-1] == "validation.scoring=2"


def test_jobs_that_come_home_later_are_the_same_look(sweep: HandmadeSweep):
    job(sweep, 0, "GLM", "seed=1", "validation.scoring=1", follow_up=True)
    assert len(merge(sweep.root)) == 1
    job(sweep, 1, "GLM", "seed=2", "validation.scoring=1", follow_up=True)
    job(sweep, 2, "Ensemble_average", "seed=1", "+validation.scoring=3", follow_up=True)
    assert [one["model"] for one in merge(sweep.root)] == ["Ensemble_average"]
    assert [(one["model"], one["scoring"]) for one in scored()] == [("GLM", 1), ("Ensemble_average", 3)]


def test_one_that_died_before_it_wrote_its_config_has_the_seasons_of_the_others(sweep: HandmadeSweep):
    job(sweep, 0, "GLM", "model=glm", state="FINISHED")
    job(sweep, 1, "GLM", "validation.scoring=1", follow_up=True, config=None, identity=None, state="KILLED")
    assert [(one["games_hash"], one["seasons"]) for one in merge(sweep.root)] == [("d1", [2023, 2024])]


def test_what_has_not_scored_is_not_entered(sweep: HandmadeSweep, state: Path):
    job(sweep, 0, "GLM", "model=glm", state="FINISHED")
    job(sweep, 1, "Ensemble_average", "model=ensemble", follow_up=True, state="FINISHED")
    assert merge(sweep.root) == []
    assert scored() == []
