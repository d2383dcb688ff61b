"""Finds the run that is to be promoted by what a person calls it."""

import re
from typing import TYPE_CHECKING

from sweeproute import pointers
from sweeproute.promotion.errors import PromotionError
from sweeproute.runs_api import ApiRuns
from sweeproute.runs_best import Front, chosen
from sweeproute.runs_query import Question
from sweeproute.runs_where import RegistryError, locate, locate_of_any
from sweeproute.store import masked

if TYPE_CHECKING:
    from mlflow.entities import Run

# Characters of a run's id by which it may be named.
_ENOUGH = 6
_ANYTHING = Question(metric="", maximize=True)


def named(word: str, uri: str | None) -> tuple[ApiRuns, "Run"]:
    """Find a run.

    Args:
        word: A run's id or the beginning of one, or a sweep's id, its name or `last`: then what the sweep chose, of
            several metrics the knee of their front. Where it was chosen by the metric of a further calibration, as in
            platt/brier, the run of that calibration.
        uri: The tracking store; that of the sweep, else MLFLOW_TRACKING_URI, else where the newest sweep's runs went,
            when None.

    Returns:
        What reads the store, and the run.

    Raises:
        PromotionError: There is no such run, or more than one.
        sweeproute.runs_where.RegistryError: No such store, or the sweep has no run that could win.
        sweeproute.pointers.NoSuchSweepError: No such sweep.
    """
    here = pointers.pointers()
    sweep = word == pointers.LAST or word in {name for one in here for name in (one.id, one.name)}
    if not sweep and re.fullmatch("[0-9a-f]{1,32}", word):
        runs = ApiRuns(locate_of_any(uri))
        if found := _begins(runs, word):
            return runs, found
    runs = ApiRuns(locate(word, uri)[1])
    try:
        return runs, _chosen(runs, word)
    except pointers.NoSuchSweepError as error:
        if word == pointers.LAST:
            raise
        raise PromotionError(f"There is no run {word!r} in {masked(runs.uri)}, and no sweep. {error}") from None


def _begins(runs: ApiRuns, word: str) -> "Run | None":
    """The run whose id begins so; None where there is none."""
    found = list(runs.search(_ANYTHING, [f"attributes.run_id LIKE '{word}%'"]))
    if found and len(word) < _ENOUGH:
        raise PromotionError(
            f"{word!r} is too short to name a run; give {_ENOUGH} characters of its id or more, as in "
            f"{found[0].info.run_id[: 2 * _ENOUGH]}."
        )
    if len(found) > 1:
        several = ", ".join(f"{run.info.run_id} ({run.info.run_name})" for run in found[:5])
        raise PromotionError(f"{len(found)} runs begin with {word!r}: {several}; give more of the id.")
    return found[0] if found else None


def _chosen(runs: ApiRuns, sweep: str) -> "Run":
    """The run that a sweep chose."""
    choice = chosen(sweep, uri=runs.uri)
    if isinstance(choice, Front):
        run, metric = choice.front[choice.knee], choice.metrics[0]
    else:
        run, metric = choice, choice.metric
    method = metric.rpartition("/")[0]
    if not method:
        return runs.client.get_run(run.run_id)
    where = [f"tags.`mlflow.parentRunId` = '{run.run_id}'", f"tags.`sweeproute.calibration` = '{method}'"]
    below = list(runs.search(_ANYTHING, where))
    if not below:
        raise RegistryError(
            f"Sweep {run.sweep} chose by {metric}, and run {run.run_id} has no run of that calibration below it; name "
            "the run itself to promote it with its own."
        )
    return below[0]
