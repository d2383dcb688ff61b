"""Times `mlflow run . --env-manager local` beside the `train.py` that it starts, whole processes in turn.

The same small trial into the same SQLite store, each side warmed up once. What is more is MLflow's own start, its
reading of the project, the making of the run, and the entry point that becomes the command. Asked: under 2 s.

    python benchmarks/mlflow_run.py [--repeats 7]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from handmade_sweep import fresh_store
from small_trial import ROOT, SMALL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        uri = fresh_store(Path(folder))
        environment = {
            **os.environ,
            "SWEEPROUTE_STATE": f"{folder}/state",
            "SWEEPROUTE_CACHE": f"{folder}/cache",
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        words = [*SMALL, "plots=false", f"hydra.run.dir={folder}/out"]
        overrides = " ".join(words)
        sides = {
            "train.py": [sys.executable, "train.py", "model=glm", "seed=42", *words],
            "import mlflow.cli": [sys.executable, "-c", "import mlflow.cli"],
            "mlflow run": [
                *(sys.executable, "-m", "mlflow", "run", ".", "--env-manager", "local"),
                *("-P", "model=glm", "-P", f"overrides={overrides}"),
            ],
        }
        spent: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(asked.repeats + 1):
            for name, command in sides.items():
                began = time.perf_counter()
                subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
                spent[name].append(time.perf_counter() - began)
    middle = {name: statistics.median(seconds[1:]) for name, seconds in spent.items()}
    least = {name: min(seconds[1:]) for name, seconds in spent.items()}
    for name in sides:
        print(f"{name:28s} {middle[name]:6.2f} s in the median of {asked.repeats}, at least {least[name]:.2f} s")
    more = middle["mlflow run"] - middle["train.py"]
    print(f"mlflow run takes {more:.2f} s more in the median, {least['mlflow run'] - least['train.py']:.2f} s at best")


if __name__ == "__main__":
    main()
