"""Times `sweeproute report` on a sweep of four models with three calibrations each, from the tracking store alone.

The sweep is made by hand, as its trials would have written it: 11 seasons of 256 games, and as many trials a model as
asked. Each time is that of a new process, imports included; the sweep's folder is gone, and the report that is made
again has to be the same to the last byte. Asked: under 20 s.

    python benchmarks/report.py [--trials 27] [--repeats 3]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from handmade_sweep import HandmadeSweep, fresh_store  # noqa: E402
from reported_sweep import forecasts, trial  # noqa: E402
from sweeproute.tracking import sync  # noqa: E402

SEASONS, WEEKS, GAMES = range(2012, 2023), 16, 16
MODELS = ("GLM", "XGBoost", "RandomForest", "NeuralNetwork")
METHODS = ("none", "platt", "isotonic")


def season_games() -> pd.DataFrame:
    """Games with an outcome and odds; `strength` is the true log odds of a home win."""
    chance = np.random.default_rng(0)
    n = len(SEASONS) * WEEKS * GAMES
    season = np.repeat(SEASONS, WEEKS * GAMES)
    week = np.tile(np.repeat(np.arange(1, WEEKS + 1), GAMES), len(SEASONS))
    strength = chance.normal(0.2, 0.9, n)
    chances = 1 / (1 + np.exp(-strength))
    return pd.DataFrame(
        {
            "game_id": pd.array([f"g{number}" for number in range(n)], dtype="string"),
            "season": season,
            "week": pd.array(week, dtype="Int64"),
            "kickoff": pd.to_datetime([f"{one}-09-05" for one in season]) + pd.to_timedelta(7 * week, unit="D"),
            "outcome": (chance.random(n) < chances).astype(np.int8),
            "odds_home": 0.96 / chances,
            "odds_away": 0.96 / (1 - chances),
            "strength": strength,
        }
    )


def make_sweep(root: Path, trials: int) -> str:
    """A sweep in a store, and its folder gone; the store's address."""
    played, sweep = season_games(), HandmadeSweep(root / "sweep", "sweep_chapter", metric="auc")
    for job in range(trials * len(MODELS)):
        says = {method: forecasts(played, 0.4 + 0.01 * job, 10 * job + n) for n, method in enumerate(METHODS)}
        model = MODELS[job % len(MODELS)]
        trial(sweep, job, model, says, played, [f"model={model.lower()}", f"model.params.n={job}"])
    sweep.save(state="FINISHED", ended=time.time())
    uri = fresh_store(root)
    status = sync(sweep.root, uri=uri)
    assert status.written == status.total, status
    shutil.rmtree(sweep.root)
    return uri


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=27, help="of each model")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        root = Path(name)
        os.environ["SWEEPROUTE_STATE"] = str(root / "state")
        uri = make_sweep(root, asked.trials)
        spent, made = [], []
        for _ in range(asked.repeats):
            command = [sys.executable, "-m", "sweeproute", "report", "sweep_chapter", "--uri", uri, "--to", root / "r"]
            began = time.perf_counter()
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            spent.append(time.perf_counter() - began)
            if done.returncode:
                raise SystemExit(done.stderr)
            made.append({path.name: path.read_bytes() for path in sorted((root / "r").rglob("*")) if path.is_file()})
        if any(one != made[0] for one in made):
            raise SystemExit("The report made again is another.")
        runs = asked.trials * len(MODELS) * len(METHODS)
        games = len(SEASONS) * WEEKS * GAMES
        print(f"{runs} runs, {len(MODELS) * len(METHODS)} rows, {games} games, {len(made[0])} files")
        print(f"  a report, in a process of its own {statistics.median(spent):6.1f} s (median of {asked.repeats}, from")
        print(f"  {min(spent):.1f} to {max(spent):.1f} s; asked: under 20 s), the same to the last byte")
        if shutil.which("pdflatex"):
            began = time.perf_counter()
            latex = ["pdflatex", "-halt-on-error", "-interaction=batchmode", "report.tex"]
            subprocess.run(latex, cwd=root / "r", check=True, capture_output=True)
            print(f"  its document, typeset once        {time.perf_counter() - began:6.1f} s")


if __name__ == "__main__":
    main()
