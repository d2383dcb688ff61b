"""The test workstation is another machine: reached by ssh alone, with faults that look as real ones do."""

import subprocess

from workstation import Workstation


def ssh(box: Workstation, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ssh", "-F", str(box.ssh_config), "-o", "BatchMode=yes", *options, box.host, command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_ssh_reaches_another_host_name_and_account(workstation):
    done = ssh(workstation, "hostname; whoami; pwd")
    assert done.stdout.split() == ["workstation", "me", "/home/me"]
