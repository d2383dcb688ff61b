"""The report at the end of a sweep: what it leaves where, and what becomes of it when it cannot be made."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from handmade_sweep import fresh_store
from small_trial import ONE_SLOT, ROOT, SMALL, end, start
from sweeproute import __main__, report_record, request_kept
from sweeproute.callbacks import Report
from sweeproute.store import connect
from sweeproute.whole_folder import COPIED

KIND = "tags.`sweeproute.kind` = 'sweep'"
# The message as people write it by hand.
BY_HAND = """
trigger: training_complete
context:
  - search_id: "ensemble_20251010_143000"
  - models_trained: 4
  - total_experiments: 12  # 4 models × 3 calibration methods
  - execution_time: "4.2 hours (parallel)"
  - platform_utilization:
      - M4: "GLM, RandomForest (2 concurrent)"
      - 4090: "XGBoost, NeuralNetwork (2 concurrent)"

results_summary:
  - best_model: "XGBoost (GPU)"
  - best_auc: 0.587
  - best_roi: 4.8%
  - comparison_file: "models/experiments/ensemble_20251010_143000/ensemble_comparison.csv"

deliverables_ready:
  - models/experiments/ensemble_20251010_143000/glm/
  - analysis/dissertation/figures/out/model_roc_curves.pdf

action_required:
  - Review results and select best model

next_steps: "Deploy best model to production (coordinate with DevOps)"
"""
REQUEST = {
    "trigger": "parallel_training_request",
    "context": [{"requested_by": "Research Agent"}, {"models": ["GLM", "XGBoost"]}],
    "requirements": [{"calibration": ["platt"]}],
    "expected_deliverables": ["Individual model results (JSON + CSV)", "ROC curves (PDF)", "A poem"],
    "resource_estimate": "1-2 hours (parallel), 0.001 minutes (sequential)",
}
WORDS = (
    *("-m", "model=glm", "search_space=none", "model.params.C=0.1,1", "calibration=all"),
    *("validation.calibration_seasons=1", *SMALL, ONE_SLOT, "hydra.launcher.deadline=2999-01-01"),
    "tracking.models=none",
    *("sweep.request=asked.yaml", "sweep.id=ended", "hydra.sweep.dir=out", "report.resamples=50"),
)


def merged(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """A list of single keys as one mapping."""
    return {key: value for one in pairs for key, value in one.items()}


class Ended:
    """A sweep that has made its report at its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = fresh_store(folder)
        self.environment = {"SWEEPROUTE_STATE": str(folder / "state")}
        (folder / "conf").symlink_to(ROOT / "conf")
        (folder / "asked.yaml").write_text(request_kept.text(REQUEST, [("models", "GLM", "glm")], ["python"]))
        self.said = self.run("report.copy_to=thesis/figures")

    def run(self, *words: str, code: int = 0) -> str:
        return end(start(self.folder, *WORDS, *words, uri=self.uri, **self.environment), code)

    def message(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "reports/ended/training_complete.yaml").read_text())


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> Ended:
    return Ended(tmp_path_factory.mktemp("ended"))


