"""Makes figures of what has run: how platforms fared, how long models took where, which rules cost time."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeproute.history import Attempt, Session, Sweep

# How attempts end that give their job's result: one that was pruned ran for as long as it was needed.
_WITH_RESULT = ("FINISHED", "PRUNED")
# Conditions in which a platform can be used; one that a person has paused was there to be used.
_THERE = ("available", "paused")
# Runs that a median of durations needs before a rule is judged by it, and the share below which another platform's
# is clearly lower.
_ENOUGH = 3
_CLEARLY = 0.8


@dataclass(frozen=True)
class PlatformFigures:
    """How one platform fared; None is what has not been measured."""

    platform: str
    attempts: int
    # Shares of 1: attempts that finished; time in which it could be used; its cores; its GPUs; slots without a job.
    success: float | None
    availability: float | None
    cpu: float | None
    gpu: float | None
    idle: float | None


@dataclass(frozen=True)
class ModelFigures:
    """How long one model took on one platform."""

    model: str | None
    platform: str
    attempts: int
    success: float | None
    # Runs that finished, and the median of their seconds.
    runs: int
    median_s: float | None


def platform_figures(
    platforms: Iterable[str], sweeps: Sequence[Sweep], attempts: Sequence[Attempt]
) -> list[PlatformFigures]:
    """Figures of platforms.

    Args:
        platforms: Their names.
        sweeps: What is known of sweeps, for shares of time.
        attempts: What has run, for the share that finished.
    """
    found = []
    for name in platforms:
        own_attempts = [attempt for attempt in attempts if attempt.platform == name]
        found.append(
            PlatformFigures(
                platform=name,
                attempts=len(own_attempts),
                success=success(own_attempts),
                availability=availability(sweeps, name),
                cpu=use(sweeps, "cpu", name),
                gpu=use(sweeps, "gpu", name),
                idle=idle(sweeps, name),
            )
        )
    return found


def model_figures(attempts: Sequence[Attempt]) -> list[ModelFigures]:
    """Figures of each model on each platform, in the order of their names."""
    groups: dict[tuple[str | None, str], list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault((attempt.model, attempt.platform), []).append(attempt)
    found = []
    for (model, platform), group in sorted(groups.items(), key=lambda entry: (entry[0][0] or "", entry[0][1])):
        ran = seconds(group)
        median_s = statistics.median(ran) if ran else None
        found.append(ModelFigures(model, platform, len(group), success(group), len(ran), median_s))
    return found


def seconds(attempts: Iterable[Attempt]) -> list[float]:
    """Seconds of those that ran to their end."""
    return [attempt.run_s for attempt in attempts if attempt.outcome == "FINISHED" and attempt.run_s is not None]


def success(attempts: Sequence[Attempt]) -> float | None:
    """Share of attempts that gave their result; those that were ended because another was first are left out."""
    counted = [attempt for attempt in attempts if attempt.current or attempt.outcome != "KILLED"]
    return sum(attempt.outcome in _WITH_RESULT for attempt in counted) / len(counted) if counted else None


def availability(sweeps: Iterable[Sweep], platform: str) -> float | None:
    """Share of the sessions' time in which a platform could be used, of those sessions that noted its condition."""
    there_s = total_s = 0.0
    for session in _sessions(sweeps):
        changes = [note for note in session.notes if note.get("platform") == platform and "condition" in note]
        if platform not in session.slots or not changes:
            continue
        ends = [note["at"] for note in changes[1:]] + [session.ended]
        there_s += sum(end - note["at"] for note, end in zip(changes, ends, strict=True) if note["condition"] in _THERE)
        total_s += session.ended - changes[0]["at"]
    return there_s / total_s if total_s else None


