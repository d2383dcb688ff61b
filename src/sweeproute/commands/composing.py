"""Composes the app's configuration for a command, as the app's own script would."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hydra_plugins.sweeproute._platforms import Registry
    from hydra_plugins.sweeproute.config import RoutedLauncherConf

# Where an app's configuration lies, beside its script.
_CONF, _NAME = "conf", "config"


class NoAppError(LookupError):
    """There is no app whose configuration could be composed."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep's command would begin with."""

    # The sweep's config, with Hydra's node; what is swept is not in it.
    config: "DictConfig"
    settings: "RoutedLauncherConf"
    registry: "Registry"


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
    from sweeproute import config

    config.register()
    with hydra.initialize_config_dir(str(_folder()), version_base="1.3"):
        composed = hydra.compose(_NAME, list(overrides), return_hydra_config=True)
    return read(_launcher(composed), composed)


def sweep(app: Path, overrides: Sequence[str]) -> Sweep:
    """Compose what the command of a sweep would begin with, and read what it would search; nothing runs.

    Args:
        app: The script, an absolute path; its configuration lies in `conf` beside it.
        overrides: The command's words behind `-m`.

    Returns:
        The config, the launcher's settings, the platforms.

    Raises:
        NoAppError: There is no such script, no configuration beside it, or its jobs are not routed.
        hydra.errors.HydraException: The overrides do not compose.
        hydra_plugins.sweeproute._errors.SettingsError: The search space, or a setting of the launcher, is not right.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from hydra_plugins.sweeproute._platforms import read
    from sweeproute import config

    folder = app.parent / _CONF
    if not app.is_file():
        raise NoAppError(f"There is no script {str(app)!r}. Run this where it lies, or name it: --app FILE.")
    if not (folder / f"{_NAME}.yaml").exists():
        raise NoAppError(
            f"There is no {_CONF}/{_NAME}.yaml beside {app}, which is where its configuration is looked for."
        )
    config.register()
    if str(app.parent) not in sys.path:
        # Where Python finds the app's own modules when the script is started, its hooks among them.
        sys.path.insert(0, str(app.parent))
    with hydra.initialize_config_dir(str(folder), job_name=app.stem, version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        composed = loader.load_configuration(_NAME, list(overrides), run_mode=RunMode.MULTIRUN)
        settings = _launcher(composed)
        _read_space(loader, composed, settings)
    return Sweep(composed, settings, read(settings, composed))


def _read_space(loader: Any, composed: "DictConfig", launcher: "RoutedLauncherConf") -> None:
    """Have the search sweeper read what it would search, as far as it is the one."""
    from hydra_plugins.sweeproute._classes import hook
    from hydra_plugins.sweeproute._compose import Composer, as_written
    from hydra_plugins.sweeproute._grid import points
    from hydra_plugins.sweeproute._objective import objective
    from hydra_plugins.sweeproute._spaces import spaces
    from hydra_plugins.sweeproute.config import SearchSweeperConf

    sweeper = composed.hydra.sweeper
    if not str(sweeper.get("_target_")).endswith("SearchSweeper"):
        return
    settings = SearchSweeperConf(**{str(key): sweeper[key] for key in sweeper})
    words = as_written(composed.hydra.overrides.task)
    composer, validate = Composer(loader, composed), hook("validate", launcher.validate)
    objective(settings.metric, settings.direction, searched=settings.sampler != "grid")
    if settings.sampler == "grid":
        points(words, settings.params or {}, composer, settings.space, validate, settings.constraints)
    else:
        keys = (settings.space, settings.constraints, settings.repeats)
        spaces(words, settings.params or {}, composer, *keys, validate)


def _launcher(composed: "DictConfig") -> "RoutedLauncherConf":
    """The launcher's settings, where it is ours."""
    from hydra_plugins.sweeproute.config import RoutedLauncherConf

    launcher = composed.hydra.launcher
    target = str(launcher.get("_target_"))
    if not target.endswith("RoutedLauncher"):
        raise NoAppError(f"Jobs are started by {target} here, which has no platforms. Choose hydra/launcher=routed.")
    return RoutedLauncherConf(**{str(key): launcher[key] for key in launcher})


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
