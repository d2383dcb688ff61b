"""A season of bets as an environment of Gymnasium: a game after the other, a stake on each or none, the profit."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sweeproute.models.betting_observation import LIMIT


def units_of(action: NDArray[np.integer], max_units: int) -> NDArray[np.int64]:
    """The stakes that actions stand for.

    Args:
        action: 0 for no bet, 1 to max_units for as many units on the home side, above that on the away side, of any
            shape.
        max_units: The greatest stake.

    Returns:
        Units of the same shape, negative on the away side.

    Example:
        >>> units_of(np.arange(5), max_units=2).tolist()
        [0, 1, 2, -1, -2]
    """
    action = np.asarray(action, dtype=np.int64)
    return np.where(action > max_units, max_units - action, action)


def profits(units: NDArray[np.integer], odds: NDArray[np.float64], outcome: NDArray[np.integer]) -> NDArray[np.float64]:
    """What stakes bring at decimal odds, in units: what the bookmaker's margin takes is taken.

    Args:
        units: Negative on the away side, (n_games,).
        odds: Of home and away, (n_games, 2).
        outcome: 1 when the home side won, else 0, (n_games,).

    Returns:
        (n_games,).
    """
    away = (units < 0).astype(np.intp)
    price = np.take_along_axis(odds, away[:, None], axis=1)[:, 0]
    won = (outcome == 1) == (away == 0)
    return np.abs(units) * np.where(won, price - 1, -1.0)


class BettingEnvironment(gymnasium.Env[NDArray[np.float32], np.int64]):
    """An episode is a season, drawn at random; a step is one of its games, in the order of kick-off.

    What is seen of a game is known before it begins. The bankroll is not part of it: stakes are in flat units, so that
    what a bet brings depends neither on what others have brought nor on when it is told, and a game whose result comes
    after the next one has begun gives nothing away.

    Args:
        observations: What is seen of each game, (n_games, n_values) float32, from `observe`.
        odds: Decimal odds of home and away, (n_games, 2); a game with a NaN, on which nobody can bet, is passed over.
        outcome: 1 when the home side won, else 0, (n_games,).
        season: (n_games,), games in the order of kick-off.
        max_units: The greatest stake.
        risk_aversion: What the variance of a bet costs: the reward of a profit x is x - risk_aversion * x**2 / 2, in
            units (mean and variance, Markowitz, "Portfolio selection", Journal of Finance 7, 1952). With the fraction
            of the bankroll that a unit is, this is the growth of the bankroll's logarithm, to the second order.

    Raises:
        ValueError: No game has odds.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  (Gymnasium's own declaration)

    def __init__(
        self,
        observations: NDArray[np.float32],
        odds: NDArray[np.float64],
        outcome: NDArray[np.integer],
        season: NDArray[np.integer],
        max_units: int = 2,
        risk_aversion: float = 0.0,
    ) -> None:
        rows = np.flatnonzero(~np.isnan(odds).any(axis=1))
        if not rows.size:
            raise ValueError("No game has odds, so that there is nothing to bet on.")
        self._seen = observations[rows]
        units = units_of(np.arange(1 + 2 * max_units), max_units)
        of_each = [profits(np.full(rows.size, one), odds[rows], outcome[rows]) for one in units]
        self._profit = np.stack(of_each, axis=1)  # (n_priced, n_actions)
        self._reward = self._profit - risk_aversion * self._profit**2 / 2
        self._rows = {one: np.flatnonzero(season[rows] == one) for one in np.unique(season[rows]).tolist()}
        self._seasons = list(self._rows)
        self._season, self._step = self._seasons[0], 0
        self._over = np.zeros(observations.shape[1], np.float32)
        self.observation_space = spaces.Box(-LIMIT, LIMIT, (observations.shape[1],), np.float32)
        self.action_space = spaces.Discrete(len(units))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin a season.

        Args:
            seed: Of the draws of seasons from here on; None goes on with them.
            options: `season` names it; None draws one.

        Returns:
            What is seen of its first game; the season.
        """
        super().reset(seed=seed)
        drawn = self._seasons[int(self.np_random.integers(len(self._seasons)))]
        self._season, self._step = (options or {}).get("season", drawn), 0
        return self._seen[self._rows[self._season][0]].copy(), {"season": self._season}

    def step(self, action: np.int64 | int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Place a bet, or none.

        Args:
            action: See `units_of`.

        Returns:
            What is seen of the next game, zeros behind the last; the reward; whether the season is over; False; the
            profit in units.
        """
        rows = self._rows[self._season]
        row = rows[self._step]
        self._step += 1
        over = self._step == len(rows)
        seen = self._over.copy() if over else self._seen[rows[self._step]].copy()
        told = {"profit": float(self._profit[row, action])}
        return seen, float(self._reward[row, action]), over, False, told

    @property
    def place(self) -> dict[str, Any]:
        """Where it stands, as plain data: season, step, and the state of its draws."""
        return {"season": self._season, "step": self._step, "draws": self.np_random.bit_generator.state}

    def go_to(self, place: dict[str, Any]) -> None:
        """Stand where another one stood that had the same games.

        Args:
            place: As `place` gave it.
        """
        self._season, self._step = place["season"], place["step"]
        self.np_random.bit_generator.state = place["draws"]
