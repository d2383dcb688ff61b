"""A job over there that is told to stop ends soon, by itself or not, whoever has died meanwhile."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from far_side import FarSide, living, wait_gone


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FarSide]:
    yield from living(tmp_path)


def test_a_job_finds_why_it_need_not_go_on_and_its_result_counts(far: FarSide) -> None:
    near, tell = far.near(), far.fifo()
    spec = far.spec("listen", tell=tell)
    near.submit(spec)
    assert tell.line() == "running"
    assert near.ask("stop", ids=[spec["id"]], reason="below the\nmedian")["op"] == "stopped"
    ended = near.ended(spec["id"])
    assert (ended["class"], ended["result"]) == (None, "below the median\n")


def test_a_job_that_does_not_listen_is_killed_with_all_below_it_after_its_grace(far: FarSide) -> None:
    near, tell = far.near(), far.fifo()
    spec = far.spec("family", tell=tell)
    near.submit(spec)
    family = [int(word) for word in tell.line().split()]
    assert family
    asked = time.monotonic()
    near.ask("stop", ids=[spec["id"]], reason="below the median")
    ended = near.ended(spec["id"])
    assert 1.0 <= time.monotonic() - asked < 2.0
    assert (ended["class"], ended["message"], ended["result"]) == ("pruned", "below the median", None)
    for pid in family:
        wait_gone(pid)


def test_a_job_that_has_ended_when_it_is_told_stays_as_it_was(far: FarSide) -> None:
    near = far.near()
    spec = far.spec()
    near.submit(spec)
    assert near.ended(spec["id"])["class"] is None
    assert near.ask("stop", ids=[spec["id"], "0" * 32], reason="late", grace_s=0)["op"] == "stopped"
    near.ask("adopt", jobs={spec["id"]: {}})
    assert near.ended(spec["id"])["class"] is None


def test_a_job_that_ends_within_its_grace_without_listening_has_its_result(far: FarSide) -> None:
    near, job = far.near(), far.waiting()
    near.submit(job.spec)
    job.runs()
    near.ask("stop", ids=[job.id], reason="late", grace_s=30)
    job.end("whole")
    ended = near.ended(job.id)
    assert (ended["class"], ended["result"]) == (None, "whole")


def test_a_job_that_waits_never_starts(far: FarSide) -> None:
    near, job = far.near(slots=1), far.waiting()
    second = far.spec()
    near.submit(job.spec, second)
    job.runs()
    near.ask("stop", ids=[second["id"]], reason="below the median")
    ended = near.ended(second["id"])
    assert (ended["class"], ended["message"]) == ("pruned", "below the median")
    job.end()
    near.ended(job.id)
    assert far.runs() == [job.id]


def test_a_supervisor_that_dies_after_it_has_told_leaves_the_word_to_the_next(far: FarSide) -> None:
    near, job = far.near(), far.waiting()
    near.submit(job.spec)
    job.runs()
    near.event("started", job.id)
    near.ask("stop", ids=[job.id], reason="below the median", grace_s=3600)
    near.kill_supervisor()
    near = far.near()
    near.ask("adopt", jobs={job.id: {}})
    ended = near.ended(job.id)
    assert (ended["class"], ended["message"]) == ("pruned", "below the median")


def test_a_word_that_is_no_word_harms_nothing(far: FarSide) -> None:
    near, job = far.near(), far.waiting()
    near.submit(job.spec)
    job.runs()
    for fields in ({"ids": ["x"], "reason": "r"}, {"ids": [job.id]}, {"ids": [job.id], "reason": "r", "grace_s": -1}):
        assert near.ask("stop", **fields)["op"] == "error"
    job.end("well")
    assert near.ended(job.id)["result"] == "well"
