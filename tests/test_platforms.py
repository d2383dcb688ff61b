"""What the registry says is what the launcher believes, or is refused in a sentence."""

import dataclasses
from typing import get_args

import pytest
import yaml
from omegaconf import OmegaConf

from hydra_plugins.sweeproute import _machines, _platforms
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._platforms import read
from hydra_plugins.sweeproute._policy import JobClass, Overflow
from hydra_plugins.sweeproute.config import PlatformConf, RoutedLauncherConf
from small_app import start_sweep

# A registry that was kept by hand long before this launcher, to the letter.
THEIRS = """\
# py/compute/hardware_registry.yaml
platforms:
  local_m4:
    name: "M4 MacBook (Local)"
    capabilities:
      - R_tidymodels
      - Python_sklearn
      - XGBoost_CPU
      - LightGBM_CPU
    specs:
      cpu_cores: 10
      memory_gb: 24
      gpu: false
    best_for:
      - GLM_baseline
      - Random_Forest_CPU
      - R_based_models
      - Feature_engineering
    max_concurrent_jobs: 4

  remote_4090:
    name: "RTX 4090 Workstation"
    capabilities:
      - PyTorch_GPU
      - XGBoost_GPU
      - Neural_Networks
      - Deep_RL
    specs:
      cpu_cores: 16
      memory_gb: 64
      gpu: "RTX 4090 24GB"
      cuda_version: "12.1"
    best_for:
      - Neural_networks
      - XGBoost_GPU
      - DQN_PPO_training
      - Large_batch_training
    max_concurrent_jobs: 2  # GPU memory limit

task_routing_rules:
  # Route by model type
  - model_type: "GLM"
    route_to: "local_m4"
    reason: "CPU-bound, R tidymodels optimized"

  - model_type: "XGBoost"
    route_to: "remote_4090"
    reason: "GPU acceleration available"

  - model_type: "RandomForest"
    route_to: "local_m4"
    reason: "Parallel CPU training efficient"

  - model_type: "NeuralNetwork"
    route_to: "remote_4090"
    reason: "Requires GPU for reasonable training time"

  - model_type: "RL_DQN"
    route_to: "remote_4090"
    reason: "GPU-accelerated replay buffer"
"""

APP = {
    "config.yaml": """
defaults:
  - sweeproute/registry@registry
  - registry: theirs
  - override hydra/launcher: routed
  - _self_
hydra:
  launcher:
    platforms: ${registry.platforms}
    rules: ${registry.task_routing_rules}
    sets: {device: device, threads: threads}
    fields: {model_type: model.type}
model: {type: GLM}
device: auto
threads: null
""",
    "registry/theirs.yaml": THEIRS,
}

HERE = {"max_concurrent_jobs": 2, "specs": {"cpu_cores": 8, "memory_gb": 4}}
THERE = {"max_concurrent_jobs": 2, "specs": {"cpu_cores": 16, "memory_gb": 64, "gpu": "RTX 4090 24GB"}}


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(_platforms, "_cores_here", lambda: 8)


def master_of(**launcher):
    return OmegaConf.create({"hydra": {"launcher": {"platforms": {}, **launcher}}})


def registry(platforms=None, rules=(), **settings):
    return read(RoutedLauncherConf(platforms=platforms or {}, rules=list(rules), **settings), master_of())


def job(**fields):
    return JobClass(fields=tuple(sorted(fields.items())))


@pytest.fixture
def theirs(tmp_path, monkeypatch, hydra_restore_singletons):
    monkeypatch.chdir(tmp_path)
    _, master = start_sweep(tmp_path, APP)
    settings = {str(key): master.hydra.launcher[key] for key in master.hydra.launcher}
    return read(RoutedLauncherConf(**settings), master)


def test_a_registry_kept_by_hand_loads_as_it_is_and_gives_its_routes_with_their_reasons(theirs):
    written = yaml.safe_load(THEIRS)
    assert len(written["task_routing_rules"]) == 5
    for rule in written["task_routing_rules"]:
        assert theirs.policy.target(job(model_type=rule["model_type"])) == (rule["route_to"], rule["reason"])
    assert theirs.policy.target(job(model_type="LightGBM")) == ("local_m4", "no rule matches")
    assert theirs.policy.target(job()) == ("local_m4", "no rule matches")


