"""Finds the platforms and rules by which a run of an MLflow project is routed, and what they read of it."""

import dataclasses
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeproute.project_settings import BackendConfig, BackendConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hydra_plugins.sweeproute._admission import JobClass
    from hydra_plugins.sweeproute._platforms import Registry
    from hydra_plugins.sweeproute._policy import Home, Policy
    from hydra_plugins.sweeproute.config import RoutedLauncherConf

_CONF, _NAME = "conf", "config"
# A parameter whose value is Hydra overrides, separated by spaces.
_OVERRIDES = "overrides"
# What the policy reads under its own names, whatever a project calls its parameters.
_PLATFORM, _MODEL_TYPE = "platform", "model_type"
_RESERVED = (_PLATFORM, "priority", "memory_gb", "gpu_memory_gb", "minutes", "capabilities")
# Settings of a launcher that are of its app's own jobs and sweeps, and mean nothing for a command.
_OF_THE_APP = (
    *("fields", "sets", "files", "preload", "validate", "lacks", "identity", "admit", "follow_up", "foresee"),
    *("debug", "dry_run", "plan", "deadline", "restart_slow", "max_attempts", "lost_after_min", "retry_user_errors"),
)


@dataclass(frozen=True)
class Routing:
    """How a run is routed.

    Attributes:
        launcher: Settings of the launcher, as plain data; `fields` is left to the caller.
        facts: What the launcher reads of the run, by name: of the rules one has matched already.
        here: Platforms that are this machine.
        home: Where it goes as things stand, and why.
    """

    launcher: dict[str, Any]
    facts: dict[str, Any]
    here: tuple[str, ...]
    home: "Home"


def routing(config: BackendConfig, project: Path, params: Mapping[str, str], kind: str) -> Routing:
    """Decide where a run would go now.

    Args:
        config: What the backend was given.
        project: The project's folder.
        params: The run's parameters, those with defaults, too.
        kind: What runs of this sort are called, for what is learned of how long they take.

    Returns:
        The decision, and all that is needed to take it again while it waits.

    Raises:
        BackendConfigError: There is no configuration for the overrides.
        Exception: What Hydra, or the launcher, says of a platform, rule, key or value that is not right.
    """
    from omegaconf import OmegaConf

    from hydra_plugins.sweeproute._platforms import read
    from hydra_plugins.sweeproute.config import RoutedLauncherConf

    folder, own = _configuration(config, project)
    facts: dict[str, Any] = {}
    settings = RoutedLauncherConf()
    master = OmegaConf.create({"hydra": {"launcher": {"platforms": {}}}})
    if folder is not None:
        words = list(config.overrides)
        if own:
            words += _words(folder, words, params)
        settings, master = _composed(folder, words)
        if own:
            facts = _facts(settings, master)
    elif config.overrides:
        raise BackendConfigError(
            f"overrides of --backend-config is {list(config.overrides)}, and there is no {_CONF}/{_NAME}.yaml with "
            f"platforms in {project}, nor in the working directory. Name one: config_dir."
        )
    settings = _of_a_command(settings, config)
    aside = (*facts, *_RESERVED, _OVERRIDES)
    facts |= {name: value for name, value in params.items() if name not in aside}
    facts |= dict(config.job)
    facts.setdefault(_MODEL_TYPE, kind)
    facts[_PLATFORM] = config.platform or facts.get(_PLATFORM)
    registry = read(settings, master)
    job = _job_class(facts, registry)
    home = registry.policy.home(job, {state.name: state for state in registry.states()})
    launcher = _decided(settings, registry.policy, job, kind)
    here = tuple(name for name in registry.platforms if registry.local(name))
    kept = {name: value for name, value in facts.items() if name in _RESERVED}
    return Routing(launcher, kept | {_MODEL_TYPE: kind}, here, home)


def leaves(facts: Mapping[str, Any]) -> dict[str, str]:
    """By the name of a fact a key that a configuration can have it under; each is another."""
    found: dict[str, str] = {}
    for name in facts:
        leaf = re.sub(r"\W", "_", name)
        while leaf in found.values():
            leaf += "_"
        found[name] = leaf
    return found


def _configuration(config: BackendConfig, project: Path) -> tuple[Path | None, bool]:
    """The folder of the configuration that says which platforms there are, and whether it is the project's own."""
    if config.platforms is not None:
        return None, False
    places = [project / _CONF, Path.cwd() / _CONF]
    if config.config_dir is not None:
        return config.config_dir, config.config_dir.resolve() == places[0].resolve()
    for place in places:
        if (place / f"{_NAME}.yaml").is_file() and _is_routed(place):
            return place, place.resolve() == places[0].resolve()
    return None, False


