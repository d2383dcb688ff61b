"""Where a run of an MLflow project goes: by its parameters, by its own configuration, or what the backend is told."""

from pathlib import Path

import pytest

from small_trial import ROOT
from sweeproute.project_platforms import Routing, leaves, routing
from sweeproute.project_settings import BackendConfig, BackendConfigError, read

MACHINES = {"here": {"max_concurrent_jobs": 1}, "box": {"host": "far", "speed": {"Heavy": 4}}}
HEAVY = {"model": "heavy", "route_to": "box", "reason": "heavy work"}
HOST = "registry.platforms.remote_4090.host=far"


def routed(config: BackendConfig, project: Path, **params: str) -> Routing:
    return routing(config, project, params, "foreign:main")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_rule_matches_on_a_parameter(tmp_path: Path) -> None:
    config = BackendConfig(platforms=MACHINES, rules=(HEAVY,))
    found = routed(config, tmp_path, model="Heavy")
    assert (found.home.platform, found.home.reason, found.here) == ("box", "heavy work", ("here",))
    # What decided once decides again while it waits, and is learned of as no model's trial.
    assert found.launcher["rules"] == [{"model_type": "foreign:main", "route_to": "box", "reason": "heavy work"}]
    assert found.facts == {"platform": None, "model_type": "foreign:main"}
    assert routed(config, tmp_path, model="light").home.platform == "here"


def test_a_platform_is_forced_and_what_is_not_there_falls_back_with_the_reason(tmp_path: Path) -> None:
    config = BackendConfig(platforms=MACHINES, platform="box")
    assert (routed(config, tmp_path).home.platform, routed(config, tmp_path).home.reason) == ("box", "asked for")
    away = BackendConfig(platforms=MACHINES | {"box": {}}, rules=(HEAVY,))
    found = routed(away, tmp_path, model="heavy")
    assert (found.home.platform, found.home.status) == ("here", "scheduled_fallback")
    assert found.home.reason.startswith("box has no host configured")


def test_this_project_goes_by_its_own_configuration_as_its_trials_do() -> None:
    config = BackendConfig(overrides=(HOST,))
    found = routed(config, ROOT, model="xgboost", seed="1", overrides="model.params.max_depth=3 'sweep.note=a b'")
    assert (found.home.platform, found.home.reason) == ("remote_4090", "GPU acceleration available")
    assert found.launcher["platforms"]["remote_4090"]["speed"] == {"foreign:main": 10.0}
    assert found.facts["memory_gb"] == 1
    # A sweep is routed as a whole, by the first of what it lists.
    assert routed(config, ROOT, model="glm,xgboost").home.platform == "local_m4"
    assert routed(config, ROOT, model="glm", overrides="platform=remote_4090").home.reason == "asked for"
    # Parameters of another entry point say nothing of a model.
    assert routed(config, ROOT, sweep="last", metric="auc").home.platform == "local_m4"


def test_a_foreign_project_is_routed_by_the_configuration_of_the_working_directory(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    config = BackendConfig(overrides=(HOST,))
    found = routed(config, tmp_path, model="xgboost")
    assert found.home.platform == "local_m4", "its parameters are no overrides of this project's"
    found = routed(BackendConfig(overrides=(HOST,), job={"model_type": "XGBoost"}), tmp_path)
    assert (found.home.platform, found.home.reason) == ("remote_4090", "GPU acceleration available")


def test_a_configuration_that_routes_nothing_is_passed_over(tmp_path: Path) -> None:
    conf = tmp_path / "project" / "conf"
    conf.mkdir(parents=True)
    (conf / "config.yaml").write_text("lr: 0.1\n")
    found = routed(BackendConfig(), conf.parent, lr="0.2")
    assert (found.home.platform, found.home.reason) == ("local", "no rule matches")


def test_each_fact_has_a_key_of_its_own() -> None:
    assert leaves({"a-b": 1, "a.b": 2, "c": 3}) == {"a-b": "a_b", "a.b": "a_b_", "c": "c"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"platfrom": "box"}, r"no key 'platfrom'. Keys, nearest match first: platform, "),
        ({"env": "TOKEN"}, r"env of --backend-config is 'TOKEN'. It takes a list of names"),
        ({"attempts": 0}, "attempts of --backend-config is 0. It takes a whole number from 1 up"),
        ({"attempts": True}, "attempts of --backend-config is True"),
        ({"config_dir": "nowhere"}, "It takes the path of a folder that has a config.yaml"),
        ({"ENV_MANAGER": "conda"}, "Say --env-manager local"),
    ],
)
def test_what_the_backend_cannot_serve_is_a_sentence(given, says) -> None:
    with pytest.raises(BackendConfigError, match=says):
        read(given)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (BackendConfig(platforms=MACHINES, platform="bxo"), r"'bxo', which is not in the registry. Allowed: box, here"),
        (
            BackendConfig(platforms=MACHINES, rules=({**HEAVY, "route_to": "rack"},)),
            r"Routing rule 1 \(model=heavy\) names the platform 'rack'",
        ),
        (BackendConfig(platforms={"here": {"slots": 2}}), "slots"),
        (BackendConfig(platforms=MACHINES, job={"memory_gb": "much"}), "job.memory_gb is 'much'. It takes a number."),
        (BackendConfig(overrides=("registry=mine",)), "Name one: config_dir"),
    ],
)
def test_what_no_platform_can_serve_is_a_sentence(config: BackendConfig, says: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=says):
        routed(config, tmp_path)
