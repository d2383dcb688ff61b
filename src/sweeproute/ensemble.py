"""Says what an ensemble is made of: of each model of a sweep the configuration that won."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from omegaconf import DictConfig

from sweeproute import pointers
from sweeproute.config import ConfigError
from sweeproute.configuration import split
from sweeproute.selection import ENSEMBLES, Rule, finite
from sweeproute.sweep_folder import returned_metrics
from sweeproute.winners import by_model, named, winners

# What a model's file names where it is an ensemble, and what its type begins with.
TARGET, PREFIX = "sweeproute.ensemble.Ensemble", "Ensemble_"
# Words of a sweep without which an ensemble of it would be judged by other games, or in another way.
_TOLD = ("data", "validation", "calibration", "betting", "experiment")
Record = Mapping[str, Any]


# The tags of a run that is one: its method, the sweep that has its members, and these as `Members.tags` writes them.
METHOD_TAG, MEMBERS_OF_TAG, MEMBERS_TAG = (f"sweeproute.{name}" for name in ("ensemble", "members_of", "members"))
# What each method does, for who reads a table.
_HOW = {
    "average": "the mean of their probabilities",
    "stacking": "a logistic regression on their log odds, fitted on the tested seasons before (Wolpert, 1992; Breiman, "
    "1996)",
    "best_of": "the one that was best in the tested seasons before",
}


class EnsembleError(ConfigError):
    """There is nothing of which this ensemble could be made."""


@dataclass(frozen=True)
class Ensemble:
    """What an ensemble is: the parameters of `conf/model/ensemble.yaml`; see `ensemble_methods.combine`.

    Attributes:
        method: average, stacking or best_of.
        sweep: Id or name of the finished sweep that has the members; `last` for the newest before this.
        members: By calibration, for each member the numbers of its jobs, one a repeat; None for the configuration of
            each model that has won.
        C: Inverse of the strength of stacking's penalty.
        clip: How far from 0 and 1 stacking holds a probability.
    """

    method: Literal["average", "stacking", "best_of"] = "average"
    sweep: str = pointers.LAST
    members: dict[str, list[list[int]]] | None = None
    C: float = 1.0
    clip: float = 0.001


@dataclass(frozen=True, eq=False)
class Member:
    """A model of the sweep under one calibration.

    Attributes:
        model: Its type.
        jobs: The launch records of its repeats, each with its folder.
        scored: Those of the jobs that scored them on the holdout; none where that is not asked for.
    """

    model: str
    jobs: tuple[Record, ...]
    scored: tuple[Record, ...] = ()


@dataclass(frozen=True, eq=False)
class Members:
    """All that an ensemble is made of.

    Attributes:
        sweep: Id of the sweep that has them.
        own: Whether that is the sweep whose job asks.
        decides: What it chooses by.
        by_calibration: The members under each calibration, in the order in which models come up in the sweep.
    """

    sweep: str
    own: bool
    decides: Rule
    by_calibration: Mapping[str, tuple[Member, ...]]

    def __iter__(self) -> Iterator[Member]:
        for of_calibration in self.by_calibration.values():
            yield from of_calibration

    @property
    def made_from(self) -> dict[str, Any]:
        """What an ensemble's fingerprint has in place of where its members lie: theirs, and by what it chooses."""

        def prints(records: Sequence[Record]) -> list[str | None]:
            return [(one.get("identity") or {}).get("fingerprint") for one in records]

        return {
            "decides": [(one.metric, one.direction) for one in self.decides.objectives],
            "members": {
                method: [[prints(one.jobs), prints(one.scored)] for one in members]
                for method, members in self.by_calibration.items()
            },
        }

    def tags(self, method: str) -> dict[str, str]:
        """What a run says of them, without `sweeproute.`: overrides without what tells repeats apart."""
        told = {
            calibration: [
                {
                    "model": one.model,
                    "jobs": [record["job"] for record in one.jobs],
                    "overrides": list(split(one.jobs[0]["overrides"], self.decides.repeats)[0]),
                }
                for one in members
            ]
            for calibration, members in self.by_calibration.items()
        }
        return {"ensemble": method, "members_of": self.sweep, "members": json.dumps(told)}


