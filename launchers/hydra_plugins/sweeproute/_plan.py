"""Plans a sweep: where each of its jobs would run, why, for how long, before anything runs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from omegaconf import DictConfig

from . import _plan_after
from ._classes import Classes
from ._compose import Composer
from ._deadline import read_time
from ._estimates import Estimate, Estimates
from ._platforms import Registry, read
from ._policy import Alternative, Status
from ._records import read_history
from ._simulator import simulate
from ._source import Points
from .config import RoutedLauncherConf


@dataclass(frozen=True)
class PlannedJob:
    """One job of a plan.

    Attributes:
        number: Its number in the sweep.
        overrides: Its overrides.
        model: Its model type, empty where the app has none.
        platform: Where it would run; None where no platform takes it as things stand.
        status: The word that its launch record would have; queued where no platform takes it.
        reason: Why there.
        considered: The platforms that were weighed and not chosen.
        starts_s: Seconds from the start of the sweep to its own; None where it does not run.
        estimate: How long it would run; None where it does not.
        shared_fit: The number of the job that is to answer for it, so that it need not run; None where none is.
    """

    number: int
    overrides: tuple[str, ...]
    model: str
    platform: str | None
    status: Status
    reason: str
    considered: tuple[Alternative, ...] = ()
    starts_s: float | None = None
    estimate: Estimate | None = None
    shared_fit: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a sweep would do.

    Attributes:
        jobs: In the order of their numbers.
        registry: The platforms.
        estimates: How long jobs are expected to run.
        made_at: When it would start.
        seconds: From its start to its end, with what follows its own jobs.
        deadline: When it has to have ended; None where it is not said.
        afterwards: What follows its own jobs when all of them have ended.
    """

    jobs: tuple[PlannedJob, ...]
    registry: Registry
    estimates: Estimates
    made_at: datetime
    seconds: float
    deadline: datetime | None
    afterwards: _plan_after.Afterwards = _plan_after.NOTHING

    @property
    def own_s(self) -> float:
        """Seconds from its start to the end of its own jobs."""
        return self.seconds - self.afterwards.seconds

    @property
    def end(self) -> datetime:
        """When the sweep would end."""
        return self.made_at + timedelta(seconds=self.seconds)

    @property
    def sequential_s(self) -> float:
        """Seconds of its own jobs, each on its platform, one after another."""
        return sum(job.estimate.seconds for job in self.jobs if job.estimate)

    @property
    def distribution(self) -> dict[str, int]:
        """Jobs by platform; every platform of the registry is there."""
        placed = Counter(job.platform for job in self.jobs)
        return {name: placed[name] for name in self.registry.platforms}


def make(
    settings: RoutedLauncherConf,
    config: DictConfig,
    composer: Composer,
    points: Points,
    rule: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan a sweep that would start now.

    The scheduler decides as in a sweep, under a virtual clock. A platform that has a host is taken to be there.

    Args:
        settings: The launcher's.
        config: The sweep's config.
        composer: Composes its jobs.
        points: Its points, not opened yet.
        rule: What it chooses by, which its app is told that says what follows.

    Returns:
        The plan. A job that is to answer for others runs as long as by itself, and they do not run: what they add to it
        is a hundredth of a fit.

    Raises:
        SettingsError: Something in the launcher's settings cannot be served.
        Exception: What the app raised when it was asked what follows.
    """
    made_at = datetime.now().astimezone()
    deadline = None if settings.deadline is None else read_time(settings.deadline)
    registry = read(settings, config)
    states = {state.name: replace(state, silent=False) if state.available else state for state in registry.states()}
    estimates = Estimates(read_history(), states.values())
    classes = Classes(settings, registry, composer)
    points.open(made_at.timestamp(), estimates.durations, classes.stratum, classes.job_class)
    planned, runs = {}, []
    leaders, own = [], []
    for job_class, waiting in points.waiting().items():
        jobs = [points.take(job_class) for _ in range(waiting)]
        own += jobs
        leaders += [job for job in jobs if job.group is not None]
        home = registry.policy.home(job_class, states)
        if home.platform is not None:
            runs += jobs
            continue
        for job in jobs:
            planned[job.num] = PlannedJob(job.num, job.overrides, job_class.model_type, None, home.status, home.reason)
    simulation = simulate(
        [(job, job.job_class.minutes * 60) for job in sorted(runs, key=lambda job: job.num)],
        list(states.values()),
        registry.policy,
        run_s=lambda job, platform: estimates.of(job, platform).seconds,
        durations=estimates.durations,
        restart_slow=False,  # it is a remedy for estimates that are wrong, and here they are what happens
    )
    for stretch in simulation.stretches:
        job, decision, platform = stretch.assignment.job, stretch.assignment.decision, stretch.assignment.platform
        planned[job.num] = PlannedJob(
            job.num,
            job.overrides,
            job.job_class.model_type,
            platform,
            decision.status,
            decision.reason,
            decision.considered,
            stretch.started,
            estimates.of(job, platform),
        )
    for job in leaders:
        for one in job.group.followers if job.group is not None else ():
            planned[one.number] = replace(
                planned[job.num],
                number=one.number,
                overrides=one.overrides,
                starts_s=None,
                estimate=None,
                shared_fit=job.num,
            )
    following = _plan_after.foresee(settings, composer, list(points.overrides.values()), rule or {})
    afterwards = _plan_after.plan(following, settings, registry, composer, estimates, states, own)
    jobs_in_order = tuple(planned[number] for number in sorted(planned))
    seconds = simulation.makespan_s + afterwards.seconds
    return Plan(jobs_in_order, registry, estimates, made_at, seconds, deadline, afterwards)
