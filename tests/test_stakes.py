"""A model that gives stakes, through the folds: its bets are scored as any other's, and it has no other score."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_trial import composed
from sweeproute import trial_checks
from sweeproute.betting import BettingRule, roi, settle
from sweeproute.checkpoint import Checkpoint
from sweeproute.config import ConfigError
from sweeproute.data.dataset import Dataset
from sweeproute.estimators import Games, Priced
from sweeproute.evaluation import EvaluationError, Report, evaluate
from sweeproute.measures import metrics_of
from sweeproute.selection import OF_STAKES, OURS
from sweeproute.stakes import calibrations
from sweeproute.validation import Fold, walk_forward
from synthetic_games import games

DATASET = games()
RULE = BettingRule(stake=0.02)


class Follower:
    """Backs the side that the first feature favours, with two units where it does so clearly."""

    def __init__(self, seen: list[Any] | None = None) -> None:
        self._seen = [] if seen is None else seen

    def fit_bets(self, games: Priced, outcome: np.ndarray, progress: Any) -> None:
        self._seen.append((games, outcome))

    def stakes(self, games: Games, odds: np.ndarray) -> np.ndarray:
        self._seen.append((games, odds))
        first = np.nan_to_num(games.features[:, 0])
        return np.sign(first) * np.where(np.abs(first) > 1, 2, 1)


class Answers(Follower):
    """Stakes what it is told to."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    def stakes(self, games: Games, odds: np.ndarray) -> np.ndarray:
        return self._answer(len(games))


def folds(dataset: Dataset = DATASET) -> list[Fold]:
    return walk_forward(
        dataset.season,
        dataset.kickoff,
        window="expanding",
        window_seasons=None,
        first_test_season=2006,
        gap_seasons=0,
        calibration_seasons=0,
        selection_seasons=[2006, 2008],
    )


def report(dataset: Dataset = DATASET, build: Any = Follower, **more: Any) -> Report:
    return evaluate(build, dataset, folds(dataset), RULE, **more)


def test_its_bets_stand_in_the_predictions_and_it_has_no_probability() -> None:
    table = report().predictions
    assert table["probability"].isna().all()
    first = np.nan_to_num(DATASET.features.to_numpy()[np.isin(DATASET.season, [2006, 2007, 2008]), 0])
    priced = table[["odds_home", "odds_away"]].notna().all(axis=1)
    side = np.where(first > 0, "home", "away")
    bets = priced & (first != 0)
    assert (table["bet"].notna() == bets).all()
    assert (table["bet"][bets] == side[bets]).all()
    np.testing.assert_allclose(table["stake"][bets], np.where(np.abs(first) > 1, 0.04, 0.02)[bets])
    won = np.where(first > 0, table["outcome"] == 1, table["outcome"] == 0)
    price = np.where(first > 0, table["odds_home"], table["odds_away"])
    np.testing.assert_allclose(table["profit"][bets], (table["stake"] * np.where(won, price - 1, -1))[bets])


def test_its_return_bets_and_bankroll_are_those_of_its_own_stakes_and_all_else_is_missing() -> None:
    found = report()
    table = found.predictions
    placed = table["stake"].notna()
    assert found.metrics["roi"] == pytest.approx(table["profit"].sum() / table["stake"].sum())
    assert found.metrics["n_bets"] == placed.sum()
    assert found.metrics["n_games"] == len(table)
    path = 1 + table.groupby("kickoff")["profit"].sum().cumsum().to_numpy()
    assert found.metrics["log_growth"] == pytest.approx(math.log(path[-1]))
    peak = np.maximum.accumulate(np.r_[1.0, path])[1:]
    assert found.metrics["drawdown"] == pytest.approx((1 - path / peak).max())
    missing = {name for name, value in found.metrics.items() if math.isnan(value)}
    assert missing == set(found.metrics) - set(OF_STAKES)
    assert set(found.metrics) == OURS
    for season, of_season in found.by_season.items():
        own = table[table["season"] == season]
        assert of_season["roi"] == pytest.approx(own["profit"].sum() / own["stake"].sum())


def test_predictions_alone_give_the_same_metrics() -> None:
    found = report()
    again = metrics_of(found.predictions, RULE)
    assert list(again) == list(found.metrics)
    np.testing.assert_allclose(list(again.values()), list(found.metrics.values()), rtol=1e-12)


def test_whoever_never_bets_has_no_return() -> None:
    found = report(build=lambda: Answers(np.zeros))
    assert found.metrics["n_bets"] == 0
    assert math.isnan(found.metrics["roi"])
    assert found.predictions["bet"].isna().all()


