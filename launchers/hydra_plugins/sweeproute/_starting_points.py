"""Finds the points that a search is to begin with: by hand, the defaults, the best of an earlier sweep."""

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from ._compose import Composer, parse
from ._dimension import Dimension, Value, text
from ._errors import SettingsError, nearest_first
from ._objective import Objective
from ._point import starting_point
from ._records import LAUNCH, OURS, pointers, read_json, read_lines
from ._space import Space, bare

_DEFAULTS = "defaults"
_BEST = "best:"
# The newest sweep of all.
_LAST = "last"
# Groups that say what is searched and where it runs: under another choice of theirs a point means the same.
_ASIDE = ("search_space", "platform")


def starting_points(
    asked: Sequence[Any], spaces: Sequence[Space], objective: Objective, composer: Composer, own: Path | None = None
) -> list[list[dict[str, Value]]]:
    """The points that a sweep is to begin with.

    Args:
        asked: What `hydra.sweeper.enqueue` holds.
        spaces: What is searched, one for each choice of groups.
        objective: What the sweep is after, by which an earlier one's best is found.
        composer: Knows the defaults, and what a choice of groups comes to.
        own: The folder of the sweep itself, absolute, where an earlier start of it is gone on with.

    Returns:
        For each space its points, values by key; the sampler chooses what is missing.

    Raises:
        SettingsError: One is no starting point of any space, or there is no such sweep.
    """
    found: list[list[dict[str, Value]]] = [[] for _ in spaces]
    for one in asked:
        each: Sequence[Sequence[Mapping[str, Any]]]
        if isinstance(one, (dict, DictConfig)):
            plain = OmegaConf.to_container(one) if isinstance(one, DictConfig) else one
            assert isinstance(plain, dict)
            each = _by_hand(plain, spaces)
        elif one == _DEFAULTS:
            each = [[_defaults(space, composer)] for space in spaces]
        elif isinstance(one, str) and one.startswith(_BEST) and len(one) > len(_BEST):
            each = _best(one.removeprefix(_BEST), spaces, objective, composer, own)
        else:
            raise SettingsError(
                f"hydra.sweeper.enqueue has {one!r}. Allowed: defaults, best:SWEEP, or a mapping of keys to values "
                "such as {model.params.max_depth:3}."
            )
        for space, points, new in zip(spaces, found, each, strict=True):
            points += [starting_point(space, values) for values in new]
    return found


# By hand.


def _by_hand(values: Mapping[Any, Any], spaces: Sequence[Space]) -> list[list[dict[str, Any]]]:
    """A point as written, in each space that has its keys; those that are fixed there say which one is meant."""
    named = {bare(str(key)): value for key, value in values.items()}
    fixed = [{bare(key): override for key, override in space.fixed} for space in spaces]
    free = [{bare(one.key): one.key for one in space.dimensions} for space in spaces]
    found: list[list[dict[str, Any]]] = []
    for set_, searched in zip(fixed, free, strict=True):
        takes = all(key in searched or (key in set_ and _says(set_[key], value)) for key, value in named.items())
        point = {searched[key]: value for key, value in named.items() if key in searched}
        found.append([point] if takes else [])
    if not any(found):
        raise SettingsError(_nowhere(named, fixed, free))
    return found


def _says(override: str, value: Any) -> bool:
    """Whether an override sets a value, however it is written."""
    parsed = parse(override)
    if parsed.is_delete():
        return False
    meant = parsed.value()
    same = meant == value and isinstance(meant, bool) == isinstance(value, bool)
    return same or override.partition("=")[2] == text(value)


def _nowhere(named: Mapping[str, Any], fixed: Sequence[Mapping[str, str]], free: Sequence[Mapping[str, str]]) -> str:
    """Why no space takes a point that was written by hand."""
    keys = dict.fromkeys(key for each in (*free, *fixed) for key in each)
    for key, value in named.items():
        if key not in keys:
            return (
                f"hydra.sweeper.enqueue has {key!r}, which the search space does not have. "
                f"Its keys: {nearest_first(key, keys)}."
            )
        texts = [each[key] for each in fixed if key in each]
        if not any(key in each for each in free) and not any(_says(override, value) for override in texts):
            allowed = nearest_first(text(value), [override.partition("=")[2] for override in texts])
            return f"hydra.sweeper.enqueue has {key}={text(value)}. Allowed: {allowed}."
    said = text(dict(named))
    return f"hydra.sweeper.enqueue has {said}, and no space of the sweep has all of these. Write a point for each."


# The defaults.


def _defaults(space: Space, composer: Composer) -> dict[str, Value]:
    """What the config has where nothing is searched, as far as the space holds it."""
    config = composer.base(_groups(space, composer)).config()
    return _fitting({one.key: OmegaConf.select(config, bare(one.key)) for one in space.dimensions}, space)


def _groups(space: Space, composer: Composer) -> tuple[str, ...]:
    return composer.split([override for _, override in space.fixed])[0]


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


# The best of an earlier sweep.


