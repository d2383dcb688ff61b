"""Reads from a job's config what the policy needs, and makes of an assignment an attempt that can run."""

import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from . import _worker
from ._admission import JobClass
from ._assignment import Assignment
from ._code import default_identity
from ._compose import Base, Composer, Point, build, parse, without_hydra
from ._dispatcher import Prepared
from ._errors import SettingsError
from ._hydra_versions import key_path
from ._platforms import ADMISSION, Registry
from ._records import SweepFolder
from ._references import substitute
from .config import RoutedLauncherConf


@dataclass(frozen=True)
class Settled:
    """What a platform settles of a job's config.

    Attributes:
        overrides: What is set in the config; not part of the job's own overrides.
        device: cpu or cuda, whoever chose it.
        threads: Threads of the job, whoever chose them; None where nobody did.
    """

    overrides: tuple[Override, ...]
    device: str
    threads: int | None


class Jobs:
    """The jobs of one sweep, before they run.

    Args:
        settings: The launcher's.
        registry: The platforms.
        composer: Composes their configs.
        sweep: Where their folders and records are.
    """

    def __init__(
        self, settings: RoutedLauncherConf, registry: Registry, composer: Composer, sweep: SweepFolder
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._composer = composer
        self._sweep = sweep
        self._states = {state.name: state for state in registry.states()}
        self._validate = hook("validate", settings.validate)
        if settings.preload is not None and "." not in settings.preload:
            raise SettingsError(
                f"hydra.launcher.preload is {settings.preload!r}. "
                "It names a function by its dotted path: package.module.function."
            )
        hook("identity", settings.identity)
        # An app's own hook is asked where the job runs: it may have to load the data.
        self._identity = None if settings.identity else default_identity()
        self._referring: dict[str, bool] = {}
        self._subdirs: dict[str, str] = {}
        self._settled_of: dict[tuple[str, str], Settled] = {}
        self._paths: dict[str, str] = {}

    def _touches_fields(self, override: Override) -> bool:
        key = ".".join(key_path(override))
        return any(
            read == key or read.startswith(f"{key}.") or key.startswith(f"{read}.")
            for read in self._settings.fields.values()
        )

    def stratum(self, overrides: tuple[str, ...]) -> Hashable:
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

    def job_class(self, number: int, overrides: tuple[str, ...]) -> JobClass:
        """The class of a point, by composing it; a point that could not run is refused here, before any job starts.

        Args:
            number: Its job number.
            overrides: Its overrides.

        Returns:
            All that the policy reads of it.

        Raises:
            SettingsError: Its platform is not there, or none can hold it.
            hydra.errors.HydraException: It does not compose.
        """
        config = self._composer.compose(overrides, number)
        if self._validate is not None:
            self._validate(without_hydra(config))
        read_fields = {name: self._read(config, key) for name, key in self._settings.fields.items()}
        asked = read_fields.pop("platform", None)
        if asked in self._registry.unavailable:
            key = self._settings.fields["platform"]
            raise SettingsError(
                f"{asked} was asked for, and it {self._registry.unavailable[asked]}. "
                f"Or leave the platform to the rules ({key}=null)."
            )
        job_class = JobClass(
            fields=tuple(sorted((name, value) for name, value in read_fields.items() if name not in ADMISSION)),
            asked=None if asked == "auto" else asked,
            **self._admission(read_fields),
        )
        # A job that fits nowhere, or is meant for a platform that is not there, is refused before any other runs.
        self._registry.policy.home(job_class, self._states)
        return job_class

    def _read(self, config: DictConfig, key: str) -> Any:
        value = OmegaConf.select(config, key)
        if OmegaConf.is_config(value):
            raise SettingsError(f"{key} is {value}. Jobs are routed by single values: text, numbers, true, false.")
        return value

    def _admission(self, read_fields: Mapping[str, Any]) -> dict[str, Any]:
        """What decides whether a platform has room for a job; what a config leaves out has its default."""
        admission: dict[str, Any] = {}
        for name, kind in ADMISSION.items():
            value = read_fields.get(name)
            try:
                if value is not None:
                    admission[name] = kind(value)
            except ValueError:
                raise SettingsError(f"{self._settings.fields[name]} is {value!r}. It takes a number.") from None
        return admission

    def settle(self, config: DictConfig, platform: str) -> Settled:
        """Settle what a config left null or "auto": by the registry's overrides, else by what the platform has.

        Args:
            config: A job's config, or the base of many.
            platform: Where it will run.

        Returns:
            What was settled, and what holds there with it.
        """
        there = self._registry.platforms[platform]
        offered = dict(override.split("=", 1) for override in there.overrides)
        facts: dict[str, Any] = {"device": there.device, "threads": there.threads}
        overrides = []
        for fact, key in self._settings.sets.items():
            chosen = OmegaConf.select(config, key, throw_on_missing=False)
            if chosen not in (None, "auto"):
                facts[fact] = chosen
                continue
            facts[fact] = offered.get(key, facts.get(fact))
            if facts[fact] is not None and _has(config, key):
                overrides.append(parse(f"{key}={facts[fact]}"))
        return Settled(tuple(overrides), facts["device"], None if facts["threads"] is None else int(facts["threads"]))

    def prepare(self, assignment: Assignment, number: int | None = None) -> Prepared:
        """Compose an attempt, make its folder and its launch record.

        Args:
            assignment: What the scheduler said.
            number: The attempt's number; None is the next of its job.

        Returns:
            The attempt, ready to be handed out.
        """
        job, decision, platform = assignment.job, assignment.decision, assignment.platform
        base, point = self._composer.point(job.overrides)
        settled, subfolder = self._place(base, point, job.num, platform)
        attempt = number or self._sweep.next_attempt(job.num)
        folder = self._sweep.open_job(subfolder, job.num, attempt)
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
            "threads": settled.threads,
            "device": settled.device,
            "value": None,
            "error": None,
            "identity": self._identity,
        }
        message = _worker.Message(
            base=self.path(base),
            point=point,
            settled=settled.overrides,
            number=job.num,
            folder=str(folder),
            preload=self._settings.preload,
            identity=self._settings.identity,
            threads=settled.threads,
        )
        return Prepared(message, folder, launch)

    def _place(self, base: Base, point: Point, number: int, platform: str) -> tuple[Settled, str]:
        """What the platform settles of a job's config, and the job's folder under the sweep's.

        Both are told without composing the job where its values cannot change them, which is nearly always.
        """
        known = {"hydra.job.num": number, "hydra.job.id": number, "hydra.job.override_dirname": point.dirname}
        subfolder = substitute(self._subdir(base), known.get)
        ours = {key.split(".", 1)[0] for key in self._settings.sets.values()}
        touched = self._refers(base) or any(key_path(v)[0] in ours for v in point.values)
        key = (base.id, platform)
        if subfolder is not None and not touched:
            if key not in self._settled_of:
                self._settled_of[key] = self.settle(base.config(), platform)
            return self._settled_of[key], subfolder
        config = build(base.blob, point, (), number)
        with _worker.hydra_config(config):
            return self.settle(config, platform), subfolder or str(config.hydra.sweep.subdir)

    def _subdir(self, base: Base) -> str:
        """`hydra.sweep.subdir` as it is written."""
        if base.id not in self._subdirs:
            self._subdirs[base.id] = str(base.config().hydra.sweep._get_node("subdir")._value())
        return self._subdirs[base.id]

    def path(self, base: Base) -> str:
        """Path of a base config's file; written once."""
        if base.id not in self._paths:
            path = self._sweep.ours / f"base-{base.id}.pkl"
            path.write_bytes(base.blob)
            self._paths[base.id] = str(path)
        return self._paths[base.id]


def hook(name: str, dotted: str | None) -> Any:
    """The app's function that a setting of the launcher names."""
    if dotted is None:
        return None
    try:
        return _worker.resolve(dotted)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"hydra.launcher.{name} is {dotted!r}, which cannot be had: {error}. "
            "It names a function by its dotted path: package.module.function."
        ) from error


def _parent(config: DictConfig, key: str) -> tuple[Any, str]:
    path, _, leaf = key.rpartition(".")
    parent = OmegaConf.select(config, path) if path else config
    return (parent, leaf) if OmegaConf.is_dict(parent) and leaf in parent else (None, leaf)


def _has(config: DictConfig, key: str) -> bool:
    return _parent(config, key)[0] is not None
