"""Wires one sweep: its platforms, their processes, its jobs, and the dispatcher that brings them together."""

import random
import sys
import time
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import configure_log
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf.basecontainer import BaseContainer

from . import _worker
from ._admission import JobClass
from ._alarm import SweepAlarm
from ._assignment import Assignment, Job
from ._awake import awake
from ._backend import Backend, Events
from ._book import Away, Book
from ._compose import Composer, as_written
from ._condition import Condition
from ._conditions import Conditions
from ._deadline import read_time
from ._dispatcher import GRACE_S, Dispatcher
from ._durations import Durations
from ._errors import SettingsError
from ._followers import Followers
from ._hydra_versions import allowed_targets
from ._jobs import Jobs
from ._live import open_view
from ._platform_log import PlatformLog
from ._platforms import local_settings, read, slurm_settings
from ._policy import Decision
from ._records import SweepFolder, cache_dir, read_history
from ._returns import RoutedReturn
from ._scheduler import Scheduler
from ._source import JobSource, Points
from .config import RoutedLauncherConf


def sweep_record(config: DictConfig, identifier: str | None = None, **more: Any) -> dict[str, Any]:
    """What is known of a sweep when it starts.

    Args:
        config: The sweep's config.
        identifier: Its id; made from the time when None.
        more: name, note, metric, direction.

    Returns:
        The record that a SweepFolder is opened with.
    """
    return {
        "id": identifier or time.strftime("sweep_%Y%m%d_%H%M%S"),
        "name": None,
        "note": None,
        "overrides": as_written(config.hydra.overrides.task) + as_written(config.hydra.overrides.hydra),
        "argv": sys.argv,
        "total": None,
        "metric": None,
        "direction": None,
        **more,
    }


