"""The state of every job can be told from its files, and of all who want to run it one does."""

import json
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from far_side import FarSide
from submitit_ssh.far import processes, specs
from submitit_ssh.far.job_folder import End, Run, claim, has_survived, put_result, read_result, read_run, write
from submitit_ssh.far.records import Job, Records, reordered


@pytest.fixture
def records(tmp_path: Path) -> Records:
    one = Records(tmp_path / "root")
    one.open()
    return one


def spec(**fields: Any) -> dict[str, Any]:
    return specs.check({**FarSide(Path("/somewhere")).spec(), **fields})


def add(records: Records, count: int = 1) -> list[Job]:
    return [records.add(spec(), 0.0) for _ in range(count)]


def run_of(pid: int, start_time: int | None = None, boot_id: str | None = None) -> Run:
    started = processes.start_time(pid) if start_time is None else start_time
    return Run(pid, started or 0, boot_id or processes.boot_id(), 0, [], 0.0, 0.0)


def test_what_is_submitted_is_found_again_in_its_order_without_its_argument_in_memory(records: Records) -> None:
    jobs = add(records, 12)
    found = Records(records.root).open()
    assert found == jobs
    assert not hasattr(found[0], "argument")
    assert {job.environment for job in jobs} == {jobs[0].environment}
    assert len(list(records.environments.iterdir())) == 1


def test_an_order_is_kept_and_jobs_that_come_later_stay_behind(records: Records) -> None:
    jobs = add(records, 4)
    records.put_order([jobs[3].id, jobs[0].id, "f" * 32])
    late = Records(records.root)
    late.open()
    (last,) = add(late)
    found = [job.id for job in Records(records.root).open()]
    assert found == [jobs[3].id, jobs[1].id, jobs[2].id, jobs[0].id, last.id]


@pytest.mark.parametrize("seed", range(10))
def test_a_new_order_moves_only_what_it_names(seed: int) -> None:
    chance = random.Random(seed)
    jobs = [Job(f"{n}", "", "", number=n) for n in range(20)]
    named = [*chance.sample([job.id for job in jobs], 8), "unknown"]
    found = [job.id for job in reordered(jobs, named)]
    assert sorted(found) == sorted(job.id for job in jobs)
    assert [one for one in found if one in named] == named[:-1]
    assert all(found[place] == job.id for place, job in enumerate(jobs) if job.id not in named)


def test_of_all_who_claim_a_job_one_gets_it(records: Records) -> None:
    jobs = add(records, 20)
    start, go = os.pipe()
    children = []
    for _ in range(6):
        pid = os.fork()
        if pid == 0:
            os.close(go)
            os.read(start, 1)  # until all are there
            won = sum(claim(records.folder(job.id), run_of(os.getpid())) for job in jobs)
            os._exit(won)
        children.append(pid)
    os.close(start)
    os.close(go)
    wins = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children}
    assert sum(wins.values()) == len(jobs)
    owners = [read_run(records.folder(job.id)) for job in jobs]
    assert all(owner is not None and owner.pid in wins for owner in owners)
    assert all(len(list(records.folder(job.id).iterdir())) == 3 for job in jobs)  # spec.json, run.json, out


def test_a_job_is_withdrawn_or_runs_and_never_both(records: Records) -> None:
    one, two = add(records, 2)
    assert records.withdraw(one)
    assert not claim(records.folder(one.id), run_of(1))
    assert claim(records.folder(two.id), run_of(1))
    assert not records.withdraw(two)
    records.spend([one.id])
    assert not claim(records.folder(one.id), run_of(1))


def test_states_are_told_from_files(records: Records) -> None:
    jobs = add(records, 7)
    _, running, result, killed, lost, torn, ended = jobs
    claim(records.folder(running.id), run_of(os.getpid()))
    for job in (result, killed, ended):
        claim(records.folder(job.id), run_of(os.getpid(), start_time=1))  # that number is another process's by now
    put_result(records.folder(result.id), "[1]", 2.0, 3.0)
    claim(records.folder(lost.id), run_of(os.getpid(), boot_id="another"))
    (records.folder(torn.id) / "run.json").touch()  # as a power cut leaves it
    ended.end = End("time_limit", "too long", None, 15, 5.0, 6.0)
    records.put_end(ended)
    found = {job.id: job for job in Records(records.root).open()}
    assert [records.state_of(job) for job in jobs[:6]] == ["queued", "running", "result", "killed", "lost", "lost"]
    assert [found[job.id].run is None for job in jobs] == [True] + [False] * 6
    assert found[ended.id].state == "ended"
    assert found[ended.id].end == ended.end
    assert read_result(records.folder(result.id)) == ({"run_s": 2.0, "ended": 3.0, "files": {}}, [1])


