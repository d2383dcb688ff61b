"""What a near side may ask is answered, and what it may not harms nothing."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from far_side import FarSide, Gone, Near, living


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FarSide]:
    yield from living(tmp_path)


def test_the_queue_takes_a_new_order_and_keeps_it_and_the_slots_over_a_new_supervisor(far: FarSide) -> None:
    near = far.near(slots=1)
    near.ask("slots", slots=None, paused=True)
    specs = [far.spec() for _ in range(5)]
    ids = [spec["id"] for spec in specs]
    near.submit(*specs)
    assert near.ask("ping")["load"]["waits"] == "the machine is paused"
    near.ask("order", ids=[ids[4], ids[1], ids[2]])
    near.kill_supervisor()
    near = far.near()
    assert (near.ask("ping")["load"]["slots"], near.ask("ping")["load"]["paused"]) == (1, True)
    near.ask("adopt", jobs={identifier: {} for identifier in ids})
    assert near.ask("slots", slots=None, paused=False)["paused"] is False
    for identifier in ids:
        near.ended(identifier)
    assert far.runs() == [ids[0], ids[4], ids[1], ids[3], ids[2]]


def test_an_order_that_comes_before_its_jobs_holds_for_them(far: FarSide) -> None:
    near = far.near(slots=1)
    near.ask("slots", slots=None, paused=True)
    specs = [far.spec() for _ in range(5)]
    ids = [spec["id"] for spec in specs]
    near.submit(*specs[:3])
    near.ask("order", ids=[ids[4], ids[3], ids[1], ids[0]])
    near.submit(*specs[3:])
    near.ask("slots", slots=None, paused=False)
    for identifier in ids:
        near.ended(identifier)
    assert far.runs() == [ids[4], ids[3], ids[2], ids[1], ids[0]]


def test_a_signal_reaches_the_jobs_own_process(far: FarSide) -> None:
    near = far.near()
    tell = far.fifo()
    spec = far.spec("catch", tell=tell)
    near.submit(spec)
    assert tell.line() == "ready"
    near.event("started", spec["id"])
    assert "no signal" in near.ask("signal", id=spec["id"], signal="NONE")["message"]
    assert near.ask("signal", id=spec["id"], signal="USR2")["op"] == "signalled"
    assert near.ended(spec["id"])["result"] == "caught"
    assert "does not run" in near.ask("signal", id=spec["id"], signal="USR2")["message"]


def test_a_file_of_any_job_can_be_read_and_none_outside(far: FarSide) -> None:
    near, other = far.near(), far.near("other")
    spec = far.spec("write", bytes=400_000)
    near.submit(spec)
    near.ended(spec["id"])
    answer = other.ask("read", id=spec["id"], path="large.bin", offset=300_000)
    assert answer["size"] == 400_000 // 256 * 256
    assert len(answer["raw"]) == answer["size"] - 300_000
    for path in ("link", "out-of-it/etc/passwd", "../spec.json", "/etc/passwd", "fifo", "deep", "nowhere"):
        answer = other.ask("read", id=spec["id"], path=path, offset=0)
        assert answer["op"] == "error", path
        assert "raw" not in answer or answer["raw"] == b""


def test_inputs_lie_in_the_output_folder_before_the_job_runs(far: FarSide) -> None:
    near = far.near()
    data = b"from another machine"
    sha = hashlib.sha256(data).hexdigest()
    near.ask("put", data, sha=sha, kind="store", offset=0, size=len(data))
    names = ["in.txt", "deep/in.txt"]
    spec = far.spec("inputs", names=names, inputs=dict.fromkeys(names, sha))
    missing = far.spec("inputs", names=[], inputs={"in.txt": "0" * 64})
    near.submit(spec, missing)
    assert near.ended(spec["id"])["result"] == dict.fromkeys(names, data.decode())
    ended = near.ended(missing["id"])
    assert ended["class"] == "precheck"
    assert "0" * 64 in ended["message"]
    assert far.runs() == [spec["id"]]


def test_nonsense_ends_a_connection_and_harms_no_other(far: FarSide) -> None:
    good = far.near("good")
    for nonsense in (b"nonsense\n", b"[1]\n", b'{"op":"ping","bytes":-1}\n', b'{"op":"put","bytes":99999999}\n'):
        bad = far.near("bad")
        bad.write(nonsense)
        with pytest.raises(Gone):
            bad.wait(lambda header: False)
    bad = far.near("bad")
    for op, fields in {
        "nothing": {},
        "submit": {},
        "adopt": {"jobs": [1]},
        "recall": {"ids": ["../../etc"]},
        "settle": {"ids": [7]},
        "read": {"id": "..", "path": "spec.json", "offset": 0},
        "put": {"sha": "../x", "kind": "store", "offset": 0, "size": 1},
        "slots": {"slots": "many"},
        "order": {"ids": None},
    }.items():
        assert bad.ask(op, **fields)["op"] == "error"
    spec = far.spec()
    wrong = [{}, 7, {**spec, "id": "../" + "0" * 29}, {**spec, "live": ["../x"]}, {**spec, "timeout_s": "long"}]
    assert len(bad.submit(*wrong)["refused"]) == len(
        {str(one.get("id")) if isinstance(one, dict) else "7" for one in wrong}
    )
    assert good.ask("status")["jobs"] == []


def test_requests_before_hello_are_not_served(far: FarSide) -> None:
    near = Near(far.root, "shy")
    assert near.ask("status")["message"] == "hello comes first"
    near.close()
