"""Composes the app's configuration for a command, as the app's own script would."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hydra_plugins.sweeproute._compose import Composer
    from hydra_plugins.sweeproute._objective import Objective
    from hydra_plugins.sweeproute._platforms import Registry
    from hydra_plugins.sweeproute._space import Space
    from hydra_plugins.sweeproute.config import RoutedLauncherConf
    from sweeproute.report_config import Report

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
    # An override that names by their values the points of earlier sweeps here that a sampler begins with; None where
    # there are none such.
    begins: str | None = None
    # Of each choice of groups the config of one job, without Hydra's node; what the sweep would choose by. The app's
    # hooks are told these.
    trials: "tuple[DictConfig, ...]" = ()
    rule: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """What a plan of a sweep is made of, and its points."""

    # The sweep's config, with Hydra's node.
    config: "DictConfig"
    settings: "RoutedLauncherConf"
    composer: "Composer"
    # The overrides of each job.
    points: "Sequence[tuple[str, ...]]"
    # Key of the app's config that says along which axis one fit serves several points; None for none.
    prefix: str | None
    # Keys whose values are repeats of one configuration.
    repeats: tuple[str, ...]
    # What the sweep would choose by, as the app's hooks are told it.
    rule: dict[str, Any]


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
    from hydra_plugins.sweeproute._platforms import read

    settings, composed = launcher(_folder(), overrides)
    return read(settings, composed)


def launcher(folder: Path, overrides: Sequence[str]) -> "tuple[RoutedLauncherConf, DictConfig]":
    """Compose a configuration as that of one job.

    Args:
        folder: Where its config.yaml lies.
        overrides: Hydra's.

    Returns:
        The launcher's settings, and the config with Hydra's node.

    Raises:
        NoAppError: Its jobs are not routed.
        hydra.errors.HydraException: It does not compose.
    """
    import hydra

    from sweeproute import config

    config.register()
    with hydra.initialize_config_dir(str(folder.absolute()), version_base="1.3"):
        composed = hydra.compose(_NAME, list(overrides), return_hydra_config=True)
    return _launcher(composed), composed


def report(overrides: Sequence[str]) -> "Report":
    """Read what a report says, and in which words.

    Args:
        overrides: Hydra's, as in `report.alpha=0.01`, or `report=mine` for conf/report/mine.yaml.

    Returns:
        The settings, as plain data.

    Raises:
        NoAppError: There is no configuration here, or it has no reports.
        hydra.errors.HydraException: The overrides do not compose.
        sweeproute.config.ConfigError: They add a key that it does not have.
    """
    import hydra
    from omegaconf import OmegaConf

    from sweeproute import config, report_config

    config.register()
    folder = _folder()
    if not (folder / "report" / "thesis.yaml").is_file():
        raise NoAppError(f"There is no report/thesis.yaml in {folder}, which says what a report consists of.")
    with hydra.initialize_config_dir(str(folder), version_base="1.3"):
        composed = hydra.compose("report_alone", list(overrides)).report
    config.check_keys(composed, "report")
    settings = OmegaConf.to_object(composed)
    assert isinstance(settings, report_config.Report)
    return settings


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
    from hydra_plugins.sweeproute._platforms import read

    with _multirun(app, overrides) as (loader, composed, settings):
        begins, trials, told = _read_space(loader, composed, settings)
    return Sweep(composed, settings, read(settings, composed), begins, trials, told)


@contextmanager
def grid(app: Path, overrides: Sequence[str]) -> "Iterator[Grid | None]":
    """Compose a sweep as `sweep` does, and list its points; None where a sampler chooses them on the way.

    Args:
        app: The script, an absolute path.
        overrides: The command's words behind `-m`.

    Yields:
        What a plan is made of, whose composer composes until this is left.

    Raises:
        Exception: As `sweep`.
    """
    from hydra_plugins.sweeproute._compose import Composer, as_written
    from hydra_plugins.sweeproute._follow_up import rule
    from hydra_plugins.sweeproute._grid import points
    from hydra_plugins.sweeproute._hooks import hook
    from hydra_plugins.sweeproute._objective import objective
    from hydra_plugins.sweeproute.config import SearchSweeperConf

    with _multirun(app, overrides) as (loader, composed, settings):
        _read_space(loader, composed, settings)
        sweeper = composed.hydra.sweeper
        if not str(sweeper.get("_target_")).endswith("SearchSweeper") or sweeper.sampler != "grid":
            yield None
            return
        search = SearchSweeperConf(**{str(key): sweeper[key] for key in sweeper})
        words, composer = as_written(composed.hydra.overrides.task), Composer(loader, composed)
        validate = hook("validate", settings.validate)
        listed = points(words, search.params or {}, composer, search.space, validate, search.constraints)
        told = rule(search, objective(search.metric, search.direction, searched=False))
        yield Grid(composed, settings, composer, listed, search.prefix, tuple(search.repeats), told)


@contextmanager
def _multirun(app: Path, overrides: Sequence[str]) -> "Iterator[tuple[Any, DictConfig, RoutedLauncherConf]]":
    """Hydra's loader, the config of a sweep, and the launcher's settings."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

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
        yield loader, composed, _launcher(composed)