def cut(path: Path) -> None:
    """Leave of a file what a power cut does: its name."""
    os.truncate(path, 0)


def returned(records: Records, result: str = "[1]", run_s: float = 0.0, boot_id: str = "earlier") -> tuple[Job, Path]:
    """A job that has left files and a result, and the folder of these files."""
    (job,) = add(records)
    out = records.folder(job.id) / "out"
    claim(records.folder(job.id), run_of(7, 1, boot_id))
    (out / "model").mkdir()
    for name in ("journal.jsonl", "model/trees", "console.log"):
        (out / name).write_text("written\n" if name != "console.log" else "")
    put_result(records.folder(job.id), result, run_s, 1.0)
    return job, out


def test_what_a_job_left_counts_after_a_power_cut_where_all_of_it_is_there(records: Records) -> None:
    job, out = returned(records)
    (out / "console.log").write_text("what it printed last")  # as its process does when it ends
    assert records.state_of(job) == "result"
    # An older version did not note what the job had left.
    (records.folder(job.id) / "result.json").write_text('{"run_s": 1, "ended": 2}\n[1]\n')
    assert records.state_of(job) == "result"


@pytest.mark.parametrize("what", ["result.json", "out/journal.jsonl", "out/model/trees"])
@pytest.mark.parametrize("how", [cut, Path.unlink])
def test_what_a_job_left_does_not_count_where_a_power_cut_took_some(records: Records, what: str, how: Any) -> None:
    job, _ = returned(records)
    how(records.folder(job.id) / what)
    assert records.state_of(job) == "lost"
    # Without a power cut the job itself has done that.
    other, _ = returned(records, boot_id=processes.boot_id())
    how(records.folder(other.id) / what)
    gone = what == "result.json" and how is Path.unlink
    assert records.state_of(other) == ("killed" if gone else "result")


@pytest.mark.parametrize("bytes_kept", [1, 20, -1, -2])
def test_a_result_of_which_the_end_is_missing_does_not_count(records: Records, bytes_kept: int) -> None:
    job, _ = returned(records, "12345")
    path = records.folder(job.id) / "result.json"
    path.write_bytes(path.read_bytes()[:bytes_kept])
    assert not has_survived(records.folder(job.id))


def test_a_result_that_is_too_large_is_no_other_after_a_power_cut(records: Records) -> None:
    job, _ = returned(records, json.dumps("x" * 4_000_000))
    assert records.state_of(job) == "result"
    with pytest.raises(ValueError, match=r"4\.0 MB"):
        read_result(records.folder(job.id))


@pytest.mark.parametrize(("run_s", "sure"), [(0.01, False), (1.0, True)])
def test_what_took_a_while_is_on_the_disk_before_it_counts(
    records: Records, monkeypatch: pytest.MonkeyPatch, run_s: float, sure: bool
) -> None:
    synced: list[str] = []

    def fsync(descriptor: int, real: Any = os.fsync) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    job, out = returned(records, run_s=run_s)
    folder = records.folder(job.id)
    synced = [path for path in synced if path.startswith(str(folder))]
    if not sure:
        assert synced == []
        return
    assert set(synced[:3]) == {str(out / name) for name in ("journal.jsonl", "model/trees", "console.log")}
    assert synced[3:] == [str(folder / f"result.json.{os.getpid()}~"), str(folder)]


@pytest.mark.parametrize("what", ["the end of its spec", "its environment"])
def test_a_queued_job_of_which_a_power_cut_took_some_is_not_known(records: Records, what: str) -> None:
    (job,) = add(records)
    if what == "its environment":
        cut(records.environments / f"{job.environment}.json")
    else:
        path = records.folder(job.id) / "spec.json"
        path.write_text(path.read_text()[:-20])
    again = Records(records.root)
    assert again.open() == []
    assert not records.folder(job.id).exists()
    # It comes again, and is as good as ever.
    later = [again.add(spec(id=job.id), 0.0), *add(again)]
    assert Records(records.root).open() == later


