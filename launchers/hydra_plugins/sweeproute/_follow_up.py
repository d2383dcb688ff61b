"""Runs what the results of a sweep call for, once all of its jobs have ended well."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from ._compose import Composer, without_hydra
from ._errors import SettingsError
from ._hooks import hook
from ._kept import kept
from ._objective import Objective
from ._records import DONE, SweepFolder
from ._source import Points
from .config import RoutedLauncherConf, SearchSweeperConf


def admit(launcher: Any, composer: Composer, listed: Sequence[tuple[str, ...]]) -> None:
    """Ask `hydra.launcher.admit` whether a sweep may begin.

    Args:
        launcher: Streams jobs.
        composer: Composes the jobs' configs.
        listed: Overrides of jobs; of those that agree in their groups one is asked about.

    Raises:
        Exception: What the hook raised: it may not.
    """
    ask = hook("admit", launcher.settings.admit)
    if ask is None:
        return
    of_groups = {composer.split(overrides)[0]: overrides for overrides in reversed(listed)}
    for overrides in of_groups.values():
        ask(without_hydra(composer.compose(overrides, 0)))


def follow_up(
    launcher: Any, settings: SearchSweeperConf, composer: Composer, goal: Objective, sweep: SweepFolder
) -> list[JobReturn]:
    """Ask `hydra.launcher.follow_up` which jobs the results call for, and run those that an earlier start has not.

    They are jobs of the sweep, with numbers of their own behind those of the others. Their records say `follow_up`, so
    that nobody chooses by them.

    Args:
        launcher: Streams jobs.
        settings: The sweeper's.
        composer: Composes the jobs' configs.
        goal: What the sweep was after.
        sweep: Its folder, with the records of what has run.

    Returns:
        The returns of these jobs; none where there is no such hook, it wants none, or a job has failed.

    Raises:
        SettingsError: The hook gave no lists of overrides.
        Exception: What the hook raised.
    """
    launches: RoutedLauncherConf = launcher.settings
    if launches.follow_up is None or launches.debug:
        return []
    ask = hook("follow_up", launches.follow_up)
    results = {number: one for number, one in sorted(sweep.launches.items()) if not one.get("follow_up")}
    if ask is None or not results:
        return []
    failed = sweep.failed or any(one["state"] not in DONE for one in results.values())
    number, first = next(iter(results.items()))
    config = without_hydra(composer.compose(tuple(first["overrides"]), number))
    rule = {"metric": goal.metric, "direction": goal.direction, "repeats": list(settings.repeats), "failed": failed}
    wanted = _overrides(launches.follow_up, ask(list(results.values()), rule, config))
    if not wanted or failed:
        return []
    numbered = _numbered(wanted, sweep)
    points = Points(numbered, follow_up=True)
    points.returns |= kept(numbered, sweep, composer, settings.resume, launches.identity)
    if any(number not in points.returns for number in numbered):
        print(f"{len(numbered)} further job{'s' if len(numbered) > 1 else ''} by {launches.follow_up}:", flush=True)
    sweep.record["total"] = len(results) + len(numbered)
    sweep.save()
    launcher.stream(points, sweep, composer)
    found = [points.returns[number] for number in sorted(numbered)]
    sweep.failed = sweep.failed or any(one.status != JobStatus.COMPLETED for one in found)
    return found


def _overrides(name: str, answer: Any) -> list[tuple[str, ...]]:
    if not isinstance(answer, Sequence) or not all(
        isinstance(one, Sequence) and not isinstance(one, str) and all(isinstance(word, str) for word in one)
        for one in answer
    ):
        raise SettingsError(f"hydra.launcher.follow_up={name} gave {answer!r}. It gives a list of lists of overrides.")
    return [tuple(one) for one in answer]


def _numbered(wanted: Sequence[tuple[str, ...]], sweep: SweepFolder) -> dict[int, tuple[str, ...]]:
    """Number the jobs; one that an earlier start has begun keeps its number."""
    known = {tuple(one["overrides"]): number for number, one in sweep.launches.items() if one.get("follow_up")}
    fresh = max(sweep.launches) + 1
    numbered = {}
    for overrides in dict.fromkeys(wanted):
        number = known.get(overrides)
        if number is None:
            number, fresh = fresh, fresh + 1
        numbered[number] = overrides
    return numbered
