"""Takes one model through the folds to a report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeproute import estimators, importance
from sweeproute.betting import BettingRule
from sweeproute.calibration import AsItIs, Calibrator, calibrate, crosswise
from sweeproute.checkpoint import Checkpoint
from sweeproute.finished_fold import Answer, FinishedFold, Leaning
from sweeproute.measures import NOTHING_YET, Said, metrics, odds_of, predictions
from sweeproute.validation import Fold

if TYPE_CHECKING:
    from sweeproute.data.dataset import Dataset


class EvaluationError(ValueError):
    """A model cannot be evaluated on these folds."""


@dataclass(frozen=True, eq=False)
class Report:
    """What a model did on the tested seasons.

    Two reports are equal when their metrics, NaN included, and their predictions are bitwise the same; times and the
    model itself do not count.

    Attributes:
        metrics: Over all tested games together; NaN where undefined, so roi is NaN where no bet was placed. Scores:
            auc, brier with its parts (brier_reliability, brier_resolution, brier_uncertainty), log_loss, accuracy,
            ece, ace. Of bets by the rule: roi, n_bets, drawdown, log_growth; of the same bets at Kelly's stakes:
            roi_kelly, drawdown_kelly, log_growth_kelly; of a flat bet on every game: roi_flat. n_games. A model that
            gives stakes has those of its own bets, which are made in place of the rule's, and n_games.
        by_season: The same metrics for each tested season.
        predictions: One row per tested game, in the order of the folds: game_id, season, week, kickoff, outcome,
            probability (of a home win; missing of a model that gives stakes), odds_home and odds_away (decimal), bet
            ("home", "away" or missing), stake and profit (fractions of the bankroll; missing where there is no bet),
            elo (what ratings say, or NaN).
        fit_seconds: Time in `fit`, all folds together; of a trial that was gone on with, what its attempts spent on it.
        predict_seconds: Time in `predict_proba`, all folds together.
        model: The fitted estimator of the last fold.
        calibrated: What comes of the same fits under the other calibrations that were asked for, by their names; each
            has the times of these fits.
        calibrator: The calibration of the last fold's model, by which `predictions` follow from what it says.
        shorter: The reports of shorter fits that were taken from these, by their length; their time in `fit` and this
            one's are parts of what all took, each in proportion to its length.
        alone: Why no shorter fit was taken from these, as a clause; None where none was asked for, or all were.
        warnings: By what a model says should be known of a fit, the seasons that were tested by it; of those folds that
            a former attempt finished, nothing is known.
        importances: What `importance.permuted` has found, season after season; None where it was not asked for, or not
            in this way when a former attempt finished a fold, whose model is gone.
    """

    metrics: dict[str, float]
    by_season: dict[int, dict[str, float]]
    predictions: pd.DataFrame
    fit_seconds: float
    predict_seconds: float
    model: Any = field(repr=False)
    calibrated: "Mapping[str, Report]" = field(default_factory=dict, repr=False)
    calibrator: Calibrator = field(default_factory=AsItIs)
    shorter: "Mapping[int, Report]" = field(default_factory=dict, repr=False)
    alone: str | None = None
    warnings: "Mapping[str, list[int]]" = field(default_factory=dict, repr=False)
    importances: pd.DataFrame | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Report):
            return NotImplemented
        # repr tells every float64 apart and makes NaN equal to itself.
        return (
            repr(self.metrics) == repr(other.metrics)
            and repr(self.by_season) == repr(other.by_season)
            and self.predictions.equals(other.predictions)
        )

    __hash__ = None  # type: ignore[assignment]  # holds a frame, which can change


@dataclass(frozen=True)
class Prefixes:
    """Shorter fits that are looked for in a longer one.

    Attributes:
        parameter: The parameter of the model in which they differ: n_estimators or max_iter.
        whole: Its value in the longer fit.
        lengths: Its values in the shorter ones.
    """

    parameter: str
    whole: int
    lengths: tuple[int, ...]

    def share(self, length: int) -> float:
        """A fit's part of the time of all, by its length."""
        return length / (self.whole + sum(self.lengths))


