"""Starts many `train.py` at once on a folder without any store, and counts what has crashed.

MLflow makes its tables when it first opens a database, and of several processes that do so at once all but one fail
half way through its migrations. Here the making stands under a lock. Asked: 16 at once, 20 times, no crash.

    python benchmarks/fresh_store.py [--rounds 20] [--at-once 16]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from mlflow import MlflowClient

from small_trial import SMALL, start

# Without a model: to write one imports all of scikit-learn, which has nothing to do with stores.
WORDS = ("model=glm", "tracking.models=none", *SMALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=16)
    asked = parser.parse_args()
    crashes = 0
    with tempfile.TemporaryDirectory() as top:
        # The games are simulated once; it is the store that everybody is to find missing.
        environment = {"SWEEPROUTE_STATE": f"{top}/state", "SWEEPROUTE_CACHE": f"{top}/cache"}
        for number in range(asked.rounds):
            folder = Path(top) / str(number)
            folder.mkdir()
            uri = f"sqlite:///{folder}/mlflow.db"
            began = time.perf_counter()
            trials = [
                start(folder, *WORDS, f"seed={one}", f"hydra.run.dir=out/{one}", uri=uri, **environment)
                for one in range(asked.at_once)
            ]
            for trial in trials:
                said = "".join(trial.communicate())
                if trial.returncode:
                    crashes += 1
                    print(said, file=sys.stderr)
            client = MlflowClient(uri)
            [experiment] = [one for one in client.search_experiments() if one.name == "sweeproute"]
            runs = client.search_runs([experiment.experiment_id])
            whole = [run for run in runs if run.info.status == "FINISHED" and "brier" in run.data.metrics]
            assert len(whole) == len(runs) == asked.at_once or crashes, (len(whole), len(runs))
            print(f"  {number:2d}: {len(whole)} runs, {time.perf_counter() - began:.1f} s", flush=True)
    print(f"{asked.at_once} starts at once on no store, {asked.rounds} times: {crashes} have crashed")
    sys.exit(1 if crashes else 0)


if __name__ == "__main__":
    main()
