"""The simulated league's bookmaker: what he believes about the teams' strengths, which he prices by.

His quotes are means of what he may believe after all that he saw, the results included. So they are calibrated, however
much he does not know, and no model of the results can have an edge on him. A quote of the truth with noise would be
overconfident instead: too long on the side that the noise is against, with a profit for all who bet on that side.
"""

import numpy as np

from sweeproute.betting import decimal_to_american


class Beliefs:
    """A normal distribution over all strengths, moved through time and by what is seen: a Kalman filter.

    Kalman, "A new approach to linear filtering and prediction problems", Journal of Basic Engineering 82 (1960).

    Attributes:
        mean: (n_strengths,) points.
        covariance: (n_strengths, n_strengths) points squared.
    """

    def __init__(self, n_strengths: int, variance: float) -> None:
        self.mean = np.zeros(n_strengths)
        self.covariance = variance * np.eye(n_strengths)

    def move(self, transition: np.ndarray, variance: float) -> None:
        """Follow the strengths to `transition @ strengths` plus independent changes.

        Args:
            transition: (n_strengths, n_strengths).
            variance: of each change, points squared.
        """
        self.mean = transition @ self.mean
        self.covariance = transition @ self.covariance @ transition.T + variance * np.eye(len(self.mean))

    def see(self, design: np.ndarray, values: np.ndarray, variance: float) -> None:
        """Learn from values that are `design @ strengths` plus independent noise.

        Args:
            design: (n_values, n_strengths).
            values: (n_values,) points.
            variance: of the noise of each value, points squared.
        """
        cross = design @ self.covariance  # (n_values, n_strengths)
        gain = np.linalg.solve(cross @ design.T + variance * np.eye(len(values)), cross).T
        self.mean = self.mean + gain @ (values - design @ self.mean)
        covariance = self.covariance - gain @ cross
        self.covariance = (covariance + covariance.T) / 2  # rounding would let it drift from symmetry

    def variance_of(self, design: np.ndarray) -> np.ndarray:
        """Return how uncertain `design @ strengths` is: (n_values,) points squared."""
        return ((design @ self.covariance) * design).sum(axis=1)


def moneylines(probability: np.ndarray, overround: np.ndarray) -> np.ndarray:
    """Return American odds of home and away, (n_games, 2), rounded as they are quoted.

    Args:
        probability: (n_games,) that the home side wins.
        overround: (n_games,) by how much the implied probabilities shall exceed one.
    """
    price = np.column_stack([probability, 1 - probability]) * (1 + overround[:, None])
    price = np.clip(price, 0.02, 0.985)
    american = decimal_to_american(1 / price)
    step = np.where(np.abs(american) < 300, 1, np.where(np.abs(american) < 1000, 5, 25))
    return np.round(american / step) * step
