"""What the figures of a comparison are drawn from: each model's predictions, checked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# More lines than these cannot be told apart on a page, in colour or in grey.
MOST_CURVES = 12
_COLUMNS = (
    *("game_id", "season", "week", "kickoff", "outcome", "probability"),
    *("odds_home", "odds_away", "bet", "stake", "profit"),
)


class FigureError(ValueError):
    """Predictions of which no figure can be drawn."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of the figures.

    Attributes:
        label: What a reader knows the model by; any text.
        predictions: One row per tested game, as `evaluation.Report` has them: game_id, season, week, kickoff, outcome
            (1 for a home win), probability (of a home win; missing throughout of a model that gives stakes), odds_home
            and odds_away (decimal; missing where there are none), bet ("home", "away" or missing), stake and profit
            (fractions of the bankroll).
    """

    label: str
    predictions: pd.DataFrame

    @property
    def outcome(self) -> NDArray[np.int8]:
        """1 when the home side won, else 0, (n_games,)."""
        return self.predictions["outcome"].to_numpy(dtype=np.int8)

    @property
    def probability(self) -> NDArray[np.float64]:
        """Probability of a home win, (n_games,)."""
        return self.predictions["probability"].to_numpy(dtype=np.float64, na_value=np.nan)

    @property
    def forecasts(self) -> bool:
        """Whether the model gives probabilities; one that gives stakes is drawn by its bets alone."""
        return not np.isnan(self.probability).all()

    @property
    def odds(self) -> NDArray[np.float64]:
        """Decimal odds of home and away, (n_games, 2); NaN where absent."""
        return self.predictions[["odds_home", "odds_away"]].to_numpy(dtype=np.float64, na_value=np.nan)

    @property
    def kickoff(self) -> NDArray[np.datetime64]:
        """Kick-off of each game, (n_games,)."""
        return self.predictions["kickoff"].to_numpy(dtype="datetime64[ns]")


def check(curves: Sequence[Curve]) -> None:
    """Refuse what cannot be drawn.

    Raises:
        FigureError: There is no curve, or more than can be told apart; a label is empty, or there twice; predictions
            lack a column or hold no game; a probability is not in [0, 1], or an outcome neither 0 nor 1.
    """
    if not curves:
        raise FigureError("There is no model to draw; give at least one.")
    if len(curves) > MOST_CURVES:
        raise FigureError(f"{len(curves)} models cannot be told apart in a figure; choose at most {MOST_CURVES}.")
    labels = [curve.label for curve in curves]
    for label in labels:
        if not label.strip():
            raise FigureError("A model has no label, by which a reader would know it; give it one.")
        if labels.count(label) > 1:
            raise FigureError(f"Two models are called {label!r}; give each a label of its own.")
    for curve in curves:
        absent = [name for name in _COLUMNS if name not in curve.predictions.columns]
        if absent:
            raise FigureError(
                f"The predictions of {curve.label!r} have no {', '.join(absent)}; give them as a trial writes them."
            )
        if not len(curve.predictions):
            raise FigureError(f"The predictions of {curve.label!r} hold no game; leave that model out.")
        told = curve.predictions["probability"].to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = ~((told >= 0) & (told <= 1))
        if wrong.any() and curve.forecasts:
            raise FigureError(f"{curve.label!r} gave {told[wrong][0]} as a probability; it must lie in [0, 1].")
        ended = curve.predictions["outcome"].to_numpy(dtype=np.float64, na_value=np.nan)
        strange = ~np.isin(ended, (0, 1))
        if strange.any():
            raise FigureError(
                f"An outcome of {curve.label!r} is {ended[strange][0]:g}; it must be 1 for a home win, else 0."
            )
