"""The questions that are asked of a tracking store, whatever answers them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sweeproute.configuration import TAG

# A run's tags that say what it was made from and on.
DATA_TAG = "sweeproute.data_hash"
GAMES_TAG = "sweeproute.games_hash"
SEASONS_TAG = "sweeproute.seasons"
SWEEP_TAG = "sweeproute.sweep"
_DEVICE_TAGS = ("sweeproute.device_class", "sweeproute.device")
# What choosing among the trials of a sweep looks at.
_CHOICE_TAGS = ("sweeproute.trial", "sweeproute.current", "sweeproute.overrides", TAG)
TRIAL_TAGS = (*_CHOICE_TAGS, DATA_TAG, GAMES_TAG, SEASONS_TAG, *_DEVICE_TAGS)
# Those that a question looks for by their values among all runs.
LOOKED_FOR_TAGS = (SWEEP_TAG, DATA_TAG, SEASONS_TAG, *_DEVICE_TAGS)


@dataclass(frozen=True)
class Question:
    """Which run is the best: among the finished runs that count."""

    metric: str
    maximize: bool
    # Id of a sweep; None for all.
    sweep: str | None = None
    # Name of an experiment; None for all.
    experiment: str | None = None
    # Values that parameters of a run, or its tags without `sweeproute.`, have to have; of a hash its beginning.
    where: tuple[tuple[str, str], ...] = ()


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
class Trial:
    """A trial of a sweep, as far as choosing among them needs it."""

    run_id: str
    # Whether it has come to its end, and is the attempt that counts.
    finished: bool
    # Those of TRIAL_TAGS that it has, and those metrics that were asked for.
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Answer:
    """The best run, and among what it is the best."""

    # None where no run has a finite value.
    run: FoundRun | None
    # Runs whose value is not finite.
    not_finite: int
    # What another of the runs was made on, or from, where it is not what the best one was.
    other_device: str | None = None
    other_data: str | None = None
    # The data of another one that has other games or outcomes, not other features alone: such scores do not compare.
    other_games: str | None = None
    # The seasons that another one was tested on.
    other_seasons: str | None = None


class Runs(Protocol):
    """Where runs are read from."""

    # How it is asked, for people.
    how: str

    def best(self, question: Question) -> Answer:
        """Find the best run; of equals the earlier trial."""

    def trials(self, question: Question, metrics: Sequence[str]) -> list[Trial]:
        """All trials of the question's sweep and experiment, in their order, whatever became of them."""

    def run(self, run_id: str) -> FoundRun:
        """One run with all that it holds."""

    def histories(self, run_ids: Sequence[str]) -> dict[str, dict[str, dict[int, float]]]:
        """Every value of every metric of some runs: by run, name and step; of one step the last that was written."""

    def sweep_tags(self, sweep: str) -> Mapping[str, str]:
        """What the sweep's own run says of what the sweep chooses by; see configuration.RULE_TAGS."""

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


def in_order(trials: Iterable[tuple[int, Trial]]) -> list[Trial]:
    """Trials by their numbers; of one number, by their start in milliseconds since 1970."""

    def place(started: tuple[int, Trial]) -> tuple[int, int, str]:
        number = started[1].tags.get("sweeproute.trial", "")
        return int(number) if number.isdecimal() else 0, started[0], started[1].run_id

    return [trial for _, trial in sorted(trials, key=place)]


def meets(params: Mapping[str, str], tags: Mapping[str, str], where: Iterable[tuple[str, str]]) -> bool:
    """Whether a run has the values that are asked for.

    Args:
        params: Its parameters.
        tags: Its tags.
        where: Names of parameters, or of tags without `sweeproute.`, and values; of a hash its beginning is enough.
    """

    def is_it(value: str | None, key: str, wanted: str) -> bool:
        return value is not None and (value.startswith(wanted) if key.endswith("_hash") else value == wanted)

    return all(
        is_it(params.get(key), key, wanted) or is_it(tags.get(f"sweeproute.{key}"), key, wanted)
        for key, wanted in where
    )


def answer(best: FoundRun, not_finite: int, runs: Sequence[Mapping[str, str]]) -> Answer:
    """What the best run is the best among.

    Args:
        best: The best run.
        not_finite: Runs whose value is not finite.
        runs: The tags of all that were compared.
    """

    def other(tag: str, runs: Sequence[Mapping[str, str]] = runs) -> str | None:
        own = best.tags.get(tag, "")
        return next((tags[tag] for tags in runs if tag in tags and tags[tag] != own), None)

    # Of a time when games were not recorded, other data is other games.
    games = best.tags.get(GAMES_TAG)
    elsewhere = [tags for tags in runs if games is None or tags.get(GAMES_TAG) != games]
    # A run of a time when seasons were not recorded is no other.
    seasons = other(SEASONS_TAG) if SEASONS_TAG in best.tags else None
    return Answer(best, not_finite, other(best.device_tag), other(DATA_TAG), other(DATA_TAG, elsewhere), seasons)
