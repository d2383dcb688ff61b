"""Tests of taking a model through the folds."""

import math
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from sweeproute import scores, selection
from sweeproute.betting import BettingRule
from sweeproute.checkpoint import Checkpoint
from sweeproute.data.dataset import Dataset
from sweeproute.evaluation import EvaluationError, Report, evaluate
from sweeproute.measures import metrics_of
from sweeproute.validation import Fold, walk_forward
from synthetic_games import games

DATASET = games(missing=False)
RULE = BettingRule()


def folds(dataset: Dataset = DATASET, **changes: Any) -> list[Fold]:
    settings: dict[str, Any] = {
        "window": "expanding",
        "window_seasons": None,
        "first_test_season": 2005,
        "gap_seasons": 0,
        "calibration_seasons": 0,
        "selection_seasons": [2005, 2008],
    }
    return walk_forward(dataset.season, dataset.kickoff, **(settings | changes))


def report(dataset: Dataset = DATASET, **changes: Any) -> Report:
    return evaluate(LogisticRegression, dataset, folds(dataset, **changes), RULE)


class Spy:
    """Remembers what it was shown; says 0.5."""

    seen: list[np.ndarray]

    def fit(self, features: np.ndarray, outcome: np.ndarray) -> "Spy":
        self.seen = [features]
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        self.seen.append(features)
        return np.full((len(features), 2), 0.5)


def test_predictions_have_one_row_per_tested_game_and_the_agreed_columns() -> None:
    table = report().predictions
    assert list(table) == [
        *("game_id", "season", "week", "kickoff", "outcome", "probability"),
        *("odds_home", "odds_away", "bet", "stake", "profit", "elo"),
    ]
    tested = np.isin(DATASET.season, [2005, 2006, 2007, 2008])
    assert table["game_id"].tolist() == DATASET.game_id[tested].tolist()
    assert (table["outcome"].to_numpy() == DATASET.outcome[tested]).all()
    assert table["kickoff"].to_numpy().tolist() == DATASET.kickoff[tested].tolist()
    assert table["week"].tolist() == DATASET.week[tested].tolist()
    assert table["elo"].isna().all()  # a data set without ratings


def test_a_game_without_a_bet_has_missing_bet_stake_and_profit() -> None:
    table = report().predictions
    without = table["bet"].isna()
    assert 0 < without.sum() < len(table)
    assert (table["stake"].isna() == without).all()
    assert (table["profit"].isna() == without).all()
    assert set(table["bet"].dropna()) == {"home", "away"}


