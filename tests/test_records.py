"""The files of a sweep outlive a crash at any moment, and tell the next start what there is."""

import json
import os
import subprocess
import sys

import pytest

from hydra_plugins.sweeproute._errors import SettingsError, SweepBusyError
from hydra_plugins.sweeproute._records import (
    OURS,
    SweepFolder,
    append_line,
    comparable,
    newest_unfinished,
    read_history,
    read_json,
    read_lines,
    state_dir,
    write_json,
)

RECORD = {"id": "sweep_1", "name": None, "note": None, "overrides": ["x=1,2"], "argv": ["app.py", "-m"], "total": 2}


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))


def launch(job, attempt=1, state="FINISHED", current=True, **more):
    return {
        "sweep": "sweep_1",
        "job": job,
        "attempt": attempt,
        "overrides": [f"x={job}"],
        "state": state,
        "current": current,
        "started_at": 1.0,
        "ended_at": None,
        "error": None,
        **more,
    }


def crash(sweep):
    """What is left when the coordinator is killed: the files as they are, and a lock that nobody holds."""
    sweep._lock.release()


def run(sweep, job, attempt=1, **more):
    folder = sweep.open_job(str(job), job, attempt)
    sweep.record_job(folder, launch(job, attempt, **more))
    return folder


def test_a_record_is_whole_whenever_it_is_read(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"a": 1})
    # A writer that died beside: its file is nobody's record.
    (tmp_path / "record.json.4711~").write_text('{"a": ')
    assert read_json(path) == {"a": 1}
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2}


