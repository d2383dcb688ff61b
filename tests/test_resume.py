"""`sweeproute resume` starts nothing where nothing is left to do."""

import sys
from argparse import Namespace

from handmade_sweep import HandmadeSweep
from sweeproute.commands import resume


def test_a_sweep_of_which_all_is_done_is_not_started_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    ended = {"total": 1, "state": "FINISHED", "started": 1.0, "ended": 2.0}
    sweep = HandmadeSweep(tmp_path / "sweep_a", "sweep_a", **ended, cwd=str(tmp_path), python=sys.executable)
    sweep.point(tmp_path / "state")
    sweep.run(0, auc=0.7)
    monkeypatch.setattr(resume.os, "execv", lambda *_: (_ for _ in ()).throw(AssertionError("started")))
    resume.run(Namespace(sweep="last", keep=False, rerun=False))
    assert capsys.readouterr().out == "All of sweep_a is done (1 job). Say --rerun to run it again.\n"
