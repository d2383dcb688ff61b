"""The far side outlives lines, near sides, parents and itself: every job runs once, and its end is told."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from far_side import PATIENCE_S, FarSide, Gone, kill, living, wait_gone
from submitit_ssh.far import processes
from submitit_ssh.far.job_folder import Run, claim


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FarSide]:
    yield from living(tmp_path)


def test_a_job_is_told_to_start_and_to_end_with_its_result_after_all_of_its_outputs(far: FarSide) -> None:
    near = far.near()
    spec = far.spec("write", bytes=700_000)
    assert near.submit(spec)["accepted"] == [spec["id"]]
    started, ended = near.event("started", spec["id"]), near.ended(spec["id"])
    assert started["slot"] == 0
    assert started["gpu"] == []
    assert (ended["class"], ended["exit"]) == (None, {"code": 0, "signal": None})
    assert ended["result"] == ["console.log", "deep", "empty", "fifo", "large.bin", "link", "out-of-it"]
    assert 0 < ended["run_s"] < 10
    assert started["time"] <= ended["ended"]
    # What is no file and what is a link stays there.
    files = near.outputs(spec["id"])
    assert sorted(files) == ["console.log", "deep/er/small.txt", "empty", "large.bin"]
    assert files["deep/er/small.txt"] == b"small"
    assert files["empty"] == b""
    assert files["large.bin"] == bytes(range(256)) * (700_000 // 256)
    assert sorted(files["console.log"].decode().splitlines()) == ["complained", "printed"]
    lasts = [h["last"] for h, _ in near.heard if h.get("op") == "output" and h["path"] == "large.bin"]
    assert lasts == [False, False, True]
    far.settled(near, spec["id"])
    assert far.runs() == [spec["id"]]


def test_jobs_outlive_their_warm_parent_and_keep_their_results(far: FarSide) -> None:
    near = far.near(slots=2)
    one, two, queued = far.waiting(), far.waiting(), far.spec(value=3)
    near.submit(one.spec, two.spec, queued)
    one.runs()
    two.runs()
    (parent,) = near.parents()
    kill(parent)
    one.end("one")
    assert near.ended(one.id)["result"] == "one"
    assert near.ended(queued["id"])["result"] == 3  # of a new parent
    os.kill(near.event("started", two.id)["pid"], signal.SIGKILL)
    ended = near.ended(two.id)
    assert (ended["class"], ended["exit"]["signal"]) == ("killed", 9)
    assert sorted(far.runs()) == sorted([one.id, two.id, queued["id"]])


def test_a_new_supervisor_settles_what_was_queued_running_and_ended(far: FarSide) -> None:
    near = far.near(slots=2)
    done, failed = far.spec(value="kept"), far.spec("kill")
    near.submit(done, failed)
    near.ended(done["id"])
    near.ended(failed["id"])
    on, over, dies, queued = far.waiting(), far.waiting(), far.waiting(), far.spec(value="late")
    near.ask("slots", slots=3, paused=None)
    near.submit(on.spec, over.spec, dies.spec, queued)
    pids = {}
    for job in (on, over, dies):
        job.runs()
        pids[job.id] = near.event("started", job.id)["pid"]
    near.kill_supervisor()
    # While nobody watches, one ends with its result and one dies.
    over.end("unwatched")
    wait_gone(pids[over.id])
    kill(pids[dies.id])
    near = far.near()
    everything = [done["id"], failed["id"], on.id, over.id, dies.id, queued["id"]]
    answer = near.ask("adopt", jobs={identifier: {} for identifier in [*everything, "0" * 32]})
    assert answer["states"][on.id] == "running"
    assert answer["states"]["0" * 32] == "unknown"
    assert near.event("started", on.id)["pid"] == pids[on.id]
    ended = {identifier: near.ended(identifier) for identifier in everything if identifier != on.id}
    assert ended[done["id"]]["result"] == "kept"
    assert (ended[failed["id"]]["class"], ended[failed["id"]]["exit"]["signal"]) == ("killed", 9)
    assert (ended[over.id]["class"], ended[over.id]["result"]) == (None, "unwatched")
    assert ended[dies.id]["class"] == "killed"
    assert ended[queued["id"]]["result"] == "late"
    on.end("watched again")
    assert near.ended(on.id)["result"] == "watched again"
    assert sorted(far.runs()) == sorted(everything)
    far.settled(near, *everything)


def test_every_job_of_many_runs_once_while_supervisor_and_parents_are_killed(far: FarSide) -> None:
    near = far.near(slots=3)
    specs = [far.spec(value=number) for number in range(60)]
    ids = [spec["id"] for spec in specs]
    near.submit(*specs)
    results: dict[str, Any] = {}
    for fault in range(4):
        while len(results) < 12 * (fault + 1):
            ended = near.wait(lambda header: header.get("op") == "ended")
            results.setdefault(ended["id"], ended)
        if fault % 2:
            for parent in near.parents():
                kill(parent)
        else:
            near.kill_supervisor()
            near = far.near()
            near.ask("adopt", jobs={identifier: {} for identifier in ids if identifier not in results})
    while len(results) < len(specs):
        ended = near.wait(lambda header: header.get("op") == "ended")
        results.setdefault(ended["id"], ended)
    assert {ended["class"] for ended in results.values()} == {None}
    assert [results[spec["id"]]["result"] for spec in specs] == list(range(60))
    assert sorted(far.runs()) == sorted(ids)
    far.settled(near, *ids)


def test_a_job_that_was_cancelled_while_its_supervisor_was_new_leaves_no_process_behind(far: FarSide) -> None:
    near = far.near()
    tell = far.fifo()
    spec = far.spec("family", tell=tell)
    near.submit(spec)
    family = [int(word) for word in tell.line().split()]
    near.kill_supervisor()
    near = far.near()
    near.ask("adopt", jobs={spec["id"]: {}})
    near.ask("cancel", ids=[spec["id"]], grace_s=0)
    assert near.ended(spec["id"])["class"] == "cancelled"
    for pid in family:
        wait_gone(pid)


def test_a_settled_job_is_not_run_again(far: FarSide) -> None:
    near = far.near()
    spec = far.spec()
    near.submit(spec)
    near.ended(spec["id"])
    far.settled(near, spec["id"])
    for _ in range(2):
        assert near.submit(spec)["accepted"] == [spec["id"]]
        assert near.ask("adopt", jobs={spec["id"]: {}})["states"] == {spec["id"]: "settled"}
        near.kill_supervisor()
        near = far.near()
    assert near.ask("status")["jobs"] == []
    assert far.runs() == [spec["id"]]


def test_a_second_hello_of_an_owner_closes_the_first_connection(far: FarSide) -> None:
    first, other = far.near(), far.near("another")
    second = far.near()
    with pytest.raises(Gone):
        first.ask("ping")
    assert other.ask("ping")["op"] == "pong"
    assert second.ask("ping")["op"] == "pong"
    assert second.supervisor() == second.hello()["pid"]


def test_a_relay_whose_line_takes_nothing_ends_once_its_supervisor_has_hung_up(far: FarSide) -> None:
    cut, other = far.near(slots=1), far.near("another")
    large, small = far.spec("write", bytes=200_000), far.spec()  # more than a pipe takes
    cut.submit(large)
    other.submit(small)
    other.ended(small["id"])
    far.near()  # the same owner over a new channel
    cut.process.wait(PATIENCE_S)


def test_a_channel_that_is_silent_for_longer_than_it_asked_for_is_given_up_with_its_relay(far: FarSide) -> None:
    cut, other = far.near(patience_s=1.0), far.near("another")
    assert cut.process.wait(PATIENCE_S) == 0
    assert other.ask("ping")["op"] == "pong"


def test_two_owners_hear_of_their_own_jobs_alone_and_share_the_slots(far: FarSide) -> None:
    mine, yours = far.near("mine", slots=1), far.near("yours")
    one, two = far.waiting(), far.spec(value=2)
    mine.submit(one.spec)
    one.runs()
    yours.submit(two)
    # That a job runs is known to itself before it is to whom it is asked.
    load = next(load for load in iter(lambda: yours.ask("ping")["load"], None) if load["running"])
    assert [job["owner"] for job in load["running"]] == ["mine"]
    assert (load["queued"], load["waits"]) == (1, "the slot is taken")
    one.end()
    assert mine.ended(one.id)["class"] is None
    assert yours.ended(two["id"])["result"] == 2
    assert {job["owner"] for job in mine.ask("status")["jobs"]} == {"mine", "yours"}
    assert not [header for header, _ in mine.heard if header.get("id") == two["id"]]
    assert not [header for header, _ in yours.heard if header.get("id") == one.id]


def test_files_that_grow_come_while_the_job_runs_and_from_where_the_other_side_is(far: FarSide) -> None:
    near = far.near()
    tell, until = far.fifo(), far.fifo()
    spec = far.spec("journal", tell=tell, until=until, live=["journal.jsonl", "console.log"])
    near.submit(spec)
    until.say("first")
    piece = near.event("output", spec["id"])
    assert (piece["path"], piece["offset"], piece["raw"], piece["last"]) == ("journal.jsonl", 0, b"first\n", False)
    near.close()
    until.say("second")
    near = far.near()
    near.ask("adopt", jobs={spec["id"]: {"journal.jsonl": 6}})
    piece = near.event("output", spec["id"])
    assert (piece["offset"], piece["raw"]) == (6, b"second\n")
    near.kill_supervisor()
    until.say("third")
    near = far.near()
    near.ask("adopt", jobs={spec["id"]: {"journal.jsonl": 13}})
    until.say("end")
    near.ended(spec["id"])
    pieces = [(h["offset"], raw, h["last"]) for h, raw in near.heard if h.get("path") == "journal.jsonl"]
    assert pieces == [(13, b"third\n", False)]
    # Where the other side has lost it all it gets it all.
    near.heard.clear()
    near.ask("adopt", jobs={spec["id"]: {}})
    near.ended(spec["id"])
    assert near.outputs(spec["id"])["journal.jsonl"] == b"first\nsecond\nthird\n"


def test_a_client_that_does_not_read_holds_nobody_up_and_gets_everything_later(far: FarSide) -> None:
    slow, quick = far.near("slow", slots=2), far.near("quick")
    large = [far.spec("write", bytes=8 << 20) for _ in range(3)]
    slow.submit(*large)
    slow.event("started", large[-1]["id"])
    for _ in range(20):
        spec = far.spec()
        quick.submit(spec)
        quick.ended(spec["id"])
    memory = int(Path(f"/proc/{quick.supervisor()}/statm").read_text().split()[1]) * 4096
    assert memory < 60 << 20
    for spec in large:
        slow.ended(spec["id"])
        assert len(slow.outputs(spec["id"])["large.bin"]) == 8 << 20


def test_a_job_that_ran_before_the_machine_was_started_anew_is_lost(far: FarSide) -> None:
    near = far.near()
    job = far.waiting()
    near.submit(job.spec)
    job.runs()
    pid = near.event("started", job.id)["pid"]
    near.kill_supervisor()
    kill(pid)
    record = far.root / "jobs" / job.id / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "boot_id": "another"}) + "\n")
    near = far.near()
    assert near.ask("adopt", jobs={job.id: {}})["states"] == {job.id: "ended"}
    assert near.ended(job.id)["class"] == "lost"


def claimed(far: FarSide, identifier: str) -> subprocess.Popen[bytes]:
    """A process that has claimed a job, as one does that a dead supervisor's parent has still forked."""
    process = subprocess.Popen(["sleep", "60"])
    run = Run(process.pid, processes.start_time(process.pid) or 0, processes.boot_id(), 0, [], 0.0, 0.0)
    assert claim(far.root / "jobs" / identifier, run)
    return process


def test_a_job_that_another_process_has_claimed_is_followed_and_not_run_again(far: FarSide) -> None:
    near = far.near(slots=0)
    one, two, three = far.spec(), far.spec(), far.spec()
    near.submit(one, two, three)
    claims = {spec["id"]: claimed(far, spec["id"]) for spec in (one, two, three)}
    # One is started, one recalled and one cancelled, by a supervisor that takes all of them for queued.
    near.ask("slots", slots=1, paused=None)
    assert near.wait(lambda header: header.get("pid") == claims[one["id"]].pid)["id"] == one["id"]
    assert near.ask("recall", ids=[two["id"]])["running"] == [two["id"]]
    near.ask("cancel", ids=[three["id"]], grace_s=0)
    assert near.ended(three["id"])["class"] == "cancelled"
    assert claims[three["id"]].wait() == -signal.SIGKILL
    for spec in (one, two):
        claims[spec["id"]].kill()
        claims[spec["id"]].wait()
        assert near.ended(spec["id"])["class"] == "killed"
    assert far.runs() == []
