"""What bets do to a bankroll: its path, its worst fall, its growth, and stakes that follow it."""

import numpy as np
from numpy.typing import NDArray

from sweeproute.betting import NO_BET, Bets

# What rounding may leave of a bankroll that lost all, as a fraction of its peak.
_ROUNDING = 1e-12


def path(profit: NDArray[np.floating], kickoff: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """The bankroll after each kick-off; bets on games that begin together are settled together.

    Each is entered at its kick-off, though its game ends later, and the stakes may follow coarser steps, as `kelly`'s
    do.

    Args:
        profit: Profit of each bet as a fraction of the first bankroll, (n_games,); NaN where there is no bet.
        kickoff: Kick-off of each game, (n_games,), in any order.

    Returns:
        The bankroll, 1 at first, (1 + n_kickoffs,), in the order of time.

    Example:
        >>> days = np.array(["2024-09-08", "2024-09-08", "2024-09-15"], "datetime64[D]")
        >>> path(np.array([0.5, np.nan, -0.25]), days).tolist()
        [1.0, 1.5, 1.25]
    """
    _, moment = np.unique(kickoff, return_inverse=True)
    change = np.bincount(moment, weights=np.nan_to_num(profit)) if len(moment) else np.empty(0)
    return np.concatenate([[1.0], 1.0 + np.cumsum(change)])


def drawdown(bankroll: NDArray[np.floating]) -> float:
    """The worst fall from a peak, as a fraction of that peak.

    Args:
        bankroll: A path, (n_moments,), 1 or another positive number at first.

    Returns:
        0 where it never fell, 1 where all was lost: whoever has nothing left cannot lose more, though flat stakes go
        on below 0.

    Example:
        >>> drawdown(np.array([1.0, 2.0, 1.5, 3.0]))
        0.25
    """
    peak = np.maximum.accumulate(bankroll)
    return min(float(np.max(1 - bankroll / peak)), 1.0)


def log_growth(bankroll: NDArray[np.floating]) -> float:
    """Natural logarithm of what a bankroll has grown to.

    Args:
        bankroll: A path, (n_moments,), 1 or another positive number at first.

    Returns:
        Growth in nats, 0.69 for a doubling; minus infinity where nothing was left of it at any moment, since whoever is
        ruined cannot bet on, though a flat path may come back.

    Example:
        >>> log_growth(np.array([1.0, 0.5, 1.0])), log_growth(np.array([1.0, -0.5, 2.0]))
        (0.0, -inf)
    """
    if (bankroll <= _ROUNDING * np.maximum.accumulate(bankroll)).any():
        return float("-inf")
    return float(np.log(bankroll[-1] / bankroll[0]))


def kelly(
    probability: NDArray[np.floating],
    odds: NDArray[np.floating],
    outcome: NDArray[np.integer],
    kickoff: NDArray[np.datetime64],
    bets: Bets,
    fraction: float,
) -> Bets:
    """Stake on the same sides a fraction of what makes the bankroll grow fastest, by the bankroll as the day begins.

    With probability p at decimal odds o that is (p * o - 1) / (o - 1) of the bankroll (Kelly, "A new interpretation of
    information rate", Bell System Technical Journal 35, 1956); a fraction of it gives up some growth for much less
    risk (MacLean, Ziemba and Blazenko, Management Science 38, 1992). A game still runs when the next one of its day
    begins, so no bet of a calendar day knows how another one ends: all of them see the bankroll that the day began
    with, and together are at most that. Days are those of the clock that `kickoff` is in: US Eastern time for the NFL's
    games, UTC for a table whose times have a zone.

    Args:
        probability: Probability of a home win, (n_games,).
        odds: Decimal odds of home and away, (n_games, 2).
        outcome: 1 when the home side won, else 0, (n_games,).
        kickoff: Kick-off of each game, (n_games,), in any order.
        bets: Which sides are bet on; where that is at an expected loss, nothing is staked.
        fraction: Of the full stake, in (0, 1].

    Returns:
        The bets with stakes and profits as fractions of the first bankroll, which compounds.
    """
    row = np.arange(len(bets.side))
    side = np.where(bets.side == NO_BET, 0, bets.side)
    chance = np.column_stack([probability, 1 - probability])[row, side]
    profit = odds[row, side] - 1  # of a unit staked that wins
    placed = (bets.side != NO_BET) & (chance * (profit + 1) > 1)
    edge = fraction * (chance * (profit + 1) - 1)
    share = np.divide(edge, profit, out=np.zeros(len(row)), where=placed)
    won = np.where(side == 0, outcome == 1, outcome == 0)
    back = np.where(placed, np.where(won, profit, -1.0), 0.0)

    _, day = np.unique(kickoff.astype("datetime64[D]"), return_inverse=True)
    share /= np.maximum(1.0, np.bincount(day, weights=share))[day] if len(day) else 1.0
    factor = 1 + np.bincount(day, weights=share * back) if len(day) else np.empty(0)
    before = np.concatenate([[1.0], np.cumprod(factor)])[day]
    return Bets(
        side=np.where(placed, bets.side, NO_BET).astype(np.int8),
        stake=np.where(placed, share * before, np.nan),
        profit=np.where(placed, share * back * before, np.nan),
    )
