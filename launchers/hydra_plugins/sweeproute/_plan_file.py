"""Writes a plan down as plan.json, with what tells later whether its jobs are still the same."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from . import _worker
from ._code import default_identity
from ._compose import Composer, parse, without_hydra
from ._plan import Plan, PlannedJob
from ._plan_after import Following
from ._plan_text import warnings
from ._records import write_json

FILE = "plan.json"

Points = Mapping[int, tuple[str, ...]]


def write(plan: Plan, composer: Composer, identity: str | None, folder: Path) -> Path:
    """Write a plan into the sweep's folder.

    Args:
        plan: The plan.
        composer: Composed its jobs.
        identity: The launcher's setting of that name.
        folder: The sweep's folder.

    Returns:
        The path of plan.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    # Through text: a config may hold what JSON has no word for.
    write_json(path, json.loads(json.dumps(_content(plan, composer, identity), default=str)))
    return path


def identities(composer: Composer, identity: str | None, points: Points) -> dict[str, dict[str, str]]:
    """Hash the first job of each choice of groups: its config, the code, the data where the app's hook tells of it.

    Args:
        composer: Composes the jobs.
        identity: The launcher's setting of that name.
        points: The overrides of each job, by number.

    Returns:
        Hashes by choice of groups, as that is written on the command line.
    """
    found = {}
    for groups, numbers in _choices(composer, points).items():
        config = composer.compose(points[numbers[0]], numbers[0])
        if identity:
            found[groups] = _worker.identity_of(identity, config)
        else:
            text = OmegaConf.to_yaml(without_hydra(config))
            found[groups] = default_identity() | {"fingerprint": hashlib.sha256(text.encode()).hexdigest()}
    return found


def _content(plan: Plan, composer: Composer, identity: str | None) -> dict[str, Any]:
    points = {job.number: job.overrides for job in plan.jobs}
    models = list(dict.fromkeys(job.model for job in plan.jobs if job.model))
    bases, grids = {}, {}
    for groups, numbers in _choices(composer, points).items():
        base = composer.base(composer.split(points[numbers[0]])[0])
        bases[groups] = OmegaConf.to_container(without_hydra(base.config()), resolve=False, enum_to_str=True)
        grids[groups] = _grid([points[number] for number in numbers])
    return {
        "model_type": _alone(models),
        "total_configs": len(plan.jobs),
        "base_config": _alone(bases),
        "param_grid": _alone(grids),
        "distribution": plan.distribution,
        "unavailable": plan.registry.unavailable,
        "estimated_duration_minutes": _minutes(plan.seconds),
        "sequential_duration_minutes": _minutes(plan.sequential_s + plan.afterwards.sequential_s),
        "made_at": plan.made_at.isoformat(timespec="seconds"),
        "expected_end": plan.end.isoformat(timespec="seconds"),
        "deadline": plan.deadline.isoformat(timespec="seconds") if plan.deadline else None,
        "warnings": warnings(plan),
        "argv": sys.argv,
        "cwd": str(Path.cwd()),
        "python": sys.executable,
        "identity": identities(composer, identity, points),
        "jobs": [_job(job) for job in plan.jobs],
        "afterwards": [_following(one) for one in plan.afterwards.following],
        # Of the two durations above the part that is for these.
        "afterwards_duration_minutes": _minutes(plan.afterwards.seconds),
        "afterwards_sequential_duration_minutes": _minutes(plan.afterwards.sequential_s),
    }


def _job(job: PlannedJob) -> dict[str, Any]:
    return {
        "job": job.number,
        "overrides": list(job.overrides),
        "model_type": job.model or None,
        "platform": job.platform,
        "status": job.status,
        "reason": job.reason,
        "considered": [{"platform": one.platform, "verdict": one.verdict} for one in job.considered],
        "starts_after_minutes": None if job.starts_s is None else _minutes(job.starts_s),
        "estimated_minutes": None if job.estimate is None else _minutes(job.estimate.seconds),
        "estimated_from": None if job.estimate is None else job.estimate.basis,
        "shared_fit": job.shared_fit,
    }


def _following(one: Following) -> dict[str, Any]:
    """What the results will call for; which jobs these are is not known before."""
    return {
        "round": one.round,
        "says": one.says,
        "at_most": len(one.jobs),
        "such_as": [list(overrides) for overrides in one.jobs],
    }


def _choices(composer: Composer, points: Points) -> dict[str, list[int]]:
    """The numbers of the jobs of each choice of groups."""
    found: dict[str, list[int]] = {}
    for number, overrides in sorted(points.items()):
        found.setdefault(" ".join(composer.split(overrides)[0]), []).append(number)
    return found


def _grid(points: Sequence[tuple[str, ...]]) -> dict[str, list[Any]]:
    """The keys that take more than one value, each with its values in order."""
    texts: dict[str, dict[str, None]] = {}
    for overrides in points:
        for text in overrides:
            texts.setdefault(text.partition("=")[0], {})[text] = None
    return {key: [parse(text).value() for text in values] for key, values in texts.items() if len(values) > 1}


def _alone(found: Any) -> Any:
    """What a sweep of one model is described by; of several, all of them."""
    if len(found) != 1:
        return found or None
    return next(iter(found.values() if isinstance(found, dict) else found))


def _minutes(seconds: float) -> float:
    return round(seconds / 60, 4)
