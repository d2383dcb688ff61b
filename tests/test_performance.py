"""Figures say what was measured, and nothing where nothing was."""

import pytest

from sweeproute import performance
from sweeproute.history import Attempt, Session, Sweep


def attempt(platform="here", run_s=10.0, ended_at=10.0, outcome="FINISHED", model="GLM", point="c=1", current=True):
    return Attempt(model, platform, (point,), outcome, run_s, ended_at, current)


def session(started=0.0, ended=20.0, slots=None, *notes):
    return Session(started, ended, {"here": 2} if slots is None else slots, notes)


def condition(at, word, platform="far"):
    return {"at": at, "platform": platform, "condition": word}


def test_what_was_not_measured_is_none():
    (figures,) = performance.platform_figures(["here"], [], [])
    assert (figures.attempts, figures.success, figures.availability) == (0, None, None)
    assert (figures.cpu, figures.gpu, figures.idle) == (None, None, None)
    assert performance.speed_up([Sweep("a", (attempt(),), ())]) is None
    assert performance.speed_up([Sweep("a", (), (session(),))]) is None


def test_slots_are_idle_while_no_job_runs_in_them():
    attempts = (attempt(ended_at=10.0), attempt(ended_at=25.0, run_s=10.0), attempt("far", ended_at=10.0))
    sweeps = [Sweep("a", attempts, (session(0.0, 20.0, {"here": 2, "far": 1}),))]
    # 10 s and the 5 s of the second that lie in the session, of 40 s
    assert performance.idle(sweeps, "here") == pytest.approx(1 - 15 / 40)
    assert performance.idle(sweeps, "far") == pytest.approx(0.5)
    assert performance.idle(sweeps) == pytest.approx(1 - 25 / 60)


def test_availability_is_the_share_of_the_time_since_a_platforms_first_word():
    notes = (
        condition(10.0, "available"),
        condition(70.0, "suspect"),
        condition(80.0, "down"),
        condition(90.0, "paused"),
    )
    sweeps = [Sweep("a", (), (session(0.0, 110.0, {"far": 1}, *notes),))]
    assert performance.availability(sweeps, "far") == pytest.approx((60 + 20) / 100)
    silent = Sweep("b", (), (session(0.0, 1000.0, {"far": 1}),))
    assert performance.availability([*sweeps, silent], "far") == pytest.approx(0.8)
    assert performance.availability([silent], "far") is None


def test_use_is_weighed_by_the_time_that_it_was_measured_over():
    notes = ({"platform": "here", "cpu": 90.0, "over_s": 30.0}, {"platform": "here", "cpu": 50.0, "over_s": 10.0})
    sweeps = [Sweep("a", (), (session(0.0, 40.0, None, *notes, {"platform": "far", "gpu": 70.0}),))]
    assert performance.use(sweeps, "cpu") == pytest.approx(0.8)
    assert performance.use(sweeps, "gpu", "far") == pytest.approx(0.7)
    assert performance.use(sweeps, "gpu", "here") is None


def test_success_leaves_out_what_was_ended_because_another_attempt_was_first():
    attempts = [attempt(), attempt(outcome="FAILED"), attempt(outcome="KILLED", current=False), attempt(outcome="LOST")]
    assert performance.success(attempts) == pytest.approx(1 / 3)


def test_what_was_pruned_succeeded_but_did_not_run_to_its_end():
    attempts = [attempt(run_s=30.0), attempt(run_s=10.0, outcome="PRUNED"), attempt(run_s=10.0, outcome="FAILED")]
    assert performance.success(attempts) == pytest.approx(2 / 3)
    assert performance.seconds(attempts) == [30.0]
    assert performance.speed_up([Sweep("a", tuple(attempts), (session(0.0, 20.0),))]) == pytest.approx(2.0)


def test_speed_up_counts_only_results_that_count():
    attempts = (attempt(run_s=30.0), attempt(run_s=50.0), attempt(run_s=100.0, current=False))
    assert performance.speed_up([Sweep("a", attempts, (session(0.0, 20.0),))]) == pytest.approx(4.0)


def test_models_have_the_median_of_the_runs_that_finished_on_each_platform():
    attempts = [attempt(run_s=s) for s in (1.0, 2.0, 9.0)] + [attempt(outcome="FAILED"), attempt("far", model=None)]
    glm, other = sorted(performance.model_figures(attempts), key=lambda one: one.platform == "far")
    assert (glm.model, glm.platform, glm.attempts, glm.runs, glm.median_s) == ("GLM", "here", 4, 3, 2.0)
    assert glm.success == pytest.approx(0.75)
    assert (other.model, other.platform) == (None, "far")


def ran(platform, seconds, model="XGBoost", first=0):
    return [
        attempt(platform, run_s=run_s, model=model, point=f"depth={number}")
        for number, run_s in enumerate(seconds, start=first)
    ]


def test_a_rule_costs_time_where_the_same_points_ran_clearly_faster_elsewhere():
    attempts = ran("far", [10.0, 12.0, 14.0, 900.0]) + ran("here", [4.0, 5.0, 6.0]) + ran("slow", [90.0] * 4)
    (cost,) = performance.rule_costs(attempts, {"XGBoost": "far"})
    assert (cost.model, cost.platform, cost.median_s, cost.runs) == ("XGBoost", "far", 12.0, 3)
    assert (cost.other, cost.other_median_s, cost.other_runs, cost.same_points) == ("here", 5.0, 3, True)


def test_without_common_points_all_runs_are_compared():
    attempts = ran("far", [10.0, 12.0, 14.0]) + ran("here", [4.0, 5.0, 6.0], first=10)
    (cost,) = performance.rule_costs(attempts, {"XGBoost": "far"})
    assert (cost.median_s, cost.other_median_s, cost.same_points) == (12.0, 5.0, False)


@pytest.mark.parametrize("elsewhere", [[9.0] * 3, [20.0] * 3, [1.0, 1.0]])
def test_a_little_faster_slower_or_too_few_is_no_cost(elsewhere):
    assert performance.rule_costs(ran("far", [10.0] * 3) + ran("here", elsewhere), {"XGBoost": "far"}) == []
