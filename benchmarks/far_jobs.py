"""Times 200 empty Hydra jobs that a machine behind ssh runs in 2 slots, their folders complete here at the end.

The machine is the tests' workstation, another machine in network namespaces; without root it is a folder of this one,
reached without a network (said in the output). Each figure is a whole process; start-up is the time of a sweep of one
job, steady is what each further job adds to it once its worker is warm. The peer is what a shell script does: an ssh
and a process for each job, 2 at a time, its files left over there.

    python benchmarks/far_jobs.py [--jobs 200] [--repeats 3] [--round-trip-ms 100]
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import near_shell
import workstation
from empty_jobs import write_app

# Enough of the peer's to see what one takes.
_PEER_JOBS = 10


@contextlib.contextmanager
def machine(round_trip_ms: int) -> Iterator[tuple[str, dict[str, str], dict[str, str]]]:
    """A far machine: what it is, its entry in the registry, and the environment in which it is reached."""
    if not workstation.missing():
        with workstation.Workstation.start() as box:
            config = box.slow_config(round_trip_ms) if round_trip_ms else box.ssh_config
            entry = {"host": box.host, "ssh_config": str(config), "python": str(box.python)}
            yield "another machine (network namespaces, sshd)", entry, {}
        return
    if round_trip_ms:
        raise SystemExit(f"A slow line needs the workstation: {workstation.missing()}")
    with tempfile.TemporaryDirectory() as name:
        near = near_shell.NearShell(Path(name))
        yield (
            "this machine, without a network",
            {"host": "far", "python": sys.executable},
            {"PATH": f"{near.home}:{os.environ['PATH']}"},
        )


def seconds(folder: Path, jobs: int, entry: dict[str, str], environment: dict[str, str]) -> float:
    """Run one sweep as a whole process, and see that all of its files are here."""
    axis = f"x=range({jobs})" if jobs > 1 else "x=0"
    out = f"out{time.monotonic_ns()}"
    box = ", ".join(f"{key}: '{value}'" for key, value in entry.items())
    box = f"{{{box}, max_concurrent_jobs: 2, specs: {{cpu_cores: 2, memory_gb: 8}}}}"
    words = [
        "+hydra.launcher.platforms.here={max_concurrent_jobs: 1}",
        f"+hydra.launcher.platforms.box={box}",
        "hydra.launcher.default_platform=box",
        "hydra.launcher.overflow=never",
    ]
    command = [sys.executable, "app.py", "-m", axis, f"hydra.sweep.dir={out}", "hydra/launcher=routed"]
    command += ["hydra/sweeper=search", "journal=true", *words]
    environment = os.environ | {"SWEEPROUTE_STATE": str(folder / "state")} | environment
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    took = time.perf_counter() - began
    whole = [path for path in (folder / out).glob("*/journal.jsonl") if '"end_run"' in path.read_text()]
    configs = list((folder / out).glob("*/.hydra/config.yaml"))
    if done.returncode or len(whole) != jobs or len(configs) != jobs or "box" not in done.stdout:
        raise SystemExit(f"{len(whole)} of {jobs} jobs are here.\n{done.stdout}{done.stderr}")
    return took


def process_per_job(folder: Path, jobs: int, entry: dict[str, str], environment: dict[str, str]) -> float:
    """Seconds for each job that an ssh of its own runs in a process of its own, 2 at a time."""
    ssh = ["ssh", *(["-F", entry["ssh_config"]] if "ssh_config" in entry else []), entry["host"]]
    environment = os.environ | environment
    # Into the home folder: what lies beside it over there is not ours.
    app = subprocess.run(["tar", "-cf", "-", "app.py", "conf"], cwd=folder, check=True, capture_output=True).stdout
    subprocess.run([*ssh, "mkdir -p peer && tar -xf - -C peer"], input=app, check=True, env=environment)

    def run(number: int) -> None:
        words = f"{entry['python']} app.py x={number} hydra.run.dir=out/{number}"
        subprocess.run([*ssh, f"cd peer && {words}"], check=True, capture_output=True, env=environment)

    run(0)
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(jobs)))
    return (time.perf_counter() - began) / jobs


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--round-trip-ms", type=int, default=0)
    asked = parser.parse_args()
    with machine(asked.round_trip_ms) as (what, entry, environment), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_app(folder)
        seconds(folder, 1, entry, environment)  # brings the code over
        many = [seconds(folder, asked.jobs, entry, environment) for _ in range(asked.repeats)]
        one = [seconds(folder, 1, entry, environment) for _ in range(asked.repeats)]
        peer_ms = process_per_job(folder, _PEER_JOBS, entry, environment) * 1e3
    per_job, start_up = statistics.median(many) / asked.jobs * 1e3, statistics.median(one)
    steady = (statistics.median(many) - start_up) / max(1, asked.jobs - 1) * 1e3
    line = f", {asked.round_trip_ms} ms round trip" if asked.round_trip_ms else ""
    print(f"{what}{line}: {steady:.1f} ms a job on a warm worker (asked: 15)")
    print(f"with the start-up of {start_up:.2f} s: {per_job:.1f} ms a job")
    print(
        f"an ssh and a process for each job: {peer_ms:.0f} ms a job; ratio: 1/{peer_ms / per_job:.0f} with the start-up"
    )


if __name__ == "__main__":
    main()
