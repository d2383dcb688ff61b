"""Composes the app's configuration for a command, as the app's own script would."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra_plugins.sweeproute._platforms import Registry

# Where an app's configuration lies, beside its script.
_CONF, _NAME = "conf", "config"


class NoAppError(LookupError):
    """There is no app whose configuration could be composed."""


def registry(overrides: Sequence[str]) -> "Registry":
    """Read the hardware registry.

    Args:
        overrides: Hydra's, as in `registry.platforms.remote_4090.host=me@box`.

    Returns:
        The platforms, with the policy over them.

    Raises:
        NoAppError: There is no configuration here, or its jobs are not routed.
        hydra.errors.HydraException: The overrides do not compose.
    """
    import hydra

    from hydra_plugins.sweeproute._platforms import read
    from hydra_plugins.sweeproute.config import RoutedLauncherConf
    from sweeproute import config

    config.register()
    with hydra.initialize_config_dir(str(_folder()), version_base="1.3"):
        composed = hydra.compose(_NAME, list(overrides), return_hydra_config=True)
    launcher = composed.hydra.launcher
    target = str(launcher.get("_target_"))
    if not target.endswith("RoutedLauncher"):
        raise NoAppError(f"Jobs are started by {target} here, which has no platforms. Choose hydra/launcher=routed.")
    settings = RoutedLauncherConf(**{str(key): launcher[key] for key in launcher})
    return read(settings, composed)


def _folder() -> Path:
    """The configuration beside the script here, else that of the sweep that was started last."""
    from sweeproute import pointers

    here = Path.cwd() / _CONF
    if (here / f"{_NAME}.yaml").exists():
        return here
    for pointer in pointers.pointers()[:1]:
        found = (pointer.cwd / pointer.argv[0]).resolve().parent / _CONF
        if (found / f"{_NAME}.yaml").exists():
            return found
    raise NoAppError(
        f"There is no {_CONF}/{_NAME}.yaml here, and none beside the script of the newest sweep. "
        "Run this where train.py lies."
    )