def use(sweeps: Iterable[Sweep], what: str, platform: str | None = None) -> float | None:
    """Share of cores or GPUs that was busy, of one platform or all; `what` is cpu or gpu."""
    noted = [
        (note[what], note.get("over_s") or 1.0)
        for session in _sessions(sweeps)
        for note in session.notes
        if what in note and platform in (None, note.get("platform"))
    ]
    return (
        sum(percent * over_s for percent, over_s in noted) / sum(over_s for _, over_s in noted) / 100 if noted else None
    )


def idle(sweeps: Iterable[Sweep], platform: str | None = None) -> float | None:
    """Share of the slots' time, of one platform or all, in which no job ran."""
    busy_s = slots_s = 0.0
    for one in sweeps:
        for session in one.sessions:
            for name, slots in session.slots.items():
                if platform not in (None, name):
                    continue
                slots_s += slots * session.seconds
                busy_s += sum(_overlap(attempt, session) for attempt in one.attempts if attempt.platform == name)
    return max(0.0, 1.0 - busy_s / slots_s) if slots_s else None


def speed_up(sweeps: Iterable[Sweep]) -> float | None:
    """How many times as long the jobs would have taken one after another, each where it ran."""
    timed = [one for one in sweeps if one.seconds]
    total_s = sum(one.seconds or 0.0 for one in timed)
    counted = [attempt for one in timed for attempt in one.attempts if attempt.current]
    ran_s = sum(attempt.run_s or 0.0 for attempt in counted if attempt.outcome in _WITH_RESULT)
    return ran_s / total_s if total_s and ran_s else None


def _sessions(sweeps: Iterable[Sweep]) -> list[Session]:
    return [session for one in sweeps for session in one.sessions]


def _overlap(attempt: Attempt, session: Session) -> float:
    """Seconds of a session in which an attempt ran."""
    if attempt.ended_at is None or attempt.run_s is None:
        return 0.0
    return max(0.0, min(attempt.ended_at, session.ended) - max(attempt.ended_at - attempt.run_s, session.started))


@dataclass(frozen=True)
class RuleCost:
    """A model that took clearly longer where the rules send it than elsewhere."""

    model: str
    platform: str
    median_s: float
    runs: int
    other: str
    other_median_s: float
    other_runs: int
    # Whether the medians are of the same points on both platforms.
    same_points: bool


def rule_costs(attempts: Iterable[Attempt], routed: Mapping[str, str]) -> list[RuleCost]:
    """Find where a routing rule costs time.

    Args:
        attempts: What has run.
        routed: The platform that each model is routed to.

    Returns:
        The models whose measured median is clearly lower elsewhere, by the best other platform each.
    """
    points: dict[tuple[str, str], dict[tuple[str, ...], float]] = {}
    for attempt in attempts:
        if attempt.outcome == "FINISHED" and attempt.run_s is not None and attempt.model is not None:
            points.setdefault((attempt.model, attempt.platform), {})[attempt.overrides] = attempt.run_s
    found = []
    for model, platform in routed.items():
        here = points.get((model, platform), {})
        others = {name: there for (which, name), there in points.items() if which == model and name != platform}
        compared = [_compare(model, platform, here, name, there) for name, there in others.items()]
        slower = [cost for cost in compared if cost is not None]
        if slower:
            found.append(min(slower, key=lambda cost: cost.other_median_s / cost.median_s))
    return found


def _compare(
    model: str, platform: str, here: Mapping[tuple[str, ...], float], other: str, there: Mapping[tuple[str, ...], float]
) -> RuleCost | None:
    """What a rule costs against one other platform; on the points that ran on both where they are enough."""
    common = here.keys() & there.keys()
    same = len(common) >= _ENOUGH
    mine = [s for point, s in here.items() if point in common or not same]
    theirs = [s for point, s in there.items() if point in common or not same]
    if min(len(mine), len(theirs)) < _ENOUGH:
        return None
    median_s, other_s = statistics.median(mine), statistics.median(theirs)
    if other_s >= _CLEARLY * median_s:
        return None
    return RuleCost(model, platform, median_s, len(mine), other, other_s, len(theirs), same)
