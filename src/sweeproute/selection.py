"""The rule by which one of several scored trials is the best."""

import difflib
import math

# The metrics of a trial, and whether more is better.
HIGHER_IS_BETTER = {"auc": True, "roi": True, "brier": False, "log_loss": False, "ece": False}
# A SQL store keeps an infinity as the largest number that it has.
LARGEST = 1.7976931348623157e308


class DirectionError(ValueError):
    """It is not known whether more or less of a metric is better."""


def maximize(metric: str, direction: str | None = None) -> bool:
    """Tell whether the largest value of a metric is the best one.

    Args:
        metric: The metric's name.
        direction: maximize or minimize; None follows from the metric.

    Returns:
        True where more is better.

    Raises:
        DirectionError: Another direction, or none for a metric that is not one of ours.
    """
    if direction is None:
        if metric in HIGHER_IS_BETTER:
            return HIGHER_IS_BETTER[metric]
        near = difflib.get_close_matches(metric, HIGHER_IS_BETTER, n=len(HIGHER_IS_BETTER), cutoff=0.4)
        names = ", ".join([*near, *(name for name in HIGHER_IS_BETTER if name not in near)])
        raise DirectionError(
            f"Whether more or less {metric!r} is better is not known. Metrics of a trial, nearest match first: "
            f"{names}. For another, say the direction, maximize or minimize."
        )
    if direction not in ("maximize", "minimize"):
        near = difflib.get_close_matches(direction, ["maximize", "minimize"], n=1, cutoff=0.3) or ["maximize"]
        raise DirectionError(f"direction={direction!r} is not known; did you mean {near[0]!r}? (maximize or minimize)")
    return direction == "maximize"


def finite(value: float) -> bool:
    """Whether a value may win: NaN and infinities never do."""
    return math.isfinite(value) and abs(value) < LARGEST
