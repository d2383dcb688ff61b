"""Runs one sweep from its arguments to its end: what runs, what an earlier start has done, what failed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from . import _worker
from ._compose import Composer, as_written
from ._errors import JobsFailedError, SettingsError, SweepError, nearest_first
from ._grid import points as grid_points
from ._records import OURS, SweepFolder, append_line, newest_unfinished
from ._route import returned, sweep_record
from ._source import Points
from .config import SearchSweeperConf

SAMPLERS = ("grid",)
RESUME = ("false", "true", "keep", "rerun")
# Metrics of which less is better; any other is maximised.
_LESS_IS_BETTER = ("brier", "log_loss", "ece", "loss", "error", "rmse", "mae")


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
        self._settings = settings
        self._config = config
        self._context = context
        self._launcher = launcher
        self._resumed = resumed
        # Asked by what it can do: Hydra's scan runs a plugin's module again, and then its class is another.
        self._streams = hasattr(launcher, "stream")
        self._composer = Composer(context.config_loader, config)

    def run(self, arguments: Sequence[str], folder: Path) -> list[Sequence[JobReturn]]:
        """Run every point; see SearchSweeper.sweep."""
        settings = self._settings
        listed = grid_points(arguments, settings.params or {}, self._composer, settings.space)
        metric = settings.metric
        direction = settings.direction or ("minimize" if metric in _LESS_IS_BETTER else "maximize")
        record = sweep_record(
            self._config, settings.id, name=settings.name, note=settings.note, metric=metric, direction=direction
        )
        sweep = SweepFolder.open(folder, record | {"total": len(listed)}, keep=self._resumed)
        OmegaConf.save(self._config, sweep.folder / "multirun.yaml")
        try:
            with sweep:
                if self._streams and settings.max_batch_size is None:
                    batches = [self._stream(listed, sweep)]
                else:
                    batches = self._batches(listed, sweep)
        except KeyboardInterrupt:
            self._end()
            raise SystemExit(130) from None
        except OSError as error:
            # A full disk, a folder that is gone: what has finished is on record.
            raise SweepError(
                f"The sweep stopped: {error.strerror or error} ({error.filename or sweep.folder}). "
                "What has finished is kept; once this is mended, resume=true goes on."
            ) from error
        failed = [r for batch in batches for r in batch if r.status != JobStatus.COMPLETED]
        if failed:
            self._end()
            raise JobsFailedError(_failures(failed, sum(map(len, batches)), sweep))
        return batches

    def _end(self) -> None:
        """Hydra's multirun has no `finally`: its callbacks hear of the end from here when it raises."""
        config_name = self._config.hydra.job.config_name
        self._context.callbacks.on_multirun_end(config=self._config, config_name=config_name)

    def _stream(self, listed: list[tuple[str, ...]], sweep: SweepFolder) -> Sequence[JobReturn]:
        numbered = self._number(listed, sweep)
        points = Points(numbered)
        for number, overrides in numbered.items():
            launch = sweep.launches.get(number)
            if launch and launch["state"] == "FINISHED" and tuple(launch["overrides"]) == overrides:
                points.told(number, returned(self._composer, launch, sweep.folder / launch["folder"]))
        if self._resumed and points.returns:
            self._check_unchanged(points, sweep)
        self._launcher.stream(points, sweep, self._composer)
        return [points.returns[number] for number in numbered]

    def _number(self, listed: list[tuple[str, ...]], sweep: SweepFolder) -> dict[int, tuple[str, ...]]:
        """Number the points; one that an earlier start knew keeps its number, whatever the space is now."""
        known = {tuple(launch["overrides"]): number for number, launch in sweep.launches.items()}
        fresh = iter(range(max(known.values(), default=-1) + 1, len(listed) + len(known) + 1))
        return {known[point] if point in known else next(fresh): point for point in listed}

    def _check_unchanged(self, points: Points, sweep: SweepFolder) -> None:
        """Ask before results of two versions of code or data stand in one table."""
        identity = self._launcher.settings.identity
        word = str(self._settings.resume).lower()
        if word == "keep" or not identity:
            return
        if word == "rerun":
            points.returns.clear()
            return
        number = next(iter(points.returns))
        before = sweep.launches[number].get("identity") or {}
        config = self._composer.compose(points.overrides[number], number)
        now = _worker.identity_of(identity, config)
        changed = [key for key in before if key != "fingerprint" and before[key] != now.get(key)]
        if changed:
            what = ", ".join(f"{key} {before[key][:8]} -> {str(now.get(key))[:8]}" for key in changed)
            raise SettingsError(
                f"Since {len(points.returns)} of {len(points.overrides)} jobs finished, this has changed: {what}. "
                "Say resume=keep to keep their results, or resume=rerun to run them again."
            )

    def _batches(self, listed: list[tuple[str, ...]], sweep: SweepFolder) -> list[Sequence[JobReturn]]:
        """Over a launcher that does not stream: a batch at a time, and its folders noted for whoever follows."""
        size = self._settings.max_batch_size or len(listed)
        batches: list[Sequence[JobReturn]] = []
        for first in range(0, len(listed), size):
            batch = listed[first : first + size]
            if self._streams:
                points = Points({first + n: overrides for n, overrides in enumerate(batch)})
                self._launcher.stream(points, sweep, self._composer)
                batches.append([points.returns[number] for number in sorted(points.returns)])
                continue
            returns = self._launcher.launch([list(o) for o in batch], initial_job_idx=first)
            for number, one in enumerate(returns, start=first):
                if one.hydra_cfg is not None:
                    line = {"job": number, "attempt": 1, "folder": str(one.hydra_cfg.hydra.runtime.output_dir)}
                    append_line(sweep.ours / "jobs.jsonl", line)
            batches.append(returns)
        return batches


def _failures(failed: Sequence[JobReturn], total: int, sweep: SweepFolder) -> str:
    lines = []
    for one in failed:
        error = one._return_value
        message = getattr(error, "message", str(error)).strip().splitlines()
        lines.append(f"  {' '.join(one.overrides or ())}: {message[-1] if message else type(error).__name__}")
    return (
        f"{len(failed)} of {total} jobs failed:\n"
        + "\n".join(lines)
        + f"\nTheir logs lie under {sweep.folder}. The rest is done; resume=true runs these again."
    )