class _Course:
    """What one model says, fold after fold, under one calibration."""

    def __init__(self, method: str, dataset: "Dataset", rule: BettingRule) -> None:
        self.by_season: dict[int, dict[str, float]] = {}
        self.calibrator: Calibrator = AsItIs()
        self._method, self._dataset, self._rule = method, dataset, rule
        self._predict_seconds = 0.0
        # All else follows from these. The frame is made once, for the report: it takes longer than a season's metrics.
        self._rows, self._said = np.empty(0, np.int64), NOTHING_YET
        self._so_far: dict[str, float] | None = None

    def add(self, fold: Fold, answer: Answer) -> None:
        self.calibrator = calibrate(self._method, answer.calibration, self._dataset.outcome[fold.calibration])
        said = Said(self.calibrator(answer.probability), answer.units)
        self.by_season[fold.season] = metrics(self._dataset, fold.test, said, self._rule)
        self._rows = np.concatenate([self._rows, fold.test])
        self._said = self._said.and_then(said)
        self._predict_seconds += answer.seconds
        self._so_far = None

    def so_far(self) -> dict[str, float]:
        """Metrics over all seasons by now, taken when somebody asks."""
        if self._so_far is None:
            self._so_far = metrics(self._dataset, self._rows, self._said, self._rule)
        return self._so_far

    def measure(self) -> Callable[[NDArray[np.int64], NDArray[np.float64]], dict[str, float]]:
        """Metrics over all seasons by now and further games; later seasons do not join them."""
        rows, so_far = self._rows, self._said

        def measured(more: NDArray[np.int64], says: NDArray[np.float64]) -> dict[str, float]:
            said = so_far.and_then(Said(crosswise(self._method, says, self._dataset.outcome[more])))
            return metrics(self._dataset, np.concatenate([rows, more]), said, self._rule)

        return measured

    def report(self, fit_seconds: float, model: Any, **more: Any) -> Report:
        table, own = predictions(self._dataset, self._rows, self._said, self._rule), self.calibrator
        seconds = fit_seconds, self._predict_seconds
        return Report(self.so_far(), self.by_season, table, *seconds, model, calibrator=own, **more)


class _Courses:
    """What one model says under each calibration; the first is its own, others may be followed as it goes on."""

    def __init__(
        self, methods: Sequence[str], dataset: "Dataset", rule: BettingRule, followed: Sequence[str] = ()
    ) -> None:
        self._of = {method: _Course(method, dataset, rule) for method in methods}
        self.first = self._of[methods[0]]
        self._told = {"": self.first, **{f"{method}/": self._of[method] for method in followed}}

    def add(self, fold: Fold, answer: Answer) -> None:
        for course in self._of.values():
            course.add(fold, answer)

    def of_season(self, season: int) -> dict[str, float]:
        """Metrics of a season: of the first by their names, of those that are followed by names such as platt/brier."""
        return self._named(lambda course: course.by_season[season])

    def so_far(self) -> dict[str, float]:
        """Metrics over all seasons by now, by the same names."""
        return self._named(lambda course: course.so_far())

    def measure(self) -> Callable[[NDArray[np.int64], NDArray[np.float64]], dict[str, float]]:
        """As of a course, by the same names."""
        held = {course: course.measure() for course in self._told.values()}
        return lambda more, says: self._named(lambda course: held[course](more, says))

    def _named(self, of: Callable[[_Course], Mapping[str, float]]) -> dict[str, float]:
        return {f"{calibration}{name}": n for calibration, one in self._told.items() for name, n in of(one).items()}

    def report(self, fit_seconds: float, model: Any, **more: Any) -> Report:
        others = {
            method: course.report(fit_seconds, model) for method, course in self._of.items() if course is not self.first
        }
        return self.first.report(fit_seconds, model, calibrated=others, **more)


