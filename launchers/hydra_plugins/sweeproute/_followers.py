"""Makes jobs of their own out of the points that another job has answered for."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import open_dict

from . import _worker
from ._compose import Composer, build, parse, without_hydra
from ._files import ConfigFiles
from ._records import DONE, LAUNCH, STALE, SweepFolder, read_json, write_json
from ._shared_fit import FOLDER, VALUE, Answer, Follower, Group, answers, clear

# Key of a launch record under which it is noted what a job may answer for, and has answered for.
_SHARES = "shares"
# What of a job's launch record is its alone.
_OWN = (_SHARES, "far", "folder")


def shares_record(group: Group, settled: Sequence[Override]) -> dict[str, Any]:
    """What is noted at the start of a job that may answer for other points.

    Args:
        group: The points.
        settled: What its platform has set in its config.
    """
    return {
        "key": group.key,
        "value": group.value,
        "settled": [one.input_line for one in settled],
        "followers": [
            {"job": one.number, "value": one.value, "overrides": list(one.overrides)} for one in group.followers
        ],
    }


def followers_of(launch: Mapping[str, Any]) -> tuple[Follower, ...]:
    """The points that a job was asked to answer for, by its launch record; none where its result was taken over."""
    if "reused" in launch:
        return ()
    noted = (launch.get(_SHARES) or {}).get("followers", ())
    return tuple(Follower(one["job"], tuple(one["overrides"]), one["value"]) for one in noted)


def whole_run_s(launch: Mapping[str, Any]) -> float:
    """Seconds that a job ran, whatever part of them counts as that of other points."""
    return float((launch.get(_SHARES) or {}).get("run_s", launch["run_s"]))


class Followers:
    """The points of one sweep that another one's job has answered for.

    A job that has ended is recorded first, then each point for which it has answered: what it left is completed, moved
    to the point's own folder, its launch record last, then listed. Each of these can be done again from wherever a
    crash has left it.

    Args:
        sweep: Where folders and records are.
        composer: Composes the jobs' configs.
    """

    def __init__(self, sweep: SweepFolder, composer: Composer) -> None:
        self._sweep = sweep
        self._composer = composer
        self._files: dict[str, ConfigFiles] = {}

    def divide(self, launch: dict[str, Any], folder: Path) -> None:
        """Enter into the record of a job that has finished for which points it has answered, and what of its time is
        its own: each has a part in proportion to its value, the job itself the last.

        Args:
            launch: The job's record.
            folder: The job's.
        """
        asked = followers_of(launch)
        if not asked:
            return
        shares = launch[_SHARES]
        found = answers(folder, Group(shares["key"], shares["value"], asked))
        if not found:
            return
        shares |= {"run_s": launch["run_s"], "started_at": launch["started_at"]}
        shares["answered"] = [{"job": one.follower.number, "identity": one.identity} for one in found]
        launch |= _times(launch, [one.follower.value for one in found], shares["value"])

    def take(
        self, launch: dict[str, Any], folder: Path, wanted: Callable[[int, tuple[str, ...]], bool]
    ) -> Iterator[tuple[dict[str, Any], Path]]:
        """Record the points that a job has answered for.

        Args:
            launch: The job's record, which has been written.
            folder: The job's.
            wanted: Whether a point, by its number and overrides, has no result yet.

        Yields:
            The record and the folder of each.
        """
        answered = {one["job"]: one["identity"] for one in (launch.get(_SHARES) or {}).get("answered", ())}
        found = [Answer(one, answered[one.number]) for one in followers_of(launch) if one.number in answered]
        for one in found:
            if wanted(one.follower.number, one.follower.overrides):
                lower = [other.follower.value for other in found if other is not one]
                taken = self._take(one, launch, folder, lower)
                if taken is not None:
                    yield taken
        if followers_of(launch):
            clear(folder)

    def take_rest(self) -> None:
        """Record what an earlier coordinator has left: its job was recorded, and what that answered for was not."""
        for launch in list(self._sweep.launches.values()):
            if launch["state"] == "FINISHED" and launch["current"]:
                there = self._sweep.folder / launch["folder"]
                for _ in self.take(launch, there, self._has_no_result):
                    pass

    def _has_no_result(self, number: int, overrides: tuple[str, ...]) -> bool:
        launch = self._sweep.launches.get(number)
        return launch is None or (launch["state"] not in DONE and tuple(launch["overrides"]) == overrides)

    def _take(
        self, answer: Answer, launch: dict[str, Any], leader: Path, others: Sequence[int]
    ) -> tuple[dict[str, Any], Path] | None:
        follower, shares = answer.follower, launch[_SHARES]
        source = leader / FOLDER / str(follower.number)
        attempt = self._sweep.next_attempt(follower.number)
        base, point = self._composer.point(follower.overrides)
        settled = tuple(map(parse, shares["settled"]))
        config = build(base.blob, point, settled, follower.number)
        with _worker.hydra_config(config):
            folder = self._sweep.job_folder(str(config.hydra.sweep.subdir), follower.number, attempt)
        record = {key: value for key, value in launch.items() if key not in _OWN}
        record |= {
            "job": follower.number,
            "attempt": attempt,
            "overrides": list(follower.overrides),
            "reason": f"{launch['reason']}; shared the fit of job {launch['job']}",
            "shared_fit": launch["job"],
            "identity": answer.identity or launch["identity"],
            "unfit": None,
        }
        whole = {"started_at": shares["started_at"], "ended_at": launch["ended_at"], "run_s": shares["run_s"]}
        record |= _times(whole, [*others, shares["value"]], follower.value)
        if (source / VALUE).is_file():
            try:
                record["value"] = json.loads((source / VALUE).read_text(encoding="utf-8"))
            except ValueError:
                return None
            if config.hydra.output_subdir is not None:
                # hydra_config has made the node read-only.
                config = build(base.blob, point, settled, follower.number)
                with open_dict(config.hydra.runtime):
                    config.hydra.runtime.output_dir = str(folder)
                if base.id not in self._files:
                    self._files[base.id] = ConfigFiles(base.config())
                touched = (*point.values, *settled)
                self._files[base.id].write(source / config.hydra.output_subdir, without_hydra(config), config, touched)
            console = f"This job shared the fit of job {launch['job']}: what that printed is in its own folder.\n"
            (source / _worker.CONSOLE).write_text(console, encoding="utf-8")
            write_json(source / LAUNCH, record)
            folder.mkdir(parents=True, exist_ok=True)
            for name in STALE:
                (folder / name).unlink(missing_ok=True)
            (source / VALUE).unlink()
        made = read_json(source / LAUNCH)
        if made is None:
            made = read_json(folder / LAUNCH)
            if made is None or made.get("shared_fit") != launch["job"] or made["overrides"] != record["overrides"]:
                return None
        else:
            _move(source, folder)
        self._sweep.list_job(follower.number, attempt, folder)
        self._sweep.record_job(folder, made)
        return made, folder


def _times(launch: Mapping[str, Any], others: Sequence[int], value: int) -> dict[str, float]:
    """When a point's part of a shared fit began and ended, and its seconds: parts follow one another by their values.

    Args:
        launch: started_at, ended_at and run_s of the whole.
        others: The other points' values.
        value: The point's.
    """
    total = sum(others) + value
    before = sum(other for other in others if other < value)
    span = launch["ended_at"] - launch["started_at"]
    return {
        "started_at": launch["started_at"] + span * before / total,
        "ended_at": launch["started_at"] + span * (before + value) / total,
        "run_s": launch["run_s"] * value / total,
    }


def _move(source: Path, folder: Path) -> None:
    """Move what is in a folder into another one, the launch record last."""
    for path in sorted(source.iterdir(), key=lambda path: path.name == LAUNCH):
        target = folder / path.name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        path.replace(target)
