"""A configuration of a sweep, whose repeats differ in nothing but, say, their seed."""

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeproute.selection import finite

# The tag of a run that its repeats share, and those of a sweep's own run that say what it chooses by.
TAG = "sweeproute.configuration"
_RULE = ("metric", "direction", "repeats")
RULE_TAGS = tuple(f"sweeproute.{name}" for name in _RULE)


@dataclass(frozen=True)
class Estimate:
    """A metric over the repeats of one configuration."""

    mean: float
    # Standard error of the mean; None of a single value, which says nothing of its spread.
    sem: float | None
    # Repeats that it was taken over; 0 where no value was finite.
    n: int


def split(overrides: Sequence[str], repeats: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tell the overrides of a configuration from those that tell its repeats apart.

    Args:
        overrides: A job's overrides.
        repeats: The keys of repeats, without Hydra's + and ~.

    Returns:
        The configuration's overrides, and the repeat's, each in their order.

    Example:
        >>> split(["model=glm", "+seed=3"], ["seed"])
        (('model=glm',), ('+seed=3',))
    """
    told = [(override.lstrip("+~").partition("=")[0] in repeats, override) for override in overrides]
    return tuple(text for apart, text in told if not apart), tuple(text for apart, text in told if apart)


def estimate(values: Sequence[float]) -> Estimate:
    """Estimate a metric from the values of some repeats.

    The standard error of the mean is the sample's standard deviation over the square root of its size [1]_.

    Args:
        values: One a repeat, at least one.

    Returns:
        Over the values that are finite; the first value, over none, where none is.

    References:
        .. [1] Altman, D. G., and Bland, J. M. (2005). Standard deviations and standard errors. BMJ 331, 903.

    Example:
        >>> estimate([0.0, 1.0])
        Estimate(mean=0.5, sem=0.5, n=2)
    """
    kept = [value for value in values if finite(value)]
    if not kept:
        return Estimate(values[0], None, 0)
    sem = statistics.stdev(kept) / len(kept) ** 0.5 if len(kept) > 1 else None
    return Estimate(statistics.fmean(kept), sem, len(kept))


def estimates(repeats: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    """Estimate every metric that some of the repeats have.

    Args:
        repeats: The metrics of each.

    Returns:
        Name to estimate, in the order in which the names come up.
    """
    names = dict.fromkeys(name for metrics in repeats for name in metrics)
    return {name: estimate([metrics[name] for metrics in repeats if name in metrics]) for name in names}


def run_tags(sweep: Mapping[str, Any] | None, overrides: Sequence[str]) -> dict[str, str]:
    """The tag by which the repeats of a configuration are found together in the tracking store.

    Args:
        sweep: The sweep's record.
        overrides: The job's overrides.

    Returns:
        A hash of the configuration's overrides; nothing where none of them tells repeats apart.
    """
    kept, repeat = split(overrides, (sweep or {}).get("repeats") or ())
    if not repeat:
        return {}
    return {TAG: hashlib.sha256(json.dumps(sorted(kept)).encode()).hexdigest()[:16]}


def rule_tags(sweep: Mapping[str, Any]) -> dict[str, str]:
    """What a sweep chooses by, for whoever has the tracking store but not the sweep's folder.

    Args:
        sweep: The sweep's record.

    Returns:
        Tags of the sweep's own run: a text as it is, a list as JSON.
    """
    told = {f"sweeproute.{name}": sweep[name] for name in _RULE if sweep.get(name)}
    return {tag: value if isinstance(value, str) else json.dumps(list(value)) for tag, value in told.items()}


def told_rule(tags: Mapping[str, str]) -> dict[str, Any]:
    """Read back what `rule_tags` wrote.

    Args:
        tags: Tags of the sweep's own run.

    Returns:
        metric, direction, repeats, those that are there.
    """
    told = {name: tags[tag] for name, tag in zip(_RULE, RULE_TAGS, strict=True) if tag in tags}
    return {name: json.loads(text) if text.startswith("[") else text for name, text in told.items()}
