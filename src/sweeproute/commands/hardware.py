"""Reads the hardware registry as the app in this folder, or a sweep that was started, composes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hydra_plugins.sweeproute._platforms import Registry
    from hydra_plugins.sweeproute.config import PlatformConf


class HardwareError(LookupError):
    """There is no such platform, or nothing that names any."""


def here(overrides: Sequence[str] = ()) -> "Registry":
    """The registry of the app in the working directory, as a sweep of it would read it.

    Args:
        overrides: Hydra's, as in registry.platforms.remote_4090.host=me@box.

    Returns:
        The platforms.

    Raises:
        HardwareError: The working directory is no app's.
        SettingsError: Something in the registry cannot be served.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    from sweeproute import config

    folder = Path.cwd() / "conf"
    if not (folder / "config.yaml").is_file():
        raise HardwareError(
            f"There is no conf/config.yaml in {Path.cwd()}, which would name the platforms. "
            "Go to the folder of the app: the one in which its sweeps are started."
        )
    config.register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(folder), version_base="1.3"):
        composed = hydra.compose("config", list(overrides), return_hydra_config=True)
    return _registry(composed, str(folder / "config.yaml"))


def of_sweep(folder: Path) -> "Registry | None":
    """The registry as a sweep had it when it was started, or gone on with, last.

    Args:
        folder: The sweep's.

    Returns:
        The platforms; None where the folder does not tell.

    Raises:
        SettingsError: This version cannot serve something that it says.
    """
    from omegaconf import OmegaConf

    kept = folder / "multirun.yaml"
    if not kept.is_file():
        return None
    composed = OmegaConf.load(kept)
    try:
        return _registry(composed, str(kept))
    except HardwareError:
        return None


def platform(name: str, registry: "Registry") -> "PlatformConf":
    """A platform by its name.

    Args:
        name: As the person gave it.
        registry: Where it is to be.

    Returns:
        What the registry says of it.

    Raises:
        HardwareError: There is no such platform.
    """
    from hydra_plugins.sweeproute._errors import nearest_first

    if name not in registry.settings:
        raise HardwareError(
            f"There is no platform {name!r}. Allowed, nearest match first: {nearest_first(name, registry.settings)}."
        )
    return registry.settings[name]


def far_platform(name: str, registry: "Registry") -> "PlatformConf":
    """A platform that ssh reaches; see `platform`.

    Raises:
        HardwareError: There is no such platform, or ssh does not reach it.
    """
    entry = platform(name, registry)
    if entry.backend != "ssh":
        far = ", ".join(one for one, other in registry.settings.items() if other.backend == "ssh") or "none"
        what = "is this machine" if registry.local(name) else f"is reached through {entry.backend}"
        raise HardwareError(f"{name} {what}. This command is for platforms that ssh reaches: {far}.")
    return entry


def _registry(composed: "Any | DictConfig", written: str) -> "Registry":
    from omegaconf import OmegaConf

    from hydra_plugins.sweeproute import _platforms
    from hydra_plugins.sweeproute.config import RoutedLauncherConf

    launcher = OmegaConf.select(composed, "hydra.launcher")
    known = RoutedLauncherConf.__dataclass_fields__
    if launcher is None or launcher.get("_target_") != RoutedLauncherConf._target_:
        raise HardwareError(f"{written} does not use hydra/launcher=routed, which is what sends jobs to platforms.")
    settings = {key: launcher[key] for key in launcher if key in known}
    return _platforms.read(RoutedLauncherConf(**settings), composed)
