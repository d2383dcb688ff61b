"""Runs submitit's jobs on machines of one's own, over SSH, without a shared file system."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .environment import SshJobEnvironment
    from .errors import FarError, ResultError, SettingError, SubmititSshError
    from .executor import SshExecutor
    from .job import SshJob

__all__ = [
    "FarError",
    "ResultError",
    "SettingError",
    "SshExecutor",
    "SshJob",
    "SshJobEnvironment",
    "SubmititSshError",
]
_MODULES = {"SshExecutor": "executor", "SshJob": "job", "SshJobEnvironment": "environment"}


def __getattr__(name: str) -> Any:
    # On first use: whoever imports a part of this package, a far side above all, does not get submitit with it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES.get(name, 'errors')}", __name__), name)
