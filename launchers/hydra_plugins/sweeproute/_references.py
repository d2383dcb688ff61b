"""Resolves text with plain references, such as `${hydra.job.num}`, where OmegaConf's grammar takes a millisecond."""

import re
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

_REFERENCE = re.compile(r"\$\{(hydra(?:\.\w+)+)\}")


def resolve(text: str, config: DictConfig) -> str | None:
    """Put values in the place of plain references to Hydra's node.

    Args:
        text: The text as written.
        config: The config with its hydra node.

    Returns:
        The text; None where it holds any other interpolation, which OmegaConf has to resolve.
    """
    return substitute(text, lambda key: OmegaConf.select(config, key))


def substitute(text: str, value_of: Callable[[str], Any]) -> str | None:
    """As `resolve`, from any source of values; one that it does not have is None."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = value_of(match.group(1))
        missing = missing or found is None
        return str(found)

    replaced = _REFERENCE.sub(value, text)
    # a backslash may escape a reference
    return None if missing or "${" in replaced or "\\" in text else replaced
