"""The policy sends each job where the registry's rules say, and says why not when it cannot."""

import doctest
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from hydra_plugins.sweeproute import _policy
from hydra_plugins.sweeproute._admission import DoesNotFitError, IncapableError, RoutingError, UnknownPlatformError
from hydra_plugins.sweeproute._policy import Alternative, JobClass, PlatformState, Policy, Rule

# A hardware registry as its owner keeps it, by hand.
REGISTRY: dict[str, Any] = {
    "platforms": {
        "local_m4": {
            "name": "M4 MacBook (Local)",
            "capabilities": ["R_tidymodels", "Python_sklearn", "XGBoost_CPU", "LightGBM_CPU"],
            "specs": {"cpu_cores": 10, "memory_gb": 24, "gpu": False},
            "best_for": ["GLM_baseline", "Random_Forest_CPU", "R_based_models", "Feature_engineering"],
            "max_concurrent_jobs": 4,
        },
        "remote_4090": {
            "name": "RTX 4090 Workstation",
            "capabilities": ["PyTorch_GPU", "XGBoost_GPU", "Neural_Networks", "Deep_RL"],
            "specs": {"cpu_cores": 16, "memory_gb": 64, "gpu": "RTX 4090 24GB", "cuda_version": "12.1"},
            "best_for": ["Neural_networks", "XGBoost_GPU", "DQN_PPO_training", "Large_batch_training"],
            "max_concurrent_jobs": 2,
        },
    },
    "task_routing_rules": [
        {"model_type": "GLM", "route_to": "local_m4", "reason": "CPU-bound, R tidymodels optimized"},
        {"model_type": "XGBoost", "route_to": "remote_4090", "reason": "GPU acceleration available"},
        {"model_type": "RandomForest", "route_to": "local_m4", "reason": "Parallel CPU training efficient"},
        {
            "model_type": "NeuralNetwork",
            "route_to": "remote_4090",
            "reason": "Requires GPU for reasonable training time",
        },
        {"model_type": "RL_DQN", "route_to": "remote_4090", "reason": "GPU-accelerated replay buffer"},
    ],
}
NO_HOST = "has no host configured (set registry.platforms.remote_4090.host)"


def rules() -> list[Rule]:
    read = []
    for line in REGISTRY["task_routing_rules"]:
        match = {key: value for key, value in line.items() if key not in ("route_to", "reason")}
        read.append(Rule(match, line["route_to"], line["reason"]))
    return read


def platforms(**changes: Mapping[str, Any]) -> list[PlatformState]:
    states = []
    for name, entry in REGISTRY["platforms"].items():
        memory_gb = float(entry["specs"]["memory_gb"])
        gpu_gb = 24.0 if entry["specs"]["gpu"] else 0.0
        state = PlatformState(
            name,
            slots=entry["max_concurrent_jobs"],
            memory_gb=memory_gb,
            memory_free_gb=memory_gb,
            gpu_memory_gb=gpu_gb,
            gpu_memory_free_gb=gpu_gb,
            capabilities=tuple(entry["capabilities"]),
        )
        states.append(replace(state, **changes.get(name, {})))
    return states


def policy(overflow: _policy.Overflow = "when_faster") -> Policy:
    return Policy(rules(), "local_m4", "no rule matches", overflow)


def job(model: str = "XGBoost", **settings: Any) -> JobClass:
    return JobClass((("model_type", model),), **settings)


@pytest.mark.parametrize("line", REGISTRY["task_routing_rules"], ids=lambda line: line["model_type"])
def test_each_rule_of_the_owners_registry_routes_with_its_reason(line: dict[str, str]) -> None:
    decision = policy().decide(job(line["model_type"]), platforms(), now=0.0)
    assert (decision.status, decision.platform, decision.reason) == ("scheduled", line["route_to"], line["reason"])


def test_a_job_that_no_rule_matches_goes_to_the_default() -> None:
    decision = policy().decide(job("LightGBM"), platforms(), now=0.0)
    assert (decision.platform, decision.reason) == ("local_m4", "no rule matches")


