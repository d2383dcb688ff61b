"""Reads what `mlflow run -b sweeproute --backend-config` was given."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sweeproute.errors import nearest_first

# What MLflow adds to it by itself.
ENV_MANAGER = "ENV_MANAGER"
STORAGE = "STORAGE_DIR"
_OF_MLFLOW = (ENV_MANAGER, STORAGE, "SYNCHRONOUS", "DOCKER_ARGS", "build_image", "docker_auth")
# The environment managers that make no environment.
_NO_MANAGER = (None, "local")


class BackendConfigError(ValueError):
    """A key or a value of the backend's configuration that cannot be served."""


@dataclass(frozen=True)
class BackendConfig:
    """Where a project's run may go, and what it takes along."""

    # The platform that it is forced to; None leaves it to the rules.
    platform: str | None = None
    # What rules and admission read of it beside its parameters: model_type, memory_gb, gpu_memory_gb, minutes,
    # priority, capabilities, or whatever a rule matches on.
    job: Mapping[str, Any] = field(default_factory=dict)
    # The folder of a Hydra configuration that says which platforms and rules there are; None looks for one.
    config_dir: Path | None = None
    # Hydra overrides of that configuration.
    overrides: tuple[str, ...] = ()
    # Platforms and rules themselves, as in a hardware registry; None for those of the configuration.
    platforms: Mapping[str, Any] | None = None
    rules: tuple[Mapping[str, Any], ...] | None = None
    # Names of environment variables whose values another machine gets, too.
    env: tuple[str, ...] = ()
    # Attempts on one platform where its machine or process fails; one that raises is never tried again.
    attempts: int = 1
    # Minutes of silence after which what has started on another machine counts as lost, and is run again elsewhere.
    lost_after_min: float = 1440


def read(given: Mapping[str, Any] | None) -> BackendConfig:
    """Check what was given.

    Args:
        given: The backend's configuration, as MLflow hands it over.

    Returns:
        The settings.

    Raises:
        BackendConfigError: A key that there is not, a value that does not fit, or an environment manager.

    Example:
        >>> read({"platform": "remote_4090", "ENV_MANAGER": "local"}).platform
        'remote_4090'
    """
    written = dict(given or {})
    manager = written.get(ENV_MANAGER)
    if manager not in _NO_MANAGER:
        raise BackendConfigError(
            f"The environment manager {manager!r} makes an environment on this machine alone. Say --env-manager local: "
            "the command runs with the Python of its platform, on another machine the one that `sweeproute setup` made."
        )
    known = [one.name for one in fields(BackendConfig)]
    settings = {}
    for key, value in written.items():
        if key in _OF_MLFLOW or key.startswith("_mlflow"):
            continue
        if key not in known:
            raise BackendConfigError(
                f"--backend-config has no key {key!r}. Keys, nearest match first: {nearest_first(key, known)}."
            )
        if value is not None:
            fits, what, settled = _RULES[key]
            if not fits(value):
                raise BackendConfigError(f"{key} of --backend-config is {value!r}. It takes {what}.")
            settings[key] = settled(value)
    return BackendConfig(**settings)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one for one in value)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)


def _number(value: Any, least: float) -> bool:
    right = isinstance(value, (int, float)) and not isinstance(value, bool)
    return right and math.isfinite(value) and value >= least


_Rule = tuple[Callable[[Any], bool], str, Callable[[Any], Any]]
_RULES: dict[str, _Rule] = {
    "platform": (lambda value: isinstance(value, str) and value != "", "a platform's name", str),
    "job": (_mapping, 'a mapping, as in {"model_type": "XGBoost", "memory_gb": 8}', dict),
    "config_dir": (
        lambda value: isinstance(value, str) and (Path(value).expanduser() / "config.yaml").is_file(),
        "the path of a folder that has a config.yaml",
        lambda value: Path(value).expanduser().absolute(),
    ),
    "overrides": (_texts, 'a list of Hydra overrides, as in ["registry=mine"]', tuple),
    "platforms": (
        lambda value: _mapping(value) and len(value) > 0,
        'platforms by their names, as in {"here": {"max_concurrent_jobs": 2}}',
        dict,
    ),
    "rules": (
        lambda value: isinstance(value, list) and all(map(_mapping, value)),
        'a list of rules, as in [{"model": "xgboost", "route_to": "box", "reason": "has a GPU"}]',
        tuple,
    ),
    "env": (_texts, 'a list of names of environment variables, as in ["HF_HOME"]; never their values', tuple),
    "attempts": (lambda value: isinstance(value, int) and _number(value, 1), "a whole number from 1 up", int),
    "lost_after_min": (lambda value: _number(value, 0), "a number of minutes from 0 up", float),
}
