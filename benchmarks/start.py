"""Times what a person waits for: `train.py` to its first fit, and `sweeproute --help`.

Whole processes, median of several after a warm-up that fills the caches of data and parameter names. The tracker, which
train.py starts beside itself, is running meanwhile, as it does for a person.

    python benchmarks/start.py [--repeats 7]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]


def stop_at_first_fit() -> None:
    """Run train.py, but leave at the first `fit` and say when that was; the child process."""
    import runpy

    from sweeproute import estimators

    def fit(*_: Any) -> None:
        print(f"first fit at {time.time()}", flush=True)
        os._exit(0)

    estimators.fit_games = fit  # type: ignore[assignment]
    sys.argv[0] = str(ROOT / "train.py")
    runpy.run_path(sys.argv[0], run_name="__main__")


def first_fit(folder: Path, model: str, number: int) -> float:
    """Seconds from the start of the process to its first fit."""
    environment = os.environ | {"SWEEPROUTE_STATE": str(folder / "state"), "SWEEPROUTE_CACHE": str(folder / "cache")}
    words = [f"model={model}", f"hydra.run.dir={folder}/run{number}", f"tracking.uri=sqlite:///{folder}/mlflow.db"]
    began = time.time()
    command = [sys.executable, __file__, *words]
    output = subprocess.run(command, check=True, cwd=folder, env=environment, capture_output=True, text=True).stdout
    # The tracker of this run, which outlives it here, would slow the next.
    trackers = [p for p in psutil.process_iter(["cmdline"]) if f"{folder}/run{number}" in (p.info["cmdline"] or [])]
    psutil.wait_procs(trackers, timeout=60)
    return float(output.split("first fit at ")[1].split()[0]) - began


def help_text() -> float:
    """Seconds of `sweeproute --help`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sweeproute", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Print the medians."""
    if any(word.startswith("model=") for word in sys.argv):
        stop_at_first_fit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for model in ("glm", "xgboost"):
            first_fit(folder, model, -1)
            times = [first_fit(folder, model, number) for number in range(asked.repeats)]
            print(f"train.py model={model}, to the first fit: {statistics.median(times):.2f} s (asked: 1.8)")
        help_text()
        times = [help_text() for _ in range(asked.repeats)]
        print(f"sweeproute --help: {statistics.median(times):.2f} s (asked: 0.2)")


if __name__ == "__main__":
    main()
