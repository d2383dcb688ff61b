"""Errors of the statistics behind comparisons."""


class SignificanceError(ValueError):
    """Arrays, or settings, of which no comparison can be made."""
