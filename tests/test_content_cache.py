"""Tests of what is remembered of files and trees: it must never be believed after a change."""

import hashlib
import io
import os
import tarfile
import threading
import time
from pathlib import Path

import pytest

from submitit_ssh import content_cache
from submitit_ssh.content_cache import ContentError, Tar, clean, hashed, packed


def settle(*paths: Path) -> None:
    """Wait until the files are old enough for their times to tell a later change."""
    newest = max(path.stat().st_ctime_ns for path in paths)
    while time.time_ns() - newest < 30_000_000:
        pass


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def members(tar: Tar) -> list[tarfile.TarInfo]:
    with tar.open() as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as archive:
        return archive.getmembers()


def contents(tar: Tar) -> dict[str, bytes]:
    with tar.open() as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def inodes(folder: Path) -> dict[str, int]:
    """What is renewed by being written beside and renamed."""
    return {path.name: path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def test_a_file_that_has_not_changed_is_not_hashed_again(tmp_path: Path) -> None:
    path, cache = write(tmp_path / "data.csv", "a,b\n"), tmp_path / "cache"
    settle(path)
    first, before = hashed(path, cache), inodes(cache)
    assert first[0] == sha256(b"a,b\n")
    assert len(before) == 1
    assert hashed(path, cache) == first
    assert inodes(cache) == before


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    path, cache = write(tmp_path / "data.csv", "old"), tmp_path / "cache"
    settle(path)
    found = path.stat()
    assert hashed(path, cache)[0] == sha256(b"old")
    path.write_text("new")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert hashed(path, cache)[0] == sha256(b"new")


def test_changes_within_one_tick_of_the_clock_are_seen(tmp_path: Path) -> None:
    path, cache = tmp_path / "data.csv", tmp_path / "cache"
    for number in range(1000):
        path.write_text(f"{number:04}")
        assert hashed(path, cache)[0] == sha256(f"{number:04}".encode())


def test_a_file_that_may_change_without_a_trace_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = write(tmp_path / "data.csv", "a"), tmp_path / "cache"
    for tick_ns, remembered in ((10**15, 0), (-(10**15), 1)):
        monkeypatch.setattr(content_cache, "_TICK_NS", tick_ns)
        hashed(path, cache)
        packed({"data.csv": path}, cache)
        assert [len(list(cache.glob(f"{kind}/*"))) for kind in ("hashes", "trees")] == [remembered, remembered]


def test_a_damaged_entry_is_made_anew(tmp_path: Path) -> None:
    path, cache = write(tmp_path / "data.csv", "a"), tmp_path / "cache"
    settle(path)
    hashed(path, cache)
    first = packed({"a": path}, cache)
    for entry in cache.rglob("*.*"):
        entry.write_bytes(b'{"sha": ')
    assert hashed(path, cache)[0] == sha256(b"a")
    assert packed({"a": path}, cache).sha == first.sha
    (cache / "tars" / f"{first.sha}.tar").write_bytes(b"")
    assert contents(packed({"a": path}, cache)) == {"a": b"a"}


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    path, cache = write(tmp_path / "data.csv", "a"), write(tmp_path / "cache", "a file, where the folder belongs")
    settle(path)
    assert hashed(path, cache)[0] == sha256(b"a")


def test_what_is_no_plain_file_has_no_hash(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ContentError, match="pipe is no plain file"):
        hashed(tmp_path / "pipe", tmp_path / "cache")
    with pytest.raises(FileNotFoundError):
        hashed(tmp_path / "missing", tmp_path / "cache")


def test_the_same_files_make_the_same_tar_whatever_their_times_and_owners(tmp_path: Path) -> None:
    made = []
    for place, mode in (("here", 0o640), ("there", 0o604)):
        files = {name: write(tmp_path / place / name, name) for name in ("b.py", "a/c.py")}
        for path in files.values():
            path.chmod(mode)
            os.utime(path, (1, len(place)))
        made.append(packed(dict(sorted(files.items(), reverse=place == "here")), tmp_path / f"cache {place}"))
    assert made[0].sha == made[1].sha
    assert [(one.name, one.mode, one.mtime, one.uid, one.uname) for one in members(made[0])] == [
        ("a/c.py", 0o644, 0, 0, ""),
        ("b.py", 0o644, 0, 0, ""),
    ]
    with made[0].open() as stream:
        content = stream.read()
    assert (sha256(content), len(content)) == (made[0].sha, made[0].size)


def test_the_executable_bit_is_kept_and_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "run.sh", "exit")
    plain = packed({"run.sh": path}, tmp_path / "cache")
    path.chmod(0o711)
    tar = packed({"run.sh": path}, tmp_path / "cache")
    assert tar.sha != plain.sha
    assert [one.mode for one in members(tar)] == [0o755]


