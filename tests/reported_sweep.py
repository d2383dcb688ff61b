"""Makes sweeps by hand whose models have forecast real-looking games, as trials and their calibrations journal them."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from handmade_sweep import HandmadeSweep
from sweeproute.betting import NO_BET, SIDES, BettingRule, place, settle
from sweeproute.journal import Journal
from sweeproute.measures import metrics_of

RULE = BettingRule()
WEEKS, GAMES = 17, 14


@functools.cache
def games(seasons: tuple[int, ...] = (2018, 2019), priced: float = 1.0) -> pd.DataFrame:
    """Games with an outcome, and odds for a share of them; `strength` is the true log odds of a home win."""
    chance = np.random.default_rng(5)
    n = len(seasons) * WEEKS * GAMES
    season = np.repeat(seasons, WEEKS * GAMES)
    week = np.tile(np.repeat(np.arange(1, WEEKS + 1), GAMES), len(seasons))
    strength = chance.normal(0.2, 0.9, n)
    chances = 1 / (1 + np.exp(-strength))
    odds = np.where(np.arange(n) < priced * n, 0.96, np.nan) / np.stack([chances, 1 - chances])
    start = pd.to_datetime([f"{one}-09-05" for one in season]) + pd.to_timedelta(7 * (week - 1), unit="D")
    return pd.DataFrame(
        {
            "game_id": pd.array([f"g{number}" for number in range(n)], dtype="string"),
            "season": season,
            "week": pd.array(week, dtype="Int64"),
            "kickoff": start,
            "outcome": (chance.random(n) < chances).astype(np.int8),
            "odds_home": odds[0],
            "odds_away": odds[1],
            "strength": strength,
        }
    )


def forecasts(played: pd.DataFrame, noise: float, seed: int = 0, sharper: float = 1.0) -> np.ndarray:
    """Probabilities of a model that knows the strengths but for some noise."""
    blur = np.random.default_rng(seed).normal(0, noise, len(played)) if noise else 0.0
    return 1 / (1 + np.exp(-sharper * (played["strength"].to_numpy() + blur)))


def predictions(played: pd.DataFrame, probability: np.ndarray, units: np.ndarray | None = None) -> pd.DataFrame:
    """What a trial writes of its games, of probabilities or of stakes in units of the rule's."""
    odds, outcome = played[["odds_home", "odds_away"]].to_numpy(), played["outcome"].to_numpy()
    bets = settle(probability, odds, outcome, RULE) if units is None else place(units, odds, outcome, RULE)
    return pd.DataFrame(
        {
            **{name: played[name] for name in ("game_id", "season", "week", "kickoff", "outcome")},
            "probability": probability,
            "odds_home": odds[:, 0],
            "odds_away": odds[:, 1],
            "bet": pd.array([None if side == NO_BET else SIDES[side] for side in bets.side], dtype="string"),
            "stake": bets.stake,
            "profit": bets.profit,
        }
    )


def trial(
    sweep: HandmadeSweep,
    job: int,
    model: str,
    says: Mapping[str, np.ndarray],
    played: pd.DataFrame,
    overrides: Sequence[str] = (),
    seed: int = 42,
    tags: Mapping[str, str] | None = None,
    kind: str = "trial",
    params: Mapping[str, str] | None = None,
) -> Path:
    """A job of a model: the first of what it says is its own, each of the others a calibration below."""
    overrides = overrides or [f"model={model.lower()}"]
    folder = sweep.start(job, overrides=list(overrides))
    own, *others = says
    metrics = _run(folder, kind, model, own, predictions(played, says[own]), overrides, seed, tags, params, others=says)
    with Journal.open(folder, f"{model} {job}") as journal:
        for method in others:
            below = folder / "calibrated" / method
            table = predictions(played, says[method])
            metrics |= {
                f"{method}/{name}": value
                for name, value in _run(
                    below, "calibration", model, method, table, overrides, seed, tags, params
                ).items()
            }
            journal.nested(below)
    sweep.finish(folder, metrics)
    return folder


def _run(
    folder: Path,
    kind: str,
    model: str,
    method: str,
    table: pd.DataFrame,
    overrides: Sequence[str],
    seed: int,
    tags: Mapping[str, str] | None,
    params: Mapping[str, str] | None,
    others: Mapping[str, np.ndarray] | None = None,
) -> dict[str, float]:
    """Journal a run; that of a trial stays open for those below it."""
    journal = Journal.open(folder, f"{model} {method}", {"sweeproute.kind": kind})
    seasons = sorted(table["season"].unique().tolist())
    told = {
        "seed": seed,
        "model.type": model,
        "validation.selection_seasons": f"[{seasons[0]}, {seasons[-1]}]",
        "betting.min_edge": RULE.min_edge,
        "betting.stake": RULE.stake,
        "betting.kelly_fraction": RULE.kelly_fraction,
        "calibration": method,
    }
    journal.params(told | dict(params or {}))
    said = {
        "seed": str(seed),
        "model_type": model,
        "calibration": method,
        "data_hash": "ab" * 32,
        "device_class": "cpu;x86_64;threads=1",
        "overrides": json.dumps(list(overrides)),
    }
    journal.tags({f"sweeproute.{name}": value for name, value in (said | dict(tags or {})).items()})
    for season in seasons:
        journal.metrics(metrics_of(table[table["season"] == season], RULE), step=season)
    metrics = metrics_of(table, RULE)
    journal.metrics(metrics, step=seasons[-1] + 1)
    table.to_parquet(folder / "predictions.parquet", index=False)
    journal.artifact("predictions.parquet")
    if others is None:
        journal.end()
    return metrics
