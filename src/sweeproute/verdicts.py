"""Says of the rows of a table what is significant: intervals, tests of all pairs and against baselines, who ties."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeproute import bankroll, significance
from sweeproute.betting import NO_BET, SIDES, Bets, BettingRule, settle
from sweeproute.selection import HIGHER_IS_BETTER
from sweeproute.significance.pairs import Pairs, standardised

# The metrics of which pairs are tested. AUC by DeLong's method, returns by a bootstrap, the others by their mean loss
# per game; games of a week count as dependent in all of them.
TESTED = ("auc", "brier", "log_loss", "accuracy", "roi")
_STAKES = ("roi", "roi_kelly", "roi_flat")


@dataclass(frozen=True)
class Settings:
    """How it is tested."""

    # A difference counts with at most this p-value, adjusted for the number of tests.
    alpha: float = 0.05
    # Share of intervals that should contain the truth.
    level: float = 0.95
    # Resamples of weeks, and their seed.
    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Tested:
    """Tests of one metric.

    Attributes:
        pairs: Of all pairs of rows, (n_rows, n_rows).
        adjusted: Their p-values, adjusted for all pairs by Holm's method, (n_rows, n_rows).
        standing: Who is best, and who ties with it.
        against: Rows less baselines, (n_rows, n_baselines): differences, standard errors and p-values, NaN where a
            baseline has no forecast.
        against_adjusted: Their p-values, adjusted for all of them, (n_rows, n_baselines).
    """

    pairs: Pairs
    adjusted: NDArray[np.float64]
    standing: significance.Standing
    against: Pairs
    against_adjusted: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What can be said of the rows of a table.

    Attributes:
        tests: By metric, those of `TESTED`.
        intervals: Lower and upper ends by metric, (n_rows,) each; NaN where there is none.
        baseline_intervals: The same of the baselines, (n_baselines,) each.
        n_weeks: Weeks of games.
    """

    tests: dict[str, Tested]
    intervals: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    baseline_intervals: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    n_weeks: int


@dataclass(frozen=True)
class Difference:
    """How far two models are apart in one metric, on the same games.

    Attributes:
        difference: The first one's metric less the other's.
        low: Lower end of its interval.
        high: Upper end of its interval.
        p_value: Two-sided, for no difference; NaN where there is no test.
        n_weeks: Weeks of games, which are the units of the test.
    """

    difference: float
    low: float
    high: float
    p_value: float
    n_weeks: int


def difference(one: pd.DataFrame, other: pd.DataFrame, settings: Settings) -> Difference:
    """The difference between two models' Brier scores, by Diebold and Mariano's test with the week as the unit.

    Args:
        one: Predictions of the first, as `registry.predictions` gives them.
        other: Predictions of the other, of the same games in the same order.
        settings: How it is tested; the interval is that of Student's t, with one degree less than there are weeks.

    Returns:
        The difference; below zero where the first is better.
    """
    from scipy.special import stdtrit

    weeks = _weeks(one, settings)
    pairs = _pairs("brier", [[one], [other]], weeks)
    apart, error, p_value = (float(part[0, 1]) for part in (pairs.difference, pairs.standard_error, pairs.p_value))
    half = float(stdtrit(weeks.n_weeks - 1, (1 + settings.level) / 2)) * error if weeks.n_weeks > 1 else float("nan")
    return Difference(apart, apart - half, apart + half, p_value, weeks.n_weeks)


def intervals(games: pd.DataFrame, rule: BettingRule, settings: Settings) -> dict[str, tuple[float, float]]:
    """Lower and upper ends of one model's own figures, by metric; NaN where there is no interval.

    Args:
        games: Its predictions.
        rule: The betting rule.
        settings: Their level, and the resamples of weeks that they rest on.
    """
    found = _intervals([[games]], _weeks(games, settings), rule, settings)
    return {metric: (float(low[0]), float(high[0])) for metric, (low, high) in found.items()}


