"""Tests of the plots at the end of a sweep, from its records to its folder and its run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from handmade_sweep import HandmadeSweep, fresh_store
from plotted_sweep import finished, plotted
from sweeproute import plots
from sweeproute.__main__ import main
from sweeproute.plot_trials import PlotError
from sweeproute.store import connect
from sweeproute.tracking import sync

APP = '''
"""A foreign application, which knows nothing of this project."""
import hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    return {"score": (cfg.x - 2) ** 2 + cfg.y / 10}

if __name__ == "__main__":
    main()
'''
CONFIG = """
defaults:
  - override hydra/launcher: routed
  - override hydra/sweeper: search
x: 1
y: 1
hydra:
  callbacks:
    tracking: {_target_: sweeproute.callbacks.Tracking, uri: "sqlite:///mlflow.db", experiment: test}
    plots: {_target_: sweeproute.callbacks.Plots}
  sweeper: {metric: score, direction: minimize}
  sweep: {dir: out}
"""


def names(folder: Path) -> list[str]:
    """What was drawn, where each plot is there in both forms."""
    kinds = {kind: sorted(path.stem for path in folder.glob(f"*.{kind}")) for kind in ("pdf", "png")}
    assert kinds["pdf"] == kinds["png"]
    return kinds["pdf"]


def test_a_sweep_gets_every_plot_that_it_has_the_trials_for(tmp_path):
    sweep = plotted(tmp_path / "sweep")
    drawn, missing = plots.draw(sweep.root)
    folder = sweep.root / "plots"
    expected = ["contours", "history", "importances", "parallel", "reports", "slices", "timeline"]
    assert sorted(drawn) == names(folder) == expected
    assert missing == ""
    for path in folder.iterdir():
        assert path.read_bytes().startswith(b"%PDF" if path.suffix == ".pdf" else b"\x89PNG")


def test_drawn_again_the_files_are_the_same_and_those_of_other_parameters_go(tmp_path):
    sweep = plotted(tmp_path / "sweep")
    plots.draw(sweep.root)
    before = {path.name: path.read_bytes() for path in (sweep.root / "plots").iterdir()}
    (sweep.root / "plots" / "slices_old.png").touch()
    (sweep.root / "plots" / ".drawing-killed").mkdir()
    plots.draw(sweep.root)
    assert {path.name: path.read_bytes() for path in (sweep.root / "plots").iterdir()} == before


def test_two_objectives_have_a_front_and_each_its_pictures_of_the_parameters(tmp_path):
    sweep = plotted(tmp_path / "sweep", metric=["auc", "brier"], direction=None)
    drawn, _ = plots.draw(sweep.root)
    assert {"front", "history", "slices_auc", "slices_brier", "importances"} <= set(drawn)
    assert "slices" not in drawn


def test_numbers_that_a_task_returns_without_names_are_drawn(tmp_path):
    for direction, values in (("minimize", [3.0, 1.0, 2.0]), (["minimize", "maximize"], [[3, 1], [1, 2], [2, 0]])):
        sweep = HandmadeSweep(tmp_path / str(len(direction)), metric=None, direction=direction)
        for job, value in enumerate(values):
            folder = finished(sweep, job, f"x={job}", started=job)
            sweep.change(folder, value=value)
        assert "history" in plots.draw(sweep.root)[0]
    assert "history" in plots.draw(tmp_path / "8", "value", to=tmp_path / "again")[0]


def test_models_with_other_parameters_have_pictures_of_their_own(tmp_path):
    sweep = plotted(tmp_path / "sweep")
    for job in range(20, 24):
        finished(sweep, job, "model=glm", f"model.params.C={job}", started=job, auc=0.6)
    drawn, missing = plots.draw(sweep.root)
    assert {"slices_xgboost", "importances_xgboost", "parallel_xgboost", "slices_glm"} <= set(drawn)
    assert not {"parallel_glm", "importances_glm", "slices"} & set(drawn)
    assert missing == "no importances of glm (fewer than two parameters vary)"


def test_one_parameter_or_a_constant_metric_has_no_importances_and_it_is_said(tmp_path):
    sweep = plotted(tmp_path / "sweep")
    drawn, missing = plots.draw(sweep.root, "flat", "minimize", to=tmp_path / "flat")
    assert missing == "no importances (flat is the same in all)"
    assert names(tmp_path / "flat") == sorted(drawn) == ["history", "parallel", "slices", "timeline"]
    assert not (sweep.root / "plots").exists()


def test_a_sweep_of_nothing_but_one_configuration_has_its_history_and_its_timeline(tmp_path):
    sweep = HandmadeSweep(tmp_path / "sweep")
    for job in range(3):
        finished(sweep, job, "x=1", started=job, auc=0.6)
    assert plots.draw(sweep.root) == (["history", "timeline"], "")


def test_too_few_trials_are_not_drawn(tmp_path, capsys):
    sweep = HandmadeSweep(tmp_path / "sweep")
    for job in range(2):
        finished(sweep, job, f"x={job}", auc=0.6)
    with pytest.raises(PlotError, match="2 of the 3 finished trials"):
        plots.draw(sweep.root)
    assert plots.main([str(sweep.root)]) == 1
    assert capsys.readouterr().out == "2 of the 3 finished trials that a plot takes are there.\n"


def test_the_command_draws_again_by_the_sweeps_name_or_by_another_metric(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    sweep = plotted(tmp_path / "sweep", name="depths")
    sweep.point(tmp_path / "state")
    for words in (["depths"], ["depths", "--metric", "brier"], ["last", "--out", str(tmp_path / "here")]):
        with pytest.raises(SystemExit, match="0"):
            main(["plots", *words])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (f"{sweep.root / 'plots'}: history, reports, timeline, importances, slices, parallel, contours")
    assert "reports" not in names(sweep.root / "plots" / "brier")
    assert names(tmp_path / "here") == names(sweep.root / "plots")
    with pytest.raises(SystemExit, match="1"):
        main(["plots", "depths", "--metric", "acu", "--direction", "maximize"])
    assert capsys.readouterr().err == "No finished job has a metric acu; there are auc, brier, flat.\n"


def test_the_sweeps_run_keeps_the_plots_once_and_again_when_they_have_changed(tmp_path, monkeypatch):
    sweep = plotted(tmp_path / "sweep", state="FINISHED", ended=1_700_000_100.0)
    plots.draw(sweep.root)
    monkeypatch.chdir(tmp_path)
    uri = fresh_store(tmp_path)
    client = connect(uri)

    def kept() -> dict[str, int]:
        """Files below the sweep's run, with when each was written."""
        sync(sweep.root, uri, "test")
        (experiment,) = [one for one in client.search_experiments() if one.name == "test"]
        (parent,) = client.search_runs([experiment.experiment_id], "tags.`sweeproute.kind` = 'sweep'")
        assert parent.info.status == "FINISHED"
        folder = Path(parent.info.artifact_uri.removeprefix("file://")) / "plots"
        return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*.p*")}

    first = kept()
    assert sorted(first) == sorted(path.name for path in (sweep.root / "plots").iterdir())
    assert kept() == first
    plots.draw(sweep.root, "brier", to=sweep.root / "plots" / "brier")
    changed = kept()
    assert "brier/history.png" in changed
    assert kept() == changed