def _best(
    name: str, spaces: Sequence[Space], objective: Objective, composer: Composer, own: Path | None
) -> list[list[dict[str, Value]]]:
    """The best point of an earlier sweep within each space; of several objectives all that none is better than."""
    ours = {} if own is None else read_json(own / OURS / "sweep.json") or {}
    # An earlier start of this sweep has begun with what there was then.
    begun = bool(ours) and name in (_LAST, ours.get("id"), ours.get("name"))
    here = own and own.resolve()
    others = [one for one in pointers() if one["id"] != ours.get("id") and Path(one["folder"]).resolve() != here]
    one = next((one for one in others if name in (_LAST, one["id"], one.get("name"))), None)
    if one is None:
        if begun:
            return [[] for _ in spaces]
        known = [str(one["id"]) for one in others]
        there = f"Sweeps, nearest match first: {nearest_first(name, known)}" if known else "There is none yet"
        raise SettingsError(f"hydra.sweeper.enqueue has best:{name}, and there is no such sweep. {there}.")
    folder = Path(one["folder"])
    launches = list(_finished(folder))
    again = {bare(key) for key in (read_json(folder / OURS / "sweep.json") or {}).get("repeats") or ()}
    found = [_best_of(_points(launches, space, objective, composer, again), objective) for space in spaces]
    if not any(found) and not begun:
        where = f" of {' or '.join(space.name for space in spaces)}" if spaces[0].name else ""
        names = f" with {', '.join(objective.metrics)}" if objective.metrics else ""
        raise SettingsError(
            f"hydra.sweeper.enqueue has best:{name}, and no finished job{where}{names} is in that sweep, or "
            "none under this model and the other choices of groups. Leave it out, or name another sweep: `sweeproute "
            "status` lists them."
        )
    fitting = (
        [_fitting(_read(overrides, space), space) for overrides in best]
        for space, best in zip(spaces, found, strict=True)
    )
    return [[point for point in points if point] for points in fitting]


def _finished(folder: Path) -> Iterator[dict[str, Any]]:
    for line in read_lines(folder / OURS / "jobs.jsonl"):
        launch = read_json(folder / line["folder"] / LAUNCH)
        counts = launch is not None and launch.get("state") == "FINISHED" and launch.get("current")
        if launch is not None and counts and not launch.get("follow_up"):
            yield launch


def _points(
    launches: Sequence[Mapping[str, Any]], space: Space, objective: Objective, composer: Composer, again: Container[str]
) -> dict[tuple[str, ...], tuple[float, ...]]:
    """What the points of a sweep that are of a space's choice of groups have reached.

    Args:
        launches: Of the sweep's finished jobs.
        space: The space.
        objective: What counts.
        composer: Tells a choice of groups.
        again: The bare keys over whose values that sweep ran each point.

    Returns:
        By a point's overrides, without those of repeats, the mean of each objective over its jobs; more is better.
    """
    free = {bare(one.key) for one in space.dimensions}
    repeated = {bare(one.key) for one in space.repeats}
    of_space = _groups(space, composer)
    same = {of_space: True}
    reached: dict[tuple[str, ...], list[tuple[float, ...]]] = {}
    for launch in launches:
        values = _numbers(launch.get("value"), objective)
        named = {word: bare(word.partition("=")[0]) for word in launch["overrides"]}
        groups, _ = composer.split([word for word, key in named.items() if key not in free])
        if groups not in same:
            same[groups] = _choices(groups, composer) == _choices(of_space, composer)
        if values is not None and same[groups]:
            point = tuple(word for word, key in named.items() if key not in repeated and key not in again)
            reached.setdefault(point, []).append(values)
    return {point: tuple(map(fmean, zip(*each, strict=True))) for point, each in reached.items()}


def _choices(groups: tuple[str, ...], composer: Composer) -> dict[str, Any] | None:
    """What is chosen of each group, by default too; None where the groups do not compose here."""
    try:
        choices = composer.base(groups).config().hydra.runtime.choices
    except HydraException:
        return None
    return {str(group): option for group, option in choices.items() if group not in _ASIDE}


def _numbers(value: Any, objective: Objective) -> tuple[float, ...] | None:
    """What a finished job reached of each objective, more being better."""
    found = objective.numbers(value)
    if found is None:
        return None
    signs = (1.0 if direction == "maximize" else -1.0 for direction in objective.directions)
    return tuple(sign * number for sign, number in zip(signs, found, strict=True))


def _best_of(points: Mapping[tuple[str, ...], tuple[float, ...]], objective: Objective) -> list[tuple[str, ...]]:
    if not objective.several:
        return [max(points, key=lambda one: points[one])] if points else []
    return [one for one in points if not any(_beats(other, points[one]) for other in points.values())]


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether a point is at least as good in everything, and better in something."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def _read(overrides: Sequence[str], space: Space) -> dict[str, Any]:
    """The values that overrides set, by the keys of a space's dimensions."""
    dimensions = {bare(one.key): one for one in space.dimensions}
    found = {}
    for word in overrides:
        key, _, written = word.partition("=")
        if (one := dimensions.get(bare(key))) is not None and not parse(word).is_delete():
            found[one.key] = written if written in (one.choices or ()) else parse(word).value()
    return found
