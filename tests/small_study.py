"""Opens studies of small spaces, and runs trials of them in a fixed order of results."""

import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna

from hydra_plugins.sweeproute._constraint import Constraint
from hydra_plugins.sweeproute._dimension import Dimension
from hydra_plugins.sweeproute._pruners import pruner
from hydra_plugins.sweeproute._samplers import sampler
from hydra_plugins.sweeproute._space import Space
from hydra_plugins.sweeproute._study import Proposal, Study
from hydra_plugins.sweeproute._study_log import open_storage

# Options with which a sampler leaves its first, random trials within a few.
EAGER: dict[str, dict[str, Any]] = {
    "random": {},
    "tpe": {"n_startup_trials": 3},
    "cmaes": {"popsize": 4},
    "qmc": {},
    "nsga": {"population_size": 4},
    "gp": {"n_startup_trials": 3},
}


def space_of(*dimensions: Dimension, constraints: Sequence[str] = ()) -> Space:
    """A space of these dimensions alone."""
    told = tuple(Constraint(text) for text in constraints)
    return Space("", tuple(one.key for one in dimensions), (), dimensions, told)


def continuous(key: str = "x", low: float = 0.0, high: float = 1.0, **more: Any) -> Dimension:
    return Dimension(key, low=low, high=high, **more)


def whole(key: str = "n", low: int = 1, high: int = 3, **more: Any) -> Dimension:
    return Dimension(key, low=low, high=high, whole=True, **more)


# Of each kind one, with a condition and a constraint, and narrow enough that points are proposed twice.
MIXED = space_of(
    Dimension("booster", choices=("tree", "dart")),
    whole("depth", 1, 4),
    continuous("share", 0.25, 1.0, step=0.25),
    continuous("rate", 1e-4, 1.0, log=True),
    continuous("drop", 0.0, 0.5, when=(("booster", ("dart",)),)),
    constraints=("depth * share <= 3",),
)


def opened(
    folder: Path,
    name: str = "random",
    space: Space = MIXED,
    options: dict[str, Any] | None = None,
    prune: str = "none",
    prune_options: dict[str, Any] | None = None,
    directions: Sequence[str] = ("minimize",),
    seed: int = 1,
    storage: str | None = None,
) -> Study:
    """A study, begun or gone on with."""
    return Study.open(
        open_storage(storage or folder / "study.log"),
        "search",
        space,
        sampler(name, EAGER.get(name, {}) if options is None else options, space, len(directions)),
        pruner(prune, prune_options or {}, len(directions)),
        directions,
        seed,
    )


def plain(folder: Path, storage: str | None = None) -> optuna.Study:
    """The same study as Optuna itself reads it."""
    journal = optuna.storages.journal.JournalFileBackend(str(folder / "study.log"))
    return optuna.load_study(study_name="search", storage=storage or optuna.storages.JournalStorage(journal))


def worth(proposal: Proposal) -> float:
    """A value that a point has, whatever its trial."""
    return sum(math.sin(7 * value + len(key)) for key, value in proposal.values.items() if isinstance(value, float))


def events(count: int, slots: int = 3, seed: int = 4) -> Iterator[tuple[str, int]]:
    """What happens in a search with a few slots: ("ask", n) and ("tell", n), of the n-th trial asked for."""
    order, running, asked = random.Random(seed), [], 0
    for _ in range(count):
        if len(running) < slots:
            running.append(asked)
            yield "ask", asked
            asked += 1
        else:
            yield "tell", running.pop(order.randrange(len(running)))


def happen(study: Study, script: Sequence[tuple[str, int]], asked: list[Proposal | None]) -> None:
    """Let events happen to a study; what it is asked for is added to a list."""
    for what, which in script:
        if what == "ask":
            asked.append(study.ask())
        elif (proposal := asked[which]) is not None:
            state = ("complete", "complete", "complete", "pruned", "failed")[which % 5]
            values = [worth(proposal)] if state == "complete" else None
            study.tell(proposal.trial, values, state)
