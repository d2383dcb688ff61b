"""Holds what differs between the versions of Hydra that sweeps may run on.

Hydra 1.4 does these things, and 1.3 does not:

- `hydra.job.override_dirname` is an interpolation; 1.3 writes its value into each job's config.
- `@hydra.main` can be told what configs may instantiate, which then holds in jobs too.
- What a job fails with is written to its log as well.
- `hydra.job.env_set` is resolved before it is written to `.hydra/hydra.yaml`.
- A key may have brackets and escapes, as in `items[0]`.
- `~name` also takes a config that is in no group out of the defaults.
- A multirun that raises tells its callbacks of its end.
"""

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from hydra import __version__
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_repository import IConfigRepository
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf._utils import split_key

RELEASE = tuple(int(part) for part in __version__.split(".")[:2])
_AT_LEAST_1_4 = RELEASE >= (1, 4)

if _AT_LEAST_1_4:
    from hydra.core.utils import _log_job_error_to_file  # type: ignore[attr-defined]
    from hydra.utils import execution_whitelist  # type: ignore[attr-defined]
else:
    from hydra._internal.config_loader_impl import get_overrides_dirname


def override_dirname(overrides: Sequence[Override], naming: dict[str, Any]) -> str | None:
    """What to set `hydra.job.override_dirname` to; None leaves it as it is."""
    return None if _AT_LEAST_1_4 else get_overrides_dirname(list(overrides), **naming)


def deletes_config(override: Override, repository: IConfigRepository) -> bool:
    """Whether an override takes a config that is in no group out of the defaults."""
    return _AT_LEAST_1_4 and override.is_delete() and repository.config_exists(override.key_or_group)


def key_path(override: Override) -> list[str]:
    """The steps of an override's key."""
    return split_key(override.key_or_group) if _AT_LEAST_1_4 else override.key_or_group.split(".")


def settled_environment(job: DictConfig) -> dict[str, Any]:
    """What is to be written of `env_set` in `hydra.job` for one job, resolved in place before."""
    if not _AT_LEAST_1_4:
        return {}
    with read_write(job.env_set):
        OmegaConf.resolve(job.env_set)
    return {"env_set": OmegaConf.to_container(job.env_set)}


def allowed_targets(context: HydraContext) -> Any:
    """What the app lets configs instantiate, to be sent to its jobs."""
    return context.execution_whitelist if _AT_LEAST_1_4 else None  # type: ignore[attr-defined]


def allowing(targets: Any) -> AbstractContextManager[Any]:
    """Let configs instantiate what `allowed_targets` says."""
    return execution_whitelist(targets, reset=True) if _AT_LEAST_1_4 else contextlib.nullcontext()


def log_failure() -> None:
    """Write the error that is being handled to the files of the job's log."""
    if _AT_LEAST_1_4:
        with contextlib.suppress(Exception):
            _log_job_error_to_file()


def tell_end(callbacks: Callbacks, config: DictConfig) -> None:
    """Tell callbacks of the end of a multirun that is about to raise."""
    if not _AT_LEAST_1_4:
        callbacks.on_multirun_end(config=config, config_name=config.hydra.job.config_name)
