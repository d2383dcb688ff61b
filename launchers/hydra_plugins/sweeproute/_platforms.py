"""Reads the hardware registry: which platforms there are, what each can hold, where rules send a job."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from ._admission import SWEEP_FOLDERS, PlatformState
from ._backend import Platform
from ._errors import SettingsError, nearest_first
from ._hooks import hook
from ._machines import cores_of
from ._policy import Overflow, Policy, Rule
from ._slurm_queue import SlurmSettings, check, why_not
from .config import PlatformConf, RoutedLauncherConf, SpecsConf

if TYPE_CHECKING:
    from hydra_plugins.hydra_joblib_launcher.config import JobLibLauncherConf

# What the policy reads of a job beside the fields that rules match on, with the type of each.
ADMISSION = {"priority": int, "memory_gb": float, "gpu_memory_gb": float, "minutes": float}
# A list of what a platform has to have.
CAPABILITIES = "capabilities"
BACKENDS = ("joblib", "ssh", "slurm")


@dataclass(frozen=True)
class Registry:
    """The platforms of one sweep, and the policy over them.

    Attributes:
        platforms: What each backend is told, by name.
        settings: The registry's own entry of each.
        unavailable: Why a platform cannot be used, as a clause; absent where it can.
        policy: Decides where a job goes.
        notes: Sentences for the person: what was read differently from what they wrote.
        lacking: Of each platform the capabilities that it claims, and this machine is known to lack, with a clause that
            says why.
    """

    platforms: dict[str, Platform]
    settings: dict[str, PlatformConf]
    unavailable: dict[str, str]
    policy: Policy
    notes: tuple[str, ...]
    lacking: dict[str, dict[str, str]] = field(default_factory=dict)

    def local(self, name: str) -> bool:
        """Whether a platform is this machine."""
        return self.settings[name].backend == "joblib"

    def capabilities(self, name: str) -> tuple[str, ...]:
        """What a platform can do: what its entry claims, and whether its jobs see the folders of sweeps."""
        entry = self.settings[name]
        sees = (SWEEP_FOLDERS,) if entry.backend != "ssh" and SWEEP_FOLDERS not in entry.capabilities else ()
        return (*entry.capabilities, *sees)

    def memory_gb(self, name: str) -> float:
        """Main memory of a platform in GB; this machine's is read, not believed."""
        stated = self.settings[name].specs.memory_gb
        if not self.local(name):
            return stated or float("inf")
        import psutil

        actual = psutil.virtual_memory().total / 1e9
        return min(stated, actual) if stated else actual

    def gpu_memory_gb(self, name: str) -> float:
        """GPU memory of a platform in GB, as its `gpu` says; infinite where that names no size."""
        gpu = self.settings[name].specs.gpu
        if not gpu:
            return 0.0
        size = re.search(r"([\d.]+)\s*GB", str(gpu), re.IGNORECASE)
        return float(size.group(1)) if size else float("inf")

    def states(self) -> list[PlatformState]:
        return [
            PlatformState(
                name=name,
                slots=platform.slots,
                running=0,
                memory_gb=self.memory_gb(name),
                memory_free_gb=self.memory_gb(name),
                gpu_memory_gb=self.gpu_memory_gb(name),
                gpu_memory_free_gb=self.gpu_memory_gb(name),
                available=name not in self.unavailable,
                why=self.unavailable.get(name, "is being reached" if platform.ahead else ""),
                speed=dict(self.settings[name].speed),
                capabilities=self.capabilities(name),
                lacking=self.lacking.get(name, {}),
                ahead=platform.ahead,
                silent=platform.ahead,
            )
            for name, platform in self.platforms.items()
        ]


def local_settings(conf: RoutedLauncherConf) -> "JobLibLauncherConf":
    """The local backend's settings, as an object of hydra-joblib-launcher's own class."""
    from hydra_plugins.hydra_joblib_launcher.config import JobLibLauncherConf

    settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(JobLibLauncherConf), conf.joblib))
    assert isinstance(settings, JobLibLauncherConf)
    return settings