class Route:
    """The way of one sweep's jobs from overrides to returns.

    Args:
        settings: The launcher's.
        config: The sweep's config.
        context: Hydra's loader and callbacks.
        task_function: What a job runs.
        sweep: The sweep's folder, held by the caller.
        composer: One that has composed for this sweep before; None makes one.
    """

    def __init__(
        self,
        settings: RoutedLauncherConf,
        config: DictConfig,
        context: HydraContext,
        task_function: TaskFunction,
        sweep: SweepFolder,
        composer: Composer | None = None,
    ) -> None:
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        self._settings = settings
        self._context = context
        self._task_function = task_function
        self._sweep = sweep
        self._composer = composer or Composer(context.config_loader, config)
        self._registry = read(settings, config)
        self._jobs = Jobs(settings, self._registry, self._composer, sweep)

    def run(self, points: JobSource) -> None:
        """Run every job of a source; see RoutedLauncher.stream."""
        if self._settings.debug:
            self._debug(points)
            return
        events = Events()
        log = PlatformLog(self._sweep.ours)
        usable = {
            name: one.slots for name, one in self._registry.platforms.items() if name not in self._registry.unavailable
        }
        log.begins(usable, filter(self._registry.local, usable))
        backends = self._start(events, points)
        try:
            durations = Durations(read_history())
            points.open(time.time(), durations, self._jobs.stratum, self._jobs.job_class)
            scheduler = Scheduler(
                self._registry.policy,
                self._registry.states(),
                points,
                rng=random.Random(0),
                durations=durations,
                restart_slow=self._settings.restart_slow,
                max_attempts=self._settings.max_attempts,
                retry_user_errors=self._settings.retry_user_errors,
            )
            view = open_view(sys.stdout)
            for note in self._registry.notes:
                view.event(note)
            away = self._away(points, [name for name in backends if self._registry.platforms[name].ahead])
            conditions = self._conditions()
            alarm = SweepAlarm(view, self._sweep, self._registry, durations, self._settings.notify, self._deadline())
            book = Book(self._sweep, durations, points, self._return, Followers(self._sweep, self._composer))
            dispatcher = Dispatcher(
                scheduler, backends, events, self._jobs.prepare, book, points, durations, conditions, view, log, alarm
            )
            with awake():
                dispatcher.run(away)
        finally:
            for backend in backends.values():
                backend.close(GRACE_S)
            log.ends()

    def _start(self, events: Events, points: JobSource) -> dict[str, Backend]:
        """Start the backend of each platform that is there: its processes come up while the jobs are sorted."""
        path = self._sweep.ours / "payload.pkl"
        path.write_bytes(cloudpickle.dumps(self._payload()))
        waiting = (overrides for number, overrides in points.overrides.items() if number not in points.returns)
        first = next(waiting, None)
        if first is None:
            return {}
        # A search finds its jobs on the way.
        jobs = len(points.overrides) - len(points.returns) if isinstance(points, Points) else None
        backends: dict[str, Backend] = {}
        for name in self._registry.platforms:
            if name not in self._registry.unavailable:
                backends[name] = self._backend(name, events, jobs)
                backends[name].start(str(path), self._jobs.first(first, name))
        return backends

    def _backend(self, name: str, events: Events, jobs: int | None) -> Backend:
        """A platform's backend; its libraries are imported only where a platform needs them.

        Args:
            name: The platform's.
            events: Where ends of attempts are put.
            jobs: How many there are at most; None where that is not known.
        """
        platform, entry = self._registry.platforms[name], self._registry.settings[name]
        if entry.backend == "ssh":
            from ._reach import reach_of
            from ._shipping import Place
            from ._ssh import SshBackend

            place = Place(
                reach=reach_of(name, entry),
                python=entry.python,
                files=tuple(self._settings.files),
                cache=cache_dir() / "staging",
                owner=self._sweep.record["owner"],
                shared=entry.shared_disk,
                cache_gb=entry.cache_gb,
            )
            return SshBackend(platform, place, events)
        if entry.backend == "slurm":
            from ._slurm import SlurmBackend

            return SlurmBackend(platform, slurm_settings(entry), events)
        from ._joblib import JoblibBackend

        slots_here = sum(one.slots for other, one in self._registry.platforms.items() if self._registry.local(other))
        return JoblibBackend(platform, slots_here, local_settings(self._settings), events, jobs)

    def _conditions(self) -> Conditions:
        platforms = self._registry.platforms
        start = {
            name: Condition.DOWN
            if name in self._registry.unavailable
            else Condition.SUSPECT
            if platform.ahead
            else Condition.AVAILABLE
            for name, platform in platforms.items()
        }
        return Conditions(start, 60 * self._settings.lost_after_min)

    def _deadline(self) -> float | None:
        """Seconds since the epoch by which the sweep has to end."""
        return None if self._settings.deadline is None else read_time(self._settings.deadline).timestamp()

    def _away(self, points: JobSource, asked: Container[str]) -> list[Away]:
        """What an earlier coordinator of this sweep sent to a platform, and what is still there.

        Args:
            points: The jobs.
            asked: Platforms that can be asked for what was sent to them.
        """
        found = []
        jobs: dict[int, Job] = {}  # one may have an attempt on each of two machines
        for launch in self._sweep.away:
            number, folder = launch["job"], self._sweep.folder / launch["folder"]
            if launch["platform"] not in asked:
                self._sweep.lose(folder, launch, "its machine is none of this sweep's any more")
                self._let_end(launch)
                continue
            superseded = number in points.returns or number not in points.overrides
            if superseded or tuple(launch["overrides"]) != points.overrides[number]:
                job = Job(number, tuple(launch["overrides"]), JobClass(()), launch["queued_at"])
                found.append(Away(job, folder, launch, superseded=True))
            else:
                if number not in jobs:
                    jobs[number] = points.withdraw(number)
                found.append(Away(jobs[number], folder, launch))
        self._sweep.away.clear()
        return found

    def _let_end(self, launch: Mapping[str, Any]) -> None:
        """Have a job ended at the next contact with its machine, where that is known."""
        entry = self._registry.settings.get(launch["platform"])
        if entry is not None and entry.host is not None:
            from ._pending import PendingCancels

            PendingCancels(launch["platform"], entry.host).keep([launch["far"]["id"]])

    def _payload(self) -> _worker.Payload:
        from hydra.core.plugins import Plugins

        return _worker.Payload(
            task_function=self._task_function,
            callbacks=self._context.callbacks,
            singletons={kind: one for kind, one in Singleton._instances.items() if kind is not Plugins},
            resolvers=dict(BaseContainer._resolvers),
            cwd=str(Path.cwd()),
            allowed_targets=allowed_targets(self._context),
        )

    def _return(self, launch: dict[str, Any], folder: Path) -> RoutedReturn:
        return returned(self._composer, launch, folder)

    def _debug(self, points: JobSource) -> None:
        """Run one job in this process: what it prints shows here, and a debugger stops in it.

        Raises:
            SettingsError: The sweep has more than one job.
            Exception: What the job raised, as it was raised.
        """
        total = points.total()
        if total != 1:
            raise SettingsError(
                "hydra.launcher.debug=true runs one job in this process; "
                f"this sweep has {'no end' if total is None else total}. "
                "Fix every axis to one value, or say hydra.sweeper.n_trials=1."
            )
        ((number, overrides),) = points.overrides.items()
        here = next(name for name in self._registry.platforms if self._registry.local(name))
        job = Job(number, overrides, self._jobs.job_class(number, overrides), time.time())
        attempt = self._jobs.prepare(Assignment(job, here, 0, 1, Decision("scheduled", here, "debug")))
        _worker.load(self._payload())
        result, identity = _worker.run_job(attempt.message)
        value = result.return_value
        launch = attempt.launch | {"state": "FINISHED", "current": True, "ended_at": time.time()}
        launch["identity"] = identity or launch["identity"]
        launch["value"], launch["unfit"] = _worker.to_json(value)
        self._sweep.record_job(attempt.folder, launch)
        points.told(number, self._return(launch, attempt.folder))


def returned(composer: Composer, launch: dict[str, Any], folder: Path) -> RoutedReturn:
    """The return of a job by its launch record."""
    overrides = tuple(launch["overrides"])
    return RoutedReturn(launch, folder, lambda: composer.compose(overrides, launch["job"]))
