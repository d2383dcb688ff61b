"""Tests of the last lines of a command."""

import doctest
import json

import pytest

from handmade_sweep import HandmadeSweep, write_trial
from sweeproute import summary

URI = "sqlite:////data/mlflow.db"


def lines(root, uri=URI, argv=("train.py",)) -> list[str]:
    return summary.lines(root, uri=uri, experiment="sweeproute", argv=argv)


@pytest.fixture
def sweep(tmp_path) -> HandmadeSweep:
    return HandmadeSweep(tmp_path / "sweep", name="depths", total=4)


def test_a_sweep_ends_with_its_best_configuration_and_the_next_commands(sweep):
    sweep.run(0, auc=0.70, brier=0.22, n_games=5000)
    sweep.run(1, auc=0.72, brier=0.21, n_games=5000)
    sweep.run(2, auc=0.72, brier=0.23, n_games=5000)
    sweep.run(3, auc=float("nan"))
    assert lines(sweep.root) == [
        "Sweep sweep_a (depths): 4 jobs, 4 finished",
        "Best auc: job 1 on local_m4",
        "  auc=0.7200  brier=0.2100  n_games=5000",
        "  python train.py model=xgboost model.params.max_depth=4",
        "  1 finished without a finite auc, and cannot win",
        "Runs: experiment sweeproute in sqlite:////data/mlflow.db",
        f"Files: {sweep.root}",
        "Next: mlflow ui --backend-store-uri sqlite:////data/mlflow.db",
        "      sweeproute best --sweep sweep_a --metric auc",
    ]


def test_a_job_that_was_pruned_is_counted_as_such_and_is_not_the_best(sweep):
    sweep.run(0, auc=0.70)
    sweep.finish(sweep.start(1), {"auc": 0.9}, state="PRUNED", pruned="below the median")
    text = lines(sweep.root)
    assert text[0] == "Sweep sweep_a (depths): 4 jobs, 1 finished, 1 pruned, 2 not started"
    assert text[1] == "Best auc: job 0 on local_m4"
    assert not any("failed" in line.lower() or "resume" in line for line in text)


def test_a_sweep_that_is_over_says_what_it_has_reached_of_the_targets(sweep):
    sweep.save(state="RUNNING", started=100.0, host="elsewhere")
    sweep.finish(sweep.start(0), {"auc": 0.7}, ended_at=110.0, run_s=9.5)
    notes = [{"at": 100.0, "slots": {"local_m4": 1}}, {"at": 110.0, "ends": True}]
    (sweep.root / ".sweeproute" / "platforms.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
    assert not any(line.startswith("Targets") for line in lines(sweep.root))
    sweep.save(state="FINISHED")
    assert (
        "Targets met: idle 5.0 %, success 100.0 %, length of a sweep 0.00 h; missed: speed-up over sequential 0.9 "
        "(4 to 6); not measured: GPU use, CPU use, availability"
    ) in lines(sweep.root)


def test_failed_jobs_are_listed_with_what_went_wrong_and_stopped_ones_lead_to_resume(sweep):
    sweep.run(0, auc=0.7)
    error = {"class": "user", "type": "ValueError", "message": "no\nsuch depth", "traceback": "..."}
    for job in range(1, 13):
        sweep.change(sweep.start(job), state="FAILED", error=error)
    sweep.change(sweep.start(13), state="KILLED")
    text = lines(sweep.root)
    assert "1 finished, 12 failed, 1 stopped" in text[0]
    assert "  job 1: ValueError: no such depth" in text
    assert "  and 2 more" in text
    assert "Next: sweeproute resume sweep_a" in text


def test_a_metric_that_no_job_has_is_answered_with_those_that_there_are(sweep):
    sweep.run(0, auc=0.7, brier=0.22)
    sweep.save(metric="acu", direction="maximize")
    text = lines(sweep.root)
    assert "No finished job has a metric acu; there are auc, brier" in text
    assert not any("sweeproute best" in line for line in text)


def test_an_attempt_that_does_not_count_is_not_the_best(sweep):
    sweep.change(sweep.run(0, auc=0.99), current=False)
    sweep.run(0, 2, auc=0.6)
    assert "  auc=0.6000" in lines(sweep.root)


def test_a_run_alone_says_its_metrics_and_its_command(tmp_path):
    write_trial(tmp_path / "run", auc=0.7)
    (tmp_path / "run" / ".hydra").mkdir()
    (tmp_path / "run" / ".hydra" / "overrides.yaml").write_text("- model=glm\n- 'sweep.note=two words'\n")
    assert lines(tmp_path / "run")[:2] == [
        "auc=0.7000  brier=0.2200",
        "  python train.py model=glm 'sweep.note=two words'",
    ]


def test_a_server_is_opened_and_its_password_is_not_shown(sweep):
    sweep.run(0, auc=0.7)
    text = "\n".join(lines(sweep.root, uri="https://me:secret@mlflow.example.org"))
    assert "open https://***@mlflow.example.org" in text
    assert "secret" not in text


def test_without_jobs_there_is_nothing_to_say(tmp_path):
    assert lines(tmp_path) == []


def test_the_command_keeps_what_says_which_config_is_meant():
    argv = ["app.py", "-m", "--config-name", "other", "--config-dir=conf", "x=1,2"]
    assert summary.reproduction(argv, ["x=1"]) == "python app.py --config-name other --config-dir=conf x=1"


def test_the_examples_run():
    assert doctest.testmod(summary).failed == 0
