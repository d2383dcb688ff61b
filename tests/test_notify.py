"""A person's own command is told of what has happened to a sweep, and can do the sweep no harm."""

import doctest
import json
import math
import sys
import threading
import time

import pytest
from omegaconf import OmegaConf

from hydra_plugins.sweeproute import _notify
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._notify import facts_of, notify, words
from hydra_plugins.sweeproute._records import SweepFolder

# A command that writes down what it is told.
TOLD = """
import json, os, sys
told = {name: value for name, value in os.environ.items() if name.startswith("SWEEP_")}
open(sys.argv[1], "w").write(json.dumps([json.load(sys.stdin), told]))
"""


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (None, []),
        ("mail -s 'it is over' me", ["mail", "-s", "it is over", "me"]),
        (["sh", "-c", "echo $SWEEP_ID"], ["sh", "-c", "echo $SWEEP_ID"]),
        (OmegaConf.create(["sleep", 1]), ["sleep", "1"]),
    ],
)
def test_a_command_is_a_string_or_a_list(written, read):
    assert words(written) == read


@pytest.mark.parametrize("written", ["", [], 5, {"a": 1}, "mail 'me"])
def test_what_is_no_command_is_refused(written):
    with pytest.raises(SettingsError, match=r"hydra.launcher.notify is .*(It takes a command|does not read)"):
        words(written)


def test_a_command_has_the_facts_in_its_environment_and_on_its_input(tmp_path):
    out = tmp_path / "told.json"
    facts = {"id": "sweep_1", "name": None, "done": 3, "share": 0.5, "ok": True, "models": {"GLM": 2}}
    notify([sys.executable, "-c", TOLD, str(out)], "finished", facts)
    given, environment = json.loads(out.read_text())
    assert given == {"event": "finished", **facts}
    assert environment == {
        "SWEEP_EVENT": "finished",
        "SWEEP_ID": "sweep_1",
        "SWEEP_DONE": "3",
        "SWEEP_SHARE": "0.5",
        "SWEEP_OK": "true",
    }


def test_no_shell_reads_a_command_that_names_none(tmp_path):
    out = tmp_path / "told.txt"
    command = [sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write(sys.argv[2])", str(out), "$HOME; true"]
    notify(command, "finished", {})
    assert out.read_text() == "$HOME; true"


def test_a_command_that_fails_is_one_warning(tmp_path):
    said = []
    notify([sys.executable, "-c", "print('no such host'); exit(3)"], "failed", {}, say=said.append)
    name = sys.executable
    assert said == [f"The command of hydra.launcher.notify ({name}) failed: exit code 3: no such host."]


def test_a_command_that_is_not_there_is_one_warning(capsys):
    notify(["/no/such/command"], "finished", {})
    expected = "The command of hydra.launcher.notify cannot be run: No such file or directory (/no/such/command).\n"
    assert capsys.readouterr().err == expected


def test_a_command_that_takes_its_time_is_left_to_go_on(tmp_path):
    said = []
    ended = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        ended.set()

    fifo = tmp_path / "go"
    began = time.monotonic()
    command = [sys.executable, "-c", "import sys, pathlib\nwhile not pathlib.Path(sys.argv[1]).exists(): pass\nexit(1)"]
    notify([*command, str(fifo)], "platform_lost", {}, wait_s=0.1, say=say)
    assert time.monotonic() - began < _notify.PATIENCE_S
    assert not said
    fifo.touch()
    assert ended.wait(30)


def test_without_a_command_nothing_happens():
    notify(None, "finished", {"id": "sweep_1"})


def test_the_facts_of_a_sweep_are_its_counts_and_its_best(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    record = {"id": "sweep_1", "name": "mine", "total": 7, "metric": "auc", "direction": "maximize"}
    with SweepFolder.open(tmp_path / "sweep", record) as sweep:
        aucs = [0.6, 0.7, 0.7, math.nan, None, 0.9, math.inf]
        values = [None if auc is None else {"auc": auc} for auc in aucs]
        for job, value in enumerate(values):
            state = "FAILED" if value is None else "PRUNED" if value["auc"] == 0.9 else "FINISHED"
            sweep.record_job(
                sweep.open_job(str(job), job, 1), {"job": job, "state": state, "current": True, "value": value}
            )
    facts = facts_of(sweep)
    assert facts.pop("seconds") >= 0
    assert facts == {
        "id": "sweep_1",
        "name": "mine",
        "folder": str(tmp_path / "sweep"),
        "state": "FAILED",
        "total": 7,
        "done": 5,
        "pruned": 1,
        "failed": 1,
        "metric": "auc",
        "best": 0.7,
        "best_job": 1,
    }


def test_the_example_runs():
    assert doctest.testmod(_notify).failed == 0
