"""The client of a far machine: jobs are run once, and told once, whatever becomes of the line."""

import json
import os
import queue
import signal
import sys
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from near_shell import NearShell
from submitit_ssh import staging
from submitit_ssh.errors import FarError
from submitit_ssh.line import Condition
from submitit_ssh.machine import Machine

# What jobs run: each run leaves a line in a file outside of its folder, so that executions can be counted.
ENTRY = """
import json, os, time

def load(settings):
    global COUNT
    COUNT = settings["count"]

def run(argument, folder):
    with open(COUNT, "a") as stream:
        stream.write(argument["name"] + "\\n")
    with open(os.path.join(folder, "journal.jsonl"), "a") as stream:
        stream.write("begun\\n")
    if argument.get("until"):
        while not os.path.exists(argument["until"]):
            time.sleep(0.01)
    with open(os.path.join(folder, "journal.jsonl"), "a") as stream:
        stream.write("ended\\n")
    os.makedirs(os.path.join(folder, "model"), exist_ok=True)
    with open(os.path.join(folder, "model", "trees"), "wb") as stream:
        stream.write(b"t" * argument.get("size", 10))
    print("said", argument["name"], flush=True)
    if argument.get("die"):
        os.kill(os.getpid(), 9)
    return json.dumps({"name": argument["name"], "text": os.environ.get("GIVEN")})
"""
WAIT_S = 30


class Heard:
    """Keeps what a machine tells."""

    def __init__(self):
        self.ends = {}
        self.starts = {}
        self.lost = []
        self.conditions = []
        self.changed = threading.Condition()

    def _note(self, change):
        with self.changed:
            change()
            self.changed.notify_all()

    def condition(self, condition, why):
        self._note(lambda: self.conditions.append((condition, why)))

    def started(self, identifier, at):
        self._note(lambda: self.starts.setdefault(identifier, at))

    def ended(self, ended):
        self._note(lambda: self.ends.setdefault(ended.id, []).append(ended))

    def unknown(self, identifier):
        self._note(lambda: self.lost.append(identifier))

    def wait(self, what):
        with self.changed:
            assert self.changed.wait_for(what, WAIT_S), (self.conditions, self.starts, self.ends)