def test_predictions_survive_parquet(tmp_path) -> None:
    table = report().predictions
    table.to_parquet(tmp_path / "predictions.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "predictions.parquet"), table)


def test_metrics_are_pooled_over_games_and_given_per_season() -> None:
    result = report()
    table = result.predictions
    outcome, probability = table["outcome"].to_numpy(), table["probability"].to_numpy()
    assert set(result.metrics) == set(result.by_season[2005]) == selection.OURS
    assert result.metrics["auc"] == scores.auc(outcome, probability)
    assert repr(metrics_of(table, RULE)) == repr(result.metrics)
    assert result.metrics["roi"] == pytest.approx(table["profit"].sum() / table["stake"].sum())
    assert result.metrics["n_bets"] == table["bet"].notna().sum()
    assert result.metrics["n_games"] == len(table)
    assert list(result.by_season) == [2005, 2006, 2007, 2008]
    of_2006 = table[table["season"] == 2006]
    assert result.by_season[2006]["brier"] == scores.brier(
        of_2006["outcome"].to_numpy(), of_2006["probability"].to_numpy()
    )
    assert sum(season["n_bets"] for season in result.by_season.values()) == result.metrics["n_bets"]


def afternoons() -> Dataset:
    """The same games, three a day: two begin together, the third while they run."""
    day, place = DATASET.kickoff.astype("datetime64[D]"), np.arange(len(DATASET.season)) % 3
    hour = np.array([13, 13, 16])[place].astype("timedelta64[h]")
    return replace(DATASET, kickoff=(day - 2 * place).astype("datetime64[ns]") + hour)


def by_hand(table: pd.DataFrame, rule: BettingRule) -> dict[str, float]:
    """What betting on some games brings, one game after the other."""
    flat, sized, staked = [1.0], [1.0], Counter[str]()
    won: dict[str, float] = {"flat": 0.0, "rule": 0.0, "kelly": 0.0}
    for _, day in table.groupby(table["kickoff"].dt.date):
        stakes: dict[str, float] = {}
        sides: dict[str, tuple[float, bool]] = {}
        for game in day.dropna(subset=["odds_home"]).itertuples():
            home = game.probability * game.odds_home >= (1 - game.probability) * game.odds_away
            chance, odds = (game.probability, game.odds_home) if home else (1 - game.probability, game.odds_away)
            sides[game.game_id] = odds, bool(game.outcome) == home
            staked["flat"] += 1
            won["flat"] += odds - 1 if bool(game.outcome) == home else -1
            if chance * odds - 1 >= rule.min_edge:
                stakes[game.game_id] = rule.kelly_fraction * (chance - (1 - chance) / (odds - 1))
        most, morning = max(1.0, sum(stakes.values())), sized[-1]
        for _, together in day.groupby("kickoff"):
            flat.append(flat[-1])
            sized.append(sized[-1])
            for game in together["game_id"]:
                if game in stakes:
                    odds, right = sides[game]
                    profit = odds - 1 if right else -1
                    stake = morning * stakes[game] / most
                    staked["rule"] += 1
                    staked["kelly"] += stake
                    won["rule"] += profit
                    won["kelly"] += stake * profit
                    flat[-1] += rule.stake * profit
                    sized[-1] += stake * profit
    found = {"n_bets": staked["rule"]}
    for name, kind, path in (("", "rule", flat), ("_kelly", "kelly", sized), ("_flat", "flat", None)):
        found[f"roi{name}"] = won[kind] / staked[kind] if staked[kind] else math.nan
        if path is not None:
            falls = [1 - after / max(path[: place + 1]) for place, after in enumerate(path)]
            found[f"drawdown{name}"] = min(max(falls), 1.0) if staked[kind] else math.nan
            growth = math.log(path[-1]) if min(path) > 0 else -math.inf
            found[f"log_growth{name}"] = growth if staked[kind] else math.nan
    return found


@pytest.mark.parametrize(
    "rule",
    [BettingRule(), BettingRule(0.1, 0.02, 1.0), BettingRule(0.0, 0.9, 0.5), BettingRule(9.0)],
    ids=["usual", "full Kelly", "ruin", "no bet"],
)
def test_what_bets_bring_is_what_one_game_after_the_other_would(rule: BettingRule) -> None:
    result = evaluate(LogisticRegression, afternoons(), folds(afternoons()), rule)
    table = result.predictions
    for metrics, tested in ((result.metrics, table), (result.by_season[2006], table[table["season"] == 2006])):
        expected = by_hand(tested, rule)
        assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert (result.metrics["log_growth"] == -math.inf) == (rule.stake == 0.9)
    assert math.isnan(result.metrics["roi_kelly"]) == (rule.min_edge == 9.0)
    assert math.isfinite(result.metrics["roi_flat"])


def test_what_pandas_does_is_done_once_however_many_seasons_are_tested() -> None:
    def calls(last: int) -> int:
        counted: Counter[bool] = Counter()

        def count(frame: Any, event: str, _: Any) -> None:
            counted[event == "call" and frame.f_globals.get("__name__", "").startswith("pandas.")] += 1

        cut = folds(selection_seasons=[2005, last])
        sys.setprofile(count)
        try:
            evaluate(Spy, DATASET, cut, RULE, lambda *_: None)
        finally:
            sys.setprofile(None)
        return counted[True]

    calls(2005)  # imports what is imported late
    assert calls(2008) == calls(2005) > 0


def test_a_data_set_without_odds_has_no_return() -> None:
    result = report(replace(DATASET, odds=None, week=None))
    of_bets = {name for name in result.metrics if name.startswith(("roi", "drawdown", "log_growth"))}
    assert len(of_bets) == 7
    for metrics in (result.metrics, *result.by_season.values()):
        assert all(math.isnan(metrics[name]) for name in of_bets)
    assert result.metrics["n_bets"] == 0
    assert result.predictions["odds_home"].isna().all()
    assert result.predictions["week"].isna().all()


def test_a_model_that_knows_something_scores_better_than_a_coin() -> None:
    assert report().metrics["auc"] > 0.65


def test_each_fold_is_reported_when_it_is_done() -> None:
    told: list[tuple[int, dict[str, float], dict[str, float]]] = []
    result = evaluate(LogisticRegression, DATASET, folds(), RULE, lambda *said: told.append(said))
    assert [(season, metrics) for season, metrics, _ in told] == list(result.by_season.items())
    assert all(set(so_far) == selection.OURS for _, _, so_far in told)
    for number, (_, _, so_far) in enumerate(told, start=1):
        assert so_far == evaluate(LogisticRegression, DATASET, folds()[:number], RULE).metrics


def test_what_on_fold_raises_ends_the_evaluation() -> None:
    class Stop(Exception):
        pass

    built = []

    def build() -> LogisticRegression:
        built.append(1)
        return LogisticRegression()

    def stop(season: int, *_: dict[str, float]) -> None:
        if season == 2006:
            raise Stop

    with pytest.raises(Stop):
        evaluate(build, DATASET, folds(), RULE, stop)
    assert len(built) == 2


def test_a_model_sees_the_training_and_test_games_of_its_fold_and_no_other() -> None:
    made: list[Spy] = []

    def build() -> Spy:
        made.append(Spy())
        return made[-1]

    cut = folds(calibration_seasons=1)
    evaluate(build, DATASET, cut, RULE)
    features = DATASET.features.to_numpy()
    for spy, fold in zip(made, cut, strict=True):
        assert (spy.seen[0] == features[fold.train]).all()
        assert (spy.seen[1] == features[fold.test]).all()


def test_evaluating_again_gives_an_equal_report() -> None:
    assert report() == report()
    assert report() != report(selection_seasons=[2005, 2007])


def test_one_bit_of_one_probability_makes_reports_differ() -> None:
    result = report()
    table = result.predictions.copy()
    table.loc[0, "probability"] = np.nextafter(table.loc[0, "probability"], 1)
    assert replace(result, predictions=table) != result


@pytest.mark.parametrize("changed", ["outcome", "features", "odds"])
def test_nothing_about_the_holdout_can_change_a_report(changed: str) -> None:
    held_out = DATASET.season > 2008
    assert held_out.any()
    if changed == "outcome":
        other = replace(DATASET, outcome=np.where(held_out, 1 - DATASET.outcome, DATASET.outcome).astype(np.int8))
    elif changed == "features":
        other = replace(DATASET, features=DATASET.features.mask(pd.Series(held_out), 9.0))
    else:
        other = replace(DATASET, odds=np.where(held_out[:, None], 1.5, DATASET.odds))
    assert other.hash != DATASET.hash
    assert report(other) == report()


def test_the_outcomes_of_tested_games_do_change_a_report() -> None:
    tested = DATASET.season == 2008
    other = replace(DATASET, outcome=np.where(tested, 1 - DATASET.outcome, DATASET.outcome).astype(np.int8))
    assert report(other) != report()


def test_times_are_measured_and_the_last_model_is_kept() -> None:
    result = report()
    assert result.fit_seconds > 0
    assert result.predict_seconds > 0
    last = folds()[-1]
    alone = LogisticRegression().fit(DATASET.features.to_numpy()[last.train], DATASET.outcome[last.train])
    assert (result.model.coef_ == alone.coef_).all()


def test_no_fold_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="no fold"):
        evaluate(LogisticRegression, DATASET, [], RULE)


