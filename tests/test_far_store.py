"""What is staged is there once, whole, and nothing but files in folders."""

import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from far_side import FarSide, Near, living
from submitit_ssh.far.loop import Loop
from submitit_ssh.far.store import Store, Upload, sync_or_say, sync_tree

CHUNK = 1 << 18


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FarSide]:
    yield from living(tmp_path)


def sha_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(near: Near, data: bytes, kind: str = "store", sha: str | None = None) -> dict[str, Any]:
    """Send content in pieces; the last answer."""
    answer: dict[str, Any] = {}
    for at in range(0, max(1, len(data)), CHUNK):
        piece = data[at : at + CHUNK]
        answer = near.ask("put", piece, sha=sha or sha_of(data), kind=kind, offset=at, size=len(data))
    return answer


def tar_of(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 7, 5 * CHUNK])
def test_a_file_comes_in_pieces_and_is_missing_no_more(far: FarSide, size: int) -> None:
    near = far.near()
    data = os.urandom(size)
    sha = sha_of(data)
    assert near.ask("missing", store=[sha], trees=[sha])["store"] == [sha]
    answer = put(near, data)
    assert (answer["op"], answer["have"]) == ("stored", size)
    assert near.ask("missing", store=[sha, "0" * 64], trees=[sha]) | {"re": 0} == {
        "op": "missing",
        "store": ["0" * 64],
        "trees": [sha],
        "re": 0,
        "raw": b"",
    }
    assert (far.root / "store" / sha).read_bytes() == data
    # Said again it does no harm, and needs no room.
    assert put(near, data)["have"] == size
    assert [path.name for path in (far.root / "store").iterdir()] == [sha]


def test_two_clients_may_send_the_same_at_once_and_either_may_begin_again(far: FarSide) -> None:
    one, two = far.near("one"), far.near("two")
    data = os.urandom(2 * CHUNK)
    fields = {"sha": sha_of(data), "kind": "store", "size": len(data)}
    assert one.ask("put", data[:CHUNK], offset=0, **fields)["have"] == CHUNK
    assert two.ask("put", data[:CHUNK], offset=0, **fields)["have"] == CHUNK
    assert one.ask("put", data[:CHUNK], offset=0, **fields)["have"] == CHUNK
    assert "begin again at 0" in one.ask("put", data[:1], offset=7, **fields)["message"]
    assert one.ask("put", data[CHUNK:], offset=CHUNK, **fields)["have"] == 2 * CHUNK
    assert two.ask("put", data[CHUNK:], offset=CHUNK, **fields)["have"] == 2 * CHUNK
    assert [path.name for path in (far.root / "store").iterdir()] == [fields["sha"]]


def test_what_arrives_damaged_is_not_kept(far: FarSide) -> None:
    near = far.near()
    answer = put(near, b"something", sha="0" * 64)
    assert "another hash" in answer["message"]
    assert "at most" not in answer["message"]
    assert not list((far.root / "store").iterdir())
    assert "was not due" in near.ask("put", b"xx", sha="0" * 64, kind="store", offset=0, size=1)["message"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tree_is_unpacked_under_the_hash_of_its_tar(far: FarSide, mode: str) -> None:
    near = far.near()
    large = os.urandom(CHUNK * 2)
    data = tar_of(
        (member("./", tarfile.DIRTYPE), b"") if mode == "w" else (member("train.py"), b"print()"),
        (member("./train.py"), b"print()"),
        (member("src/deep/large.bin"), large),
        (member("run.sh", mode=0o755), b"#!/bin/sh\n"),
        (member("empty", tarfile.DIRTYPE), b""),
        mode=mode,
    )
    answer = put(near, data, "trees")
    assert (answer["op"], answer["have"]) == ("stored", len(data))
    tree = far.root / "trees" / sha_of(data)
    assert (tree / "train.py").read_bytes() == b"print()"
    assert (tree / "src" / "deep" / "large.bin").read_bytes() == large
    assert (tree / "run.sh").stat().st_mode & 0o777 == 0o700
    assert (tree / "train.py").stat().st_mode & 0o777 == 0o600
    assert (tree / "empty").is_dir()
    assert [path.name for path in (far.root / "trees").iterdir()] == [sha_of(data)]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (member("../outside"), "leads out of it"),
        (member("/outside"), "leads out of it"),
        (member("a/../../outside"), "leads out of it"),
        (member("link", tarfile.SYMTYPE, "/etc/passwd"), "neither a file nor a folder"),
        (member("link", tarfile.SYMTYPE, "fine"), "neither a file nor a folder"),
        (member("link", tarfile.LNKTYPE, "fine"), "neither a file nor a folder"),
        (member("device", tarfile.CHRTYPE), "neither a file nor a folder"),
        (member("device", tarfile.BLKTYPE), "neither a file nor a folder"),
        (member("fifo", tarfile.FIFOTYPE), "neither a file nor a folder"),
    ],
)
def test_a_tree_with_anything_but_files_in_folders_is_refused_whole(
    far: FarSide, bad: tarfile.TarInfo, said: str
) -> None:
    near = far.near()
    data = tar_of((member("fine"), b"fine"), (bad, b""))
    answer = put(near, data, "trees")
    assert answer["op"] == "error"
    assert said in answer["message"]
    assert not list((far.root / "trees").iterdir())
    assert not list(far.folder.glob("**/outside"))
    # Nothing of it is in the way of a good one.
    good = tar_of((member("fine"), b"fine"))
    assert put(near, good, "trees")["op"] == "stored"


