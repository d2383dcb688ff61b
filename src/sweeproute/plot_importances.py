"""Asks Optuna how much of a metric's spread each parameter of a sweep explains."""

import random
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sweeproute.plot_trials import Trial, Trials

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# Fewer finished trials say more of chance than of the parameters. Its cost grows with the square of their number, and
# of a random part of this size the shares came out within 0.07 of those of all 300.
FEWEST, MOST = 10, 200
_TREES, _SEED = 32, 0


def why_not(trials: Trials, objective: int = 0) -> str | None:
    """Why there are no importances, in a few words; None where there can be some.

    Args:
        trials: The trials of a sweep, or a family of them.
        objective: Position of the objective.
    """
    finished = trials.finished
    if len(_common(trials, finished)) < 2:
        return "fewer than two parameters vary"
    if len(finished) < FEWEST:
        return f"it takes {FEWEST} finished trials"
    if len({trial.values[objective] for trial in finished}) == 1:
        return f"{trials.objectives[objective].metric} is the same in all"
    return None


def importances(trials: Trials, objective: int = 0) -> Mapping[str, float]:
    """The share of a metric's variance that each parameter explains, by a functional analysis of variance [1]_.

    Args:
        trials: The trials of a sweep, or a family of them, of which `why_not` says nothing.
        objective: Position of the objective.

    Returns:
        Label of a parameter to its share, the largest first; together they are 1. Parameters that only some of the
        trials have are left out.

    References:
        .. [1] Hutter, F., Hoos, H., and Leyton-Brown, K. (2014). An efficient approach for assessing hyperparameter
           importance. ICML 31, 754-762.
    """
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    finished = trials.finished
    if len(finished) > MOST:
        finished = random.Random(_SEED).sample(finished, MOST)
    labels = _common(trials, finished)
    distributions = _distributions(trials, finished, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(direction="maximize" if trials.objectives[objective].maximize else "minimize")
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={label: _param(trial.params[label], distributions[label]) for label in labels},
                    distributions=distributions,
                    value=trial.values[objective],
                )
                for trial in finished
            ]
        )
        return get_param_importances(
            study, evaluator=FanovaImportanceEvaluator(n_trees=_TREES, seed=_SEED), params=labels
        )


def _common(trials: Trials, some: list[Trial]) -> list[str]:
    """Parameters that all of some trials have, and that vary among them."""
    return [
        parameter.label
        for parameter in trials.parameters
        if all(parameter.label in trial.params for trial in some)
        and len({trial.params[parameter.label] for trial in some}) > 1
    ]


def _distributions(trials: Trials, finished: list[Trial], labels: list[str]) -> dict[str, "BaseDistribution"]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for parameter in trials.parameters:
        if parameter.label not in labels:
            continue
        if parameter.choices is not None:
            found[parameter.label] = CategoricalDistribution(parameter.choices)
            continue
        values = [float(trial.params[parameter.label]) for trial in finished]
        if parameter.whole:
            found[parameter.label] = IntDistribution(int(min(values)), int(max(values)), log=parameter.log)
        else:
            found[parameter.label] = FloatDistribution(min(values), max(values), log=parameter.log)
    return found


def _param(value: float | str, distribution: "BaseDistribution") -> float | int | str:
    return int(value) if type(distribution).__name__ == "IntDistribution" else value
