"""Compares the two agents that bet by themselves with the rule on glm's probabilities, and with bets at random.

On the simulated league, whose bookmaker keeps a margin: each as its file has it, so that nothing is chosen on the
seasons that are tested, with three seeds, on the selection seasons and then on the holdout. Beside each, many who bet
as often, a unit on a side that a coin says of games drawn by lot: how far a return strays that is luck alone. The last
line is of those who bet so on every game.

    python benchmarks/bettors.py [--models glm,dqn,ppo] [--seeds 3]
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

import numpy as np
import pandas as pd

from sweeproute import bankroll
from sweeproute.betting import BettingRule, place, roi

ROOT = Path(__file__).parents[1]
METRICS = {"roi": ".1%", "n_bets": ".0f", "drawdown": ".0%"}
DRAWS = 2000


def played(folder: Path, models: str, seeds: int) -> list[dict[str, object]]:
    """What the launcher recorded of each trial: nothing is searched, what is there is scored on the holdout."""
    words = [f"model={models}", "search_space=none", f"seed={','.join(map(str, range(1, seeds + 1)))}", "threads=1"]
    words += ["hydra.sweeper.metric=roi", "holdout=true", "platform=local_m4", "device=cpu", "plots=false"]
    words += ["registry.platforms.local_m4.max_concurrent_jobs=2", "tracking.models=none", "importances.of=none"]
    places = {"SWEEPROUTE_STATE": str(folder / "state"), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "train.py", "-m", *words, f"hydra.sweep.dir={folder / 'sweep'}"],
        cwd=ROOT,
        env=os.environ | places,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    jobs = next(line for line in done.stdout.splitlines() if line.startswith("Sweep "))
    print(f"{jobs.partition(': ')[2]}, in {(time.perf_counter() - began) / 60:.1f} min")
    paths = sorted((folder / "sweep").glob("*/launch.json"))
    return [json.loads(path.read_text(encoding="utf-8")) | {"folder": path.parent} for path in paths]


def by_a_coin(games: pd.DataFrame, n_bets: int, rule: BettingRule) -> dict[str, list[float]]:
    """The metrics of many who bet a unit on so many games, on a side that a coin says."""
    draw = np.random.default_rng(0)
    odds, outcome = games[["odds_home", "odds_away"]].to_numpy(dtype=np.float64), games["outcome"].to_numpy()
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    for _ in range(DRAWS):
        lots = draw.permutation(len(games)) < n_bets
        bets = place(draw.choice([-1.0, 1.0], len(games)) * lots, odds, outcome, rule)
        found["roi"].append(roi(bets.profit, bets.stake))
        found["n_bets"].append(float((~np.isnan(bets.stake)).sum()))
        found["drawdown"].append(bankroll.drawdown(bankroll.path(bets.profit, games["kickoff"].to_numpy())))
    return found


def cell(metric: str, values: list[float], share: float = 1.0) -> str:
    """The mean, and from where to where this share of the values lies."""
    low, high = (f"{end:{METRICS[metric]}}" for end in np.quantile(values, [0.5 - share / 2, 0.5 + share / 2]))
    return f"{statistics.fmean(values):{METRICS[metric]}} ({low} to {high})".rjust(26)


def main() -> None:
    """Run it, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="glm,dqn,ppo")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        trials = played(Path(name), asked.models, asked.seeds)
        for title, holdout in (("selection seasons", False), ("holdout", True)):
            of_set = [trial for trial in trials if bool(trial.get("follow_up")) == holdout]
            games = pd.read_parquet(Path(str(of_set[0]["folder"])) / "predictions.parquet")
            played_in = f"{title}, {games['season'].min()} to {games['season'].max()}, {len(games)} games"
            print(f"\n{played_in}: mean (from seed to seed; of coins 95 %)")
            print(f"{'':12}{''.join(f'{column:>26}' for column in (*METRICS, 'roi of coins, as often'))}")
            for model in asked.models.split(","):
                own = [trial["value"] for trial in of_set if f"model={model}" in trial["overrides"]]
                assert len(own) == asked.seeds, f"{len(own)} of {asked.seeds} trials of {model}"
                coins = by_a_coin(games, round(statistics.fmean(one["n_bets"] for one in own)), BettingRule())
                told = [cell(metric, [one[metric] for one in own]) for metric in METRICS]
                print(f"{model:12}{''.join(told)}{cell('roi', coins['roi'], 0.95)}")
            coins = by_a_coin(games, len(games), BettingRule())
            print(f"{'coins':12}{''.join(cell(metric, coins[metric], 0.95) for metric in METRICS)}")


if __name__ == "__main__":
    main()
