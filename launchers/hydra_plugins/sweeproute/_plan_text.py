"""Says a plan to a person: a line for what is decided alike, then the end of the sweep."""

from collections.abc import Sequence
from typing import TypeAlias

from ._columns import columns
from ._live import duration
from ._plan import Plan, PlannedJob

# Seconds above which a sweep's estimate is a warning.
LONG_S = 6 * 3600.0
# Reasons that are listed one by one of why jobs cannot run.
_SHOWN = 3
# Model, platform, status, reason.
_Kind: TypeAlias = tuple[str, str, str, str]


def lines(plan: Plan, minutes_key: str | None) -> list[str]:
    """What a person reads of a plan.

    Args:
        plan: The plan.
        minutes_key: Key of the app's config for a job's estimated minutes; None where it has none.

    Returns:
        Lines of text.
    """
    shared = sum(job.shared_fit is not None for job in plan.jobs)
    fits = f", of which {shared} share the fit of another" if shared else ""
    text = [f"Plan of {_counted(len(plan.jobs), 'job')}{fits}; nothing runs.", *_table(plan), *afterwards(plan), ""]
    text += _platforms(plan)
    text += plan.registry.notes
    slots = sum(platform.slots for name, platform in plan.registry.platforms.items() if plan.distribution[name])
    if slots:
        one_by_one = f"{length(plan.sequential_s + plan.afterwards.sequential_s)} one job after another"
        rest = f", the last {length(plan.afterwards.seconds)} of it for what follows," if plan.afterwards.jobs else ","
        text.append(
            f"It would take {length(plan.seconds)} on {_counted(slots, 'slot')} ({one_by_one}){rest} and end at "
            f"{plan.end:%Y-%m-%d %H:%M}."
        )
    text += bases(plan, minutes_key)
    return [*text, *(f"Warning: {warning}" for warning in warnings(plan))]


def warnings(plan: Plan) -> list[str]:
    """What a person should know before they start it, in sentences."""
    said = []
    if plan.seconds > LONG_S:
        said.append(f"The sweep is estimated to take {duration(plan.seconds)}, more than {duration(LONG_S)}.")
    if plan.deadline is not None and plan.end > plan.deadline:
        said.append(
            f"The sweep would end at {plan.end:%Y-%m-%d %H:%M}, past its deadline, {plan.deadline:%Y-%m-%d %H:%M}."
        )
    nowhere = [job for job in plan.jobs if job.platform is None]
    if nowhere:
        reasons = list(dict.fromkeys(job.reason for job in nowhere))
        more = f"; and {_counted(len(reasons) - _SHOWN, 'more reason')}" if len(reasons) > _SHOWN else ""
        said.append(f"{_counted(len(nowhere), 'job')} cannot run as things stand: {'; '.join(reasons[:_SHOWN])}{more}.")
    if plan.afterwards.nowhere:
        said.append(f"Of what follows, not all can run as things stand: {'; '.join(plan.afterwards.nowhere)}.")
    return said


def afterwards(plan: Plan) -> list[str]:
    """What the results of the jobs will call for, a line for each kind; none where nothing follows."""
    rounds = ("When all of these have ended well", "When those have ended, too")
    return [f"{rounds[min(one.round, 2) - 1]}: {one.says}" for one in plan.afterwards.following]


def _table(plan: Plan) -> list[str]:
    kinds: dict[_Kind, list[PlannedJob]] = {}
    for job in plan.jobs:
        kinds.setdefault((job.model or "any", job.platform or "none", job.status, job.reason), []).append(job)
    rows = [("model", "platform", "status", "jobs", "at once", "each", "reason")]
    considered = [""]
    for (model, platform, status, reason), jobs in kinds.items():
        at_once = sum(job.starts_s == 0.0 for job in jobs)
        rows.append((model, platform, status, str(len(jobs)), str(at_once), _each(jobs), reason))
        weighed = dict.fromkeys(f"{one.platform} {one.verdict}" for job in jobs for one in job.considered)
        considered.append("; ".join(words for words in weighed if words != reason))
    text = []
    for row, words in zip(columns(rows, right=(3, 4, 5)), considered, strict=True):
        text.append(row)
        if words:
            text.append(f"    considered: {words}")
    return text


def _platforms(plan: Plan) -> list[str]:
    text = []
    for name, platform in plan.registry.platforms.items():
        host = plan.registry.settings[name].host
        if why := plan.registry.unavailable.get(name):
            text.append(f"{name}: {why}")
            continue
        there = f", taken to be there ({host})" if host else ""
        jobs, slots = _counted(plan.distribution[name], "job"), _counted(platform.slots, "slot")
        text.append(f"{name}: {jobs} on {slots}{there}")
    return text


def bases(plan: Plan, minutes_key: str | None) -> list[str]:
    """Where the estimates come from, each source with the models and platforms that it serves."""
    stated = minutes_key or "an hour a job, for want of anything better"
    found: dict[str, dict[str, None]] = {}
    for job in plan.jobs:
        if job.estimate is None or job.platform is None:
            continue
        where = f"{job.model or 'jobs'} on {job.platform}"
        if job.estimate.basis == "measured":
            source, where = "what has finished there", f"{where} ({_runs(plan, job.model, job.platform)})"
        elif job.estimate.basis == "scaled":
            source = "what has finished elsewhere, by the registry's speed"
        else:
            source = f"{stated}, by the registry's speed"
        found.setdefault(source, {})[where] = None
    return [f"Durations from {source}: {', '.join(where)}." for source, where in found.items()]


def _runs(plan: Plan, model: str, platform: str) -> str:
    return _counted(plan.estimates.finished(model or None, platform), "run")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _each(jobs: Sequence[PlannedJob]) -> str:
    seconds = [job.estimate.seconds for job in jobs if job.estimate]
    if not seconds:
        return ""
    least, most = length(min(seconds)), length(max(seconds))
    return least if least == most else f"{least} to {most}"


def length(seconds: float) -> str:
    """A length of time, for people."""
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