def test_its_platforms_are_this_machine_and_one_without_a_host(theirs):
    here, there = theirs.platforms["local_m4"], theirs.platforms["remote_4090"]
    assert (here.slots, here.threads, here.device) == (4, 2, "cpu")
    assert (there.slots, there.threads, there.device) == (2, 8, "cuda")
    assert theirs.unavailable == {"remote_4090": "has no host configured (set registry.platforms.remote_4090.host)"}
    assert theirs.gpu_memory_gb("remote_4090") == 24
    assert theirs.memory_gb("remote_4090") == 64
    assert 0 < theirs.memory_gb("local_m4") <= 24
    home = theirs.policy.home(job(model_type="XGBoost"), {state.name: state for state in theirs.states()})
    assert (home.platform, home.status) == ("local_m4", "scheduled_fallback")
    assert home.reason == "remote_4090 has no host configured (set registry.platforms.remote_4090.host)"


def test_jobs_that_read_the_folders_of_sweeps_stay_here_whatever_the_registry_names(theirs):
    reads = dataclasses.replace(job(model_type="Ensemble_average"), capabilities=("sweep_folders",))
    states = {state.name: state for state in theirs.states()}
    home = theirs.policy.home(reads, states)
    assert (home.platform, home.status) == ("local_m4", "scheduled")
    assert home.reason == "no rule matches, and it has sweep_folders"
    assert theirs.capabilities("remote_4090") == ("PyTorch_GPU", "XGBoost_GPU", "Neural_Networks", "Deep_RL")
    both = {"there": THERE | {"backend": "ssh", "host": "box"}, "here": HERE | {"backend": "joblib"}}
    found = registry(both)
    home = found.policy.home(reads, {state.name: state for state in found.states()})
    assert (home.platform, home.status, home.reason) == ("here", "scheduled_fallback", "there lacks sweep_folders")
    with pytest.raises(SettingsError, match="A job requires sweep_folders, and no platform that it may use can do"):
        found.policy.home(dataclasses.replace(reads, asked="there"), {state.name: state for state in found.states()})


def test_without_settings_there_is_this_machine_with_a_slot_per_core():
    found = registry()
    assert list(found.platforms) == ["local"]
    assert (found.platforms["local"].slots, found.platforms["local"].threads) == (8, 1)
    assert found.policy.target(job(anything=1)) == ("local", "no rule matches")
    assert found.unavailable == {}
    assert found.gpu_memory_gb("local") == 0


def test_the_first_platform_is_this_machine_and_others_are_reached_by_ssh():
    found = registry({"here": HERE, "there": THERE, "also_here": HERE | {"backend": "joblib"}})
    assert [found.local(name) for name in ("here", "there", "also_here")] == [True, False, True]
    assert set(found.unavailable) == {"there"}


def test_a_message_names_the_key_under_which_the_platforms_were_written():
    conf = RoutedLauncherConf(platforms={"here": HERE, "there": THERE})
    pointed = OmegaConf.create({"hydra": {"launcher": {"platforms": "${mine.machines}"}}, "mine": {"machines": {}}})
    assert read(conf, pointed).unavailable["there"].endswith("(set mine.machines.there.host)")
    assert read(conf, master_of()).unavailable["there"].endswith("(set hydra.launcher.platforms.there.host)")


@pytest.mark.parametrize(
    ("gpu", "memory_gb", "device"),
    [
        (False, 0, "cpu"),
        (None, 0, "cpu"),
        ("", 0, "cpu"),
        (True, float("inf"), "cuda"),
        ("RTX 4090 24GB", 24, "cuda"),
        ("H100 80 GB", 80, "cuda"),
        ("mig 9.5gb", 9.5, "cuda"),
        ("A100", float("inf"), "cuda"),
    ],
)
def test_the_gpus_memory_is_read_from_its_name(gpu, memory_gb, device):
    found = registry({"here": HERE, "box": {"specs": {"gpu": gpu, "cpu_cores": 4}}})
    assert found.gpu_memory_gb("box") == memory_gb
    assert found.platforms["box"].device == device


def test_threads_of_a_job_are_the_platforms_cores_over_its_slots():
    found = registry(
        {
            "here": {"max_concurrent_jobs": 3},
            "box": {"max_concurrent_jobs": 3, "specs": {"cpu_cores": 16}},
            "small": {"max_concurrent_jobs": 4, "specs": {"cpu_cores": 2}},
            "unknown": {"max_concurrent_jobs": 4},
        }
    )
    assert {name: platform.threads for name, platform in found.platforms.items()} == {
        "here": 2,
        "box": 5,
        "small": 1,
        "unknown": None,
    }


