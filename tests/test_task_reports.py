"""What a task leaves in its folder while it runs is read with care, and its end is called what it was."""

import json
import math
from pathlib import Path

import pytest

from hydra_plugins.sweeproute._backend import is_answer
from hydra_plugins.sweeproute._pruning import Report, pruned_answer, read_reports, tell, why_pruned
from sweeproute.pruning import pruned, report


def test_what_the_task_writes_is_what_is_read(tmp_path: Path) -> None:
    report(1, {"auc": 0.6, "loss": math.inf, "roi": math.nan}, tmp_path)
    report(2, 0.5, tmp_path)
    (first, second), offset = read_reports(tmp_path, 0)
    assert (first.step, first.metrics["auc"], first.metrics["loss"]) == (1, 0.6, math.inf)
    assert math.isnan(first.metrics["roi"])
    assert second == Report(2, {"value": 0.5})
    assert read_reports(tmp_path, offset) == ([], offset)
    report(3, 0.25, tmp_path)
    assert read_reports(tmp_path, offset)[0] == [Report(3, {"value": 0.25})]


def test_where_nothing_is_nothing_is_read(tmp_path: Path) -> None:
    assert read_reports(tmp_path, 0) == ([], 0)
    (tmp_path / "progress.jsonl").mkdir()
    assert read_reports(tmp_path, 0) == ([], 0)


def test_a_line_that_is_not_whole_waits_for_its_rest(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text('{"step": 1, "auc": 0.5}\n{"step": 2, "au')
    found, offset = read_reports(tmp_path, 0)
    assert [one.step for one in found] == [1]
    with path.open("a") as stream:
        stream.write('c": 0.6}\n')
    assert read_reports(tmp_path, offset)[0] == [Report(2, {"auc": 0.6})]


@pytest.mark.parametrize(
    "line",
    ["", "x", "[1]", "7", '{"auc": 1}', '{"step": true}', '{"step": "1"}', '{"step": 1.5}', "[" * 100_000, "\xff\xfe"],
)
def test_what_is_no_report_is_passed_over(tmp_path: Path, line: str) -> None:
    (tmp_path / "progress.jsonl").write_bytes(line.encode("latin-1") + b'\n{"step": 2, "auc": 0.6}\n')
    assert read_reports(tmp_path, 0)[0] == [Report(2, {"auc": 0.6})]


def test_what_is_no_number_is_left_out_of_a_report(tmp_path: Path) -> None:
    line = {"step": 1, "auc": 0.5, "name": "glm", "ok": True, "none": None, "list": [1], "large": 10**400}
    (tmp_path / "progress.jsonl").write_text(json.dumps(line) + "\n")
    assert read_reports(tmp_path, 0)[0] == [Report(1, {"auc": 0.5})]


def test_megabytes_without_an_end_hold_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_bytes(b"x" * (3 << 20) + b'\n{"step": 1, "auc": 0.5}\n')
    found, offset = [], 0
    for _ in range(5):
        new, offset = read_reports(tmp_path, offset)
        found += new
    assert found == [Report(1, {"auc": 0.5})]
    assert pruned_answer(tmp_path, "enough", 1.0)["value"]["auc"] == 0.5


def test_the_task_hears_what_it_is_told(tmp_path: Path) -> None:
    tell(tmp_path, "below the median")
    assert report(1, 0.5, tmp_path) == "below the median"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["progress.jsonl", "stop"]
    tell(tmp_path / "gone", "nobody is there")


def test_what_a_task_returns_says_whether_it_was_pruned() -> None:
    assert why_pruned(pruned("below the median", 0.5)) == "below the median"
    assert why_pruned({"status": "pruned"}) == "its task said so"
    for value in ({"status": "fine"}, {"auc": 1.0}, "pruned", None, 0.5, ["pruned"]):
        assert why_pruned(value) is None


def test_the_end_of_a_task_that_did_not_listen_is_an_answer_with_its_last_report(tmp_path: Path) -> None:
    answer = pruned_answer(tmp_path, "enough", 1.5)
    assert is_answer(answer)
    assert (answer["value"], answer["run_s"]) == ({"status": "pruned", "reason": "enough"}, 1.5)
    report(1, {"auc": 0.5}, tmp_path)
    report(2, {"auc": 0.6, "step/auc": 0.9}, tmp_path)
    with (tmp_path / "progress.jsonl").open("a") as stream:
        stream.write("torn")
    assert pruned_answer(tmp_path, "enough", 1.5)["value"] == {"status": "pruned", "reason": "enough", "auc": 0.6}
