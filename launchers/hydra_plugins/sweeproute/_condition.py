"""Names the states of a platform with the ways between them."""

from enum import StrEnum


class Condition(StrEnum):
    """What a platform can be asked for at one moment.

    available: it takes jobs. suspect: nothing has been heard of it for some seconds, so nothing is sent or started
    there, while its jobs wait for it. down: it has been silent for longer, or refused. probing: contact is being tried
    again. paused: a person wants the machine for themselves; what runs there goes on.
    """

    AVAILABLE = "available"
    SUSPECT = "suspect"
    DOWN = "down"
    PROBING = "probing"
    PAUSED = "paused"


# Where jobs stay whose platform it is; elsewhere they fall back to another one.
KEEPS_JOBS = frozenset({Condition.AVAILABLE, Condition.SUSPECT})
# Where a question gets no answer.
UNREACHABLE = frozenset({Condition.DOWN, Condition.PROBING})

# A pause that is still wanted when contact returns is said again by whoever keeps it.
NEXT = {
    Condition.AVAILABLE: frozenset({Condition.SUSPECT, Condition.DOWN, Condition.PAUSED}),
    Condition.SUSPECT: frozenset({Condition.AVAILABLE, Condition.DOWN, Condition.PAUSED}),
    Condition.DOWN: frozenset({Condition.PROBING, Condition.AVAILABLE, Condition.PAUSED}),
    Condition.PROBING: frozenset({Condition.AVAILABLE, Condition.DOWN, Condition.PAUSED}),
    Condition.PAUSED: frozenset({Condition.AVAILABLE, Condition.DOWN}),
}


class ForbiddenTransitionError(ValueError):
    """A platform cannot go from its condition to the one named."""

    def __init__(self, platform: str, old: Condition, new: Condition) -> None:
        allowed = ", ".join(sorted(NEXT[old]))
        super().__init__(f"{platform} cannot go from {old} to {new}. Allowed: {allowed}.")
