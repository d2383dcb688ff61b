"""The test workstation is another machine: reached by ssh alone, with faults that look as real ones do."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from processes import CommandError, do, until
from sshd import skip_for
from workstation import Workstation, missing

ON_A_LINE = "import sys; [print(line.strip(), flush=True) for line in sys.stdin]"


@pytest.fixture(scope="module")
def box() -> Iterator[Workstation]:
    """One for the tests that leave it as it was."""
    skip_for(missing())
    with Workstation.start() as box:
        yield box


def ssh(box, command, *options, config=None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ssh", "-F", str(config or box.ssh_config), "-o", "BatchMode=yes", *options, box.host, command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


class Echo:
    """A connection that answers each line with the same line."""

    def __init__(self, box, config=None) -> None:
        command = f"{box.bare_python} -u -c '{ON_A_LINE}'"
        self.process = subprocess.Popen(
            ["ssh", "-F", str(config or box.ssh_config), "-o", "BatchMode=yes", box.host, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.round_trip_s("first")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()

    def round_trip_s(self, text="line") -> float:
        started = time.monotonic()
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == f"{text}\n"
        return time.monotonic() - started


def test_ssh_reaches_another_host_name_account_and_home(box):
    done = ssh(box, "hostname; whoami; pwd; id -u")
    *words, uid = done.stdout.split()
    assert words == ["workstation", "me", "/home/me"]
    assert int(uid) != os.getuid()


def test_nothing_of_this_machine_s_project_home_and_temporary_files_is_there(box, tmp_path):
    (tmp_path / "near").touch()
    places = [tmp_path, Path(__file__).parents[1], Path.home(), sys.prefix, os.environ["SWEEPROUTE_STATE"]]
    found = box.run(f"for place in {' '.join(map(str, places))}; do ls -A $place; done 2> /dev/null", user="root")
    assert found.stdout == ""


def test_what_it_writes_stays_there(box):
    name = f"/opt/far-{os.getpid()}"
    box.run(f"echo far > {name}", user="root")
    assert box.path(name).read_text() == "far\n"
    assert not Path(name).exists()


def test_its_python_has_the_dependencies_and_not_the_project(box):
    script = """