def read(conf: RoutedLauncherConf, master: DictConfig) -> Registry:
    """Read the launcher's settings.

    Args:
        conf: The launcher's settings.
        master: The sweep's config, which tells under which key the registry was written.

    Returns:
        The registry.

    Raises:
        SettingsError: A key, platform, rule or backend that does not exist.
    """
    if conf.max_attempts < 1:
        raise SettingsError(f"hydra.launcher.max_attempts is {conf.max_attempts}. It takes 1 or more.")
    where = _written_under(master)
    entries = _entries(conf, where)
    names = list(entries)
    default = conf.default_platform or names[0]
    platforms, unavailable, notes = {}, {}, []
    if conf.here is not None and conf.here not in names:
        raise SettingsError(
            f"hydra.launcher.here is {conf.here!r}. Allowed, nearest match first: {nearest_first(conf.here, names)}."
        )
    for name, entry in entries.items():
        if conf.here is not None:
            entry.backend, entry.host = "joblib" if name == conf.here else "ssh", None
        elif entry.backend is None:
            entry.backend = "joblib" if name == names[0] else "ssh"
        if entry.backend not in BACKENDS:
            raise SettingsError(
                f"{where}.{name}.backend is {entry.backend!r}. Allowed: {nearest_first(entry.backend, BACKENDS)}."
            )
        slots, cores = entry.max_concurrent_jobs, entry.specs.cpu_cores
        if entry.backend == "joblib":
            here = _cores_here()
            cores = min(cores or here, here)
            if (n_jobs := local_settings(conf).n_jobs) > 0:
                slots = min(slots, n_jobs)
            if slots > cores:
                notes.append(f"{name} has {cores} cores here: {cores} of its {slots} slots are used.")
                slots = cores
        elif entry.backend == "slurm":
            if why := _slurm_obstacle(entry, f"{where}.{name}"):
                unavailable[name] = why
        elif conf.here is not None:
            unavailable[name] = f"is not used by a sweep that runs on {conf.here} alone"
        elif entry.host is None:
            unavailable[name] = f"has no host configured (set {where}.{name}.host)"
        elif (there := cores_of(name, entry.host)) is not None:
            if cores is not None and cores > there:
                notes.append(
                    f"{name} has {there} cores, not the {cores} of {where}.{name}.specs.cpu_cores: "
                    f"its jobs get {max(1, there // slots)} each."
                )
            cores = min(cores or there, there)
        device = "cuda" if entry.specs.gpu else "cpu"
        threads = max(1, cores // slots) if cores else None
        _check_overrides(name, entry, conf.sets, where)
        platforms[name] = Platform(name, slots, threads, device, tuple(entry.overrides), entry.backend == "ssh")
    rules = _rules(conf)
    policy = Policy(rules, default, "no rule matches", cast(Overflow, conf.overflow))
    policy.check(names)
    lacking = _lacking(conf, entries)
    return Registry(platforms, entries, unavailable, policy, tuple(notes), lacking)


def _lacking(conf: RoutedLauncherConf, entries: Mapping[str, PlatformConf]) -> dict[str, dict[str, str]]:
    """See Registry; what another machine lacks is found out there."""
    lacks = hook("lacks", conf.lacks)
    found: dict[str, dict[str, str]] = {name: {} for name in entries}
    for name, entry in entries.items():
        if lacks is not None and entry.backend == "joblib":
            why = {capability: lacks(capability) for capability in entry.capabilities}
            found[name] = {capability: str(clause) for capability, clause in why.items() if clause}
    return found


def slurm_settings(entry: PlatformConf) -> SlurmSettings:
    """What a platform's entry says to SLURM."""
    return SlurmSettings(entry.partition, entry.timeout_min, tuple(entry.setup), entry.slurm)


def _slurm_obstacle(entry: PlatformConf, where: str) -> str:
    """Why a cluster cannot be used from here, as a clause; empty where it can."""
    if entry.python is not None:
        raise SettingsError(
            f"{where}.python is {entry.python!r}. Jobs on SLURM run with the Python that runs this; take it out."
        )
    settings = slurm_settings(entry)
    check(settings, where)
    return why_not(settings, where)


def _entries(conf: RoutedLauncherConf, where: str) -> dict[str, PlatformConf]:
    # As plain data: what Hydra composed may be of the classes of a module that its scan has since run again.
    written = _plain(conf.platforms) or {"local": {"max_concurrent_jobs": _cores_here()}}
    if not isinstance(written, dict):
        raise SettingsError(f"{where} is {written!r}. It maps a platform's name to what it has.")
    return {str(name): _entry(entry, f"{where}.{name}") for name, entry in written.items()}


def _entry(written: Any, where: str) -> PlatformConf:
    if not isinstance(written, dict):
        raise SettingsError(f"{where} is {written!r}. It takes the keys {nearest_first('', _keys(PlatformConf))}.")
    try:
        entry = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(PlatformConf), written))
    except OmegaConfBaseException as error:
        at = ".".join(part for part in (where, error.full_key) if part)
        said = f"{at} does not read: {str(error).splitlines()[0]}."
        if isinstance(error, (ConfigKeyError, ConfigAttributeError)):
            owner = SpecsConf if str(error.full_key).startswith("specs.") else PlatformConf
            said += f" Allowed: {nearest_first(str(error.key), _keys(owner))}."
        raise SettingsError(said) from None
    assert isinstance(entry, PlatformConf)
    if entry.max_concurrent_jobs < 1:
        raise SettingsError(
            f"{where}.max_concurrent_jobs is {entry.max_concurrent_jobs}. It takes 1 or more; "
            "to keep jobs away from a platform, route them elsewhere."
        )
    if entry.cache_gb is not None and not entry.cache_gb > 0:
        raise SettingsError(f"{where}.cache_gb is {entry.cache_gb:g}. It takes more than 0 GB, or null for no limit.")
    return entry


