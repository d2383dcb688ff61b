"""Times the comparison of chapter 4 on the simulated league from one command to its tables and figures.

`python train.py -m +experiment=chapter4` searches four models over their spaces with three calibrations, then scores
what has won on the holdout; `sweeproute report` then makes the chapter from the tracking store alone, the sweep's
folder gone, and has to make the same bytes again. Asked: no warning and under 12 minutes on 2 cores for the sweep,
under 20 s for the report.

    python benchmarks/chapter4.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(folder: Path, *words: str) -> tuple[float, str]:
    """Seconds of a process, and what it said."""
    places = {"SWEEPROUTE_STATE": str(folder / "state"), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=os.environ | places, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - began, done.stdout + done.stderr


def main() -> None:
    """Run it, print."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        sweep = folder / "sweep"
        seconds, said = run(folder, "train.py", "-m", "+experiment=chapter4", f"hydra.sweep.dir={sweep}")
        jobs = next(line for line in said.splitlines() if line.startswith("Sweep "))
        warned = [line for line in said.splitlines() if "warning" in line.lower()]
        print(f"{jobs.partition(': ')[2]}: {seconds / 60:.1f} min (asked: 12), {len(warned)} warnings (asked: none)")
        print("\n".join(warned), end="\n" if warned else "")
        shutil.rmtree(sweep)
        made = []
        for _ in range(2):
            report = folder / "report"  # the same, since one of its files says where the others lie
            seconds, _ = run(folder, "-m", "sweeproute", "report", "chapter4", "--to", str(report))
            files = {one.relative_to(report): one.read_bytes() for one in sorted(report.rglob("*")) if one.is_file()}
            made.append(files)
            shutil.rmtree(report)
            print(f"report, {len(files)} files with its figures: {seconds:.1f} s (asked: 20)")
        different = [str(path) for path in made[0] if made[0][path] != made[1].get(path)]
        print(f"made again: {'the same to the last byte' if not different else 'different in ' + ', '.join(different)}")


if __name__ == "__main__":
    main()
