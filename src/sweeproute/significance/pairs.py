"""Comparisons of all pairs of models, with p-values that allow for their number."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Pairs:
    """Differences between all pairs of models, row less column, each with a test of none.

    Attributes:
        difference: Row's value less column's, (n_models, n_models); NaN where one of them is undefined.
        standard_error: Standard error of the difference, (n_models, n_models); NaN where it cannot be estimated.
        p_value: Two-sided p-values, (n_models, n_models), symmetric, for one pair alone: `holm_pairs` allows for all.
            1 between models that cannot be told apart, so on the diagonal too; NaN where there is no test.
    """

    difference: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    p_value: NDArray[np.float64]


def standardised(difference: NDArray[np.float64], standard_error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences in standard errors; 0, not NaN, where there is neither the one nor the other.

    Args:
        difference: Differences of any shape.
        standard_error: Their standard errors, of a shape that broadcasts to that.

    Returns:
        The ratios; infinite for a difference without any error, NaN where an argument is.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = difference / standard_error
    return np.where((difference == 0) & (standard_error == 0), 0.0, ratio)


def holm(p_value: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values for their number by Holm's step-down method.

    Whatever the dependence between the tests, with rejections of what is at most alpha the chance of one wrong
    rejection or more is at most alpha [1]_.

    Args:
        p_value: p-values, (n_tests,); NaN where a test could not be made, which does not count as a test.

    Returns:
        Adjusted p-values, (n_tests,), at most 1; NaN where there was none.

    References:
        .. [1] Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of
           Statistics 6, 65-70.

    Example:
        >>> holm([0.01, 0.04, 0.03, float("nan")]).round(3).tolist()
        [0.03, 0.06, 0.06, nan]
    """
    value = np.asarray(p_value, dtype=np.float64)
    made = np.flatnonzero(~np.isnan(value))
    order = made[np.argsort(value[made], kind="stable")]
    factor = np.arange(len(made), 0, -1)
    adjusted = np.full(value.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(value[order] * factor), 1.0)
    return adjusted


def holm_pairs(p_value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjust the p-values of all pairs of models by Holm's method, each pair counted once.

    Args:
        p_value: Symmetric p-values, (n_models, n_models), as in `Pairs`.

    Returns:
        Symmetric adjusted p-values, (n_models, n_models), with the diagonal as it was.
    """
    above = np.triu_indices(len(p_value), 1)
    adjusted = p_value.copy()
    adjusted[above] = adjusted.T[above] = holm(p_value[above])
    return adjusted
