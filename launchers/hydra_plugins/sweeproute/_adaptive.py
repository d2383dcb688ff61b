"""Runs a search in which results decide about further points: one study for each space, the budget shared."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from ._clock import AwakeClock
from ._compose import Composer
from ._errors import SettingsError
from ._kept import kept
from ._objective import Objective
from ._proposals import Known, Overrides, Proposals
from ._pruners import pruner
from ._records import SweepFolder
from ._samplers import sampler
from ._share import Share
from ._space import Space
from ._spaces import Check, spaces
from ._starting_points import starting_points
from ._walk import launch
from .config import SearchSweeperConf

# The studies of a sweep, in Optuna's journal format.
STUDY_LOG = "study.log"


class Adaptive:
    """A search by a sampler.

    Args:
        spaces: What is searched, one for each choice of groups.
        objective: What the sweep is after.
        settings: The sweeper's.
        launcher: Runs the jobs; RoutedLauncher.stream is used where it has one.
        composer: Composes the jobs' configs.
        folder: The sweep's; None where it has none yet.
        resumed: Whether the folder holds an earlier start of this sweep.

    Raises:
        SettingsError: A setting that cannot be served; before anything is written.
    """

    def __init__(
        self,
        spaces: Sequence[Space],
        objective: Objective,
        settings: SearchSweeperConf,
        launcher: Any,
        composer: Composer,
        folder: Path | None = None,
        *,
        resumed: bool = False,
    ) -> None:
        _check(settings, spaces)
        self._resumed = resumed
        self._reused: list[int] = []
        self._abandon: Callable[[], None] = lambda: None
        self._spaces = list(spaces)
        self._objective = objective
        self._settings = settings
        self._launcher = launcher
        self._composer = composer
        count = len(objective.directions)
        options = _mapping("sampler_options", settings.sampler_options)
        self._samplers = [sampler(settings.sampler, options, one, count) for one in self._spaces]
        self._pruner = pruner(settings.pruner, _mapping("pruner_options", settings.pruner_options), count)
        self._starts = starting_points(settings.enqueue, self._spaces, objective, composer, folder if resumed else None)
        self._budgets = shares(settings.n_trials, [one.size() for one in self._spaces])

    def samples(self) -> list[tuple[str, ...]]:
        """Overrides of jobs, of each choice of groups one at least; without what is searched."""
        return [tuple(word for _, word in space.fixed) for space in self._spaces]

    def total(self) -> int | None:
        """How many jobs there will be; None where only time ends the search."""
        total = 0
        for space, budget in zip(self._spaces, self._budgets, strict=True):
            bounds = [bound for bound in (budget, space.size()) if bound is not None]
            if not bounds:
                return None
            total += min(bounds) * space.times()
        return total

    def _remarks(self, parts: Sequence[Share]) -> list[str]:
        """What a person should know before the search begins, a sentence each."""
        said = [remark for share in parts for remark in share.study.remarks()]
        asked, sizes = self._settings.n_trials, [space.size() for space in self._spaces]
        points = sum(size or 0 for size in sizes)
        if asked is not None and None not in sizes and points < asked:
            said.append(f"There are {points} points to search, fewer than n_trials={asked}: the search ends with them.")
        if left_out := [space.name for space, budget in zip(self._spaces, self._budgets, strict=True) if budget == 0]:
            said.append(f"n_trials={asked} leaves no point to {', '.join(left_out)}: each model needs one at least.")
        return list(dict.fromkeys(said))

    def run(self, sweep: SweepFolder) -> list[Sequence[JobReturn]]:
        """Search to the end of the budget, of the spaces or of the time.

        Returns:
            The returns of all jobs, in the order of their numbers, as one batch.

        Raises:
            SettingsError: An earlier start of the sweep searched a space that this one is no wider form of.
        """
        settings = self._settings
        streams = hasattr(self._launcher, "stream")
        known = self._known(sweep) if streams else {}
        first = max(sweep.launches, default=-1) + 1
        if str(settings.resume).lower() == "rerun":
            sweep.set_aside()
        parts = self._open(sweep)
        for remark in self._remarks(parts):
            print(remark, flush=True)
        earlier, timer = self._earlier(sweep), self._timer()
        with Proposals(
            parts, self._objective, known, first, timer, settings.ask_ahead, earlier, self._abandon
        ) as points:
            points.restore()
            if self._resumed and points.closed() and not any(share.ready for share in parts):
                done = sum(share.study.distinct() for share in parts)
                of = "" if settings.n_trials is None else f", n_trials is {settings.n_trials}"
                print(f"Nothing is left to run: {done} points are done{of}.", flush=True)
            if streams:
                self._launcher.stream(points, sweep, self._composer)
            else:
                while batch := points.batch(self._batch_size()):
                    for number, one in zip(batch, launch(self._launcher, batch, sweep), strict=True):
                        points.told(number, one)
        if settings.reuse:
            print(f"{len(self._reused)} jobs did not run: earlier sweeps had their results.", flush=True)
        for share in parts:
            if share.exhausted and share.budget is not None and share.study.distinct() < share.budget:
                name = share.space.name or "The search"
                print(
                    f"{name} ended with {share.study.distinct()} of {share.budget} points: no other was found.",
                    flush=True,
                )
        if sweep.record["total"] != len(points.overrides):
            sweep.record["total"] = len(points.overrides)
            sweep.save()
        # One that could not even be sent has no record that says so.
        sweep.failed = sweep.failed or any(one.status != JobStatus.COMPLETED for one in points.returns.values())
        return [[points.returns[number] for number in sorted(points.returns)]]

    def _open(self, sweep: SweepFolder) -> list[Share]:
        """The studies, begun or gone on with."""
        # lazy import: Optuna, of which a grid needs nothing
        from ._study import Study
        from ._study_log import open_storage
        from ._widening import WIDER

        settings = self._settings
        storage = open_storage(settings.storage or sweep.ours / STUDY_LOG)
        self._abandon = storage.abandon
        # Of a database, which other sweeps may share, this sweep's alone.
        mark = f"{sweep.record['id']} " if settings.storage else ""
        names = [f"{mark}{space.name or 'search'}" for space in self._spaces]
        before = [name for name in storage.names() if name.startswith(mark)]
        if not self._resumed or str(settings.resume).lower() == "rerun":
            for name in before:
                storage.forget(name)
        elif before and {one.removesuffix(WIDER) for one in before} != set(names):
            was, now = (", ".join(sorted(one.removeprefix(mark) for one in each)) for each in (before, names))
            raise SettingsError(
                f"The sweep in {sweep.folder} was begun over {was}, and now is to search {now}. "
                "Set it back, or begin a new sweep."
            )
        parts = []
        for place, (space, of_space, budget) in enumerate(
            zip(self._spaces, self._samplers, self._budgets, strict=True)
        ):
            study = Study.open(
                storage,
                names[place],
                space,
                of_space,
                self._pruner,
                self._objective.directions,
                settings.seed,
                self._objective.metrics,
            )
            study.retry()
            for point in self._starts[place]:
                study.enqueue(point)
            parts.append(
                Share(study, space, budget, pruner=self._pruner.name, pairs=self._pruner.pairs, slow=of_space.slow)
            )
        return parts

    def _known(self, sweep: SweepFolder) -> dict[Overrides, Known]:
        """The jobs of an earlier start, by overrides."""
        records = sorted(sweep.launches.items())
        numbered = {number: tuple(one["overrides"]) for number, one in records if not one.get("follow_up")}
        identity = self._launcher.settings.identity
        done = kept(numbered, sweep, self._composer, self._settings.resume, identity)
        return {overrides: Known(number, done.get(number)) for number, overrides in numbered.items()}

    def _earlier(self, sweep: SweepFolder) -> Callable[[int, Overrides], JobReturn | None]:
        if not self._settings.reuse:
            return lambda _, __: None
        # lazy import: most searches reuse nothing
        from ._earlier import EarlierResults

        earlier = EarlierResults(sweep, self._composer, self._launcher.settings.identity)

        def take(number: int, overrides: Overrides) -> JobReturn | None:
            found = earlier.take(number, overrides)
            if found is not None:
                self._reused.append(number)
            return found

        return take

    def _batch_size(self) -> int:
        """Jobs that a launcher which does not stream gets at once."""
        if self._settings.max_batch_size is not None:
            return self._settings.max_batch_size
        if isinstance(self._launcher, BasicLauncher):
            return 1
        at_once = (getattr(self._launcher, "joblib", None) or {}).get("n_jobs") or 0
        return int(at_once) if at_once > 0 else os.cpu_count() or 1

    def _timer(self) -> Callable[[], bool]:
        """Says whether the time for new points is up; a closed lid costs none of it."""
        if self._settings.timeout_min is None:
            return lambda: False
        clock = AwakeClock()
        ends = clock() + 60.0 * self._settings.timeout_min
        return lambda: clock() >= ends


def searched(
    arguments: Sequence[str], settings: SearchSweeperConf, composer: Composer, validate: Check | None
) -> list[Space]:
    """Read what a sampler searches; see `spaces`."""
    return spaces(
        arguments,
        settings.params or {},
        composer,
        settings.space,
        settings.constraints,
        settings.repeats,
        validate,
        settings.sampler_defaults,
    )


def shares(n_trials: int | None, sizes: Sequence[int | None]) -> list[int | None]:
    """Part the budget of a sweep among its spaces: equally, save that none gets more than its space has points.

    Args:
        n_trials: Distinct points in all; None for no limit.
        sizes: Points of each space; None for without end.

    Returns:
        Points of each.

    Example:
        >>> shares(100, [8, None, None])
        [8, 46, 46]
    """
    if n_trials is None:
        return [None] * len(sizes)
    found: list[int] = [0] * len(sizes)
    left = n_trials
    open_spaces = sorted(range(len(sizes)), key=lambda place: math.inf if (n := sizes[place]) is None else n)
    for done, place in enumerate(open_spaces):
        size = sizes[place]
        # What does not go up evenly goes to the first that are left.
        equal = -(-left // (len(sizes) - done)) if size is None else left // (len(sizes) - done)
        found[place] = equal if size is None else min(size, max(equal, 1 if left else 0))
        left -= found[place]
    return list(found)


def _mapping(name: str, options: Any) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, (dict, DictConfig)):
        raise SettingsError(
            f"hydra.sweeper.{name} is {options!r}. It takes a mapping, as in hydra.sweeper.{name}={{name:value}}."
        )
    return {str(key): value for key, value in options.items()}


def _check(settings: SearchSweeperConf, spaces: Sequence[Space]) -> None:
    if settings.n_trials is not None and settings.n_trials < 1:
        raise SettingsError(f"hydra.sweeper.n_trials is {settings.n_trials}. It takes 1 or more.")
    if settings.timeout_min is not None and settings.timeout_min <= 0:
        raise SettingsError(f"hydra.sweeper.timeout_min is {settings.timeout_min:g}. It takes minutes, more than 0.")
    if settings.ask_ahead is not None and settings.ask_ahead < 0:
        raise SettingsError(f"hydra.sweeper.ask_ahead is {settings.ask_ahead}. It takes 0 or more.")
    repeated = next((one.key for space in spaces for one in space.repeats), None)
    if settings.pruner != "none" and repeated is not None:
        raise SettingsError(
            f"hydra.sweeper.pruner is {settings.pruner!r}, and each point is run under several values of {repeated}, "
            "which are compared as their mean alone. Set it to none, or give that key one value."
        )
    endless = [space for space in spaces if space.size() is None]
    if endless and settings.n_trials is None and settings.timeout_min is None:
        raise SettingsError(
            f"hydra.sweeper.sampler={settings.sampler} would never end: {endless[0].name or 'the search space'} has "
            "points without end. Say how many are to run, hydra.sweeper.n_trials=100, or for how long, "
            "hydra.sweeper.timeout_min=60."
        )
