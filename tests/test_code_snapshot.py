"""Tests of what is kept of a working tree beside its commit, and that it can be laid out again."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from sweeproute import code_snapshot, code_worktree, fingerprint

NAMES = ("train.py", "tools.py")


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app in a folder of a repository."""
    folder = tmp_path / "repository" / "app"
    write(folder, {"train.py": "print(1)\n", "conf/config.yaml": "a: 1\n", "games.csv": "1\n", ".gitignore": "*.log\n"})
    git(folder.parent, "init", "--quiet")
    git(folder.parent, "add", "--all")
    git(folder.parent, "commit", "--quiet", "--message", "All")
    return folder


def laid_out(app: Path, patch: bytes, folder: Path) -> dict[str, str]:
    """The files of the commit with the patch, by name."""
    path = folder / "some.patch"
    path.write_bytes(patch)
    top = code_snapshot.top(app)
    with code_worktree.laid_out(top, "HEAD", folder / "tree", path):
        files = [one for one in (folder / "tree" / "app").rglob("*") if one.is_file()]
        found = {one.relative_to(folder / "tree" / "app").as_posix(): one.read_text() for one in files}
    assert not (folder / "tree").exists()
    assert len(git(app, "worktree", "list").splitlines()) == 1
    return found


def test_a_tree_as_it_was_committed_has_nothing_to_keep(app: Path, tmp_path: Path) -> None:
    write(app, {"notes.txt": "mine\n"})
    assert code_snapshot.take(app, NAMES) == b""
    code_snapshot.keep(tmp_path / "sweep", app, NAMES)
    assert code_snapshot.kept(tmp_path / "sweep") == []
    assert code_snapshot.take(tmp_path, NAMES) == b""  # no repository


def test_changes_are_kept_with_new_files_that_results_depend_on_and_no_others(app: Path, tmp_path: Path) -> None:
    write(app, {"train.py": "print(2) \r\n", "games.csv": "2\n", "tools.py": "new\n", "notes.txt": "password\n"})
    write(app, {"conf/model/mine.yaml": "model: {code: [more.py]}\n", "more.py": "more\n", "run.log": "log\n"})
    write(app, {"conf/tracking/server.yaml": "uri: https://me:password@example.org\n"})
    before = git(app, "status", "--short")
    found = laid_out(app, code_snapshot.take(app, NAMES), tmp_path)
    assert git(app, "status", "--short") == before
    assert found.keys() == {
        *("train.py", "conf/config.yaml", "games.csv", ".gitignore"),
        *("tools.py", "more.py", "conf/model/mine.yaml"),
    }
    assert found["train.py"] == "print(2) \n"  # as Python reads it
    # Data has a hash of its own, and may be large.
    assert found["games.csv"] == "1\n"


def test_the_code_that_is_laid_out_has_the_hash_that_it_had(app: Path, tmp_path: Path) -> None:
    (app / "train.py").write_bytes(b"print('\xc3\xa9')\r\n\x0c\n# no end of line")
    (app / "tools.py").write_bytes(b"\x00\x01binary\n")
    path = tmp_path / "some.patch"
    path.write_bytes(code_snapshot.take(app, NAMES))
    tree = tmp_path / "tree"
    with code_worktree.laid_out(code_snapshot.top(app), "HEAD", tree, path):
        there = fingerprint.code_hash(NAMES, tree / "app")
    assert there == fingerprint.code_hash(NAMES, app)


def test_what_is_staged_is_kept_too_and_what_is_deleted_stays_away(app: Path, tmp_path: Path) -> None:
    write(app, {"tools.py": "new\n"})
    git(app, "add", "tools.py")
    (app / "conf" / "config.yaml").unlink()
    found = laid_out(app, code_snapshot.take(app, NAMES), tmp_path)
    assert "tools.py" in found
    assert "conf/config.yaml" not in found


def test_a_sweep_that_goes_on_with_other_code_has_two_snapshots(app: Path, tmp_path: Path) -> None:
    for text in ("print(2)\n", "print(2)\n", "print(3)\n"):
        write(app, {"train.py": text})
        code_snapshot.keep(tmp_path, app, NAMES)
    assert [path.name for path in code_snapshot.kept(tmp_path)] == ["code.patch", "code-2.patch"]


def test_what_is_too_large_is_said_and_not_kept(app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_snapshot, "LARGEST", 1000)
    write(app, {"train.py": "# line\n" * 200})
    code_snapshot.keep(tmp_path, app, NAMES)
    assert code_snapshot.kept(tmp_path) == []
    told = code_snapshot.problem(tmp_path)
    assert told is not None
    assert told.startswith("What the working tree had beside its commit has 0.0 MB")
    assert "this sweep cannot be reproduced from its commit" in told


def test_the_settings_of_a_person_change_nothing(app: Path, tmp_path: Path) -> None:
    for setting in ("diff.noprefix true", "color.ui always", "diff.external false", "core.autocrlf true"):
        git(app, "config", *setting.split())
    hook = code_snapshot.top(app) / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    write(app, {"train.py": "print(2)\n"})
    assert laid_out(app, code_snapshot.take(app, NAMES), tmp_path)["train.py"] == "print(2)\n"
    assert not (tmp_path / "ran").exists()


def test_a_patch_that_does_not_fit_is_refused_and_leaves_nothing(app: Path, tmp_path: Path) -> None:
    write(app, {"train.py": "print(2)\n"})
    patch = code_snapshot.take(app, NAMES)
    write(app, {"train.py": "other\n"})
    git(app, "commit", "--quiet", "--all", "--message", "Other")
    with pytest.raises(code_worktree.GitError):
        laid_out(app, patch, tmp_path)
    assert not (tmp_path / "tree").exists()


def test_a_commit_is_known_or_not(app: Path) -> None:
    assert code_worktree.has(app, git(app, "rev-parse", "HEAD").strip())
    assert not code_worktree.has(app, "0" * 40)


def test_a_worktree_on_a_disk_that_is_away_is_left_alone(app: Path, tmp_path: Path) -> None:
    git(app, "worktree", "add", "--quiet", "--detach", str(tmp_path / "disk"))
    (tmp_path / "disk").rename(tmp_path / "away")
    with code_worktree.laid_out(code_snapshot.top(app), "HEAD", tmp_path / "tree"):
        pass
    (tmp_path / "away").rename(tmp_path / "disk")
    assert git(tmp_path / "disk", "status", "--short") == ""
    assert len(git(app, "worktree", "list").splitlines()) == 2


def test_paths_of_a_repository_have_their_like_in_its_worktree(tmp_path: Path) -> None:
    for name in ("repository/src", "tree/src", "repository/gone"):
        (tmp_path / name).mkdir(parents=True)
    paths = [tmp_path / "repository" / "src", tmp_path / "repository" / "gone", tmp_path]
    assert code_worktree.moved(paths, tmp_path / "repository", tmp_path / "tree") == [tmp_path / "tree" / "src"]