def evaluate(
    build: Callable[[], Any],
    dataset: "Dataset",
    folds: Sequence[Fold],
    rule: BettingRule,
    on_fold: Callable[[int, dict[str, float], dict[str, float]], None] | None = None,
    checkpoint: Checkpoint | None = None,
    prefixes: Prefixes | None = None,
    calibrations: Sequence[str] = ("none",),
    on_epoch: Callable[[int, int, Callable[[], dict[str, float]]], None] | None = None,
    shuffles: importance.Shuffles | None = None,
    followed: Sequence[str] = (),
) -> Report:
    """Fit a fresh model on each fold in turn, then score what it says about the fold's test season.

    Rows that no fold names are never read, so nothing about the holdout can reach the report. The calibration games of
    a fold are kept out of training; a model that asks for that watches them, to stop by.

    Args:
        build: Makes an unfitted classifier with `fit` and `predict_proba`, or an `estimators.Bettor`; called once per
            fold.
        dataset: The games.
        folds: The folds of `validation.walk_forward`, at least one.
        rule: The betting rule whose return is reported.
        on_fold: Called after each fold, also one that a former attempt finished, with its season, that season's
            metrics, and those over all seasons tested so far; what it raises ends the evaluation.
        checkpoint: What a former attempt had finished, and where to keep what this one has; None to keep nothing.
        prefixes: Shorter fits of which a report is wanted, too; None for none.
        calibrations: Methods of `calibration.METHODS` by which what the fits say is calibrated, each on the calibration
            games of a fold; the report is of the first, the others stand in its `calibrated`.
        on_epoch: Called after each epoch of a model that tells what it says of the games that it watches, with the
            season that the fold tests, the epochs that are done, and a function that gives the metrics over the watched
            games and the seasons tested so far; what it raises ends the evaluation.
        shuffles: How to find on which features the models lean; None for not at all.
        followed: Those of `calibrations` behind the first whose metrics `on_fold` and `on_epoch` are given, too, under
            names such as platt/brier.

    Returns:
        The report; bitwise the same for the same arguments, with the prefixes and without. Its `shorter` are bitwise
        what separate fits would have given, or none where that cannot be.

    Raises:
        EvaluationError: There is no fold, a fold's training games all ended the same way, the model answers with
            something that is neither a probability nor a stake, or with stakes that are to be calibrated.
    """
    if not folds:
        raise EvaluationError("There is no fold to evaluate; check validation.selection_seasons.")
    features = np.ascontiguousarray(dataset.features.to_numpy(dtype=np.float64))  # (n_games, n_features)
    games = estimators.Games(features, dataset.teams, dataset.team_names)
    own, alone = _Courses(calibrations, dataset, rule, followed), None
    asks = any(method != "none" for method in calibrations)
    shorter = {length: _Courses(calibrations, dataset, rule) for length in (prefixes.lengths if prefixes else ())}
    models: dict[int, Any] = {}
    warnings: dict[str, list[int]] = {}
    leanings: list[pd.DataFrame] = []
    model: Any = None
    fit_seconds = 0.0

    for fold in folds:
        done = None if checkpoint is None else checkpoint.finished.get(fold.season)
        if done is None or not shorter.keys() <= done.shorter.keys():
            model = build()
            inside = None if on_epoch is None else partial(_tell, on_epoch, own, fold.season)
            done = _finish(model, games, dataset, fold, checkpoint, inside, asks=asks)
            if (told := estimators.telling(model)) is not None:
                for warning in told.warnings(list(dataset.features.columns)):
                    warnings.setdefault(warning, []).append(fold.season)
            if shuffles is not None and not isinstance(model, estimators.Bettor):
                done = replace(done, leaning=_leaning(model, games, dataset, fold, shuffles))
            if prefixes is not None and shorter:
                try:
                    models = {n: estimators.shortened(model, prefixes.parameter, n) for n in shorter}
                except estimators.PrefixError as error:
                    shorter, models, alone = {}, {}, str(error)
            done.shorter.update({n: _answer(one, games, fold, asks=asks) for n, one in models.items()})
            # The last fold's model is part of the report, so that fold is not one to pass over.
            if checkpoint is not None and fold is not folds[-1]:
                checkpoint.finish(done)
        fit_seconds += done.fit_seconds
        if (leaning := done.leaning) is not None and shuffles == importance.Shuffles(leaning.repeats, leaning.seed):
            leanings.append(importance.table(leaning.found, list(dataset.features.columns), fold.season))

        own.add(fold, done.answer)
        for length, courses in shorter.items():
            courses.add(fold, done.shorter[length])
        if on_fold is not None:
            on_fold(fold.season, own.of_season(fold.season), own.so_far())

    found = pd.concat(leanings, ignore_index=True) if len(leanings) == len(folds) else None
    more = {"warnings": warnings, "importances": found}
    if prefixes is None or not shorter:
        return own.report(fit_seconds, model, alone=alone, **more)
    reports = {n: courses.report(fit_seconds * prefixes.share(n), models[n]) for n, courses in shorter.items()}
    whole_s = fit_seconds * prefixes.share(prefixes.whole)
    return own.report(whole_s, model, shorter=reports, **more)


