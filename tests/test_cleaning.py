"""Cleaning removes what old sweeps made themselves, and nothing that anybody still needs."""

import json
import os
import socket
import time

import pytest
from filelock import FileLock

from handmade_sweep import HandmadeSweep, fresh_store
from sweeproute import cleaning, registry
from sweeproute.store import connect
from sweeproute.tracking_status import Settings, Status, add_copy, save

NOW = 1_700_000_000.0


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder for sweeps, in which this machine's state lies too."""
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    return tmp_path


def ended(home, id="sweep_a", at=NOW, **record):
    """A sweep of two jobs that has ended."""
    settings = {"state": "FINISHED", "started": at - 60, "ended": at, "host": socket.gethostname()} | record
    sweep = HandmadeSweep(home / id, id, **settings)
    for job in range(2):
        sweep.run(job, auc=0.7)
    (sweep.root / "multirun.yaml").write_text("a: 1\n")
    sweep.point(home / "state")
    return sweep


def old(before=NOW + 1, registered=lambda uri: ()):
    return cleaning.old_sweeps(before, registered)


def test_what_ended_before_is_found_with_its_size_the_oldest_first(home):
    ended(home, "sweep_b", NOW - 10)
    sweep = ended(home)
    ended(home, "sweep_c", NOW + 10)
    first, second = old()
    assert [first.pointer.id, second.pointer.id] == ["sweep_b", "sweep_a"]
    assert second.kept is None
    assert second.jobs == 2
    assert {path.name for path in second.paths} == {"0", "1", "multirun.yaml", ".sweeproute"}
    assert second.bytes == sum(path.stat().st_size for path in sweep.root.rglob("*") if path.is_file())


def test_a_removed_sweep_leaves_no_folder_and_no_pointer(home):
    sweep = ended(home)
    assert cleaning.remove(old()[0])
    assert not sweep.root.exists()
    assert not list((home / "state" / "sweeps").iterdir())


def test_what_lies_beside_a_sweep_in_its_folder_stays(home):
    sweep = ended(home)
    (sweep.root / "notes.txt").write_text("mine")
    (sweep.root / "thesis").mkdir()
    assert cleaning.remove(old()[0])
    assert {path.name for path in sweep.root.iterdir()} == {"notes.txt", "thesis"}


@pytest.mark.parametrize("folder", [".", "..", "../elsewhere", "link"])
def test_a_job_whose_folder_is_not_below_the_sweeps_is_left_alone(home, folder):
    sweep = ended(home)
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data.csv").write_text("a,b\n")
    (sweep.root / "link").symlink_to(elsewhere)
    with (sweep.root / ".sweeproute" / "jobs.jsonl").open("a") as file:
        file.write(json.dumps({"job": 2, "attempt": 1, "folder": folder}) + "\n")
    assert cleaning.remove(old()[0])
    assert (elsewhere / "data.csv").exists()
    assert (home / "state").exists()


def test_a_sweep_that_runs_is_kept(home):
    sweep = ended(home, state="RUNNING", ended=None)
    with FileLock(sweep.root / ".sweeproute" / "lock"):
        (found,) = old()
        assert found.kept == "is running"
    (found,) = old()
    assert found.kept is None


def test_a_sweep_that_somebody_has_begun_to_run_in_the_meantime_is_kept(home):
    sweep = ended(home)
    (found,) = old()
    with FileLock(sweep.root / ".sweeproute" / "lock"):
        assert not cleaning.remove(found)
    assert (sweep.root / "0").exists()


def test_a_sweep_whose_runs_are_not_all_written_is_kept(home):
    sweep = ended(home)
    save(sweep.root, Settings("sqlite:///nowhere.db"), Status(written=1, total=3))
    assert old()[0].kept == "has 2 runs that are not written to MLflow yet (sweeproute sync sweep_a)"


def test_a_sweep_whose_jobs_another_machine_may_still_run_is_kept(home):
    ended(home, state="KILLED").start(2, platform="remote_4090", far={"id": "x"})
    assert old()[0].kept == ("has jobs on remote_4090 that may still run (sweeproute resume sweep_a collects them)")


def test_a_sweep_with_a_registered_model_is_kept(home, tmp_path):
    uri = fresh_store(tmp_path)
    client = connect(uri)
    for id in ("sweep_a", "sweep_b"):
        save(ended(home, id).root, Settings(uri), Status(written=3, total=3))
    run = client.create_run("0", tags={"sweeproute.sweep": "sweep_b"})
    client.create_registered_model("nfl-win")
    client.create_model_version("nfl-win", "file:///somewhere", run.info.run_id)
    assert registry.registered_sweeps(uri) == {"sweep_b"}
    kept = {one.pointer.id: one.kept for one in old(registered=registry.registered_sweeps)}
    assert kept == {"sweep_a": None, "sweep_b": "has a run that became a registered model"}


def test_a_sweep_that_was_copied_and_registered_there_is_kept(home, tmp_path):
    for name in ("own", "copy"):
        (tmp_path / name).mkdir()
    uri, copy = fresh_store(tmp_path / "own"), fresh_store(tmp_path / "copy")
    root = ended(home).root
    save(root, Settings(uri), Status(written=2, total=2))
    assert old(registered=registry.registered_sweeps)[0].kept is None
    add_copy(root, copy)
    client = connect(copy)
    run = client.create_run("0", tags={"sweeproute.sweep": "sweep_a"})
    client.create_registered_model("nfl-win")
    client.create_model_version("nfl-win", "file:///somewhere", run.info.run_id)
    assert old(registered=registry.registered_sweeps)[0].kept == "has a run that became a registered model"


def test_a_sweep_whose_store_cannot_be_asked_is_kept_with_the_reason(home, tmp_path):
    save(ended(home).root, Settings(f"sqlite:///{tmp_path}/gone.db"), Status(written=3, total=3))
    (found,) = old(registered=registry.registered_sweeps)
    assert found.kept is not None
    assert found.kept.startswith("may have a run that became a registered model: there is no tracking store ")


def test_a_pointer_to_what_is_gone_is_removed_and_the_folder_of_another_sweep_is_not(home):
    sweep = ended(home)
    sweep.save(id="sweep_b")
    (found,) = old()
    assert (found.paths, found.kept) == ((), None)
    assert cleaning.remove(found)
    assert not list((home / "state" / "sweeps").iterdir())
    assert (sweep.root / "0").exists()


def test_files_of_the_cache_that_nobody_has_used_are_found(tmp_path):
    for name, used in (("data/old.parquet", NOW - 10), ("data/read.parquet", NOW - 10), ("new.json", NOW + 10)):
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        os.utime(path, (NOW + 5 if "read" in name else used, used))
    assert cleaning.old_caches(tmp_path / "cache", NOW) == [tmp_path / "cache" / "data" / "old.parquet"]
    assert cleaning.old_caches(tmp_path / "nowhere", time.time()) == []
