"""What a job says of itself, read as the numbers that steer a search."""

import math

import pytest

from hydra_plugins.sweeproute._objective import objective

AUC = objective("auc", None, searched=True)
NUMBER = objective(None, "minimize", searched=True)


@pytest.mark.parametrize(
    ("goal", "metrics", "so_far", "alone"),
    [
        (AUC, {"auc": 0.6, "brier": 0.2}, 0.6, 0.6),
        (AUC, {"auc": 0.6, "step/auc": 0.7}, 0.6, 0.7),
        (AUC, {"auc": 0.6, "step/brier": 0.2}, 0.6, 0.6),
        (AUC, {"value": 0.5}, 0.5, 0.5),
        (AUC, {"auc": 0.6, "step/auc": math.nan}, 0.6, None),
        (AUC, {"brier": 0.2}, None, None),
        (NUMBER, {"value": 3.0, "step/value": 4.0}, 3.0, 4.0),
    ],
)
def test_a_step_is_read_with_all_before_it_or_alone(goal, metrics, so_far, alone):
    assert goal.on_the_way(metrics) == so_far
    assert goal.on_the_way(metrics, alone=True) == alone
