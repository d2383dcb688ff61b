"""Keeps the snapshot of the platforms that decisions are made on."""

import statistics
from collections.abc import Iterable, Mapping, Sized

from ._admission import JobClass, PlatformState, RoutingError, speed
from ._assignment import Job
from ._condition import KEEPS_JOBS, Condition
from ._durations import Durations
from ._occupancy import Occupancy
from ._policy import Home, Policy

# Jobs in the platforms' own queues, by platform and class.
Sent = Mapping[str, Mapping[JobClass, Sized]]


class Board:
    """The platforms, with the home of each class among them.

    Args:
        policy: says which home a class has.
        platforms: each as it is at the start, nothing running.

    Attributes:
        places: what runs, by platform.
        states: the platforms as the policy sees them; `refresh` brings them up to date.
        open: platforms where another job could start at once.
        ahead: whether some platform has a queue of its own.
    """

    def __init__(self, policy: Policy, platforms: Iterable[PlatformState], durations: Durations) -> None:
        self.places: dict[str, Occupancy[Job]] = {spec.name: Occupancy(spec) for spec in platforms}
        self.states = {name: place.state(None) for name, place in self.places.items()}
        self.open = {name for name, place in self.places.items() if place.open()}
        self.ahead = any(place.spec.ahead for place in self.places.values())
        self._policy = policy
        self._durations = durations
        self._version = self._durations.version
        self._stale = set(self.places)
        self._homes: dict[JobClass, Home] = {}

    def touch(self, platform: str) -> None:
        """Note that a platform has more to do, or less."""
        self._stale.add(platform)
        if self.places[platform].open():
            self.open.add(platform)
        else:
            self.open.discard(platform)

    def move(self, platform: str, condition: Condition, why: str) -> None:
        """Change a platform's condition; see Occupancy.move."""
        place = self.places[platform]
        place.move(condition, why)
        self.states[platform] = place.state(None)
        self._homes.clear()
        self.touch(platform)

    def outdated(self, platforms: Iterable[str]) -> None:
        """Note that estimates of some platforms have grown old."""
        self._stale.update(platforms)

    def home(self, job_class: JobClass) -> Home:
        """A class's home, found once until availability changes; of a class that fits nowhere, none."""
        home = self._homes.get(job_class)
        if home is None:
            self._estimate(job_class)
            try:
                home = self._policy.home(job_class, self.states)
            except RoutingError as error:
                home = Home(None, "queued", str(error))
            self._homes[job_class] = home
        return home

    def learn(self) -> bool:
        """Estimate anew where more is known of durations.

        Returns:
            Whether it is.
        """
        if self._version == self._durations.version:
            return False
        self._version = self._durations.version
        self._homes.clear()
        for place in self.places.values():
            for job_class in list(place.expected):
                del place.expected[job_class]
        for job_class in {running.job_class for place in self.places.values() for running in place.running.values()}:
            self._estimate(job_class)
        for place in self.places.values():
            place.expect()
        self._stale.update(self.places)
        return True

    def _estimate(self, job_class: JobClass) -> None:
        """Expect what was measured, scaled by the speeds of the platforms where it was measured on others alone."""
        model = job_class.model_type or None
        typical = {name: self._durations.typical_s(model, name) for name in self.places}
        works = [s * speed(job_class, self.places[name].spec) for name, s in typical.items() if s is not None]
        work = statistics.median(works) if works else job_class.minutes * 60.0
        for name, place in self.places.items():
            measured = typical[name]
            place.expected[job_class] = work / speed(job_class, place.spec) if measured is None else measured

    def job_s(self, job: Job, platform: str) -> float | None:
        """Expected seconds of one job on a platform, None where nothing is known of it."""
        return self._durations.expected(job.overrides, job.job_class.model_type or None, platform)

    def expected_on(self, platform: str, job_class: JobClass) -> str | None:
        """Where a job in a platform's own queue is expected to run: there, or at its class's home when that is gone."""
        stays = self.places[platform].condition in KEEPS_JOBS
        return platform if stays else self.home(job_class).platform

    def refresh(self, waiting: Mapping[JobClass, int], sent: Sent, now: float) -> None:
        """Bring the snapshot up to date: only what has changed since the last decision.

        Args:
            waiting: jobs that wait here, by class.
            sent: jobs that wait in a platform's own queue, by platform and class.
            now: seconds.
        """
        if not self._stale:
            return
        backlog = self._backlog(waiting, sent) if self._policy.overflow == "when_faster" else {}
        for name in self._stale:
            place, waits_s = self.places[name], backlog.get(name)
            free_at = None
            if waits_s is not None:
                free_at = now + place.held_s(now) + (place.left_s(now) + waits_s) / place.spec.slots
            self.states[name] = place.state(free_at)
        self._stale.clear()

    def _backlog(self, waiting: Mapping[JobClass, int], sent: Sent) -> dict[str, float]:
        """Expected seconds of what waits for each stale platform but one job: the one that is decided about."""
        found: dict[str, list[tuple[JobClass, int]]] = {}
        for job_class, number in waiting.items():
            home = self.home(job_class).platform
            if home is not None and home in self._stale:
                found.setdefault(home, []).append((job_class, number))
        for platform, classes in sent.items():
            for job_class, queue in classes.items():
                home = self.expected_on(platform, job_class)
                if home is not None and home in self._stale:
                    found.setdefault(home, []).append((job_class, len(queue)))
        backlog = {}
        for name, jobs in found.items():
            place = self.places[name]
            seconds = sum([number * place.expected_s(job_class) for job_class, number in jobs])
            backlog[name] = seconds * (1.0 - 1.0 / sum([number for _, number in jobs]))
        return backlog