class Far:
    """A far side in a folder, and machines that talk to it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.shell = NearShell(folder / "far")
        self.code = folder / "code"
        self.code.mkdir()
        (self.code / "counted.py").write_text(ENTRY)
        self.count = folder / "count"
        self.count.touch()
        self.machines = []

    def machine(self, owner="sweep", **options):
        heard = Heard()
        machine = Machine(self.shell.settings, owner, heard, **options)
        self.machines.append(machine)
        machine.open()
        return machine, heard

    def spec(self, name, **argument):
        return {
            "id": uuid.uuid4().hex,
            "label": name,
            "environment": {
                "python": sys.executable,
                "path": [str(self.code)],
                "cwd": str(self.code),
                "entry": "counted",
                "load": {"count": str(self.count)},
                "variables": {"GIVEN": "there"},
            },
            "argument": {"name": name, **argument},
            "live": ["journal.jsonl", "console.log"],
        }

    def place(self, name):
        folder = self.folder / "near" / name
        folder.mkdir(parents=True)
        return folder

    def executions(self):
        return self.count.read_text().split()

    def supervisor(self):
        return json.loads((self.shell.root / "supervisor.json").read_text())["pid"]


@pytest.fixture
def far(tmp_path):
    far = Far(tmp_path)
    yield far
    for machine in far.machines:
        machine.close()
    if (far.shell.root / "supervisor.json").exists():
        try:
            process = psutil.Process(far.supervisor())
        except psutil.NoSuchProcess:
            return
        family = [process, *process.children(recursive=True)]
        for one in family:
            one.kill()
        psutil.wait_procs(family, timeout=5)


def test_a_job_runs_and_its_files_come_back(far):
    machine, heard = far.machine()
    spec = far.spec("a")
    folder = far.place("a")
    machine.submit(spec, folder)
    heard.wait(lambda: spec["id"] in heard.ends)
    (ended,) = heard.ends[spec["id"]]
    assert ended.error_class is None, ended
    assert ended.result == {"name": "a", "text": "there"}
    assert spec["id"] in heard.starts
    assert (folder / "journal.jsonl").read_text() == "begun\nended\n"
    assert (folder / "model" / "trees").read_bytes() == b"t" * 10
    assert "said a" in (folder / "console.log").read_text()
    machine.settle([spec["id"]]).result(WAIT_S)
    assert list((far.shell.root / "jobs").iterdir()) == []


def test_two_hundred_jobs_run_once_each(far):
    machine, heard = far.machine()
    machine.request("slots", slots=4, paused=None)
    specs = [far.spec(str(number)) for number in range(200)]
    for spec in specs:
        machine.submit(spec, far.place(spec["label"]))
    heard.wait(lambda: len(heard.ends) == 200)
    assert sorted(far.executions(), key=int) == [str(number) for number in range(200)]
    assert all(len(ends) == 1 for ends in heard.ends.values())


def test_what_a_job_writes_is_here_while_it_runs(far, tmp_path):
    machine, heard = far.machine()
    go = tmp_path / "go"
    spec, folder = far.spec("a", until=str(go)), far.place("a")
    machine.submit(spec, folder)
    heard.wait(lambda: spec["id"] in heard.starts)
    deadline = time.monotonic() + WAIT_S
    while not (folder / "journal.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (folder / "journal.jsonl").read_text() == "begun\n"
    assert time.time() - heard.starts[spec["id"]] < 5
    go.touch()
    heard.wait(lambda: spec["id"] in heard.ends)


def test_a_job_that_is_killed_says_so(far):
    machine, heard = far.machine()
    spec = far.spec("a", die=True)
    machine.submit(spec, far.place("a"))
    heard.wait(lambda: spec["id"] in heard.ends)
    assert heard.ends[spec["id"]][0].error_class == "killed"


def test_jobs_go_on_while_the_line_is_down_and_are_told_once_it_is_back(far, tmp_path):
    machine, heard = far.machine()
    go = tmp_path / "go"
    specs = [far.spec(str(number), until=str(go)) for number in range(6)]
    for spec in specs:
        machine.submit(spec, far.place(spec["label"]))
    heard.wait(lambda: heard.starts)
    far.shell.cut(True)
    for process in psutil.Process().children(recursive=True):
        if "sweeproute_far" in " ".join(process.cmdline()) or "relay" in " ".join(process.cmdline()):
            process.kill()
    machine_line(machine).post(machine_line(machine)._hang_up)
    go.touch()
    deadline = time.monotonic() + WAIT_S
    while len(far.executions()) < 6:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(heard.ends) < 6
    far.shell.cut(False)
    heard.wait(lambda: len(heard.ends) == 6)
    assert sorted(far.executions()) == list("012345")
    assert all(len(ends) == 1 for ends in heard.ends.values())


def machine_line(machine):
    return machine._line


def test_a_supervisor_that_is_killed_loses_nothing(far, tmp_path):
    machine, heard = far.machine()
    go = tmp_path / "go"
    specs = [far.spec(str(number), until=str(go)) for number in range(6)]
    for spec in specs:
        machine.submit(spec, far.place(spec["label"]))
    heard.wait(lambda: heard.starts)
    os.kill(far.supervisor(), signal.SIGKILL)
    go.touch()
    heard.wait(lambda: len(heard.ends) == 6)
    assert sorted(far.executions()) == list("012345")


def test_another_process_of_the_same_owner_adopts_what_runs(far, tmp_path):
    machine, heard = far.machine()
    go = tmp_path / "go"
    specs = [far.spec(str(number), until=str(go)) for number in range(3)]
    folders = {spec["id"]: far.place(spec["label"]) for spec in specs}
    for spec in specs:
        machine.submit(spec, folders[spec["id"]])
    heard.wait(lambda: heard.starts)
    machine.close()
    later, told = far.machine()
    for identifier, folder in folders.items():
        later.adopt(identifier, folder, ("journal.jsonl", "console.log"))
    go.touch()
    told.wait(lambda: len(told.ends) == 3)
    assert sorted(far.executions()) == list("012")
    for folder in folders.values():
        assert (folder / "journal.jsonl").read_text() == "begun\nended\n"


def test_a_job_that_nobody_knows_there_is_told(far):
    machine, heard = far.machine()
    machine.adopt("f" * 32, far.place("a"))
    heard.wait(lambda: heard.lost)
    assert heard.lost == ["f" * 32]


def test_a_job_that_waits_can_be_taken_back_and_never_runs(far, tmp_path):
    machine, heard = far.machine()
    machine.request("slots", slots=1, paused=None)
    go = tmp_path / "go"
    first, second = far.spec("first", until=str(go)), far.spec("second")
    for spec in (first, second):
        machine.submit(spec, far.place(spec["label"]))
    heard.wait(lambda: first["id"] in heard.starts)
    answer = machine.recall([first["id"], second["id"]]).result(WAIT_S)
    assert answer["recalled"] == [second["id"]]
    assert answer["running"] == [first["id"]]
    go.touch()
    heard.wait(lambda: first["id"] in heard.ends)
    assert far.executions() == ["first"]


def test_a_cancelled_job_ends_with_all_of_its_processes(far, tmp_path):
    machine, heard = far.machine()
    spec = far.spec("a", until=str(tmp_path / "never"))
    machine.submit(spec, far.place("a"))
    heard.wait(lambda: spec["id"] in heard.starts)
    machine.cancel([spec["id"]]).result(WAIT_S)
    heard.wait(lambda: spec["id"] in heard.ends)
    assert heard.ends[spec["id"]][0].error_class == "cancelled"


def test_what_was_asked_last_is_done_although_the_channel_is_closed_at_once(far):
    machine, heard = far.machine()
    specs = [far.spec(str(number)) for number in range(20)]
    for spec in specs:
        machine.submit(spec, far.place(spec["label"]))
    heard.wait(lambda: len(heard.ends) == 20)
    for spec in specs:
        machine.settle([spec["id"]])
    machine.close()
    assert list((far.shell.root / "jobs").iterdir()) == []


def test_a_machine_that_is_down_is_not_waited_for(far):
    far.shell.cut(True)
    machine, heard = far.machine()
    heard.wait(lambda: heard.conditions)
    told = machine.settle(["f" * 32])
    before = time.monotonic()
    machine.close(answers_s=WAIT_S)
    assert time.monotonic() - before < WAIT_S / 2
    assert not told.done()


def test_a_cancel_that_cannot_be_delivered_waits_for_the_line(far, tmp_path):
    machine, heard = far.machine()
    spec = far.spec("a", until=str(tmp_path / "never"))
    machine.submit(spec, far.place("a"))
    heard.wait(lambda: spec["id"] in heard.starts)
    far.shell.cut(True)
    machine_line(machine).post(machine_line(machine)._hang_up)
    told = machine.cancel([spec["id"]])
    with pytest.raises(TimeoutError):
        told.result(0.3)
    far.shell.cut(False)
    told.result(WAIT_S)
    heard.wait(lambda: spec["id"] in heard.ends)


def test_a_machine_that_cannot_be_reached_is_down_with_the_reason_of_ssh(far):
    far.shell.cut(True)
    machine, heard = far.machine()
    heard.wait(lambda: heard.conditions)
    condition, why = heard.conditions[0]
    assert condition is Condition.DOWN
    assert "Network is unreachable" in why
    with pytest.raises(FarError, match="Network is unreachable"):
        machine.wait_up(1)
    far.shell.cut(False)
    heard.wait(lambda: heard.conditions[-1][0] is Condition.UP)
    assert machine.wait_up(WAIT_S) == str(far.shell.root)


def test_a_python_that_is_not_there_is_refused_with_the_cure(far):
    settings = far.shell.settings
    machine = Machine(replace(settings, python="/nowhere/python"), "sweep", heard := Heard())
    far.machines.append(machine)
    machine.open()
    heard.wait(lambda: heard.conditions)
    assert heard.conditions[0][0] is Condition.REFUSED
    assert "has no Python under the name '/nowhere/python'" in heard.conditions[0][1]


class Through:
    """An ssh in front of the far side's own, which leaves word of how it was called."""

    def __init__(self, far, folder, script):
        self.words = folder / "words"
        program = folder / "through"
        program.write_text(f'#!/bin/sh\necho "$*" >> {self.words}\n{script}\nexec {far.shell.settings.ssh[0]} "$@"\n')
        program.chmod(0o755)
        self.heard = Heard()
        self.machine = Machine(replace(far.shell.settings, ssh=(str(program),)), "sweep", self.heard)
        far.machines.append(self.machine)
        self.machine.open()
        self.machine.wait_up(WAIT_S)

    def again(self):
        machine_line(self.machine).post(machine_line(self.machine)._hang_up)
        self.machine.request("status").result(WAIT_S)

    def calls(self):
        return self.words.read_text().splitlines()


