"""Kills a sweep's coordinator at random moments, and counts what `sweeproute sync` brings into MLflow afterwards.

Each round is a sweep of twelve small trials into a SQLite store, on two workers. The coordinator is killed (SIGKILL)
after a time drawn evenly from the whole length of a sweep that is left alone, its start and its end among it. Then
`sweeproute sync` runs once the workers, which a kill leaves to themselves, have gone. Every trial whose journal
says FINISHED has to be in MLflow exactly once, with every parameter, every value of every metric at its step and time,
and with its artifacts; a second `sync` has to write nothing. Asked: 50 times without a loss.

    python benchmarks/killed_coordinator.py [--rounds 50]
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from mlflow import MlflowClient

from handmade_sweep import fresh_store
from small_trial import SMALL, end, start
from sweeproute import journal

TRIALS = 12
WORDS = (
    "-m",
    "model=glm",
    "tracking.models=none",
    "search_space=none",
    f"model.params.C={','.join(str(one / 10) for one in range(1, TRIALS + 1))}",
    *SMALL,
)
NAMED = ("hydra.sweep.dir=out", "sweep.id=killed")


def begun(folder: Path, uri: str) -> "subprocess.Popen[str]":
    environment = {"SWEEPROUTE_STATE": str(folder / "state"), "SWEEPROUTE_CACHE": str(folder.parent / "cache")}
    return start(folder, *WORDS, *NAMED, uri=uri, **environment)


def synced(folder: Path, uri: str) -> str:
    """What `sync` says; it has to succeed where a sweep has begun."""
    environment = {**os.environ, "SWEEPROUTE_STATE": str(folder / "state"), "MLFLOW_TRACKING_URI": uri}
    command = [sys.executable, "-m", "sweeproute", "sync", "killed"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def working(folder: Path) -> bool:
    """Whether a process still has a trial's folder for its working directory, or its journal open."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            places = [str((process / "cwd").readlink()), *(str(fd.readlink()) for fd in (process / "fd").iterdir())]
        except OSError:
            continue
        if any(place.startswith(str(folder / "out")) for place in places):
            return True
    return False


def checked(folder: Path, uri: str) -> int:
    """Compare each finished trial's journal with what MLflow has; how many there are.

    Raises:
        SystemExit: One is missing, is there twice, or has lost something.
    """
    client = MlflowClient(uri)
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()], max_results=1000)
    finished = 0
    for path in sorted((folder / "out").glob(f"*/{journal.FILE}")):
        page = journal.merge(journal.read(path.parent)[0])
        if page.status != "FINISHED":
            continue
        finished += 1
        there = [run for run in runs if run.data.tags.get("sweeproute.journal") == page.journal]
        if len(there) != 1:
            raise SystemExit(f"{path.parent} is in MLflow {len(there)} times.")
        run = there[0]
        wanted = Counter(page.metrics)
        found = Counter(
            (one.key, one.value, one.step, one.timestamp)
            for name in {metric[0] for metric in page.metrics}
            for one in client.get_metric_history(run.info.run_id, name)
        )
        artifacts = {name for _, to in page.artifacts for name in ([to] if to else [])} or set()
        artifacts |= {Path(name).name for name, to in page.artifacts if not to}
        listed = {one.path for one in client.list_artifacts(run.info.run_id)}
        lost = {
            "metrics": wanted - found or found - wanted,
            "parameters": page.params.items() - run.data.params.items(),
            "artifacts": {name.split("/")[0] for name in artifacts} - listed,
            "end": set() if run.info.status == "FINISHED" else {run.info.status},
        }
        if any(lost.values()):
            raise SystemExit(f"{path.parent}: { ({what: which for what, which in lost.items() if which}) }")
    if len({run.data.tags["sweeproute.journal"] for run in runs}) != len(runs):
        raise SystemExit("A run is there twice.")
    return finished


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as top:
        alone = Path(top) / "alone"
        alone.mkdir()
        uri = fresh_store(alone)
        end(begun(alone, uri))
        began = time.perf_counter()
        alone = Path(top) / "again"
        alone.mkdir()
        uri = fresh_store(alone)
        end(begun(alone, uri))
        length = time.perf_counter() - began
        assert checked(alone, uri) == TRIALS
        print(f"a sweep that is left alone takes {length:.1f} s; {asked.rounds} rounds")
        counts = []
        for number in range(asked.rounds):
            folder = Path(top) / str(number)
            folder.mkdir()
            uri = fresh_store(folder)
            process = begun(folder, uri)
            moment = chance.uniform(0, length)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            process.communicate()
            while working(folder):
                time.sleep(0.1)
            first = synced(folder, uri)
            counts.append(checked(folder, uri))
            second = synced(folder, uri)
            assert checked(folder, uri) == counts[-1]
            print(
                f"  {number:3d}: killed after {moment:5.2f} s, {counts[-1]} finished; {first.splitlines()[-1:]}",
                flush=True,
            )
            if counts[-1] and second.splitlines()[-1:] != first.splitlines()[-1:]:
                print(f"       then {second.splitlines()[-1:]}")
        few, all_of_them = sum(count == 0 for count in counts), sum(count == TRIALS for count in counts)
        print(
            f"{asked.rounds} coordinators killed, {sum(counts)} trials had finished ({few} times none, "
            f"{all_of_them} times all): each is in MLflow exactly once, and nothing of it is missing"
        )


if __name__ == "__main__":
    main()
