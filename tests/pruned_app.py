"""The small app of two machines whose jobs report, and whose coordinator finds some of them not worth going on."""

import json
from pathlib import Path
from typing import Any

from far_app import FarApp

APP = '''
import json
import os
import subprocess
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig

from hydra_plugins.sweeproute._source import Points
from sweeproute.pruning import pruned, report

AT = Path(os.environ.get("AT", "."))


def reported(self, number, step, metrics):
    """Note what is heard; stop a job whose score is low after its second step, or where a test has said so."""
    score = metrics["score"]
    with (AT / "heard").open("a") as stream:
        stream.write(json.dumps([number, step, score, time.time()]) + "\\n")
    if step < 2 or score >= 0.5:
        return None
    while (AT / "undecided").exists():
        time.sleep(0.02)
    with (AT / "decided").open("a") as stream:
        stream.write(json.dumps([number, time.time()]) + "\\n")
    return f"a score of {score}"


if "PRUNES" in os.environ:
    Points.prunes = property(lambda self: True, lambda self, _: None)
    Points.reported = reported


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    """Report after each step, and wait for word between the steps."""
    out, at, x = Path(HydraConfig.get().runtime.output_dir), Path(cfg.at), cfg.x
    with (at / "executions").open("a") as stream:
        stream.write(f"{x} {cfg.where}\\n")
    if x in cfg.deaf:
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (at / f"child-{x}~").write_text(str(child.pid))
        (at / f"child-{x}~").replace(at / f"child-{x}")
    for step in (1, 2, 3):
        metrics = {"score": x / 10, "step_s": 0.5}
        reason = report(step, metrics)
        while not (at / f"go-{step}").exists():
            if (out / "stop").exists() and x in cfg.late:
                break
            if (out / "stop").exists() and x not in cfg.deaf:
                reason = reason or (out / "stop").read_text().strip()
                break
            time.sleep(0.02)
        if reason is not None and x not in (*cfg.deaf, *cfg.late):
            return pruned(reason, metrics)
    return {**metrics, "whole": 1}


if __name__ == "__main__":
    main()
'''


class PrunedApp(FarApp):
    """The app; jobs whose `x` is below 5 are stopped after their second step."""

    def __init__(self, folder: Path, **more: Any) -> None:
        super().__init__(folder, **more)
        (self.folder / "app.py").write_text(APP)
        config = self.folder / "conf" / "config.yaml"
        config.write_text(config.read_text().replace("wait: []", "wait: []\ndeaf: []\nlate: []"))
        self.environment |= {"PRUNES": "1", "AT": str(self.at)}

    def go(self, *steps: int) -> None:
        """Let jobs go on behind these steps, behind all where none is said."""
        for step in steps or (1, 2, 3):
            (self.at / f"go-{step}").touch()

    def lines(self, name: str) -> list[Any]:
        """What the coordinator has noted: heard (job, step, score, time) or decided (job, time)."""
        path = self.at / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def ended(self, job: int) -> bool:
        """Whether a job's record says that it has come to its end."""
        return any(record["state"] not in ("QUEUED", "RUNNING") for record in self.launches(job))

    def launch_state(self, job: int) -> str:
        """State of the only attempt at a job."""
        (record,) = self.launches(job)
        return str(record["state"])
