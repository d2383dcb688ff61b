"""Calibrations learn from the calibration games alone; one fit serves all, each as if it had been the only one."""

import doctest
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from xgboost import XGBClassifier

from small_trial import composed
from sweeproute import calibration, scores, trial_checks
from sweeproute.betting import BettingRule
from sweeproute.calibration import (
    AsItIs,
    CalibrationError,
    Isotonic,
    Platt,
    calibrate,
    check_methods,
    check_metrics,
    crosswise,
)
from sweeproute.checkpoint import Checkpoint
from sweeproute.data.dataset import Dataset
from sweeproute.evaluation import Prefixes, Report, evaluate
from sweeproute.validation import Fold, walk_forward
from synthetic_games import games

ALL = ("none", "platt", "isotonic")
DATASET = games(missing=False)
RULE = BettingRule()


def folds(dataset: Dataset = DATASET, seasons: Sequence[int] = (2006, 2008)) -> list[Fold]:
    return walk_forward(
        dataset.season,
        dataset.kickoff,
        window="expanding",
        window_seasons=None,
        first_test_season=2006,
        gap_seasons=0,
        calibration_seasons=1,
        selection_seasons=seasons,
    )


def report(dataset: Dataset = DATASET, methods: Sequence[str] = ALL, **more: Any) -> Report:
    return evaluate(LogisticRegression, dataset, folds(dataset), RULE, calibrations=methods, **more)


def drawn(n: int = 40_000, slope: float = 0.6, intercept: float = -0.2) -> tuple[np.ndarray, np.ndarray]:
    """What an overconfident model says of games, and how they ended."""
    generator = np.random.default_rng(0)
    says = 1 / (1 + np.exp(-generator.normal(0.3, 1.2, n)))
    true = Platt(slope, intercept)(says)
    return says, (generator.random(n) < true).astype(np.int8)


def test_the_examples_hold():
    assert doctest.testmod(calibration).failed == 0
    assert doctest.testmod(scores).failed == 0


def test_platt_finds_the_curve_that_the_outcomes_were_drawn_from():
    found = calibrate("platt", *drawn())
    assert isinstance(found, Platt)
    assert (found.slope, found.intercept) == pytest.approx((0.6, -0.2), abs=0.03)


def test_platts_curve_is_where_its_likelihood_is_highest():
    says, outcome = drawn(400)
    found = calibrate("platt", says, outcome)
    won = outcome.sum()
    target = np.where(outcome == 1, (won + 1) / (won + 2), 1 / (len(outcome) - won + 2))
    left = found(says) - target
    assert abs(left.sum()) < 1e-6
    assert abs((left * np.log(says / (1 - says))).sum()) < 1e-6


def test_platt_is_what_scikit_learn_makes_of_the_same_scores():
    says, outcome = drawn(500)
    score = np.log(says / (1 - says))[:, None]
    # Its log odds are the scores themselves.
    model = LogisticRegression().fit(score, outcome)
    model.coef_, model.intercept_ = np.array([[1.0]]), np.array([0.0])
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid").fit(score, outcome)
    expected = np.mean([one.predict_proba(score)[:, 1] for one in theirs.calibrated_classifiers_], axis=0)
    np.testing.assert_allclose(calibrate("platt", says, outcome)(says), expected, atol=1e-4)


def test_isotonic_is_scikit_learns():
    says, outcome = drawn(500)
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(says, outcome)
    asked = np.linspace(0, 1, 301)
    np.testing.assert_allclose(calibrate("isotonic", says, outcome)(asked), theirs.predict(asked), atol=1e-12)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_what_is_calibrated_is_nearer_to_what_happens(method):
    says, outcome = drawn()
    early, late = slice(0, 20_000), slice(20_000, None)
    found = calibrate(method, says[early], outcome[early])
    assert scores.ace(outcome[late], found(says[late])) < 0.3 * scores.ace(outcome[late], says[late])
    assert scores.brier(outcome[late], found(says[late])) < scores.brier(outcome[late], says[late])


@pytest.mark.parametrize("method", ["platt", "isotonic"])
@pytest.mark.parametrize("says", [[0.0, 1.0, 0.0, 1.0], [0.5] * 4, [0.2, 0.4, 0.6, 0.8]])
def test_a_season_that_tells_nothing_still_gives_probabilities(method, says):
    found = calibrate(method, np.array(says), np.array([0, 1, 0, 1], np.int8))
    answers = found(np.linspace(0, 1, 11))
    assert ((answers >= 0) & (answers <= 1)).all()
    assert (np.diff(answers) >= 0).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("power", range(15))
