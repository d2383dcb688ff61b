"""`mlflow run -b sweeproute`: a project's command runs where the rules send it, and its run has all that it logged."""

import dataclasses
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import mlflow
import psutil
import pytest

from far_app import wait_until
from foreign_project import ForeignProject
from near_shell import NearShell
from small_trial import ROOT, SMALL
from sweeproute import __main__
from sweeproute.mlflow_backend import RoutedRun
from sweeproute.project_settings import BackendConfig
from sweeproute.store import connect
from workstation import Workstation

BOX = {"here": {"max_concurrent_jobs": 1}, "box": {"max_concurrent_jobs": 1, "specs": {"gpu": False}}}
RULES = [{"model": "heavy", "route_to": "box", "reason": "heavy work"}]


def machines(**box: object) -> dict:
    """A configuration of the backend, with a box that is reached like this."""
    return {"platforms": {**BOX, "box": {**BOX["box"], **box}}, "rules": RULES}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ForeignProject:
    """The project and its store, as this process sees them, too."""
    project = ForeignProject(tmp_path)
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return project


@pytest.fixture
def far(project: ForeignProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A far side in a folder, which `ssh` reaches under any name; what it runs ends with the test."""
    shell = NearShell(tmp_path / "far")
    monkeypatch.setenv("PATH", f"{shell.home}{os.pathsep}{project.environment['PATH']}")
    yield shell
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("HOME") == str(shell.home):
                process.kill()


def test_a_run_that_is_waited_for_comes_out_as_with_mlflows_own_backend(project) -> None:
    project_uri = str(project.folder)
    submitted = mlflow.projects.run(project_uri, parameters={"rate": "1.5"}, backend="sweeproute", run_name="mine")
    run_id = submitted.run_id
    assert submitted.get_status() == "FINISHED"
    run = project.found(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "mine"
    assert run.data.params == {"rate": "1.5", "model": "plain"}
    assert run.data.metrics == {"loss": 0.5}
    tags = run.data.tags
    assert tags["mlflow.project.backend"] == "sweeproute"
    assert tags["who"] == "me"
    assert (tags["sweeproute.platform"], tags["sweeproute.reason"]) == ("local", "no rule matches")
    assert tags["sweeproute.kind"] == "project"
    assert project.text(run_id, "notes/note.txt") == "hello"
    assert f"trained {run_id}\n" in project.text(run_id, "console.log")
    (inner,) = project.below(run_id)
    assert inner.data.params == {"depth": "3"}
    assert inner.data.tags["sweeproute.platform"] == "local"


def test_a_run_that_a_rule_sends_away_comes_home_whole(workstation: Workstation, project) -> None:
    box = machines(host=workstation.host, ssh_config=str(workstation.ssh_config), python=workstation.python)
    run = project.start(config=box, rate=1.5, model="heavy")
    wait_until(lambda: run.get_status() == "RUNNING", "it to start there")
    workstation.black_hole(True)
    wait_until(lambda: not any("train.py" in words for _, words in workstation.processes()), "its end over there")
    assert run.get_status() == "RUNNING"
    workstation.black_hole(False)
    assert run.wait()
    found = project.found(run.run_id)
    assert found.info.status == run.get_status() == "FINISHED"
    assert found.data.params == {"rate": "1.5", "model": "heavy"}
    assert found.data.metrics == {"loss": 0.5}
    assert [one.value for one in project.history(run.run_id, "loss")] == [1.5, 0.75, 0.5]
    tags = found.data.tags
    assert (tags["sweeproute.platform"], tags["sweeproute.reason"]) == ("box", "heavy work")
    assert tags["who"] == "me"
    assert project.text(run.run_id, "notes/note.txt") == "hello"
    assert f"trained {run.run_id}\n" in project.text(run.run_id, "console.log")
    (inner,) = project.below(run.run_id)
    assert inner.data.params == {"depth": "3"}
    assert inner.data.tags["sweeproute.platform"] == "box"
    assert not (project.folder / "notes").exists()


def test_a_dead_coordinator_loses_nothing_of_what_runs_elsewhere(project, far, tmp_path: Path, capsys) -> None:
    run = project.start(
        "waits", machines(host="far", python=sys.executable) | {"platform": "box"}, until=tmp_path / "go"
    )
    wait_until(lambda: "waiting" in printed(run), "it to start there")
    assert run.process is not None
    run.process.kill()
    run.process.wait()
    code, said = sweeproute("sync", f"project_{run.run_id[:12]}", capsys=capsys)
    assert code == 0
    assert f"Run {run.run_id} has not ended; process " in said
    (tmp_path / "go").touch()
    assert RoutedRun(run.run_id).wait()
    code, said = sweeproute("sync", f"project_{run.run_id[:12]}", capsys=capsys)
    assert (code, said) == (0, f"1 of 1 run is written: {run.run_id}, FINISHED.\n")
    found = project.found(run.run_id)
    assert found.info.status == "FINISHED"
    assert (found.data.tags["sweeproute.platform"], found.data.tags["sweeproute.reason"]) == ("box", "asked for")
    assert "waiting\n" in project.text(run.run_id, "console.log")
    # What it has written beside came home, and neither here nor there is any of it in the project.
    assert [path.name for path in (run.folder / "0" / "project").iterdir()] == ["left.txt"]
    assert not (project.folder / "left.txt").exists()


def test_a_command_elsewhere_reads_its_files_and_a_failure_says_why(project, far, tmp_path, monkeypatch) -> None:
    (tmp_path / "table.csv").write_text("a,b\n")
    monkeypatch.setenv("TOKEN", "secret")
    box = machines(host="far", python=sys.executable) | {"platform": "box", "env": ["TOKEN"]}
    run = project.start("reads", box, table=str(tmp_path / "table.csv"))
    failing = project.start("fails", machines(host="far", python=sys.executable) | {"platform": "box"})
    assert run.wait()
    said = project.text(run.run_id, "console.log")
    assert said.splitlines()[1:] == ["a,b", "beside", "token=secret"]
    assert (project.folder / "beside.txt").read_text() == "beside\n"
    assert "secret" not in str(project.found(run.run_id).to_dictionary())
    assert not failing.wait()
    assert failing.get_status() == "FAILED"
    found = project.found(failing.run_id)
    assert found.info.status == "FAILED"
    assert "the command ended with exit code 3: no such luck" in found.data.tags["sweeproute.error"]
    assert found.data.tags["mlflow.note.content"] == found.data.tags["sweeproute.error"]


@pytest.mark.parametrize("platform", ["here", "box"])
def test_a_cancelled_run_is_killed_with_all_that_it_has_started(project, far, tmp_path, platform: str) -> None:
    box = machines(host="far", python=sys.executable) | {"platform": platform}
    run = project.start("waits", box, until=tmp_path / "never")
    wait_until(lambda: "waiting" in printed(run), "it to start")
    assert run.get_status() == "RUNNING"
    run.cancel()
    assert run.get_status() == "KILLED"
    assert not run.wait()
    found = project.found(run.run_id)
    assert found.info.status == "KILLED"
    assert found.data.tags["mlflow.note.content"] == "killed: stopped by the person"
    wait_until(lambda: not running(str(tmp_path / "never")), "its processes to be gone", 10)


def test_a_sweep_of_this_project_runs_as_a_whole_over_there(project, far) -> None:
    box = "registry.platforms.remote_4090"
    reach = [f"{box}.host=far", f"{box}.python={sys.executable}", f"{box}.specs.gpu=false"]
    words = " ".join(["model.params.C=0.1", "plots=false", f"{box}.max_concurrent_jobs=1", *SMALL])
    run = mlflow.projects.run(
        str(ROOT),
        "sweep",
        parameters={"model": "glm", "overrides": words},
        backend="sweeproute",
        backend_config={"platform": "remote_4090", "overrides": reach},
        synchronous=False,
    )
    assert run.wait()
    (trial,) = project.below(run.run_id)
    assert trial.info.status == "FINISHED"
    assert trial.data.tags["sweeproute.platform"] == "remote_4090"
    assert 0.5 < trial.data.metrics["auc"] < 1
    sweep = project.found(run.run_id).data.tags
    assert sweep["sweeproute.kind"] == "sweep"
    assert sweep["sweeproute.sweep"] == trial.data.tags["sweeproute.sweep"]
    assert "hydra.launcher.here=remote_4090" in sweep["sweeproute.command"]


def test_what_cannot_be_served_is_a_sentence_of_the_command_line_and_makes_no_run(project) -> None:
    said = project.command(config=machines() | {"platform": "bxo"}, code=1)
    assert "=== The job names the platform 'bxo', which is not in the registry. Allowed: box, here. ===" in said
    assert "Traceback" not in said
    assert not connect(project.uri).search_runs(["0"])


def test_the_documented_command_line_returns_at_once_and_every_key_is_documented(project, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "mlflow_backend.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (run_id,) = re.findall(r"^Run (\w{32}) goes to local ", done.stdout, re.MULTILINE)
    run = RoutedRun(run_id)
    assert run.wait()
    assert "a rate of 0.1\n" in project.text(run_id, "console.log")
    named = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", text, re.MULTILINE)
    assert set(re.findall(r"\w+", " ".join(named))) == {one.name for one in dataclasses.fields(BackendConfig)}


def sweeproute(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command of `sweeproute`; its exit code, and what it said."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        __main__.main(words)
    return int(ended.value.code or 0), capsys.readouterr().out


def test_a_command_here_ends_with_a_coordinator_that_is_killed_and_is_not_begun_anew(project, tmp_path: Path) -> None:
    run = project.start("waits", machines(), until=tmp_path / "never")
    wait_until(lambda: "waiting" in printed(run), "it to start")
    assert run.process is not None
    run.process.kill()
    assert not run.wait()
    wait_until(lambda: not running(str(tmp_path / "never")), "its processes to be gone", 10)
    found = project.found(run.run_id)
    assert found.info.status == run.get_status() == "KILLED"
    assert found.data.tags["mlflow.note.content"] == "what saw to it was killed, and its command with that"


def printed(run: RoutedRun) -> str:
    """What its command has printed so far, apart from itself."""
    try:
        return "".join(line for line in (run.folder / "0" / "console.log").open() if not line.startswith("$"))
    except OSError:
        return ""


def running(word: str) -> list[psutil.Process]:
    """Processes whose command line has this."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(word in one for one in process.cmdline()):
                found.append(process)
    return found
