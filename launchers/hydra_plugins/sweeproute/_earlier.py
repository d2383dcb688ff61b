"""Finds results of earlier sweeps that need not be computed again."""

import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import _worker
from ._compose import Composer, build, without_hydra
from ._errors import SettingsError
from ._files import ConfigFiles
from ._records import CHECKPOINT, LAUNCH, OURS, SweepFolder, pointers, read_json, read_lines
from ._returns import RoutedReturn
from ._route import returned

# What belongs to the job that ran, and not to its result.
_LEFT = (LAUNCH, CHECKPOINT, "stop", "*~", "*~far")


class EarlierResults:
    """Finished jobs of other sweeps, by fingerprint: the same configuration, code, data and seed.

    Args:
        sweep: The sweep that may use them.
        composer: Composes its jobs' configs.
        identity: Dotted path of the function that hashes a config.

    Raises:
        SettingsError: There is no such function, so that nothing tells two jobs to be the same.
    """

    def __init__(self, sweep: SweepFolder, composer: Composer, identity: str | None) -> None:
        if identity is None:
            raise SettingsError(
                "hydra.sweeper.reuse=true needs to know when two jobs are the same. Name a function that hashes a "
                "config, hydra.launcher.identity=PATH, or leave reuse out."
            )
        self._sweep = sweep
        self._composer = composer
        self._identity = identity
        self._found: dict[str, tuple[Path, dict[str, Any]]] | None = None

    def take(self, number: int, overrides: tuple[str, ...]) -> RoutedReturn | None:
        """Make an earlier result that of a job of this sweep.

        Args:
            number: The job's.
            overrides: The job's.

        Returns:
            The job's return, its folder and record being written; None where there is no such result.
        """
        base, point = self._composer.point(overrides)
        config = build(base.blob, point, (), number)
        fingerprint = _worker.identity_of(self._identity, config).get("fingerprint")
        if self._found is None:
            self._found = {one[1]["identity"]["fingerprint"]: one for one in self._finished()}
        found = self._found.get(str(fingerprint))
        if found is None:
            return None
        source, before = found
        with _worker.hydra_config(config):
            subfolder = str(config.hydra.sweep.subdir)
        attempt = self._sweep.next_attempt(number)
        folder = self._sweep.open_job(subfolder, number, attempt)
        inside = config.hydra.output_subdir
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_LEFT, *_one(inside)))
        if inside is not None:
            ConfigFiles(base.config()).write(folder / inside, without_hydra(config), config, point.values)
        now = time.time()
        launch = {
            **before,
            "sweep": self._sweep.record["id"],
            "job": number,
            "attempt": attempt,
            "overrides": list(overrides),
            "decision": "reused",
            "reason": f"job {before['job']} of {before['sweep']} has the same result",
            "considered": [],
            "reused": {"sweep": before["sweep"], "job": before["job"], "folder": str(source)},
            "current": True,
            "queued_at": now,
            "started_at": now,
            "ended_at": now,
            "queue_s": 0.0,
            "run_s": 0.0,
        }
        self._sweep.record_job(folder, launch)
        return returned(self._composer, launch, folder)

    def _finished(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The finished jobs of other sweeps, each with its folder; oldest sweep first."""
        for pointer in reversed(pointers()):
            root = Path(pointer["folder"])
            record = read_json(root / OURS / "sweep.json")
            if root == self._sweep.folder or record is None or record.get("id") != pointer["id"]:
                continue
            for line in read_lines(root / OURS / "jobs.jsonl"):
                launch = read_json(root / line["folder"] / LAUNCH)
                if launch is not None and _counts(launch):
                    yield root / line["folder"], launch


def _counts(launch: Mapping[str, Any]) -> bool:
    whole = launch.get("state") == "FINISHED" and launch.get("current") and not launch.get("unfit")
    if launch.get("follow_up"):
        return False  # its record says that nothing is chosen by it, which would go along
    return bool(whole and (launch.get("identity") or {}).get("fingerprint"))


def _one(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)