@pytest.mark.parametrize("center", [-2, 0, 10, 20])
@pytest.mark.parametrize("alone", [False, True])
def test_scores_next_to_each_other_give_a_curve_without_a_warning(power, center, alone):
    generator = np.random.default_rng(power)
    apart = np.where(np.arange(250) == 7, 1.0, 0.0) if alone else generator.random(250)
    says = 1 / (1 + np.exp(-(center + 10.0**-power * apart)))
    outcome = (generator.random(250) < 0.57).astype(np.int8)
    found = calibrate("platt", says, outcome)
    answers = found(np.linspace(0, 1, 11))
    assert ((answers >= 0) & (answers <= 1)).all()
    assert found(says).mean() == pytest.approx(outcome.mean(), abs=0.01)
    if power > 6:
        assert np.ptp(answers) == 0


@pytest.mark.parametrize("method", ALL)
def test_each_half_of_some_games_is_calibrated_by_the_other(method):
    says, outcome = drawn(401)
    found = crosswise(method, says, outcome)
    for own, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        np.testing.assert_array_equal(found[own], calibrate(method, says[other], outcome[other])(says[own]))


def test_a_curve_that_has_learned_from_noise_gains_nothing_crosswise():
    generator = np.random.default_rng(1)
    says, outcome = generator.random(250), (generator.random(250) < 0.5).astype(np.int8)
    flattered = scores.brier(outcome, calibrate("isotonic", says, outcome)(says))
    assert flattered < 0.245 < 0.25 < scores.brier(outcome, crosswise("isotonic", says, outcome))


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_games_have_probabilities_crosswise_too(method, n):
    found = crosswise(method, np.full(n, 0.7), np.ones(n, np.int8))
    assert found.shape == (n,)
    assert ((found >= 0) & (found <= 1)).all()


def test_the_names_of_the_calibrations_are_those_of_their_results():
    says, outcome = drawn(50)
    assert tuple(calibrate(method, says, outcome).method for method in calibration.METHODS) == calibration.METHODS


@pytest.mark.parametrize("made", [AsItIs(), Platt(0.5, 0.25), Isotonic((0.1, 0.5), (0.2, 0.75))])
def test_a_calibration_comes_back_from_its_file(made):
    assert calibration.from_json(json.loads(json.dumps(calibration.to_json(made)))) == made


@pytest.mark.parametrize("content", [{}, {"method": "plat"}, {"method": "platt"}, {"method": "none", "slope": 1}])
def test_what_is_no_calibration_is_said(content):
    with pytest.raises(CalibrationError, match="is no calibration; save the model again"):
        calibration.from_json(content)


@pytest.mark.parametrize(
    ("methods", "seasons", "sentence"),
    [
        (["none", "plat"], 1, r"has 'plat', which is not known; allowed: platt, none, isotonic"),
        ([], 1, r"is empty; \[none\] leaves"),
        (["platt", "platt"], 1, "names one twice"),
        (["none", "platt"], 0, r"needs games to calibrate on.* set validation.calibration_seasons=1"),
    ],
)
def test_calibrations_that_cannot_be_are_said(methods, seasons, sentence):
    with pytest.raises(CalibrationError, match=sentence):
        check_methods(methods, seasons)


@pytest.mark.parametrize(
    ("methods", "metric", "sentence"),
    [
        (
            ["none"],
            "platt/brier",
            r"=platt/brier is .*, calibration.methods=\[none\]; choose by brier, or add calibrati",
        ),
        (
            ["none", "platt"],
            ["auc", "isotonic/ace"],
            r"=isotonic/ace .*; choose by platt/ace or ace, or add calibration",
        ),
        (["platt", "none"], "platt/brier", r"is of the trials' own calibration, the first of .*; choose by brier\.$"),
        (["none", "platt"], "none/roi", r"is of the trials' own calibration.*; choose by roi\.$"),
    ],
    ids=str,
)
def test_a_sweep_by_a_calibration_that_its_trials_lack_does_not_begin(methods, metric, sentence, tmp_path):
    words = (f"calibration.methods=[{','.join(methods)}]", "validation.calibration_seasons=1")
    with composed(tmp_path, *words) as config, pytest.raises(CalibrationError, match=sentence):
        trial_checks.admit(config, {"metric": metric})


@pytest.mark.parametrize("metric", ["val/auc", "platt/own"])
def test_the_names_of_another_apps_metrics_are_its_own_business(metric):
    check_metrics(metric, ["none", "platt"])


