"""Calibration of probabilities by games that neither trained the model nor test it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sweeproute.selection import CALIBRATIONS, OURS

# What a calibration may be.
METHODS = CALIBRATIONS
# How far from 0 and 1 a probability is held where its odds are needed.
_EDGE = 1e-9
# Log odds with a smaller standard deviation than this say the same of all games; a curve over them would be made of
# rounding, and Newton's steps towards it go astray.
_SPREAD = 1e-5


class CalibrationError(ValueError):
    """Calibrations that cannot be."""


@dataclass(frozen=True)
class AsItIs:
    """No calibration."""

    method: ClassVar[str] = "none"

    def __call__(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probabilities themselves, (n_games,)."""
        return probability


@dataclass(frozen=True)
class Platt:
    """A logistic curve over the log odds of the model's probability.

    Attributes:
        slope: 1 leaves log odds as they are; less draws them to the middle.
        intercept: Log odds that are added.
    """

    method: ClassVar[str] = "platt"
    slope: float
    intercept: float

    def __call__(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities, (n_games,)."""
        # Late: not all trials calibrate. A steep curve's exponential would overflow.
        from scipy.special import expit

        return np.asarray(expit(self.slope * _log_odds(probability) + self.intercept))


@dataclass(frozen=True)
class Isotonic:
    """A curve that never falls, linear between its knots and level outside of them.

    Attributes:
        stated: Probabilities of the model, ascending.
        won: What they are worth.
    """

    method: ClassVar[str] = "isotonic"
    stated: tuple[float, ...]
    won: tuple[float, ...]

    def __call__(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities, (n_games,)."""
        return np.interp(probability, self.stated, self.won)


Calibrator = AsItIs | Platt | Isotonic


def check_methods(methods: Sequence[str], calibration_seasons: int) -> None:
    """Refuse calibrations that are none, or that have no games to learn from.

    Args:
        methods: The names, of which the first is the trial's own.
        calibration_seasons: Seasons before each tested one that are kept for it.

    Raises:
        CalibrationError: An unknown name, one that is there twice, none at all, or no season to calibrate on.
    """
    if not methods:
        raise CalibrationError("calibration.methods is empty; [none] leaves probabilities as the model gives them.")
    for method in methods:
        if method not in _FITS:
            near = get_close_matches(str(method), _FITS, n=1, cutoff=0.4)
            known = ", ".join(sorted(_FITS, key=lambda name: name not in near))
            raise CalibrationError(f"calibration.methods has {method!r}, which is not known; allowed: {known}.")
    if len(set(methods)) < len(methods):
        raise CalibrationError(f"calibration.methods=[{','.join(methods)}] names one twice; name each once.")
    if not calibration_seasons and any(method != "none" for method in methods):
        raise CalibrationError(
            f"calibration.methods=[{','.join(methods)}] needs games to calibrate on, which neither train nor test; set "
            "validation.calibration_seasons=1."
        )


def named_by(metrics: str | Sequence[str], methods: Sequence[str]) -> list[str]:
    """The calibrations that metrics are of, as platt of platt/brier, among those that a trial has behind its own.

    Args:
        metrics: The name of a metric, or several.
        methods: The trial's calibrations, its own first.
    """
    named = {metric.rpartition("/")[0] for metric in _listed(metrics)}
    return [method for method in methods[1:] if method in named]


def check_metrics(metrics: str | Sequence[str], methods: Sequence[str]) -> None:
    """Refuse to choose by a calibration that trials do not have, or by another name for their own.

    Args:
        metrics: What a sweep chooses by, one or several.
        methods: The calibrations of its trials, their own first.

    Raises:
        CalibrationError: In a sentence, with what may decide.
    """
    for metric in _listed(metrics):
        method, _, name = metric.rpartition("/")
        if method not in METHODS or method in methods[1:] or name not in OURS:
            continue
        if method == methods[0]:
            raise CalibrationError(
                f"hydra.sweeper.metric={metric} is of the trials' own calibration, the first of calibration.methods="
                f"[{','.join(methods)}], whose metrics have no name before theirs; choose by {name}."
            )
        able = [name, *(f"{one}/{name}" for one in methods[1:])]
        allowed = " or ".join(get_close_matches(metric, able, n=len(able), cutoff=0))
        raise CalibrationError(
            f"hydra.sweeper.metric={metric} is of a calibration that the trials do not have, "
            f"calibration.methods=[{','.join(methods)}]; choose by {allowed}, or add calibration=all "
            "validation.calibration_seasons=1."
        )


def calibrate(method: str, probability: NDArray[np.float64], outcome: NDArray[np.int8]) -> Calibrator:
    """Learn a calibration.

    Args:
        method: none, platt or isotonic.
        probability: What the model says of the calibration games, (n_calibration,).
        outcome: 1 when the home side won, else 0, (n_calibration,).

    Returns:
        From probabilities of the model to calibrated ones.

    Example:
        >>> says = np.array([0.5, 0.5, 0.9, 0.9])
        >>> calibrate("isotonic", says, np.array([0, 1, 1, 1], np.int8))(np.array([0.5, 0.7])).tolist()
        [0.5, 0.75]
    """
    return _FITS[method](probability, outcome)


def crosswise(method: str, probability: NDArray[np.float64], outcome: NDArray[np.int8]) -> NDArray[np.float64]:
    """Calibrate games by themselves, though none by itself: every second one by the others, and these by those.

    A curve flatters the games that it was learned from, isotonic regression most of all; what a model says of its
    calibration games is therefore scored by cross-validation, with which Platt (1999) learns his curve.

    Args:
        method: none, platt or isotonic.
        probability: What the model says of the games, (n_games,).
        outcome: 1 when the home side won, else 0, (n_games,).

    Returns:
        Calibrated probabilities, (n_games,); of one game alone, which has no others, its own.
    """
    if len(probability) < 2:
        return probability
    found = np.empty(len(probability))
    for first in (0, 1):
        learned = calibrate(method, probability[1 - first :: 2], outcome[1 - first :: 2])
        found[first::2] = learned(probability[first::2])
    return found


def to_json(calibrator: Calibrator) -> dict[str, Any]:
    """A calibration as plain data."""
    return {"method": calibrator.method, **asdict(calibrator)}


def from_json(content: Mapping[str, Any]) -> Calibrator:
    """Read back what `to_json` made.

    Raises:
        CalibrationError: It is no calibration.
    """
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    method = given.pop("method", None)
    kinds: tuple[Callable[..., Calibrator], ...] = (AsItIs, Platt, Isotonic)
    for kind, name in zip(kinds, METHODS, strict=True):
        if name == method:
            try:
                return kind(**given)
            except TypeError:
                break
    raise CalibrationError(f"{dict(content)!r} is no calibration; save the model again.")


def _listed(metrics: str | Sequence[str]) -> Sequence[str]:
    return [metrics] if isinstance(metrics, str) else metrics


def _platt(probability: NDArray[np.float64], outcome: NDArray[np.int8]) -> Platt:
    """Fit the curve by maximum likelihood to targets that are held off 0 and 1 by Laplace's rule.

    Platt, "Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers, MIT Press 1999.
    """
    # Late, since it imports the library.
    from sklearn.linear_model import LogisticRegression

    won = int(outcome.sum())
    target = np.where(outcome == 1, (won + 1) / (won + 2), 1 / (len(outcome) - won + 2))
    score = _log_odds(probability)[:, None]
    if score.std() < _SPREAD:
        return Platt(0.0, float(np.log(target.mean() / (1 - target.mean()))))
    curve = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10)
    # A target between 0 and 1 is the same game seen to end both ways.
    curve.fit(
        np.concatenate([score, score]),
        np.repeat([1, 0], len(outcome)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    return Platt(float(curve.coef_[0, 0]), float(curve.intercept_[0]))


def _isotonic(probability: NDArray[np.float64], outcome: NDArray[np.int8]) -> Isotonic:
    """Fit by least squares among all curves that never fall.

    Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.
    """
    # Late, since it imports the library.
    from sklearn.isotonic import IsotonicRegression

    curve = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(probability, outcome.astype(np.float64))
    return Isotonic(tuple(curve.X_thresholds_.tolist()), tuple(curve.y_thresholds_.tolist()))


def _log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.log(inside) - np.log1p(-inside)


def _as_it_is(probability: NDArray[np.float64], outcome: NDArray[np.int8]) -> AsItIs:  # noqa: ARG001
    return AsItIs()


_Fit = Callable[[NDArray[np.float64], NDArray[np.int8]], Calibrator]
_FITS: dict[str, _Fit] = dict(zip(METHODS, (_as_it_is, _platt, _isotonic), strict=True))