def test_text_matches_in_any_case_and_every_key_of_a_rule_must_match() -> None:
    wide = Policy([Rule({"model_type": "xgboost", "trees": 500}, "remote_4090", "wide")], "local_m4")
    few, many = [JobClass((("model_type", "XGBoost"), ("trees", trees))) for trees in (100, 500)]
    assert wide.decide(few, platforms(), now=0.0).platform == "local_m4"
    assert wide.decide(many, platforms(), now=0.0).platform == "remote_4090"


def test_the_first_rule_that_matches_counts() -> None:
    twice = Policy([*rules(), Rule({"model_type": "GLM"}, "remote_4090", "later")], "local_m4")
    assert twice.decide(job("GLM"), platforms(), now=0.0).platform == "local_m4"


def test_a_platform_that_was_asked_for_beats_the_rules() -> None:
    decision = policy().decide(job("XGBoost", asked="local_m4"), platforms(), now=0.0)
    assert (decision.status, decision.platform, decision.reason) == ("scheduled", "local_m4", "asked for")


def test_a_job_waits_for_the_platform_that_was_asked_for() -> None:
    full = platforms(local_m4={"running": 4, "free_at": 1e9})
    decision = policy("always").decide(job(asked="local_m4"), full, now=0.0)
    assert (decision.status, decision.platform, decision.reason) == ("queued", "local_m4", "local_m4 is full")


def test_a_platform_that_was_asked_for_and_is_unavailable_leaves_the_job_nowhere() -> None:
    down = platforms(remote_4090={"available": False, "why": NO_HOST})
    decision = policy().decide(job("GLM", asked="remote_4090"), down, now=0.0)
    assert (decision.status, decision.platform, decision.reason) == ("queued", None, f"remote_4090 {NO_HOST}")


def test_without_a_host_the_workstations_jobs_fall_back_to_the_laptop() -> None:
    down = platforms(remote_4090={"available": False, "why": NO_HOST})
    decision = policy().decide(job("XGBoost"), down, now=0.0)
    assert (decision.status, decision.platform) == ("scheduled_fallback", "local_m4")
    assert decision.reason == "remote_4090 has no host configured (set registry.platforms.remote_4090.host)"
    assert decision.considered == (Alternative("remote_4090", NO_HOST),)


def test_the_laptops_jobs_fall_back_to_the_workstation() -> None:
    down = platforms(local_m4={"available": False, "why": "is paused"})
    decision = policy().decide(job("GLM"), down, now=0.0)
    assert (decision.status, decision.platform) == ("scheduled_fallback", "remote_4090")
    assert decision.reason == "local_m4 is paused"


def test_the_fallback_is_the_fastest_platform_left() -> None:
    third = PlatformState("cluster", slots=1, speed={"XGBoost": 3.0})
    down = [*platforms(remote_4090={"available": False, "why": NO_HOST}), third]
    assert policy().decide(job("XGBoost"), down, now=0.0).platform == "cluster"
    assert policy().decide(job("NeuralNetwork"), down, now=0.0).platform == "local_m4"


def test_a_full_fallback_queues_the_job_there() -> None:
    down = platforms(remote_4090={"available": False, "why": NO_HOST}, local_m4={"running": 4})
    decision = policy().decide(job("XGBoost"), down, now=0.0)
    assert (decision.status, decision.platform, decision.reason) == ("queued", "local_m4", "local_m4 is full")


def test_with_every_platform_down_the_reason_names_each() -> None:
    down = platforms(
        remote_4090={"available": False, "why": "is down"}, local_m4={"available": False, "why": "is paused"}
    )
    decision = policy().decide(job("XGBoost"), down, now=0.0)
    assert (decision.status, decision.platform) == ("queued", None)
    assert decision.reason == "remote_4090 is down; local_m4 is paused"


def test_a_platform_to_avoid_is_fallen_back_from() -> None:
    decision = policy().decide(job("XGBoost", avoid=("remote_4090",)), platforms(), now=0.0)
    assert (decision.status, decision.platform) == ("scheduled_fallback", "local_m4")
    assert decision.reason == "remote_4090 was tried without success"