def test_this_machine_is_not_believed_to_have_what_it_has_not():
    found = registry({"here": {"max_concurrent_jobs": 20, "specs": {"cpu_cores": 64, "memory_gb": 1e6}}})
    assert (found.platforms["here"].slots, found.platforms["here"].threads) == (8, 1)
    assert found.notes == ("here has 8 cores here: 8 of its 20 slots are used.",)
    assert found.memory_gb("here") < 1e6


def test_the_local_backends_number_of_jobs_limits_slots():
    conf = RoutedLauncherConf(platforms={"here": HERE | {"max_concurrent_jobs": 4}})
    conf.joblib["n_jobs"] = 2
    found = read(conf, master_of())
    assert (found.platforms["here"].slots, found.platforms["here"].threads) == (2, 4)


def test_rules_may_match_on_more_than_the_model_type_and_the_first_that_matches_counts():
    rules = [
        {"model_type": "GLM", "size": "large", "route_to": "there", "reason": "large"},
        {"model_type": "GLM", "route_to": "here", "reason": "small"},
    ]
    found = registry({"here": HERE, "there": THERE}, rules, default_platform="there")
    assert found.policy.target(job(model_type="glm", size="large")) == ("there", "large")
    assert found.policy.target(job(model_type="GLM", size="medium")) == ("here", "small")
    assert found.policy.target(job(model_type="other")) == ("there", "no rule matches")


def refusal(*args, **kwargs):
    with pytest.raises(SettingsError) as refused:
        registry(*args, **kwargs)
    said = str(refused.value)
    assert "\n" not in said
    return said


def test_a_rule_without_a_platform_is_refused():
    said = refusal({"here": HERE}, [{"model_type": "A", "reason": "r"}, {"route_to": "here", "reason": "r"}])
    assert said.startswith("Routing rule 1 ({'model_type': 'A', 'reason': 'r'}) has no route_to.")


def test_a_rule_to_a_platform_that_is_not_there_names_the_nearest():
    rules = [
        {"model_type": "A", "route_to": "here", "reason": "r"},
        {"model_type": "B", "route_to": "remote_409", "reason": "r"},
    ]
    said = refusal({"here": HERE, "there": THERE, "remote_4090": THERE}, rules)
    assert "Routing rule 2 (model_type=B) names the platform 'remote_409'" in said
    assert "Allowed: remote_4090, " in said


def test_a_default_platform_that_is_not_there_names_the_nearest():
    assert "'hre'" in (said := refusal({"there": THERE, "here": HERE}, default_platform="hre"))
    assert "Allowed: here, there" in said


def test_a_rule_that_is_no_mapping_is_refused():
    assert "Routing rule 1 ('GLM -> here')" in refusal({"here": HERE}, ["GLM -> here"])


def test_a_rule_that_matches_on_several_values_is_refused_rather_than_never_matched():
    said = refusal({"here": HERE}, [{"model_type": ["A", "B"], "route_to": "here", "reason": "r"}])
    assert "Routing rule 1 matches model_type on ['A', 'B']" in said


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ({"max_concurent_jobs": 2}, ["max_concurent_jobs", "Allowed: max_concurrent_jobs, "]),
        ({"specs": {"memory": 4}}, ["specs.memory ", "Allowed: memory_gb, "]),
        ({"specs": {"cpu_cores": "many"}}, ["many", "cpu_cores"]),
        ({"max_concurrent_jobs": "four"}, ["four", "max_concurrent_jobs"]),
        (5, ["here", "5"]),
    ],
    ids=str,
)
def test_an_entry_that_does_not_read_is_refused_with_what_is_allowed(entry, names):
    said = refusal({"here": entry})
    for name in ["hydra.launcher.platforms.here", *names]:
        assert name in said


@pytest.mark.parametrize("backend", ["jobib", "SSH", "sge"])
def test_a_backend_that_is_not_there_is_refused(backend):
    said = refusal({"here": HERE | {"backend": backend}})
    assert f"hydra.launcher.platforms.here.backend is '{backend}'. Allowed: " in said
    if backend == "jobib":
        assert "Allowed: joblib, ssh, slurm" in said


