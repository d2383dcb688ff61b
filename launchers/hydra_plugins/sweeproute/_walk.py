"""Runs a grid: every point of it, in batches where the launcher takes no more at once."""

import itertools
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from ._compose import Composer
from ._followers import Followers, followers_of
from ._kept import kept
from ._prefix import Prefix
from ._records import SweepFolder, append_line
from ._source import Points
from .config import SearchSweeperConf

if TYPE_CHECKING:
    from ._planned import Planned


class Walk:
    """The way through a fixed list of points.

    Args:
        listed: The overrides of each point.
        settings: The sweeper's.
        config: The sweep's config.
        launcher: Runs the jobs; RoutedLauncher.stream is used where it has one.
        composer: Composes the jobs' configs.
        resumed: Whether the folder holds an earlier start of this sweep.
    """

    def __init__(
        self,
        listed: Sequence[tuple[str, ...]],
        settings: SearchSweeperConf,
        config: DictConfig,
        launcher: Any,
        composer: Composer,
        resumed: bool,
    ) -> None:
        self._listed = listed
        self._settings = settings
        self._config = config
        self._launcher = launcher
        self._composer = composer
        self._resumed = resumed
        self._planned: Planned | None = None

    def plan(self, folder: Path, rule: Mapping[str, Any]) -> None:
        """Say what would run where, and write it down; nothing runs.

        Args:
            folder: The sweep's, if it ran.
            rule: What it would choose by.
        """
        # lazy import: a sweep that runs needs none of it
        from . import _plan, _plan_file, _plan_text

        launcher = self._launcher.settings
        points = Points(dict(enumerate(self._listed)), prefix=self._prefix())
        plan = _plan.make(launcher, self._config, self._composer, points, rule)
        path = _plan_file.write(plan, self._composer, launcher.identity, folder)
        for line in _plan_text.lines(plan, launcher.fields.get("minutes")):
            print(line)
        print(f"Next: sweeproute run {shlex.quote(os.path.relpath(path))}", flush=True)

    def check(self, folder: Path) -> None:
        """Read the plan that is to be run, where there is one; the launcher then sends its jobs where they are planned.

        Args:
            folder: The sweep's; on resume it holds the plan.

        Raises:
            SettingsError: The plan is not of this sweep.
        """
        launcher = self._launcher.settings if hasattr(self._launcher, "stream") else None
        if launcher is None or launcher.plan is None:
            return
        # lazy import: a sweep without a plan needs none of it
        from . import _planned
        from ._platforms import read

        inside = folder / Path(launcher.plan).name
        planned = _planned.read(inside if self._resumed and inside.exists() else Path(launcher.plan))
        planned.check(self._listed, read(launcher, self._config).platforms)
        if not self._resumed:  # what has changed since is told when finished jobs are kept
            planned.check_identity(self._composer, launcher.identity)
        self._launcher.settings = planned.settings(launcher)
        self._planned = planned

    def samples(self) -> list[tuple[str, ...]]:
        """Overrides of jobs, of each choice of groups one at least."""
        return list(self._listed)

    def total(self) -> int:
        """How many jobs there are."""
        return len(self._planned.points if self._planned else self._listed)

    def run(self, sweep: SweepFolder) -> list[Sequence[JobReturn]]:
        """Run what has not finished.

        Returns:
            The returns of each batch, in the order of its points.
        """
        if not hasattr(self._launcher, "stream"):
            return self._launch(sweep)
        planned = self._planned
        if planned and not self._resumed and planned.path.resolve().parent != sweep.folder:
            shutil.copyfile(planned.path, sweep.folder / planned.path.name)
        if self._resumed:
            Followers(sweep, self._composer).take_rest()
        numbered = dict(planned.points) if planned else self._number(sweep)
        identity = self._launcher.settings.identity
        done: dict[int, JobReturn] = {**kept(numbered, sweep, self._composer, self._settings.resume, identity)}
        if self._settings.reuse:
            # lazy import: most sweeps reuse nothing
            from ._earlier import EarlierResults

            earlier = EarlierResults(sweep, self._composer, identity)
            asked = {n: earlier.take(n, overrides) for n, overrides in numbered.items() if n not in done}
            reused = {number: one for number, one in asked.items() if one is not None}
            print(f"{len(reused)} of {len(asked)} jobs need not run: earlier sweeps have their results.", flush=True)
            done |= reused
        batches: list[Sequence[JobReturn]] = []
        for batch in self._batches(list(numbered)):
            fields = planned.fields() if planned else None
            points = Points({number: numbered[number] for number in batch}, fields, self._prefix())
            points.returns |= {number: done[number] for number in batch if number in done}
            self._launcher.stream(points, sweep, self._composer)
            batches.append([points.returns[number] for number in batch])
        return batches

    def _number(self, sweep: SweepFolder) -> dict[int, tuple[str, ...]]:
        """Number the points; one that an earlier start knew keeps its number, whatever the space is now."""
        # Those for which a job may answer that runs far away have no record of their own yet.
        of = {one.number: one.overrides for launch in sweep.launches.values() for one in followers_of(launch)}
        of |= {number: tuple(launch["overrides"]) for number, launch in sweep.launches.items()}
        # The words of a command make the same job in any order.
        known: dict[frozenset[str], list[int]] = {}
        for number, overrides in sorted(of.items()):
            known.setdefault(frozenset(overrides), []).append(number)
        fresh = (number for number in itertools.count() if number not in of)
        numbers = (known[words].pop(0) if known.get(words) else next(fresh) for words in map(frozenset, self._listed))
        return {number: of.get(number, point) for number, point in zip(numbers, self._listed, strict=True)}

    def _prefix(self) -> Prefix | None:
        return None if self._settings.prefix is None else Prefix(self._settings.prefix, self._composer)

    def _launch(self, sweep: SweepFolder) -> list[Sequence[JobReturn]]:
        """Over a launcher that does not stream: a batch at a time."""
        numbers = self._batches(list(range(len(self._listed))))
        return [launch(self._launcher, {number: self._listed[number] for number in batch}, sweep) for batch in numbers]

    def _batches(self, numbers: list[int]) -> Iterator[list[int]]:
        size = self._settings.max_batch_size or len(numbers)
        return (numbers[first : first + size] for first in range(0, len(numbers), size))


def launch(launcher: Any, points: Mapping[int, tuple[str, ...]], sweep: SweepFolder) -> Sequence[JobReturn]:
    """Run one batch over a launcher that does not stream, and note its folders for whoever follows.

    Args:
        launcher: Any of Hydra's.
        points: Overrides by job number; the numbers follow one another.
        sweep: The sweep's folder.

    Returns:
        The returns, in order.
    """
    returns: Sequence[JobReturn] = launcher.launch(list(map(list, points.values())), initial_job_idx=min(points))
    for number, one in zip(points, returns, strict=True):
        if one.hydra_cfg is not None:
            line = {"job": number, "attempt": 1, "folder": str(one.hydra_cfg.hydra.runtime.output_dir)}
            append_line(sweep.ours / "jobs.jsonl", line)
    sweep.failed = sweep.failed or any(one.status != JobStatus.COMPLETED for one in returns)
    return returns