@pytest.mark.parametrize(
    ("model", "full", "spare"), [("XGBoost", "remote_4090", "local_m4"), ("GLM", "local_m4", "remote_4090")]
)
def test_overflow_always_moves_to_any_platform_with_room(model: str, full: str, spare: str) -> None:
    states = platforms(**{full: {"running": 4, "free_at": 1.0}})
    decision = policy("always").decide(job(model), states, now=0.0)
    assert (decision.status, decision.platform) == ("scheduled", spare)
    assert decision.reason == f"{full} is full: overflow to {spare}"
    assert decision.considered == (Alternative(full, "is full"),)


def test_overflow_never_waits() -> None:
    states = platforms(remote_4090={"running": 2, "free_at": 1e9})
    decision = policy("never").decide(job(), states, now=0.0)
    assert (decision.status, decision.platform) == ("queued", "remote_4090")


@pytest.mark.parametrize(("wait_s", "status"), [(5_401.0, "scheduled"), (5_399.0, "queued")])
def test_overflow_when_faster_compares_the_ends(wait_s: float, status: str) -> None:
    """The job takes 6,000 s here and 600 s there, so it waits up to 5,400 s."""
    speeds = {"XGBoost": 10.0}
    states = platforms(remote_4090={"running": 2, "free_at": 1_000.0 + wait_s, "speed": speeds})
    decision = policy("when_faster").decide(job(minutes=100.0), states, now=1_000.0)
    assert decision.status == status


def test_overflow_when_faster_waits_where_nothing_is_known() -> None:
    states = platforms(remote_4090={"running": 2, "free_at": None})
    assert policy("when_faster").decide(job(), states, now=0.0).status == "queued"


def test_jobs_of_a_silent_platform_wait_for_it_and_no_other_job_goes_there() -> None:
    states = platforms(remote_4090={"silent": True, "why": "has been silent for 3 s", "running": 2, "free_at": 1e9})
    decision = policy("always").decide(job("XGBoost"), states, now=0.0)
    assert (decision.status, decision.platform) == ("queued", "remote_4090")
    assert decision.reason == "remote_4090 has been silent for 3 s"
    full = platforms(local_m4={"running": 4}, remote_4090={"silent": True, "why": "has been silent for 3 s"})
    assert policy("always").decide(job("GLM"), full, now=0.0).status == "queued"


def test_a_platform_that_is_held_up_is_full_for_the_reason_given() -> None:
    states = platforms(remote_4090={"running": 2, "why": "has 2 GB of GPU memory free, 8 GB needed"})
    decision = policy("always").decide(job("XGBoost"), states, now=0.0)
    assert decision.reason == "remote_4090 has 2 GB of GPU memory free, 8 GB needed: overflow to local_m4"
    assert decision.considered == (Alternative("remote_4090", "has 2 GB of GPU memory free, 8 GB needed"),)


@pytest.mark.parametrize(("here_s", "status"), [(500.0, "scheduled"), (700.0, "queued")])
def test_overflow_when_faster_believes_what_was_measured(here_s: float, status: str) -> None:
    """The registry says ten times faster there; jobs took 100 s there, and the platform is full for another 500 s."""
    xgboost = job(minutes=100.0)
    states = platforms(
        local_m4={"expected_s": {xgboost: here_s}},
        remote_4090={"running": 2, "free_at": 500.0, "speed": {"XGBoost": 10.0}, "expected_s": {xgboost: 100.0}},
    )
    assert policy("when_faster").decide(xgboost, states, now=0.0).status == status


def test_a_job_waits_for_memory_that_others_hold() -> None:
    states = platforms(local_m4={"running": 1, "memory_free_gb": 6.0})
    decision = policy("never").decide(job("GLM", memory_gb=8.0), states, now=0.0)
    assert decision.status == "queued"
    assert decision.reason == "local_m4 has 6 GB of memory free, 8 GB needed"
    assert policy("never").decide(job("GLM", memory_gb=6.0), states, now=0.0).status == "scheduled"