@pytest.mark.parametrize("metric", ["platt/brier", ["isotonic/auc", "brier"], None], ids=str)
def test_a_sweep_by_what_its_trials_have_begins(metric, tmp_path):
    with composed(tmp_path, "calibration=all", "validation.calibration_seasons=1") as config:
        trial_checks.admit(config, {"metric": metric})


def test_one_fit_serves_all_and_each_is_as_if_it_were_the_only_one():
    fits = []

    class Counted(LogisticRegression):
        def fit(self, *given):
            fits.append(self)
            return super().fit(*given)

    together = evaluate(Counted, DATASET, folds(), RULE, calibrations=ALL)
    assert len(fits) == len(folds())
    assert set(together.calibrated) == {"platt", "isotonic"}
    for method, one in {"none": together, **together.calibrated}.items():
        assert one == report(methods=[method]), method
    assert len({one.metrics["brier"] for one in (together, *together.calibrated.values())}) == 3
    assert together == evaluate(LogisticRegression, DATASET, folds(), RULE)


def test_the_first_is_the_trials_own():
    assert report(methods=["isotonic", "none"]) == report().calibrated["isotonic"]
    assert isinstance(report(methods=["isotonic", "none"]).calibrator, Isotonic)


def test_a_calibration_that_is_followed_is_told_after_each_fold_as_it_will_stand_in_its_report():
    told: list[tuple[int, dict[str, float], dict[str, float]]] = []
    found = report(on_fold=lambda *said: told.append(said), followed=["platt"])
    assert [season for season, *_ in told] == [2006, 2007, 2008]
    for number, (season, of_season, so_far) in enumerate(told, start=1):
        until = evaluate(LogisticRegression, DATASET, folds()[:number], RULE, calibrations=ALL)
        further = {f"platt/{name}": value for name, value in until.calibrated["platt"].metrics.items()}
        assert so_far == until.metrics | further
        further = {f"platt/{name}": value for name, value in found.calibrated["platt"].by_season[season].items()}
        assert of_season == found.by_season[season] | further


def test_what_is_followed_changes_no_report():
    one, two = report(on_fold=lambda *_: None, followed=ALL[1:]), report()
    assert (one, one.calibrated) == (two, two.calibrated)


def test_shorter_fits_are_calibrated_too():
    def build() -> XGBClassifier:
        return XGBClassifier(n_estimators=12, max_depth=2, n_jobs=1)

    prefixes = Prefixes("n_estimators", 12, (5,))
    found = evaluate(build, DATASET, folds(), RULE, prefixes=prefixes, calibrations=ALL).shorter[5]
    alone = evaluate(
        lambda: XGBClassifier(n_estimators=5, max_depth=2, n_jobs=1), DATASET, folds(), RULE, calibrations=ALL
    )
    assert found == alone
    assert found.calibrated == alone.calibrated


def test_a_trial_that_is_gone_on_with_calibrates_what_it_had_kept(tmp_path: Path):
    class Stop(Exception):
        pass

    def stop(season: int, *_: Any) -> None:
        if season == 2007:
            raise Stop

    first = Checkpoint.open(tmp_path, "f", "cpu", 1e-9)
    with pytest.raises(Stop):
        report(on_fold=stop, checkpoint=first)
    again = Checkpoint.open(tmp_path, "f", "cpu", 1e-9)
    assert set(again.finished) == {2006, 2007}
    found = report(checkpoint=again)
    assert found == report()
    assert found.calibrated == report().calibrated


def changed(rows: np.ndarray) -> Dataset:
    outcome = DATASET.outcome.copy()
    outcome[rows] = 1 - outcome[rows]
    return replace(DATASET, outcome=outcome)


def test_a_calibration_learns_from_the_calibration_games_and_from_no_other():
    (fold,) = folds(seasons=(2006, 2006))

    def probabilities(dataset: Dataset) -> dict[str, np.ndarray]:
        found = evaluate(LogisticRegression, dataset, [fold], RULE, calibrations=ALL)
        told = {"none": found, **found.calibrated}
        return {method: one.predictions["probability"].to_numpy() for method, one in told.items()}

    before = probabilities(DATASET)
    later = np.flatnonzero(DATASET.season >= 2006)  # those that are tested, and the future
    for method, found in probabilities(changed(later)).items():
        np.testing.assert_array_equal(found, before[method])
    after = probabilities(changed(fold.calibration[::2]))
    np.testing.assert_array_equal(after["none"], before["none"])
    assert (after["platt"] != before["platt"]).any()
    assert (after["isotonic"] != before["isotonic"]).any()
