"""Runs what the results of a sweep call for, once all of its jobs have ended well."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from ._compose import Composer, without_hydra
from ._errors import SettingsError
from ._hooks import hook
from ._kept import kept
from ._objective import Objective
from ._records import DONE, SweepFolder
from ._source import Points
from .config import RoutedLauncherConf, SearchSweeperConf


def admit(
    launcher: Any,
    settings: SearchSweeperConf,
    composer: Composer,
    goal: Objective,
    listed: Sequence[tuple[str, ...]],
    *,
    sweep: str,
    resumed: bool,
) -> None:
    """Ask `hydra.launcher.admit` whether a sweep may begin, or go on.

    Args:
        launcher: Streams jobs.
        settings: The sweeper's.
        composer: Composes the jobs' configs.
        goal: What the sweep is after.
        listed: Overrides of jobs; of those that agree in their groups one is asked about.
        sweep: Its id.
        resumed: Whether it goes on.

    Raises:
        Exception: What the hook raised: it may not.
    """
    ask = hook("admit", launcher.settings.admit)
    if ask is None:
        return
    for config in one_of_each(composer, listed):
        ask(config, rule(settings, goal) | {"sweep": sweep, "resumed": resumed})


def one_of_each(composer: Composer, listed: Sequence[tuple[str, ...]]) -> Iterator[DictConfig]:
    """The config of one job of each choice of groups, without Hydra's node."""
    of_groups = {composer.split(overrides)[0]: overrides for overrides in reversed(listed)}
    for overrides in of_groups.values():
        yield without_hydra(composer.compose(overrides, 0))


def follow_up(
    launcher: Any, settings: SearchSweeperConf, composer: Composer, goal: Objective, sweep: SweepFolder
) -> list[JobReturn]:
    """Ask `hydra.launcher.follow_up` which jobs the results call for, and run those that an earlier start has not.

    They are jobs of the sweep, with numbers of their own behind those of the others. Their records say `follow_up`, so
    that nobody chooses by them. When they have ended the hook is asked again, with their records, until it wants none
    that has not run: what builds on a job that follows can wait for it.

    Args:
        launcher: Streams jobs.
        settings: The sweeper's.
        composer: Composes the jobs' configs.
        goal: What the sweep was after.
        sweep: Its folder, with the records of what has run.

    Returns:
        The returns of these jobs; none where there is no such hook, it wants none, or a job has failed. Where one of
        these fails, the hook is not asked again.

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
    told = rule(settings, goal) | {"failed": failed}
    found: dict[int, JobReturn] = {}
    while True:
        ended = [one for _, one in sorted(sweep.launches.items()) if one.get("follow_up") and one["state"] in DONE]
        answer = ask(list(results.values()), {**told, "followed": ended}, config)
        numbered = _numbered(_overrides(launches.follow_up, answer), sweep)
        if failed or not numbered.keys() - found.keys():
            break
        # Those of an earlier start that are not wanted any more have run all the same.
        sweep.record["total"] = len(sweep.launches.keys() | numbered.keys())
        sweep.save()
        more = {number: overrides for number, overrides in numbered.items() if number not in found}
        found |= _run(launcher, settings, composer, sweep, more)
        if any(one.status != JobStatus.COMPLETED for one in found.values()):
            sweep.failed = True
            break
    return [found[number] for number in sorted(found)]


def _run(
    launcher: Any,
    settings: SearchSweeperConf,
    composer: Composer,
    sweep: SweepFolder,
    numbered: Mapping[int, tuple[str, ...]],
) -> dict[int, JobReturn]:
    """Run those jobs of the hook's that an earlier start of the sweep has not."""
    launches: RoutedLauncherConf = launcher.settings
    points = Points(dict(numbered), follow_up=True)
    points.returns |= kept(numbered, sweep, composer, settings.resume, launches.identity)
    if any(number not in points.returns for number in numbered):
        print(f"{len(numbered)} further job{'s' if len(numbered) > 1 else ''} by {launches.follow_up}:", flush=True)
    launcher.stream(points, sweep, composer)
    return points.returns


def rule(settings: SearchSweeperConf, goal: Objective) -> dict[str, Any]:
    """What a sweep chooses by, as hooks are told."""
    return {"metric": goal.metric, "direction": goal.direction, "repeats": list(settings.repeats)}


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
