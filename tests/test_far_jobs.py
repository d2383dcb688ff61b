"""A job on the far side starts when there is room for it, and ends with all that it has started."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from far_side import FarSide, living, wait_gone


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FarSide]:
    yield from living(tmp_path)


def test_a_killed_job_ends_as_killed_and_the_others_go_on(far: FarSide) -> None:
    near = far.near(slots=2)
    one, two, last = far.waiting(), far.waiting(), far.spec()
    near.submit(one.spec, two.spec, last)
    one.runs()
    two.runs()
    os.kill(near.event("started", one.id)["pid"], signal.SIGKILL)
    ended = near.ended(one.id)
    assert (ended["class"], ended["exit"]["signal"]) == ("killed", 9)
    assert "SIGKILL" in ended["message"]
    assert near.ended(last["id"])["class"] is None
    two.end("well")
    assert near.ended(two.id)["result"] == "well"
    assert sorted(far.runs()) == sorted([one.id, two.id, last["id"]])


@pytest.mark.parametrize(
    ("do", "fields", "said"),
    [
        ("exit", {"code": 75}, "code 75"),
        ("exit", {"code": 0}, "code 0"),
        ("raise", {}, "RuntimeError: as asked"),
        ("kill", {"signal": signal.SIGSEGV}, "SIGSEGV"),
    ],
)
def test_a_process_that_leaves_no_result_is_killed_with_what_is_known(
    far: FarSide, do: str, fields: dict[str, Any], said: str
) -> None:
    near = far.near()
    spec = far.spec(do, **fields)
    near.submit(spec)
    ended = near.ended(spec["id"])
    assert ended["class"] == "killed"
    assert said in ended["message"]
    assert ended["result"] is None


def test_a_job_has_not_ended_before_its_process_has(far: FarSide) -> None:
    near = far.near()
    tell, until = far.fifo(), far.fifo()
    spec = far.spec("linger", tell=tell, until=until)
    near.submit(spec)
    assert tell.line() == "returned"
    assert (far.root / "jobs" / spec["id"] / "result.json").exists()
    assert near.states() == {spec["id"]: "running"}
    near.kill_supervisor()
    near = far.near()
    assert near.ask("adopt", jobs={spec["id"]: {}})["states"] == {spec["id"]: "running"}
    until.say("end")
    ended = near.ended(spec["id"])
    assert (ended["class"], ended["result"]) == (None, "returned")


@pytest.mark.parametrize(
    ("took", "error_class"), [(None, None), ("result.json", "lost"), ("out/large.bin", "lost"), ("run.json", "lost")]
)
def test_a_job_of_whose_end_a_power_cut_took_some_is_lost(
    far: FarSide, took: str | None, error_class: str | None
) -> None:
    near = far.near()
    spec = far.spec("write", bytes=1000)
    near.submit(spec)
    near.ended(spec["id"])
    near.kill_supervisor()
    folder = far.root / "jobs" / spec["id"]
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "boot_id": "earlier"}))
    if took == "run.json":
        os.truncate(folder / "result.json", 0)
    if took is not None:
        os.truncate(folder / took, 0)
    near = far.near()
    assert near.ask("adopt", jobs={spec["id"]: {}})["states"] == {spec["id"]: "ended"}
    ended = near.ended(spec["id"])
    assert ended["class"] == error_class
    if error_class is not None:
        assert ended["message"] == "the machine was started anew before what it had left was on the disk"


def test_a_job_that_runs_too_long_is_ended_by_its_time_limit_also_by_a_later_supervisor(far: FarSide) -> None:
    near = far.near(slots=2)
    short, long = far.waiting(timeout_s=0.2), far.waiting(timeout_s=1.0)
    near.submit(short.spec, long.spec)
    ended = near.ended(short.id)
    assert (ended["class"], ended["exit"]["signal"]) == ("time_limit", signal.SIGTERM)
    assert 0.2 <= ended["run_s"] < 3
    long.runs()
    near.kill_supervisor()
    near = far.near()
    near.ask("adopt", jobs={long.id: {}})
    ended = near.ended(long.id)
    assert ended["class"] == "time_limit"
    assert 1.0 <= ended["run_s"] < 5


@pytest.mark.parametrize(("asked", "error_class"), [("by its limit", None), ("by a cancel", "cancelled")])
def test_a_job_that_is_asked_to_end_may_still_leave_a_result(far: FarSide, asked: str, error_class: str | None) -> None:
    near = far.near()
    tell = far.fifo()
    spec = far.spec("yield", tell=tell, timeout_s=0.3 if asked == "by its limit" else None)
    near.submit(spec)
    assert tell.line() == "ready"
    if asked == "by a cancel":
        near.ask("cancel", ids=[spec["id"]], grace_s=None)
    ended = near.ended(spec["id"])
    assert (ended["class"], ended["result"], ended["exit"]["code"]) == (error_class, "saved", 0)


@pytest.mark.parametrize("do", ["grow", "grow_apart"])
def test_a_job_over_its_memory_limit_is_ended_and_one_below_is_not(far: FarSide, do: str) -> None:
    near = far.near(slots=2)
    tell = far.fifo()
    over = far.spec(do, bytes=120_000_000, memory_limit_gb=0.1)
    below = far.spec("grow", bytes=30_000_000, memory_limit_gb=0.1, tell=tell)
    near.submit(below, over)
    ended = near.ended(over["id"])
    assert ended["class"] == "out_of_memory"
    assert "0.1 GB are its limit" in ended["message"]
    assert tell.line() == "grown"
    assert near.states()[below["id"]] == "running"
    used = near.ask("ping")["load"]["running"][0]["memory_gb"]
    assert used < 0.1


def test_a_cancelled_job_leaves_no_process_behind(far: FarSide) -> None:
    near = far.near()
    tell = far.fifo()
    spec, queued = far.spec("family", tell=tell), far.spec()
    near.submit(spec, queued)
    family = [int(word) for word in tell.line().split()]
    near.ask("cancel", ids=[spec["id"], queued["id"], "1" * 32], grace_s=0.2)
    ended = near.ended(spec["id"])
    assert (ended["class"], ended["message"]) == ("cancelled", "it was cancelled")
    for pid in family:
        wait_gone(pid)
    # What was queued, or has never come, will not start any more.
    near.submit(queued, {**queued, "id": "1" * 32})
    assert near.states() == {spec["id"]: "ended"}
    assert far.runs() == [spec["id"]]


def test_what_a_job_that_ended_by_itself_left_behind_is_killed(far: FarSide) -> None:
    near = far.near()
    tell = far.fifo()
    spec, following = far.spec("family", tell=tell, **{"return": True}), far.spec()
    near.submit(spec, following)
    family = [int(word) for word in tell.line().split()]
    assert near.ended(spec["id"])["class"] is None
    wait_gone(family[1])
    # Those in sessions of their own are found by what they carry: a mark, or the lock of the slot.
    wait_gone(family[2])
    wait_gone(family[3])
    assert near.ended(following["id"])["class"] is None


def test_a_recall_is_answered_with_what_never_runs_and_what_has_started(far: FarSide) -> None:
    near = far.near(slots=2)
    specs = [far.spec() for _ in range(40)]
    ids = [spec["id"] for spec in specs]
    near.submit(*specs)
    near.ended(ids[3])
    answer = near.ask("recall", ids=[*reversed(ids), "2" * 32])
    assert answer["unknown"] == ["2" * 32]
    gone = set(answer["recalled"])
    started = [*answer["running"], *answer["ended"]]
    assert gone | set(started) == set(ids)
    assert len(gone) + len(started) == len(ids)
    for identifier in set(started) - {ids[3]}:
        near.ended(identifier)
    # Said again, as by a line that is late, they start as little.
    assert near.submit(*specs, far.spec() | {"id": "2" * 32})["refused"] == {}
    far.settled(near, *ids)
    assert sorted(far.runs()) == sorted(started)


def test_a_job_that_is_said_twice_runs_once_and_its_end_is_told_again(far: FarSide) -> None:
    near = far.near()
    spec = far.spec(value=1)
    near.submit(spec, spec)
    near.ended(spec["id"])
    near.submit(spec)
    assert near.event("started", spec["id"])
    assert near.ended(spec["id"])["result"] == 1
    assert far.runs() == [spec["id"]]


def test_a_running_job_that_is_settled_is_ended_and_forgotten(far: FarSide) -> None:
    near = far.near()
    job = far.waiting()
    near.submit(job.spec)
    job.runs()
    pid = near.event("started", job.id)["pid"]
    near.ask("settle", ids=[job.id])
    wait_gone(pid)
    following = far.spec()
    near.submit(following)
    near.ended(following["id"])
    far.settled(near, following["id"])
    assert near.ask("adopt", jobs={job.id: {}})["states"] == {job.id: "settled"}


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("raise", ["ImportError: no module named nowhere", "Traceback (most recent call last)", "far_entry.py"]),
        ("exit", ["SystemExit: 3"]),
        ("die", ["was ended by signal 9", "about to die"]),
    ],
)
def test_an_environment_that_cannot_be_loaded_fails_its_jobs_as_precheck(
    far: FarSide, load: str, said: list[str]
) -> None:
    near = far.near()
    specs = [far.spec(load=load), far.spec(load=load)]
    near.submit(*specs)
    for spec in specs:
        ended = near.ended(spec["id"])
        assert ended["class"] == "precheck"
        assert ended["message"].startswith("its environment cannot be loaded: ")
        assert ended["started"] is None
        for text in said:
            assert text in ended["message"]
    good = far.spec(load="fine")
    near.submit(good)
    assert near.ended(good["id"])["class"] is None


@pytest.mark.parametrize(("key", "value"), [("python", "/nowhere/python3"), ("cwd", "/nowhere"), ("entry", "nowhere")])
def test_an_environment_that_names_what_is_not_there_is_a_failed_precheck(far: FarSide, key: str, value: str) -> None:
    near = far.near()
    spec = far.spec()
    spec["environment"][key] = value
    near.submit(spec)
    ended = near.ended(spec["id"])
    assert ended["class"] == "precheck"
    assert value in ended["message"]
    far.settled(near, spec["id"])


def test_nothing_leaks_from_job_to_job(far: FarSide) -> None:
    near = far.near()
    specs = [far.spec("leak") for _ in range(3)]
    near.submit(*specs)
    fresh = {"counter": 0, "cwd": str(far.folder), "variable": None, "path": False}
    assert [near.ended(spec["id"])["result"] for spec in specs] == [fresh] * 3


def test_a_job_finds_signals_and_descriptors_as_a_process_does_that_was_started_by_hand(far: FarSide) -> None:
    near = far.near()
    spec, locks = far.spec("signals", load={"some": "thing"}), far.spec("locks")
    near.submit(spec, locks)
    started, found = near.event("started", spec["id"]), near.ended(spec["id"])["result"]
    handlers = found.pop("handlers")
    assert handlers.pop("SIGINT") == "default_int_handler"
    assert handlers.pop("SIGPIPE") == "SIG_IGN"
    assert set(handlers.values()) == {"SIG_DFL"}
    assert found["pid"] == started["pid"]
    assert found["parent"] in near.parents()
    assert (found["blocked"], found["wakeup"], found["session"], found["stdin"]) == (0, -1, True, "/dev/null")
    assert (found["gpus"], found["order"]) == (None, None)
    assert found["loaded"] == {"some": "thing"}
    # It keeps the lock of its slot, which a program that it starts does not inherit.
    assert near.ended(locks["id"])["result"] == {"own": [str(far.root / "slots" / "0.lock")], "theirs": False}


def test_a_slot_whose_lock_somebody_holds_is_not_used(far: FarSide) -> None:
    near = far.near(slots=1)
    job, following = far.waiting(), far.spec()
    near.submit(job.spec)
    job.runs()
    near.kill_supervisor()
    # As where the record of a job is lost, and the job is not.
    (far.root / "jobs" / job.id).rename(far.folder / "lost")
    near = far.near()
    near.submit(following)
    near.until(lambda load: "lock of a slot" in load["waits"])
    job.end()
    assert near.ended(following["id"])["class"] is None


def test_where_the_parent_has_touched_cuda_every_job_is_a_fresh_process(far: FarSide) -> None:
    near = far.near()
    load = {"cuda": str(far.folder / "libcuda.so.1")}
    specs = [far.spec("signals", load=load) for _ in range(2)]
    killed, leak = far.spec("kill", load=load), [far.spec("leak", load=load) for _ in range(2)]
    near.submit(*specs, killed, *leak)
    found = [near.ended(spec["id"])["result"] for spec in specs]
    assert {one["parent"] for one in found} == {near.supervisor()}
    assert all(one["session"] and one["loaded"] == load for one in found)
    assert near.ended(killed["id"])["exit"]["signal"] == 9
    assert [near.ended(spec["id"])["result"]["counter"] for spec in leak] == [0, 0]
    assert len(far.runs()) == 5
    assert (far.root / "supervisor.log").read_text().count("has used CUDA (libcuda.so.1)") == 1


def test_a_job_that_is_to_run_alone_does(far: FarSide) -> None:
    near = far.near(slots=3)
    first, alone, last = far.waiting(), far.waiting(alone=True), far.spec()
    near.submit(first.spec, alone.spec, last)
    first.runs()
    assert near.ask("ping")["load"]["waits"] == "it is to run alone, and others run"
    first.end()
    alone.runs()
    assert near.ask("ping")["load"]["waits"] == "a job that is to run alone runs"
    alone.end()
    near.ended(last["id"])


GPUS = """#!/bin/sh
case "$1" in
--query-gpu*) echo "0, GPU-a, Some GPU, 24000, {first}, 90"; echo "1, GPU-b, Some GPU, 24000, 20000, [N/A]";;
*) echo "GPU-a, 1, 9000";;
esac
"""


def test_a_job_gets_a_gpu_with_room_or_waits_and_is_refused_one_that_is_not_there(far: FarSide) -> None:
    program = far.folder / "programs" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(GPUS.format(first=5000))
    program.chmod(0o755)
    far.variables["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    near = far.near(slots=3)
    first = far.waiting(gpu_memory_gb=12, gpus=1)
    second, never = far.spec("signals", gpu_memory_gb=12), far.spec(gpu_memory_gb=30)
    near.submit(never, first.spec, second)
    assert near.ended(never["id"])["class"] == "precheck"
    first.runs()
    assert near.event("started", first.id)["gpu"] == [1]
    # What the first was promised counts before it has taken it, and so does what others use.
    load = near.ask("ping")["load"]
    assert load["waits"].startswith("it needs 12 GB on a GPU, and GPU 1 has 9.")
    assert load["gpus"][0]["others_gb"] == pytest.approx(19.9, abs=0.1)
    program.with_name("new").write_text(GPUS.format(first=23000))
    program.with_name("new").chmod(0o755)
    program.with_name("new").replace(program)
    found = near.ended(second["id"])["result"]
    assert (found["gpus"], found["order"]) == ("0", "PCI_BUS_ID")
    first.end()


def test_without_a_gpu_a_job_that_needs_one_is_a_failed_precheck(far: FarSide) -> None:
    far.variables["PATH"] = "/usr/bin:/bin"
    near = far.near()
    spec = far.spec(gpus=1)
    near.submit(spec)
    ended = near.ended(spec["id"])
    assert ended["class"] == "precheck"
    assert "nvidia-smi shows 0" in ended["message"]


def test_a_result_that_is_too_large_for_a_frame_is_said_to_be(far: FarSide) -> None:
    near = far.near()
    fits, large = far.spec("result", bytes=3_000_000), far.spec("result", bytes=4_000_000)
    near.submit(fits, large)
    assert near.ended(fits["id"])["result"] == "x" * 3_000_000
    ended = near.ended(large["id"])
    assert (ended["class"], ended["result"]) == ("outputs", None)
    assert "4.0 MB" in ended["message"]


def test_a_result_that_grows_too_large_on_its_way_is_said_to_be_and_much_is_removed_aside(far: FarSide) -> None:
    near = far.near()
    spec = far.spec("large", bytes=800_000)  # 1.6 MB as UTF-8, 4.8 MB as a frame
    near.submit(spec)
    ended = near.ended(spec["id"])
    assert (ended["class"], ended["result"]) == ("outputs", None)
    assert "too large" in ended["message"]
    assert len(near.outputs(spec["id"])) == 601
    near.ask("settle", ids=[spec["id"]])
    assert near.states() == {}
    near.until(lambda load: not list((far.root / "trash").iterdir()))


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FarSide]:
    """A far side on a disk of its own, with little room."""
    side = FarSide(tmp_path)
    side.root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "sweeproute-test", str(side.root)]
    if os.getuid() != 0 or subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("a small disk needs root, and the right to mount")
    try:
        yield side
    finally:
        side.close()
        subprocess.run(["umount", "-l", str(side.root)], check=True)


def fill(folder: Path) -> Path:
    """Leave no room."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 4096)
    return filler


