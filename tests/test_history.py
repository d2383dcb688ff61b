"""What has run is read back from what was written while it ran."""

import json

import pytest

from handmade_sweep import HandmadeSweep
from sweeproute import history
from sweeproute.pointers import Pointer


@pytest.fixture
def sweep(tmp_path):
    return HandmadeSweep(tmp_path / "sweep", state="FINISHED", started=1000.0)


def note(sweep, *lines):
    with (sweep.root / ".sweeproute" / "platforms.jsonl").open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def test_attempts_come_from_the_history_and_torn_lines_are_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path))
    assert history.attempts() == []
    line = {"model": "GLM", "platform": "here", "overrides": ["c=1"], "seconds": 2.5, "outcome": "FINISHED", "at": 7.0}
    other = {"outcome": "FAILED", "platform": "box"}
    text = "\n".join([json.dumps(line), "[1]", '{"no": "platform"}', json.dumps(other), '{"model": "GL'])
    (tmp_path / "history.jsonl").write_text(text)
    assert history.attempts() == [
        history.Attempt("GLM", "here", ("c=1",), "FINISHED", 2.5, 7.0),
        history.Attempt(None, "box", (), "FAILED", None, None),
    ]


def test_a_sweep_is_its_attempts_and_its_sessions(sweep):
    sweep.finish(sweep.start(0, fields={"model_type": "GLM"}), {"auc": 0.7}, ended_at=1010.0)
    sweep.change(sweep.start(1, 1), state="KILLED", ended_at=1005.0, run_s=1.0)
    sweep.start(2)
    note(
        sweep,
        {"at": 1000.0, "slots": {"here": 2}},
        {"at": 1000.0, "platform": "here", "condition": "available"},
        {"at": 1030.0, "ends": True},
        {"at": 2000.0, "slots": {"here": 1}},
        {"at": 2005.0, "platform": "here", "cpu": 50.0},
    )
    found = history.sweep(sweep.root)
    assert found is not None
    assert [(one.model, one.outcome, one.current, one.run_s) for one in found.attempts] == [
        ("GLM", "FINISHED", True, 2.0),
        (None, "KILLED", False, 1.0),
    ]
    # the second coordinator was killed: it lived at least until its last note
    assert [(one.started, one.ended, one.slots) for one in found.sessions] == [
        (1000.0, 1030.0, {"here": 2}),
        (2000.0, 2005.0, {"here": 1}),
    ]
    assert found.seconds == 35.0


def test_an_attempt_that_its_platform_could_not_run_at_all_is_none(sweep):
    sweep.finish(sweep.start(0, attempt=2), {"auc": 0.7})
    for state, error in (("FAILED", "precheck"), ("KILLED", "precheck"), ("FAILED", "user")):
        folder = sweep.start(0 if error == "precheck" else 1, platform=f"{state.lower()} {error}")
        sweep.change(folder, state=state, ended_at=1005.0, run_s=3.0, error={"class": error, "message": ""})
        found = history.sweep(sweep.root)
        assert found is not None
        platforms = {one.platform for one in found.attempts}
        assert platforms == {"local_m4"} if error == "precheck" else {"local_m4", "failed user"}


def test_notes_of_an_earlier_sweep_in_the_same_folder_are_not_its_own(sweep):
    note(sweep, {"at": 10.0, "slots": {"here": 9}}, {"at": 20.0, "ends": True})
    found = history.sweep(sweep.root)
    assert found is not None
    assert (found.sessions, found.seconds) == ((), None)


def test_what_is_no_sweep_or_still_runs_has_no_figures(sweep, tmp_path):
    assert history.sweep(tmp_path) is None
    sweep.save(state="RUNNING", host="elsewhere")
    assert history.sweep(sweep.root) is None


def test_sweeps_whose_folder_has_gone_to_another_are_passed_over(sweep, tmp_path):
    pointers = [
        Pointer(id, None, folder, (), tmp_path, "python", 0.0)
        for id, folder in (("sweep_a", sweep.root), ("sweep_b", sweep.root), ("sweep_c", tmp_path / "gone"))
    ]
    assert [one.id for one in history.sweeps(pointers)] == ["sweep_a"]
