"""Holds one study's part in a sweep: what it may still propose, what of that can be taken."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from ._dimension import Value
from ._space import Space

if TYPE_CHECKING:
    from ._study import Study

# Stands for a number of points that nothing limits: it outweighs any number of slots.
_MANY = 10_000


@dataclass
class Share:
    """One study's part in a sweep.

    Attributes:
        study: Proposes.
        space: What is searched.
        budget: Distinct points that it may have run in all; None for no limit.
        pruner: The name of what compares trials while they run; "none" where nothing does.
        pairs: Whether it compares trials step by step, rather than as far as they have come.
        slow: Whether its sampler may be at work for seconds, so that nothing should wait for it.
        exhausted: Whether the study has nothing more to propose.
        stranded: Whether no platform can run what it proposes.
        ready: Numbers of the jobs that can be taken.
        taken: How many were taken.
    """

    study: "Study"
    space: Space
    budget: int | None
    pruner: str = "none"
    pairs: bool = False
    slow: bool = False
    exhausted: bool = False
    stranded: bool = False
    ready: deque[int] = field(default_factory=deque)
    taken: int = 0

    @property
    def prunes(self) -> bool:
        """Whether it is to hear of trials while they run."""
        return self.pruner != "none"

    @property
    def bounded(self) -> bool:
        """Whether it is known how many points it may propose."""
        return self.exhausted or self.stranded or self.budget is not None or self.space.size() is not None

    def served(self) -> float:
        """How far it has come with its part, so that the one that is behind the others is next."""
        return self.taken / (self.times() * (self.budget or 1))

    def left(self) -> int:
        """How many more points it may propose; many where nothing limits them."""
        if self.exhausted or self.stranded:
            return 0
        bounds = [bound for bound in (self.budget, self.space.size()) if bound is not None]
        return max(0, min(bounds) - self.study.distinct()) if bounds else _MANY

    def repeats(self) -> Iterator[dict[str, Value]]:
        """Each combination of the values under which a point is run."""
        keys = [one.key for one in self.space.repeats]
        for values in product(*(dict.fromkeys(one.values() or ()) for one in self.space.repeats)):
            yield dict(zip(keys, values, strict=True))

    def times(self) -> int:
        """How often each point is run."""
        return self.space.times()
