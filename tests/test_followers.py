"""What a job has answered for becomes jobs of their own, wherever a crash has left it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hydra_plugins.sweeproute import _followers
from hydra_plugins.sweeproute._compose import Composer
from hydra_plugins.sweeproute._followers import Followers, followers_of, shares_record, whole_run_s
from hydra_plugins.sweeproute._records import SweepFolder, read_json, read_lines
from hydra_plugins.sweeproute._shared_fit import Follower, Group, answers, offer
from small_app import singletons_kept, start_sweep

CONF = {"config.yaml": "length: 10\nrest: 0\nwhere: null\nhydra: {sweep: {subdir: '${hydra.job.num}'}}\n"}
RECORD = {"id": "s", "overrides": [], "name": None, "note": None, "argv": [], "total": 3}
GROUP = Group("length", 60, (Follower(0, ("length=10", "rest=1"), 10), Follower(1, ("length=30", "rest=1"), 30)))
LAUNCH = {
    "sweep": "s", "job": 2, "attempt": 1, "overrides": ["length=60", "rest=1"], "platform": "here", "reason": "it fits",
    "decision": "scheduled", "state": "FINISHED", "current": True, "queued_at": 0.0, "started_at": 100.0,
    "ended_at": 300.0, "queue_s": 100.0, "run_s": 190.0, "value": {"auc": 0.7}, "unfit": None, "error": None,
    "identity": {"code_hash": "c"}, "far": {"id": "f"}, "device": "cpu", "threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def composer(tmp_path_factory):
    with singletons_kept():
        yield Composer(*start_sweep(tmp_path_factory.mktemp("app"), CONF))


def sweep_of(folder: Path, keep: bool = True) -> SweepFolder:
    return SweepFolder.open(folder, dict(RECORD), keep=keep)


def answer(folder: Path, number: int) -> None:
    """What a task leaves of a point."""
    own = folder / "prefix" / str(number)
    (own / "model").mkdir(parents=True)
    (own / "model" / "trees").write_text(f"trees of {number}")
    (own / "journal.jsonl").write_text(f"journal of {number}\n")
    (own / "value.json").write_text(json.dumps({"auc": number / 10}))


def finished(folder: Path, composer: Composer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A sweep whose job 2 has answered for 0 and 1, and has been recorded, and nothing more; its record."""
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    with sweep_of(folder, keep=False) as sweep:
        there = sweep.open_job("2", 2, 1)
        offer(there, GROUP, lambda one: {"fingerprint": f"of {one.number}"})
        for number in (0, 1):
            answer(there, number)
        settled = OverridesParser.create().parse_overrides(["where=cpu"])
        launch = LAUNCH | {"shares": shares_record(GROUP, settled)}
        Followers(sweep, composer).divide(launch, there)
        sweep.record_job(there, launch)
    return launch


def result(folder: Path) -> dict[str, Any]:
    """All that is to be seen of a sweep, by file; which of two attempts was listed first is not."""
    found: dict[str, Any] = {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and ".sweeproute" not in path.parts
    }
    found["listed"] = sorted(map(str, read_lines(folder / ".sweeproute" / "jobs.jsonl")))
    return found


def test_each_point_gets_its_own_record_folder_and_part_of_the_time(composer, monkeypatch, tmp_path):
    folder = tmp_path / "sweep"
    launch = finished(folder, composer, monkeypatch, tmp_path)
    assert whole_run_s(launch) == 190.0
    with sweep_of(folder) as sweep:
        taken = list(Followers(sweep, composer).take(launch, folder / "2", lambda *_: True))
    assert [(record["job"], where) for record, where in taken] == [(0, folder / "0"), (1, folder / "1")]
    records = [read_json(folder / str(number) / "launch.json") for number in (0, 1, 2)]
    assert [r["started_at"] for r in records] == [100.0, 120.0, 180.0]
    assert [r["ended_at"] for r in records] == [120.0, 180.0, 300.0]
    assert [r["run_s"] for r in records] == pytest.approx([19.0, 57.0, 114.0])
    assert records[0] == taken[0][0]
    assert {key: records[0][key] for key in ("value", "identity", "reason", "shared_fit", "overrides", "current")} == {
        "value": {"auc": 0.0},
        "identity": {"fingerprint": "of 0"},
        "reason": "it fits; shared the fit of job 2",
        "shared_fit": 2,
        "overrides": ["length=10", "rest=1"],
        "current": True,
    }
    assert records[0].keys() == LAUNCH.keys() - {"far"} | {"shared_fit"}
    assert (folder / "0" / "model" / "trees").read_text() == "trees of 0"
    assert (folder / "1" / ".hydra" / "overrides.yaml").read_text() == "- length=30\n- rest=1\n"
    assert (folder / "1" / ".hydra" / "config.yaml").read_text() == "length: 30\nrest: 1\nwhere: cpu\n"
    hydra = (folder / "1" / ".hydra" / "hydra.yaml").read_text()
    assert f"output_dir: {folder / '1'}" in hydra
    assert "num: 1" in hydra
    assert [line["job"] for line in read_lines(folder / ".sweeproute" / "jobs.jsonl")] == [2, 0, 1]
    assert not (folder / "2" / "prefix").exists()
    assert not (folder / "2" / "prefix.json").exists()


class Crash(BaseException):
    """Stands for a kill: nothing here catches it."""


CALLS = ("unlink", "replace", "mkdir", "write_text")


