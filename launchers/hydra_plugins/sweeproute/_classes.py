"""Reads from a job's config what the policy needs."""

from collections.abc import Hashable, Mapping
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from ._admission import JobClass
from ._compose import Base, Composer, without_hydra
from ._errors import SettingsError
from ._hooks import hook
from ._hydra_versions import key_path
from ._platforms import ADMISSION, CAPABILITIES, Registry
from .config import RoutedLauncherConf


class Classes:
    """From a job's overrides to its class.

    Args:
        settings: The launcher's.
        registry: The platforms.
        composer: Composes the jobs' configs.
    """

    def __init__(self, settings: RoutedLauncherConf, registry: Registry, composer: Composer) -> None:
        self._settings = settings
        self._registry = registry
        self._composer = composer
        self._states = {state.name: state for state in registry.states()}
        self._validate = hook("validate", settings.validate)
        self._read_keys = tuple(str(key) for key in settings.fields.values())
        self._referring: dict[str, bool] = {}

    def _touches_fields(self, override: Override) -> bool:
        key = ".".join(key_path(override))
        return any(read == key or read.startswith(f"{key}.") or key.startswith(f"{read}.") for read in self._read_keys)

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
            keys = (*self._read_keys, *self._settings.sets.values())
            self._referring[base.id] = any(
                OmegaConf.is_interpolation(parent, leaf)
                for parent, leaf in (parent_of(config, key) for key in keys)
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
        read_fields = {name: self._read(config, name) for name in self._settings.fields}
        asked = read_fields.pop("platform", None)
        needs = self._needs(read_fields.pop(CAPABILITIES, None))
        if asked in self._registry.unavailable:
            key = self._settings.fields["platform"]
            raise SettingsError(
                f"{asked} was asked for, and it {self._registry.unavailable[asked]}. "
                f"Or leave the platform to the rules ({key}=null)."
            )
        job_class = JobClass(
            fields=tuple(sorted((name, value) for name, value in read_fields.items() if name not in ADMISSION)),
            asked=None if asked == "auto" else asked,
            capabilities=needs,
            **self._admission(read_fields),
        )
        # A job that fits nowhere, or is meant for a platform that is not there, is refused before any other runs.
        self._registry.policy.home(job_class, self._states)
        return job_class

    def _read(self, config: DictConfig, name: str) -> Any:
        key = self._settings.fields[name]
        value = OmegaConf.select(config, key)
        if OmegaConf.is_list(value) and name == CAPABILITIES:
            return OmegaConf.to_container(value, resolve=True)
        if OmegaConf.is_config(value):
            raise SettingsError(f"{key} is {value}. Jobs are routed by single values: text, numbers, true, false.")
        return value

    def _needs(self, value: Any) -> tuple[str, ...]:
        """The capabilities that a job's platform has to have."""
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise SettingsError(
                f"{self._settings.fields[CAPABILITIES]} is {value!r}. It takes a list of capabilities, as in [R]."
            )
        return tuple(dict.fromkeys(value))

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


def parent_of(config: DictConfig, key: str) -> tuple[Any, str]:
    """The node in which a dotted key stands, None where it does not, and the key's last part."""
    path, _, leaf = key.rpartition(".")
    parent = OmegaConf.select(config, path) if path else config
    return (parent, leaf) if OmegaConf.is_dict(parent) and leaf in parent else (None, leaf)