def test_a_channel_has_a_connection_of_its_own_though_the_person_shares_one(far, tmp_path):
    (call,) = Through(far, tmp_path, "").calls()
    assert "ControlPath=none" in call


def test_where_a_connection_of_its_own_is_refused_the_one_that_the_person_shares_serves(far, tmp_path):
    denied = 'case "$*" in *ControlPath=none*) echo "me@far: Permission denied (publickey)." >&2; exit 255;; esac'
    through = Through(far, tmp_path, denied)
    assert [condition for condition, _ in through.heard.conditions] == [Condition.UP]
    through.again()
    assert ["ControlPath=none" in call for call in through.calls()] == [True, False, False]


def test_a_first_handshake_that_took_long_makes_no_later_one_wait(far, tmp_path):
    through = Through(far, tmp_path, f"[ -e {tmp_path}/once ] || {{ touch {tmp_path}/once; sleep 1.5; }}")
    through.again()
    through.again()
    timeouts = [int(call.partition("ConnectTimeout=")[2].split()[0]) for call in through.calls()]
    assert timeouts[0] > timeouts[1] > timeouts[2]


def test_content_travels_once(far, tmp_path):
    machine, _ = far.machine()
    content = os.urandom(700_000)
    one = staging.blob(content)
    machine.stage([one]).result(WAIT_S)
    assert (far.shell.root / "store" / one.sha).read_bytes() == content
    sent = []
    again = staging.Staged(one.sha, one.kind, one.size, lambda: sent.append(1))
    machine.stage([again]).result(WAIT_S)
    assert sent == []


