"""Composes a job's config: once per choice of groups, then a copy with the job's own values."""

import functools
import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from ._hydra_versions import deletes_config, override_dirname


@functools.lru_cache(maxsize=4096)
def parse(override: str) -> Override:
    """Parse one override; the same text is parsed once (the grammar takes a millisecond)."""
    return OverridesParser.create().parse_overrides([override])[0]


def as_written(overrides: ListConfig) -> list[str]:
    """Overrides as they were typed: an interpolation in one is for the job to resolve."""
    texts = OmegaConf.to_container(overrides, resolve=False)
    assert isinstance(texts, list)
    return texts


@dataclass(frozen=True)
class Base:
    """The config of one choice of groups, before any job's values.

    Attributes:
        id: Hash of the blob.
        blob: The pickled config: reading it back is a tenth of what a deep copy costs.
        groups: The group overrides that it was composed with.
    """

    id: str
    blob: bytes
    groups: tuple[str, ...]

    def config(self) -> DictConfig:
        """A fresh copy."""
        return pickle.loads(self.blob)  # noqa: S301  (written by this process a moment ago)


@dataclass(frozen=True)
class Point:
    """A job's own part of its config: all that has to be known beside its base.

    Attributes:
        overrides: All overrides as requested, in order.
        values: Those that set values, parsed; the others chose groups and are in the base.
        dirname: What `hydra.job.override_dirname` is for them; None where Hydra finds it by itself.
    """

    overrides: tuple[str, ...]
    values: tuple[Override, ...]
    dirname: str | None


def apply(blob: bytes, values: Sequence[Override]) -> DictConfig:
    """Read a pickled config back and set values in it.

    Args:
        blob: A pickled config.
        values: Overrides that set values, in order.

    Returns:
        The config.
    """
    config: DictConfig = pickle.loads(blob)  # noqa: S301  (the coordinator's own, on this machine)
    ConfigLoaderImpl._apply_overrides_to_config(list(values), config)
    return config


def build(blob: bytes, point: Point, settled: Sequence[Override], number: int | None) -> DictConfig:
    """Make a job's config from its base.

    Args:
        blob: The base's pickled config.
        point: The job's own part.
        settled: What the platform adds; it is not part of the job's overrides.
        number: The job's number; None leaves `hydra.job.num` missing.

    Returns:
        The config with its hydra node, as Hydra itself would have composed it.
    """
    return dress(apply(blob, (*point.values, *settled)), point, number)


def dress(config: DictConfig, point: Point, number: int | None) -> DictConfig:
    """Set in a config's hydra node what is a job's own.

    Args:
        config: The config; it is changed.
        point: The job's own part.
        number: The job's number; None leaves `hydra.job.num` missing.

    Returns:
        The config.
    """
    config.hydra.overrides.task = list(point.overrides)
    if point.dirname is not None:
        config.hydra.job.override_dirname = point.dirname
    if number is not None:
        with open_dict(config.hydra.job):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
    return config


def without_hydra(config: DictConfig) -> DictConfig:
    """The part of a config that is the app's own."""
    task_config: DictConfig = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return task_config


class Composer:
    """Composes jobs for one sweep.

    Args:
        loader: Hydra's config loader.
        master: The sweep's own config; its resolver cache is kept, so that `${now:}` is the same in every job.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader = loader
        self._master = master
        self._bases: dict[tuple[str, ...], Base] = {}
        self._is_group: dict[str, bool] = {}
        self._naming: dict[str, Any] | None = None
        assert isinstance(loader, ConfigLoaderImpl)
        _, self._repository = loader._parse_overrides_and_create_caching_repo(
            master.hydra.job.config_name, as_written(master.hydra.overrides.hydra)
        )

    def chooses_group(self, override: Override) -> bool:
        """Whether an override chooses an option of a config group, rather than set a value."""
        key = override.key_or_group
        if key not in self._is_group:
            self._is_group[key] = self._repository.group_exists(key)
        if not self._is_group[key]:
            return deletes_config(override, self._repository)
        return override.is_sweep_override() or not isinstance(override.value(), dict)

    def options(self, group: str) -> list[str]:
        """The options of a config group."""
        return list(self._repository.get_group_options(group))

    def split(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], tuple[Override, ...]]:
        """Part overrides into those that choose groups, as text, and those that set values, each in order."""
        groups, values = [], []
        for text in overrides:
            parsed = parse(text)
            if self.chooses_group(parsed):
                groups.append(text)
            else:
                values.append(parsed)
        return tuple(groups), tuple(values)

    def point(self, overrides: Sequence[str]) -> tuple[Base, Point]:
        """The base of a job, and its own part.

        Raises:
            hydra.errors.HydraException: The choice of groups does not compose.
        """
        groups, values = self.split(overrides)
        base = self.base(groups)
        return base, Point(tuple(overrides), values, self._dirname(overrides))

    def _dirname(self, overrides: Sequence[str]) -> str | None:
        if self._naming is None:
            naming = self._master.hydra.job.config.override_dirname
            self._naming = {key: naming[key] for key in ("kv_sep", "item_sep", "exclude_keys")}
        return override_dirname([parse(text) for text in overrides], self._naming)

    def base(self, groups: tuple[str, ...]) -> Base:
        """Compose the base of a choice of groups, once.

        Raises:
            hydra.errors.HydraException: It does not compose.
        """
        if groups not in self._bases:
            config = self._loader.load_sweep_config(self._master, list(groups))
            blob = pickle.dumps(config, protocol=pickle.HIGHEST_PROTOCOL)
            self._bases[groups] = Base(hashlib.sha256(blob).hexdigest()[:16], blob, groups)
        return self._bases[groups]

    def compose(self, overrides: Sequence[str], number: int | None = None) -> DictConfig:
        """Compose one job's config.

        Args:
            overrides: The job's overrides as requested.
            number: The job's number.

        Returns:
            The config with its hydra node.

        Raises:
            hydra.errors.HydraException: It does not compose.
        """
        base, point = self.point(overrides)
        return build(base.blob, point, (), number)

    def set(self, config: DictConfig, value: str) -> None:
        """Set one more value in a config that was composed here.

        Raises:
            hydra.errors.HydraException: The key does not exist, or the value has the wrong type.
        """
        ConfigLoaderImpl._apply_overrides_to_config([parse(value)], config)
