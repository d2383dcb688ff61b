"""Says whether a platform can take a job, now or ever, from what both declare."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._errors import SettingsError, nearest_first

# What a job requires that reads what other jobs have left in their folders: another machine has those of its own alone.
# A platform has it or not by what it is; nobody names it.
SWEEP_FOLDERS = "sweep_folders"


class RoutingError(SettingsError):
    """A rule, a setting or a job that no platform can serve."""


class UnknownPlatformError(RoutingError):
    """A platform was named that the registry does not have."""

    def __init__(self, where: str, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"{where} names the platform {name!r}, which is not in the registry. Allowed: {nearest_first(name, known)}."
        )


class DoesNotFitError(RoutingError):
    """A job needs more memory than any platform that it may use has in all."""

    def __init__(self, job: "JobClass", platforms: Iterable["PlatformState"]) -> None:
        largest = max(platforms, key=lambda state: state.memory_gb)
        which = "which was asked for" if job.asked else "the largest"
        super().__init__(
            f"A job fits on no platform that it may use: {largest.name}, {which}, {shortage(job, largest)}. "
            "Lower what the job asks for, or add a platform."
        )


class IncapableError(RoutingError):
    """A job requires what no platform that it may use can do."""

    def __init__(self, job: "JobClass", platforms: Iterable["PlatformState"]) -> None:
        states = list(platforms)
        known = dict.fromkeys(name for state in states for name in state.capabilities if name != SWEEP_FOLDERS)
        unknown = [name for name in job.capabilities if name not in known]
        if unknown:
            where = f"{states[0].name}, which was asked for, has" if job.asked else "The registry's platforms have"
            cure = f"{where}: {nearest_first(unknown[0], known) or 'no capabilities'}."
            if not job.asked:
                cure += " Correct the name, or add it to the capabilities of a platform that can."
        else:
            cure = "; ".join(f"{state.name} {lack(job, state)}" for state in states) + "."
        wanted = " and ".join(job.capabilities)
        super().__init__(f"A job requires {wanted}, and no platform that it may use can do that. {cure}")


@dataclass(frozen=True, slots=True)
class JobClass:
    """All that the policy reads of a job; jobs of equal classes are decided alike.

    Attributes:
        fields: what rules match on, as (name, value) pairs with hashable values; "model_type" also selects the speed.
        priority: 1 to 10, 10 first.
        memory_gb: main memory that the job needs.
        gpu_memory_gb: GPU memory that the job needs where the platform has a GPU; elsewhere it runs on the CPU.
        minutes: estimated duration on a platform of speed 1.
        asked: the platform that the user forces, or None.
        avoid: platforms where the job used up its attempts or ran out of memory.
        alone: run with nothing beside it.
        capabilities: what its platform has to have.
        model_type: the field of that name, empty where there is none.
    """

    fields: tuple[tuple[str, Any], ...]
    priority: int = 5
    memory_gb: float = 1.0
    gpu_memory_gb: float = 0.0
    minutes: float = 60.0
    asked: str | None = None
    avoid: tuple[str, ...] = ()
    alone: bool = False
    capabilities: tuple[str, ...] = ()
    model_type: str = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model_type", str(dict(self.fields).get("model_type", "")))
        decisive = (self.fields, self.priority, self.memory_gb, self.minutes, self.asked, self.avoid, self.alone)
        object.__setattr__(self, "_hash", hash(decisive))
        if not 1 <= self.priority <= 10:
            raise RoutingError(f"A job has the priority {self.priority}. Allowed: 1 to 10, and 10 runs first.")

    def __hash__(self) -> int:
        return self._hash  # a class is looked up some twenty times for each of its jobs


# Nobody changes one; frozen, it would take four times as long to make, and the scheduler makes three for each job.
@dataclass(slots=True)
class PlatformState:
    """One platform in a snapshot.

    Attributes:
        name: its key in the registry.
        slots: jobs that it runs at once.
        running: slots that are taken; a job that runs alone takes them all.
        memory_gb, memory_free_gb: main memory in all, and free now after reservations.
        gpu_memory_gb, gpu_memory_free_gb: the same of the GPU; 0 in all means that it has none.
        available: whether it takes jobs.
        why: empty, or why it is unavailable, silent or full, as a clause that follows its name.
        speed: by model type, 1 is normal and 2 takes half the time; a type that is absent has 1.
        free_at: when, by estimates, a job that comes last could start (same clock as `now`), or None if unknown.
        silent: whether nothing may start for now, although its jobs wait for it.
        ahead: whether it has a queue of its own: its jobs are sent at once, and it starts them itself.
        expected_s: seconds of a job by class, where they are known better than from the class's minutes.
        capabilities: what it can do, by its owner's word.
        lacking: of these the ones that it is known to lack, with a clause that says why.
    """

    name: str
    slots: int
    running: int = 0
    memory_gb: float = float("inf")
    memory_free_gb: float = float("inf")
    gpu_memory_gb: float = 0.0
    gpu_memory_free_gb: float = 0.0
    available: bool = True
    why: str = ""
    speed: Mapping[str, float] = field(default_factory=dict)
    free_at: float | None = None
    silent: bool = False
    ahead: bool = False
    expected_s: Mapping[JobClass, float] = field(default_factory=dict, compare=False)
    capabilities: tuple[str, ...] = ()
    lacking: Mapping[str, str] = field(default_factory=dict)


Snapshot = Mapping[str, PlatformState]


def expected_s(job: JobClass, state: PlatformState) -> float:
    """Estimated seconds of a job of this class on a platform.

    Args:
        job: the class.
        state: the platform.

    Returns:
        Seconds as the platform's state has them, else from the class's minutes and the platform's speed.
    """
    known = state.expected_s.get(job)
    return job.minutes * 60.0 / speed(job, state) if known is None else known


def speed(job: JobClass, state: PlatformState) -> float:
    """How fast a platform is said to be for a class's model type, 1 being normal."""
    if not state.speed:
        return 1.0
    found = state.speed.get(job.model_type)
    if found is None:
        wanted = job.model_type.casefold()
        found = next((value for name, value in state.speed.items() if name.casefold() == wanted), 1.0)
    return found


