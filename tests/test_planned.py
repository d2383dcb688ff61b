"""A plan that is run sends each job where it was planned, or is refused in a sentence."""

import dataclasses
import json

import pytest
from omegaconf import OmegaConf

from hydra_plugins.sweeproute import _plan, _plan_file, _planned
from hydra_plugins.sweeproute._compose import Composer
from hydra_plugins.sweeproute._durations import Durations
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._platforms import read
from hydra_plugins.sweeproute._policy import JobClass
from hydra_plugins.sweeproute._source import Points
from routed_app import CONF, MASTER, PLATFORMS, on_eight_cores, settings
from small_app import singletons_kept, start_sweep

POINTS = {0: ("model=glm",), 1: ("model=net",), 2: ("model=net", "memory=100")}
RULES = [{"model_type": "Net", "route_to": "box", "reason": "it is fast"}]
LISTED = list(POINTS.values())


@pytest.fixture(scope="module")
def composer(tmp_path_factory):
    with singletons_kept():
        yield Composer(*start_sweep(tmp_path_factory.mktemp("app"), CONF))


@pytest.fixture
def plan(tmp_path, monkeypatch, composer):
    """The path of a plan of POINTS; no platform holds the last of them as long as far is not there."""
    on_eight_cores(monkeypatch)
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("sys.argv", [str(tmp_path / "app.py")])
    big = PLATFORMS | {"far": {**PLATFORMS["far"], "specs": {"memory_gb": 200}}}
    made = _plan.make(settings(rules=RULES, platforms=big), MASTER, composer, Points(POINTS))
    return _plan_file.write(made, composer, None, tmp_path)


def edit(plan, **changes):
    plan.write_text(json.dumps(json.loads(plan.read_text()) | changes))


def test_a_plan_is_read_back_as_it_was_made(plan):
    planned = _planned.read(plan)
    assert planned.points == POINTS
    assert planned.places == {0: ("here", "no rule matches"), 1: ("box", "it is fast")}


@pytest.mark.parametrize("where", [{"rules": RULES}, {"rules": OmegaConf.create(RULES)}, {"rules": []}])
def test_jobs_go_where_they_are_planned_whatever_the_rules_say_by_now(plan, where):
    planned = _planned.read(plan)
    conf = planned.settings(settings(**where, overflow="always"))
    assert not conf.restart_slow
    registry = read(conf, MASTER)
    assert registry.policy.overflow == "never"
    points = Points(planned.points, planned.fields())
    plain = JobClass((("model_type", "any"),))
    points.open(0.0, Durations(), lambda overrides: None, lambda number, overrides: plain)
    classes = {points.take(waits).num: waits for waits in list(points.waiting())}
    targets = {number: registry.policy.target(waits) for number, waits in classes.items()}
    assert targets[0] == ("here", "as planned: no rule matches")
    assert targets[1] == ("box", "as planned: it is fast")
    # one of which the plan knew no place is routed as ever
    assert classes[2] == plain


def test_where_the_planned_platform_is_not_there_a_job_falls_back(plan):
    planned = _planned.read(plan)
    registry = read(planned.settings(settings()), MASTER)
    job = JobClass(tuple(planned.fields()[1].items()))
    states = {state.name: state for state in registry.states()}
    states["box"] = dataclasses.replace(states["box"], available=False, why="does not answer")
    home = registry.policy.home(job, states)
    assert (home.platform, home.status, home.reason) == ("here", "scheduled_fallback", "box does not answer")


def test_a_plan_that_has_lost_jobs_is_run_without_them_under_their_numbers(plan):
    edit(plan, jobs=json.loads(plan.read_text())["jobs"][1:2])
    planned = _planned.read(plan)
    planned.check(LISTED, ["here", "box"])
    assert planned.points == {1: ("model=net",)}


@pytest.mark.parametrize(
    ("listed", "now"), [([("model=glm",), ("model=glm", "x=1")], "model=glm x=1"), ([("model=glm",)], "none")]
)
def test_a_plan_whose_command_lists_other_jobs_now_is_refused(plan, listed, now):
    with pytest.raises(SettingsError) as refused:
        _planned.read(plan).check(listed, PLATFORMS)
    assert f"Job 1 of the plan {plan} is model=net, and of this command it is {now}. Make a new plan" in str(
        refused.value
    )


def test_a_plan_for_a_platform_that_is_not_in_the_registry_is_refused(plan):
    with pytest.raises(
        SettingsError, match=r"names the platform 'box', which is not in the registry. Allowed: boxx, here"
    ):
        _planned.read(plan).check(LISTED, ["here", "boxx"])


def test_a_plan_of_the_same_code_and_configuration_is_accepted(plan, composer):
    _planned.read(plan).check_identity(composer, None)


def test_changed_code_is_told(plan, composer, tmp_path):
    (tmp_path / "app.py").write_text("x = 1\n")
    with pytest.raises(
        SettingsError, match=r"was made, the code \(\w{8} -> \w{8}\) of model=glm has changed. Make a new"
    ):
        _planned.read(plan).check_identity(composer, None)


def test_changed_configuration_is_told(plan, composer):
    identity = json.loads(plan.read_text())["identity"]
    identity["model=net"]["fingerprint"] = "0" * 64
    edit(plan, identity=identity)
    with pytest.raises(SettingsError, match=r"the configuration \(00000000 -> \w{8}\) of model=net has changed"):
        _planned.read(plan).check_identity(composer, None)


@pytest.mark.parametrize("text", ["", "{}", '{"jobs": 3}', '{"jobs": [{"job": 1}], "identity": {}}', '{"jobs": []}'])
def test_what_is_no_plan_is_refused(plan, text):
    plan.write_text(text)
    with pytest.raises(SettingsError, match=r"no plan can be read there|does not read: "):
        _planned.read(plan)
