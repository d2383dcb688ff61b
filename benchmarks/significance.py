"""Times what a table of 12 models over 3,000 games needs beside plain loops, scipy's bootstrap and arch's set.

Asked: far below 5 s for 2,000 resamples. The peers run in the same call on the same games; each has to give the same
numbers, or the script ends with an error.

    python benchmarks/significance.py [--models 12] [--games 3000] [--resamples 2000] [--repeats 5]
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from sweeproute import significance
from sweeproute.betting import roi


def timed(repeats: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """Median seconds of some calls, and what the last one gave."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent), result


def play(n_models: int, n_games: int) -> tuple[np.ndarray, ...]:
    """Outcome, probability, week, profit and stake of models that know more or less."""
    chance = np.random.default_rng(0)
    week = np.arange(n_games) // 14
    strength = chance.normal(size=n_games)
    noise = chance.normal(size=(n_models, n_games)) * np.linspace(0.3, 0.8, n_models)[:, None]
    outcome = (chance.random(n_games) < 1 / (1 + np.exp(-strength))).astype(np.int8)
    probability = 1 / (1 + np.exp(-strength - noise))
    odds = 0.97 / chance.uniform(0.2, 0.8, n_games)
    stake = np.where(probability * odds > 1.1, 1.0, np.nan)
    return outcome, probability, week, np.where(outcome == 1, odds - 1, -1.0) * stake, stake


def loop(weeks: significance.Weeks, profit: np.ndarray, stake: np.ndarray) -> np.ndarray:
    """Returns of each model in each resample, (n_models, n_resamples), games picked one resample at a time."""
    games = [np.flatnonzero(weeks.index == number) for number in range(weeks.n_weeks)]
    found = np.empty((len(profit), weeks.n_resamples))
    for resample, counts in enumerate(weeks.counts.astype(int)):
        picked = np.concatenate([games[number] for number in np.repeat(np.arange(weeks.n_weeks), counts)])
        for model in range(len(profit)):
            found[model, resample] = roi(profit[model, picked], stake[model, picked])
    return found


def import_seconds(name: str) -> float:
    """Seconds that an import takes in a Python of its own, less those of numpy."""
    code = f"import time, numpy; start = time.perf_counter(); import {name}; print(time.perf_counter() - start)"
    done = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    return statistics.median(float(one.stdout) for one in done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--games", type=int, default=3000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5, help="of ours; a peer runs once")
    asked = parser.parse_args()
    imports = {name: import_seconds(name) for name in ("sweeproute.significance", "arch.bootstrap", "scipy.stats")}

    from arch.bootstrap import MCS
    from scipy import stats

    outcome, probability, week, profit, stake = play(asked.models, asked.games)
    draw_s, weeks = timed(asked.repeats, lambda: significance.weeks_of(week, asked.resamples))
    loss = significance.brier_losses(outcome, probability)
    ours: dict[str, tuple[float, Any]] = {
        "areas and their tests": timed(asked.repeats, lambda: significance.areas(outcome, probability)),
        "the same by week": timed(asked.repeats, lambda: significance.areas(outcome, probability, weeks)),
        "paired tests of a loss": timed(asked.repeats, lambda: significance.paired_test(loss, weeks)),
        "paired bootstrap of ROI": timed(asked.repeats, lambda: significance.paired_bootstrap(profit, weeks, stake)),
        "intervals of ROI": timed(asked.repeats, lambda: significance.roi_intervals(profit, stake, weeks)),
        "model confidence set": timed(asked.repeats, lambda: significance.confidence_set(loss, weeks)),
    }

    loop_s, drawn = timed(1, lambda: loop(weeks, profit, stake))
    bootstrap_s, bootstrap = ours["paired bootstrap of ROI"]
    between = np.array([[(one - other).std(ddof=1) for other in drawn] for one in drawn])
    np.testing.assert_allclose(bootstrap.standard_error, between, atol=1e-12)

    sums, sizes = weeks.sums(profit), weeks.sums(stake)

    def by_scipy(model: int, **settings: Any) -> Any:
        return stats.bootstrap(
            (sums[model], sizes[model]),
            lambda won, put, axis=-1: won.sum(axis) / put.sum(axis),
            paired=True,
            vectorized=True,
            method="BCa",
            **settings,
        ).confidence_interval

    interval_s, interval = ours["intervals of ROI"]
    scipy_s, _ = timed(1, lambda: [by_scipy(model, n_resamples=asked.resamples) for model in range(asked.models)])
    for model in range(asked.models):
        given = by_scipy(model, n_resamples=0, bootstrap_result=SimpleNamespace(bootstrap_distribution=drawn[model]))
        np.testing.assert_allclose((interval.low[model], interval.high[model]), given, atol=1e-12)

    # Weekly means of the same weeks: arch knows no weeks that differ in size.
    weekly = weeks.sums(loss) / np.bincount(weeks.index)
    peer = MCS(weekly.T, size=0.1, reps=asked.resamples, block_size=1, method="R", bootstrap="circular", seed=0)
    arch_s, _ = timed(1, peer.compute)
    same = np.array([np.bincount(index, minlength=weeks.n_weeks) for index in peer._bootstrap_indices], dtype=float)
    found = significance.confidence_set(weekly, significance.Weeks(np.arange(weeks.n_weeks), same))
    theirs = peer.pvalues["Pvalue"].sort_index().to_numpy()
    expected = np.where(theirs == 1, 1, (asked.resamples * theirs + 1) / (asked.resamples + 1))
    np.testing.assert_allclose(found.p_value, expected, atol=1e-12)
    set_s = ours["model confidence set"][0]

    print(f"{asked.models} models, {asked.games} games in {weeks.n_weeks} weeks, {asked.resamples} resamples")
    print(f"  {'draw the resamples':24}{draw_s * 1e3:9.1f} ms (median of {asked.repeats}, as all of ours)")
    for name, (seconds, _) in ours.items():
        print(f"  {name:24}{seconds * 1e3:9.1f} ms")
    print(f"  {'all together':24}{(draw_s + sum(s for s, _ in ours.values())) * 1e3:9.1f} ms (asked: far below 5 s)")
    print("the peers, same numbers")
    print(f"  a loop over resamples   {loop_s * 1e3:9.1f} ms, {loop_s / bootstrap_s:.0f} times the paired bootstrap")
    print(f"  scipy.stats.bootstrap   {scipy_s * 1e3:9.1f} ms, {scipy_s / interval_s:.0f} times the intervals")
    print(f"  arch's confidence set   {arch_s * 1e3:9.1f} ms, {arch_s / set_s:.1f} times ours")
    print("imports, beyond numpy: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in imports.items()))


if __name__ == "__main__":
    main()
