"""Makes a sweep by hand that has something to plot."""

import json
import math
from pathlib import Path
from typing import Any

from handmade_sweep import HandmadeSweep


def worth(rate: float, depth: int) -> float:
    """A metric that the rate decides, with its best at a rate of 0.01 and a depth of 3."""
    return 0.7 - 0.05 * (math.log10(rate) + 2) ** 2 - 0.001 * (depth - 3) ** 2


def finished(sweep: HandmadeSweep, job: int, *overrides: str, started: float = 0.0, **metrics: float) -> Path:
    """A job that ran for two seconds and has finished."""
    at = 1_700_000_001.0 + started
    folder = sweep.start(job, overrides=list(overrides), started_at=at)
    sweep.finish(folder, metrics, ended_at=at + 2.0)
    return folder


def reported(folder: Path, *values: float, metric: str = "auc") -> None:
    """Let a job have reported a metric after each of its steps."""
    lines = [json.dumps({metric: value, "step": step}) + "\n" for step, value in enumerate(values, start=1)]
    (folder / "progress.jsonl").write_text("".join(lines))


def plotted(root: Path, **record: Any) -> HandmadeSweep:
    """A grid of two parameters: 12 jobs that have finished, one that was pruned, one that failed."""
    sweep = HandmadeSweep(root, **record)
    points = [(rate, depth) for rate in ("0.001", "0.01", "0.1", "1") for depth in (2, 3, 4)]
    for job, (rate, depth) in enumerate(points):
        auc = worth(float(rate), depth)
        overrides = ("model=xgboost", f"model.params.learning_rate={rate}", f"model.params.max_depth={depth}")
        folder = finished(sweep, job, *overrides, started=job, auc=auc, brier=0.2 + depth / 100, flat=1.0)
        reported(folder, auc - 0.1, auc - 0.05, auc)
    pruned = sweep.start(12, overrides=["model=xgboost", "model.params.learning_rate=0.5", "model.params.max_depth=2"])
    sweep.finish(pruned, {"auc": 0.5}, state="PRUNED", ended_at=1_700_000_009.0)
    reported(pruned, 0.5)
    failed = sweep.start(13, overrides=["model=xgboost", "model.params.learning_rate=2", "model.params.max_depth=2"])
    sweep.change(failed, state="FAILED", ended_at=1_700_000_009.0)
    return sweep