def folded(value: Any) -> Any:
    """A value as rules compare it: text in any case is the same text."""
    return value.casefold() if isinstance(value, str) else value


def holds(job: JobClass, state: PlatformState) -> bool:
    """Whether a platform could ever hold a job, were it idle."""
    return not shortage(job, state)


def shortage(job: JobClass, state: PlatformState) -> str:
    """What a platform lacks to ever hold a job, as a clause; a job for a GPU runs on the CPU where there is none."""
    if job.memory_gb > state.memory_gb:
        return f"has {state.memory_gb:.3g} GB of memory in all, {job.memory_gb:g} GB needed"
    if state.gpu_memory_gb and job.gpu_memory_gb > state.gpu_memory_gb:
        return f"has {state.gpu_memory_gb:.3g} GB of GPU memory in all, {job.gpu_memory_gb:g} GB needed"
    return ""


def barrier(job: JobClass, state: PlatformState) -> str:
    """What keeps a job from a platform however long it waits, as a clause; empty when nothing does."""
    if not state.available:
        return state.why or "is unavailable"
    if state.name in job.avoid:
        return "was tried without success"
    return lack(job, state) or shortage(job, state)


def lack(job: JobClass, state: PlatformState) -> str:
    """Which capability that a job requires a platform does not have, as a clause; empty when it has all."""
    for name in job.capabilities:
        if name not in state.capabilities:
            return f"lacks {name}"
        if name in state.lacking:
            return f"claims {name}, and {state.lacking[name]}"
    return ""


def has_room(job: JobClass, state: PlatformState) -> bool:
    """Whether a job could start on a platform now, were there no barrier.

    An idle platform takes a job whatever memory is free: others may use the machine for ever, and a job that waited for
    them would never run.
    """
    if state.running == 0:
        return not state.silent
    return (
        state.running < state.slots
        and not job.alone
        and job.memory_gb <= state.memory_free_gb
        and (not state.gpu_memory_gb or job.gpu_memory_gb <= state.gpu_memory_free_gb)
        and not state.silent
    )


def obstacle(job: JobClass, state: PlatformState) -> str:
    """What a job has to wait for on a platform, as a clause; empty when it has room."""
    if has_room(job, state):
        return ""
    if state.silent:
        return state.why or "is silent"
    if state.running >= state.slots:
        return state.why or "is full"
    if job.alone:
        return "is busy with other jobs, none may run beside this one"
    if job.memory_gb > state.memory_free_gb:
        return f"has {max(0.0, state.memory_free_gb):.3g} GB of memory free, {job.memory_gb:g} GB needed"
    return f"has {max(0.0, state.gpu_memory_free_gb):.3g} GB of GPU memory free, {job.gpu_memory_gb:g} GB needed"