@pytest.fixture
def app(tmp_path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text(CONFIG)
    (tmp_path / "app.py").write_text(APP)
    fresh_store(tmp_path)
    return tmp_path


def run(app: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "app.py", "-m", *words],
        cwd=app,
        env={**os.environ, "SWEEPROUTE_STATE": str(app / "state")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_sweep_of_a_foreign_app_ends_with_its_plots_which_its_run_keeps(app):
    said = run(app, "x=1,2,3,4", "y=1,2,3")
    assert "Plots: out/plots\n" in said
    assert {"history", "importances", "slices", "timeline"} <= set(names(app / "out" / "plots"))
    client = connect(f"sqlite:///{app / 'mlflow.db'}")
    experiments = [one.experiment_id for one in client.search_experiments()]
    (parent,) = client.search_runs(experiments, "tags.`sweeproute.kind` = 'sweep'")
    artifacts = [artifact.path for artifact in client.list_artifacts(parent.info.run_id, "plots")]
    assert sorted(artifacts) == sorted(f"plots/{path.name}" for path in (app / "out" / "plots").iterdir())


def test_without_tracking_the_files_are_there_and_a_word_on_what_is_missing(app):
    said = run(app, "x=1,2,3", "~hydra.callbacks.tracking")
    assert "Plots: out/plots; no importances (fewer than two parameters vary)\n" in said
    assert names(app / "out" / "plots") == ["history", "slices", "timeline"]


def test_nothing_is_drawn_of_two_trials_or_where_it_is_not_wanted(app):
    assert "lots:" not in run(app, "x=1,2", "~hydra.callbacks.tracking")
    assert "lots:" not in run(app, "x=1,2,3", "~hydra.callbacks.tracking", "+hydra.callbacks.plots.draw=false")
    assert not (app / "out" / "plots").exists()


def test_what_cannot_be_drawn_is_one_sentence_and_the_sweep_stands(app):
    (app / "out").mkdir()
    (app / "out" / "plots").write_text("in the way")
    said = run(app, "x=1,2,3", "~hydra.callbacks.tracking")
    (line,) = [line for line in said.splitlines() if line.startswith("plots:")]
    assert line.startswith("plots: not drawn (exit code 1; the error is in ")
    assert "FileExistsError" in (app / "out" / ".sweeproute" / "plots.log").read_text()


def test_nothing_that_draws_is_imported_before_the_end():
    code = "import sys, sweeproute.callbacks; print(*{'matplotlib', 'numpy', 'optuna', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
