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


def repeated(sweep: HandmadeSweep, scores: dict[int, list[tuple[float, float]]]) -> None:
    """Jobs of some depths, each under some seeds, with their auc and brier."""
    points = [(depth, seed, *pair) for depth, pairs in scores.items() for seed, pair in enumerate(pairs)]
    for job, (depth, seed, auc, brier) in enumerate(points):
        folder = sweep.start(job, overrides=["model=xgboost", f"seed={seed}", f"model.params.max_depth={depth}"])
        sweep.finish(folder, {"auc": auc, "brier": brier})


def test_the_best_of_repeats_is_a_mean_with_its_error_and_a_configuration(sweep):
    sweep.save(repeats=["seed"], total=None)
    repeated(sweep, {3: [(0.9, 0.2), (0.5, 0.2)], 4: [(0.72, 0.21), (0.74, 0.23)]})
    assert lines(sweep.root)[:4] == [
        "Sweep sweep_a (depths): 4 jobs, 4 finished",
        "Best auc: jobs 2-3 on local_m4",
        "  auc=0.7300 ± 0.0100  brier=0.2200 ± 0.0100  (2 seeds)",
        "  python train.py model=xgboost model.params.max_depth=4",
    ]
    sweep.change(sweep.root / "3", state="PRUNED")
    text = lines(sweep.root)
    assert text[0].endswith("4 jobs, 3 finished, 1 pruned")
    assert text[1] == "Best auc: jobs 0-1 on local_m4"
    assert text[4] == "  1 configuration lacks some of its 2 seeds, and was not compared."
    sweep.change(sweep.root / "0", state="FAILED")
    text = lines(sweep.root)
    assert text[1:3] == ["Best auc: job 2 on local_m4", "  auc=0.7200  brier=0.2100  (1 seed)"]
    assert text[4] == "  No configuration has finished its 2 seeds yet; those with 1 were compared."


def test_where_all_jobs_have_one_seed_it_belongs_to_the_configuration(sweep):
    sweep.save(repeats=["seed"], total=None)
    repeated(sweep, {3: [(0.7, 0.2)], 4: [(0.72, 0.21)]})
    assert lines(sweep.root)[1:4] == [
        "Best auc: job 1 on local_m4",
        "  auc=0.7200  brier=0.2100",
        "  python train.py model=xgboost seed=0 model.params.max_depth=4",
    ]


def follow_up(sweep: HandmadeSweep, job: int, *overrides: str, **metrics: float) -> None:
    sweep.finish(sweep.start(job, overrides=list(overrides), follow_up=True), metrics)


def test_scores_on_the_holdout_are_told_by_model_and_calibration(sweep):
    sweep.save(total=None, repeats=["seed"])
    sweep.run(0, auc=0.7)
    for job, words in enumerate((["model=glm", "calibration.methods=[platt,none]"], ["calibration.methods=[none]"])):
        for seed in (0, 1):
            follow_up(sweep, 1 + 2 * job + seed, *words, "+validation.scoring=1", f"seed={seed}", auc=0.6)
    text = lines(sweep.root)
    place = text.index("On the holdout, by which nothing was chosen:")
    assert text[place + 1 : place + 3] == ["  jobs 1-2, glm platt: auc=0.6000 ± 0", "  jobs 3-4: auc=0.6000 ± 0"]
    assert not any("Follow-ups" in line for line in text)


def test_ensembles_are_told_of_by_their_method_and_those_of_former_winners_not_any_more(sweep):
    sweep.finish(sweep.start(0), {"auc": 0.6})
    for job, (members, auc) in enumerate([("{none:[[0],[1]]}", 0.61), ("{none:[[2],[1]]}", 0.62)]):
        words = ("model=ensemble", "model.params.method=stacking", f"model.params.members={members}")
        follow_up(sweep, 1 + job, *words, auc=auc)
    follow_up(sweep, 3, *words, "validation.scoring=1", auc=0.63)
    said = "\n".join(lines(sweep.root))
    assert "Of the models together, by which nothing was chosen:\n  job 2, ensemble stacking: auc=0.6200" in said
    assert "On the holdout, by which nothing was chosen:\n  job 3, ensemble stacking: auc=0.6300" in said
    assert "job 1, ensemble" not in said


