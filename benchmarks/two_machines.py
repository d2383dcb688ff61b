"""Runs 54 XGBoost and 20 random forest trials of this project over two machines, and says how little of them is idle.

This machine and the tests' workstation, another machine in network namespaces (Linux and root are needed), one slot of
one thread each; XGBoost belongs to the workstation, forests belong here, and either takes from the other as it is
expected to end sooner. Idle is the share of both slots' time, from the first start to the last end, in which no trial
ran; asked are 10 % at most. Speed-up is the same sweep's time on this machine's slot alone, over its time on both.
Both machines are the same cores: a slot of each needs two that nobody else uses, or the speed-up is the neighbours'.

    python benchmarks/two_machines.py [--games 2000]
"""

import argparse
import itertools
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fits

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import workstation
from workstation import Workstation

SEASONS, FOLDS = 10, 5
XGBOOST = {
    "max_depth": [2, 3, 4],
    "learning_rate": [0.02, 0.05, 0.1],
    "n_estimators": [100, 200, 300],
    "subsample": [0.6, 0.8],
}
FOREST = {"max_depth": [4, 6], "min_samples_leaf": [10, 20, 30, 40, 50], "max_features": [0.1, 0.3]}


def points() -> list[tuple[str, ...]]:
    """The trials of both models, in the order in which they are asked for."""
    return [
        (f"model={model}", *(f"model.params.{name}={value}" for name, value in zip(axes, point, strict=True)))
        for model, axes in (("xgboost", XGBOOST), ("random_forest", FOREST))
        for point in itertools.product(*axes.values())
    ]


def run_sweep() -> None:
    """Run train.py with these trials in the place of the sweeper's own product; the child process."""
    from hydra_plugins.sweeproute import _search

    fixed = tuple(text for text in sys.argv[1:] if text.startswith(("data", "validation")))
    _search.grid_points = lambda *_: [(*point, *fixed) for point in points()]  # type: ignore[assignment]
    sys.argv[0] = str(fits.ROOT / "train.py")
    runpy.run_path(sys.argv[0], run_name="__main__")


def measure(folder: Path, label: str, *words: str) -> tuple[float, list[dict[str, Any]]]:
    """Seconds from the first start to the last end, and the records of the trials."""
    last = 2000 + SEASONS - 1
    first = last - FOLDS + 1
    settings = [
        "model=xgboost,random_forest", "data=csv", f"data.path={folder}/games.csv", "data.outcome=home_win",
        "data.season=season", "data.date=date", f"validation.first_test_season={first}",
        f"validation.selection_seasons=[{first},{last}]", "validation.holdout_seasons=null", "tracking.models=none",
        "registry.platforms.local_m4.max_concurrent_jobs=1", "registry.platforms.local_m4.specs.cpu_cores=1",
        f"hydra.sweep.dir={folder}/{label}", f"tracking.uri=sqlite:///{folder}/{label}.db",
    ]  # fmt: skip
    environment = os.environ | {"SWEEPROUTE_STATE": str(folder / "state"), "SWEEPROUTE_CACHE": str(folder / "cache")}
    command = [sys.executable, __file__, "-m", *settings, *words]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    records = [json.loads(path.read_text()) for path in (folder / label).glob("*/launch.json")]
    records = [record for record in records if record["current"]]
    if done.returncode or len(records) != len(points()) or any(one["state"] != "FINISHED" for one in records):
        raise SystemExit(f"{len(records)} of {len(points())} trials ended.\n{done.stdout}{done.stderr}")
    return max(one["ended_at"] for one in records) - min(one["started_at"] for one in records), records


def main() -> None:
    """Make the data, run the sweep on both machines and on one, print."""
    if "-m" in sys.argv:
        run_sweep()
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=2000)
    asked = parser.parse_args()
    if workstation.missing():
        raise SystemExit(f"This needs the tests' workstation: {workstation.missing()}.")
    fits.GAMES, fits.SEASONS = asked.games, SEASONS
    with Workstation.start() as box, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        fits.write_games(folder / "games.csv")
        there = {
            "host": box.host,
            "ssh_config": box.ssh_config,
            "python": box.python,
            "max_concurrent_jobs": 1,
            "specs.cpu_cores": 1,
            "specs.gpu": "false",
            "speed": "{}",  # these are the same cores
        }
        words = (f"registry.platforms.remote_4090.{key}={value}" for key, value in there.items())
        both_s, records = measure(folder, "both", *words)
        began = time.perf_counter()
        one_s, _ = measure(folder, "one", "platform=local_m4")
        whole_s = time.perf_counter() - began
    busy_s = sum(one["ended_at"] - one["started_at"] for one in records)
    where = {name: [one for one in records if one["platform"] == name] for name in ("local_m4", "remote_4090")}
    for platform, ran in where.items():
        models = {
            model: sum(f"model={model}" in one["overrides"] for one in ran) for model in ("xgboost", "random_forest")
        }
        print(f"{platform}: {models['xgboost']} XGBoost, {models['random_forest']} random forest")
    print(f"idle: {(1 - busy_s / (2 * both_s)) * 100:.1f} % of the time of both slots over {both_s:.0f} s (asked: 10)")
    print(
        f"speed-up over this machine's slot alone: {one_s / both_s:.2f} ({one_s:.0f} s; as a process {whole_s:.0f} s)"
    )


if __name__ == "__main__":
    main()
