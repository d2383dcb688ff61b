"""A study log is healed after any crash, and stays a journal that Optuna itself reads and writes."""

import os
import random
import shutil
import signal
import stat

import optuna
import pytest

from hydra_plugins.sweeproute import _study_log
from hydra_plugins.sweeproute._errors import SettingsError, SweepError
from hydra_plugins.sweeproute._study_log import heal, open_storage
from processes import until
from small_study import MIXED, continuous, events, happen, opened, plain, space_of, worth

LINE = space_of(continuous("x"))


@pytest.fixture
def log(tmp_path):
    """A log of which the last step is an ask of several lines, that step's beginning, and what was asked for."""
    study, asked = opened(tmp_path, "tpe"), []
    happen(study, list(events(20)), asked)
    path = tmp_path / "study.log"
    begun = path.stat().st_size
    return path, begun, study.ask()


def test_a_step_is_one_write_that_optuna_reads(log, tmp_path):
    path, begun, proposal = log
    lines = path.read_bytes()[begun:].splitlines()
    assert len(lines) > 4
    assert [b'"more":true' in line for line in lines] == [True] * (len(lines) - 1) + [False]
    trial = plain(tmp_path).trials[proposal.trial]
    assert trial.params == {**proposal.values}
    assert trial.state == optuna.trial.TrialState.RUNNING
    assert plain(tmp_path).best_value is not None


def test_a_step_that_was_cut_at_any_byte_is_taken_away(log, tmp_path):
    path, begun, _ = log
    written = path.read_bytes()
    last = written.rindex(b"\n", 0, -1)
    for cut in [*range(begun, last, 23), *range(last, len(written))]:
        path.write_bytes(written[:cut])
        heal(path)
        assert path.stat().st_size == begun, f"cut at byte {cut - begun} of the step"
    path.write_bytes(written)
    heal(path)
    assert path.read_bytes() == written


def test_the_last_line_of_a_step_of_one_line_is_cut_at_any_byte(tmp_path):
    study = opened(tmp_path, space=LINE)
    path, trial = tmp_path / "study.log", study.ask().trial
    begun = path.stat().st_size
    study.tell(trial, [0.5], "complete")
    written = path.read_bytes()
    assert written[begun:].count(b"\n") == 1
    for cut in range(begun, len(written)):
        path.write_bytes(written[:cut])
        again = opened(tmp_path, space=LINE)
        assert [one.trial for one in again.running()] == [trial]
        again.tell(trial, [0.25], "complete")
        assert plain(tmp_path).trials[0].value == 0.25


def test_after_a_cut_ask_the_same_point_is_asked_for(log, tmp_path):
    path, begun, proposal = log
    written = path.read_bytes()
    for cut in (begun, begun + 1, (begun + len(written)) // 2, len(written) - 1):
        path.write_bytes(written[:cut])
        again = opened(tmp_path, "tpe").ask()
        assert (again, again.values) == (proposal, proposal.values)


def test_blocks_that_a_power_cut_left_empty_are_taken_away(log):
    path, begun, _ = log
    written = path.read_bytes()
    path.write_bytes(written[: begun + 100] + bytes(300))
    heal(path)
    assert path.read_bytes() == written[:begun]


def test_a_lock_that_was_left_behind_is_removed(log, tmp_path):
    path, _, _ = log
    (tmp_path / "study.log.lock").symlink_to("a/relative/study.log")  # as Optuna makes it of a relative path
    (tmp_path / "study.log.lock0815.rename").symlink_to(path)
    assert opened(tmp_path, "tpe").ask() is not None
    assert not list(tmp_path.glob("*lock*"))


def test_what_is_no_study_log_is_left_as_it_is(tmp_path):
    path = tmp_path / "study.log"
    path.write_text("a diary\n")
    with pytest.raises(SweepError, match=r"study\.log is no study log of Optuna's"):
        open_storage(path)
    assert path.read_text() == "a diary\n"


def test_damage_in_the_middle_is_said(log):
    path, _, _ = log
    written = path.read_bytes()
    path.write_bytes(written[:40] + b"\xff\n" + written[60:])
    with pytest.raises(SweepError, match=r"study\.log is damaged"):
        open_storage(path)


def test_a_process_that_is_killed_while_it_writes_leaves_whole_trials(tmp_path):
    """Twenty times: asked, told and killed at any moment, then gone on with."""
    path, chance = tmp_path / "study.log", random.Random(2)
    opened(tmp_path, space=MIXED)
    for _ in range(20):
        size = path.stat().st_size
        child = os.fork()
        if child == 0:
            try:
                study = opened(tmp_path, space=MIXED)
                for one in study.running():
                    study.tell(one.trial, [worth(one)], "complete")
                while (proposal := study.ask()) is not None:
                    study.tell(proposal.trial, [worth(proposal)], "complete")
            finally:
                os._exit(1)
        goal = size + chance.randrange(1, 20_000)
        until(lambda goal=goal: path.stat().st_size > goal, "more of the log")
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        told = opened(tmp_path, space=MIXED)
        trials = plain(tmp_path).trials
        assert len(told.running()) <= 1
        for one in trials:
            there = {key.key for key in MIXED.dimensions if key.exists(one.params)}
            assert one.params.keys() == there, one
    assert len(trials) > 40


def test_another_writer_of_optuna_s_is_heard(tmp_path):
    study = opened(tmp_path, space=LINE)
    study.tell(study.ask().trial, [1.0], "complete")
    other = plain(tmp_path)
    other.enqueue_trial({"x": 0.5})
    other.set_user_attr("note", "by hand")
    queued, sampled = study.ask(), study.ask()
    assert queued.values == {"x": 0.5}
    assert sampled.values != queued.values
    study.tell(sampled.trial, [2.0], "complete")
    told = plain(tmp_path)
    assert told.user_attrs["note"] == "by hand"
    assert [one.value for one in told.trials] == [1.0, None, 2.0]


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    study = opened(tmp_path, space=LINE)
    asked = study.ask()
    written = (tmp_path / "study.log").read_bytes()

    def full(descriptor):
        assert stat.S_ISREG(os.fstat(descriptor).st_mode)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_study_log.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            study.tell(asked.trial, [1.0], "complete")
    assert (tmp_path / "study.log").read_bytes() == written
    with pytest.raises(OSError, match="an earlier step could not be written"):
        study.ask()  # of what is not on the disk nothing may follow
    again = opened(tmp_path, space=LINE)
    again.tell(asked.trial, [1.0], "complete")
    assert plain(tmp_path).best_value == 1.0


def test_a_log_is_copied_while_it_is_written(log, tmp_path):
    """What reads it meanwhile finds whole lines: a copy at any time opens."""
    path, _, _ = log
    (tmp_path / "copy").mkdir()
    shutil.copy(path, tmp_path / "copy")
    assert len(plain(tmp_path / "copy").trials) == len(plain(tmp_path).trials)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("study.db", "hydra.sweeper.storage is 'study.db', which cannot be opened"),
        ("sqlite:////no/such/folder/study.db", "unable to open database file"),
        ("nosql://here/study", "which cannot be opened"),
        ("postgresql://me:secret@here/study", r"postgresql://me:\*\*\*@here/study"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_said(url, sentence):
    with pytest.raises(SettingsError, match=sentence) as caught:
        open_storage(url)
    assert "secret" not in str(caught.value)
    assert "null keeps the studies in the sweep's folder" in str(caught.value)