def test_a_job_waits_for_gpu_memory_that_others_hold() -> None:
    states = platforms(remote_4090={"running": 1, "gpu_memory_free_gb": 4.0})
    decision = policy("never").decide(job(gpu_memory_gb=8.0), states, now=0.0)
    assert decision.reason == "remote_4090 has 4 GB of GPU memory free, 8 GB needed"


def test_a_job_for_the_gpu_may_fall_back_to_a_platform_without_one() -> None:
    down = platforms(remote_4090={"available": False, "why": NO_HOST})
    assert policy().decide(job(gpu_memory_gb=8.0), down, now=0.0).platform == "local_m4"


def test_an_idle_platform_takes_one_job_whatever_is_free() -> None:
    states = platforms(local_m4={"memory_free_gb": 0.5})
    assert policy().decide(job("GLM", memory_gb=20.0), states, now=0.0).status == "scheduled"


def test_a_job_that_is_to_run_alone_waits_for_an_idle_platform() -> None:
    alone = job("GLM", alone=True)
    assert policy("never").decide(alone, platforms(local_m4={"running": 1}), now=0.0).status == "queued"
    assert policy("never").decide(alone, platforms(), now=0.0).status == "scheduled"


def test_a_job_too_large_for_its_platform_falls_back_to_a_larger_one() -> None:
    decision = policy().decide(job("GLM", memory_gb=40.0), platforms(), now=0.0)
    assert (decision.status, decision.platform) == ("scheduled_fallback", "remote_4090")
    assert decision.reason == "local_m4 has 24 GB of memory in all, 40 GB needed"


def test_a_job_that_fits_nowhere_is_an_error_that_names_the_largest() -> None:
    with pytest.raises(DoesNotFitError) as error:
        policy().decide(job(memory_gb=80.0), platforms(), now=0.0)
    assert "remote_4090, the largest, has 64 GB of memory in all, 80 GB needed" in str(error.value)


def test_a_job_that_fits_only_elsewhere_than_asked_is_an_error() -> None:
    with pytest.raises(DoesNotFitError, match="local_m4, which was asked for, has 24 GB"):
        policy().decide(job(asked="local_m4", memory_gb=40.0), platforms(), now=0.0)


R = ("R_tidymodels",)


@pytest.mark.parametrize("overflow", ["never", "when_faster", "always"])
def test_by_the_owners_own_registry_a_job_for_r_runs_on_the_laptop_alone(overflow: _policy.Overflow) -> None:
    for states in (platforms(), platforms(remote_4090={"speed": {"GLM_R": 100.0}})):
        decision = policy(overflow).decide(job("GLM_R", capabilities=R), states, now=0.0)
        assert (decision.status, decision.platform) == ("scheduled", "local_m4")
        assert decision.reason == "no rule matches, and it has R_tidymodels"
    full = platforms(local_m4={"running": 4, "free_at": 1e9})
    decision = policy(overflow).decide(job("GLM_R", capabilities=R), full, now=0.0)
    assert (decision.status, decision.platform, decision.reason) == ("queued", "local_m4", "local_m4 is full")


def test_a_job_is_fallen_back_with_to_a_platform_that_can_do_what_it_requires() -> None:
    decision = policy().decide(job("XGBoost", capabilities=R), platforms(), now=0.0)
    assert (decision.status, decision.platform) == ("scheduled_fallback", "local_m4")
    assert decision.reason == "remote_4090 lacks R_tidymodels"
    assert decision.considered == (Alternative("remote_4090", "lacks R_tidymodels"),)


def test_a_job_never_falls_back_to_a_platform_that_lacks_what_it_requires() -> None:
    down = platforms(local_m4={"available": False, "why": "is paused"})
    decision = policy("always").decide(job("GLM_R", capabilities=R), down, now=0.0)
    assert (decision.status, decision.platform) == ("queued", None)
    assert decision.reason == "local_m4 is paused; remote_4090 lacks R_tidymodels"