def test_a_full_disk_is_said_and_ends_nothing_that_runs(full: FarSide) -> None:
    near = full.near(slots=2)
    running = full.waiting()
    near.submit(running.spec)
    running.runs()
    filler = fill(full.root)
    refused = full.spec()
    message = near.submit(refused)["refused"][refused["id"]]
    assert "No space left on device" in message
    assert f"{full.root}, where 0.000 GB are free" in message
    assert near.ask("put", b"x", sha="0" * 64, kind="store", offset=0, size=1)["op"] == "error"
    running.end("nothing can be kept")
    ended = near.ended(running.id)
    assert ended["class"] == "precheck"
    assert f"{full.root}, where 0.000 GB are free" in ended["message"]
    filler.unlink()
    near.submit(refused)
    assert near.ended(refused["id"])["class"] is None


def test_a_full_disk_at_the_start_of_a_job_is_a_failed_precheck(full: FarSide) -> None:
    near = full.near(slots=1)
    warm, spec, recalled = full.waiting(), full.spec(), full.spec()
    near.submit(warm.spec, spec, recalled)
    warm.runs()
    fill(full.root)
    assert near.ask("recall", ids=[recalled["id"]])["recalled"] == [recalled["id"]]
    warm.end()
    ended = near.ended(spec["id"])
    assert ended["class"] == "precheck"
    assert f"{full.root}, where 0.000 GB are free" in ended["message"]
    assert full.runs() == [warm.id]
