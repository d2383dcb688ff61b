"""Times 200 empty Hydra jobs on 2 workers: `routed` with `search` beside hydra-joblib-launcher with its sweeper.

Each figure is a whole process, from its start to its end, in turn with the peer's. On our side the task also writes a
journal and a callback hears of every job; MLflow, which may lag, is not part of it. Start-up is the time of a sweep of
one job; steady is what each further job adds.

    python benchmarks/empty_jobs.py [--jobs 200] [--repeats 3]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GROUPS = ("data", "model", "optimizer", "scheduler", "trainer", "logger")
LEAVES = 80

APP = '''"""An empty task."""
import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback


class Hears(Callback):
    """Hears of every job."""


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    """Write a journal where ours is timed; nothing else."""
    if cfg.journal:
        from sweeproute.journal import Journal

        with Journal.open(HydraConfig.get().runtime.output_dir, "empty") as journal:
            journal.params({"x": cfg.x})
            journal.metrics({"loss": 0.0})
    return 0.0


if __name__ == "__main__":
    main()
'''


def write_app(folder: Path) -> None:
    """An app with 6 config groups and 80 leaves."""
    (folder / "app.py").write_text(APP)
    conf = folder / "conf"
    conf.mkdir()
    lines = ["defaults:", *(f"  - {group}: one" for group in GROUPS), "  - _self_", "x: 0", "journal: false"]
    (conf / "config.yaml").write_text("\n".join(lines) + "\n")
    per_group = [LEAVES // len(GROUPS) + (n < LEAVES % len(GROUPS)) for n in range(len(GROUPS))]
    for group, leaves in zip(GROUPS, per_group, strict=True):
        (conf / group).mkdir()
        for option in ("one", "two"):
            text = "".join(f"leaf_{n}: {n / 7:.3f}\n" for n in range(leaves))
            (conf / group / f"{option}.yaml").write_text(text)


def seconds(folder: Path, jobs: int, words: list[str]) -> float:
    """Run one sweep as a whole process."""
    axis = f"x=range({jobs})" if jobs > 1 else "x=0"
    command = [sys.executable, "app.py", "-m", axis, f"hydra.sweep.dir=out{time.monotonic_ns()}", *words]
    environment = os.environ | {"SWEEPROUTE_STATE": str(folder / "state")}
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - began


OURS = [
    "hydra/launcher=routed",
    "hydra/sweeper=search",
    "hydra.launcher.joblib.n_jobs=2",
    "journal=true",
    "+hydra.callbacks.hears._target_=__main__.Hears",
]
PEER = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def main() -> None:
    """Print both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ours-only", action="store_true", help="leave the peer out, while tuning")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_app(folder)
        ratios, ours, first, peers = [], [], [], []
        for _ in range(asked.repeats):
            ours.append(seconds(folder, asked.jobs, OURS))
            first.append(seconds(folder, 1, OURS))
            if not asked.ours_only:
                peers.append(seconds(folder, asked.jobs, PEER))
                ratios.append(peers[-1] / ours[-1])
    per_job = statistics.median(ours) / asked.jobs * 1e3
    start_up = statistics.median(first)
    steady = (statistics.median(ours) - start_up) / (asked.jobs - 1) * 1e3
    print(f"routed + search: {per_job:.1f} ms a job (start-up {start_up:.2f} s, then {steady:.1f} ms a job)")
    if ratios:
        print(f"joblib + basic:  {statistics.median(peers) / asked.jobs * 1e3:.1f} ms a job")
        print(
            f"ratio: 1/{statistics.median(ratios):.1f} (asked: 1/12), pairs: {', '.join(f'1/{r:.1f}' for r in ratios)}"
        )


if __name__ == "__main__":
    main()
