"""Draws points of a search space that were not tried yet, whatever a sampler knows."""

import random
from collections.abc import Container, Iterator, Mapping

from optuna import Study
from optuna.samplers import RandomSampler
from optuna.trial import TrialState, create_trial

from ._dimension import Value
from ._point import Point, may_run, point_of
from ._samplers import distributions
from ._space import Space, combinations

# Draws before a space is taken for one in which next to nothing is left.
DRAWS = 2000
# Up to here the points of a finite space are listed, once, to choose among those left.
_LISTED = 5000


class Untried:
    """What is left of a space.

    Args:
        space: All of it.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._distributions = distributions(space)
        self._every: list[dict[str, Value]] | None = None

    def draw(
        self, tried: Container[Point], seed: int, study: Study, given: Mapping[str, Value] | None = None
    ) -> dict[str, Value] | None:
        """A point at random.

        Args:
            tried: What was tried.
            seed: Decides which one, 32 bits.
            study: What Optuna hands to its samplers.
            given: Values that it has to have, by key; None for none.

        Returns:
            Its values by key; None where nothing is left, or next to nothing in a continuous space.
        """
        size, held = self._space.size(), given or {}
        if size is not None and size <= _LISTED:
            if self._every is None:
                self._every = list(self._combinations())
            fitting = (values for values in self._every if held.items() <= values.items())
            left = [values for values in fitting if point_of(values) not in tried]
            return random.Random(seed).choice(left) if left else None
        sampler, blank = RandomSampler(seed=seed), create_trial(state=TrialState.RUNNING)
        for _ in range(DRAWS):
            values: dict[str, Value] = {}
            for one in self._space.dimensions:
                if one.exists(values) and one.key in held:
                    values[one.key] = held[one.key]
                elif one.exists(values):
                    drawn = sampler.sample_independent(study, blank, one.key, self._distributions[one.key])
                    values[one.key] = one.nearest(drawn)
            if point_of(values) not in tried and may_run(self._space, values):
                return values
        if size is None:
            return None
        every = (values for values in self._combinations() if held.items() <= values.items())
        return next((values for values in every if point_of(values) not in tried), None)

    def _combinations(self) -> Iterator[dict[str, Value]]:
        """Every point that the constraints allow."""
        every = combinations([(one, one.values() or ()) for one in self._space.dimensions])
        return (values for values in every if may_run(self._space, values))
