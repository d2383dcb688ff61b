"""`sweeproute resume` starts the sweep's own command again, and nothing where nothing is left to do."""

import sys

import pytest

from handmade_sweep import HandmadeSweep
from sweeproute.__main__ import main
from sweeproute.commands import resume


@pytest.fixture
def resumed(tmp_path, monkeypatch, capsys):
    """From the words of a sweep of which all is done, and those of resume, to what starts and what is said."""

    def run(argv, *words):
        monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
        ended = {"total": 1, "state": "FINISHED", "started": 1.0, "ended": 2.0, "argv": ["app.py", "-m", *argv]}
        sweep = HandmadeSweep(tmp_path / "sweep_a", "sweep_a", **ended, cwd=str(tmp_path), python=sys.executable)
        sweep.point(tmp_path / "state")
        sweep.run(0, auc=0.7)
        started = []
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(resume.os, "execv", lambda _, command: started.append(command[1:]))
        with pytest.raises(SystemExit):
            main(["resume", "last", *words])
        return (started[0] if started else []), "".join(capsys.readouterr())

    return run


def test_a_sweep_of_which_all_is_done_is_not_started_again(resumed):
    done = "All of sweep_a is done (1 job). Say --rerun to run it again"
    assert resumed(["x=1"]) == ([], f"{done}.\n")
    assert resumed(["hydra.sweeper.n_trials=1"]) == ([], f"{done}, or how far to go: hydra.sweeper.n_trials=N.\n")


def test_a_search_goes_as_far_as_it_is_told_now(resumed, tmp_path):
    folder = f"hydra.sweep.dir='{tmp_path / 'sweep_a'}'"
    started, said = resumed(["hydra.sweeper.n_trials=1", "x=1"], "hydra.sweeper.n_trials=9", "--keep")
    assert started == ["app.py", "-m", "x=1", "hydra.sweeper.n_trials=9", "hydra.sweeper.resume=keep", folder]
    assert said == ""


def test_another_word_is_refused(resumed):
    started, said = resumed(["x=1"], "x=2")
    assert started == []
    assert said.startswith(
        "resume goes on with a sweep as it was begun, and x=2 would change it. It takes hydra.sweeper."
    )
