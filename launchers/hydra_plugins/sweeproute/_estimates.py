"""Estimates how long jobs run where, from what has finished, else from what is stated."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ._admission import PlatformState, speed
from ._assignment import Job
from ._durations import Durations

Basis = Literal["measured", "scaled", "stated"]


@dataclass(frozen=True)
class Estimate:
    """How long a job is expected to run.

    Attributes:
        seconds: Seconds.
        basis: measured (its model has finished there), scaled (its model has finished elsewhere; by the speeds of the
            registry) or stated (by its config, and the speeds of the registry).
    """

    seconds: float
    basis: Basis


class Estimates:
    """How long jobs are expected to run, by what has finished.

    Args:
        history: Lines of history.jsonl.
        states: The platforms.
    """

    def __init__(self, history: Iterable[Mapping[str, Any]], states: Iterable[PlatformState]) -> None:
        lines = list(history)
        self.durations = Durations(lines)
        self._states = {state.name: state for state in states}
        self._finished = Counter(
            (line.get("model"), line.get("platform")) for line in lines if line.get("outcome") == "FINISHED"
        )

    def finished(self, model: str | None, platform: str) -> int:
        """How many runs of a model have finished on a platform."""
        return self._finished[model, platform]

    def of(self, job: Job, platform: str) -> Estimate:
        """Expect how long a job runs on a platform."""
        model = job.job_class.model_type or None
        typical_s = self.durations.typical_s(model, platform)
        if typical_s is not None:
            return Estimate(self.durations.expected(job.overrides, model, platform) or typical_s, "measured")
        here = speed(job.job_class, self._states[platform])
        elsewhere = {name: self.durations.typical_s(model, name) for name in self._states}
        works = [s * speed(job.job_class, self._states[name]) for name, s in elsewhere.items() if s is not None]
        if works:
            return Estimate(statistics.median(works) / here, "scaled")
        return Estimate(job.job_class.minutes * 60 / here, "stated")
