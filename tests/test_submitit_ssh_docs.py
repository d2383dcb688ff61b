"""Runs what docs/submitit_ssh.md tells people to type, against a machine under the name that it uses."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from submitit_ssh.parameters import OWN, SHARED
from workstation import Workstation

DOCS = (Path(__file__).parents[1] / "docs" / "submitit_ssh.md").read_text(encoding="utf-8")
SCRIPT = "\n\n".join(re.findall(r"^```python\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL))
TRAINING = """
import json
from pathlib import Path


def fit(rate):
    if rate < 0:
        raise ValueError(f"a rate of {rate}")
    print("fitting")
    return 2 * rate


def save(name):
    Path(name).write_text(json.dumps({"trees": 300}))
"""
# What is said of a plain function's time, in less than the minute that an AutoExecutor allows at least.
TOO_LONG = """
import time

executor = submitit_ssh.SshExecutor("log")
executor.update_parameters(host="4090box", timeout_min=1 / 60, signal_delay_s=0.5)
try:
    executor.submit(time.sleep, 60).result()
except submitit.core.utils.FailedJobError as error:
    print("its time was over:", error)
"""
NOT_KEPT = "timed-out and not checkpointable"


def test_every_line_of_the_documentation_runs(workstation: Workstation, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(workstation.ssh_config.read_text().replace(f"Host {workstation.host}\n", "Host 4090box\n"))
    # As if it were the person's own configuration, which ssh finds by the account, not by HOME.
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {shlex.quote(str(config))} "$@"\n')
    ssh.chmod(0o755)
    project = tmp_path / "project"
    project.mkdir()
    (project / "training.py").write_text(TRAINING)
    (project / "script.py").write_text(SCRIPT + TOO_LONG)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=project,
        env={**os.environ, "PATH": f"{ssh.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f'with a `FailedJobError` that\nsays "{NOT_KEPT}"' in DOCS
    for said in (
        "0.2\n",
        "fitting\n",
        "[0.2, 0.4, 0.6]\n",
        '{"trees": 300}',
        "ValueError: a rate of -1",
        "its time was over:",
        NOT_KEPT,
        "True 0.2",
        "45",
    ):
        assert said in done.stdout


def test_every_parameter_is_documented() -> None:
    table = DOCS.partition("## Parameters")[2].partition("##")[0]
    named = set(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE))
    words = set(re.findall(r"`(\w+)`", " ".join(named)))
    only_one = {"nodes", "tasks_per_node"}
    assert words == {f"ssh_{name}" for name in OWN} | set(SHARED) - only_one
