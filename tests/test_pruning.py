"""Tests of what a task says while it runs, and of how it hears that it may end."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from sweeproute.pruning import pruned, report


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]


def test_each_step_is_a_line_with_the_metrics_by_their_names(tmp_path: Path) -> None:
    assert report(1, {"auc": 0.6, "brier": 0.25}, tmp_path) is None
    assert report(2, 0.5, tmp_path) is None
    assert lines(tmp_path) == [{"step": 1, "auc": 0.6, "brier": 0.25}, {"step": 2, "value": 0.5}]


def test_a_metric_does_not_take_the_place_of_the_step(tmp_path: Path) -> None:
    report(3, {"step": 0.5}, tmp_path)
    assert lines(tmp_path) == [{"step": 3}]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_json_all_the_same(tmp_path: Path, value: float) -> None:
    report(1, {"auc": value}, tmp_path)
    (line,) = lines(tmp_path)
    assert isinstance(line["auc"], str)
    assert repr(float(line["auc"])) == repr(value)


def test_who_is_told_to_stop_hears_why_after_having_reported(tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("worse than the median\n")
    assert report(1, 0.5, tmp_path) == "worse than the median"
    assert len(lines(tmp_path)) == 1
    (tmp_path / "stop").write_text("")
    assert report(2, 0.5, tmp_path) == "told to stop"


def test_what_is_returned_says_that_it_was_pruned_whatever_the_metrics_are_called() -> None:
    assert pruned("enough", {"auc": 0.5, "status": 1.0}) == {"auc": 0.5, "status": "pruned", "reason": "enough"}
    assert pruned("enough", 0.5) == {"value": 0.5, "status": "pruned", "reason": "enough"}


def test_a_task_that_names_its_folder_needs_neither_hydra_nor_numpy(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sweeproute.pruning import report; report(1, 2, Path('.'));"
        "sys.exit(any(name.partition('.')[0] in ('hydra', 'numpy', 'omegaconf') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert lines(tmp_path) == [{"step": 1, "value": 2.0}]
