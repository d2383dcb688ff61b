"""Lets a task that fits once answer for other points of its grid, whose fits are the beginning of its own.

Whoever started the task leaves `prefix.json` in the job's folder, so that a task which imports nothing of this project
can do the same::

    key         key of the config in which the points differ, as in model.params.n_estimators
    points      a list of {job, value, overrides, folder}: the point's number in the sweep, its value of the key, lower
                than the task's own, its overrides, and its folder, relative to the job's

The task writes into the folder of each of these points what a job of its own would have written into its output folder,
and last of all `value.json`: what the task would have returned, in JSON. Once the job has finished, such a folder
becomes that of the point's own job. A point without `value.json` is run by itself.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "prefix.json"
VALUE = "value.json"


@dataclass(frozen=True)
class Point:
    """Another point that the task may answer for.

    Attributes:
        job: Its number in the sweep.
        value: Its value of the key.
        overrides: Its overrides, as they were requested.
        folder: Where what belongs to it goes.
    """

    job: int
    value: Any
    overrides: tuple[str, ...]
    folder: Path

    def answer(self, value: Any) -> None:
        """Say that all of the point's files are there, and what its task returns.

        Args:
            value: As of a task: a number, or a mapping of metrics.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / f"{VALUE}.{os.getpid()}~"
        beside.write_text(json.dumps(value), encoding="utf-8")
        beside.replace(self.folder / VALUE)


@dataclass(frozen=True)
class Offer:
    """The points that a task may answer for beside its own.

    Attributes:
        key: Key of the config in which they differ from it.
        points: The points; none where nobody asks for any.
    """

    key: str = ""
    points: tuple[Point, ...] = ()


def offered(folder: Path | None = None) -> Offer:
    """Read what a task may answer for.

    Args:
        folder: The job's output folder; Hydra's when None.
    """
    if folder is None:
        # lazy import: a task that names its folder may be no task of Hydra's
        from hydra.core.hydra_config import HydraConfig

        folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Offer()
    points = (
        Point(int(one["job"]), one["value"], tuple(map(str, one["overrides"])), folder / one["folder"])
        for one in content["points"]
    )
    return Offer(str(content["key"]), tuple(points))
