"""Finds the app's functions that settings of the launcher name."""

from typing import Any

from . import _worker
from ._errors import SettingsError


def hook(name: str, dotted: str | None) -> Any:
    """The app's function that a setting of the launcher names."""
    if dotted is None:
        return None
    try:
        return _worker.resolve(dotted)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"hydra.launcher.{name} is {dotted!r}, which cannot be had: {error}. "
            "It names a function by its dotted path: package.module.function."
        ) from error
