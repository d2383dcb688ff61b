"""Times the 324-point grid of XGBoost with one fit for every three points against a fit for each.

Asked: 0.60 at most. The trees alone give 500 / (100 + 300 + 500) = 0.56. Both sweeps run in one call, one after the
other; the time of the processors is given beside the wall's, which others on the machine disturb.

    python benchmarks/prefix.py [--games 2400] [--features 30] [--folds 3] [--slots 2] [--depths 3,5,7,9]

Without options on a data set that is smaller than the 6,000 games and 60 features of fits.py, where a fit weighs less
against all that is around it. It ends with an error where a result differs in one bit.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
SEASONS = 12


def write_games(path: Path, games: int, features: int) -> None:
    """A feature table whose outcome some of the features bear on."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(games, features)).round(4)
    chance = 1 / (1 + np.exp(-(table[:, :8].sum(axis=1) * 0.25 + table[:, 8] * table[:, 9] * 0.3)))
    per_season = games // SEASONS
    frame = pd.DataFrame(table, columns=[f"f{n}" for n in range(features)])
    frame["season"] = 2000 + np.arange(games) // per_season
    day = pd.to_timedelta(np.arange(games) % per_season // 16 * 7, unit="D")
    frame["date"] = pd.to_datetime(frame["season"].astype(str) + "-09-01") + day
    frame["home_win"] = (rng.random(games) < chance).astype(int)
    frame[frame["season"] < 2000 + SEASONS].to_csv(path, index=False)


def measure(folder: Path, asked: argparse.Namespace, *words: str) -> tuple[float, float, dict[str, str]]:
    """Seconds from the first dispatch to the last result, those of the processors, and each point's value."""
    name = "separate" if words else "shared"
    last = 2000 + SEASONS - 1
    first = last - asked.folds + 1
    command = [
        "model=xgboost", "search_space=xgboost_wide", f"model.params.max_depth={asked.depths}", "device=cpu",
        "platform=local_m4", "data=csv", f"data.path={folder}/games.csv", "data.outcome=home_win",
        "data.season=season", "data.date=date", f"validation.first_test_season={first}",
        f"validation.selection_seasons=[{first},{last}]", "validation.holdout_seasons=null",
        f"registry.platforms.local_m4.max_concurrent_jobs={asked.slots}", "threads=1", "~hydra.callbacks.tracking",
        f"hydra.sweep.dir={folder}/{name}", *words,
    ]  # fmt: skip
    # A state of its own: neither sweep knows the durations of the other.
    environment = os.environ | {
        "SWEEPROUTE_STATE": str(folder / f"state-{name}"),
        "SWEEPROUTE_CACHE": str(folder / "cache"),
    }
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, str(ROOT / "train.py"), "-m", *command], check=True, env=environment, cwd=folder)
    whole, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processors = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    launches = [json.loads(path.read_text()) for path in (folder / name).glob("*/launch.json")]
    assert all(launch["state"] == "FINISHED" for launch in launches)
    span = max(x["ended_at"] for x in launches) - min(x["started_at"] for x in launches)
    fits = sum("shared_fit" not in launch for launch in launches)
    print(
        f"{name}: {len(launches)} points by {fits} fits | first dispatch to last result {span:.1f} s | whole process "
        f"{whole:.1f} s | processors {processors:.1f} s",
        flush=True,
    )
    values = {
        " ".join(sorted(one for one in launch["overrides"] if one.startswith("model.params"))): json.dumps(
            launch["value"]
        )
        for launch in launches
    }
    return span, processors, values


def main() -> None:
    """Make the data, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=2400)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--depths", default="3,5,7,9", help="values of max_depth; fewer of them make fewer points")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_games(folder / "games.csv", asked.games, asked.features)
        shared_s, shared_cpu, shared = measure(folder, asked)
        separate_s, separate_cpu, separate = measure(folder, asked, "hydra.sweeper.prefix=null")
    assert shared == separate, "a shared fit gave another result than a separate one"
    print(
        f"shared over separate: {shared_s / separate_s:.3f} of the time, {shared_cpu / separate_cpu:.3f} of the "
        f"processors' (asked: 0.60); all {len(shared)} results are bitwise the same"
    )


if __name__ == "__main__":
    main()
