"""A Mac stays awake while a sweep runs on it."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from hydra_plugins.sweeproute._awake import awake


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that says it is a Mac, with a `caffeinate` that waits and leaves word of its arguments."""
    program = tmp_path / "caffeinate"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(sys, "platform", "darwin")


def children() -> list[psutil.Process]:
    return psutil.Process().children()


def test_sleep_is_held_off_until_the_sweep_ends(mac: None, tmp_path: Path) -> None:
    before = children()
    with awake():
        (held,) = [child for child in children() if child not in before]
        while not (tmp_path / "words").exists() or not (tmp_path / "words").read_text():
            assert held.is_running()
    assert (tmp_path / "words").read_text().split() == ["-i", "-w", str(os.getpid())]
    assert not held.is_running()


def test_a_mac_without_it_runs_the_sweep_all_the_same(mac: None, tmp_path: Path) -> None:
    (tmp_path / "caffeinate").unlink()
    with awake():
        pass


def test_elsewhere_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    before = children()
    with awake():
        assert children() == before
