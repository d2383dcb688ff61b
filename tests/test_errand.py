"""Tests of errands: one job on a far machine that a command waits for."""

import _thread
import json
import os
import sys
import threading
from pathlib import Path

import psutil
import pytest

from far_app import wait_until
from hydra_plugins.sweeproute import _errand
from hydra_plugins.sweeproute._errand import Errand
from hydra_plugins.sweeproute._pending import PendingCancels
from near_shell import NearShell
from submitit_ssh.errors import FarError

# What the tests of the far side have it run.
ENTRY = "far_entry"


@pytest.fixture
def shell(tmp_path: Path):
    shell = NearShell(tmp_path / "far")
    yield shell
    supervisor = psutil.Process(json.loads((shell.root / "supervisor.json").read_text())["pid"])
    for process in [supervisor, *supervisor.children(recursive=True)]:
        process.kill()


@pytest.fixture
def errand(shell: NearShell, tmp_path: Path, monkeypatch):
    """A connection to a far side whose jobs are the entry's."""
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(_errand, "_PACKAGES", (ENTRY,))
    with Errand("box", shell.settings) as errand:
        yield errand


def run(errand: Errand, tmp_path: Path, do: str, **more: object) -> object:
    return errand.run(ENTRY, {"do": do, "runs": str(tmp_path / "runs"), **more}, sys.executable)


def test_what_a_job_returns_comes_back_as_data_and_nothing_of_it_is_left(errand: Errand, tmp_path: Path):
    assert run(errand, tmp_path, "nothing", value={"a": [1, None]}) == {"a": [1, None]}
    assert errand.ask("status")["jobs"] == []


def test_a_cancel_that_could_not_be_delivered_is_delivered_by_any_command(
    shell: NearShell, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(_errand, "_PACKAGES", (ENTRY,))
    pending = PendingCancels("box", shell.settings.host)
    pending.keep(["f" * 32])
    with Errand("box", shell.settings):
        pass
    assert pending.kept() == []


def test_what_a_job_raises_is_said_in_one_line(errand: Errand, tmp_path: Path):
    with pytest.raises(FarError) as raised:
        run(errand, tmp_path, "raise")
    assert str(raised.value) == "the job's entry raised RuntimeError: as asked."


def test_a_python_that_does_not_start_is_said_with_its_last_words(errand: Errand, tmp_path: Path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'one line' >&2; echo 'it is broken' >&2; exit 3\n")
    broken.chmod(0o755)
    with pytest.raises(FarError) as raised:
        errand.run(ENTRY, {}, str(broken))
    assert str(raised.value) == (
        "its environment cannot be loaded: the process that loads it ended with code 3 (it is broken)."
    )


@pytest.fixture
def stopped(tmp_path: Path):
    """The argument of a job that runs on, and whose person presses Ctrl-C as soon as it does."""
    for name in ("tell", "until"):
        os.mkfifo(tmp_path / name)
    meanwhile = []

    def stop() -> None:
        (tmp_path / "tell").read_text()
        for do in meanwhile:
            do()
        _thread.interrupt_main()

    thread = threading.Thread(target=stop)
    thread.start()
    yield {"do": "wait", "tell": str(tmp_path / "tell"), "until": str(tmp_path / "until")}, meanwhile
    thread.join()


def test_whoever_stops_waiting_ends_the_job(errand: Errand, tmp_path: Path, stopped):
    with pytest.raises(KeyboardInterrupt):
        run(errand, tmp_path, **stopped[0])
    wait_until(lambda: errand.ask("status")["jobs"] == [], "the job to end")
    assert PendingCancels("box", "far").kept() == []


def test_a_job_that_cannot_be_ended_now_is_ended_at_the_next_contact(errand, shell, tmp_path, stopped, monkeypatch):
    monkeypatch.setattr(_errand, "_FORGET_S", 0.1)
    stopped[1].extend([lambda: shell.cut(True), errand.machine._line._process.kill])
    with pytest.raises(KeyboardInterrupt):
        run(errand, tmp_path, **stopped[0])
    pending = PendingCancels("box", "far")
    assert len(pending.kept()) == 1
    shell.cut(False)
    pending.deliver(errand.machine)
    wait_until(lambda: pending.kept() == [], "the delivery")
    wait_until(lambda: errand.ask("status")["jobs"] == [], "the job to end")
