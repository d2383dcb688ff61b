"""Times promoting a run, and logging its model beside `mlflow.xgboost.log_model` of the same model in the same call.

A sweep of two XGBoost trials is run first. Then, in turn and as often as asked: our way of logging the better one's
model, as an MLflow model with signature, example, card and pinned requirements; MLflow's own, by default and with the
requirements given to it; `promote` in this process, where mlflow has been imported; and `sweeproute promote` as a
process of its own, beside processes that import mlflow's client and do no more, or open the store as well. Each time
another registered model; medians, for a busy machine the least as well. Asked: logging 0.1 s, promoting 1.5 s.

    python benchmarks/promote.py [--repeats 7]
"""

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORDS = ("search_space=none", "model.params.max_depth=2,3", "data.first_season=2010", "plots=false")
IMPORT = "from mlflow.tracking import MlflowClient; "


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def process(*words: str) -> float:
    """How long a process takes, from its start to its end."""
    return seconds(lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True))


def sweep(folder: Path) -> str:
    """A sweep of XGBoost; the address of its store."""
    uri = f"sqlite:///{folder}/mlflow.db"
    os.environ |= {"SWEEPROUTE_STATE": str(folder / "state"), "MLFLOW_TRACKING_URI": uri}
    words = [str(ROOT / "train.py"), "-m", "model=xgboost", *WORDS]
    subprocess.run([sys.executable, *words], check=True, cwd=folder, capture_output=True)
    return uri


def measure(uri: str, repeats: int) -> dict[str, list[float]]:
    """Seconds of each way, once a round."""
    import mlflow
    import mlflow.xgboost

    from sweeproute import estimators
    from sweeproute.promotion import promote
    from sweeproute.promotion.candidate import candidate
    from sweeproute.promotion.card import card
    from sweeproute.promotion.named import named
    from sweeproute.promotion.versions import log_model

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    runs, run = named("last", uri)
    with candidate(runs.client, run) as one, mlflow.start_run():
        assert one.example is not None
        example, text, model = one.example, card(one, "benchmark"), estimators.load(one.files)
        signature = mlflow.models.infer_signature(example, model.predict_proba(example.to_numpy())[:, 1])
        theirs: dict[str, Any] = {"name": "theirs", "signature": signature, "input_example": example}
        theirs["model_format"] = "ubj"

        def new() -> str:
            return uuid.uuid4().hex

        def command() -> float:
            words = ["promote", run.info.run_id, "--uri", uri, "--name", new()]
            return process("-m", "sweeproute", *words)

        ways: dict[str, Callable[[], float]] = {
            "log": lambda: seconds(lambda: log_model(runs.client, new(), one, text)),
            "given": lambda: seconds(
                lambda: mlflow.xgboost.log_model(model, **theirs, pip_requirements=["xgboost", "numpy", "pandas"])
            ),
            "default": lambda: seconds(lambda: mlflow.xgboost.log_model(model, **theirs)),
            "promote": lambda: seconds(lambda: promote(run.info.run_id, new(), uri=uri)),
            "command": command,
            "import": lambda: process("-c", IMPORT),
            "open": lambda: process("-c", f"{IMPORT} MlflowClient({uri!r}).search_experiments()"),
        }
        # Once each, so that imports and caches are no part of it.
        for way in ways.values():
            way()
        return {name: list(rows) for name, rows in zip(ways, zip(*_rounds(ways, repeats), strict=True), strict=True)}


def _rounds(ways: dict[str, Callable[[], float]], repeats: int) -> list[list[float]]:
    return [[way() for way in ways.values()] for _ in range(repeats)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        os.chdir(name)
        found = measure(sweep(Path(name)), asked.repeats)
        os.chdir(ROOT)

    def told(way: str) -> str:
        return f"{statistics.median(found[way]):6.3f} s ({min(found[way]):.3f} at least)"

    ratio = statistics.median(found["default"]) / statistics.median(found["log"])
    rest = statistics.median(found["command"]) - statistics.median(found["open"])
    print(f"The model of an XGBoost trial in SQLite, medians of {asked.repeats}")
    print(f"  logged by us, with example, card and pins     {told('log')}; asked: 0.1")
    print(f"  mlflow.xgboost.log_model, requirements given  {told('given')}")
    print(f"  mlflow.xgboost.log_model by default           {told('default')}, {ratio:.0f} times as long")
    print(f"  promoted, mlflow imported already             {told('promote')}; asked: 1.5")
    print(f"  sweeproute promote, the whole process         {told('command')}")
    print(f"  a process that imports mlflow's client alone  {told('import')}")
    print(f"  one that opens the store as well              {told('open')}; promote takes {rest:.2f} s more")


if __name__ == "__main__":
    main()
