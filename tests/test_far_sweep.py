"""Tests of the way home of a sweep's files: what comes, in which order, and what never may."""

import ast
import json
import os
import sys
import time
from pathlib import Path

import pytest

from hydra_plugins.sweeproute import _far_sweep
from hydra_plugins.sweeproute._far_sweep import FarSweep
from near_shell import NearShell
from submitit_ssh.errors import FarError
from submitit_ssh.far.frames import MARKER
from submitit_ssh.ssh import Settings

PARTS = [Path(_far_sweep.__file__).with_name(f"{name}.py") for name in _far_sweep._PARTS]


@pytest.fixture
def shell(tmp_path: Path) -> NearShell:
    return NearShell(tmp_path / "far")


@pytest.fixture
def sweep(shell: NearShell) -> Path:
    """A sweep's folder over there."""
    folder = shell.root / "sweeps" / "s" / "sweep"
    (folder / ".sweeproute").mkdir(parents=True)
    (folder / ".sweeproute" / "sweep.json").write_text('{"id": "s"}')
    (folder / ".sweeproute" / "jobs.jsonl").write_text('{"job": 0}\n')
    (folder / "0" / "deep").mkdir(parents=True)
    (folder / "0" / "launch.json").write_text('{"state": "RUNNING"}')
    (folder / "0" / "journal.jsonl").write_text("{}\n" * 3)
    (folder / "0" / "deep" / "model.bin").write_bytes(os.urandom(600_000))
    return folder


def pull(shell: NearShell, home: Path, everything: bool = True) -> list[str]:
    """Bring it home; what came, in its order."""
    came: list[str] = []
    with FarSweep(shell.settings, "s") as far:
        found = far.pull(home, lambda path: came.append(path.relative_to(home).as_posix()), everything=everything)
    assert (found["files"], found["left_out"]) == (len(came), [])
    return came


def test_what_has_changed_comes_and_records_come_last(shell: NearShell, sweep: Path, tmp_path: Path):
    home = tmp_path / "home"
    assert pull(shell, home, everything=False) == ["0/launch.json", ".sweeproute/jobs.jsonl", ".sweeproute/sweep.json"]
    assert pull(shell, home) == ["0/deep/model.bin", "0/journal.jsonl"]
    assert pull(shell, home) == []
    for path in sweep.rglob("*"):
        if path.is_file():
            assert (home / path.relative_to(sweep)).read_bytes() == path.read_bytes()
    with (sweep / "0" / "journal.jsonl").open("a") as stream:
        stream.write("{}\n")
    (sweep / "0" / "launch.json").write_text('{"state": "FINISHED"}')
    (sweep / "0" / "games.csv").write_text("a,b\n")
    assert pull(shell, home) == ["0/games.csv", "0/journal.jsonl", "0/launch.json"]
    assert (home / "0" / "journal.jsonl").read_text() == "{}\n" * 4


def test_what_belongs_over_there_stays_there_and_no_link_is_followed(shell: NearShell, sweep: Path, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("private")
    (sweep / "0" / "key").symlink_to(secret / "key")
    (sweep / "0" / "folder").symlink_to(secret)
    os.mkfifo(sweep / "0" / "pipe")
    for name in ("lock", "home.lock", "tracking.json", "payload.pkl"):
        (sweep / ".sweeproute" / name).touch()
    (sweep / "0" / "checkpoint").mkdir()
    (sweep / "0" / "checkpoint" / "1").touch()
    (sweep / "0" / "half~").touch()
    home = tmp_path / "home"
    assert sorted(pull(shell, home)) == [
        ".sweeproute/jobs.jsonl",
        ".sweeproute/sweep.json",
        "0/deep/model.bin",
        "0/journal.jsonl",
        "0/launch.json",
    ]


class Liar:
    """A far side that answers whatever it likes."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "ssh"
        self.settings = Settings("far", ssh=(str(self.program),))

    def says(self, *frames: tuple[dict, bytes]) -> None:
        data = MARKER
        for header, payload in frames:
            data += json.dumps({**header, "bytes": len(payload)}).encode() + b"\n" + payload
        self.program.write_text(
            f"#!{sys.executable}\nimport sys, time\nsys.stdout.buffer.write({data!r})\nsys.stdout.flush()\n"
            "sys.stdin.buffer.read()\ntime.sleep(60)\n"
        )
        self.program.chmod(0o755)


@pytest.fixture
def liar(tmp_path: Path) -> Liar:
    return Liar(tmp_path)


LIES = [
    "../outside",
    "/outside",
    "0/../../outside",
    "linked/inside",
    "0/linked",
    ".sweeproute/lock",
    ".SweepRoute/LOCK",
    ".sweeproute/payload.pkl",
    ".sweeproute/tracking.json",
    "",
    "0//1",
]


@pytest.mark.parametrize("name", LIES)
def test_a_name_that_leads_elsewhere_or_is_this_sides_own_is_left_out(liar: Liar, tmp_path: Path, name: str):
    home, outside = tmp_path / "home", tmp_path / "elsewhere"
    (home / "0").mkdir(parents=True)
    outside.mkdir()
    (outside / "file").write_text("mine")
    (home / "linked").symlink_to(outside)
    (home / "0" / "linked").symlink_to(outside / "file")
    file = {"op": "file", "path": name, "offset": 0, "last": True, "mtime_ns": 1}
    liar.says((file, b"theirs"), ({"op": "pulled", "files": 1, "alive": False}, b""))
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if path != home}
    with FarSweep(liar.settings, "s") as far:
        found = far.pull(home, lambda _: None, everything=True)
    assert len(found["left_out"]) == 1
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if path != home} == before
    assert (outside / "file").read_text() == "mine"


def test_what_is_not_understood_is_said(liar: Liar, tmp_path: Path):
    liar.says(({"op": "file"}, b""))
    liar.program.write_text(liar.program.read_text().replace('{"op', "no json"))
    with pytest.raises(FarError, match="far sent what is not understood"), FarSweep(liar.settings, "s") as far:
        far.pull(tmp_path / "home", lambda _: None, everything=True)


def test_who_does_not_answer_is_given_up_in_time(liar: Liar, tmp_path: Path):
    liar.says()
    began = time.monotonic()
    with pytest.raises(FarError, match="far has not answered in time"), FarSweep(liar.settings, "s", 0.5) as far:
        far.pull(tmp_path / "home", lambda _: None, everything=True)
    assert time.monotonic() - began < 10


def test_an_id_that_leads_elsewhere_is_refused_over_there(shell: NearShell, tmp_path: Path):
    with pytest.raises(FarError, match="far takes no sweep of the name"), FarSweep(shell.settings, "../s") as far:
        far.ask("remove")


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_what_is_sent_needs_the_standard_library_of_an_old_python_alone(path: Path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    outer = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    outer |= {str(node.module).split(".")[0] for node in nodes if not node.level}
    assert outer <= set(sys.stdlib_module_names)
    assert {node.module for node in nodes if node.level} <= {part.stem for part in PARTS}
