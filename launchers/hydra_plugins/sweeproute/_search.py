"""Runs one sweep from its arguments to its end: what runs, what an earlier start has done, what failed."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from ._compose import Composer, as_written, parse
from ._deadline import read_time
from ._errors import JobsFailedError, SettingsError, SweepError, headline, nearest_first
from ._follow_up import admit, follow_up, rule
from ._hooks import hook
from ._hydra_versions import tell_end
from ._notify import facts_of, notify, words
from ._objective import Objective, objective
from ._records import OURS, SweepFolder, newest_unfinished, read_json
from ._route import sweep_record
from ._samplers import SAMPLERS as samplers
from .config import SearchSweeperConf

if TYPE_CHECKING:
    from ._adaptive import Adaptive
    from ._walk import Walk

SAMPLERS = ("grid", *samplers)
# What means something to a sampler alone.
_SAMPLERS_ALONE = (
    "n_trials",
    "timeout_min",
    "sampler_options",
    "pruner",
    "pruner_options",
    "enqueue",
    "storage",
    "ask_ahead",
)
RESUME = ("false", "true", "keep", "rerun")


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


def _of_jobs(words: Sequence[str], apart: Sequence[str]) -> list[str]:
    """Those of a command's words that are part of its jobs.

    Raises:
        SettingsError: A word that is the sweep's has several values.
    """
    kept = []
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        if not any(key == one or key.startswith(f"{one}.") for one in apart):
            kept.append(word)
        elif parse(word).is_sweep_override():
            raise SettingsError(f"{word} lists several values, and is one thing of the whole sweep. Give it one value.")
    return kept


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
        if settings.max_batch_size is not None and settings.max_batch_size < 1:
            raise SettingsError(f"hydra.sweeper.max_batch_size is {settings.max_batch_size}. It takes 1 or more.")
        if settings.pruner != "none" and not hasattr(launcher, "stream"):
            raise SettingsError(
                f"{type(launcher).__name__} tells nothing of jobs that run, so none can be pruned over it. "
                "Leave hydra.sweeper.pruner out, or use hydra/launcher=routed."
            )
        if settings.reuse and not hasattr(launcher, "stream"):
            raise SettingsError(
                f"{type(launcher).__name__} runs whatever it is given, so no result can be reused over it. "
                "Leave hydra.sweeper.reuse out, or use hydra/launcher=routed."
            )
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
        if self._streams:
            for name in ("follow_up", "foresee"):  # a path that leads nowhere is said now, not at the end
                hook(name, getattr(launcher.settings, name))
        self._composer = Composer(context.config_loader, config)
        self._sweep: SweepFolder | None = None

    def run(self, arguments: Sequence[str], folder: Path) -> list[Sequence[JobReturn]]:
        """Run every point; see SearchSweeper.sweep."""
        command = self._launcher.settings.notify if self._streams else None
        words(command)  # refused now rather than at the end
        try:
            batches = self._run(arguments, folder)
        except Exception as error:
            # What is refused before any job is refused before the person's eyes.
            if self._sweep is not None and (self._sweep.launches or not isinstance(error, SettingsError)):
                notify(command, "failed", facts_of(self._sweep) | {"error": headline(str(error))})
            raise
        if self._sweep is not None:
            notify(command, "finished", facts_of(self._sweep))
        return batches

    def _run(self, arguments: Sequence[str], folder: Path) -> list[Sequence[JobReturn]]:
        settings = self._settings
        # To go on, or to reuse, is no part of a job: one that has finished would pass for another.
        aliases = {_followed(self._config, setting) for setting in ("resume", "reuse")}
        arguments = [word for word in arguments if word.lstrip("+").partition("=")[0] not in aliases]
        arguments = _of_jobs(arguments, settings.apart)
        plans = self._streams and self._launcher.settings.dry_run
        if plans and (folder / OURS / "sweep.json").exists():
            raise SettingsError(
                f"There is a sweep in {folder} already, and a plan is of one that has not begun. "
                "Leave resume out, or name another folder."
            )
        searched = settings.sampler != "grid" and settings.jobs is None
        goal = objective(settings.metric, settings.direction, searched=searched)
        course: Walk | Adaptive
        if searched:
            course = self._adaptive(arguments, goal)
        else:
            course = self._walk(arguments)
            if plans:
                course.plan(folder, rule(settings, goal))
                return []
            course.check(folder)
        written = self._launcher.settings.deadline if self._streams else None
        deadline = None if written is None else read_time(written)
        record = sweep_record(
            self._config,
            settings.id,
            name=settings.name,
            note=settings.note,
            metric=goal.metric,
            direction=goal.direction,
            repeats=list(settings.repeats),
            total=course.total(),
            deadline=deadline.isoformat(timespec="seconds") if deadline is not None else None,
        )
        if self._streams:
            earlier = read_json(folder / OURS / "sweep.json") if self._resumed else None
            identifier, listed = str((earlier or record)["id"]), course.samples()
            admit(self._launcher, settings, self._composer, goal, listed, sweep=identifier, resumed=self._resumed)
        try:
            with SweepFolder.open(folder, record, keep=self._resumed) as sweep:
                self._sweep = sweep
                OmegaConf.save(self._config, sweep.folder / "multirun.yaml")
                batches = course.run(sweep)
                if self._streams:
                    more = follow_up(self._launcher, settings, self._composer, goal, sweep)
                    batches += [more] if more else []
        except KeyboardInterrupt:
            tell_end(self._context.callbacks, self._config)
            raise SystemExit(130) from None
        except OSError as error:
            tell_end(self._context.callbacks, self._config)
            # A full disk, a folder that is gone: what has finished is on record.
            raise SweepError(
                f"The sweep stopped: {error.strerror or error} ({error.filename or folder}). "
                "What has finished is kept; once this is mended, resume=true goes on."
            ) from error
        except Exception:
            if self._sweep is not None:
                tell_end(self._context.callbacks, self._config)
            raise
        failed = [r for batch in batches for r in batch if r.status != JobStatus.COMPLETED]
        if failed:
            tell_end(self._context.callbacks, self._config)
            raise JobsFailedError(_failures(failed, sum(map(len, batches)), sweep))
        return batches

    def _walk(self, arguments: Sequence[str]) -> "Walk":
        # lazy import: a search by a sampler needs none of it
        from ._grid import points, read
        from ._walk import Walk

        settings = self._settings
        if settings.jobs is not None:
            listed = read(Path(settings.jobs))
            return Walk(listed, settings, self._config, self._launcher, self._composer, self._resumed)
        for name in _SAMPLERS_ALONE:
            if getattr(settings, name) not in (None, {}, [], "none"):
                raise SettingsError(
                    f"hydra.sweeper.{name} is set, and a grid runs each of its points. Leave it out, or choose another "
                    f"sampler: hydra.sweeper.sampler={nearest_first('tpe', SAMPLERS[1:])}."
                )
        listed = points(
            arguments, settings.params or {}, self._composer, settings.space, self._validate(), settings.constraints
        )
        return Walk(listed, settings, self._config, self._launcher, self._composer, self._resumed)

    def _adaptive(self, arguments: Sequence[str], goal: Objective) -> "Adaptive":
        # lazy import: a grid needs none of it
        from ._adaptive import Adaptive, searched

        settings = self._settings
        for name in ("dry_run", "plan"):
            if self._streams and getattr(self._launcher.settings, name):
                raise SettingsError(
                    f"hydra.launcher.{name} takes a sweep of which each point is known before it begins, and "
                    f"{settings.sampler} chooses them on the way. Leave it out, or say hydra.sweeper.sampler=grid."
                )
        found = searched(arguments, settings, self._composer, self._validate())
        folder = Path(self._config.hydra.sweep.dir).absolute()
        return Adaptive(found, goal, settings, self._launcher, self._composer, folder, resumed=self._resumed)

    def _validate(self) -> Any:
        return hook("validate", self._launcher.settings.validate) if self._streams else None


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
