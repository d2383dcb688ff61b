"""Estimates how long the sweep of a request takes, and what of it would end before its deadline."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra_plugins.sweeproute._plan import Plan
    from sweeproute.commands.composing import Grid


@dataclasses.dataclass(frozen=True)
class Forecast:
    """How long a sweep is expected to take."""

    # Lines for the person; none where nothing is known beforehand.
    lines: tuple[str, ...]
    # What a person should know before they start it, a sentence each.
    warnings: tuple[str, ...] = ()


def forecast(app: Path, overrides: Sequence[str], now: datetime) -> Forecast:
    """Estimate a sweep by what has finished before, and by what is stated of its jobs.

    Args:
        app: The script, an absolute path.
        overrides: The command's words behind `-m`.
        now: When it would start, with its zone.

    Returns:
        The estimate; where it misses `hydra.launcher.deadline`, by how much, and what would fit.

    Raises:
        Exception: As `composing.sweep`: the words do not compose, or cannot run.
    """
    from hydra_plugins.sweeproute._deadline import read_time
    from hydra_plugins.sweeproute._plan_text import afterwards, bases, length
    from sweeproute.commands import composing

    with composing.grid(app, overrides) as grid:
        if grid is None:
            return Forecast(("The sampler chooses on the way: how long it takes is not estimated beforehand.",))
        plan = _plan(grid, grid.points)
        places = {job.platform for job in plan.jobs if job.platform}
        slots = sum(plan.registry.platforms[name].slots for name in places)
        text = [
            f"{len(grid.points)} jobs would take about {length(plan.own_s)} on {slots} "
            f"slot{'' if slots == 1 else 's'} ({length(plan.sequential_s)} one after another)."
        ]
        text += afterwards(plan)
        if plan.afterwards.jobs:
            text.append(
                f"What follows would take about {length(plan.afterwards.seconds)} more "
                f"({length(plan.afterwards.sequential_s)} one after another), and all of it {length(plan.seconds)}."
            )
        text += bases(plan, grid.settings.fields.get("minutes"))
        nowhere = [job for job in plan.jobs if job.platform is None]
        warnings = [f"{len(nowhere)} jobs cannot run as things stand: {nowhere[0].reason}."] if nowhere else []
        if plan.afterwards.nowhere:
            warnings.append(f"Of what follows, not all can run as things stand: {plan.afterwards.nowhere[0]}.")
        if grid.settings.deadline is not None:
            left_s = (read_time(grid.settings.deadline) - now).total_seconds()
            if plan.seconds > left_s:
                end = now + timedelta(seconds=plan.seconds)
                late = f"It would end at {end:%Y-%m-%d %H:%M}, {length(plan.seconds - left_s)} after its deadline"
                fits = _what_fits(grid, plan, left_s)
                warnings.append(
                    f"{late}. {'What would fit: ' + '; '.join(fits) if fits else 'No part of it would fit'}."
                )
    return Forecast(tuple(text), tuple(warnings))


def _plan(grid: "Grid", points: "Sequence[tuple[str, ...]]", settings: Any = None) -> "Plan":
    from hydra_plugins.sweeproute import _plan
    from hydra_plugins.sweeproute._prefix import Prefix
    from hydra_plugins.sweeproute._source import Points

    prefix = None if grid.prefix is None else Prefix(grid.prefix, grid.composer)
    listed = Points(dict(enumerate(points)), prefix=prefix)
    return _plan.make(settings or grid.settings, grid.config, grid.composer, listed, grid.rule)


def _what_fits(grid: "Grid", whole: "Plan", left_s: float) -> list[str]:
    """What of a sweep would end in time, as words to put behind the request."""
    if left_s <= 0:
        return []
    return [*_models(grid, left_s), *_parts(grid, left_s), *_elsewhere(grid, whole, left_s)]


def _models(grid: "Grid", left_s: float) -> list[str]:
    """Of several models those that fit together, the quickest first."""
    from hydra_plugins.sweeproute._plan_text import length

    models = _by_model(grid)
    if len(models) < 2:
        return []
    alone = {name: _plan(grid, points).seconds for name, points in models.items()}
    kept: list[str] = []
    seconds = 0.0
    for name in sorted(models, key=lambda name: alone[name]):
        tried = _plan(grid, [point for model in (*kept, name) for point in models[model]])
        if tried.seconds > left_s:
            break
        kept, seconds = [*kept, name], tried.seconds
    if not kept or len(kept) == len(models):
        return []
    # In the order in which the request names them.
    return [f"model={','.join(name for name in models if name in kept)}, in {length(seconds)}"]


def _parts(grid: "Grid", left_s: float) -> list[str]:
    """Of each model so many points as fit, which a sampler is then to choose."""
    from hydra_plugins.sweeproute._plan_text import length

    models = {name: _configurations(grid, points) for name, points in _by_model(grid).items()}
    few, many = 0, max(len(points) for points in models.values())
    seconds = 0.0
    while few < many:
        middle = (few + many + 1) // 2
        part = [point for points in models.values() for one in _spread(points, middle) for point in one]
        tried = _plan(grid, part).seconds
        if tried <= left_s:
            few, seconds = middle, tried
        else:
            many = middle - 1
    if not few:
        return []
    counts = [min(few, len(points)) for points in models.values()]
    each = f"{few} points of each model's space" if len(models) > 1 else f"{few} points of its space"
    return [f"{each}, in {length(seconds)}: hydra.sweeper.sampler=tpe hydra.sweeper.n_trials={sum(counts)}"]


def _elsewhere(grid: "Grid", whole: "Plan", left_s: float) -> list[str]:
    """Platforms that cannot be used now, with any of which all of it would fit."""
    from omegaconf import OmegaConf

    from hydra_plugins.sweeproute._plan_text import length

    told = []
    for name, why in whole.registry.unavailable.items():
        if whole.registry.settings[name].host is not None or whole.registry.settings[name].backend == "slurm":
            continue
        platforms = OmegaConf.create(OmegaConf.to_container(grid.config.hydra.launcher.platforms, resolve=True))
        OmegaConf.update(platforms, f"{name}.host", "there")
        tried = _plan(grid, grid.points, dataclasses.replace(grid.settings, platforms=platforms))
        if tried.seconds <= left_s:
            told.append(f"all of it in {length(tried.seconds)} with {name}, which {why}")
    return told


def _by_model(grid: "Grid") -> "dict[str, list[tuple[str, ...]]]":
    """The points of each model, by the option that names it; all under one name where none does."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for point in grid.points:
        name = next((word.partition("=")[2] for word in point if word.startswith("model=")), "")
        found.setdefault(name, []).append(tuple(point))
    return found


def _configurations(grid: "Grid", points: "Sequence[tuple[str, ...]]") -> "list[list[tuple[str, ...]]]":
    """Points without their repeats, each with all of them."""
    found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for point in points:
        kept = tuple(word for word in point if word.lstrip("+").partition("=")[0] not in grid.repeats)
        found.setdefault(kept, []).append(point)
    return list(found.values())


def _spread(points: Sequence[Any], number: int) -> list[Any]:
    """So many of them, evenly from the first to the last."""
    if number >= len(points):
        return list(points)
    return [points[place * len(points) // number] for place in range(number)]