@pytest.fixture
def command(ended, monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """Run `sweeproute WORDS` where the sweep was started; its exit code, and what it said."""
    monkeypatch.setenv("SWEEPROUTE_STATE", ended.environment["SWEEPROUTE_STATE"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ended.uri)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.chdir(ended.folder)

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stopped:
            __main__.main(words)
        return int(stopped.value.code or 0), "".join(capsys.readouterr())

    return run


def test_the_last_lines_say_what_lies_where(ended):
    lines = ended.said.splitlines()
    (at,) = (place for place, line in enumerate(lines) if line.startswith("Report: reports/ended, "))
    assert "training_complete.yaml says what there is" in lines[at]
    assert lines[at + 2].startswith("  In MLflow it is report/ of the run ")
    assert at > lines.index("Files: out"), "tracking has drained, and said so, before"
    copied = {path.name for path in (ended.folder / "thesis/figures").iterdir()} - {COPIED}
    assert {"multimodel_comparison_table.tex", "model_roc_curves.pdf", "reliability.pdf"} <= copied
    assert lines[at + 1] == f"  thesis/figures: {len(copied)} tables and figures of it"
    assert not [name for name in copied if name.startswith(".") or name.endswith("~")]


def test_the_message_has_the_keys_and_the_form_of_one_written_by_hand(ended):
    mine, theirs = ended.message(), yaml.safe_load(BY_HAND)
    assert mine.keys() >= theirs.keys()
    for key, value in theirs.items():
        assert type(mine[key]) is type(value), key
    for part in ("context", "results_summary"):
        written = merged(mine[part])
        assert all(len(one) == 1 for one in mine[part])
        for key, value in merged(theirs[part]).items():
            assert type(written[key]) is type(value), key
    context = merged(mine["context"])
    assert (context["search_id"], context["models_trained"], context["total_experiments"]) == ("ended", 1, 3)
    ((used,),) = (one.values() for one in context["platform_utilization"])
    assert used.startswith("GLM (1 concurrent; busy ")
    assert used.endswith(" of 1 slot)")
    assert context["execution_time"].endswith(" seconds (sequential)")


def test_what_the_message_names_is_there(ended):
    mine = ended.message()
    assert mine["deliverables_missing"] == []
    for path in [*mine["deliverables_ready"], merged(mine["results_summary"])["comparison_file"]]:
        assert (ended.folder / path).exists(), path
    assert "thesis/figures/model_roc_curves.pdf" in mine["deliverables_ready"]
    assert "reports/ended/glm/" in mine["deliverables_ready"]
    best = json.loads((ended.folder / "reports/ended/best_config.json").read_text())
    results = merged(mine["results_summary"])
    assert (results["best_model"], results["best_auc"]) == ("GLM (CPU)", round(best["metrics"]["auc"], 4))
    assert results["best_roi"] == f"{100 * best['metrics']['roi']:.1f}%"


def test_the_message_says_what_was_met_and_what_was_missed(ended):
    targets = {one["name"]: one for one in ended.message()["targets"]}
    assert all(set(one) == {"name", "aim", "value", "verdict"} for one in targets.values())
    verdicts = {name: one["verdict"] for name, one in targets.items()}
    assert verdicts["reproducibility"] == verdicts["deadline"] == verdicts["success"] == "met"
    assert verdicts["speed-up over sequential"] == "missed"
    assert verdicts["GPU use"] == "not measured"
    # What the request asked for: XGBoost was left out behind it.
    assert (targets["models"]["value"], verdicts["models"], verdicts["calibration"]) == ("GLM", "missed", "met")
    assert (verdicts["parallel time"], verdicts["sequential time"]) == ("met", "missed")


def test_a_request_survives_beside_the_sweep_and_is_answered(ended):
    mine = ended.message()
    expected = merged(mine["expected_deliverables"])
    assert expected["Individual model results (JSON + CSV)"] == ["reports/ended/glm/"]
    assert expected["ROC curves (PDF)"] == ["thesis/figures/model_roc_curves.pdf"]
    assert expected["A poem"].startswith("not known by these words")
    assert merged(mine["context"])["resource_estimate"] == REQUEST["resource_estimate"]
    kept = yaml.safe_load((ended.folder / "out/request.yaml").read_text())
    assert kept["request"] == REQUEST
    assert kept["understood"] == [{"part": "models", "written": "GLM", "meaning": "glm"}]


def test_tables_and_message_are_artifacts_of_the_sweeps_own_run_that_its_page_shows(ended):
    client = connect(ended.uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    (run,) = client.search_runs(experiments, KIND)
    names = {one.path for one in client.list_artifacts(run.info.run_id, "report")}
    assert {"report/tables.txt", "report/training_complete.yaml", "report/figures"} <= names
    assert "request.yaml" in {one.path for one in client.list_artifacts(run.info.run_id)}
    text = (ended.folder / "reports/ended/tables.txt").read_text()
    assert text.startswith("Models on the ")
    assert "Calibration of each model on the" in text


def test_it_is_made_again_the_same_from_the_store_alone(ended, command):
    folder = ended.folder / "reports/ended"
    first = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (ended.folder / "out").rename(ended.folder / "away")
    try:
        code, said = command("report", "ended", "report.resamples=50", "report.copy_to=thesis/figures")
    finally:
        (ended.folder / "away").rename(ended.folder / "out")
    assert code == 0, said
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == first


def test_a_report_that_cannot_be_made_is_said_kept_and_in_the_exit_code(ended, command):
    (ended.folder / "mine").mkdir()
    (ended.folder / "mine/chapter.tex").touch()
    before = {path: path.stat().st_mtime_ns for path in ended.folder.glob("out/*/journal.jsonl")}
    # Where a report goes makes no other trial: all results are kept.
    said = ended.run("report.to=mine", "report.at_end=true", "resume=true", code=1)
    assert {path: path.stat().st_mtime_ns for path in ended.folder.glob("out/*/journal.jsonl")} == before
    (line,) = (line for line in said.splitlines() if line.startswith("report: "))
    assert "mine is there already, and was not made by this command" in line
    again = "`sweeproute report ended --log report.resamples=50 report.to=mine report.at_end=true`"
    assert f"Once that is mended, {again} makes it; of the results nothing is lost." in line
    assert "Traceback" not in said
    assert [path.name for path in (ended.folder / "mine").iterdir()] == ["chapter.tex"]
    assert "mine is there already" in str(report_record.problem(ended.folder / "out"))
    assert "\nReport: not made: " in command("status", "ended")[1]
    code, said = command("report", "ended", "report.resamples=50", "--tables-only")
    assert code == 0, said
    assert "\nReport: " not in command("status", "ended")[1]
    # Nobody wanted figures now but the one who had asked.
    assert merged(ended.message()["expected_deliverables"])["ROC curves (PDF)"] == "missing"
    assert ended.message()["deliverables_missing"] == []


def test_a_thesis_that_has_a_table_of_its_own_is_said_and_the_rest_of_the_report_is_there(ended, command):
    theirs = ended.folder / "theirs"
    theirs.mkdir()
    (theirs / "betting_table.tex").write_text("mine")
    client = connect(ended.uri)
    (run,) = client.search_runs([one.experiment_id for one in client.search_experiments()], KIND)
    before = {one.path for one in client.list_artifacts(run.info.run_id, "report")}
    words = ("report.copy_to=theirs", "report.to=reports/second", "report.folders.GLM=linear", "resume=true")
    said = ended.run(*words, code=1)
    (line,) = (line for line in said.splitlines() if line.startswith("report: "))
    assert "theirs has betting_table.tex, which this command has not made, or which was changed since" in line
    assert "The report itself is in reports/second. Once that is mended, `sweeproute report ended --log " in line
    assert [path.name for path in theirs.iterdir()] == ["betting_table.tex"]
    assert (ended.folder / "reports/second/report.tex").is_file()
    assert {one.path for one in client.list_artifacts(run.info.run_id, "report")} - before == {"report/linear"}
    assert "theirs has betting_table.tex" in str(report_record.problem(ended.folder / "out"))
    # Nobody is told of it once a report was made.
    assert command("report", "ended", "report.resamples=50", "--tables-only")[0] == 0


def test_a_worker_is_given_neither_the_stores_password_nor_the_settings():
    import pickle

    callback = Report({"to": "here"}, "postgresql://me:secret@host/db", "asked.yaml")
    sent = pickle.dumps(callback)
    assert b"secret" not in sent
    assert pickle.loads(sent).settings is None


def test_the_report_stands_before_tracking_which_is_told_of_the_end_first():
    import hydra

    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        names = list(hydra.compose("config", [], return_hydra_config=True).hydra.callbacks)
    assert names.index("report") < names.index("tracking") < names.index("plots")