def _read_space(
    loader: Any, composed: "DictConfig", launcher: "RoutedLauncherConf"
) -> "tuple[str | None, tuple[DictConfig, ...], dict[str, Any]]":
    """Have the search sweeper read what it would search, as far as it is the one: begins, trials, rule of `Sweep`."""
    from hydra_plugins.sweeproute._adaptive import Adaptive, searched
    from hydra_plugins.sweeproute._classes import hook
    from hydra_plugins.sweeproute._compose import Composer, as_written
    from hydra_plugins.sweeproute._errors import SettingsError, nearest_first
    from hydra_plugins.sweeproute._follow_up import one_of_each, rule
    from hydra_plugins.sweeproute._grid import points
    from hydra_plugins.sweeproute._objective import objective
    from hydra_plugins.sweeproute._search import SAMPLERS
    from hydra_plugins.sweeproute.config import SearchSweeperConf

    sweeper = composed.hydra.sweeper
    if not str(sweeper.get("_target_")).endswith("SearchSweeper"):
        return None, (), {}
    settings = SearchSweeperConf(**{str(key): sweeper[key] for key in sweeper})
    if settings.sampler not in SAMPLERS:
        raise SettingsError(
            f"hydra.sweeper.sampler is {settings.sampler!r}. Allowed: {nearest_first(settings.sampler, SAMPLERS)}."
        )
    words = as_written(composed.hydra.overrides.task)
    composer, validate = Composer(loader, composed), hook("validate", launcher.validate)
    goal = objective(settings.metric, settings.direction, searched=settings.sampler != "grid")
    told = rule(settings, goal)
    if settings.sampler == "grid":
        listed = points(words, settings.params or {}, composer, settings.space, validate, settings.constraints)
        return None, tuple(one_of_each(composer, listed)), told
    found = searched(words, settings, composer, validate)
    trials = tuple(one_of_each(composer, Adaptive(found, goal, settings, None, composer).samples()))
    if not any(str(one).startswith("best:") for one in settings.enqueue):
        return None, trials, told
    begins = [one for asked in settings.enqueue for one in _by_value(asked, found, goal, composer)]
    return f"hydra.sweeper.enqueue=[{','.join(begins)}]", trials, told


def _by_value(asked: Any, found: "Sequence[Space]", goal: "Objective", composer: "Composer") -> Iterator[str]:
    """What a sampler is to begin with, without the name of an earlier sweep."""
    from omegaconf import OmegaConf

    from hydra_plugins.sweeproute._dimension import text
    from hydra_plugins.sweeproute._space import bare
    from hydra_plugins.sweeproute._starting_points import starting_points

    if not str(asked).startswith("best:"):
        plain = OmegaConf.to_container(asked) if OmegaConf.is_config(asked) else asked
        yield text(plain)
        return
    # What tells the spaces apart; all else is theirs over there, be it called otherwise there.
    each = [{override for _, override in space.fixed} for space in found]
    telling = {override for one in each for override in one if not all(override in other for other in each)}
    for space, points in zip(found, starting_points([asked], found, goal, composer), strict=True):
        fixed = {bare(key): override.partition("=")[2] for key, override in space.fixed if override in telling}
        for values in points:
            # Chosen from a list they are as that was written, in Hydra's grammar.
            named = fixed | {bare(key): str(value) for key, value in values.items()}
            yield f"{{{','.join(f'{key}:{value}' for key, value in named.items())}}}"


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