@pytest.mark.parametrize("content", ["", '{"a": ', "[1, 2]", "null", "\0\0\0\0", "\udcff"])
def test_what_a_crash_made_of_a_record_reads_as_none(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert read_json(path) is None
    assert read_json(tmp_path / "absent.json") is None


def test_a_line_that_a_crash_has_cut_costs_itself_alone(tmp_path):
    path = tmp_path / "log.jsonl"
    append_line(path, {"n": 1})
    append_line(path, {"n": 2})
    path.write_bytes(path.read_bytes() + b'{"n": 3, "fold')
    assert [line["n"] for line in read_lines(path)] == [1, 2]
    append_line(path, {"n": 4})
    append_line(path, {"n": 5})
    assert [line["n"] for line in read_lines(path)] == [1, 2, 4, 5]


def test_lines_may_hold_any_text(tmp_path):
    path = tmp_path / "log.jsonl"
    written = [{"text": "a\u2028b\x85c\x0bd\ne"}, {"text": "Zürich \udcff"}]
    for line in written:
        append_line(path, line)
    assert list(read_lines(path)) == written


def test_a_log_that_is_not_there_has_no_lines(tmp_path):
    assert list(read_lines(tmp_path / "absent.jsonl")) == []


def test_of_a_long_history_the_newest_is_read(tmp_path):
    assert list(read_history()) == []
    state_dir().mkdir(parents=True)
    for n in range(100):
        append_line(state_dir() / "history.jsonl", {"n": n})
    newest = [line["n"] for line in read_history(limit=105)]
    assert newest == list(range(100 - len(newest), 100))
    assert len(newest) == 10
    assert [line["n"] for line in read_history()] == list(range(100))


def test_the_record_of_a_sweep_says_how_it_stands(tmp_path):
    with SweepFolder.open(tmp_path / "out", RECORD) as sweep:
        running = json.loads((sweep.ours / "sweep.json").read_text())
        assert (running["state"], running["pid"], running["ended"], running["id"]) == (
            "RUNNING",
            os.getpid(),
            None,
            "sweep_1",
        )
        run(sweep, 0)
    ended = json.loads((tmp_path / "out" / OURS / "sweep.json").read_text())
    assert ended["state"] == "FINISHED"
    assert ended["ended"] >= ended["started"]


@pytest.mark.parametrize(
    ("raised", "states", "expected"),
    [
        (None, ["FINISHED", "FINISHED"], "FINISHED"),
        (None, ["FINISHED", "FAILED"], "FAILED"),
        (ValueError, ["FINISHED"], "FAILED"),
        (KeyboardInterrupt, ["FINISHED", "KILLED"], "KILLED"),
    ],
)
def test_a_sweep_ends_as_its_jobs_did(tmp_path, raised, states, expected):
    def go():
        with SweepFolder.open(tmp_path / "out", RECORD) as sweep:
            for job, state in enumerate(states):
                run(sweep, job, state=state)
            if raised:
                raise raised

    if raised:
        with pytest.raises(raised):
            go()
    else:
        go()
    assert read_json(tmp_path / "out" / OURS / "sweep.json")["state"] == expected


def test_a_sweep_that_was_refused_before_any_job_is_none_to_go_on_with(tmp_path):
    with pytest.raises(SettingsError), SweepFolder.open(tmp_path / "sweep", RECORD):
        raise SettingsError("no such platform")
    assert not list((state_dir() / "sweeps").iterdir())


def test_a_pointer_names_the_folder_from_the_start(tmp_path):
    with SweepFolder.open(tmp_path / "out", RECORD):
        pointer = read_json(state_dir() / "sweeps" / "sweep_1.json")
        assert pointer["folder"] == str((tmp_path / "out").resolve())
        assert pointer["cwd"] == os.getcwd()  # noqa: PTH109
        assert pointer["overrides"] == ["x=1,2"]


def test_a_folder_has_one_coordinator(tmp_path):
    with SweepFolder.open(tmp_path / "out", RECORD):
        before = (tmp_path / "out" / OURS / "sweep.json").read_text()
        with pytest.raises(SweepBusyError, match=f"is being run by process {os.getpid()}"):
            SweepFolder.open(tmp_path / "out", RECORD | {"id": "other"}, keep=True)
        with pytest.raises(SweepBusyError):
            SweepFolder.open(tmp_path / "out", RECORD)
        assert (tmp_path / "out" / OURS / "sweep.json").read_text() == before
    SweepFolder.open(tmp_path / "out", RECORD)._lock.release()


def test_the_lock_of_a_killed_coordinator_is_free(tmp_path):
    program = (
        "import sys, os, signal\n"
        "from hydra_plugins.sweeproute._records import SweepFolder\n"
        f"SweepFolder.open(sys.argv[1], {RECORD!r})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "out")], timeout=60)
    assert done.returncode == -9
    with SweepFolder.open(tmp_path / "out", RECORD, keep=True) as sweep:
        assert sweep.record["state"] == "RUNNING"


def test_a_resumed_sweep_keeps_its_name_and_counts_from_its_first_start(tmp_path):
    with SweepFolder.open(tmp_path / "out", RECORD | {"name": "mine"}) as sweep:
        started = sweep.record["started"]
    again = RECORD | {"id": "sweep_2", "name": None, "argv": ["other"], "overrides": ["x=1,2", "resume=true"]}
    with SweepFolder.open(tmp_path / "out", again, keep=True) as sweep:
        kept = sweep.record
        assert (kept["id"], kept["name"], kept["started"], kept["argv"]) == (
            "sweep_1",
            "mine",
            started,
            ["app.py", "-m"],
        )
        assert (kept["state"], kept["ended"]) == ("RUNNING", None)


def test_a_search_that_is_to_go_further_keeps_its_command_but_for_that(tmp_path):
    begun = ["app.py", "-m", "hydra.sweeper.n_trials=3", "x=1", "hydra.sweep.dir=out"]
    with SweepFolder.open(tmp_path / "out", RECORD | {"argv": begun}):
        pass
    further = ["app.py", "-m", "x=1", "resume=true", "++hydra.sweeper.n_trials=9"]
    with SweepFolder.open(tmp_path / "out", RECORD | {"argv": further}, keep=True) as sweep:
        assert sweep.record["argv"] == ["app.py", "-m", "x=1", "hydra.sweep.dir=out", "++hydra.sweeper.n_trials=9"]


def test_what_ran_when_the_coordinator_died_is_killed_on_resume(tmp_path):
    sweep = SweepFolder.open(tmp_path / "out", RECORD)
    run(sweep, 0)
    running = run(sweep, 1, state="RUNNING", current=False)
    crash(sweep)
    with SweepFolder.open(tmp_path / "out", RECORD, keep=True) as sweep:
        assert sweep.launches[0]["state"] == "FINISHED"
        assert sweep.launches[1]["state"] == "KILLED"
        on_disk = read_json(running / "launch.json")
        assert (on_disk["state"], on_disk["error"]["class"]) == ("KILLED", "lost")
        assert on_disk["ended_at"] >= on_disk["started_at"]
        assert (sweep.folder / sweep.launches[1]["folder"]) == running


def test_a_job_whose_record_was_never_written_counts_as_not_started(tmp_path):
    sweep = SweepFolder.open(tmp_path / "out", RECORD)
    folder = sweep.open_job("0", 0, 1)
    (folder / "launch.json.99~").write_text('{"job": 0, "sta')
    (sweep.open_job("1", 1, 1) / "launch.json").write_text('{"job": 1, ')
    crash(sweep)
    with SweepFolder.open(tmp_path / "out", RECORD, keep=True) as sweep:
        assert sweep.launches == {}
        run(sweep, 0)
        assert sweep.launches[0]["state"] == "FINISHED"


def test_a_torn_list_of_jobs_forgets_the_torn_job_alone_and_no_later_one(tmp_path):
    sweep = SweepFolder.open(tmp_path / "out", RECORD)
    run(sweep, 0)
    run(sweep, 1)
    crash(sweep)
    jobs = sweep.ours / "jobs.jsonl"
    jobs.write_bytes(jobs.read_bytes()[:-9])
    sweep = SweepFolder.open(tmp_path / "out", RECORD, keep=True)
    assert set(sweep.launches) == {0}
    run(sweep, 1)
    run(sweep, 2)
    crash(sweep)
    with SweepFolder.open(tmp_path / "out", RECORD, keep=True) as sweep:
        assert set(sweep.launches) == {0, 1, 2}


def test_one_attempt_of_a_job_is_current(tmp_path):
    def current():
        return [read_json(folder / "launch.json")["current"] for folder in folders]

    folders = []
    sweep = SweepFolder.open(tmp_path / "out", RECORD)
    folders.append(run(sweep, 0, 1, state="KILLED", current=True))
    folders.append(run(sweep, 0, 2, state="RUNNING", current=False))
    assert current() == [True, False]
    sweep.record_job(folders[1], launch(0, 2, state="FAILED", current=True))
    assert current() == [False, True]
    crash(sweep)
    with SweepFolder.open(tmp_path / "out", RECORD, keep=True) as sweep:
        assert sweep.launches[0]["attempt"] == 2
        folders.append(run(sweep, 0, 3, current=True))
        assert current() == [False, False, True]
    assert [folder.name for folder in folders] == ["0", "0.attempt2", "0.attempt3"]


def test_a_new_sweep_in_an_old_folder_takes_nothing_over(tmp_path):
    with SweepFolder.open(tmp_path / "out", RECORD) as sweep:
        folder = run(sweep, 0)
        for name in ("journal.jsonl", "progress.jsonl", "stop", "kept.txt"):
            (folder / name).touch()
    with SweepFolder.open(tmp_path / "out", RECORD | {"id": "sweep_2"}) as sweep:
        assert sweep.launches == {}
        assert sweep.record["id"] == "sweep_2"
        assert sweep.open_job("0", 0, 1) == folder
        assert [path.name for path in folder.iterdir()] == ["kept.txt"]
        assert list(read_lines(sweep.ours / "jobs.jsonl")) == [{"job": 0, "attempt": 1, "folder": "0"}]


def test_jobs_may_lie_in_folders_of_folders(tmp_path):
    sweep = SweepFolder.open(tmp_path / "out", RECORD)
    folder = sweep.open_job("model=a/seed=1", 0, 1)
    sweep.record_job(folder, launch(0))
    crash(sweep)
    with SweepFolder.open(tmp_path / "out", RECORD, keep=True) as sweep:
        assert sweep.launches[0]["folder"] == "model=a/seed=1"


def test_two_jobs_that_are_named_alike_have_folders_of_their_own(tmp_path):
    sweep = SweepFolder.open(tmp_path / "out", RECORD)
    folders = [sweep.open_job("same", job, 1) for job in (0, 1, 2)]
    for job, folder in enumerate(folders):
        sweep.record_job(folder, launch(job))
    crash(sweep)
    assert [folder.name for folder in folders] == ["same", "same.job1", "same.job2"]
    with SweepFolder.open(tmp_path / "out", RECORD, keep=True) as sweep:
        assert [sweep.launches[job]["folder"] for job in range(3)] == ["same", "same.job1", "same.job2"]
        assert sweep.open_job("same", 1, 2).name == "same.attempt2"
        assert sweep.open_job("same", 2, 2).name == "same.attempt2.job2"


class TestNewestUnfinished:
    @pytest.fixture
    def sweeps(self, tmp_path, monkeypatch):
        """From id to folder: of sweeps that were killed, each started later than the one before."""
        monkeypatch.setattr("time.time", iter(range(1000, 10_000)).__next__)

        def kill(identifier, *overrides):
            folder = tmp_path / identifier
            crash(SweepFolder.open(folder, RECORD | {"id": identifier, "overrides": list(overrides)}))
            return folder.resolve()

        return kill

    def test_is_that_of_the_same_overrides_in_any_order(self, sweeps):
        folder = sweeps("a", "x=1,2", "model=m")
        sweeps("b", "x=1,2")
        sweeps("c", "x=1,2", "model=n")
        assert newest_unfinished(["model=m", "x=1,2"]) == folder
        assert newest_unfinished(["model=o", "x=1,2"]) is None

    def test_sets_resume_and_the_folder_aside(self, sweeps):
        folder = sweeps("a", "x=1,2", "hydra.sweep.dir=here")
        for words in (["resume=true"], ["hydra.sweeper.resume=keep"], ["resume=rerun", "hydra.sweep.dir=there"]):
            assert newest_unfinished(["x=1,2", *words]) == folder
        assert comparable(["b=1", "resume=true", "a=2", "++resume=true"]) == ["a=2", "b=1"]

    def test_is_the_newest(self, sweeps):
        sweeps("z", "x=1")
        newest = sweeps("a", "x=1")
        assert newest_unfinished(["x=1"]) == newest

    def test_is_not_one_that_finished(self, sweeps, tmp_path):
        older = sweeps("a", "x=1")
        with SweepFolder.open(tmp_path / "b", RECORD | {"id": "b", "overrides": ["x=1"]}) as sweep:
            run(sweep, 0)
        assert newest_unfinished(["x=1"]) == older

    def test_is_one_that_finished_where_the_search_is_to_go_further(self, sweeps, tmp_path):
        def finish(identifier, *overrides):
            with SweepFolder.open(
                tmp_path / identifier, RECORD | {"id": identifier, "overrides": list(overrides)}
            ) as one:
                run(one, 0)

        finish("a", "x=1", "hydra.sweeper.n_trials=3")
        assert newest_unfinished(["x=1", "hydra.sweeper.n_trials=3"]) is None
        assert newest_unfinished(["x=1", "++hydra.sweeper.n_trials=3"]) is None
        assert newest_unfinished(["x=1", "hydra.sweeper.n_trials=5"]) == (tmp_path / "a").resolve()
        killed = sweeps("b", "x=1", "hydra.sweeper.n_trials=5")
        finish("c", "x=1", "hydra.sweeper.n_trials=3")
        assert newest_unfinished(["x=1", "hydra.sweeper.n_trials=7"]) == killed
        finish("d", "x=2", "hydra.sweeper.timeout_min=9")  # minutes are counted anew
        assert newest_unfinished(["x=2", "hydra.sweeper.timeout_min=9"]) == (tmp_path / "d").resolve()

    def test_is_of_this_working_directory(self, sweeps, tmp_path, monkeypatch):
        sweeps("a", "x=1")
        monkeypatch.chdir(tmp_path)
        assert newest_unfinished(["x=1"]) is None

    def test_passes_over_what_was_deleted_or_overwritten(self, sweeps):
        kept = sweeps("a", "x=1")
        gone = sweeps("b", "x=1")
        (gone / OURS / "sweep.json").unlink()
        overwritten = sweeps("c", "x=1")
        write_json(overwritten / OURS / "sweep.json", {"id": "other", "state": "RUNNING"})
        (state_dir() / "sweeps" / "torn.json").write_text('{"id": "d", "fol')
        assert newest_unfinished(["x=1"]) == kept
