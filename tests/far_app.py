"""A small Hydra app whose jobs run here and on a far side, with what tests ask of both."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from near_shell import NearShell

APP = '''
import os
import signal
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import to_absolute_path

from kinds import double


class LackingError(RuntimeError):
    platform_lacks = True


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    """Do to this process what the config says, and leave word where executions are counted."""
    out = HydraConfig.get().runtime.output_dir
    at = Path(cfg.at)
    with (at / "executions").open("a") as stream:
        stream.write(f"{cfg.x} {cfg.where}\\n")
    again = (at / f"first-{cfg.x}").exists()
    (at / f"first-{cfg.x}").touch()
    Path(out, "journal.jsonl").write_text("{}\\n")
    kept = Path(out, "checkpoint")
    kept.mkdir(exist_ok=True)
    came = sorted(path.read_text() for path in kept.iterdir())
    (kept / str(len(came))).write_text(cfg.where or "somewhere")
    if cfg.x in cfg.wait or "all" in cfg.wait:
        while not (at / "go").exists():
            time.sleep(0.02)
    time.sleep(cfg.takes)
    if cfg.x in cfg.dies and not again:
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.x in cfg.raises:
        raise ValueError(f"{cfg.x} is unlucky")
    if cfg.where in cfg.lacks:
        raise LackingError(f"there is no R on {cfg.where}: install it")
    for name in cfg.writes:
        Path(out, name).touch()
    Path(out, "deep").mkdir()
    Path(out, "deep", "model.bin").write_bytes(bytes(range(256)) * 40)
    read = Path(cfg.file).read_text() if cfg.file else None
    return {"double": double(cfg.x), "read": read, "cwd": os.getcwd(), "beside": to_absolute_path("x"), "out": out,
            "came": came}


if __name__ == "__main__":
    main()
'''

CONF = """
defaults:
  - override hydra/launcher: routed
  - override hydra/sweeper: search
  - _self_
kind: light
x: 0
takes: 0
at: ???
where: null
wait: []
dies: []
raises: []
lacks: []
needs: []
writes: []
file: null
hydra:
  sweep: {dir: out, subdir: "${hydra.job.num}"}
  launcher:
    overflow: never
    platforms:
      here: {max_concurrent_jobs: 1, specs: {memory_gb: 4}}
      box:
        {max_concurrent_jobs: 2, host: far, python: null, ssh_config: null,
        specs: {memory_gb: 64, gpu: false, cpu_cores: 2}}
    rules:
      - {kind: light, route_to: here, reason: starts at once}
      - {kind: heavy, route_to: box, reason: needs the box}
    fields: {kind: kind, capabilities: needs}
    sets: {device: where}
    files: [file]
"""


class FarApp:
    """The app in a folder, with a far side in another.

    Args:
        folder: Where both are made.
        python: The Python of the far side's jobs.
        ssh_config: Configuration under which `host` is a real machine; None is a far side in a folder.
        host: Its name there.
        at: A folder of the far side in which executions are counted; where the machine is a real one, the caller's.
    """

    def __init__(
        self,
        folder: Path,
        python: str = sys.executable,
        ssh_config: Path | None = None,
        host: str = "far",
        at: Path | None = None,
    ) -> None:
        self.folder = folder / "app"
        (self.folder / "conf").mkdir(parents=True)
        (self.folder / "app.py").write_text(APP)
        (self.folder / "kinds.py").write_text("def double(x):\n    return 2 * x\n")
        (self.folder / "conf" / "config.yaml").write_text(CONF)
        self.state = folder / "state"
        ours = {"SWEEPROUTE_STATE": str(self.state), "SWEEPROUTE_CACHE": str(folder / "cache")}
        self.environment = os.environ | ours
        self.words = [f"hydra.launcher.platforms.box.python={python}", f"hydra.launcher.platforms.box.host={host}"]
        self.shell: NearShell | None = None
        if ssh_config is None:
            self.shell = NearShell(folder / "far")
            self.environment["PATH"] = f"{self.shell.home}:{self.environment['PATH']}"
        else:
            self.words.append(f"hydra.launcher.platforms.box.ssh_config={ssh_config}")
        self.at = at or folder / "at"
        if at is None:
            self.at.mkdir()
        self.words.append(f"at={self.at}")

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a sweep."""
        return subprocess.Popen(
            [sys.executable, "app.py", "-m", *self.words, *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def sweep(self, *words: str, code: int = 0, timeout: float = 120) -> str:
        """Run a sweep to its end."""
        process = self.start(*words)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(process.communicate()[0]) from None
        assert process.returncode == code, output
        return output

    def launches(self, job: int | None = None) -> list[dict[str, Any]]:
        """Launch records, those of one job by attempt."""
        records = [json.loads(path.read_text()) for path in self.folder.glob("out/*/launch.json")]
        chosen = [record for record in records if job is None or record["job"] == job]
        return sorted(chosen, key=lambda record: (record["job"], record["attempt"]))

    def launch(self, job: int) -> dict[str, Any]:
        """The record that counts."""
        (record,) = [record for record in self.launches(job) if record["current"]]
        return record

    def executions(self) -> Counter[int]:
        """How often each job ran, wherever."""
        path = self.at / "executions"
        return Counter(int(line.split()[0]) for line in path.read_text().splitlines()) if path.exists() else Counter()

    def go(self) -> None:
        """Let waiting jobs end."""
        (self.at / "go").touch()

    def supervisor(self) -> Mapping[str, Any] | None:
        """What the far side says of its supervisor."""
        assert self.shell is not None
        try:
            found: Mapping[str, Any] = json.loads((self.shell.root / "supervisor.json").read_text())
        except (OSError, ValueError):
            return None
        return found

    def far_processes(self) -> list[psutil.Process]:
        """The far side's supervisor and all below it."""
        found = self.supervisor()
        try:
            process = psutil.Process(found["pid"]) if found else None
            return [process, *process.children(recursive=True)] if process else []
        except psutil.NoSuchProcess:
            return []

    def far_jobs(self) -> list[str]:
        """Ids of the jobs that the far side still keeps."""
        assert self.shell is not None
        jobs = self.shell.root / "jobs"
        return [path.name for path in jobs.iterdir()] if jobs.exists() else []

    def close(self) -> None:
        """End what the far side runs."""
        family = self.far_processes()
        for process in family:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(family, timeout=5)


def wait_until(true: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.02)