def _finish(
    model: Any,
    games: estimators.Games,
    dataset: "Dataset",
    fold: Fold,
    checkpoint: Checkpoint | None,
    inside: Callable[[NDArray[np.int64], int, NDArray[np.float64]], None] | None,
    *,
    asks: bool,
) -> FinishedFold:
    """Fit a model on a fold's training games, then let it say what it makes of the others."""
    outcome = dataset.outcome
    if np.unique(outcome[fold.train]).size < 2:
        raise EvaluationError(
            f"All {fold.train.size} training games of season {fold.season} ended the same way, so there is nothing to "
            "learn; set validation.first_test_season later."
        )
    progress = None if checkpoint is None else checkpoint.fit(fold.season)
    if isinstance(model, estimators.Bettor) and asks:
        raise EvaluationError(f"{type(model).__name__} gives stakes, which no method calibrates; use the method none.")
    train, apart = estimators.divided(model, dataset.season, fold.train, fold.calibration)
    watched = games.rows(apart), outcome[apart]
    told = None if inside is None else partial(inside, apart)
    before = 0.0 if progress is None else progress.seconds
    started = perf_counter()
    if isinstance(model, estimators.Bettor):
        model.fit_bets(_priced(games, dataset, train), outcome[train], progress)
    else:
        estimators.fit_games(model, games.rows(train), outcome[train], watched, progress, told)
    fitted = perf_counter()

    estimators.predict_on_one_thread(model)
    if isinstance(model, estimators.Bettor):
        answer = _stakes(model, _priced(games, dataset, fold.test), fold.season)
    else:
        answer = _answer(model, games, fold, asks=asks)
    return FinishedFold(fold.season, answer, before + fitted - started)


def _priced(games: estimators.Games, dataset: "Dataset", rows: NDArray[np.int64]) -> estimators.Priced:
    return estimators.Priced(games.rows(rows), odds_of(dataset, rows), dataset.season[rows])


def _stakes(model: estimators.Bettor, tested: estimators.Priced, season: int) -> Answer:
    """What a fitted bettor stakes on the tested games."""
    began = perf_counter()
    units = np.ascontiguousarray(model.stakes(tested.games, tested.odds), dtype=np.float64)
    seconds = perf_counter() - began
    if units.shape != (len(tested.games),) or not np.isfinite(units).all():
        raise EvaluationError(
            f"{type(model).__name__} answered season {season} with stakes of shape {units.shape} that are not a finite "
            f"number for each of the {len(tested.games)} games; 0 stands for no bet."
        )
    return Answer(np.full(len(units), np.nan), np.empty(0), seconds, units)


def _leaning(
    model: Any, games: estimators.Games, dataset: "Dataset", fold: Fold, shuffles: importance.Shuffles
) -> Leaning:
    """On which features a fitted model leans, and on the teams where it is told of them."""
    tested = games.rows(fold.test)
    if not isinstance(model, estimators.LearnsFromGames):
        tested = estimators.Games(tested.features)

    def says(asked: estimators.Games) -> NDArray[np.float64]:
        return _home_probability(model, asked, fold.season)

    names = list(dataset.features.columns)
    found = importance.permuted(says, tested, dataset.outcome[fold.test], names, fold.season, shuffles)
    return Leaning(importance.numbers_of(found), shuffles.repeats, shuffles.seed)


def _tell(
    on_epoch: Callable[[int, int, Callable[[], dict[str, float]]], None],
    own: _Courses,
    season: int,
    watched: NDArray[np.int64],
    epoch: int,
    says: NDArray[np.float64],
) -> None:
    """Tell of an epoch; what it says is scored where somebody wants to know."""
    if watched.size:  # else the model watches some of its own training games
        # Begun now: the tested season joins the others, and may be known when somebody asks.
        on_epoch(season, epoch, partial(own.measure(), watched, says))


def _answer(model: Any, games: estimators.Games, fold: Fold, *, asks: bool) -> Answer:
    """What a fitted model says of the tested games, and of the calibration games where these are asked for."""
    began = perf_counter()
    probability = _home_probability(model, games.rows(fold.test), fold.season)
    calibration = _home_probability(model, games.rows(fold.calibration), fold.season) if asks else np.empty(0)
    return Answer(probability, calibration, perf_counter() - began)


def _home_probability(model: Any, games: estimators.Games, season: int) -> NDArray[np.float64]:
    """Probability of the second class, which is a home win, (n_test,) float64."""
    answer = np.asarray(estimators.predict(model, games), dtype=np.float64)  # (n_test, 2)
    if answer.shape != (len(games), 2):
        raise EvaluationError(
            f"{type(model).__name__} answered season {season} with an array of shape {answer.shape}; predict_proba "
            f"must give the probabilities of a loss and of a win for each of the {len(games)} games."
        )
    probability = np.ascontiguousarray(answer[:, 1])
    wrong = ~((probability >= 0) & (probability <= 1))
    if wrong.any():
        raise EvaluationError(
            f"{type(model).__name__} gave {probability[wrong][0]} as a probability in season {season}; it must lie in "
            "[0, 1], so look for features without bounds or a learning rate that is too high."
        )
    return probability
