"""The channel to a far machine: slow is not silent, silent is soon said, and a dial that hangs is given up."""

import os
import sys
import time

import pytest

import test_machine
from submitit_ssh import line, staging
from submitit_ssh.line import Condition
from test_machine import WAIT_S

far = test_machine.far

# An ssh that passes on so many bytes a second. Files beside it: `hole`, nothing comes or is taken any more; `void`,
# what is taken goes nowhere; `deep`, all is taken at once, as the kernel does for a while. `dials` has a letter for
# each start.
_SLOW = """#!{python}
import os, queue, subprocess, sys, threading, time

here = os.path.dirname(os.path.abspath(__file__))
os.environ["HOME"] = here

def told(name):
    return os.path.exists(os.path.join(here, name))

def stay_in_hole():
    while told("hole"):
        time.sleep(0.02)

with open(os.path.join(here, "dials"), "a") as stream:
    stream.write("d")
stay_in_hole()
far = subprocess.Popen(["sh", "-c", sys.argv[-1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

def hear():
    while data := os.read(far.stdout.fileno(), 65536):
        stay_in_hole()
        if not told("void"):
            os.write(1, data)
    os._exit(0)

threading.Thread(target=hear, daemon=True).start()
taken = queue.Queue(0 if told("deep") else 1)

def carry():
    while data := taken.get():
        time.sleep(len(data) / {rate})
        if not told("void"):
            far.stdin.write(data)
            far.stdin.flush()
    far.stdin.close()

carrying = threading.Thread(target=carry)
carrying.start()
while data := os.read(0, 4096):
    stay_in_hole()
    taken.put(data)
taken.put(b"")
carrying.join()
far.wait()
"""
# Bytes a second; with the times below a piece of 256 kB would take longer than a silence may.
RATE = 150_000


class Slow:
    """A far machine behind a slow ssh, and what has become known of it with the number of dials until then."""

    def __init__(self, far, *files):
        self.far = far
        self.known = []
        program = far.shell.home / "ssh"
        program.write_text(_SLOW.format(python=sys.executable, rate=RATE))
        for file in files:
            self.now(file)
        self.machine, self.heard = far.machine()
        tell = self.heard.condition

        def condition(condition, why):
            self.known.append((condition, self.dials()))
            tell(condition, why)

        self.heard.condition = condition
        self.machine.wait_up(WAIT_S)

    def now(self, file):
        (self.far.shell.home / file).touch()

    def dials(self):
        return len((self.far.shell.home / "dials").read_text())

    def wait(self, condition):
        self.heard.wait(lambda: any(one is condition for one, _ in self.heard.conditions))
        return next(dials for one, dials in self.known if one is condition)


@pytest.fixture
def quick(monkeypatch):
    """All of it three times as fast."""
    monkeypatch.setattr(line, "PING_S", 0.3)
    monkeypatch.setattr(line, "SUSPECT_S", 1.0)
    monkeypatch.setattr(line, "DOWN_S", 3.5)
    monkeypatch.setattr(line, "_HANDSHAKE_S", 2.0)


def test_content_comes_over_a_slow_line_in_one_go(far, quick):
    slow = Slow(far)
    content = os.urandom(600_000)
    one = staging.blob(content)
    slow.machine.stage([one]).result(WAIT_S)
    assert (far.shell.root / "store" / one.sha).read_bytes() == content
    assert slow.dials() == 1


def test_a_slow_line_answers_pings_while_content_is_sent(far, quick):
    slow = Slow(far)
    slow.machine.stage([staging.blob(os.urandom(500_000))]).result(WAIT_S)
    assert slow.machine.round_trip_s < line.DOWN_S
    assert Condition.DOWN not in [condition for condition, _ in slow.known]


def test_many_jobs_come_over_a_slow_line_in_one_go(far, quick):
    slow = Slow(far)
    slow.machine.request("slots", slots=0, paused=True)
    specs = [far.spec(str(number), pad="x" * 4300) for number in range(80)]
    for answered in [slow.machine.submit(spec, far.place(spec["label"])) for spec in specs]:
        assert answered.result(WAIT_S) == "queued"
    assert slow.dials() == 1


def test_a_large_job_comes_over_a_slow_line_whose_ssh_takes_all_at_once(far, quick):
    slow = Slow(far, "deep")
    slow.machine.request("slots", slots=0, paused=True)
    assert slow.machine.submit(far.spec("a", pad="x" * 250_000), far.place("a")).result(WAIT_S) == "queued"
    assert slow.dials() <= 2


def test_a_line_that_takes_nothing_any_more_is_dialled_anew_before_the_machine_is_down(far, quick):
    slow = Slow(far)
    slow.machine.stage([staging.blob(os.urandom(3_000_000))])
    slow.machine.request("status").result(WAIT_S)
    slow.now("hole")
    began = time.monotonic()
    slow.wait(Condition.SUSPECT)
    assert slow.wait(Condition.DOWN) >= 2
    assert time.monotonic() - began < line.DOWN_S + 1.5


def test_a_line_that_takes_all_and_says_nothing_is_down_as_soon_as_any(far, quick):
    slow = Slow(far)
    slow.machine.stage([staging.blob(os.urandom(3_000_000))])
    slow.machine.request("status").result(WAIT_S)
    slow.now("void")
    began = time.monotonic()
    slow.wait(Condition.SUSPECT)
    assert slow.wait(Condition.DOWN) >= 1
    assert time.monotonic() - began < line.DOWN_S + 1.5
    (far.shell.home / "void").unlink()
    slow.heard.wait(lambda: slow.heard.conditions[-1][0] is Condition.UP)
    assert slow.dials() >= 2


def test_a_dial_that_hangs_after_a_refusal_is_given_up(far, monkeypatch):
    monkeypatch.setattr(line, "REFUSED_RETRY_S", 0.1)
    monkeypatch.setattr(line, "_HANDSHAKE_S", 1.5)
    program, dials = far.shell.home / "ssh", far.shell.home / "dials"
    program.write_text(
        f"""#!/bin/sh
echo dialled >> {dials}
case $(wc -l < {dials}) in
    1|2) echo "me@far: Permission denied (publickey)." >&2; exit 255;;
    3) exec sleep 1000;;
esac
export HOME={far.shell.home}
for command; do :; done
exec sh -c "$command"
"""
    )
    _, heard = far.machine()
    heard.wait(lambda: heard.conditions and heard.conditions[-1][0] is Condition.UP)
    assert heard.conditions[0][0] is Condition.REFUSED
    assert len(dials.read_text().splitlines()) == 4
