"""Each target has its value and a verdict, or says that it has not been measured."""

import pytest

from sweeproute.history import Attempt, Session, Sweep
from sweeproute.targets import NOT_MEASURED, short, targets


def sweep(run_s=(900.0,) * 4, seconds=900.0, slots=4, notes=()):
    attempts = tuple(Attempt("GLM", "here", (f"c={n}",), "FINISHED", s, seconds) for n, s in enumerate(run_s))
    there = {"at": 0.0, "platform": "here", "condition": "available"}
    return Sweep("a", attempts, (Session(0.0, seconds, {"here": slots}, (there, *notes)),))


def verdicts(*sweeps, attempts=None):
    attempts = [one for each in sweeps for one in each.attempts] if attempts is None else attempts
    return {target.name: (target.value, target.verdict) for target in targets(sweeps, attempts)}


def test_without_anything_measured_every_target_says_so():
    assert set(verdicts().values()) == {(NOT_MEASURED, NOT_MEASURED)}
    assert len(verdicts()) == 7


def test_a_sweep_that_reaches_all():
    notes = ({"platform": "here", "cpu": 70.0}, {"platform": "here", "gpu": 85.0})
    found = verdicts(sweep(notes=notes))
    assert found == {
        "speed-up over sequential": ("4.0", "met"),
        "GPU use": ("85.0 %", "met"),
        "CPU use": ("70.0 %", "met"),
        "idle": ("0.0 %", "met"),
        "success": ("100.0 %", "met"),
        "availability": ("100.0 % (here)", "met"),
        "length of a sweep": ("0.25 h", "met"),
    }


@pytest.mark.parametrize("cpu", [59.0, 81.0])
def test_too_little_use_of_the_cores_is_missed_as_is_too_much(cpu):
    assert verdicts(sweep(notes=({"platform": "here", "cpu": cpu},)))["CPU use"][1] == "missed"


def test_a_sweep_that_reaches_nothing():
    down = {"at": 100.0, "platform": "here", "condition": "down"}
    gpu = {"platform": "here", "gpu": 80.0}
    late = sweep(run_s=(900.0,) * 3, seconds=7 * 3600.0, notes=(down, gpu))
    failed = [Attempt("GLM", "here", (), "FAILED", 1.0, 1.0)]
    found = verdicts(late, attempts=[*late.attempts, *failed])
    assert {name: verdict for name, (_, verdict) in found.items() if name != "CPU use"} == dict.fromkeys(
        ("speed-up over sequential", "GPU use", "idle", "success", "availability", "length of a sweep"), "missed"
    )


def test_the_longest_sweep_counts_and_the_platform_that_was_there_least():
    down = {"at": 90.0, "platform": "far", "condition": "down"}
    up = {"at": 0.0, "platform": "far", "condition": "available"}
    far = Sweep("b", (), (Session(0.0, 180.0, {"far": 1}, (up, down)),))
    found = verdicts(sweep(), far)
    assert found["length of a sweep"][0] == "0.25 h"
    assert found["availability"] == ("50.0 % (far)", "missed")


def test_all_of_them_fit_on_a_line():
    assert short(targets([sweep(slots=5)], sweep().attempts)) == (
        "met: speed-up over sequential 4.0, success 100.0 %, availability 100.0 % (here), length of a sweep 0.25 h; "
        "missed: idle 20.0 % (under 10 %); not measured: GPU use, CPU use"
    )
