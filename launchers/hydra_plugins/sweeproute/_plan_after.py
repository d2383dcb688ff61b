"""Plans what follows a sweep's own jobs, as far as the app can say it before any has run."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean
from typing import Any

from ._admission import PlatformState
from ._assignment import Job
from ._classes import Classes
from ._compose import Composer, without_hydra
from ._errors import SettingsError
from ._estimates import Estimates
from ._hooks import hook
from ._platforms import Registry
from ._simulator import simulate
from ._source import Points
from .config import RoutedLauncherConf


@dataclass(frozen=True)
class Following:
    """Jobs of one kind that the results of a sweep will call for.

    Attributes:
        round: 1 for those that start when the sweep's own jobs have ended, 2 for those that wait for these, and so on.
        says: What they are, a sentence for people.
        jobs: Overrides of as many as there may be at most; where they hang on what wins, of some that could be.
    """

    round: int
    says: str
    jobs: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Afterwards:
    """All that follows a sweep's own jobs.

    Attributes:
        following: By round.
        seconds: From the end of the sweep's own jobs to the end of all.
        sequential_s: Seconds of these jobs, each on its platform, one after another.
        nowhere: Why some cannot run as things stand, each reason once.
    """

    following: tuple[Following, ...] = ()
    seconds: float = 0.0
    sequential_s: float = 0.0
    nowhere: tuple[str, ...] = ()

    @property
    def jobs(self) -> int:
        """How many jobs there may be at most."""
        return sum(len(one.jobs) for one in self.following)


NOTHING = Afterwards()


def foresee(
    settings: RoutedLauncherConf, composer: Composer, listed: Sequence[tuple[str, ...]], rule: Mapping[str, Any]
) -> tuple[Following, ...]:
    """Ask `hydra.launcher.foresee` what will follow.

    Args:
        settings: The launcher's.
        composer: Composes the jobs' configs.
        listed: The overrides of the sweep's own jobs.
        rule: What it chooses by.

    Returns:
        What the app says, by round; nothing where it has no such hook.

    Raises:
        SettingsError: The hook is not there, or gave something else.
        Exception: What it raised.
    """
    ask = hook("foresee", settings.foresee)
    if ask is None or settings.follow_up is None:
        return ()
    configs: dict[tuple[str, ...], Any] = {}
    jobs = []
    for overrides in listed:
        groups = composer.split(overrides)[0]
        if groups not in configs:
            configs[groups] = without_hydra(composer.compose(overrides, 0))
        jobs.append({"overrides": list(overrides), "config": configs[groups]})
    answer = ask(jobs, dict(rule))
    try:
        found = [
            Following(int(one["round"]), str(one["says"]), tuple(tuple(map(str, words)) for words in one["jobs"]))
            for one in answer
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(
            f"hydra.launcher.foresee={settings.foresee} gave {answer!r} ({type(error).__name__} {error}). It gives a "
            "list of mappings: round, a number; says, a sentence; jobs, a list of lists of overrides."
        ) from None
    return tuple(sorted(found, key=lambda one: one.round))


def plan(
    following: Sequence[Following],
    settings: RoutedLauncherConf,
    registry: Registry,
    composer: Composer,
    estimates: Estimates,
    states: Mapping[str, PlatformState],
    own: Sequence[Job],
) -> Afterwards:
    """Estimate how long takes what follows. A round starts when all before it has ended, on platforms that are idle.

    Args:
        following: By round.
        settings: The launcher's.
        registry: The platforms.
        composer: Composes the jobs.
        estimates: How long jobs are expected to run.
        states: The platforms, by name, as the policy sees them.
        own: The sweep's own jobs.

    Returns:
        The estimate. Of a job that is like none that has run, the time is what the sweep's own jobs of its model take
        on average; of a model that is not among them, as of any job.

    Raises:
        SettingsError: No platform could take a job.
    """
    # Whether such a job can run hangs on what has not run yet: the app is not asked to validate it.
    classes = Classes(replace(settings, validate=None), registry, composer)
    run_s = _length(estimates, own)
    seconds = sequential_s = 0.0
    nowhere: dict[str, None] = {}
    for _, of_round in groupby(following, key=lambda one: one.round):
        listed = [overrides for one in of_round for overrides in one.jobs]
        points = Points(dict(enumerate(listed)), follow_up=True)
        points.open(0.0, estimates.durations, classes.stratum, classes.job_class)
        runs: list[Job] = []
        for job_class, waiting in points.waiting().items():
            jobs = [points.take(job_class) for _ in range(waiting)]
            home = registry.policy.home(job_class, states)
            if home.platform is None:
                nowhere[home.reason] = None
            else:
                runs += jobs
        simulation = simulate(
            [(job, job.job_class.minutes * 60) for job in sorted(runs, key=lambda job: job.num)],
            list(states.values()),
            registry.policy,
            run_s=run_s,
            durations=estimates.durations,
            restart_slow=False,
        )
        seconds += simulation.makespan_s
        sequential_s += sum(stretch.ended - stretch.started for stretch in simulation.stretches)
    return Afterwards(tuple(following), seconds, sequential_s, tuple(nowhere))


def _length(estimates: Estimates, own: Sequence[Job]) -> Callable[[Job, str], float]:
    """How long a job that follows runs on a platform."""
    alike: dict[str, list[Job]] = defaultdict(list)
    for job in own:
        alike[job.job_class.model_type].append(job)
    means: dict[tuple[str, str], float] = {}

    def run_s(job: Job, platform: str) -> float:
        model = job.job_class.model_type
        known = estimates.durations.expected(job.overrides, model or None, platform)
        if (known is not None and estimates.finished(model or None, platform)) or model not in alike:
            return estimates.of(job, platform).seconds
        if (model, platform) not in means:
            means[model, platform] = fmean(estimates.of(one, platform).seconds for one in alike[model])
        return means[model, platform]

    return run_s
