"""The source of a sweep hears of each step of a job once, and of nothing where it prunes nothing."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from hydra_plugins.sweeproute._admission import JobClass
from hydra_plugins.sweeproute._assignment import Job
from hydra_plugins.sweeproute._book import Attempt
from hydra_plugins.sweeproute._reports import Reports
from hydra_plugins.sweeproute._source import Points
from sweeproute.pruning import report


class Strict(Points):
    """Notes what it hears, and wants no more of a job whose value is below a half."""

    def __init__(self) -> None:
        super().__init__({})
        self.prunes = True
        self.heard: list[tuple[int, int, float]] = []

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> str | None:
        self.heard.append((number, step, metrics["value"]))
        return f"low at step {step}" if metrics["value"] < 0.5 else None


@pytest.fixture
def points() -> Strict:
    return Strict()


def attempt(folder: Path, job: int = 0, state: str = "RUNNING") -> Attempt:
    folder.mkdir()
    return Attempt(Job(job, (), JobClass(()), 0.0), "here", 0, None, folder, {"state": state})


def test_what_is_new_is_heard_at_the_next_look_and_what_is_low_is_stopped_once(points: Strict, tmp_path: Path) -> None:
    reports, one = Reports(points), attempt(tmp_path / "0")
    live = {("here", 0): one}
    report(1, 0.6, one.folder)
    assert list(reports.look(live, 0.0)) == []
    report(2, 0.4, one.folder)
    assert list(reports.look(live, 0.4)) == []
    assert reports.wait_s(0.4) == pytest.approx(0.1)
    assert list(reports.look(live, 0.5)) == [(("here", 0), "low at step 2")]
    report(3, 0.3, one.folder)
    assert list(reports.look(live, 1.0)) == []
    reports.last(one)
    assert points.heard == [(0, 1, 0.6), (0, 2, 0.4), (0, 3, 0.3)]


def test_of_several_attempts_at_a_job_each_step_is_heard_once(points: Strict, tmp_path: Path) -> None:
    reports = Reports(points)
    first, second = attempt(tmp_path / "0"), attempt(tmp_path / "0.attempt2")
    for step in (1, 2):
        report(step, 0.6, first.folder)
    reports.last(first)
    for step in (1, 2, 3):
        report(step, 0.4, second.folder)
    assert list(reports.look({("here", 0): second}, 0.0)) == [(("here", 0), "low at step 3")]
    assert points.heard == [(0, 1, 0.6), (0, 2, 0.6), (0, 3, 0.4)]


def test_what_waits_in_a_queue_is_not_looked_at(points: Strict, tmp_path: Path) -> None:
    waits = attempt(tmp_path / "0", state="QUEUED")
    report(1, 0.4, waits.folder)
    assert list(Reports(points).look({("far", 0): waits}, 0.0)) == []
    assert points.heard == []


def test_where_nothing_is_pruned_nothing_is_read(tmp_path: Path) -> None:
    points = Strict()
    points.prunes = False
    reports, one = Reports(points), attempt(tmp_path / "0")
    report(1, 0.4, one.folder)
    assert list(reports.look({("here", 0): one}, 0.0)) == []
    reports.last(one)
    assert points.heard == []
    assert reports.wait_s(0.0) == float("inf")
