"""What a job keeps for a later attempt is on the other side while the job runs, each version whole."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from far_side import FarSide, Near, living
from submitit_ssh.far.frames import CHUNK, Decoder
from submitit_ssh.far.out_files import changed, kept

BIG = 20_000_000
ID = "0" * 32


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FarSide]:
    yield from living(tmp_path)


class Keeping:
    """A job that keeps what it is told to."""

    def __init__(self, far: FarSide, near: Near) -> None:
        self._tell, self._until = far.fifo(), far.fifo()
        live = ["console.log"]
        self.spec = far.spec("keep", tell=self._tell, until=self._until, live=live, kept=["checkpoint"])
        self.id: str = self.spec["id"]
        near.submit(self.spec)
        assert self._tell.line() == "running"

    def do(self, line: str) -> None:
        """Have it do something, and wait until it has."""
        self._until.say(line)
        assert self._tell.line() == "done"

    def say(self, line: str) -> None:
        self._until.say(line)


def is_last(header: dict[str, Any]) -> bool:
    return header.get("op") == "output" and header["last"]


def versions(near: Near, job: Keeping) -> list[tuple[str, bytes]]:
    """Each file that came to its last frame, in this order, of the frames that have been heard."""
    done = []
    parts: dict[str, bytearray] = {}
    for header, payload in near.heard:
        if header.get("op") == "output" and header["id"] == job.id and header["path"] != "console.log":
            if header["offset"] == 0:
                parts[header["path"]] = bytearray()
            assert header["offset"] == len(parts[header["path"]])
            parts[header["path"]] += payload
            if header["last"]:
                done.append((header["path"], bytes(parts.pop(header["path"]))))
    return done


def await_kept(near: Near, job: Keeping, *names: str) -> None:
    """Wait until these are what the job keeps, and all of it has come."""
    while sorted(near.event("kept", job.id)["names"]) != sorted(names):
        continue


def await_begin(near: Near, job: Keeping) -> None:
    """Wait until the first frame of a file has come; what follows is not read before it is waited for."""
    frame = near.event("output", job.id)
    near.heard.insert(0, (frame, frame.pop("raw")))
    assert versions(near, job) == []


def test_what_a_job_keeps_comes_while_it_runs_in_the_order_in_which_it_was_written(far: FarSide) -> None:
    near = far.near()
    job = Keeping(far, near)
    job.do("checkpoint/fit-1/trees a 5")
    job.do("checkpoint/a-name b 3")
    await_kept(near, job, "fit-1/trees", "a-name")
    job.do("checkpoint/fit-2/trees c 5")
    job.do("checkpoint/a-name d 3")
    job.do("checkpoint/fit-1/trees gone")
    await_kept(near, job, "fit-2/trees", "a-name")
    came = [
        ("checkpoint/fit-1/trees", b"aaaaa"),
        ("checkpoint/a-name", b"bbb"),
        ("checkpoint/fit-2/trees", b"ccccc"),
        ("checkpoint/a-name", b"ddd"),
    ]
    assert versions(near, job) == came
    job.say("end")
    assert near.ended(job.id)["class"] is None
    assert versions(near, job) == came  # nothing comes twice


def test_what_a_job_has_removed_when_it_ends_is_not_to_stay(far: FarSide) -> None:
    near = far.near()
    job = Keeping(far, near)
    job.do("checkpoint/index a 3")
    await_kept(near, job, "index")
    job.do("checkpoint/index gone")
    job.say("end")
    near.ended(job.id)
    await_kept(near, job)


def test_what_is_half_written_never_comes(far: FarSide) -> None:
    near = far.near()
    job = Keeping(far, near)
    job.do("checkpoint/half a 3 beside")
    job.do("checkpoint/fit~/trees a 3")
    job.do("checkpoint/whole b 3")
    await_kept(near, job, "whole")
    job.say("end")
    near.ended(job.id)
    assert versions(near, job) == [("checkpoint/whole", b"bbb")]


def test_a_file_that_is_replaced_while_it_is_sent_comes_as_one_version_and_then_as_the_next(far: FarSide) -> None:
    near = far.near()
    job = Keeping(far, near)
    job.do(f"checkpoint/big a {BIG}")
    await_begin(near, job)
    job.do(f"checkpoint/big b {BIG + 1}")
    while sum(is_last(header) for header, _ in near.heard) < 2:
        near.hear()
    assert versions(near, job) == [("checkpoint/big", b"a" * BIG), ("checkpoint/big", b"b" * (BIG + 1))]


def test_a_big_file_holds_up_no_answer_no_output_and_no_end(far: FarSide) -> None:
    near, other = far.near(slots=2), far.near("other")
    job, small = Keeping(far, near), far.spec()
    job.do(f"checkpoint/big a {BIG}")
    await_begin(near, job)
    other.ask("adopt", jobs={job.id: {}})
    job.say("say hello")
    near.send("submit", jobs=[small])
    # When it is here it has been said there too; and all of it before the first connection takes any more.
    other.wait(lambda header: header.get("path") == "console.log")
    other.until(lambda _: other.states().get(small["id"]) == "ended")
    near.send("ping")
    assert other.ask("ping")
    place: dict[str, int] = {}
    while "big" not in place:
        near.hear()
        for at, (header, _) in enumerate(near.heard):
            if header.get("op") == "pong":
                place.setdefault("pong", at)
            elif header.get("op") == "ended":
                place.setdefault("end", at)
            elif header.get("path") == "console.log":
                place.setdefault("printed", at)
            elif is_last(header) and header["id"] == job.id:
                place.setdefault("big", at)
    assert max(place, key=place.__getitem__) == "big"
    assert len(place) == 4
    ((_, data),) = versions(near, job)
    assert data == b"a" * BIG


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_line_or_a_supervisor_has_cut_comes_whole_over_the_next(far: FarSide, killed: bool) -> None:
    near = far.near()
    job = Keeping(far, near)
    job.do(f"checkpoint/big a {BIG}")
    await_begin(near, job)
    if killed:
        near.kill_supervisor()
    near = far.near()
    assert near.ask("adopt", jobs={job.id: {}})["states"] == {job.id: "running"}
    await_kept(near, job, "big")
    assert versions(near, job) == [("checkpoint/big", b"a" * BIG)]
    job.say("end")
    assert near.ended(job.id)["class"] is None


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out" / "checkpoint").mkdir(parents=True)
    return tmp_path / "out"


def test_a_file_that_is_written_over_while_it_is_sent_does_not_come_to_its_end(out: Path) -> None:
    path = out / "checkpoint" / "big"
    path.write_bytes(b"a" * 3 * CHUNK)
    os.utime(path, ns=(1, 1))
    has: dict[str, Any] = {}
    frames = kept(ID, out, ["checkpoint"], has)
    said = next(frames)
    path.write_bytes(b"b" * 3 * CHUNK)
    heads = [header for header, _ in Decoder().feed(said + b"".join(frames))]
    assert [header["last"] for header in heads] == [False]
    assert changed(out, ["checkpoint"], has)
    frames = kept(ID, out, ["checkpoint"], has)
    assert b"".join(payload for _, payload in Decoder().feed(b"".join(frames))) == b"b" * 3 * CHUNK
    assert not changed(out, ["checkpoint"], has)


def test_a_file_that_is_removed_while_it_is_sent_comes_whole_and_is_then_not_to_stay(out: Path) -> None:
    path = out / "checkpoint" / "big"
    path.write_bytes(b"a" * 3 * CHUNK)
    has: dict[str, Any] = {}
    frames = kept(ID, out, ["checkpoint"], has)
    said = next(frames)
    path.unlink()
    assert b"".join(payload for _, payload in Decoder().feed(said + b"".join(frames))) == b"a" * 3 * CHUNK
    assert changed(out, ["checkpoint"], has)
    ((header, _),) = Decoder().feed(b"".join(kept(ID, out, ["checkpoint"], has)))
    assert (header["op"], header["names"]) == ("kept", [])


def test_no_link_is_followed(out: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text("secret")
    (out / "checkpoint" / "link").symlink_to(tmp_path / "elsewhere")
    (out / "checkpoint" / "file").symlink_to(tmp_path / "elsewhere" / "secret")
    (out / "away").symlink_to(tmp_path / "elsewhere")
    assert not changed(out, ["checkpoint", "checkpoint/link", "away", "nowhere"], {})


def test_of_inputs_that_cannot_all_be_brought_none_passes_for_what_was_kept(far: FarSide) -> None:
    near = far.near()
    data = b"an earlier attempt's"
    sha = hashlib.sha256(data).hexdigest()
    near.ask("put", data, sha=sha, kind="store", offset=0, size=len(data))
    inputs = {"checkpoint/index": sha, "checkpoint/trees": "0" * 64}
    spec = far.spec(inputs=inputs, kept=["checkpoint"])
    near.submit(spec)
    assert near.ended(spec["id"])["class"] == "precheck"
    assert near.event("kept", spec["id"])["names"] == []
