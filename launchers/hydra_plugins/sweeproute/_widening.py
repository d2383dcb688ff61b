"""Moves a study of Optuna into a wider form of its search space."""

from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

# What cmaes keeps in trials speaks of the ranges as they were: it begins anew, from all that was told.
_OF_CMAES = ("cma:", "sepcma:", "cmawm:", "x_for_tell")
_WHOLE = "whole"
# How the name of the copy ends that is made on the way.
WIDER = " (wider)"


def widen(storage: BaseStorage, study: optuna.Study, now: Mapping[str, BaseDistribution]) -> None:
    """Give each trial of a study the distributions of now.

    Optuna refuses a parameter whose choices changed, and models only trials of the same ranges together. The trials
    keep their numbers, values and states. A study cannot be renamed, so it is copied aside and back.

    Args:
        storage: Where it lies.
        study: The study; its object is of no use afterwards.
        now: The distribution of each parameter.
    """
    aside = _copy(storage, study, _aside(study.study_name), now)
    aside.set_user_attr(_WHOLE, True)
    finish(storage, study.study_name)


def finish(storage: BaseStorage, name: str) -> None:
    """Go on with what a crash has cut of `widen`, in a storage that does not write it at once.

    Args:
        storage: Where the study lies.
        name: Its name.
    """
    known = set(optuna.get_all_study_names(storage))
    if _aside(name) not in known:
        return
    aside = optuna.load_study(study_name=_aside(name), storage=storage)
    if aside.user_attrs.get(_WHOLE):
        if name in known:
            optuna.delete_study(study_name=name, storage=storage)
        _copy(storage, aside, name, {})
    optuna.delete_study(study_name=_aside(name), storage=storage)


def _aside(name: str) -> str:
    return f"{name}{WIDER}"


def _copy(storage: BaseStorage, study: optuna.Study, name: str, now: Mapping[str, BaseDistribution]) -> optuna.Study:
    copied = optuna.create_study(storage=storage, study_name=name, directions=study.directions)
    for key, value in study.user_attrs.items():
        if key != _WHOLE:
            copied.set_user_attr(key, value)
    for one in study.get_trials(deepcopy=False):
        copied.add_trial(
            FrozenTrial(
                number=one.number,
                trial_id=-1,
                state=one.state,
                value=None,
                values=one.values,
                datetime_start=one.datetime_start,
                datetime_complete=one.datetime_complete,
                params=one.params,
                distributions={**one.distributions, **{key: now[key] for key in one.params if key in now}},
                user_attrs=one.user_attrs,
                system_attrs={key: value for key, value in one.system_attrs.items() if not key.startswith(_OF_CMAES)},
                intermediate_values=one.intermediate_values,
            )
        )
    return copied