def test_an_environment_that_a_power_cut_took_is_described_anew(records: Records) -> None:
    (job,) = add(records)
    described = records.environments / f"{job.environment}.json"
    text = described.read_text()
    cut(described)
    again = Records(records.root)
    again.open()
    assert add(again)[0].environment == job.environment
    assert described.read_text() == text


def test_what_was_half_done_is_removed_and_what_another_version_kept_is_not(records: Records) -> None:
    whole, torn, other = add(records, 3)
    (records.jobs / f".{'a' * 32}" / "out").mkdir(parents=True)
    (records.folder(torn.id) / "spec.json").write_text("")
    (records.trash / ("b" * 32)).mkdir()
    (records.environments / "c.json.1~").mkdir()
    for name, used in (("d", 0.0), ("e", time.time())):
        (records.environments / f"{name * 32}.json").write_text("{}\n")
        os.utime(records.environments / f"{name * 32}.json", (used, used))
    (records.environments / f"{'d' * 32}.log").touch()
    path = records.folder(other.id) / "spec.json"
    first, rest = path.read_text().split("\n", 1)
    path.write_text(json.dumps({**json.loads(first), "new in some version": 1}) + "\n" + rest)
    assert [job.id for job in Records(records.root).open()] == [whole.id, other.id]
    assert sorted(path.name for path in records.jobs.iterdir()) == sorted([whole.id, other.id])
    assert not list(records.trash.iterdir())
    assert {path.name for path in records.environments.iterdir()} == {f"{whole.environment}.json", f"{'e' * 32}.json"}


def test_spent_ids_are_remembered_though_their_log_was_cut_in_a_line(records: Records) -> None:
    one, two = add(records, 2)
    records.spend([one.id])
    with (records.root / "settled.log").open("a") as log:
        log.write(two.id[:10])
    again = Records(records.root)
    assert [job.id for job in again.open()] == [two.id]
    again.spend([two.id, "e" * 32])
    last = Records(records.root)
    assert last.open() == []
    assert all(last.spent(identifier) for identifier in (one.id, two.id, "e" * 32))
    assert (records.root / "settled.log").read_text() == f"{one.id}\n{two.id}\n{'e' * 32}\n"


def test_a_folder_whose_id_is_spent_is_removed_at_the_next_start(records: Records) -> None:
    (job,) = add(records)
    kept = records.root / "kept"
    shutil.copytree(records.folder(job.id), kept)
    records.spend([job.id])
    kept.rename(records.folder(job.id))  # as where a death came between the two
    assert Records(records.root).open() == []
    assert not records.folder(job.id).exists()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write(path, "old\n")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write(tmp_path / "folder.json", "text\n")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file.json", "folder.json"]
    write(path, "new\n")
    assert path.read_text() == "new\n"


def test_a_spec_gets_defaults() -> None:
    least = {"id": "0" * 32, "environment": {"python": "python3", "cwd": "~", "entry": "entry"}}
    checked = specs.check(least)
    assert checked["environment"] == {**least["environment"], "path": [], "load": None, "variables": {}}
    assert (checked["memory_gb"], checked["timeout_s"], checked["live"], checked["alone"]) == (0.0, None, [], False)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": "../../etc"}, "hexadecimal"),
        ({"id": None}, "hexadecimal"),
        ({"environment": None}, "environment"),
        ({"environment": {"python": 3, "cwd": "/", "entry": "x"}}, "python is 3"),
        ({"environment": {"python": "p", "cwd": "/"}}, "entry is None"),
        ({"environment": {"python": "p", "cwd": "/", "entry": "x", "variables": {"A": 1}}}, "holds 1"),
        ({"live": ["../x"]}, "no path"),
        ({"live": ["/x"]}, "no path"),
        ({"kept": ["checkpoint/../.."]}, "no path"),
        ({"kept": "checkpoint"}, "list is needed"),
        ({"inputs": {"a//b": "0" * 64}}, "no path"),
        ({"inputs": {"a": "../x"}}, "no staged file"),
        ({"gpus": True}, "gpus is True"),
        ({"gpus": -1}, "less than 0"),
        ({"memory_gb": float("nan")}, "memory_gb is nan"),
        ({"timeout_s": -1}, "timeout_s is -1"),
        ({"alone": 1}, "alone is 1"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_with_what_is_wrong(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(specs.SpecError, match=said):
        spec(**fields)
