"""Runs one sweep from its arguments to its end: what runs, what an earlier start has done, what failed."""

import itertools
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from . import _worker
from ._classes import hook
from ._code import default_identity
from ._compose import Composer, as_written
from ._errors import JobsFailedError, SettingsError, SweepError, headline, nearest_first
from ._grid import points as grid_points
from ._hydra_versions import tell_end
from ._notify import facts_of, notify, words
from ._records import DONE, OURS, SweepFolder, append_line, newest_unfinished
from ._returns import RoutedReturn
from ._route import returned, sweep_record
from ._source import Points
from .config import SearchSweeperConf

if TYPE_CHECKING:
    from ._planned import Planned

SAMPLERS = ("grid",)
RESUME = ("false", "true", "keep", "rerun")
DIRECTIONS = ("maximize", "minimize")
# Of the metrics whose better side is plain; for any other a person says it, or it stays open.
_DIRECTIONS = {"auc": "maximize", "roi": "maximize", "accuracy": "maximize"} | dict.fromkeys(
    ("brier", "log_loss", "ece", "loss", "error", "rmse", "mae"), "minimize"
)


def resume_folder(resume: Any, config: DictConfig) -> Path | None:
    """The folder of the sweep to go on with.

    Args:
        resume: false, true, keep or rerun.
        config: The sweep's config.

    Returns:
        The folder that the command names, where it holds a sweep; else that of the newest unfinished sweep of the same
        overrides; None where nothing is to be resumed.

    Raises:
        SettingsError: There is none, or `resume` is something else.
    """
    word = str(resume).lower()
    if word not in RESUME:
        raise SettingsError(f"resume is {resume!r}. Allowed: {nearest_first(word, RESUME)}.")
    if word == "false":
        return None
    named = Path(config.hydra.sweep.dir)
    if (named / OURS / "sweep.json").exists():
        return named
    found = newest_unfinished(as_written(config.hydra.overrides.task) + as_written(config.hydra.overrides.hydra))
    if found is None:
        raise SettingsError(
            "There is no unfinished sweep of these overrides to resume. Leave resume out to start one, "
            "or name a sweep: sweeproute resume SWEEP."
        )
    return found


def _followed(config: DictConfig, setting: str) -> str | None:
    """The key of the app's config that a setting of the sweeper follows; None where it follows none."""
    node = config.hydra.sweeper._get_node(setting)
    follows = re.fullmatch(r"\$\{([^${}:]+)\}", str(node._value())) if node is not None else None
    return follows.group(1) if follows else None


