"""Counts what each platform has before it, for the person who watches."""

from collections.abc import Callable, Iterable, Mapping

from ._admission import JobClass
from ._assignment import Job, Source
from ._board import Board, Sent
from ._durations import Load
from ._occupancy import Counts


def counts(board: Board, waiting: Mapping[JobClass, int], sent: Sent) -> dict[str, Counts]:
    """Jobs by platform; see Scheduler.counts.

    Args:
        board: the platforms.
        waiting: jobs that wait here, by class.
        sent: jobs that wait in a platform's own queue, by platform and class.

    Returns:
        Counts of each platform.
    """
    queued = {name: sum(map(len, sent.get(name, {}).values())) for name in board.places}
    for job_class, number in waiting.items():
        home = board.home(job_class).platform
        if home is not None:
            queued[home] += number
    return {name: place.counts(queued[name]) for name, place in board.places.items()}


def loads(
    board: Board,
    source: Source,
    retries: Iterable[tuple[Job, JobClass]],
    sent: Mapping[str, Mapping[JobClass, Mapping[int, Job]]],
    now: float,
    waiting_s: Callable[[JobClass], float | None],
    run_s: Callable[[Job, str], float | None],
) -> dict[str, Load]:
    """What each platform has before it; see Scheduler.loads.

    Args:
        board: the platforms.
        source: where jobs wait.
        retries: jobs that wait for their next attempt.
        sent: jobs that wait in a platform's own queue, by platform and class.
        now: seconds.
        waiting_s: from a class to the expected seconds of all its jobs that wait in the source.
        run_s: from a job and a platform to the expected seconds of the job there.

    Returns:
        The load of each platform.
    """
    waiting: dict[str, list[float | None]] = {name: [] for name in board.places}
    for job_class in source.waiting():
        home = board.home(job_class).platform
        if home is not None:
            waiting[home].append(waiting_s(job_class))
    single = [(board.home(job_class).platform, job) for job, job_class in retries]
    for name, classes in sent.items():
        single += [(board.expected_on(name, waits), job) for waits, jobs in classes.items() for job in jobs.values()]
    for platform, job in single:
        if platform is not None:
            waiting[platform].append(run_s(job, platform))
    found = {}
    for name, place in board.places.items():
        running = [(run_s(entry.job, name), now - entry.started) for entry in place.running.values()]
        found[name] = Load(place.spec.slots, tuple(waiting[name]), tuple(running))
    return found