@pytest.mark.parametrize("slots", [0, -1])
def test_a_platform_without_slots_is_refused(slots):
    assert f"hydra.launcher.platforms.here.max_concurrent_jobs is {slots}. It takes 1 or more" in refusal(
        {"here": HERE | {"max_concurrent_jobs": slots}}
    )


@pytest.mark.parametrize("size", [0, -1, float("nan")])
def test_a_cache_without_room_is_refused_and_one_without_a_limit_is_not(size):
    assert f"hydra.launcher.platforms.here.cache_gb is {size}. It takes more than 0 GB, or null" in refusal(
        {"here": HERE | {"cache_gb": size}}
    )
    assert registry({"here": HERE | {"cache_gb": None}}).settings["here"].cache_gb is None


def test_a_platform_may_set_where_and_how_a_job_runs_and_nothing_else():
    sets = {"device": "trial.device", "threads": "trial.threads"}
    found = registry({"here": HERE | {"overrides": ["trial.device=cuda"]}}, sets=sets)
    assert found.platforms["here"].overrides == ("trial.device=cuda",)
    said = refusal({"here": HERE | {"overrides": ["trial.depth=5"]}}, sets=sets)
    assert "hydra.launcher.platforms.here.overrides sets 'trial.depth'" in said
    assert "trial.device, trial.threads" in said
    assert "hydra.launcher.sets is empty" in refusal({"here": HERE | {"overrides": ["trial.device=cuda"]}})


def test_platforms_that_are_no_mapping_are_refused():
    assert "hydra.launcher.platforms is ['here']" in refusal(["here"])


def test_an_override_of_a_platform_without_a_value_is_refused():
    assert "'trial.device'" in refusal(
        {"here": HERE | {"overrides": ["trial.device"]}}, sets={"device": "trial.device"}
    )


def test_overflow_is_one_of_its_three_words():
    for word in get_args(Overflow):
        assert registry({"here": HERE}, overflow=word).policy.overflow == word
    assert "hydra.launcher.overflow is 'allways'. Allowed: always, " in refusal({"here": HERE}, overflow="allways")


def test_gpu_memory_and_speed_reach_the_policy():
    found = registry({"here": HERE, "there": THERE | {"speed": {"XGBoost": 10}}})
    state = {state.name: state for state in found.states()}["there"]
    assert (state.slots, state.gpu_memory_gb, state.speed, state.available) == (2, 24, {"XGBoost": 10}, False)
    assert state.why == "has no host configured (set hydra.launcher.platforms.there.host)"


def test_capabilities_reach_the_policy_and_this_machines_alone_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "looked.py").write_text("def lacks(name):\n    return f'{name} is gone' if name == 'R' else None\n")
    able = {"capabilities": ["R", "Python"]}
    found = registry({"here": HERE | able, "there": THERE | able}, lacks="looked.lacks")
    here, there = found.states()
    assert (here.capabilities, there.capabilities) == (("R", "Python", "sweep_folders"), ("R", "Python"))
    assert (here.lacking, there.lacking) == ({"R": "R is gone"}, {})
    with pytest.raises(SettingsError, match=r"hydra.launcher.lacks is 'looked.no', which cannot be had"):
        registry({"here": HERE}, lacks="looked.no")


def test_a_platform_has_the_fields_of_the_registry_kept_by_hand():
    fields = {field.name for field in dataclasses.fields(PlatformConf)}
    for entry in yaml.safe_load(THEIRS)["platforms"].values():
        assert set(entry) <= fields


def test_a_far_machine_that_said_how_many_cores_it_has_is_not_given_more_threads(monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path))
    box = {"host": "me@box", "max_concurrent_jobs": 2, "specs": {"cpu_cores": 16}}
    conf = RoutedLauncherConf(platforms={"here": {}, "box": box})
    master = OmegaConf.create({"hydra": {"launcher": {"platforms": {}}}})
    assert read(conf, master).platforms["box"].threads == 8
    _machines.remember("box", "me@box", 4)
    found = read(conf, master)
    assert found.platforms["box"].threads == 2
    assert any("box has 4 cores, not the 16 of" in note for note in found.notes)
    _machines.remember("box", "me@another", 1)  # what another host said is not this one's
    assert read(conf, master).platforms["box"].threads == 8


def test_where_the_coordinator_runs_on_another_machine_the_folders_of_sweeps_are_there():
    found = registry({"near": HERE, "far": THERE | {"host": "box"}}, here="far")
    assert [found.capabilities(name) for name in ("near", "far")] == [(), ("sweep_folders",)]