def test_another_apps_follow_ups_are_told_by_their_overrides(sweep):
    sweep.save(total=None)
    sweep.run(0, auc=0.7)
    follow_up(sweep, 1, "depth=3", "note=two words", loss=1.5)
    follow_up(sweep, 2, loss=2.5)
    follow_up(sweep, 3, "model=glm", "validation.scoring=1", auc=0.6)
    text = lines(sweep.root)
    place = text.index("Follow-ups:")
    assert text[place - 2 : place] == ["On the holdout, by which nothing was chosen:", "  job 3, glm: auc=0.6000"]
    assert text[place + 1 : place + 3] == ["  job 1, depth=3 'note=two words': loss=1.5000", "  job 2: loss=2.5000"]
    assert sum("holdout" in line for line in text) == 1


def test_several_metrics_end_in_a_front_with_its_knee(sweep):
    sweep.save(metric=["auc", "brier"], direction=None, total=None)
    for job, (auc, brier) in enumerate([(0.60, 0.200), (0.70, 0.205), (0.72, 0.25), (0.65, 0.24)]):
        sweep.run(job, auc=auc, brier=brier)
    sweep.run(4, auc=0.9, brier=float("inf"))
    sweep.change(sweep.run(5, auc=0.99, brier=0.1), state="PRUNED")
    text = lines(sweep.root)
    assert text[1:10] == [
        "Front of auc (maximize) and brier (minimize): 3 of 4",
        "  job  auc     brier",
        "  2    0.7200  0.2500",
        "  1    0.7000  0.2050  knee",
        "  0    0.6000  0.2000",
        "Its knee: job 1 on local_m4",
        "  auc=0.7000  brier=0.2050",
        "  python train.py model=xgboost model.params.max_depth=4",
        "  1 finished without a finite auc and brier, and cannot win",
    ]
    assert text[-1] == "      sweeproute best --sweep sweep_a"


def test_a_long_front_is_cut_and_keeps_its_knee(sweep):
    sweep.save(metric=["auc", "brier"], direction=None, total=None)
    for job in range(13):
        sweep.finish(sweep.start(job), {"auc": job / 20, "brier": (0.2 if job < 2 else 0.3) + job / 100})
    text = lines(sweep.root)
    table = text[2 : text.index("  and 2 more")]
    assert [line.split()[0] for line in table] == ["job", *map(str, range(12, 2, -1)), "1"]
    assert table[-1].endswith("knee")


def test_the_front_of_repeats_is_one_of_means(sweep):
    sweep.save(metric=["auc", "brier"], direction=None, repeats=["seed"], total=None)
    repeated(sweep, {3: [(0.6, 0.20), (0.62, 0.20)], 4: [(0.70, 0.21), (0.70, 0.23)], 5: [(0.8, 0.3), (0.5, 0.3)]})
    text = lines(sweep.root)
    assert text[3:5] == ["  2-3  0.7000 ± 0       0.2200 ± 0.0100  knee", "  0-1  0.6100 ± 0.0100  0.2000 ± 0"]
    assert text[6] == "  auc=0.7000 ± 0  brier=0.2200 ± 0.0100  (2 seeds)"


def test_metrics_that_no_job_has_together_are_said(sweep):
    sweep.save(metric=["auc", "roi"], direction=None)
    sweep.run(0, auc=0.7)
    assert "No finished job has a metric roi; there are auc" in lines(sweep.root)
    sweep.finish(sweep.start(1), {"roi": 0.1})
    assert "No finished job has both auc and roi" in lines(sweep.root)
    sweep.save(direction="maximize")
    assert any("give one direction for each metric" in line for line in lines(sweep.root))


def test_without_jobs_there_is_nothing_to_say(tmp_path):
    assert lines(tmp_path) == []


def test_the_command_keeps_what_says_which_config_is_meant():
    argv = ["app.py", "-m", "--config-name", "other", "--config-dir=conf", "x=1,2"]
    assert summary.reproduction(argv, ["x=1"]) == "python app.py --config-name other --config-dir=conf x=1"


def test_the_examples_run():
    assert doctest.testmod(summary).failed == 0
