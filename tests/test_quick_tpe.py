"""What reads a study's numbers at once changes no proposal of tpe, and is not believed where it would."""

import numpy as np
import optuna
import pytest
from optuna.samplers import TPESampler

from hydra_plugins.sweeproute._quick_tpe import quicker


def objective(trial: optuna.Trial) -> float:
    """Numbers of each kind; one is there for some trials only."""
    x = trial.suggest_float("x", -1.0, 1.0)
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    depth = trial.suggest_int("depth", 1, 9, step=2)
    rows = trial.suggest_float("rows", 0.5, 1.0, step=0.125)
    kind = trial.suggest_categorical("kind", ["tree", "dart", None])
    leaves = trial.suggest_int("leaves", 2, 64, log=True) if depth > 3 else 2
    return x * x + np.log(rate) ** 2 / 50 + abs(depth - 5) + rows + leaves / 40 + (kind == "dart")


def points(made: type[TPESampler], **options) -> list[dict]:
    """Of 40 trials, three of which run beside each other: liars are among what tpe reads."""
    # Made anew for each trial, as a search does it.
    study = optuna.create_study(sampler=made(seed=0, **options))
    running = []
    for seed in range(40):
        study.sampler = made(seed=seed, **options)
        trial = study.ask()
        running.append((trial, objective(trial)))
        if len(running) == 3:
            first, value = running.pop(0)
            study.tell(first, value)
    return [trial.params for trial in study.trials]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("options", [{"multivariate": True}, {"multivariate": True, "group": True}, {}])
def test_every_proposal_is_bitwise_that_of_optuna(options):
    options |= {"constant_liar": True, "n_startup_trials": 5}
    assert repr(points(quicker(TPESampler), **options)) == repr(points(TPESampler, **options))


def asks_itself(monkeypatch: pytest.MonkeyPatch, change) -> list[int]:
    """How often Optuna's own step is taken, given what it answers is changed."""
    taken, theirs = [], TPESampler._get_internal_repr

    def counted(self, trials, *more):
        taken.append(len(trials))
        return change(theirs(self, trials, *more))

    monkeypatch.setattr(TPESampler, "_get_internal_repr", counted)
    return taken


def test_optunas_own_step_is_taken_once_and_no_more(monkeypatch):
    taken = asks_itself(monkeypatch, lambda numbers: numbers)
    points(quicker(TPESampler), multivariate=True, n_startup_trials=5)
    assert len(taken) == 1


def test_where_optuna_means_something_else_its_own_way_is_gone(monkeypatch):
    taken = asks_itself(monkeypatch, lambda numbers: {key: value * 0.5 for key, value in numbers.items()})
    found = points(quicker(TPESampler), multivariate=True, n_startup_trials=5)
    of_ours = len(taken)
    assert found == points(TPESampler, multivariate=True, n_startup_trials=5)
    assert len(taken) == 2 * of_ours > 20