def _keys(conf: type[PlatformConf] | type[SpecsConf]) -> list[str]:
    return [field.name for field in fields(conf)]


def _plain(written: Any) -> Any:
    return OmegaConf.to_container(written, resolve=True) if OmegaConf.is_config(written) else written


def _rules(conf: RoutedLauncherConf) -> list[Rule]:
    rules = []
    for number, written in enumerate(_plain(conf.rules) or [], start=1):
        rule = dict(written) if isinstance(written, dict) else {}
        missing = [key for key in ("route_to", "reason") if key not in rule]
        if missing:
            raise SettingsError(
                f"Routing rule {number} ({written!r}) has no {missing[0]}. A rule has what it matches on "
                "(model_type: ...), route_to, reason."
            )
        several = [key for key, value in rule.items() if isinstance(value, (list, dict))]
        if several:
            raise SettingsError(
                f"Routing rule {number} matches {several[0]} on {rule[several[0]]!r}. A rule matches on one value: "
                "write a rule for each."
            )
        route_to, reason = str(rule.pop("route_to")), str(rule.pop("reason"))
        rules.append(Rule(rule, route_to, reason))
    return rules


def _check_overrides(name: str, entry: PlatformConf, sets: Mapping[str, str], where: str) -> None:
    for override in entry.overrides:
        key, given, _ = override.partition("=")
        if not given:
            raise SettingsError(f"{where}.{name}.overrides has {override!r}, which sets nothing. Write key=value.")
        if key not in sets.values():
            raise SettingsError(
                f"{where}.{name}.overrides sets {key!r}. A platform may only set where and how a job runs: "
                f"{nearest_first(key, sets.values()) or 'nothing, since hydra.launcher.sets is empty'}. "
                "What a trial is belongs in its own overrides."
            )


def _written_under(master: DictConfig) -> str:
    """The key under which a person finds the platforms: the launcher's own, or what it points to."""
    node: Any = master.hydra.launcher._get_node("platforms")
    raw = node._value() if node is not None else None
    pointed = re.fullmatch(r"\$\{([\w.]+)\}", raw) if isinstance(raw, str) else None
    return pointed.group(1) if pointed else "hydra.launcher.platforms"


def _cores_here() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
