"""Tests of finding a sweep's folder."""

import json
from pathlib import Path

import pytest

from sweeproute.pointers import NoSuchSweepError, SweepGoneError, find, pointers


@pytest.fixture
def sweeps(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path))
    (tmp_path / "sweeps").mkdir()
    return tmp_path / "sweeps"


def point(sweeps: Path, id: str, started: float, name: str | None = None) -> None:
    pointer = {"id": id, "name": name, "folder": f"/runs/{id}", "argv": ["train.py"], "cwd": "/", "python": "python"}
    (sweeps / f"{id}.json").write_text(json.dumps(pointer | {"started": started}))


def test_a_sweep_is_found_by_id_by_name_and_as_the_last(sweeps):
    point(sweeps, "sweep_1", 1.0, "depths")
    point(sweeps, "sweep_3", 3.0, "rates")
    point(sweeps, "sweep_2", 2.0, "depths")
    assert find("last").id == "sweep_3"
    assert find("sweep_1").folder == Path("/runs/sweep_1")
    assert find("depths").id == "sweep_2", "the newest of that name"


def test_a_broken_pointer_hides_none_of_the_others(sweeps):
    point(sweeps, "sweep_1", 1.0)
    (sweeps / "broken.json").write_text('{"id": "bro')
    (sweeps / "other.json").write_text("[]")
    assert [pointer.id for pointer in pointers()] == ["sweep_1"]


def test_a_sweep_that_is_not_there_is_answered_with_the_nearest(sweeps):
    with pytest.raises(NoSuchSweepError, match="No sweep was started here yet"):
        find("last")
    point(sweeps, "sweep_20261124", 1.0, "depths")
    with pytest.raises(NoSuchSweepError, match="no sweep 'depth'; the nearest are depths"):
        find("depth")


def test_a_sweep_whose_folder_was_removed_is_said_to_be_gone(sweeps):
    point(sweeps, "sweep_1", 1.0)
    with pytest.raises(SweepGoneError, match="The folder of sweep sweep_1, /runs/sweep_1, is not there any more"):
        find("sweep_1").check_there()
