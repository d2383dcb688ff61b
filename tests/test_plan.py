"""A plan says of each job where it would run, why, for how long, and runs none."""

import json
import sys
from datetime import datetime

import pytest

from hydra_plugins.sweeproute import _plan
from hydra_plugins.sweeproute._compose import Composer
from hydra_plugins.sweeproute._deadline import read_time
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._plan import Plan
from hydra_plugins.sweeproute._source import Points
from routed_app import CONF, MASTER, PLATFORMS, on_eight_cores, settings
from small_app import singletons_kept, start_sweep

REACHED = PLATFORMS | {"far": {**PLATFORMS["far"], "host": "me@box", "speed": {"Net": 10}}}
RULES = [
    {"model_type": "Net", "route_to": "far", "reason": "it is fast"},
    {"model_type": "GLM", "route_to": "here", "reason": "it is small"},
]
NETS = {number: ("model=net", f"trial.depth={number}") for number in range(20)}


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    with singletons_kept():
        yield start_sweep(tmp_path_factory.mktemp("app"), CONF)


@pytest.fixture
def plan_of(tmp_path, monkeypatch, composed):
    """From points and settings to a plan."""
    on_eight_cores(monkeypatch)
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))

    def make(points, history=(), rule=None, **changes) -> Plan:
        (tmp_path / "state").mkdir(exist_ok=True)
        (tmp_path / "state" / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history))
        conf = settings(**{"rules": RULES, "overflow": "never"} | changes)
        return _plan.make(conf, MASTER, Composer(*composed), Points(points), rule)

    return make


def where(plan):
    return {(job.platform, job.status, job.reason) for job in plan.jobs}


def test_a_platform_without_a_host_is_planned_around_and_named(plan_of):
    plan = plan_of(NETS)
    (only,) = where(plan)
    assert only[1:] == (
        "scheduled_fallback",
        "far has no host configured (set hydra.launcher.platforms.far.host)",
    )
    assert plan.registry.unavailable.keys() == {"far"}
    assert plan.distribution["far"] == 0
    assert plan.jobs[0].considered[0].platform != only[0]


def test_with_a_host_jobs_go_where_the_rules_say(plan_of):
    plan = plan_of(NETS | {20: ("model=glm",)}, platforms=REACHED)
    assert where(plan) == {("far", "scheduled", "it is fast"), ("here", "scheduled", "it is small")}
    assert plan.distribution == {"here": 1, "box": 0, "far": 20}
    assert [job.number for job in plan.jobs] == list(range(21))
    assert plan.jobs[3].overrides == ("model=net", "trial.depth=3")


def test_what_is_full_overflows_as_in_a_sweep(plan_of):
    plan = plan_of(NETS, platforms=REACHED, overflow="always")
    reasons = {job.platform: job.reason for job in plan.jobs}
    assert reasons["far"] == "it is fast"
    assert reasons["box"] == "far is full: overflow to box"
    assert sum(plan.distribution.values()) == 20


def test_the_length_of_a_sweep_follows_from_its_jobs_and_slots(plan_of):
    plan = plan_of(NETS, platforms=REACHED)
    # 20 jobs of two minutes at ten times the speed, one after another
    assert plan.seconds == pytest.approx(20 * 12.0)
    assert plan.sequential_s == pytest.approx(plan.seconds)
    assert {job.estimate.basis for job in plan.jobs} == {"stated"}
    assert (plan.end - plan.made_at).total_seconds() == pytest.approx(plan.seconds)
    two = plan_of({number: ("model=glm", f"trial.depth={number}") for number in range(20)})
    assert two.seconds == pytest.approx(10 * 120.0)
    assert two.sequential_s == pytest.approx(20 * 120.0)
    assert sorted(job.starts_s for job in two.jobs)[:3] == [0.0, 0.0, 120.0]


def test_what_has_finished_there_is_what_a_job_is_expected_to_take(plan_of):
    ran = {"model": "GLM", "platform": "here", "overrides": ["model=glm"], "seconds": 5.0, "outcome": "FINISHED"}
    plan = plan_of({0: ("model=glm",)}, [ran])
    assert (plan.jobs[0].estimate.seconds, plan.jobs[0].estimate.basis) == (5.0, "measured")


def test_jobs_that_no_platform_takes_are_queued_with_the_reason(plan_of):
    points = {0: ("model=net", "memory=100"), 1: ("model=net",)}
    big = {"far": {**PLATFORMS["far"], "specs": {"memory_gb": 200}}}
    plan = plan_of(points, platforms=PLATFORMS | big)
    assert plan.jobs[0].status == "queued"
    assert (plan.jobs[0].platform, plan.jobs[0].starts_s, plan.jobs[0].estimate) == (None, None, None)
    assert "box has 64 GB of memory in all, 100 GB needed" in plan.jobs[0].reason
    assert plan.jobs[1].status == "scheduled_fallback"


def test_what_a_sweep_would_refuse_a_plan_refuses(plan_of):
    with pytest.raises(SettingsError, match="far was asked for, and it has no host configured"):
        plan_of({0: ("place.name=far",)})


