"""Tests of permutation importances: what a model uses counts, what it ignores does not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import synthetic_games
from sweeproute import importance
from sweeproute.betting import BettingRule
from sweeproute.checkpoint import Checkpoint
from sweeproute.data.dataset import Dataset
from sweeproute.estimators import Games
from sweeproute.evaluation import evaluate
from sweeproute.validation import Fold, walk_forward

N, NAMES = 400, ["strong", "weak", "ignored"]
SHUFFLES = importance.Shuffles(repeats=20, seed=3)


def made(seed: int = 0) -> tuple[Games, np.ndarray, LogisticRegression]:
    """A model of three features of which the last has no weight, and the games that it is asked about."""
    chance = np.random.default_rng(seed)
    features = chance.normal(size=(N, 3))
    outcome = (chance.random(N) < 1 / (1 + np.exp(-(1.5 * features[:, 0] + 0.5 * features[:, 1])))).astype(np.int8)
    model = LogisticRegression().fit(features, outcome)
    model.coef_[0, 2] = 0.0
    return Games(features), outcome, model


def says(model: LogisticRegression):
    return lambda games: model.predict_proba(games.features)[:, 1]


def by_feature(found: pd.DataFrame) -> pd.Series:
    return found.set_index("feature")["increase"]


def test_importances_are_those_of_scikit_learn_within_the_noise_of_shuffling():
    games, outcome, model = made()
    found = importance.permuted(says(model), games, outcome, NAMES, 2020, importance.Shuffles(200, 1))
    peer = permutation_importance(
        model, games.features, outcome, scoring="neg_brier_score", n_repeats=200, random_state=0
    )
    error = 4 * (peer.importances_std + found["deviation"].to_numpy()) / np.sqrt(200)
    assert (np.abs(found["increase"].to_numpy() - peer.importances_mean) <= error).all()
    increase = by_feature(found)
    assert increase["strong"] > 3 * increase["weak"] > 0
    assert increase["ignored"] == 0.0
    assert list(found) == list(importance.COLUMNS)
    assert set(found["season"]) == {2020}


def test_the_same_seed_gives_the_same_and_a_season_does_not_depend_on_others():
    games, outcome, model = made()
    one, two = (importance.permuted(says(model), games, outcome, NAMES, 2020, SHUFFLES) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    other = importance.permuted(says(model), games, outcome, NAMES, 2021, SHUFFLES)
    assert by_feature(other)["strong"] != by_feature(one)["strong"]


def test_a_model_is_asked_in_parts_and_says_the_same(monkeypatch):
    games, outcome, model = made()
    asked = []

    def counted(told: Games) -> np.ndarray:
        asked.append(len(told))
        return says(model)(told)

    whole = importance.permuted(counted, games, outcome, NAMES, 2020, SHUFFLES)
    assert asked == [N, 3 * SHUFFLES.repeats * N]
    asked.clear()
    monkeypatch.setattr(importance, "_AT_ONCE", 1)
    parts = importance.permuted(counted, games, outcome, NAMES, 2020, SHUFFLES)
    assert asked == [N, *[SHUFFLES.repeats * N] * 3]
    pd.testing.assert_frame_equal(whole, parts)


def test_teams_are_shuffled_as_pairs_where_the_model_is_told_of_them():
    games, _, _ = made()
    teams = np.random.default_rng(1).integers(0, 4, (N, 2))
    pairs = {tuple(pair) for pair in teams.tolist()}

    def leans_on_teams(told: Games) -> np.ndarray:
        assert {tuple(pair) for pair in told.teams.tolist()} <= pairs
        return np.where(told.teams[:, 0] > told.teams[:, 1], 0.9, 0.1)

    asked = Games(games.features, teams, tuple("abcd"))
    own = (teams[:, 0] > teams[:, 1]).astype(np.int8)
    found = by_feature(importance.permuted(leans_on_teams, asked, own, NAMES, 2020, SHUFFLES))
    assert list(found.index) == [*NAMES, importance.TEAMS]
    assert found[importance.TEAMS] > 0.2
    assert (found[NAMES] == 0).all()


def folds_of(dataset: Dataset) -> list[Fold]:
    return walk_forward(
        dataset.season,
        dataset.kickoff,
        window="expanding",
        window_seasons=None,
        first_test_season=2005,
        gap_seasons=0,
        calibration_seasons=0,
        selection_seasons=(2005, 2006),
    )


def model():
    return make_pipeline(SimpleImputer(keep_empty_features=True), LogisticRegression())


def cut_short(folder: Path, dataset: Dataset, shuffles: importance.Shuffles | None) -> Checkpoint:
    """What an attempt leaves that ended after its first fold."""

    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    first = Checkpoint.open(folder, "f", "cpu", 1e-9)
    with pytest.raises(Stop):
        evaluate(model, dataset, folds_of(dataset), BettingRule(), stop, first, shuffles=shuffles)
    again = Checkpoint.open(folder, "f", "cpu", 1e-9)
    assert list(again.finished) == [2005]
    return again


def test_a_trial_that_is_gone_on_with_has_those_of_an_uninterrupted_one_bitwise(tmp_path):
    dataset = synthetic_games.games(seasons=(2003, 2006), per_season=60, n_features=3)
    whole = evaluate(model, dataset, folds_of(dataset), BettingRule(), shuffles=SHUFFLES)
    assert sorted(set(whole.importances["season"])) == [2005, 2006]
    again = cut_short(tmp_path, dataset, SHUFFLES)
    found = evaluate(model, dataset, folds_of(dataset), BettingRule(), checkpoint=again, shuffles=SHUFFLES)
    pd.testing.assert_frame_equal(found.importances, whole.importances, check_exact=True)
    assert found == whole


@pytest.mark.parametrize("before", [None, importance.Shuffles(5, SHUFFLES.seed), importance.Shuffles(20, 4)], ids=str)
def test_what_a_former_attempt_found_otherwise_leaves_none_rather_than_those_of_some_seasons(tmp_path, before):
    dataset = synthetic_games.games(seasons=(2003, 2006), per_season=60, n_features=3)
    again = cut_short(tmp_path, dataset, before)
    found = evaluate(model, dataset, folds_of(dataset), BettingRule(), checkpoint=again, shuffles=SHUFFLES)
    assert found.importances is None
    assert found == evaluate(model, dataset, folds_of(dataset), BettingRule())