def judge(
    rows: Sequence[Sequence[pd.DataFrame]],
    values: dict[str, NDArray[np.float64]],
    baselines: Sequence[pd.DataFrame],
    rule: BettingRule,
    settings: Settings,
) -> Verdicts:
    """Test all pairs of rows, and each row against each baseline.

    Repeats of a row count together: what is tested is the mean of their losses per game, the mean of their AUCs, with
    DeLong's covariance of all of them, or the return on all of their stakes. So the tests tell of these very fits and
    of other games, not of other seeds.

    Rows and baselines are two families, each adjusted by itself: who is best is asked of models.

    Args:
        rows: The predictions of each row's repeats, all of the same games in the same order.
        values: The figures of the rows by metric, (n_rows,), by which one is best.
        baselines: The predictions of each baseline, of those games or some of them.
        rule: The betting rule.
        settings: How it is tested.

    Returns:
        The verdicts.
    """
    games = rows[0][0]
    weeks = _weeks(games, settings)
    tests, against = {}, [_subset(rows, games, one) for one in baselines]
    intervals: dict[str, list[NDArray[np.float64]]] = {}
    for metric in TESTED:
        pairs = _pairs(metric, rows, weeks)
        adjusted = significance.holm_pairs(pairs.p_value)
        standing = significance.standing_of_pairs(values[metric], adjusted, HIGHER_IS_BETTER[metric], settings.alpha)
        columns = [_against(metric, some, settings) for some in against]
        versus = Pairs(*(np.column_stack(part) for part in zip(*columns, strict=True)))
        holm = significance.holm(versus.p_value.ravel()).reshape(versus.p_value.shape)
        tests[metric] = Tested(pairs, adjusted, standing, versus, holm)
    for metric, ends in _intervals(rows, weeks, rule, settings).items():
        intervals[metric] = list(ends)
    of_baselines: dict[str, list[tuple[float, float]]] = {metric: [] for metric in intervals}
    for one in baselines:
        found = _intervals([[one]], _weeks(one, settings), rule, settings) if len(one) else {}
        for metric, ends_of in of_baselines.items():
            low, high = found.get(metric, (np.full(1, np.nan),) * 2)
            ends_of.append((float(low[0]), float(high[0])))
    return Verdicts(
        tests,
        {metric: (low, high) for metric, (low, high) in intervals.items()},
        {
            metric: (np.array([low for low, _ in ends]), np.array([high for _, high in ends]))
            for metric, ends in of_baselines.items()
        },
        weeks.n_weeks,
    )


def _weeks(games: pd.DataFrame, settings: Settings) -> significance.Weeks:
    """Games by season and week; by the week of their kick-off where weeks have no numbers."""
    if games["week"].notna().all():
        label = games["season"].to_numpy() * 100 + games["week"].to_numpy(dtype=np.int64)
    else:
        # Weeks since 1970, which began on a Thursday, as a week of the NFL does.
        label = games["kickoff"].to_numpy().astype("datetime64[W]").astype(np.int64)
    return significance.weeks_of(label, settings.resamples, settings.seed)


def _subset(
    rows: Sequence[Sequence[pd.DataFrame]], games: pd.DataFrame, baseline: pd.DataFrame
) -> list[list[pd.DataFrame]]:
    """The rows and, as the last, a baseline on the games that it has a forecast for."""
    there = games["game_id"].isin(baseline["game_id"]).to_numpy()
    return [*([one[there] for one in repeats] for repeats in rows), [baseline]]


def _against(
    metric: str, rows: Sequence[Sequence[pd.DataFrame]], settings: Settings
) -> tuple[NDArray[np.float64], ...]:
    """Differences of all rows but the last from the last, their errors and p-values, (n_rows,) each."""
    if rows[-1][0].empty:
        nothing = np.full(len(rows) - 1, np.nan)
        return nothing, nothing, nothing
    found = _pairs(metric, rows, _weeks(rows[0][0], settings))
    return found.difference[:-1, -1], found.standard_error[:-1, -1], found.p_value[:-1, -1]


def _pairs(metric: str, rows: Sequence[Sequence[pd.DataFrame]], weeks: significance.Weeks) -> Pairs:
    if metric == "roi":
        profit, stake = _money(rows, "roi", None)
        return significance.paired_bootstrap(profit, weeks, stake)
    there = _forecasting(rows)
    some = [rows[row] for row in there]
    if not some:
        found = Pairs(*(np.empty((0, 0)) for _ in range(3)))
    elif metric == "auc":
        found = _areas(some, weeks, 0.95)[1]
    else:
        found = significance.paired_test(_losses(metric, some), weeks)
    # The metric where more of it is better is one less the loss.
    difference = -found.difference if metric == "accuracy" else found.difference
    parts = []
    for part in (difference, found.standard_error, found.p_value):
        whole = np.full((len(rows), len(rows)), np.nan)
        whole[np.ix_(there, there)] = part
        parts.append(whole)
    return Pairs(*parts)


def _forecasting(rows: Sequence[Sequence[pd.DataFrame]]) -> list[int]:
    """The rows that have probabilities; those of models that give stakes have none."""
    return [place for place, repeats in enumerate(rows) if not any(one["probability"].isna().any() for one in repeats)]


