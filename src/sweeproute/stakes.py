"""Refuses what a model cannot have that gives stakes, not probabilities."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sweeproute.config import ConfigError
from sweeproute.selection import HIGHER_IS_BETTER, OF_STAKES, OURS, deciding

# What a model may answer a game with.
GIVES = (PROBABILITIES, STAKES) = ("probabilities", "stakes")


def calibrations(cfg: DictConfig) -> list[str]:
    """The calibrations that a trial has: those that are asked for; of a model that gives stakes none.

    Args:
        cfg: A trial's config.
    """
    return ["none"] if cfg.model.gives == STAKES else [str(method) for method in cfg.calibration.methods]


def check(cfg: DictConfig) -> None:
    """Refuse an answer that no model gives, and stakes without odds to learn from.

    Args:
        cfg: A trial's config.

    Raises:
        ConfigError: In a sentence.
    """
    if cfg.model.gives not in GIVES:
        raise ConfigError(f"model.gives={cfg.model.gives} is not known; a model gives {' or '.join(GIVES)}.")
    data = cfg.data
    missing = any(OmegaConf.is_missing(data, str(key)) for key in data)  # which is another sentence
    if cfg.model.gives == STAKES and data.source == "csv" and not missing and None in (data.odds_home, data.odds_away):
        raise ConfigError(
            "A model that gives stakes learns from odds, and data=csv names none; set data.odds_home=COLUMN and "
            "data.odds_away=COLUMN, decimal odds."
        )


def check_decides(cfg: DictConfig, decides: Mapping[str, Any]) -> None:
    """Refuse a sweep by a score of probabilities, or by a calibration: nothing can be chosen among stakes by these.

    Args:
        cfg: The config of one of its trials.
        decides: What the sweep chooses by: metric, direction, repeats.

    Raises:
        ConfigError: In a sentence, with what may decide.
    """
    if cfg.model.gives != STAKES or not decides.get("metric"):
        return
    metrics = deciding(decides)
    for metric in [metrics] if isinstance(metrics, str) else metrics:
        calibration, _, name = metric.rpartition("/")
        if name not in OURS or (name in OF_STAKES and not calibration):
            continue
        lacks = "is not calibrated" if calibration else "has no probabilities"
        others = ", ".join(one for one in OF_STAKES if one != "roi" and one in HIGHER_IS_BETTER)
        raise ConfigError(
            f"model.type={cfg.model.type} gives stakes and {lacks}, so that it has no {metric}; choose by what it has, "
            f"hydra.sweeper.metric=roi (or {others})."
        )
