"""A model that waits for a file before it learns, so that a test can stop a sweep at a known place."""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CONF = """# @package _global_
model:
  type: GLM
  params:
    _target_: waiting_model.WaitingClassifier
    number: 0
    passes: 0
    gate: ???
"""


class WaitingClassifier:
    """Predicts the share of home wins, once its gate is open."""

    def __init__(self, number: int = 0, passes: int = 0, gate: str = "") -> None:
        self.number = number
        self.passes = passes
        self.gate = gate

    def fit(self, features: NDArray[np.float64], outcome: NDArray[np.int8]) -> "WaitingClassifier":
        """Learn; numbers from `passes` on wait for the gate."""
        Path(f"{self.gate}.{self.number}").touch()
        while self.number >= self.passes and not Path(self.gate).exists():
            time.sleep(0.02)
        self.share_ = float(np.mean(outcome)) + self.number / 1000
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of a loss and of a win, (n_games, 2)."""
        won = np.full(len(features), self.share_)
        return np.column_stack([1 - won, won])