import importlib.metadata, importlib.util, json, sys
import hydra, xgboost
names = ("sweeproute", "hydra_plugins.sweeproute", "submitit_ssh", "hydra_plugins.hydra_joblib_launcher")
print(json.dumps({
    "found": [name for name in names if importlib.util.find_spec(name)],
    "installed": "sweeproute" in {found.metadata["name"] for found in importlib.metadata.distributions()},
    "files": [xgboost.__file__, sys.executable],
    "version": list(sys.version_info[:3]),
}))
"""
    done = ssh(box, f"{box.python} -c '{script.replace(chr(39), chr(34))}'")
    said = json.loads(done.stdout)
    assert said["found"] == ["hydra_plugins.hydra_joblib_launcher"]
    assert not said["installed"]
    assert all(name.startswith("/opt/environment/") for name in said["files"])
    assert said["version"] == list(sys.version_info[:3])


def test_its_bare_python_has_nothing_installed(box):
    script = "import importlib.metadata as m, sys; print(sys.version_info[:2] >= (3, 9), len(list(m.distributions())))"
    assert ssh(box, f"{box.bare_python} -c '{script}'").stdout.split() == ["True", "0"]


def test_its_processes_are_its_own_and_those_of_sshd_are_not_told(box):
    with Echo(box):
        ((pid, args),) = [found for found in box.processes() if box.bare_python in found[1]]
        assert ON_A_LINE in args
        assert box.run(f"cat /proc/{pid}/cmdline").stdout.startswith(box.bare_python)
    until(lambda: box.processes() == [], "the end of the last process")


def test_orphans_are_reaped(box):
    box.run("setsid -f sh -c 'sleep 0.05 & exit' > /dev/null 2>&1")
    until(lambda: box.processes() == [], "the end of the orphan")


def test_a_link_that_is_down_at_the_near_end_fails_at_once(box):
    box.near_link(False)
    started = time.monotonic()
    done = ssh(box, "true")
    assert "Network is unreachable" in done.stderr
    assert time.monotonic() - started < 1
    box.near_link(True)
    assert ssh(box, "true", "-o", "ConnectTimeout=2").returncode == 0


def test_a_link_that_is_down_at_the_far_end_fails_after_seconds(box):
    box.far_link(False)
    started = time.monotonic()
    try:
        done = ssh(box, "true")
    finally:
        box.far_link(True)
    # Three of looking for the machine's address, and as long as a busy machine takes to start ssh.
    assert 2 < time.monotonic() - started < 20
    assert "No route to host" in done.stderr
    assert ssh(box, "true", "-o", "ConnectTimeout=2").returncode == 0


def test_a_black_hole_answers_nothing_and_a_connection_outlives_it(box):
    with Echo(box) as echo:
        box.black_hole(True)
        assert "timed out" in ssh(box, "true", "-o", "ConnectTimeout=2").stderr
        assert echo.process.poll() is None
        box.black_hole(False)
        echo.round_trip_s("after")


def test_a_fifth_lost_delays_packets_and_breaks_nothing(box):
    with Echo(box) as echo:
        box.loss(20)
        try:
            for _ in range(3):
                echo.round_trip_s()
            # Lost in either direction, or in both: 36 %.
            lost = sum(not answers(box, within_s=0.1) for _ in range(30))
        finally:
            box.loss(0)
    assert 1 <= lost <= 24
    assert all(answers(box, within_s=0.9) for _ in range(10))


def answers(box, within_s) -> bool:
    """Whether a connection comes about before its first packet is sent again, which is after a second."""
    address = re.search(r"HostName (\S+)", box.ssh_config.read_text())[1]
    try:
        socket.create_connection((address, 22), timeout=within_s).close()
    except TimeoutError:
        return False
    return True


def test_a_slow_line_takes_longer_for_a_round_trip_and_no_longer_for_much(box):
    slow = box.slow_config(100)
    with Echo(box) as fast_echo, Echo(box, config=slow) as slow_echo:
        fast = min(fast_echo.round_trip_s() for _ in range(5))
        added = min(slow_echo.round_trip_s() for _ in range(5)) - fast
    assert 0.09 < added < 0.2
    # In sequence, 64 kB a round trip, 8 MB would take 12 s.
    received = subprocess.run(
        ["ssh", "-F", str(slow), box.host, "head -c 8000000 /dev/zero"], capture_output=True, timeout=8, check=True
    )
    assert len(received.stdout) == 8_000_000


def test_killed_connections_end_and_new_ones_work(box):
    with Echo(box) as echo:
        box.kill_connections()
        assert echo.process.wait(5) == 255
    assert ssh(box, "true").returncode == 0


def test_without_sshd_connections_end_and_new_ones_are_refused(box):
    with Echo(box) as echo:
        box.kill_sshd()
        assert echo.process.wait(5) == 255
    assert "Connection refused" in ssh(box, "true").stderr
    box.start_sshd()
    assert ssh(box, "true").returncode == 0


def test_power_off_is_silence_and_power_on_another_boot_from_the_same_disk(workstation):
    ssh(workstation, "echo kept > kept; setsid -f sleep 1000 > /dev/null 2>&1")
    before = ssh(workstation, "cat /proc/sys/kernel/random/boot_id").stdout
    with Echo(workstation) as echo:
        workstation.power_off()
        assert workstation.processes() == []
        with pytest.raises(CommandError, match="is off"):
            workstation.run("true")
        assert "timed out" in ssh(workstation, "true", "-o", "ConnectTimeout=1").stderr
        assert echo.process.poll() is None
        workstation.power_on()
        assert workstation.processes() == []
        after = ssh(workstation, "cat kept /proc/sys/kernel/random/boot_id").stdout
        # The new machine knows nothing of the connection, and says so when it hears of it.
        echo.process.stdin.write("after\n")
        echo.process.stdin.flush()
        assert echo.process.wait(20) == 255
    kept, _, boot_id = after.partition("\n")
    assert kept == "kept"
    assert boot_id != before
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n", boot_id)


def test_a_full_disk_takes_nothing_until_there_is_room(box):
    box.fill_disk()
    try:
        assert "No space left" in ssh(box, "head -c 100000 /dev/zero > file").stderr
    finally:
        box.free_disk()
    assert ssh(box, "head -c 100000 /dev/zero > file").returncode == 0


def test_a_changed_host_key_is_refused(workstation):
    workstation.change_host_key()
    assert "Host key verification failed" in ssh(workstation, "true").stderr


def test_a_skewed_clock_shows_in_time_and_files_and_leaves_waits_alone(workstation):
    workstation.skew_clock(3600)
    script = """
import datetime, json, os, threading, time
open("file", "w").close()
written = os.stat("file").st_mtime
os.utime("file", (1e9, 1e9))
started = time.monotonic()
threading.Event().wait(0.1)
waited = time.monotonic() - started
clocks = [time.time(), datetime.datetime.now().timestamp(), written]
print(json.dumps([*clocks, os.stat("file").st_mtime, waited]))
"""
    for python in (workstation.python, workstation.bare_python):
        *clocks, old, waited = json.loads(ssh(workstation, f"{python} -S -E -c '{script}'").stdout)
        assert [clock - time.time() for clock in clocks] == pytest.approx([3600] * 3, abs=5)
        assert old == 1e9
        assert waited < 1
    assert abs(int(ssh(workstation, "date +%s").stdout) - time.time() - 3600) < 5


def runs_here(args: str) -> bool:
    """Whether a process of that command line is among all that this machine has, those in namespaces included."""
    return any(" ".join(found.info["cmdline"] or []) == args for found in psutil.process_iter(["cmdline"]))


def test_nothing_of_it_outlives_a_process_that_is_killed():
    skip_for(missing())
    script = """
from workstation import Workstation
with Workstation.start() as box:
    box.run("setsid -f sleep 1001 > /dev/null 2>&1")
    box.near_link(False)
    print(box.ssh_config.parent, box._line._near, box._line._far_net, flush=True)
    input()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    folder, link, net = process.stdout.readline().split()
    until(lambda: runs_here("sleep 1001"), "its process")
    assert f"{link}@" in do("ip", "link")
    assert f"throw {net}" in do("ip", "route")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: f"{link}@" not in do("ip", "link"), "the end of the link")
    until(lambda: not runs_here("sleep 1001"), "the end of its processes")
    with Workstation.start() as box:
        assert ssh(box, "true").returncode == 0
        assert f"throw {net}" not in do("ip", "route")
    assert not Path(folder).exists()