def told(tags: Sequence[Mapping[str, str]], titles: Callable[[str], str], *, begins: bool = True) -> list[str]:
    """What is to be said of the ensembles among some runs, below a table that has them.

    Args:
        tags: Those of each run.
        titles: From the type of a model, or a method's name, to what it is called.
        begins: Whether the table has the first of all tested seasons, as that of a holdout has not.

    Returns:
        Sentences; none where no run is an ensemble.
    """
    found: dict[str, dict[str, None]] = {}
    for one in tags:
        if METHOD_TAG in one:
            members = [member["model"] for of in json.loads(one.get(MEMBERS_TAG) or "{}").values() for member in of]
            found.setdefault(one[METHOD_TAG], {}).update(dict.fromkeys(members))
    if not found:
        return []
    sets = list(dict.fromkeys(tuple(members) for members in found.values()))
    of = " or of ".join(_enumerated([titles(member) for member in members]) for members in sets)
    how = "; ".join(f"{titles(f'{PREFIX}{method}')}: {_HOW[method]}" for method in ENSEMBLES if method in found)
    last = " The first of all tested seasons has the average, as nothing is before it."
    last = last if begins and list(found) != ["average"] else ""
    return [
        f"Ensembles are of {of}, each as it won under the same calibration on the selection seasons, which flatters "
        f"them there. {how}.{last}"
    ]


def is_one(cfg: DictConfig) -> bool:
    """Whether a trial's model is an ensemble."""
    return str(cfg.model.params.get("_target_")) == TARGET


def check_data(found: Members, data_hash: str) -> None:
    """Refuse members that were made from other data.

    Args:
        found: The members.
        data_hash: Hash of the data that the ensemble is judged on.

    Raises:
        EnsembleError: In a sentence.
    """
    for member in found:
        for job in (*member.jobs, *member.scored):
            made_from = str((job.get("identity") or {}).get("data_hash"))
            if made_from != data_hash:
                raise EnsembleError(
                    f"{member.model}, job {job['job']} of sweep {job['sweep']}, was made from other data "
                    f"({made_from[:12]}) than this ensemble ({data_hash[:12]}); {again(job)}"
                )


def chosen(
    finished: Sequence[Record], decides: Rule, methods: Sequence[str]
) -> tuple[dict[str, list[list[Record]]], list[str]]:
    """Choose the members of an ensemble: of each model the configuration that won under each calibration.

    Args:
        finished: The launch records of the trials of a sweep that have finished.
        decides: What it chooses by.
        methods: The calibrations that each of them has, its own first.

    Returns:
        By calibration the jobs of each member, and the types of models that are left out since they give no
        probability, but stakes alone: these have no Brier score.
    """
    found: dict[str, list[list[Record]]] = {method: [] for method in methods}
    left: dict[str, None] = {}
    for model, of_model in by_model(finished).items():
        if model.startswith(PREFIX):
            continue
        for method, positions in winners(of_model, decides, methods).items():
            brier = named("brier", method, methods)
            jobs = [of_model[position] for position in positions]
            if jobs and all(finite(returned_metrics(one).get(brier, float("nan"))) for one in jobs):
                found[method].append(jobs)
            else:
                left[model] = None
    return found, list(left)


def too_few(sweep: str, models: Sequence[str]) -> str:
    """The sentence for a sweep of one model, or of none, that gives probabilities."""
    has = f"{models[0]} alone" if models else "none"
    return (
        f"An ensemble takes two models or more that give probabilities, and sweep {sweep} has {has}; sweep several, as "
        "in model=glm,xgboost."
    )


def _enumerated(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), *names[-1:]] if len(names) > 1 else names)


def again(member: Record) -> str:
    """How to judge an ensemble as its members were judged."""
    words = [word for word in member["overrides"] if word.lstrip("+").partition("=")[0].split(".")[0] in _TOLD]
    return f"give the words of that sweep again: {' '.join(words)}" if words else "leave that out, as that sweep did."
