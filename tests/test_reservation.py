"""Two sweeps of this machine share its slots."""

import os
import select
import signal
import subprocess
import sys

import pytest

from hydra_plugins.sweeproute._reservation import LENT, Reservation, reserved

HOLD = """
import sys
from hydra_plugins.sweeproute._reservation import Reservation, reserved
with reserved(Reservation(sys.argv[1], int(sys.argv[2]))):
    print("held", flush=True)
    sys.stdin.readline()
print("free", flush=True)
"""


@pytest.fixture
def hold(tmp_path):
    """Start processes that each hold one of a number of slots until they are told."""
    started = []

    def start(slots, environment=None):
        command = [sys.executable, "-c", HOLD, str(tmp_path / "slots"), str(slots)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_third_job_waits_for_one_of_two_slots(hold):
    first, second = hold(2), hold(2)
    assert first.stdout.readline() == second.stdout.readline() == "held\n"
    third = hold(2)
    assert select.select([third.stdout], [], [], 0.5) == ([], [], [])
    first.stdin.write("\n")
    first.stdin.flush()
    assert first.stdout.readline() == "free\n"
    assert third.stdout.readline() == "held\n"


def test_a_process_that_is_killed_holds_no_slot(hold):
    first = hold(1)
    assert first.stdout.readline() == "held\n"
    second = hold(1)
    first.send_signal(signal.SIGKILL)
    assert second.stdout.readline() == "held\n"


def test_without_slots_to_share_nothing_is_held(tmp_path):
    with reserved(None):
        assert list(tmp_path.iterdir()) == []


def test_what_a_job_leaves_running_does_not_keep_its_slot(tmp_path):
    slots = Reservation(str(tmp_path / "slots"), 1)
    with reserved(slots):
        left = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with reserved(slots):
            pass
    finally:
        left.communicate(b"\n")


def test_a_sweep_that_a_job_starts_has_the_slot_of_the_job_and_no_other_sweep_does(hold, tmp_path, monkeypatch):
    monkeypatch.delenv(LENT, raising=False)
    only = Reservation(str(tmp_path / "slots"), 1)
    with reserved(only):
        stranger_environment = {name: value for name, value in os.environ.items() if name != LENT}
        below = hold(1)
        assert below.stdout.readline() == "held\n"
        # Below the job there is one slot, and none for whoever is not below it.
        beside, stranger = hold(1), hold(1, stranger_environment)
        assert not select.select([beside.stdout, stranger.stdout], [], [], 0.5)[0]
        below.communicate("\n")
        assert beside.stdout.readline() == "held\n"
        beside.communicate("\n")
    assert LENT not in os.environ
    assert stranger.stdout.readline() == "held\n"