def test_a_tree_that_has_not_changed_is_not_packed_again(tmp_path: Path) -> None:
    files, cache = {name: write(tmp_path / name, name) for name in ("a", "b")}, tmp_path / "cache"
    settle(*files.values())
    first, before = packed(files, cache), inodes(cache)
    again = packed(files, cache)
    assert (again.sha, again.size, again.names) == (first.sha, first.size, first.names)
    assert inodes(cache) == before
    files["b"].write_text("c")
    assert contents(packed(files, cache)) == {"a": b"a", "b": b"c"}


def test_what_is_gone_or_has_become_a_link_is_not_packed(tmp_path: Path) -> None:
    write(tmp_path / "secret", "secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    names = ("here", "gone", "link", "pipe", "here/below")
    write(tmp_path / "here", "here")
    tar = packed({name: tmp_path / name for name in names}, tmp_path / "cache")
    assert contents(tar) == {"here": b"here"}
    assert tar.names == {"here"}


def test_files_that_are_written_to_meanwhile_leave_the_tar_whole(tmp_path: Path) -> None:
    files = {f"{n}": write(tmp_path / f"{n}", "x" * 1000) for n in range(6)}
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            for name, path in files.items():
                if int(name) % 2:
                    with path.open("a" if path.stat().st_size < 20_000 else "w") as stream:
                        stream.write("x" * 1000)
                else:
                    path.unlink()
                    path.write_text("y" * 500)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(15):
            tar = packed(files, tmp_path / "cache")
            with tar.open() as stream:
                assert sha256(stream.read()) == tar.sha
            assert contents(tar).keys() == tar.names
            assert all(set(content) <= set(b"xy") for content in contents(tar).values())
    finally:
        stop.set()
        thread.join()
    last = packed(files, tmp_path / "cache")
    assert contents(last) == {name: path.read_bytes() for name, path in files.items()}


def test_what_was_used_longest_ago_goes_first_when_the_cache_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_cache, "LIMIT", 80_000)
    cache, tars = tmp_path / "cache", []
    for number in range(3):
        path = write(tmp_path / "data", f"{number}" * 20_000)
        settle(path)
        tars.append(packed({"data": path}, cache))
        for used, tar in enumerate(tars):
            if (kept := cache / "tars" / f"{tar.sha}.tar").exists():
                os.utime(kept, (1e9 + used, 1e9 + used))
    kept = {path.stem for path in (cache / "tars").iterdir()}
    assert kept == {tars[1].sha, tars[2].sha}
    assert contents(tars[0]) == {"data": b"0" * 20_000}  # open before, readable after


def test_one_tree_larger_than_the_limit_is_kept_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_cache, "LIMIT", 1000)
    path, cache = write(tmp_path / "data", "x" * 20_000), tmp_path / "cache"
    tar = packed({"data": path}, cache)
    assert [one.stem for one in (cache / "tars").iterdir()] == [tar.sha]


def test_clean_frees_what_has_not_been_used_for_long(tmp_path: Path) -> None:
    old, new, cache = write(tmp_path / "old", "o" * 10_000), write(tmp_path / "new", "n"), tmp_path / "cache"
    settle(old, new)
    tar = packed({"old": old}, cache)
    hashed(old, cache)
    half_done = write(cache / "tars" / "half~", "half")
    for path in (*cache.rglob("*.*"), half_done):
        os.utime(path, (1e9, 1e9))
    hashed(new, cache)
    written_now = write(cache / "tars" / "now~", "now")
    freed = clean(cache, older_than_s=86_400)
    assert tar.size <= freed <= tar.size + 5 * 4096
    assert [path.name for path in (cache / "tars").iterdir()] == [written_now.name]
    assert len(list((cache / "hashes").iterdir())) == 1
    assert clean(cache, 0) > 0
    assert [path.name for path in cache.rglob("*") if path.is_file()] == [written_now.name]
    assert clean(tmp_path / "nowhere", 0) == 0
