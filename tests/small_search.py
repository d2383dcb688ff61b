"""Does with the proposals of studies what a sweep does, in one process after the other."""

from collections.abc import Callable
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from hydra_plugins.sweeproute._dimension import Dimension
from hydra_plugins.sweeproute._durations import Durations
from hydra_plugins.sweeproute._objective import Objective
from hydra_plugins.sweeproute._policy import JobClass
from hydra_plugins.sweeproute._proposals import Known, Proposals
from hydra_plugins.sweeproute._pruners import pruner
from hydra_plugins.sweeproute._samplers import sampler
from hydra_plugins.sweeproute._share import Share
from hydra_plugins.sweeproute._space import Space
from hydra_plugins.sweeproute._study import Study
from hydra_plugins.sweeproute._study_log import open_storage

X = Dimension("x", low=0.0, high=1.0)
TWO = Dimension("y", choices=("a", "b"))
SEEDS = Dimension("seed", choices=("1", "2", "3"))
MAXIMUM = Objective(("score",), ("maximize",))


def space(*dimensions: Dimension, name: str = "", repeats: tuple[Dimension, ...] = ()) -> Space:
    fixed = ((name.partition("=")[0], name),) if name else ()
    order = (*(key for key, _ in fixed), *(one.key for one in dimensions), *(one.key for one in repeats))
    return Space(name, order, fixed, dimensions, repeats=repeats)


class Ended(JobReturn):
    """A job's return, with its launch record as the routed launcher gives it."""

    def __init__(self, value: object, error: dict[str, str] | None = None) -> None:
        super().__init__(status=JobStatus.FAILED if error else JobStatus.COMPLETED)
        self._return_value = RuntimeError(error["message"]) if error else value
        self.launch = {"error": error}


class Searched:
    """What a sweep does with its proposals, in one process after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(
        self,
        *spaces: Space,
        budget: int | None = 10,
        known: dict[tuple[str, ...], Known] | None = None,
        over: Callable[[], bool] = lambda: False,
        objective: Objective = MAXIMUM,
        name: str = "tpe",
        prunes: str = "none",
        ask_ahead: int | None = None,
    ) -> Proposals:
        storage = self.storage = open_storage(self.folder / "study.log")
        self.shares = []
        for one in spaces:
            of_space = sampler(name, {}, one)
            study = Study.open(
                storage,
                one.name or "search",
                one,
                of_space,
                pruner(prunes, {}),
                objective.directions,
                seed=7,
            )
            pairs = pruner(prunes, {}).pairs
            self.shares.append(Share(study, one, budget, pruner=prunes, pairs=pairs, slow=of_space.slow))
        first = max((job.number for job in (known or {}).values()), default=-1) + 1
        points = Proposals(self.shares, objective, known or {}, first, over, ask_ahead)
        points.restore()
        points.open(50.0, Durations(), lambda overrides: overrides[0] if spaces[0].name else "", class_of)
        return points


def class_of(_: int, overrides: tuple[str, ...]) -> JobClass:
    model = dict(word.split("=") for word in overrides).get("model", "")
    return JobClass(fields=(("model_type", model),))


def values_of(overrides: tuple[str, ...]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in overrides)


def score(overrides: tuple[str, ...]) -> float:
    return float(values_of(overrides).get("x", 0.0))


def finish(points: Proposals, number: int) -> None:
    points.told(number, Ended({"score": score(points.overrides[number])}))
    points.prepare()


def take(points: Proposals) -> int:
    return points.take(next(iter(points.waiting()))).num


def work_through(points: Proposals) -> list[int]:
    done = []
    while not points.closed() or points.waiting():
        done.append(take(points))
        finish(points, done[-1])
    return done
