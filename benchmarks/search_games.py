"""Compares what tpe finds with what random search finds on real NFL games, for the same number of XGBoost trials.

Every search is `python train.py -m model=xgboost search_space=xgboost_ranges`, with a metric of brier and a sampler's
seed of its own. Few seasons are tested, so that ten searches take minutes: each trial is five fits. Asked: the median
over the seeds of the best Brier score is no worse for tpe.

    python benchmarks/search_games.py [games.csv] [--trials 60] [--seeds 5]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fits

SEASONS = (2016, 2020)
SAMPLERS = ("tpe", "random")


def found(folder: Path, games: Path | None, sampler: str, seed: int, trials: int) -> list[float]:
    """Brier score of each trial of one search, in the order of their numbers."""
    first, last = SEASONS
    out = folder / f"{sampler}{seed}"
    settings = [
        "model=xgboost", "search_space=xgboost_ranges", "data=nfl", "device=cpu", "plots=false",
        f"data.path={'null' if games is None else games.resolve()}", f"validation.first_test_season={first}",
        f"validation.selection_seasons=[{first},{last}]", "validation.holdout_seasons=null", "platform=local_m4",
        "hydra.sweeper.metric=brier", f"hydra.sweeper.sampler={sampler}", f"hydra.sweeper.n_trials={trials}",
        f"hydra.sweeper.seed={seed}", f"hydra.sweep.dir={out}", "tracking.models=none",
        f"tracking.uri=sqlite:///{folder}/mlflow.db",
    ]  # fmt: skip
    environment = os.environ | {"SWEEPROUTE_STATE": str(folder / "state")}
    command = [sys.executable, str(fits.ROOT / "train.py"), "-m", *settings]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    records = sorted((json.loads(path.read_text()) for path in out.rglob("launch.json")), key=lambda one: one["job"])
    scores = [one["value"]["brier"] for one in records if one["current"] and one["state"] == "FINISHED"]
    if done.returncode or len(scores) != trials:
        raise SystemExit(f"{len(scores)} of {trials} trials ended.\n{done.stdout}{done.stderr}")
    return scores


def main() -> None:
    """Search with each sampler and seed in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("games", type=Path, nargs="?", help="games.csv of nflverse; downloaded when left out")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    best: dict[str, list[float]] = {sampler: [] for sampler in SAMPLERS}
    half: dict[str, list[float]] = {sampler: [] for sampler in SAMPLERS}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        for seed in range(asked.seeds):
            for sampler in SAMPLERS:
                scores = found(Path(name), asked.games, sampler, seed, asked.trials)
                best[sampler].append(min(scores))
                half[sampler].append(statistics.median(scores[len(scores) // 2 :]))
            print(f"seed {seed}: best of tpe {best['tpe'][-1]:.5f}, random {best['random'][-1]:.5f}", flush=True)
    first, last = SEASONS
    print(f"best Brier score of {asked.trials} trials, seasons {first} to {last}, {asked.seeds} seeds:")
    for sampler in SAMPLERS:
        values = best[sampler]
        print(
            f"  {sampler:8}{statistics.median(values):.5f}, from {min(values):.5f} to {max(values):.5f}; "
            f"median trial of the second half {statistics.median(half[sampler]):.5f}"
        )
    better = sum(one <= other for one, other in zip(best["tpe"], best["random"], strict=True))
    no_worse = statistics.median(best["tpe"]) <= statistics.median(best["random"])
    print(f"tpe is no worse in the median: {no_worse} (asked: True)")
    print(f"and with {better} of {asked.seeds} seeds; {time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
