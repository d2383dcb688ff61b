"""Closes the lid on a sweep: stops every process of it, for ten minutes unless told otherwise, then lets it go on.

The same sweep runs undisturbed first; both have to end with the same jobs, attempts and bitwise the same metrics.

    python benchmarks/closed_lid.py [--seconds 600]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]


def start(folder: Path, name: str) -> "subprocess.Popen[str]":
    """Start the sweep."""
    words = ["model=glm,xgboost", f"hydra.sweep.dir={folder}/{name}"]
    environment = os.environ | {
        "SWEEPROUTE_STATE": str(folder / "state"),
        "SWEEPROUTE_CACHE": str(folder / "cache"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/{name}.db",
    }
    command = [sys.executable, str(ROOT / "train.py"), "-m", *words]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def table(folder: Path, name: str) -> dict[str, tuple[int, str]]:
    """What came out, by overrides: attempts and metrics."""
    launches = [json.loads(path.read_text()) for path in (folder / name).glob("*/launch.json")]
    assert all(launch["state"] == "FINISHED" for launch in launches)
    return {" ".join(x["overrides"]): (x["attempt"], json.dumps(x["value"], sort_keys=True)) for x in launches}


def main() -> None:
    """Run both, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        undisturbed = start(folder, "undisturbed")
        undisturbed.communicate()
        assert undisturbed.returncode == 0

        stopped = start(folder, "stopped")
        while len(list((folder / "stopped").glob("*/launch.json"))) < 6:
            time.sleep(0.1)
        processes = [psutil.Process(stopped.pid), *psutil.Process(stopped.pid).children(recursive=True)]
        for process in processes:
            process.suspend()
        before = len(list((folder / "stopped").glob("*/launch.json")))
        time.sleep(asked.seconds)
        assert len(list((folder / "stopped").glob("*/launch.json"))) == before
        for process in reversed(processes):
            process.resume()
        output, _ = stopped.communicate()
        assert stopped.returncode == 0, output
        ours, theirs = table(folder, "stopped"), table(folder, "undisturbed")
        different = [
            overrides for overrides in ours.keys() | theirs.keys() if ours.get(overrides) != theirs.get(overrides)
        ]
        print(
            f"{len(processes)} processes stopped for {asked.seconds:.0f} s with {before} of {len(ours)} jobs started: "
            f"{len(different)} jobs with other attempts or metrics than undisturbed"
        )
        for overrides in different[:3]:
            print(f"  {overrides}: {ours.get(overrides)} against {theirs.get(overrides)}")
        sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