def test_training_games_that_all_ended_the_same_way_are_named() -> None:
    other = replace(DATASET, outcome=np.ones_like(DATASET.outcome))
    with pytest.raises(EvaluationError, match="All 120 training games of season 2005 ended the same way"):
        report(other)


def test_answers_that_are_no_probabilities_are_named() -> None:
    class Loud(Spy):
        def predict_proba(self, features: np.ndarray) -> np.ndarray:
            return np.full((len(features), 2), 1.5)

    class Narrow(Spy):
        def predict_proba(self, features: np.ndarray) -> np.ndarray:
            return np.full(len(features), 0.5)

    with pytest.raises(EvaluationError, match=r"Loud gave 1\.5 as a probability in season 2005"):
        evaluate(Loud, DATASET, folds(), RULE)
    with pytest.raises(EvaluationError, match=r"Narrow answered season 2005 with an array of shape \(60,\)"):
        evaluate(Narrow, DATASET, folds(), RULE)


def kept(folder: Path) -> Checkpoint:
    """A checkpoint that is written at each fold's end."""
    return Checkpoint.open(folder, "f", "cpu", 1e-9)


@pytest.mark.parametrize("stopped", [2005, 2006, 2007, 2008])
def test_an_evaluation_that_was_stopped_goes_on_at_the_fold_that_was_not_finished(stopped: int, tmp_path: Path) -> None:
    built: list[LogisticRegression] = []

    def build() -> LogisticRegression:
        built.append(LogisticRegression())
        return built[-1]

    def stop(season: int, *_: dict[str, float]) -> None:
        if season == stopped:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(build, DATASET, folds(), RULE, stop, kept(tmp_path))
    built.clear()
    told: dict[int, dict[str, float]] = {}
    result = evaluate(
        build, DATASET, folds(), RULE, lambda season, metrics, _: told.update({season: metrics}), kept(tmp_path)
    )
    assert result == report()
    assert told == report().by_season
    # The last fold's model belongs to the report, so that fold is fitted in any case.
    assert len(built) == max(2008 - stopped, 1)
    assert (result.model.coef_ == report().model.coef_).all()


def test_time_that_former_attempts_spent_is_counted(tmp_path: Path) -> None:
    first = kept(tmp_path)
    evaluate(LogisticRegression, DATASET, folds(), RULE, checkpoint=first)
    spent = sum(fold.fit_seconds for fold in first.finished.values())
    assert len(first.finished) == 3
    assert evaluate(LogisticRegression, DATASET, folds(), RULE, checkpoint=kept(tmp_path)).fit_seconds > spent


def test_a_short_evaluation_writes_no_checkpoint(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(tmp_path, "f", "cpu", 30)
    assert evaluate(LogisticRegression, DATASET, folds(), RULE, checkpoint=checkpoint) == report()
    assert not any(tmp_path.iterdir())
