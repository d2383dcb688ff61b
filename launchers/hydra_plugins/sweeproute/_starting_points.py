"""Finds the points that a search is to begin with: by hand, the defaults, the best of an earlier sweep."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ._compose import Composer, parse
from ._dimension import Dimension, Value, text
from ._errors import SettingsError, nearest_first
from ._objective import Objective
from ._records import LAUNCH, OURS, read_json, read_lines, state_dir
from ._space import Space, bare

_DEFAULTS = "defaults"
_BEST = "best:"


def starting_points(
    asked: Sequence[Any], space: Space, objective: Objective, composer: Composer
) -> Iterator[dict[str, Any]]:
    """The points that one space is to begin with.

    Args:
        asked: What `hydra.sweeper.enqueue` holds.
        space: The space.
        objective: What the sweep is after, by which an earlier one's best is found.
        composer: Knows the defaults.

    Yields:
        Values by key; the sampler chooses what is missing.

    Raises:
        SettingsError: One is no starting point, or there is no such sweep.
    """
    for one in asked:
        if isinstance(one, (dict, DictConfig)):
            plain = OmegaConf.to_container(one) if isinstance(one, DictConfig) else one
            assert isinstance(plain, dict)
            yield from _by_hand(plain, space)
        elif one == _DEFAULTS:
            yield _defaults(space, composer)
        elif isinstance(one, str) and one.startswith(_BEST) and len(one) > len(_BEST):
            yield from _best(one.removeprefix(_BEST), space, objective)
        else:
            raise SettingsError(
                f"hydra.sweeper.enqueue has {one!r}. Allowed: defaults, best:SWEEP, or a mapping of keys to values "
                "such as {model.params.max_depth:3}."
            )


def _by_hand(values: Mapping[Any, Any], space: Space) -> Iterator[dict[str, Any]]:
    """A point as written; the keys that a choice of groups fixes say which space is meant."""
    fixed = {bare(key): override.partition("=")[2] for key, override in space.fixed}
    named = {bare(str(key)): value for key, value in values.items()}
    if any(key in fixed and text(value) != fixed[key] for key, value in named.items()):
        return
    keys = {bare(one.key): one.key for one in space.dimensions}
    yield {keys.get(key, key): value for key, value in named.items() if key not in fixed}


def _defaults(space: Space, composer: Composer) -> dict[str, Any]:
    """What the config has where nothing is searched, as far as the space holds it."""
    groups, _ = composer.split([override for _, override in space.fixed])
    config = composer.base(groups).config()
    return _fitting({one.key: OmegaConf.select(config, bare(one.key)) for one in space.dimensions}, space)


def _fitting(values: Mapping[str, Any], space: Space) -> dict[str, Value]:
    """The values that the space holds, by key, of the dimensions that exist under them."""
    found: dict[str, Value] = {}
    for one in space.dimensions:
        if one.key in values and one.exists(found):
            value = _held(one, values[one.key])
            if value is not None:
                found[one.key] = value
    return found


def _held(dimension: Dimension, value: Any) -> Value:
    """A value as a dimension has it; None where it has it not."""
    if dimension.choices is not None:
        said = value if isinstance(value, str) and value in dimension.choices else text(value)
        return said if said in dimension.choices else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    point = Dimension(
        dimension.key, low=value, high=value, step=dimension.step, log=dimension.log, whole=dimension.whole
    )
    return value if dimension.contains(point) and (not dimension.whole or float(value).is_integer()) else None


def _best(name: str, space: Space, objective: Objective) -> Iterator[dict[str, Any]]:
    """The best point of an earlier sweep within a space; of several objectives all that none is better than."""
    wanted = set(space.name.split())
    seen: list[tuple[tuple[float, ...], dict[str, Any]]] = []
    for launch in _finished(_folder(name)):
        overrides = {parsed.get_key_element(): parsed for parsed in map(parse, launch["overrides"])}
        if wanted <= set(launch["overrides"]) and (values := _numbers(launch.get("value"), objective)) is not None:
            read = {one.key: overrides[one.key].value() for one in space.dimensions if one.key in overrides}
            seen.append((values, _fitting(read, space)))
    best = [one for one in seen if not any(_beats(other[0], one[0]) for other in seen)]
    if not best:
        where = f" of {space.name}" if space.name else ""
        names = f" with {', '.join(objective.metrics)}" if objective.metrics else ""
        raise SettingsError(
            f"hydra.sweeper.enqueue has best:{name}, and no finished job{where}{names} is in that sweep. "
            "Leave it out, or name another sweep: `sweeproute status` lists them."
        )
    for values, point in best if objective.several else best[:1]:
        if point or not values:
            yield point


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether a point is at least as good in everything, and better in something."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def _numbers(value: Any, objective: Objective) -> tuple[float, ...] | None:
    """What a finished job reached of each objective, more being better."""
    found = objective.numbers(value)
    if found is None:
        return None
    signs = (1.0 if direction == "maximize" else -1.0 for direction in objective.directions)
    return tuple(sign * number for sign, number in zip(signs, found, strict=True))


def _finished(folder: Path) -> Iterator[dict[str, Any]]:
    for line in read_lines(folder / OURS / "jobs.jsonl"):
        launch = read_json(folder / line["folder"] / LAUNCH)
        if launch is not None and launch.get("state") == "FINISHED" and launch.get("current"):
            yield launch


def _folder(name: str) -> Path:
    """The folder of a sweep by its id, its name, or `last`."""
    pointers = [one for one in map(read_json, (state_dir() / "sweeps").glob("*.json")) if one]
    pointers.sort(key=lambda one: one.get("started") or 0, reverse=True)
    for one in pointers:
        if name in ("last", one["id"], one.get("name")):
            return Path(one["folder"])
    known = [str(one["id"]) for one in pointers]
    there = f"Sweeps, nearest match first: {nearest_first(name, known)}" if known else "There is none yet"
    raise SettingsError(f"hydra.sweeper.enqueue has best:{name}, and there is no such sweep. {there}.")
