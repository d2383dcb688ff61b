"""Takes what the members of an ensemble said to a report of what they say together."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig

from sweeproute.betting import NO_BET, SIDES, BettingRule, settle
from sweeproute.config import plain
from sweeproute.ensemble import EnsembleError, Member, Members, Record, check_data
from sweeproute.ensemble_methods import combine
from sweeproute.evaluation import Report
from sweeproute.measures import metrics_of
from sweeproute.trial_journal import predictions_path


def evaluate(cfg: DictConfig, members: Members, data_hash: str) -> tuple[Report, pd.DataFrame]:
    """Combine what members said of each tested game, under each calibration, and score it as a model is scored.

    A member with several repeats says the mean of their probabilities. Nothing is fitted but what
    `ensemble_methods.combine` fits on earlier seasons; on the holdout these are the selection seasons, and the seasons
    of the holdout before.

    Args:
        cfg: The config of a trial whose model is an ensemble.
        members: Its members.
        data_hash: Hash of the trial's data.

    Returns:
        The report, without a fitted model; and what each member counts in each tested season, one row a calibration,
        season and member.

    Raises:
        EnsembleError: A member was made from other data, tested on other games, has left no predictions, or gives no
            probabilities.
    """
    check_data(members, data_hash)
    betting = BettingRule(**plain(cfg.betting))
    reports: dict[str, Report] = {}
    weights = []
    for method, of_method in members.by_calibration.items():
        began = perf_counter()
        games, says = _said(of_method, method, scored=False)
        first = int(games["season"].min())
        if cfg.validation.scoring:
            before, said_before = games, says
            games, says = _said(of_method, method, scored=True)
            first = int(games["season"].min())
            earlier = (before["season"] < first).to_numpy()
            games = pd.concat([before[earlier], games], ignore_index=True)
            says = np.concatenate([said_before[:, earlier], says], axis=1)
        params, judged = cfg.model.params, _Judged(members, games, says, betting)
        season, outcome = games["season"].to_numpy(), games["outcome"].to_numpy()
        combined, of_seasons = combine(
            str(params.method), says, outcome, season, judged.loss, float(params.C), float(params.clip)
        )
        reports[method] = _report(games, combined, season >= first, betting, perf_counter() - began)
        for one in of_seasons:
            if one.season >= first:
                weights += [
                    {
                        "calibration": method,
                        "season": one.season,
                        "method": one.method,
                        "model": member.model,
                        "jobs": " ".join(str(job["job"]) for job in member.jobs),
                        "weight": float(weight),
                        "intercept": one.intercept,
                    }
                    for member, weight in zip(of_method, one.members, strict=True)
                ]
    own, *others = reports.values()
    calibrated = dict(zip(list(reports)[1:], others, strict=True))
    report = Report(
        own.metrics, own.by_season, own.predictions, own.fit_seconds, own.predict_seconds, None, calibrated=calibrated
    )
    return report, pd.DataFrame(weights)


class _Judged:
    """How members did in some of the games, by what their sweep chooses by, or by the Brier score where that is no
    metric of theirs."""

    def __init__(self, members: Members, games: pd.DataFrame, says: NDArray[np.float64], betting: BettingRule) -> None:
        self._objective = members.decides.objectives[0]
        self._games, self._says, self._betting = games, says, betting

    def loss(self, member: int, rows: NDArray[np.bool_]) -> float:
        """See `ensemble_methods.combine`."""
        metrics = metrics_of(self._games[rows].assign(probability=self._says[member][rows]), self._betting)
        name = self._objective.metric.rpartition("/")[2]
        return self._objective.loss(metrics[name]) if name in metrics else metrics["brier"]


def _report(
    games: pd.DataFrame, probability: NDArray[np.float64], tested: NDArray[np.bool_], rule: BettingRule, seconds: float
) -> Report:
    # What is known of a game is the first member's, in its columns; what follows from a probability is its own.
    table = games[tested].assign(probability=probability[tested]).reset_index(drop=True)
    odds = table[["odds_home", "odds_away"]].to_numpy(dtype=np.float64)
    bets = settle(table["probability"].to_numpy(), odds, table["outcome"].to_numpy(), rule)
    sides = [None if side == NO_BET else SIDES[side] for side in bets.side]
    table = table.assign(bet=pd.array(sides, dtype="string"), stake=bets.stake, profit=bets.profit)
    by_season = {
        int(season): metrics_of(table[table["season"] == season], rule) for season in np.unique(table["season"])
    }
    return Report(metrics_of(table, rule), by_season, table, seconds, 0.0, None)


def _said(members: Sequence[Member], method: str, *, scored: bool) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """The tested games, and what each member says of them, (n_members, n_games)."""
    games: pd.DataFrame | None = None
    first: Record = {}
    says = []
    for member in members:
        repeats = []
        for job in member.scored if scored else member.jobs:
            who = f"{member.model}, job {job['job']} of sweep {job['sweep']},"
            table = _predictions(job, method)
            if games is None:
                games, first = table, job
            if not (table["game_id"].equals(games["game_id"]) and table["outcome"].equals(games["outcome"])):
                raise EnsembleError(
                    f"{who} was tested on {_span(table)}, and job {first['job']} on {_span(games)}, so that they say "
                    "nothing together; leave one of their models out."
                )
            probability = table["probability"].to_numpy(dtype=np.float64)
            if np.isnan(probability).any():
                raise EnsembleError(f"{who} gives no probabilities, so that it can be no member of an ensemble.")
            repeats.append(probability)
        says.append(np.mean(repeats, axis=0))
    assert games is not None
    return games, np.array(says)


def _predictions(job: Record, method: str) -> pd.DataFrame:
    path = predictions_path(Path(job["folder"]), method)
    try:
        return pd.read_parquet(path)
    except OSError:
        raise EnsembleError(
            f"Job {job['job']} of sweep {job['sweep']} has left no {path.name} in {path.parent}; "
            f"`sweeproute sync {job['sweep']}` brings what lies elsewhere."
        ) from None


def _span(games: pd.DataFrame) -> str:
    seasons: Any = games["season"]
    return f"{len(games)} games of {seasons.min()} to {seasons.max()}"
