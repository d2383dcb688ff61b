"""Bets on the side that a model finds underpriced, settled at closing odds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# What a bet is on, by column of the odds.
SIDES = ("home", "away")
NO_BET = -1


class BettingError(ValueError):
    """Odds, or a betting rule, that cannot be."""


@dataclass(frozen=True)
class BettingRule:
    """When to bet, and how much.

    Attributes:
        min_edge: Bet where probability times decimal odds exceeds one by at least this much (expected profit per unit
            staked).
        stake: Fraction of the bankroll staked on each bet; flat, so it is the bankroll before the first bet that
            counts.
        kelly_fraction: Fraction of Kelly's stake, for the bankroll that is staked by it beside the flat one.

    Raises:
        BettingError: The edge is negative, or the stake or the fraction is not in (0, 1].
    """

    min_edge: float = 0.02
    stake: float = 0.01
    kelly_fraction: float = 0.25

    def __post_init__(self) -> None:
        if not self.min_edge >= 0:
            raise BettingError(f"betting.min_edge={self.min_edge} would bet at an expected loss; use 0 or more.")
        if not 0 < self.stake <= 1:
            raise BettingError(
                f"betting.stake={self.stake} is not a fraction of the bankroll; use more than 0, at most 1."
            )
        if not 0 < self.kelly_fraction <= 1:
            raise BettingError(
                f"betting.kelly_fraction={self.kelly_fraction} is no fraction of a stake; use more than 0, at most 1."
            )


@dataclass(frozen=True, eq=False)
class Bets:
    """One entry a game: the bet, if there is one, and what it brought.

    Attributes:
        side: Column of the odds that was bet on (0 home, 1 away), or NO_BET, (n_games,) int8.
        stake: Fraction of the bankroll, (n_games,); NaN where there is no bet.
        profit: Fraction of the bankroll won or, negative, lost, (n_games,); NaN where there is no bet.
    """

    side: NDArray[np.int8]
    stake: NDArray[np.float64]
    profit: NDArray[np.float64]


def settle(
    probability: NDArray[np.floating],
    odds: NDArray[np.floating],
    outcome: NDArray[np.integer],
    rule: BettingRule,
    *,
    on_every_game: bool = False,
) -> Bets:
    """Place the bets that a rule asks for, then settle them.

    A unit staked on a side with probability p at decimal odds o has the expected profit p * o - 1. The side with the
    greater one is bet on if that is at least `rule.min_edge`; home where both are equal. A winning stake brings stake *
    (o - 1).

    Args:
        probability: Probability of a home win, (n_games,).
        odds: Decimal odds of home and away, (n_games, 2); a game with a NaN here or there gets no bet.
        outcome: 1 when the home side won, else 0, (n_games,).
        rule: When to bet, and how much.
        on_every_game: Bet on each game with odds, whatever is expected of it.

    Returns:
        The settled bets, one entry a game.

    Example:
        >>> odds = np.array([[2.0, 1.9], [1.9, 1.9]])
        >>> bets = settle(np.array([0.6, 0.5]), odds, np.array([1, 0]), BettingRule(stake=0.1))
        >>> bets.side.tolist(), bets.profit.tolist(), roi(bets.profit, bets.stake)
        ([0, -1], [0.1, nan], 1.0)
    """
    chance = np.column_stack([probability, 1 - probability])
    edge = chance * odds - 1
    priced = ~np.isnan(edge).any(axis=1)
    better = np.where(edge[:, 0] >= edge[:, 1], 0, 1)
    row = np.arange(len(odds))
    placed = priced & (on_every_game | (edge[row, better] >= rule.min_edge))
    return _settled(np.where(placed, better, NO_BET), np.full(len(odds), rule.stake), odds, outcome)


def place(
    units: NDArray[np.floating], odds: NDArray[np.floating], outcome: NDArray[np.integer], rule: BettingRule
) -> Bets:
    """Place the bets that a model asks for by itself, then settle them.

    Args:
        units: Units of the rule's stake, negative on the away side, 0 for no bet, (n_games,).
        odds: Decimal odds of home and away, (n_games, 2); a game with a NaN gets no bet.
        outcome: 1 when the home side won, else 0, (n_games,).
        rule: How much a unit is.

    Returns:
        The settled bets, one entry a game.

    Example:
        >>> odds = np.array([[2.0, 1.9], [1.9, 1.9], [1.5, 2.8]])
        >>> bets = place(np.array([-2.0, 0.0, 1.0]), odds, np.array([0, 0, 1]), BettingRule(stake=0.1))
        >>> bets.side.tolist(), bets.stake.tolist(), bets.profit.round(2).tolist()
        ([1, -1, 0], [0.2, nan, 0.1], [0.18, nan, 0.05])
    """
    placed = ~np.isnan(odds).any(axis=1) & (units != 0)
    side = np.where(placed, np.where(units > 0, 0, 1), NO_BET)
    return _settled(side, np.abs(units) * rule.stake, odds, outcome)


def _settled(
    side: NDArray[np.integer], stake: NDArray[np.floating], odds: NDArray[np.floating], outcome: NDArray[np.integer]
) -> Bets:
    placed, on = side != NO_BET, np.where(side == NO_BET, 0, side)
    won = np.where(on == 0, outcome == 1, outcome == 0)
    profit = stake * np.where(won, odds[np.arange(len(odds)), on] - 1, -1)
    return Bets(
        side=side.astype(np.int8),
        stake=np.where(placed, stake, np.nan),
        profit=np.where(placed, profit, np.nan),
    )


def roi(profit: NDArray[np.floating], stake: NDArray[np.floating]) -> float:
    """Return on investment: profit over total staked, both summed over the bets.

    Args:
        profit: Profit of each bet, (n_games,); NaN where there is no bet.
        stake: Stake of each bet in the same unit, (n_games,); NaN where there is no bet.

    Returns:
        The return as a fraction, 0.03 for 3 units won on 100 staked; NaN, not 0, where nothing was staked.
    """
    placed = ~np.isnan(stake)
    if not placed.any():
        return float("nan")
    return float(profit[placed].sum() / stake[placed].sum())


def american_to_decimal(american: ArrayLike) -> NDArray[np.float64]:
    """American odds (+150: win 150 on 100; -200: stake 200 to win 100) as decimal odds (payout per unit staked).

    Args:
        american: American odds of any shape; NaN where absent.

    Returns:
        Decimal odds of the same shape; NaN where absent.

    Raises:
        BettingError: A value lies between -100 and 100, where American odds have no meaning.

    Example:
        >>> american_to_decimal([150, -200]).tolist()
        [2.5, 1.5]
    """
    value = np.asarray(american, dtype=np.float64)
    wrong = np.abs(value) < 100
    if wrong.any():
        raise BettingError(
            f"{value[wrong].flat[0]:g} is not American odds, which are at least +100 or at most -100; decimal odds go "
            "into odds columns as they are."
        )
    with np.errstate(divide="ignore"):
        return np.where(value > 0, 1 + value / 100, 1 - 100 / value)


def decimal_to_american(decimal: ArrayLike) -> NDArray[np.float64]:
    """Decimal odds (payout per unit staked) as American odds.

    Args:
        decimal: Decimal odds of any shape; NaN where absent.

    Returns:
        American odds of the same shape, +100 for even money; NaN where absent.

    Raises:
        BettingError: A value is 1 or less, which pays no profit.

    Example:
        >>> decimal_to_american([2.5, 1.5]).tolist()
        [150.0, -200.0]
    """
    value = np.asarray(decimal, dtype=np.float64)
    wrong = value <= 1
    if wrong.any():
        raise BettingError(f"Decimal odds of {value[wrong].flat[0]:g} pay no profit; they must be greater than 1.")
    return np.where(value >= 2, 100 * (value - 1), -100 / (value - 1))


def overround(odds: NDArray[np.floating]) -> NDArray[np.float64]:
    """The bookmaker's margin: by how much the implied probabilities of both sides exceed one.

    Args:
        odds: Decimal odds of home and away, (n_games, 2).

    Returns:
        The margin as a fraction, (n_games,), 0.025 for 2.5 %; NaN where odds are absent.
    """
    return np.asarray((1 / odds).sum(axis=1) - 1, dtype=np.float64)


def implied_probability(odds: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probability of a home win that the odds imply, with the overround removed.

    The inverse odds are divided by their sum (basic normalisation; Štrumbelj, "On determining probability forecasts
    from betting odds", International Journal of Forecasting 30, 2014).

    Args:
        odds: Decimal odds of home and away, (n_games, 2).

    Returns:
        Probabilities, (n_games,); NaN where odds are absent.

    Example:
        >>> implied_probability(np.array([[1.9, 1.9]])).tolist()
        [0.5]
    """
    inverse = 1 / odds
    return np.asarray(inverse[:, 0] / inverse.sum(axis=1), dtype=np.float64)