def _is_routed(folder: Path) -> bool:
    """Whether a configuration composes, and sends its jobs to platforms; another app's may do neither."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from sweeproute.commands.composing import NoAppError

    try:
        _composed(folder, [])
    except (HydraException, OmegaConfBaseException, NoAppError):
        return False
    return True


def _composed(folder: Path, words: list[str]) -> "tuple[RoutedLauncherConf, DictConfig]":
    from sweeproute.commands import composing

    return composing.launcher(folder, words)


def _words(folder: Path, words: list[str], params: Mapping[str, str]) -> list[str]:
    """The overrides that a run's parameters are, where the project is a Hydra app: of a key or a group that it has."""
    from omegaconf import OmegaConf

    _, base = _composed(folder, words)
    found = []
    for name, value in params.items():
        if name == _OVERRIDES:
            found += shlex.split(value)
            continue
        known = OmegaConf.select(base, name, throw_on_missing=False)
        if value and ((folder / name).is_dir() or (known is not None and not OmegaConf.is_config(known))):
            found.append(f"{name}={value}")
    return list(_single(found))


def _single(words: list[str]) -> Iterator[str]:
    """Of words that list several values the first: a sweep is routed as a whole."""
    from hydra.errors import HydraException

    from hydra_plugins.sweeproute._compose import parse

    for word in words:
        try:
            override = parse(word)
        except HydraException:
            continue  # a value that is text to the command, and that no rule could match on
        if not override.is_sweep_override():
            yield word
        elif override.is_choice_sweep():
            yield f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"


def _facts(settings: "RoutedLauncherConf", config: "DictConfig") -> dict[str, Any]:
    """What the app's own keys say, under the names that rules have for them."""
    from omegaconf import OmegaConf

    facts = {}
    for name, key in settings.fields.items():
        value = OmegaConf.select(config, key, throw_on_missing=False)
        if OmegaConf.is_list(value):
            value = OmegaConf.to_container(value, resolve=True)
        if value is not None and not OmegaConf.is_config(value):
            facts[name] = value
    return facts


def _of_a_command(settings: "RoutedLauncherConf", config: BackendConfig) -> "RoutedLauncherConf":
    """The launcher's settings for one command: what is of the app's own jobs has its default again."""
    from omegaconf import OmegaConf

    from hydra_plugins.sweeproute.config import RoutedLauncherConf

    plain: dict[str, Any] = {
        one.name: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for one, value in ((one, getattr(settings, one.name)) for one in dataclasses.fields(settings))
        if one.name not in _OF_THE_APP
    }
    if config.platforms is not None:
        plain["platforms"], plain["rules"] = dict(config.platforms), []
    if config.rules is not None:
        plain["rules"] = [dict(rule) for rule in config.rules]
    for entry in plain["platforms"].values() if isinstance(plain["platforms"], dict) else ():
        if isinstance(entry, dict):
            # Keys of the app's config, which a command has not.
            entry.pop("overrides", None)
    # Started twice, both would write into the same run.
    once: dict[str, Any] = {
        "restart_slow": False,
        "max_attempts": config.attempts,
        "lost_after_min": config.lost_after_min,
    }
    return RoutedLauncherConf(**plain | once)


def _decided(settings: "RoutedLauncherConf", policy: "Policy", job: "JobClass", kind: str) -> dict[str, Any]:
    """The launcher's settings with the rule that has matched alone.

    How long a command takes is learned by its own name: it is none of the trials of a model that a rule may name.
    """
    from hydra_plugins.sweeproute._admission import PlatformState, speed
    from hydra_plugins.sweeproute._policy import ASKED_FOR

    target, reason = policy.target(job)
    launcher = dataclasses.asdict(settings) | {"default_platform": target, "rules": []}
    if reason == ASKED_FOR:
        launcher["default_platform"] = settings.default_platform
    elif reason != policy.default_reason:
        launcher["rules"] = [{_MODEL_TYPE: kind, "route_to": target, "reason": reason}]
    for entry in launcher["platforms"].values() if isinstance(launcher["platforms"], dict) else ():
        if entry.get("speed"):
            entry["speed"] = {kind: speed(job, PlatformState("", 1, speed=entry["speed"]))}
    return launcher


def _job_class(facts: Mapping[str, Any], registry: "Registry") -> "JobClass":
    from omegaconf import OmegaConf

    from hydra_plugins.sweeproute._classes import Classes
    from hydra_plugins.sweeproute.config import RoutedLauncherConf

    class One:
        """Composes the one job that there is."""

        def compose(self, *_: Any) -> "DictConfig":
            return OmegaConf.create({"job": {named[name]: value for name, value in facts.items()}})

    named = leaves(facts)
    keys = {name: f"job.{leaf}" for name, leaf in named.items()}
    return Classes(RoutedLauncherConf(fields=keys), registry, One()).job_class(0, ())  # type: ignore[arg-type]