def test_a_job_overflows_to_a_platform_that_can_do_what_it_requires() -> None:
    able = {"capabilities": ("R_tidymodels", "PyTorch_GPU")}
    states = platforms(local_m4={"running": 4, "free_at": 1.0}, remote_4090=able)
    decision = policy("always").decide(job("GLM_R", capabilities=R), states, now=0.0)
    assert (decision.platform, decision.reason) == ("remote_4090", "local_m4 is full: overflow to remote_4090")


def test_every_capability_that_a_job_requires_has_to_be_there() -> None:
    both = job("GLM_R", capabilities=("R_tidymodels", "PyTorch_GPU"))
    with pytest.raises(IncapableError) as error:
        policy().decide(both, platforms(), now=0.0)
    assert str(error.value) == (
        "A job requires R_tidymodels and PyTorch_GPU, and no platform that it may use can do that. "
        "local_m4 lacks PyTorch_GPU; remote_4090 lacks R_tidymodels."
    )


def test_a_capability_that_was_misspelt_is_answered_with_the_nearest() -> None:
    with pytest.raises(IncapableError, match=r"have: R_tidymodels, .* Correct the name, or add it to the capabilities"):
        policy().decide(job("GLM_R", capabilities=("R_tidymodel",)), platforms(), now=0.0)


def test_a_platform_that_was_asked_for_and_lacks_what_a_job_requires_is_an_error() -> None:
    with pytest.raises(IncapableError, match="remote_4090, which was asked for, has: "):
        policy().decide(job("GLM_R", capabilities=R, asked="remote_4090"), platforms(), now=0.0)


def test_a_capability_that_a_platform_claims_and_lacks_counts_for_nothing() -> None:
    lacking = {"lacking": {"R_tidymodels": "there is no Rscript: install R"}}
    able = {"capabilities": ("R_tidymodels",)}
    decision = policy().decide(job("GLM", capabilities=R), platforms(local_m4=lacking, remote_4090=able), now=0.0)
    assert (decision.status, decision.platform) == ("scheduled_fallback", "remote_4090")
    assert decision.reason == "local_m4 claims R_tidymodels, and there is no Rscript: install R"
    with pytest.raises(IncapableError, match="local_m4 claims R_tidymodels, and there is no Rscript: install R; rem"):
        policy().decide(job("GLM", capabilities=R), platforms(local_m4=lacking), now=0.0)


def test_the_memory_that_a_job_needs_has_to_be_where_it_can_run() -> None:
    with pytest.raises(DoesNotFitError, match="local_m4, the largest, has 24 GB of memory in all, 40 GB needed"):
        policy().decide(job("GLM_R", capabilities=R, memory_gb=40.0), platforms(), now=0.0)


def test_a_platform_that_was_misspelt_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownPlatformError, match=r"'remote_4080'.*Allowed: remote_4090, local_m4"):
        policy().decide(job(asked="remote_4080"), platforms(), now=0.0)


def test_rules_to_unknown_platforms_are_refused_with_the_nearest() -> None:
    wrong = Policy([*rules(), Rule({"model_type": "RL_PPO"}, "remote4090", "GPU")], "local_m4")
    with pytest.raises(UnknownPlatformError, match=r"rule 6 \(model_type=RL_PPO\).*Allowed: remote_4090"):
        wrong.check(REGISTRY["platforms"])
    with pytest.raises(UnknownPlatformError, match=r"default.*'local'.*Allowed: local_m4"):
        Policy(rules(), "local").check(REGISTRY["platforms"])
    policy().check(REGISTRY["platforms"])


def test_an_unknown_overflow_mode_is_refused() -> None:
    with pytest.raises(RoutingError, match=r"'when_fast'.*Allowed: when_faster, "):
        Policy(rules(), "local_m4", overflow="when_fast").check(REGISTRY["platforms"])  # type: ignore[arg-type]


def test_examples_run() -> None:
    assert doctest.testmod(_policy).failed == 0
