"""What is noted of a sweep's platforms while it runs."""

import pytest

from hydra_plugins.sweeproute._platform_log import FILE, PlatformLog
from hydra_plugins.sweeproute._records import read_lines


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def log(tmp_path):
    return PlatformLog(tmp_path, Clock())


def noted(tmp_path):
    return list(read_lines(tmp_path / FILE))


def test_a_coordinator_begins_with_its_platforms_and_ends_with_how_busy_this_machine_was(log, tmp_path):
    log.begins({"here": 2, "far": 4}, ["here"])
    deadline = 100_000
    while deadline:  # some work, so that the system's clock of busy time moves
        deadline -= 1
    log._clock.now = 160.0
    log.ends()
    first, second, *busy, last = noted(tmp_path)
    assert first == {"at": 100.0, "slots": {"here": 2, "far": 4}}
    assert second == {"at": 100.0, "platform": "here", "condition": "available", "why": ""}
    assert last == {"at": 160.0, "ends": True}
    for note in busy:  # none where no tick of the system's clock went by
        assert (note["platform"], note["over_s"]) == ("here", 60.0)
        assert 0.0 <= note["cpu"] <= 100.0


def test_a_condition_is_noted_with_its_reason(log, tmp_path):
    log.condition("far", "down", "does not answer")
    assert noted(tmp_path) == [{"at": 100.0, "platform": "far", "condition": "down", "why": "does not answer"}]


def test_the_load_of_gpus_is_noted_now_and_then_while_jobs_run(log, tmp_path):
    load = {"gpus": [{"utilisation": 80.0}, {"utilisation": 40.0}, {"utilisation": None}]}
    log.load("far", load, running=0)
    log.load("far", None, running=1)
    log.load("far", {"gpus": []}, running=1)
    assert noted(tmp_path) == []
    for log._clock.now in (100.0, 105.0, 110.0):
        log.load("far", load, running=1)
    assert noted(tmp_path) == [{"at": at, "platform": "far", "gpu": 60.0, "over_s": 10.0} for at in (100.0, 110.0)]


def test_a_note_that_cannot_be_written_stops_no_sweep(tmp_path):
    PlatformLog(tmp_path / "gone").condition("far", "down")