def test_what_is_no_tar_is_refused(far: FarSide) -> None:
    near = far.near()
    assert "no tar" in put(near, b"not a tar at all" * 100, "trees")["message"]
    assert not list((far.root / "trees").iterdir())


def test_what_was_coming_in_when_the_supervisor_died_is_removed(far: FarSide) -> None:
    near = far.near()
    near.ask("put", b"x", sha="0" * 64, kind="store", offset=0, size=2)
    assert len(list((far.root / "store").iterdir())) == 1
    near.kill_supervisor()
    far.near()
    assert not list((far.root / "store").iterdir())


def gone(near: Near, kind: str, sha: str) -> bool:
    """Whether content is missing."""
    asked = {"store": [], "trees": [], kind: [sha]}
    return bool(near.ask("missing", **asked)[kind] == [sha])


@pytest.mark.parametrize("size", [100, 5 * CHUNK])
@pytest.mark.parametrize("kept", [0, 99])
def test_a_file_of_which_a_power_cut_took_some_is_missing_and_comes_again(far: FarSide, size: int, kept: int) -> None:
    near = far.near()
    data = os.urandom(size)
    put(near, data)
    path = far.root / "store" / sha_of(data)
    os.truncate(path, kept)
    assert gone(near, "store", path.name)
    assert put(near, data)["have"] == size
    assert path.read_bytes() == data
    assert not gone(near, "store", path.name)


@pytest.mark.parametrize("kind", ["store", "trees"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_content_of_which_nobody_has_noted_that_it_is_whole_comes_again(far: FarSide, kind: str, how: str) -> None:
    near = far.near()
    data = tar_of((member("deep/train.py"), b"print()"))
    put(near, data, kind)
    path, mark = far.root / kind / sha_of(data), far.root / "whole" / f"{kind}-{sha_of(data)}"
    if kind == "trees":
        os.truncate(path / "deep" / "train.py", 0)
    if how == "cut":
        os.truncate(mark, 0)
    else:
        mark.unlink()
    assert gone(near, kind, path.name)
    near.kill_supervisor()
    near = far.near()
    assert gone(near, kind, path.name)
    assert put(near, data, kind)["op"] == "stored"
    assert not gone(near, kind, path.name)
    assert (path if kind == "store" else path / "deep" / "train.py").read_bytes() == (
        data if kind == "store" else b"print()"
    )
    near.until(lambda _: [one.name for one in (far.root / kind).iterdir()] == [path.name])


def test_a_note_of_what_has_gone_goes(far: FarSide) -> None:
    near = far.near()
    put(near, b"one")
    put(near, b"two")
    (far.root / "store" / sha_of(b"one")).unlink()
    assert gone(near, "store", sha_of(b"one"))
    near.kill_supervisor()
    far.near()
    assert [mark.name for mark in (far.root / "whole").iterdir()] == [f"store-{sha_of(b'two')}"]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what this process has waited for to be on the disk."""
    found: list[str] = []

    def fsync(descriptor: int, real: Any = os.fsync) -> None:
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_a_file_is_on_the_disk_before_it_is_in_its_place(tmp_path: Path, synced: list[str]) -> None:
    one = Store(tmp_path, "", Loop(lambda: None))
    one.open()
    sha = sha_of(b"content")
    answers: list[dict[str, Any]] = []
    uploads: dict[tuple[str, str], Upload] = {}
    one.put(uploads, {"kind": "store", "sha": sha, "offset": 0, "size": 7}, b"content", answers.append)
    assert [answer["op"] for answer in answers] == ["stored"]
    assert synced == [f"{sha}.0~", f"store-{sha}.{os.getpid()}~", "whole"]


def test_a_large_file_is_waited_for_in_another_process(
    tmp_path: Path, synced: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "large").write_bytes(b"large")
    sync_or_say(str(tmp_path / "large"))
    assert (capsys.readouterr().out, synced) == ("done", ["large"])
    sync_or_say(str(tmp_path / "nowhere"))
    assert "No such file" in capsys.readouterr().out


def test_where_a_disk_cannot_be_waited_for_each_file_of_a_tree_is(
    tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one").write_text("one")
    (tmp_path / "two").write_text("two")
    sync_tree(tmp_path)
    assert synced == []  # with one wait for all
    monkeypatch.setitem(sys.modules, "ctypes", None)
    sync_tree(tmp_path)
    assert sorted(synced) == sorted(["deep", "one", "two", tmp_path.name])
