"""Makes of an assignment an attempt that can run."""

import time
from dataclasses import dataclass, replace
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from . import _worker
from ._assignment import Assignment
from ._book import Prepared
from ._classes import Classes, parent_of
from ._code import default_identity
from ._compose import Base, Composer, Point, build, parse
from ._errors import SettingsError
from ._followers import shares_record
from ._hooks import hook
from ._hydra_versions import key_path
from ._platforms import Registry
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


class Jobs(Classes):
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
        super().__init__(settings, registry, composer)
        self._sweep = sweep
        if settings.preload is not None and "." not in settings.preload:
            raise SettingsError(
                f"hydra.launcher.preload is {settings.preload!r}. "
                "It names a function by its dotted path: package.module.function."
            )
        hook("identity", settings.identity)
        # An app's own hook is asked where the job runs: it may have to load the data.
        self._identity = None if settings.identity else default_identity()
        self._subdirs: dict[str, str] = {}
        self._settled_of: dict[tuple[str, str], Settled] = {}
        self._paths: dict[str, str] = {}

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

    def first(self, overrides: tuple[str, ...], platform: str) -> _worker.Message:
        """One of the jobs as a platform's processes are made ready for it: no attempt, and without a folder."""
        base, point = self._composer.point(overrides)
        settled = self.settle(base.config(), platform)
        chosen = [key_path(value) for value in point.values]
        left = tuple(one for one in settled.overrides if key_path(one) not in chosen)
        return self._message(base, point, Settled(left, settled.device, settled.threads), 0, "")

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
        facts = {name: str(launch[name]) for name in ("sweep", "attempt", "platform", "device")}
        facts |= {"trial": str(job.num), **(self._identity or {})}
        if job.follow_up:
            launch["follow_up"] = True
        message = replace(self._message(base, point, settled, job.num, str(folder)), facts=facts)
        if job.group is not None:
            launch["shares"] = shares_record(job.group, settled.overrides)
            message = replace(message, group=job.group)
        return Prepared(message, folder, launch)

    def _message(self, base: Base, point: Point, settled: Settled, number: int, folder: str) -> _worker.Message:
        return _worker.Message(
            base=self.path(base),
            point=point,
            settled=settled.overrides,
            number=number,
            folder=folder,
            preload=self._settings.preload,
            identity=self._settings.identity,
            threads=settled.threads,
        )

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


def _has(config: DictConfig, key: str) -> bool:
    return parent_of(config, key)[0] is not None
