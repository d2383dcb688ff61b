"""What the tests of the executor run on another machine."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import submitit


def square(x: float) -> float:
    print("squaring", x)
    print("on the other stream", file=sys.stderr)
    return x * x


def same(value: Any) -> Any:
    return value


def fail(text: str) -> None:
    raise ValueError(text)


def leave(code: int) -> None:
    sys.exit(code)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def grow(megabytes: int) -> int:
    return len(bytearray(os.urandom(1 << 20) * megabytes))


def variable(name: str) -> str | None:
    return os.environ.get(name)


def wait_for(name: str) -> str:
    """Say that it has begun, and end when a file lies in the home folder."""
    print("waiting", flush=True)
    while not (Path.home() / name).exists():
        time.sleep(0.02)
    return name


def meet(mine: str, others: str) -> None:
    (Path.home() / mine).touch()
    wait_for(others)


def start_processes() -> None:
    """Leave processes in this job's group, and in a session of their own."""
    subprocess.Popen(["sleep", "4242"])
    subprocess.Popen(["sleep", "4243"], start_new_session=True)
    print("started", flush=True)
    time.sleep(600)


def write_files() -> list[str]:
    environment = submitit.JobEnvironment()
    Path("relative.txt").write_text("in the working directory")
    (environment.paths.folder / "deep").mkdir()
    (environment.paths.folder / "deep" / "absolute.txt").write_text("in the folder of the environment")
    return [Path("data/numbers.txt").read_text(), environment.cluster, environment.job_id, str(environment.num_tasks)]


class Bomb:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return os.system, ("touch exploded",)


def plant() -> Bomb:
    """Write pickles under the names that submitit would read."""
    job_id = submitit.JobEnvironment().job_id
    for name in (f"{job_id}_0_result.pkl", f"{job_id}_submitted.pkl", "checkpoint.pkl"):
        Path(name).write_bytes(pickle.dumps(Bomb()))
    return Bomb()


class Counter(submitit.helpers.Checkpointable):
    """Counts as far as it is told, and goes on from where it was when it is queued again."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.starts = 0

    def __call__(self, stop: str, seconds: float = 0.02) -> list[int]:
        self.starts += 1
        print("start", self.starts, flush=True)
        while not (Path.home() / stop).exists():
            self.steps.append(len(self.steps))
            print("step", flush=True)
            time.sleep(seconds)
        assert self.steps == list(range(len(self.steps)))
        return [self.starts, len(self.steps)]
