"""Finds a platform that a command names, also as a sweep knew it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra_plugins.sweeproute._platforms import Registry
    from hydra_plugins.sweeproute.config import PlatformConf


class NoSuchPlatformError(LookupError):
    """There is no such platform, or it is none that the command is for."""


def platform(name: str, registry: "Registry") -> "PlatformConf":
    """A platform by its name.

    Args:
        name: As the person gave it.
        registry: Where it is to be.

    Returns:
        What the registry says of it.

    Raises:
        NoSuchPlatformError: There is none of this name.
    """
    from hydra_plugins.sweeproute._errors import nearest_first

    if name not in registry.settings:
        allowed = nearest_first(name, registry.settings)
        raise NoSuchPlatformError(f"There is no platform {name!r}. Allowed, nearest match first: {allowed}.")
    return registry.settings[name]


def far_platform(name: str, registry: "Registry") -> "PlatformConf":
    """A platform that ssh reaches; see `platform`.

    Raises:
        NoSuchPlatformError: There is none of this name, or ssh does not reach it.
    """
    entry = platform(name, registry)
    if entry.backend != "ssh":
        far = ", ".join(one for one, other in registry.settings.items() if other.backend == "ssh") or "none"
        what = "is this machine" if registry.local(name) else f"is reached through {entry.backend}"
        raise NoSuchPlatformError(f"{name} {what}. This command is for platforms that ssh reaches: {far}.")
    return entry


def of_sweep(folder: Path) -> "Registry | None":
    """The registry as a sweep had it when it was started, or gone on with, last.

    Args:
        folder: The sweep's.

    Returns:
        The platforms; None where its jobs were not routed, or nothing is kept of its configuration.

    Raises:
        hydra_plugins.sweeproute._errors.SettingsError: This version cannot serve what it says.
    """
    from omegaconf import DictConfig, OmegaConf

    from hydra_plugins.sweeproute._platforms import read
    from hydra_plugins.sweeproute.config import RoutedLauncherConf

    kept = folder / "multirun.yaml"
    if not kept.is_file():
        return None
    composed = OmegaConf.load(kept)
    launcher = OmegaConf.select(composed, "hydra.launcher")
    if (
        not isinstance(composed, DictConfig)
        or launcher is None
        or not str(launcher.get("_target_")).endswith("RoutedLauncher")
    ):
        return None
    known = RoutedLauncherConf.__dataclass_fields__
    return read(RoutedLauncherConf(**{str(key): launcher[key] for key in launcher if key in known}), composed)