def test_outputs_beyond_the_limit_fail_the_job_and_stop_there(far):
    machine, heard = far.machine(limit_gb=1e-4)
    spec, folder = far.spec("a", size=1_000_000), far.place("a")
    machine.submit(spec, folder)
    heard.wait(lambda: spec["id"] in heard.ends)
    assert heard.ends[spec["id"]][0].error_class == "outputs"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_000_000


def test_ends_are_said_in_the_order_of_queues(far):
    # Nothing that waits for the listener may hold up the line.
    machine, heard = far.machine()
    ends = queue.SimpleQueue()
    heard.ended = ends.put
    machine.request("slots", slots=1, paused=None)
    specs = [far.spec(str(number)) for number in range(5)]
    for spec in specs:
        machine.submit(spec, far.place(spec["label"]))
    assert [ends.get(timeout=WAIT_S).id for _ in specs] == [spec["id"] for spec in specs]


def test_jobs_that_are_given_much_are_sent_one_frame_after_another(far):
    machine, _ = far.machine()
    machine.request("slots", slots=0, paused=True)
    specs = [far.spec(str(number), pad="x" * 70_000) for number in range(64)]
    answers = [machine.submit(spec, far.place(spec["label"])) for spec in specs]
    assert [answered.result(WAIT_S) for answered in answers] == ["queued"] * 64


def test_a_job_that_is_given_too_much_is_refused_and_harms_nobody(far):
    machine, heard = far.machine()
    large, usual, most = (
        far.spec("large", pad="x" * 4_200_000),
        far.spec("usual"),
        far.spec("most", pad="x" * 4_000_000),
    )
    answers = [machine.submit(spec, far.place(spec["label"])) for spec in (large, usual, most)]
    assert [answered.result(WAIT_S) for answered in answers] == ["refused", "queued", "queued"]
    heard.wait(lambda: len(heard.ends) == 3)
    (ended,) = heard.ends[large["id"]]
    assert ended.error_class == "precheck"
    assert "takes 4.2 MB, and 4.2 MB are allowed: put what is large into a file" in ended.message
    assert sorted(far.executions()) == ["most", "usual"]
    machine_line(machine).post(machine_line(machine)._hang_up)
    machine.request("status").result(WAIT_S)
    assert len(heard.ends[large["id"]]) == 1