@pytest.mark.parametrize(
    ("written", "hour", "minute"),
    [("2026-11-25T18:30", 18, 30), ("2026-11-25 18:30:00", 18, 30), ("2026-11-25", 23, 59)],
)
def test_a_deadline_without_a_zone_is_this_machines_and_a_day_is_its_end(written, hour, minute):
    found = read_time(written)
    assert found.tzinfo is not None
    assert found.replace(tzinfo=None, second=0, microsecond=0) == datetime(2026, 11, 25, hour, minute)


def test_a_deadline_with_a_zone_is_that_time():
    assert read_time("2026-11-25T18:00+02:00").timestamp() == 1795622400


def test_a_deadline_that_is_none_is_refused(plan_of):
    with pytest.raises(SettingsError, match=r"hydra.launcher.deadline is 'tomorrow'. It takes a time, as in 2026-"):
        plan_of(NETS, deadline="tomorrow")


FORESEEN = """
def two_rounds(jobs, rule):
    assert rule == {"metric": "auc", "direction": "maximize", "repeats": []}
    assert [one["config"].model.type for one in jobs] == ["GLM", "GLM", "Net"]
    again = [[*jobs[0]["overrides"], "trial.depth=7"], [*jobs[1]["overrides"], "trial.depth=8"]]
    return [
        {"round": 2, "says": "one more net.", "jobs": [["model=net", "trial.device=cpu"]]},
        {"round": 1, "says": "two of these again.", "jobs": again},
    ]


def nowhere(jobs, rule):
    return [{"round": 1, "says": "one that needs R.", "jobs": [["model=glm", "needs=[R]", "memory=60"]]}]


def nothing(jobs, rule):
    return []


def wrong(jobs, rule):
    return ["one"]
"""
RULE = {"metric": "auc", "direction": "maximize", "repeats": []}
# Two of a minute that run on two slots at once, and one that takes two.
MIXED = {0: ("model=glm", "long=1"), 1: ("model=glm", "long=3"), 2: ("model=net", "long=2", "place=box")}


@pytest.fixture
def app_says(tmp_path, monkeypatch):
    """An app that says beforehand what will follow."""
    (tmp_path / "foreseen.py").write_text(FORESEEN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("foreseen", None)


def test_what_follows_starts_when_all_else_has_ended_and_each_round_waits_for_the_one_before(plan_of, app_says):
    hooks = {"follow_up": "foreseen.nothing", "foresee": "foreseen.two_rounds"}
    made = plan_of(MIXED, rule=RULE, **hooks)
    assert [one.says for one in made.afterwards.following] == ["two of these again.", "one more net."]
    # Jobs of a model that was planned take what that takes on average, another what is stated of it.
    assert made.own_s == 180.0
    assert made.afterwards.seconds == 120.0 + 120.0
    assert made.afterwards.sequential_s == 2 * 120.0 + 120.0
    assert (made.seconds, made.afterwards.jobs) == (420.0, 3)
    assert (made.end - made.made_at).total_seconds() == 420.0
    assert len(made.jobs) == 3  # no decision about those of which nothing is certain


def test_what_has_followed_before_is_what_it_is_expected_to_take(plan_of, app_says):
    ran = {"model": "GLM", "platform": "here", "outcome": "FINISHED"}
    history = [
        {**ran, "overrides": ["model=glm", "long=1", "trial.depth=7"], "seconds": 5.0},
        {**ran, "overrides": ["model=glm", "long=3", "trial.depth=8"], "seconds": 9.0},
        {**ran, "overrides": ["model=glm", "long=3"], "seconds": 30.0},
        {**ran, "overrides": ["model=glm", "long=1"], "seconds": 30.0},
    ]
    made = plan_of(MIXED, history, RULE, follow_up="foreseen.nothing", foresee="foreseen.two_rounds")
    assert made.afterwards.seconds == 9.0 + 120.0


def test_nothing_is_foreseen_where_nothing_would_follow(plan_of, app_says):
    made = plan_of(MIXED, rule=RULE, foresee="foreseen.two_rounds")
    assert made.afterwards.following == ()
    assert made.seconds == made.own_s


def test_what_could_not_run_afterwards_is_said(plan_of, app_says):
    hooks = {"follow_up": "foreseen.nothing", "foresee": "foreseen.nowhere"}
    gone = {**PLATFORMS, "box": {**PLATFORMS["box"], "backend": "ssh"}}
    with pytest.raises(SettingsError, match="R"):
        plan_of(MIXED | {2: ("model=net",)}, rule=RULE, platforms={"here": PLATFORMS["here"]}, **hooks)
    made = plan_of({0: ("model=glm",)}, rule=RULE, platforms=gone, **hooks)
    assert made.afterwards.seconds == 0.0
    assert "box has no host configured" in made.afterwards.nowhere[0]


@pytest.mark.parametrize(
    ("hook", "sentence"),
    [("foreseen.wrong", "gave .'one'. .*It gives a list of mappings: round"), ("foreseen.gone", "cannot be had")],
)
def test_an_app_that_says_it_wrongly_is_told_so(plan_of, app_says, hook, sentence):
    with pytest.raises(SettingsError, match=sentence):
        plan_of(MIXED, rule=RULE, follow_up="foreseen.nothing", foresee=hook)