class Search:
    """One sweep.

    Args:
        settings: The sweeper's.
        config: The sweep's config.
        context: Hydra's loader and callbacks.
        launcher: Runs the jobs; RoutedLauncher.stream is used where it has one.
        resumed: Whether the folder holds an earlier start of this sweep.
    """

    def __init__(
        self, settings: SearchSweeperConf, config: DictConfig, context: HydraContext, launcher: Any, resumed: bool
    ) -> None:
        if settings.sampler not in SAMPLERS:
            raise SettingsError(
                f"hydra.sweeper.sampler is {settings.sampler!r}. Allowed: {nearest_first(settings.sampler, SAMPLERS)}."
            )
        if settings.direction not in (None, *DIRECTIONS):
            allowed = nearest_first(str(settings.direction), DIRECTIONS)
            raise SettingsError(f"hydra.sweeper.direction is {settings.direction!r}. Allowed: {allowed}.")
        if settings.max_batch_size is not None and settings.max_batch_size < 1:
            raise SettingsError(f"hydra.sweeper.max_batch_size is {settings.max_batch_size}. It takes 1 or more.")
        if resumed and not hasattr(launcher, "stream"):
            raise SettingsError(
                f"{type(launcher).__name__} keeps no record of what has finished, so nothing can be resumed over it. "
                "Leave resume out, or use hydra/launcher=routed."
            )
        self._settings = settings
        self._config = config
        self._context = context
        self._launcher = launcher
        self._resumed = resumed
        # Asked by what it can do: Hydra's scan runs a plugin's module again, and then its class is another.
        self._streams = hasattr(launcher, "stream")
        self._composer = Composer(context.config_loader, config)
        self._sweep: SweepFolder | None = None

    def run(self, arguments: Sequence[str], folder: Path) -> list[Sequence[JobReturn]]:
        """Run every point; see SearchSweeper.sweep."""
        command = self._launcher.settings.notify if self._streams else None
        words(command)  # refused now rather than at the end
        try:
            batches = self._run(arguments, folder)
        except SettingsError:
            raise  # before any job, and before the person's eyes
        except Exception as error:
            if self._sweep is not None:
                notify(command, "failed", facts_of(self._sweep) | {"error": headline(str(error))})
            raise
        if self._sweep is not None:
            notify(command, "finished", facts_of(self._sweep))
        return batches

    def _run(self, arguments: Sequence[str], folder: Path) -> list[Sequence[JobReturn]]:
        settings = self._settings
        # To go on is no part of a job: one that has finished would pass for another.
        alias = _followed(self._config, "resume")
        arguments = [word for word in arguments if word.lstrip("+").partition("=")[0] != alias]
        plans = self._streams and self._launcher.settings.dry_run
        if plans and (folder / OURS / "sweep.json").exists():
            raise SettingsError(
                f"There is a sweep in {folder} already, and a plan is of one that has not begun. "
                "Leave resume out, or name another folder."
            )
        check = hook("validate", self._launcher.settings.validate) if self._streams else None
        listed = grid_points(arguments, settings.params or {}, self._composer, settings.space, check)
        if plans:
            self._plan(dict(enumerate(listed)), folder)
            return []
        planned = self._planned(listed, folder) if self._streams else None
        metric = settings.metric
        direction = settings.direction or _DIRECTIONS.get(str(metric))
        record = sweep_record(
            self._config, settings.id, name=settings.name, note=settings.note, metric=metric, direction=direction
        )
        try:
            with SweepFolder.open(
                folder, record | {"total": len(planned.points if planned else listed)}, keep=self._resumed
            ) as sweep:
                self._sweep = sweep
                OmegaConf.save(self._config, sweep.folder / "multirun.yaml")
                if planned and not self._resumed:
                    shutil.copyfile(planned.path, sweep.folder / planned.path.name)
                batches = self._stream(listed, sweep, planned) if self._streams else self._launch(listed, sweep)
        except KeyboardInterrupt:
            tell_end(self._context.callbacks, self._config)
            raise SystemExit(130) from None
        except OSError as error:
            # A full disk, a folder that is gone: what has finished is on record.
            raise SweepError(
                f"The sweep stopped: {error.strerror or error} ({error.filename or folder}). "
                "What has finished is kept; once this is mended, resume=true goes on."
            ) from error
        failed = [r for batch in batches for r in batch if r.status != JobStatus.COMPLETED]
        if failed:
            tell_end(self._context.callbacks, self._config)
            raise JobsFailedError(_failures(failed, sum(map(len, batches)), sweep))
        return batches

    def _plan(self, points: dict[int, tuple[str, ...]], folder: Path) -> None:
        """Say what would run where, and write it down; nothing runs."""
        # lazy import: a sweep that runs needs none of it
        from . import _plan, _plan_file, _plan_text

        launcher = self._launcher.settings
        plan = _plan.make(launcher, self._config, self._composer, points)
        path = _plan_file.write(plan, self._composer, launcher.identity, folder)
        for line in _plan_text.lines(plan, launcher.fields.get("minutes")):
            print(line)
        print(f"Next: sweeproute run {shlex.quote(os.path.relpath(path))}", flush=True)

    def _planned(self, listed: Sequence[tuple[str, ...]], folder: Path) -> "Planned | None":
        """The plan that is to be run, None without one; the launcher then sends its jobs where they are planned."""
        launcher = self._launcher.settings
        if launcher.plan is None:
            return None
        # lazy import: a sweep without a plan needs none of it
        from . import _planned
        from ._platforms import read

        kept = folder / Path(launcher.plan).name
        planned = _planned.read(kept if self._resumed and kept.exists() else Path(launcher.plan))
        planned.check(listed, read(launcher, self._config).platforms)
        if not self._resumed:  # what has changed since is told when finished jobs are kept
            planned.check_identity(self._composer, launcher.identity)
        self._launcher.settings = planned.settings(launcher)
        return planned

    def _stream(
        self, listed: list[tuple[str, ...]], sweep: SweepFolder, planned: "Planned | None"
    ) -> list[Sequence[JobReturn]]:
        numbered = dict(planned.points) if planned else self._number(listed, sweep)
        done = {}
        for number, overrides in numbered.items():
            launch = sweep.launches.get(number)
            if launch and launch["state"] in DONE and tuple(launch["overrides"]) == overrides:
                done[number] = returned(self._composer, launch, sweep.folder / launch["folder"])
        if done:
            done = self._to_keep(done, numbered, sweep)
        batches: list[Sequence[JobReturn]] = []
        for batch in self._batches(list(numbered)):
            points = Points({number: numbered[number] for number in batch}, planned.fields() if planned else None)
            points.returns |= {number: done[number] for number in batch if number in done}
            self._launcher.stream(points, sweep, self._composer)
            batches.append([points.returns[number] for number in batch])
        return batches

    def _number(self, listed: list[tuple[str, ...]], sweep: SweepFolder) -> dict[int, tuple[str, ...]]:
        """Number the points; one that an earlier start knew keeps its number, whatever the space is now."""
        known: dict[tuple[str, ...], list[int]] = {}
        for number, launch in sorted(sweep.launches.items()):
            known.setdefault(tuple(launch["overrides"]), []).append(number)
        fresh = (number for number in itertools.count() if number not in sweep.launches)
        return {known[point].pop(0) if known.get(point) else next(fresh): point for point in listed}

    def _to_keep(
        self, done: dict[int, RoutedReturn], numbered: dict[int, tuple[str, ...]], sweep: SweepFolder
    ) -> dict[int, RoutedReturn]:
        """What need not run again; asks before results of two versions of code or data stand in one table."""
        word = str(self._settings.resume).lower()
        if word == "rerun":
            return {}
        if word == "keep":
            return done
        identity = self._launcher.settings.identity
        changed: dict[str, tuple[str, Any]] = {}
        asked = set()
        for number in done:
            hashes = {k: v for k, v in (sweep.launches[number].get("identity") or {}).items() if k != "fingerprint"}
            if (before := tuple(hashes.items())) in asked:
                continue
            asked.add(before)
            config = self._composer.compose(numbered[number], number)
            now = _worker.identity_of(identity, config) if identity else default_identity()
            changed |= {key: (was, now.get(key)) for key, was in before if was != now.get(key)}
        if changed:
            what = ", ".join(f"{key} {was[:8]} -> {str(now)[:8]}" for key, (was, now) in changed.items())
            raise SettingsError(
                f"Since {len(done)} of {len(numbered)} jobs finished, this has changed: {what}. "
                "Say resume=keep to keep their results, or resume=rerun to run them again; "
                "to `sweeproute resume`, --keep or --rerun."
            )
        return done

    def _launch(self, listed: list[tuple[str, ...]], sweep: SweepFolder) -> list[Sequence[JobReturn]]:
        """Over a launcher that does not stream: a batch at a time, and its folders noted for whoever follows."""
        batches: list[Sequence[JobReturn]] = []
        for batch in self._batches(list(range(len(listed)))):
            returns = self._launcher.launch([list(listed[number]) for number in batch], initial_job_idx=batch[0])
            for number, one in zip(batch, returns, strict=True):
                if one.hydra_cfg is not None:
                    line = {"job": number, "attempt": 1, "folder": str(one.hydra_cfg.hydra.runtime.output_dir)}
                    append_line(sweep.ours / "jobs.jsonl", line)
            batches.append(returns)
            sweep.failed = sweep.failed or any(one.status != JobStatus.COMPLETED for one in returns)
        return batches

    def _batches(self, numbers: list[int]) -> Iterator[list[int]]:
        size = self._settings.max_batch_size or len(numbers)
        return (numbers[first : first + size] for first in range(0, len(numbers), size))


def _failures(failed: Sequence[JobReturn], total: int, sweep: SweepFolder) -> str:
    """Which jobs failed, and why: what fails for one reason is said once."""
    reasons: dict[str, list[str]] = {}
    for one in failed:
        error = one._return_value
        message = headline(getattr(error, "message", str(error))) or type(error).__name__
        reasons.setdefault(message, []).append(" ".join(one.overrides or ()))
    lines = [
        f"  {jobs[0]}{f' and {len(jobs) - 1} more' if len(jobs) > 1 else ''}: {message}"
        for message, jobs in reasons.items()
    ]
    done = "The rest is done; " if len(failed) < total else ""
    lines = [f"{len(failed)} of {total} jobs failed:", *lines]
    return "\n".join([*lines, f"Their logs lie under {sweep.folder}. {done}resume=true runs these again."])