def crashing(monkeypatch: pytest.MonkeyPatch, after: int) -> Callable[[], int]:
    """Let what changes files crash from its n-th call on; gives how many calls there were."""
    done = 0

    def counted(before: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal done
            if done >= after:
                raise Crash
            done += 1
            return before(*arguments, **more)

        return call

    for name in CALLS:
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    monkeypatch.setattr(_followers.shutil, "rmtree", counted(shutil.rmtree))
    monkeypatch.setattr(SweepFolder, "list_job", counted(SweepFolder.list_job))
    return lambda: done


def test_wherever_it_was_cut_the_next_start_comes_to_the_same(composer, monkeypatch, tmp_path):
    whole = tmp_path / "whole" / "sweep"
    launch = finished(whole, composer, monkeypatch, tmp_path)
    with sweep_of(whole) as sweep, pytest.MonkeyPatch.context() as patch:
        calls = crashing(patch, 10_000)
        list(Followers(sweep, composer).take(launch, whole / "2", lambda *_: True))
        steps = calls()
    assert steps > 40
    expected = {name: str(text).replace(str(whole), "FOLDER") for name, text in result(whole).items()}
    for after in range(steps):
        folder = tmp_path / str(after) / "sweep"
        finished(folder, composer, monkeypatch, tmp_path)
        sweep = sweep_of(folder)
        with pytest.MonkeyPatch.context() as patch:
            crashing(patch, after)
            with pytest.raises(Crash):
                list(Followers(sweep, composer).take(launch, folder / "2", lambda *_: True))
        sweep._lock.release()
        with sweep_of(folder) as sweep:
            Followers(sweep, composer).take_rest()
            assert {n: one["state"] for n, one in sweep.launches.items()} == dict.fromkeys(range(3), "FINISHED"), after
        found = {name: str(text).replace(str(folder), "FOLDER") for name, text in result(folder).items()}
        left = {name for name in found if name.endswith("~")}  # half written beside its place
        assert {name: text for name, text in found.items() if name not in left} == expected, after


@pytest.mark.parametrize("state", ["FINISHED", "PRUNED"])
def test_what_has_a_result_already_is_left_as_it_is(state, composer, monkeypatch, tmp_path):
    folder = tmp_path / "sweep"
    finished(folder, composer, monkeypatch, tmp_path)
    with sweep_of(folder) as sweep:
        there = sweep.open_job("0", 0, 1)
        (there / "mine").touch()
        sweep.record_job(there, LAUNCH | {"job": 0, "overrides": ["length=10", "rest=1"], "value": 1.0, "state": state})
    with sweep_of(folder) as sweep:
        Followers(sweep, composer).take_rest()
        assert sweep.launches[0]["value"] == 1.0
        assert sweep.launches[1]["shared_fit"] == 2
    assert (folder / "0" / "mine").exists()


def test_an_attempt_that_failed_before_is_followed_by_another(composer, monkeypatch, tmp_path):
    folder = tmp_path / "sweep"
    finished(folder, composer, monkeypatch, tmp_path)
    with sweep_of(folder) as sweep:
        there = sweep.open_job("0", 0, 1)
        sweep.record_job(there, LAUNCH | {"job": 0, "overrides": ["length=10", "rest=1"], "state": "FAILED"})
    with sweep_of(folder) as sweep:
        Followers(sweep, composer).take_rest()
        assert (sweep.launches[0]["attempt"], sweep.launches[0]["state"]) == (2, "FINISHED")
    assert read_json(folder / "0" / "launch.json")["current"] is False
    assert (folder / "0.attempt2" / "model" / "trees").exists()


def test_what_an_earlier_sweep_left_in_the_folder_does_not_pass_for_its_own(composer, monkeypatch, tmp_path):
    folder = tmp_path / "sweep"
    for name in ("0/model/old", "0/launch.json", "0/progress.jsonl", "0/stop"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(LAUNCH | {"job": 0}) if name.endswith("json") else "old")
    launch = finished(folder, composer, monkeypatch, tmp_path)
    with sweep_of(folder) as sweep:
        assert len(list(Followers(sweep, composer).take(launch, folder / "2", lambda *_: True))) == 2
    assert sorted(path.name for path in (folder / "0").iterdir()) == [
        ".hydra", "console.log", "journal.jsonl", "launch.json", "model"
    ]  # fmt: skip
    assert not (folder / "0" / "model" / "old").exists()


def test_a_result_that_was_taken_over_from_another_sweep_answers_for_none():
    launch = LAUNCH | {"shares": shares_record(GROUP, ())}
    assert followers_of(launch) == GROUP.followers
    assert followers_of(launch | {"reused": {"sweep": "other"}}) == ()


def test_only_what_was_asked_for_and_is_whole_counts_as_answered(tmp_path):
    offer(tmp_path, GROUP, lambda _: None)
    assert answers(tmp_path, GROUP) == []
    for number in (0, 1, 7):
        answer(tmp_path, number)
    assert [one.follower.number for one in answers(tmp_path, GROUP)] == [0, 1]
    (tmp_path / "prefix" / "1" / "value.json").unlink()
    assert [one.follower.number for one in answers(tmp_path, GROUP)] == [0]
    content = read_json(tmp_path / "prefix.json")
    content["points"][0]["overrides"] = ["length=11"]
    (tmp_path / "prefix.json").write_text(json.dumps(content))
    assert answers(tmp_path, GROUP) == []
    (tmp_path / "prefix.json").write_text("[]")
    assert answers(tmp_path, GROUP) == []


def test_a_job_that_answers_for_none_finds_nothing_of_an_earlier_one(tmp_path):
    offer(tmp_path, GROUP, lambda _: None)
    answer(tmp_path, 0)
    offer(tmp_path, None, lambda _: None)
    assert not (tmp_path / "prefix.json").exists()
    offer(tmp_path, GROUP, lambda _: None)
    assert answers(tmp_path, GROUP) == []
