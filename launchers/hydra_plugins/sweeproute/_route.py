"""Wires one sweep: composes its jobs, writes what their processes need, and hands both to the dispatcher."""

import random
import shlex
import sys
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import cloudpickle
from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.singleton import Singleton
from hydra.core.utils import configure_log
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer

from . import _worker
from ._backend import Backend, Events
from ._compose import Base, Composer, Point, as_written, build, parse
from ._dispatcher import GRACE_S, Attempt, Dispatcher
from ._durations import Durations
from ._errors import SettingsError
from ._live import open_view
from ._platforms import ADMISSION, Registry, read
from ._policy import JobClass, PlatformState, RoutingError
from ._references import substitute
from ._records import SweepFolder, read_history
from ._returns import RoutedReturn
from ._scheduler import Assignment, Scheduler
from ._source import Points
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
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
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
        self._settings = settings
        self._config = config
        self._context = context
        self._task_function = task_function
        self._sweep = sweep
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        self._composer = composer or Composer(context.config_loader, config)
        self._referring: dict[str, bool] = {}
        self._subdirs: dict[str, str] = {}
        self._settled_of: dict[tuple[str, str], tuple[Override, ...]] = {}
        self._registry: Registry = read(settings, config)
        self._validate = _worker.resolve(settings.validate) if settings.validate else None
        self._paths: dict[str, str] = {}

    def run(self, points: Points) -> None:
        """Run every job of a source; see RoutedLauncher.stream."""
        if self._settings.debug:
            self._debug(points)
            return
        payload = self._write_payload()
        events = Events()
        backends = self._backends(events, payload, points)
        try:
            durations = Durations(read_history())
            points.open(time.time(), durations, self._stratum, self._job_class)
            scheduler = Scheduler(
                self._registry.policy,
                self._states(),
                points,
                max_attempts=self._settings.max_attempts,
                rng=random.Random(0),
            )
            view = open_view(sys.stdout)
            for note in self._registry.notes:
                view.event(note)
            Dispatcher(
                scheduler, backends, events, self._prepare, self._return, points, self._sweep, durations, view
            ).run()
        except RoutingError as error:
            raise SettingsError(str(error)) from None
        finally:
            for backend in backends.values():
                backend.close(GRACE_S)

    # -- a point before it runs

    def _touches_fields(self, override: Override) -> bool:
        key = override.key_or_group
        return any(
            read == key or read.startswith(f"{key}.") or key.startswith(f"{read}.")
            for read in self._settings.fields.values()
        )

    def _stratum(self, overrides: tuple[str, ...]) -> Hashable:
        """All of a point that can decide about its class: its groups, and the values that the policy reads."""
        groups, values = self._composer.split(overrides)
        if self._refers(self._composer.base(groups)):
            return overrides
        return groups, tuple(value.input_line for value in values if self._touches_fields(value))

    def _refers(self, base: Base) -> bool:
        """Whether a key that we read or set is an interpolation here, which any other value may then decide."""
        if base.id not in self._referring:
            config = base.config()
            keys = (*self._settings.fields.values(), *self._settings.sets.values())
            self._referring[base.id] = any(
                OmegaConf.is_interpolation(parent, leaf)
                for parent, leaf in (_parent(config, key) for key in keys)
                if parent is not None
            )
        return self._referring[base.id]

    def _job_class(self, number: int, overrides: tuple[str, ...]) -> JobClass:
        config = self._composer.compose(overrides, number)
        if self._validate is not None:
            self._validate(_without_hydra(config))
        read_fields = {name: OmegaConf.select(config, key) for name, key in self._settings.fields.items()}
        asked = read_fields.pop("platform", None)
        admission: dict[str, Any] = {
            name: kind(read_fields.pop(name)) for name, kind in ADMISSION.items() if read_fields.get(name) is not None
        }
        if asked in self._registry.unavailable:
            raise SettingsError(
                f"{asked} was asked for, and it {self._registry.unavailable[asked]}. "
                "Or leave the platform to the rules: platform=auto."
            )
        job_class = JobClass(
            fields=tuple(sorted((name, value) for name, value in read_fields.items() if name not in ADMISSION)),
            asked=asked,
            **admission,
        )
        # A job that fits nowhere, or is meant for a platform that is not there, is refused before any other runs.
        self._registry.policy.home(job_class, {state.name: state for state in self._states()})
        return job_class

    # -- a point as it starts

    def _settled(self, config: DictConfig, platform: str) -> tuple[Override, ...]:
        """What the platform settles of this config: keys that were left null or "auto", then its own overrides."""
        there = self._registry.platforms[platform]
        facts = {"device": there.device, "threads": there.threads}
        settled = []
        for fact, key in self._settings.sets.items():
            value = OmegaConf.select(config, key, throw_on_missing=False)
            if value in (None, "auto") and facts.get(fact) is not None and _has(config, key):
                settled.append(f"{key}={facts[fact]}")
        return tuple(parse(text) for text in (*settled, *there.settled))

    def _prepare(self, assignment: Assignment) -> Attempt:
        """Compose an attempt, make its folder and its launch record."""
        job, decision, platform = assignment.job, assignment.decision, assignment.platform
        base, point = self._composer.point(job.overrides)
        settled, subfolder = self._place(base, point, job.num, platform)
        earlier = self._sweep.launches.get(job.num, {}).get("attempt", 0)
        attempt = earlier + 1
        folder = self._sweep.open_job(subfolder, job.num, attempt)
        there = self._registry.platforms[platform]
        now = time.time()
        launch = {
            "sweep": self._sweep.record["id"],
            "job": job.num,
            "attempt": attempt,
            "overrides": list(job.overrides),
            "fields": dict(job.job_class.fields),
            "platform": platform,
            "decision": decision.status,
            "reason": decision.reason,
            "considered": [{"platform": a.platform, "verdict": a.verdict} for a in decision.considered],
            "state": "RUNNING",
            "current": False,
            "queued_at": job.queued_at,
            "started_at": now,
            "ended_at": None,
            "queue_s": now - job.queued_at,
            "run_s": None,
            "threads": there.threads,
            "device": there.device,
            "value": None,
            "error": None,
            "identity": None,
        }
        message = _worker.Message(
            base=self._path(base),
            point=point,
            settled=settled,
            number=job.num,
            folder=str(folder),
            preload=self._settings.preload,
            identity=self._settings.identity,
            threads=there.threads,
        )
        return Attempt(assignment, message, folder, launch)

    def _place(self, base: Base, point: Point, number: int, platform: str) -> tuple[tuple[Override, ...], str]:
        """What the platform settles of a job's config, and the job's folder under the sweep's.

        Both are told without composing the job where its values cannot change them, which is nearly always.
        """
        known = {"hydra.job.num": number, "hydra.job.id": number, "hydra.job.override_dirname": point.dirname}
        subfolder = substitute(self._subdir(base), known.get)
        ours = {key.split(".", 1)[0] for key in self._settings.sets.values()}
        touched = self._refers(base) or any(v.key_or_group.split(".", 1)[0] in ours for v in point.values)
        key = (base.id, platform)
        if subfolder is not None and not touched:
            if key not in self._settled_of:
                self._settled_of[key] = self._settled(base.config(), platform)
            return self._settled_of[key], subfolder
        config = build(base.blob, point, (), number)
        with _worker.hydra_config(config):
            return self._settled(config, platform), subfolder or str(config.hydra.sweep.subdir)

    def _subdir(self, base: Base) -> str:
        """`hydra.sweep.subdir` as it is written."""
        if base.id not in self._subdirs:
            self._subdirs[base.id] = str(base.config().hydra.sweep._get_node("subdir")._value())
        return self._subdirs[base.id]

    def _return(self, launch: dict[str, Any], folder: Path) -> RoutedReturn:
        return returned(self._composer, launch, folder)

    # -- what the processes need

    def _path(self, base: Base) -> str:
        """Path of a base config's file; written once."""
        if base.id not in self._paths:
            path = self._sweep.ours / f"base-{base.id}.pkl"
            path.write_bytes(base.blob)
            self._paths[base.id] = str(path)
        return self._paths[base.id]

    def _payload(self) -> _worker.Payload:
        from hydra.core.plugins import Plugins

        return _worker.Payload(
            task_function=self._task_function,
            callbacks=self._context.callbacks,
            singletons={kind: one for kind, one in Singleton._instances.items() if kind is not Plugins},
            resolvers=dict(BaseContainer._resolvers),
            version_base=str(version.getbase()),
            cwd=str(Path.cwd()),
        )

    def _write_payload(self) -> str:
        path = self._sweep.ours / "payload.pkl"
        path.write_bytes(cloudpickle.dumps(self._payload()))
        return str(path)

    def _backends(self, events: Events, payload: str, points: Points) -> dict[str, Backend]:
        """Start the backend of each platform that is there: its processes come up while the first jobs are composed."""
        from ._joblib import JoblibBackend

        groups = dict.fromkeys(self._composer.split(o)[0] for n, o in points.overrides.items() if n not in points.returns)
        bases = [self._composer.base(g) for g in groups]
        backends: dict[str, Backend] = {}
        for name, platform in self._registry.platforms.items():
            if name in self._registry.unavailable:
                continue
            backends[name] = JoblibBackend(platform, self._settings.joblib, events)
            warm = [(self._path(base), self._settled(base.config(), name)) for base in bases]
            backends[name].start(payload, warm, self._settings.preload)
        return backends

    def _states(self) -> list[PlatformState]:
        registry = self._registry
        return [
            PlatformState(
                name=name,
                slots=platform.slots,
                running=0,
                memory_gb=registry.memory_gb(name),
                memory_free_gb=registry.memory_gb(name),
                gpu_memory_gb=registry.gpu_memory_gb(name),
                gpu_memory_free_gb=registry.gpu_memory_gb(name),
                available=name not in registry.unavailable,
                why=registry.unavailable.get(name, ""),
                speed=dict(registry.settings[name].speed),
            )
            for name, platform in registry.platforms.items()
        ]

    def _debug(self, points: Points) -> None:
        """Run one job in this process: what it prints shows here, and a debugger stops in it."""
        if len(points.overrides) != 1:
            raise SettingsError(
                f"hydra.launcher.debug=true runs one job in this process; this sweep has {len(points.overrides)}. "
                "Fix the other axes to one value each, or leave -m out."
            )


def _parent(config: DictConfig, key: str) -> tuple[Any, str]:
    path, _, leaf = key.rpartition(".")
    parent = OmegaConf.select(config, path) if path else config
    return (parent, leaf) if OmegaConf.is_dict(parent) and leaf in parent else (None, leaf)


def _has(config: DictConfig, key: str) -> bool:
    return _parent(config, key)[0] is not None


def _without_hydra(config: DictConfig) -> DictConfig:
    task_config: DictConfig = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    return task_config


def returned(composer: Composer, launch: dict[str, Any], folder: Path) -> RoutedReturn:
    """The return of a job by its launch record."""
    overrides = tuple(launch["overrides"])
    return RoutedReturn(launch, folder, lambda: composer.compose(overrides, launch["job"]))
