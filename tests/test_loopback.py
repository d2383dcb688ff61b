"""The loopback sshd shares this machine's files, keeps its own home folder, and takes with it what it started."""

import subprocess

import psutil

from loopback import Loopback, missing
from processes import until
from sshd import skip_for


def ssh(box: Loopback, command: str) -> str:
    done = subprocess.run(
        ["ssh", "-F", str(box.ssh_config), "-o", "BatchMode=yes", box.host, command],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_files_are_shared_and_the_home_folder_is_its_own(loopback, tmp_path):
    ssh(loopback, f"echo written > {tmp_path}/file; echo kept > ~/file")
    assert (tmp_path / "file").read_text() == "written\n"
    assert (loopback.home / "file").read_text() == "kept\n"
    assert ssh(loopback, f"{loopback.python} -c 'import pathlib; print(pathlib.Path.home())'") == f"{loopback.home}\n"


def test_what_outlived_its_connection_ends_with_it():
    skip_for(missing())
    with Loopback.start() as box:
        pid = int(ssh(box, "nohup sleep 1002 > /dev/null 2>&1 & echo $!"))
        process = psutil.Process(pid)
        # While a program takes the shell's place, there is a moment at which nobody can see its environment.
        until(lambda: process.cmdline() == ["sleep", "1002"], "sleep instead of the shell that starts it")
    psutil.wait_procs([process], 5)
    assert not process.is_running()
    assert not box.home.exists()