def _areas(
    rows: Sequence[Sequence[pd.DataFrame]], weeks: significance.Weeks, level: float
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], Pairs]:
    """Intervals of the rows' mean AUCs, and the tests of all pairs."""
    from scipy.special import ndtr, ndtri

    outcome = rows[0][0]["outcome"].to_numpy()
    found = significance.areas(outcome, np.concatenate([_probability(one) for one in rows]), weeks, level)
    if all(len(repeats) == 1 for repeats in rows):
        return (found.low, found.high), found.pairs
    mean = np.zeros((len(rows), len(found.auc)))  # (n_rows, n_runs)
    place = 0
    for row, repeats in enumerate(rows):
        mean[row, place : place + len(repeats)] = 1 / len(repeats)
        place += len(repeats)
    auc = np.array([found.auc[one > 0].mean() for one in mean])
    apart = mean[:, None, :] - mean[None, :, :]  # (n_rows, n_rows, n_runs)
    variance = np.einsum("ijk,kl,ijl->ij", apart, found.covariance, apart)
    own = np.einsum("ik,kl,il->i", mean, found.covariance, mean)
    difference = np.subtract.outer(auc, auc)
    # What is left of rows that are the same by rounding alone.
    variance[(difference == 0) & (variance < 1e-15)] = 0
    with np.errstate(invalid="ignore"):
        error, half = np.sqrt(variance), -ndtri((1 - level) / 2) * np.sqrt(own)
    p_value = 2 * ndtr(-np.abs(standardised(difference, error)))
    return (np.maximum(auc - half, 0.0), np.minimum(auc + half, 1.0)), Pairs(difference, error, p_value)


def _probability(repeats: Sequence[pd.DataFrame]) -> NDArray[np.float64]:
    return np.stack([one["probability"].to_numpy(dtype=np.float64) for one in repeats])  # (n_repeats, n_games)


def _losses(metric: str, rows: Sequence[Sequence[pd.DataFrame]]) -> NDArray[np.float64]:
    """Loss of each game, the mean over repeats, (n_rows, n_games)."""
    outcome = rows[0][0]["outcome"].to_numpy()
    found = []
    for repeats in rows:
        says = _probability(repeats)
        if metric == "accuracy":
            loss = 1 - (1 + np.sign(says - 0.5) * (2 * outcome - 1)) / 2
        elif metric == "log_loss":
            loss = significance.log_losses(outcome, says)
        else:
            loss = significance.brier_losses(outcome, says)
        found.append(loss.mean(axis=0))
    return np.stack(found)


def _money(
    rows: Sequence[Sequence[pd.DataFrame]], stakes: str, rule: BettingRule | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Profit and stake of each game, added up over repeats, (n_rows, n_games); NaN where none bets."""
    profits, staked = [], []
    for repeats in rows:
        bets = [_bets(one, stakes, rule) for one in repeats]
        there = ~np.isnan([one.stake for one in bets]).all(axis=0)
        profits.append(np.where(there, np.nansum([one.profit for one in bets], axis=0), np.nan))
        staked.append(np.where(there, np.nansum([one.stake for one in bets], axis=0), np.nan))
    return np.stack(profits), np.stack(staked)


def _bets(games: pd.DataFrame, stakes: str, rule: BettingRule | None) -> Bets:
    """The bets of some predictions under one way of staking, as `evaluation` settles them."""
    odds, outcome = games[["odds_home", "odds_away"]].to_numpy(dtype=np.float64), games["outcome"].to_numpy()
    probability = games["probability"].to_numpy(dtype=np.float64)
    bet = games["bet"].to_numpy(dtype=object, na_value="")
    side = np.select([bet == name for name in SIDES], [0, 1], NO_BET).astype(np.int8)
    flat = Bets(side, games["stake"].to_numpy(dtype=np.float64), games["profit"].to_numpy(dtype=np.float64))
    if stakes == "roi" or rule is None:
        return flat
    if stakes == "roi_flat":
        return settle(probability, odds, outcome, rule, on_every_game=True)
    return bankroll.kelly(probability, odds, outcome, games["kickoff"].to_numpy(), flat, rule.kelly_fraction)


def _intervals(
    rows: Sequence[Sequence[pd.DataFrame]], weeks: significance.Weeks, rule: BettingRule, settings: Settings
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Ends of intervals, (n_rows,) each, by metric."""
    level, there = settings.level, _forecasting(rows)
    some = [rows[row] for row in there]
    found = {}
    for metric in ("auc", "brier", "log_loss", "accuracy"):
        low, high = (np.full(len(rows), np.nan) for _ in range(2))
        if some and metric == "auc":
            low[there], high[there] = _areas(some, weeks, level)[0]
        elif some:
            loss = _losses(metric, some)
            told = significance.mean_intervals(1 - loss if metric == "accuracy" else loss, weeks, level)
            low[there], high[there] = told.low, told.high
        found[metric] = low, high
    for stakes in _STAKES:
        profit, stake = _money(rows, stakes, rule)
        told = significance.roi_intervals(profit, stake, weeks, level)
        found[stakes] = told.low, told.high
    return found
