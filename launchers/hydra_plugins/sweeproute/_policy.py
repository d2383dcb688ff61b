"""Decides where a job runs, from what is known of the platforms at one moment.

A job has a home: the platform that was asked for, or that the first matching rule names, or the default; where that one
is unavailable, its fallback. From home it may overflow to another platform while home is full. Nothing here reads a
clock, a file or a random number, so the live dispatcher and the simulator decide alike.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

from ._admission import (
    DoesNotFitError,
    IncapableError,
    JobClass,
    PlatformState,
    RoutingError,
    Snapshot,
    UnknownPlatformError,
    barrier,
    expected_s,
    folded,
    has_room,
    holds,
    lack,
    obstacle,
)
from ._errors import nearest_first

Status = Literal["scheduled", "scheduled_fallback", "queued"]
Overflow = Literal["never", "when_faster", "always"]

ASKED_FOR = "asked for"


@dataclass(frozen=True)
class Rule:
    """Sends the jobs whose fields all equal `match` (text in any case) to one platform."""

    match: Mapping[str, Any]
    route_to: str
    reason: str


@dataclass(frozen=True)
class Alternative:
    """A platform that was not chosen, and why, as a clause that follows its name."""

    platform: str
    verdict: str


@dataclass(frozen=True)
class Decision:
    """Where a job goes, and why.

    Attributes:
        status: scheduled (on its platform or by overflow), scheduled_fallback (its platform is unavailable), queued.
        platform: where it runs, or waits; None when no platform takes it as things stand: then `reason` says why.
        reason: one clause, fit for a log line or a run's tag.
        considered: the platforms that were weighed and not chosen; empty where home had room, and while queued.
    """

    status: Status
    platform: str | None
    reason: str
    considered: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Home:
    """The platform that a class belongs to while availability stays as it is.

    Attributes:
        platform: the platform asked for or routed to, or its fallback; None when there is neither.
        status: scheduled, scheduled_fallback, or queued when platform is None.
        reason: the rule's reason, or what keeps the job from the platform that it was meant for.
    """

    platform: str | None
    status: Status
    reason: str


class Policy:
    """Routing rules with the behaviour for what they leave open.

    Args:
        rules: in order; the first that matches counts.
        default: the platform of a job that no rule matches.
        default_reason: the reason recorded for it.
        overflow: what a job does while its platform is full: wait (never), move where it is expected to finish earlier
            (when_faster), or move to any platform with room (always).
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        default: str,
        default_reason: str = "no rule matches: default platform",
        overflow: Overflow = "when_faster",
    ) -> None:
        self.rules = tuple(rules)
        self.default = default
        self.default_reason = default_reason
        self.overflow = overflow
        self._targets: dict[tuple[tuple[str, Any], ...], tuple[str, str]] = {}

    def check(self, platforms: Iterable[str]) -> None:
        """Refuse settings that could not decide.

        Args:
            platforms: names of the registry's platforms.

        Raises:
            UnknownPlatformError: a rule or the default names a platform that is not among them.
            RoutingError: `overflow` is none of its three values.
        """
        known = list(platforms)
        for number, rule in enumerate(self.rules, 1):
            if rule.route_to not in known:
                match = ", ".join(f"{key}={value}" for key, value in rule.match.items())
                raise UnknownPlatformError(f"Routing rule {number} ({match})", rule.route_to, known)
        if self.default not in known:
            raise UnknownPlatformError("The default of the routing rules", self.default, known)
        if self.overflow not in get_args(Overflow):
            allowed = nearest_first(self.overflow, get_args(Overflow))
            raise RoutingError(f"hydra.launcher.overflow is {self.overflow!r}. Allowed: {allowed}.")

    def target(self, job: JobClass) -> tuple[str, str]:
        """The platform that a class is meant for, whatever its state.

        Args:
            job: the class.

        Returns:
            Platform name, and the reason.
        """
        if job.asked is not None:
            return job.asked, ASKED_FOR
        found = self._targets.get(job.fields)
        if found is None:
            fields = {key: folded(value) for key, value in job.fields}
            found = self.default, self.default_reason
            for rule in self.rules:
                if all(key in fields and fields[key] == folded(value) for key, value in rule.match.items()):
                    found = rule.route_to, rule.reason
                    break
            self._targets[job.fields] = found
        return found

    def home(self, job: JobClass, states: Snapshot) -> Home:
        """The platform that a class waits for; it depends on availability, never on what runs or is free.

        Args:
            job: the class.
            states: every platform by name.

        Returns:
            The target, or the fallback on which the class is expected to run fastest (ties go to the earlier platform).

        Raises:
            UnknownPlatformError: the target is no platform.
            IncapableError: no platform, or not the one asked for, can do what the job requires.
            DoesNotFitError: none of those that can has the memory in all.
        """
        target, reason = self.target(job)
        if target not in states:
            raise UnknownPlatformError("The job" if job.asked else "The routing", target, states)
        barred = barrier(job, states[target])
        if not barred:
            if job.capabilities and reason == self.default_reason:
                reason = f"{reason}, and it has {' and '.join(job.capabilities)}"
            return Home(target, "scheduled", reason)
        pool = [states[target]] if job.asked else list(states.values())
        able = [state for state in pool if not lack(job, state)]
        if not able:
            raise IncapableError(job, pool)
        if not any(holds(job, state) for state in able):
            raise DoesNotFitError(job, able)
        why = f"{target} {barred}"
        others = [] if job.asked else [state for state in states.values() if not barrier(job, state)]
        if others:
            best = min(others, key=lambda state: expected_s(job, state))
            return Home(best.name, "scheduled_fallback", why)
        if not job.asked:
            rest = [f"{state.name} {barrier(job, state)}" for state in states.values() if state.name != target]
            why = "; ".join([why, *rest])
        return Home(None, "queued", why)

    def place(self, job: JobClass, home: Home, states: Snapshot, now: float) -> Decision:
        """Decide for one job of a class whose home is known.

        Args:
            job: the class.
            home: its home under the availability of `states`.
            states: every platform by name.
            now: seconds on the clock that `PlatformState.free_at` uses.

        Returns:
            The decision.
        """
        if home.platform is None:
            return Decision("queued", None, home.reason)
        state = states[home.platform]
        hindered = obstacle(job, state)
        if not hindered:
            fallback = home.status == "scheduled_fallback"
            considered = _considered(job, states, state) if fallback else ()
            return Decision(home.status, state.name, home.reason, considered)
        spare = None if state.silent else self._spare(job, state, states.values(), now)
        if spare is None:
            return Decision("queued", state.name, f"{state.name} {hindered}")
        return self._overflow(job, home, state, spare, states)

    def place_again(
        self, job: JobClass, home: Home, states: Snapshot, now: float, queued: Decision, gained: Collection[str]
    ) -> Decision:
        """Decide again for a class that waits, now that room has come to some platforms.

        Args:
            job: the class.
            home: its home under the availability of `states`.
            states: every platform by name.
            now: seconds on the clock that `PlatformState.free_at` uses.
            queued: what was decided before.
            gained: platforms to which room has come since.

        Returns:
            The decision; `queued` where the new room is none for this class.
        """
        if home.platform in gained:
            return self.place(job, home, states, now)
        roomy = [states[name] for name in gained if has_room(job, states[name])]
        if home.platform is None or not roomy:
            return queued
        state = states[home.platform]
        spare = None if state.silent else self._spare(job, state, roomy, now)
        return queued if spare is None else self._overflow(job, home, state, spare, states)

    def decide(self, job: JobClass, snapshot: Snapshot | Sequence[PlatformState], now: float) -> Decision:
        """Decide for one job.

        Args:
            job: its class.
            snapshot: every platform, by name or in the registry's order.
            now: seconds on the clock that `PlatformState.free_at` uses.

        Returns:
            The decision; its platform is None when the platform asked for, or every platform, is unavailable.

        Raises:
            UnknownPlatformError: the job is meant for a platform that is not in the snapshot.
            IncapableError, DoesNotFitError: no platform that it may use could ever run it, or hold it.

        Example:
            >>> here = PlatformState("local_m4", slots=4, memory_gb=24, memory_free_gb=24)
            >>> there = PlatformState("remote_4090", slots=2, available=False, why="has no host configured")
            >>> policy = Policy([Rule({"model_type": "XGBoost"}, "remote_4090", "GPU available")], "local_m4")
            >>> decision = policy.decide(JobClass((("model_type", "XGBoost"),)), [here, there], now=0.0)
            >>> print(decision.status, decision.platform, decision.reason, sep=": ")
            scheduled_fallback: local_m4: remote_4090 has no host configured
        """
        states = snapshot if isinstance(snapshot, Mapping) else {state.name: state for state in snapshot}
        return self.place(job, self.home(job, states), states, now)

    def _overflow(
        self, job: JobClass, home: Home, full: PlatformState, spare: PlatformState, states: Snapshot
    ) -> Decision:
        reason = f"{full.name} {obstacle(job, full)}: overflow to {spare.name}"
        if home.status == "scheduled_fallback":
            reason = home.reason
        return Decision(home.status, spare.name, reason, _considered(job, states, spare))

    def _spare(
        self, job: JobClass, home: PlatformState, others: Iterable[PlatformState], now: float
    ) -> PlatformState | None:
        """The platform with room that the overflow mode lets a job move to, the fastest first."""
        if job.asked or self.overflow == "never" or (self.overflow == "when_faster" and home.free_at is None):
            return None
        spares = [
            state
            for state in others
            if state.running < state.slots and has_room(job, state) and state is not home and not barrier(job, state)
        ]
        if not spares:
            return None
        best = spares[0] if len(spares) == 1 else min(spares, key=lambda state: expected_s(job, state))
        if self.overflow == "when_faster" and home.free_at is not None:
            finish_at_home = max(0.0, home.free_at - now) + expected_s(job, home)
            if expected_s(job, best) >= finish_at_home:
                return None
        return best


def _considered(job: JobClass, states: Snapshot, chosen: PlatformState) -> tuple[Alternative, ...]:
    """Every platform but the chosen one.

    The verdicts are words without numbers, kept and not made anew: there is one for each platform and job, and nearly
    all are full.
    """
    return tuple(
        [
            _alternative(
                state.name,
                state.why or "is full"
                if state.running >= state.slots and state.available and not state.silent
                else _verdict(job, state),
            )
            for state in states.values()
            if state is not chosen
        ]
    )


def _verdict(job: JobClass, state: PlatformState) -> str:
    if state.available and not has_room(job, state):
        return state.why or "is silent" if state.silent else "has a slot, and too little room"
    return barrier(job, state) or "has room, and is not faster"


@lru_cache(maxsize=1024)
def _alternative(platform: str, verdict: str) -> Alternative:
    """One object per verdict: ten thousand jobs on fifty platforms record half a million of them."""
    return Alternative(platform, verdict)