def test_it_learns_from_the_training_games_with_their_odds_and_sees_no_outcome_of_a_tested_one() -> None:
    seen: list[Any] = []
    report(build=lambda: Follower(seen))
    features = DATASET.features.to_numpy()
    for fold, (past, tested) in zip(folds(), zip(seen[::2], seen[1::2], strict=True), strict=True):
        priced, outcome = past
        np.testing.assert_array_equal(priced.games.features, features[fold.train])
        np.testing.assert_array_equal(priced.odds, DATASET.odds[fold.train])
        np.testing.assert_array_equal(priced.season, DATASET.season[fold.train])
        np.testing.assert_array_equal(outcome, DATASET.outcome[fold.train])
        asked, odds = tested
        np.testing.assert_array_equal(asked.features, features[fold.test])
        np.testing.assert_array_equal(odds, DATASET.odds[fold.test])


def test_a_fold_that_a_former_attempt_finished_is_taken_up_with_its_stakes(tmp_path: Path) -> None:
    def opened() -> Checkpoint:
        return Checkpoint.open(tmp_path, "f", "cpu", 1e-9)

    class Stopped(Exception):
        pass

    def stop(season: int, *_: Any) -> None:
        if season == 2007:
            raise Stopped

    with pytest.raises(Stopped):
        report(on_fold=stop, checkpoint=opened())
    again = opened()
    assert list(again.finished) == [2006, 2007]
    seen: list[Any] = []
    assert report(build=lambda: Follower(seen), checkpoint=again) == report()
    assert len(seen) == 2  # the fit and the stakes of the last season alone


@pytest.mark.parametrize(
    "answer", [lambda n: np.zeros(n - 1), lambda n: np.full(n, np.nan), lambda n: np.full(n, np.inf)], ids="snf"
)
def test_answers_that_are_no_stakes_are_named(answer: Any) -> None:
    with pytest.raises(EvaluationError, match="Answers answered season 2006 with stakes of shape"):
        report(build=lambda: Answers(answer))


def test_stakes_are_not_calibrated() -> None:
    with pytest.raises(EvaluationError, match="gives stakes, which no method calibrates; use the method none"):
        report(calibrations=("none", "platt"))


def test_a_missing_probability_is_no_bet_whatever_the_rule() -> None:
    odds, outcome = np.array([[2.0, 2.0], [3.0, 1.5]]), np.array([1, 0])
    for on_every_game in (False, True):
        bets = settle(np.array([np.nan, 0.9]), odds, outcome, RULE, on_every_game=on_every_game)
        assert bets.side.tolist() == [-1, 0]
        assert roi(bets.profit, bets.stake) == -1.0


# Configuration


@pytest.mark.parametrize("model", ["dqn", "ppo"])
@pytest.mark.parametrize(
    ("metric", "lacks"),
    [("auc", "has no probabilities"), (["roi", "brier"], "has no probabilities"), ("platt/roi", "is not calibrated")],
    ids=str,
)
def test_a_sweep_by_what_it_lacks_does_not_begin(model: str, metric: Any, lacks: str, tmp_path: Path) -> None:
    asked = metric if isinstance(metric, str) else metric[-1]
    sentence = rf"model.type=RL_{model.upper()} gives stakes and {lacks}, so that it has no {asked}; .*metric=roi"
    with composed(tmp_path, f"model={model}") as config, pytest.raises(ConfigError, match=sentence):
        trial_checks.admit(config, {"metric": metric})


@pytest.mark.parametrize("metric", ["roi", "log_growth", ["roi", "drawdown"], None], ids=str)
def test_a_sweep_by_what_it_has_begins(metric: Any, tmp_path: Path) -> None:
    with composed(tmp_path, "model=dqn") as config:
        trial_checks.admit(config, {"metric": metric})
    with composed(tmp_path, "model=glm") as config:
        trial_checks.admit(config, {"metric": "auc"})


def test_it_has_one_row_whatever_calibrations_are_asked_for(tmp_path: Path) -> None:
    words = ("calibration=all", "validation.calibration_seasons=1")
    for model, expected in (("ppo", ["none"]), ("glm", ["none", "platt", "isotonic"])):
        with composed(tmp_path, f"model={model}", *words) as config:
            assert calibrations(config) == expected


def test_what_it_cannot_learn_from_is_refused_before_anything_runs(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.touch()
    words = ["model=dqn", "data=csv", f"data.path={table}"]
    words += [f"data.{key}=x" for key in ("outcome", "season", "date")]
    with composed(tmp_path, *words) as config, pytest.raises(ConfigError, match="learns from odds, and data=csv names"):
        trial_checks.validate(config)
    with composed(tmp_path, *words, "data.odds_home=h", "data.odds_away=a") as config:
        trial_checks.validate(config)
    with (
        composed(tmp_path, "model.gives=advice") as config,
        pytest.raises(ConfigError, match="probabilities or stakes"),
    ):
        trial_checks.validate(config)
