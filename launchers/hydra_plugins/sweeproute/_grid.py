"""Lists the points of a grid, or reads them from a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ._compose import Composer
from ._dimension import Dimension
from ._errors import SettingsError
from ._spaces import Check, spaces


def points(
    arguments: Sequence[str],
    params: Mapping[str, Any],
    composer: Composer,
    space: str | None,
    validate: Check | None = None,
    constraints: str | None = None,
) -> list[tuple[str, ...]]:
    """List the overrides of every point, one space per choice of groups after the other.

    A list on the command line replaces an axis of the space, a single value fixes it, and a name that is no axis is
    crossed with the rest.

    Args:
        arguments: The command line's overrides, in order.
        params: Axes that every choice of groups has; the command line goes before them, they go before the space.
        composer: Composes the config of each choice of groups, to read its space.
        space: Key of the app's config under which the space lies; None for none.
        validate: The app's own check of a config without its hydra node; raises where it cannot run. None for none.
        constraints: Key of the app's config under which a list of constraints lies; None for none.

    Returns:
        The overrides of each point that constraints allow, in the order of the axes; the last axis varies fastest. A
        parameter that does not exist in a point has no override there.

    Raises:
        SettingsError: There is nothing to sweep, an axis has no values or is continuous, or one is of Hydra's own
            configuration.
        hydra.errors.HydraException: A choice of groups, or a value of an axis, does not compose.
    """
    found = spaces(arguments, params, composer, space, constraints, (), validate)
    for one in found:
        for dimension in one.dimensions:
            if dimension.count() is None:
                raise SettingsError(
                    f"A grid cannot walk the continuous axis {_interval(dimension)!r}. Give it values: "
                    f"{dimension.key}=1,2,3 or range(start,stop,step); or let a sampler choose them: "
                    "hydra.sweeper.sampler=tpe."
                )
    return [point for one in found for point in one.points()]


def read(path: Path) -> list[tuple[str, ...]]:
    """Read jobs that somebody has listed; see `hydra.sweeper.jobs`.

    Args:
        path: A JSON file: a list with a list of overrides for each job.

    Returns:
        The overrides of each job.

    Raises:
        SettingsError: There is no such list.
    """
    try:
        listed = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"hydra.sweeper.jobs is {str(path)!r}, which cannot be read: {error}.") from None
    if not isinstance(listed, list) or not listed:
        raise SettingsError(f"hydra.sweeper.jobs is {str(path)!r}, which lists no job. It takes a list of lists.")
    for number, job in enumerate(listed):
        if not isinstance(job, list) or not all(isinstance(word, str) for word in job):
            raise SettingsError(f"Job {number} of {str(path)!r} is {job!r}. It takes a list of overrides, each a text.")
    return [tuple(job) for job in listed]


def _interval(dimension: Dimension) -> str:
    ends = ",".join(str(end).removesuffix(".0") for end in (dimension.low, dimension.high))
    return f"{dimension.key}=tag(log,interval({ends}))" if dimension.log else f"{dimension.key}=interval({ends})"
