"""The questions that are asked of a tracking store, whatever answers them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

# A run's tags that say what it was made from and on.
DATA_TAG = "sweeproute.data_hash"
_DEVICE_TAGS = ("sweeproute.device_class", "sweeproute.device")


@dataclass(frozen=True)
class Question:
    """Which run is the best: among the finished runs that count."""

    metric: str
    maximize: bool
    # Id of a sweep; None for all.
    sweep: str | None = None
    # Name of an experiment; None for all.
    experiment: str | None = None


@dataclass(frozen=True)
class FoundRun:
    """A run as the store has it."""

    run_id: str
    experiment: str
    artifact_uri: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def device_tag(self) -> str:
        """The tag that says most about what the run was made on."""
        return next((tag for tag in _DEVICE_TAGS if tag in self.tags), _DEVICE_TAGS[-1])


@dataclass(frozen=True)
class Answer:
    """The best run, and among what it is the best."""

    # None where no run has a finite value.
    run: FoundRun | None
    # Runs whose value is not finite.
    not_finite: int
    # What another of the runs was made on, or from, where it is not what the best one was: such scores do not compare.
    other_device: str | None = None
    other_data: str | None = None


class Runs(Protocol):
    """Where runs are read from."""

    # How it is asked, for people.
    how: str

    def best(self, question: Question) -> Answer:
        """Find the best run; of equals the earlier trial."""

    def metric_names(self, question: Question) -> list[str]:
        """The metrics that were logged within the question's sweep and experiment."""

    def states(self, question: Question) -> dict[str, int]:
        """How many trials of the question's sweep and experiment are in which state."""

    def sweeps(self) -> list[tuple[str, str]]:
        """Id and name of every sweep, the newest first."""

    def experiments(self) -> list[str]:
        """The names of the experiments."""


def earliest(ties: Iterable[tuple[str, int, str, str]]) -> str:
    """Choose among runs that are equally good: the earliest trial of the sweep that was first.

    Args:
        ties: Run id, start in milliseconds since 1970, sweep, trial number as text.

    Returns:
        The run's id.
    """
    rows = sorted(ties, key=lambda row: (row[1], row[0]))
    first_sweep = rows[0][2]
    same = [row for row in rows if row[2] == first_sweep] if first_sweep else rows[:1]
    return min(same, key=lambda row: int(row[3]) if row[3].isdecimal() else 0)[0]
