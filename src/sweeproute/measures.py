"""Makes of what a model says of games their table, with the bets and what these brought, and the metrics."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeproute import bankroll, scores
from sweeproute.betting import NO_BET, SIDES, Bets, BettingRule, place, roi, settle

if TYPE_CHECKING:
    from sweeproute.data.dataset import Dataset


_SCORES = (
    *("auc", "brier", "brier_reliability", "brier_resolution", "brier_uncertainty"),
    *("log_loss", "accuracy", "ece", "ace"),
)


@dataclass(frozen=True, eq=False)
class Said:
    """What a model said of games.

    Attributes:
        probability: Of a home win, by which the rule bets, (n_games,) float64; NaN of a model that gives stakes.
        units: Of a model that gives stakes: units of the rule's stake, negative on the away side, 0 for no bet,
            (n_games,) float64; None of a model that gives probabilities.
    """

    probability: NDArray[np.float64]
    units: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.probability)

    def and_then(self, more: "Said") -> "Said":
        """This and what the same model said of further games."""
        both = None if more.units is None else np.concatenate([self.units if len(self) else np.empty(0), more.units])
        return Said(np.concatenate([self.probability, more.probability]), both)


NOTHING_YET = Said(np.empty(0))


def predictions(dataset: "Dataset", rows: NDArray[np.int64], said: Said, rule: BettingRule) -> pd.DataFrame:
    """The table of `evaluation.Report.predictions`.

    Args:
        dataset: The games.
        rows: Positions of those that were tested, (n_tested,).
        said: What the model said of these.
        rule: By which its probabilities are bet on.
    """
    odds = odds_of(dataset, rows)
    week = pd.array([pd.NA] * rows.size, dtype="Int64") if dataset.week is None else dataset.week[rows]
    bets = _bets(said, odds, dataset.outcome[rows], rule)
    return pd.DataFrame(
        {
            "game_id": pd.array(dataset.game_id[rows].tolist(), dtype="string"),
            "season": dataset.season[rows],
            "week": pd.array(week, dtype="Int64"),
            "kickoff": dataset.kickoff[rows],
            "outcome": dataset.outcome[rows],
            "probability": said.probability,
            "odds_home": odds[:, 0],
            "odds_away": odds[:, 1],
            "bet": pd.array([None if side == NO_BET else SIDES[side] for side in bets.side], dtype="string"),
            "stake": bets.stake,
            "profit": bets.profit,
            "elo": np.full(rows.size, np.nan) if dataset.elo is None else dataset.elo[rows],
        }
    )


def metrics(dataset: "Dataset", rows: NDArray[np.int64], said: Said, rule: BettingRule) -> dict[str, float]:
    """The metrics of `evaluation.Report` over some games; arguments as for `predictions`."""
    odds, outcome = odds_of(dataset, rows), dataset.outcome[rows]
    return _scored(outcome, said, dataset.kickoff[rows], odds, rule)


def metrics_of(predictions: pd.DataFrame, rule: BettingRule) -> dict[str, float]:
    """Score predictions, whoever made them; those without probabilities by the bets that they hold.

    Args:
        predictions: One row a game, with the columns of `evaluation.Report.predictions`, (n_games, n_columns).
        rule: The betting rule that its bets follow.

    Returns:
        The metrics of an `evaluation.Report`.
    """
    outcome, probability, kickoff = (predictions[name].to_numpy() for name in ("outcome", "probability", "kickoff"))
    odds = predictions[["odds_home", "odds_away"]].to_numpy(dtype=np.float64)
    units = None
    if np.isnan(probability.astype(np.float64)).any():
        side = predictions["bet"].to_numpy(dtype=object, na_value="")
        stake = predictions["stake"].to_numpy(dtype=np.float64) / rule.stake
        units = np.select([side == name for name in SIDES], [stake, -stake], 0.0)
    return _scored(outcome, Said(probability, units), kickoff, odds, rule)


def odds_of(dataset: "Dataset", rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Decimal odds of home and away, (n_rows, 2), NaN where there are none."""
    return np.full((rows.size, 2), np.nan) if dataset.odds is None else dataset.odds[rows]


def _bets(said: Said, odds: NDArray[np.float64], outcome: NDArray[np.int8], rule: BettingRule) -> Bets:
    if said.units is not None:
        return place(said.units, odds, outcome, rule)
    return settle(said.probability, odds, outcome, rule)


def _scored(
    outcome: NDArray[np.int8],
    said: Said,
    kickoff: NDArray[np.datetime64],
    odds: NDArray[np.float64],
    rule: BettingRule,
) -> dict[str, float]:
    # What betting brings: as the model or the rule bets, by the same bets at Kelly's stakes, and flat on every game
    # that has odds. Without a probability there is nothing by which to stake the last two.
    probability, flat = said.probability, _bets(said, odds, outcome, rule)
    sized = bankroll.kelly(probability, odds, outcome, kickoff, flat, rule.kelly_fraction)
    every = settle(probability, odds, outcome, rule, on_every_game=True)
    return {
        **_scores(outcome, probability),
        "roi": roi(flat.profit, flat.stake),
        "roi_kelly": roi(sized.profit, sized.stake),
        "roi_flat": roi(every.profit, every.stake),
        "n_bets": float(np.count_nonzero(~np.isnan(flat.stake))),
        **_path("", flat, kickoff),
        **_path("_kelly", sized, kickoff),
        "n_games": float(len(outcome)),
    }


def _scores(outcome: NDArray[np.int8], probability: NDArray[np.float64]) -> dict[str, float]:
    """Scores of probabilities; all NaN where there are none."""
    if np.isnan(probability).any():
        return dict.fromkeys(_SCORES, float("nan"))
    reliability, resolution, uncertainty = scores.brier_parts(outcome, probability)
    found = (
        scores.auc(outcome, probability),
        scores.brier(outcome, probability),
        reliability,
        resolution,
        uncertainty,
        scores.log_loss(outcome, probability),
        scores.accuracy(outcome, probability),
        scores.ece(outcome, probability),
        scores.ace(outcome, probability),
    )
    return dict(zip(_SCORES, found, strict=True))


def _path(suffix: str, bets: Bets, kickoff: NDArray[np.datetime64]) -> dict[str, float]:
    """How a bankroll fares; NaN, not 0, where nothing was staked."""
    moments = bankroll.path(bets.profit, kickoff)
    staked = not np.isnan(bets.stake).all()
    return {
        f"drawdown{suffix}": bankroll.drawdown(moments) if staked else float("nan"),
        f"log_growth{suffix}": bankroll.log_growth(moments) if staked else float("nan"),
    }
