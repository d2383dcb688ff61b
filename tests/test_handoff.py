"""The hand-off messages have the keys and the form of those that are kept by hand."""

import time

import pytest
import yaml

from hydra_plugins.sweeproute._handoff import platform_unavailable

# As one was written by hand.
BY_HAND = """
trigger: platform_unavailable
context:
  - platform: "remote_4090"
  - issue: "SSH connection refused"
  - impact: "Cannot execute GPU-accelerated training"
  - queued_tasks: 24 (XGBoost hyperparameter search)

request:
  - Verify 4090 workstation is online
  - Check SSH service status
  - Confirm CUDA drivers loaded
  - Test GPU availability (nvidia-smi)

urgency: medium
workaround: "Falling back to M4 CPU training (10x slower)"
timeline: "Need resolution within 2 hours to meet deadline"
"""
NOW = 1_800_000_000.0


@pytest.fixture
def written(tmp_path):
    """From facts to the message that was written."""

    def write(**facts):
        known = {
            "folder": tmp_path,
            "platform": "remote_4090",
            "issue": "SSH connection refused",
            "host": "me@4090box",
            "gpu": True,
            "queued": 24,
            "models": {"XGBoost": 24},
            "fallback": "local_m4",
            "slower": 10.0,
            "now": NOW,
        }
        path = platform_unavailable(known | facts)
        assert path == tmp_path / "platform_unavailable.yaml"
        assert [one.name for one in tmp_path.iterdir()] == [path.name]
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    return write


def test_a_message_has_the_keys_and_the_form_of_one_written_by_hand(written):
    theirs, ours = yaml.safe_load(BY_HAND), written(left_s=10 * 3600, deadline=NOW + 3 * 3600)
    assert list(ours) == list(theirs)
    assert [list(one) for one in ours["context"]] == [list(one) for one in theirs["context"]]
    assert all(type(ours[key]) is type(theirs[key]) for key in theirs)
    assert ours["context"] == theirs["context"]
    assert ours["workaround"] == "Falling back to local_m4 (10x slower)"
    assert ours["request"] == [
        "Verify remote_4090 is online",
        "Check SSH service status (ssh me@4090box true)",
        "Confirm CUDA drivers loaded",
        "Test GPU availability (nvidia-smi)",
    ]


def test_a_platform_without_a_gpu_needs_no_word_of_cuda(written):
    message = written(gpu=False, host=None, models={}, running=2)
    assert message["request"] == ["Verify remote_4090 is online"]
    assert message["context"][2:] == [
        {"impact": "Cannot execute training on remote_4090"},
        {"queued_tasks": "24, and 2 that may still run there"},
    ]


def test_the_request_names_the_ssh_configuration_that_the_sweep_uses(written):
    asked = written(ssh_config="/home/me/its own/config", gpu=False)["request"]
    assert asked[1] == "Check SSH service status (ssh -F '/home/me/its own/config' me@4090box true)"


def test_a_platform_that_answers_is_not_to_be_switched_on(written):
    assert written(answers=True)["request"] == ["Find out what is missing (sweeproute check remote_4090)"]


def test_several_models_are_named(written):
    message = written(queued=30, models={"XGBoost": 24, "NeuralNetwork": 6})
    assert message["context"][3] == {"queued_tasks": "30 (XGBoost, NeuralNetwork hyperparameter search)"}


@pytest.mark.parametrize(
    ("facts", "urgency"),
    [
        ({}, "medium"),
        ({"queued": 0}, "low"),
        ({"queued": 0, "running": 1}, "medium"),
        ({"fallback": None}, "high"),
        ({"left_s": 7200.0, "deadline": NOW + 3600}, "high"),
        ({"left_s": 3600.0, "deadline": NOW + 7200}, "medium"),
    ],
)
def test_it_is_urgent_where_a_deadline_is_missed_or_nothing_goes_on(written, facts, urgency):
    assert written(**facts)["urgency"] == urgency


@pytest.mark.parametrize(
    ("facts", "workaround"),
    [
        ({"fallback": None}, "None: the jobs wait until it is back"),
        ({"slower": None}, "Falling back to local_m4"),
        ({"slower": 2.345}, "Falling back to local_m4 (2.35x slower)"),
        ({"slower": 0.9}, "Falling back to local_m4 (not slower, by what has run)"),
    ],
)
def test_the_pace_of_the_workaround_is_said_where_it_is_known(written, facts, workaround):
    assert written(**facts)["workaround"] == workaround


def test_the_time_left_to_mend_it_is_what_the_deadline_leaves_at_the_platforms_own_speed(written):
    def timeline(**facts):
        return written(**facts)["timeline"]

    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(NOW + 3 * 3600))
    # 10 h here are 1 h there
    assert timeline(left_s=36000.0, deadline=NOW + 3 * 3600) == (
        f"Need resolution within 2 hours to meet deadline ({when})"
    )
    assert timeline(left_s=36000.0, deadline=NOW + 600).endswith("cannot be met any more")
    assert timeline(left_s=3600.0, deadline=NOW + 3 * 3600) == (
        f"The deadline, {when}, is met without it: the sweep ends in 60 minutes"
    )
    assert timeline(deadline=NOW + 3 * 3600) == f"The deadline is {when}; how long the rest takes is not known"
    assert timeline(left_s=36000.0) == "No deadline is set; as things stand the sweep ends in 10 hours"
    assert timeline(left_s=20.0) == "No deadline is set; as things stand the sweep ends in less than a minute"
    assert timeline() == "No deadline is set"
