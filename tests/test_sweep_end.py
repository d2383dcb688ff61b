"""The end of a sweep: who gets a report, and of what."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from handmade_sweep import HandmadeSweep, fresh_store
from reported_sweep import forecasts, games, trial
from small_trial import ROOT
from sweeproute import report_record, sweep_end
from sweeproute.commands import composing
from sweeproute.tracking import sync


@pytest.mark.parametrize(
    ("words", "made"),
    [((), False), (("at_end=true",), True), (("copy_to=d",), True), (("copy_to=d", "at_end=false"), False)],
)
def test_who_gets_a_report(monkeypatch, words, made):
    monkeypatch.chdir(ROOT)
    settings = composing.report([f"report.{word}" for word in words])
    assert sweep_end.wanted(OmegaConf.to_container(OmegaConf.structured(settings))) is made


@pytest.fixture
def handmade(tmp_path, monkeypatch) -> Callable[..., tuple[Path, list[str], bool]]:
    """A sweep of three jobs of which one has failed; what its report says at its end, and whether it is well."""
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    uri = fresh_store(tmp_path)

    def run(state: str, written: bool = True) -> tuple[Path, list[str], bool]:
        sweep = HandmadeSweep(tmp_path / "swept", "swept", metric="brier", direction=None, total=4)
        sweep.save(deadline="2023-11-14T22:13:22+00:00")
        for job, (model, noise) in enumerate((("GLM", 0.5), ("XGBoost", 0.6))):
            trial(sweep, job, model, {"none": forecasts(games(), noise)}, games())
        sweep.start(2, state="FAILED", ended_at=1_700_000_003.0, run_s=2.0)
        sweep.save(state=state, ended=1_700_000_009.0)
        if written:
            sync(sweep.root, uri=uri)
        said: list[str] = []
        with monkeypatch.context() as patch:
            patch.chdir(ROOT)
            settings = OmegaConf.to_container(
                OmegaConf.structured(composing.report(["report.resamples=50", "report.figures=false"]))
            )
        return sweep.root, said, sweep_end.make_report(sweep.root, settings, uri, ["report.at_end=true"], said.append)

    return run


def test_a_sweep_with_failed_jobs_is_told_of_what_has_finished(handmade, tmp_path):
    root, said, well = handmade("FAILED")
    assert well, said
    assert "  It is without 2 jobs that have not finished; `sweeproute resume swept` runs these" in said
    assert report_record.problem(root) is None
    message = yaml.safe_load((tmp_path / "reports/swept/training_complete.yaml").read_text())
    assert message["action_required"][0] == (
        "Run the jobs that have not finished (1 failed, 1 not started): sweeproute resume swept"
    )
    assert {one["name"]: one["verdict"] for one in message["targets"]}["deadline"] == "missed"
    context = {key: value for one in message["context"] for key, value in one.items()}
    assert (context["jobs_finished"], context["jobs_not_finished"], context["models_trained"]) == (2, 2, 2)


def test_a_sweep_that_was_stopped_has_no_report_yet(handmade, tmp_path):
    root, said, well = handmade("KILLED")
    assert (said, well) == ([], True)
    assert not (tmp_path / "reports").exists()
    assert not (root / ".sweeproute" / report_record.FILE).exists()


def test_runs_that_are_not_in_the_store_are_no_report(handmade, tmp_path):
    root, said, well = handmade("FINISHED", written=False)
    assert not well
    assert said[0].startswith("report: not made, since no run of this sweep is tracked. Once that is mended, `")
    path = root / ".sweeproute" / "tracking.json"
    path.write_text(json.dumps({"uri": "sqlite:///x.db", "written": 1, "total": 3}))
    root, said, well = handmade("FINISHED", written=False)
    assert said[0].startswith("report: not made, since 2 of 3 runs are not written yet: say `sweeproute sync swept`.")
    assert not (tmp_path / "reports").exists()
