"""Times the 54-point sub-grid of XGBoost against its own fits: what routing, tracking and reporting add to training.

A data set of 6,000 games and 60 features, 10 walk-forward folds, 2 workers. The sub-grid is every sixth point of the
324 (an arrangement in which each value of each axis appears). Pure fit time is what the trials measured inside `fit`,
under the same two-way load. First span: from the first dispatch to the last result; second: the whole process, start
and tracking caught up included.

    python benchmarks/fits.py [--points 54] [--again]

`--again` runs the sweep a second time, when every duration is known.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
AXES = {
    "max_depth": [3, 5, 7, 9],
    "learning_rate": [0.01, 0.05, 0.1],
    "n_estimators": [100, 300, 500],
    "subsample": [0.7, 0.8, 0.9],
    "colsample_bytree": [0.7, 0.8, 0.9],
}
GAMES, FEATURES, SEASONS, FOLDS = 6000, 60, 20, 10


def sub_grid(n_points: int) -> list[tuple[str, ...]]:
    """Points of the grid, spread evenly; each value of each axis appears among them."""
    names = list(AXES)
    grid = list(itertools.product(*AXES.values()))
    # A step that shares no factor with the grid visits all of it; its first points mix all axes.
    chosen = [grid[(n * 149) % len(grid)] for n in range(n_points)]
    for position, name in enumerate(names):
        missing = set(AXES[name]) - {point[position] for point in chosen}
        assert not missing, f"{name}={missing} is not in the sub-grid"
    return [tuple(f"model.params.{k}={v}" for k, v in zip(names, point, strict=True)) for point in chosen]


def write_games(path: Path) -> None:
    """A feature table whose outcome some of the features bear on."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(GAMES, FEATURES)).round(4)
    chance = 1 / (1 + np.exp(-(features[:, :8].sum(axis=1) * 0.25 + features[:, 8] * features[:, 9] * 0.3)))
    per_season = GAMES // SEASONS
    frame = pd.DataFrame(features, columns=[f"f{n}" for n in range(FEATURES)])
    frame["season"] = 2000 + np.arange(GAMES) // per_season
    day = pd.to_timedelta(np.arange(GAMES) % per_season // 16 * 7, unit="D")
    frame["date"] = pd.to_datetime(frame["season"].astype(str) + "-09-01") + day
    frame["home_win"] = (rng.random(GAMES) < chance).astype(int)
    frame.to_csv(path, index=False)


def run_sweep(n_points: int) -> None:
    """Run train.py with the sub-grid in the place of the sweeper's own product; the child process."""
    import runpy

    from hydra_plugins.sweeproute import _search

    fixed = tuple(text for text in sys.argv[1:] if text.startswith(("model=", "data", "validation")))
    _search.grid_points = lambda *_: [(*fixed, *point) for point in sub_grid(n_points)]  # type: ignore[assignment]
    sys.argv[0] = str(ROOT / "train.py")
    runpy.run_path(sys.argv[0], run_name="__main__")


def measure(folder: Path, n_points: int, label: str) -> None:
    """One sweep as a whole process, and its spans over the fit times."""
    last = 2000 + SEASONS - 1
    first = last - FOLDS + 1
    words = [
        "model=xgboost", "data=csv", f"data.path={folder}/games.csv", "data.outcome=home_win", "data.season=season",
        "data.date=date", f"validation.first_test_season={first}", f"validation.selection_seasons=[{first},{last}]",
        "validation.holdout_seasons=null", "registry.platforms.local_m4.max_concurrent_jobs=2",
        f"hydra.sweep.dir={folder}/{label}", f"tracking.uri=sqlite:///{folder}/mlflow.db",
    ]  # fmt: skip
    environment = os.environ | {
        "SWEEPROUTE_STATE": str(folder / "state"),
        "SWEEPROUTE_CACHE": str(folder / "cache"),
        "SWEEPROUTE_POINTS": str(n_points),
    }
    began = time.perf_counter()
    subprocess.run([sys.executable, __file__, "-m", *words], check=True, env=environment, cwd=folder)
    whole = time.perf_counter() - began
    launches = [json.loads(path.read_text()) for path in (folder / label).glob("*/launch.json")]
    assert len(launches) == n_points
    assert all(launch["state"] == "FINISHED" for launch in launches)
    span = max(x["ended_at"] for x in launches) - min(x["started_at"] for x in launches)
    fits = sum(fit_seconds(path) for path in (folder / label).glob("*/journal.jsonl"))
    print(
        f"{label}: {n_points} points, fits {fits:.1f} s, over 2 workers {fits / 2:.1f} s | "
        f"first dispatch to last result {span:.1f} s: +{(span / (fits / 2) - 1) * 100:.1f} % (asked: 5) | "
        f"whole process {whole:.1f} s: +{(whole / (fits / 2) - 1) * 100:.1f} % (asked: 8)"
    )


def fit_seconds(journal: Path) -> float:
    """What a trial measured inside `fit`."""
    for line in journal.read_text().splitlines():
        for name, value, *_ in json.loads(line).get("metrics", []):
            if name == "fit_s":
                return float(value)
    raise AssertionError(f"no fit_s in {journal}")


def main() -> None:
    """Make the data, run, print."""
    if "-m" in sys.argv:
        run_sweep(int(os.environ["SWEEPROUTE_POINTS"]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=54)
    parser.add_argument("--again", action="store_true", help="run a second time, durations known")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_games(folder / "games.csv")
        measure(folder, asked.points, "first")
        if asked.again:
            measure(folder, asked.points, "again")


if __name__ == "__main__":
    main()
