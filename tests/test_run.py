"""`sweeproute run`: the plan's own command, bound to the plan."""

import json
import os
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from sweeproute.commands import run
from sweeproute.commands.run import PlanError
from sweeproute.errors import explain


@pytest.fixture
def plan(tmp_path):
    folder = tmp_path / "a plan"
    folder.mkdir()
    argv = ["app.py", "-m", "model=a,b", "hydra.launcher.dry_run=true", "++hydra.launcher.dry_run=true", "sweep.name=x"]
    content = {"argv": argv, "cwd": str(tmp_path), "python": sys.executable, "jobs": []}
    (folder / "plan.json").write_text(json.dumps(content))
    return folder / "plan.json"


@pytest.fixture
def started(monkeypatch, tmp_path):
    """What was started in place of the command."""
    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execv", lambda python, words: seen.append((python, words, str(Path.cwd()))))
    return seen


@pytest.mark.parametrize("by", ["a plan", "a plan/plan.json"])
def test_the_command_is_that_of_the_plan_bound_to_it(plan, started, tmp_path, by):
    run.run(Namespace(on=None, words=[by]))
    ((python, words, cwd),) = started
    assert python == words[0] == sys.executable
    assert words[1:-1] == ["app.py", "-m", "model=a,b", "sweep.name=x"]
    assert words[-1] == f"hydra.launcher.plan='{plan}'"
    assert cwd == str(tmp_path)


@pytest.mark.parametrize("gone", ["cwd", "python"])
def test_what_the_plan_needs_and_is_gone_is_said(plan, started, gone):
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {gone: "/no/such/place"}))
    with pytest.raises(PlanError, match="of the plan, /no/such/place, is not there any more"):
        run.run(Namespace(on=None, words=[str(plan)]))
    assert not started


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "There is no plan "), ("{", "is no plan: "), ("{}", "does not say which command it is of")],
)
def test_what_is_no_plan_is_a_sentence(plan, started, text, says):
    plan.unlink() if text is None else plan.write_text(text)
    with pytest.raises(PlanError, match=says) as raised:
        run.run(Namespace(on=None, words=[str(plan)]))
    assert explain(raised.value) == str(raised.value)
    assert "\n" not in str(raised.value)
