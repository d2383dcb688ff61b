"""The statistics behind an honest table of models: intervals, tests of differences, and who ties with the best."""

from sweeproute.significance.confidence_set import ConfidenceSet, confidence_set
from sweeproute.significance.delong import Areas, areas
from sweeproute.significance.differences import brier_losses, log_losses, paired_bootstrap, paired_test
from sweeproute.significance.errors import SignificanceError
from sweeproute.significance.intervals import Intervals, mean_intervals, ratio_intervals, roi_intervals
from sweeproute.significance.pairs import Pairs, holm, holm_pairs
from sweeproute.significance.standing import Standing, standing_of_pairs, standing_of_set
from sweeproute.significance.weeks import Weeks, weeks_of

__all__ = [
    "Areas",
    "ConfidenceSet",
    "Intervals",
    "Pairs",
    "SignificanceError",
    "Standing",
    "Weeks",
    "areas",
    "brier_losses",
    "confidence_set",
    "holm",
    "holm_pairs",
    "log_losses",
    "mean_intervals",
    "paired_bootstrap",
    "paired_test",
    "ratio_intervals",
    "roi_intervals",
    "standing_of_pairs",
    "standing_of_set",
    "weeks_of",
]
