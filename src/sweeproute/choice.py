"""Chooses among the trials of a sweep by its rule: one metric or several, over the repeats of a configuration."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Generic, TypeVar

from sweeproute import pareto
from sweeproute.configuration import Estimate, estimates
from sweeproute.selection import Rule, finite

Item = TypeVar("Item")


@dataclass(frozen=True)
class Scored(Generic[Item]):
    """A trial of a sweep, whatever stands for it where it was read."""

    item: Item
    # Whether it has come to its end, and counts.
    finished: bool
    # What its configuration is, and which repeat of it this is.
    configuration: Hashable
    repeat: Hashable
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Chosen(Generic[Item]):
    """A configuration that was chosen."""

    # Its finished repeats, in the order of their trials; the one trial, where nothing is repeated.
    repeats: tuple[Item, ...]
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True)
class Choice(Generic[Item]):
    """What was chosen, and among what."""

    # What decided; its keys of repeats are there only where something was repeated.
    rule: Rule
    # What no other dominates, the best in the first objective first: one alone by one objective; none where none can.
    front: tuple[Chosen[Item], ...]
    # The position of the front's knee.
    knee: int
    # How many configurations were compared, and how many were not, since others have finished more repeats.
    compared: int
    passed_over: int
    # Finished trials with a value that is not finite, which cannot win.
    not_finite: int
    # How many repeats each configuration of the sweep is to have, and the most that one has finished so far.
    repeats: int
    finished_repeats: int

    @property
    def winner(self) -> Chosen[Item] | None:
        """The best one; of several objectives the knee."""
        return self.front[self.knee] if self.front else None

    @property
    def incomplete(self) -> bool:
        """Whether what was chosen lacks repeats, since no configuration has them all."""
        return bool(self.front) and self.finished_repeats < self.repeats


def choose(trials: Sequence[Scored[Item]], rule: Rule) -> Choice[Item]:
    """Choose by the means over finished repeats.

    A configuration that lacks repeats is compared only while none is complete, and then with those alone that have as
    many: the mean of a few is the luckier the fewer they are.

    Args:
        trials: All trials of the sweep, in their order; of the same repeat of a configuration the first one counts.
        rule: What decides. Where all trials are the same repeat, say of one seed, nothing is repeated: each trial then
            stands for itself, its seed among what reproduces it.

    Returns:
        The choice; of equals the earlier trial.
    """
    names, repeats = rule.metrics, len({trial.repeat for trial in trials})
    if repeats < 2:
        rule, repeats = replace(rule, repeats=()), 1
    finished = [trial for trial in trials if trial.finished and all(name in trial.metrics for name in names)]
    able = [trial for trial in finished if all(finite(trial.metrics[name]) for name in names)]
    groups: dict[Hashable, dict[Hashable, Scored[Item]]] = {}
    for position, trial in enumerate(able):
        configuration = trial.configuration if rule.repeats else position
        groups.setdefault(configuration, {}).setdefault(trial.repeat, trial)
    most = max(map(len, groups.values()), default=0)
    compared = [list(group.values()) for group in groups.values() if len(group) == most]
    losses = [
        [one.loss(fmean(trial.metrics[one.metric] for trial in group)) for one in rule.objectives] for group in compared
    ]
    kept = sorted(pareto.front(losses), key=lambda position: losses[position])
    return Choice(
        rule,
        tuple(_chosen(compared[position]) for position in kept),
        knee=pareto.knee([losses[position] for position in kept]) if kept else 0,
        compared=len(compared),
        passed_over=len(groups) - len(compared),
        not_finite=len(finished) - len(able),
        repeats=repeats if rule.repeats else 1,
        finished_repeats=most,
    )


def _chosen(group: Sequence[Scored[Item]]) -> Chosen[Item]:
    return Chosen(tuple(trial.item for trial in group), estimates([trial.metrics for trial in group]))
