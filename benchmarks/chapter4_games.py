"""Compares every model and every baseline on the real games of 2010 to 2020, no market's number among the features.

Each model as its file has it, so that nothing is chosen on the seasons that are tested, under each calibration, with
the ensembles of them and the bettors beside them; the table is that of `sweeproute report`. Stated elsewhere: plain Elo
0.2190, the closing line 0.2115; a model without the market's numbers below 0.2150 would be a leak.

    python benchmarks/chapter4_games.py games.csv
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODELS = ("glm", "glm_r", "xgboost", "lightgbm", "random_forest", "neural_network", "dqn", "ppo")
TABLE = "multimodel_comparison_table"
COLUMNS = {"auc": ".4f", "brier": ".4f", "roi": ".1%", "n_bets": ".0f"}
# Brier scores: nothing that does not know the market's numbers is that good.
TOO_GOOD = 0.2150


def main() -> int:
    """Run it, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "games", type=Path, nargs="?", help="games.csv of nflverse, 1999 to 2020 at least; downloaded when left out"
    )
    parser.add_argument("--models", default=",".join(MODELS), help="some of them, as in glm,xgboost")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        words = [f"model={asked.models}", "search_space=none", "calibration=all", "validation.calibration_seasons=1"]
        words += [
            "data=nfl",
            f"data.path={asked.games.resolve() if asked.games else 'null'}",
            "validation.first_test_season=2010",
        ]
        words += ["validation.selection_seasons=[2010,2020]", "validation.holdout_seasons=null"]
        # What a bettor has, too; of one configuration a model nothing is chosen by it.
        words += ["hydra.sweeper.metric=roi", "ensemble=[average,stacking]", "plots=false"]
        words += ["report.at_end=true", "report.figures=false", f"report.to={folder / 'report'}"]
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
        print(f"{jobs.partition(': ')[2]}, with the report in {(time.perf_counter() - began) / 60:.1f} min\n")
        with (folder / "report" / "tables" / f"{TABLE}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    print(f"{'':36}{'AUC':>8}{'Brier':>9}{'':19}{'ROI':>8}{'bets':>7}")
    for row in rows:
        interval = f"[{row['brier_low']:.6}, {row['brier_high']:.6}]" if row["brier_low"] else ""
        told = [f"{float(row[name]):{form}}" if row[name] else "–" for name, form in COLUMNS.items()]
        name = f"{row['model']} {row['calibration']}".strip()
        print(f"{name:36}{told[0]:>8}{told[1]:>9} {interval:18}{told[2]:>8}{told[3]:>7}")
    leaks = [row["model"] for row in rows if row["calibration"] and row["brier"] and float(row["brier"]) < TOO_GOOD]
    print(f"{', '.join(leaks)} below {TOO_GOOD}: look for a leak" if leaks else f"no model is below {TOO_GOOD}")
    return len(leaks)


if __name__ == "__main__":
    sys.exit(main())
