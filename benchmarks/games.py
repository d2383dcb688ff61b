"""Scores the models on real NFL games out of sample, beside a plain Elo and the closing line."""

import argparse
import itertools
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict

import sweeproute.config  # noqa: F401  # registers the schema
from sweeproute import data, scores
from sweeproute.betting import BettingRule, implied_probability
from sweeproute.estimators import build
from sweeproute.evaluation import evaluate
from sweeproute.validation import walk_forward

CONF = Path(__file__).parents[1] / "conf"
SEASONS = (2010, 2020)
# At least this AUC, at most this Brier score.
TARGETS = {"glm": (0.688, 0.2200), "xgboost": (0.675, 0.2230)}


def composed(model: str, games: Path | None) -> DictConfig:
    """What `python train.py model=... data=nfl` would run, on one thread."""
    first, last = SEASONS
    return compose(
        "config",
        [
            f"model={model}",
            "data=nfl",
            f"data.path={'null' if games is None else games.resolve()}",
            f"validation.first_test_season={first}",
            f"validation.selection_seasons=[{first},{last}]",
            "validation.holdout_seasons=null",
            "device=cpu",
            "threads=1",
        ],
    )


def points(cfg: DictConfig) -> list[dict[str, object]]:
    """Every point of the model's own search space."""
    axes = OmegaConf.to_container(cfg.search_space.axes)
    assert isinstance(axes, dict)
    return [dict(zip(map(str, axes), values, strict=True)) for values in itertools.product(*axes.values())]


def score(cfg: DictConfig, point: dict[str, object], dataset: data.Dataset) -> tuple[float, float]:
    """AUC and Brier score of one point, pooled over the tested seasons."""
    cfg = cfg.copy()
    with open_dict(cfg):
        for key, value in point.items():
            OmegaConf.update(cfg, key, value)
    settings = dict(cfg.validation)
    settings.pop("holdout_seasons")
    folds = walk_forward(dataset.season, dataset.kickoff, **settings)
    report = evaluate(partial(build, cfg.model), dataset, folds, BettingRule(**cfg.betting))
    return report.metrics["auc"], report.metrics["brier"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "games", type=Path, nargs="?", help="games.csv of nflverse, 1999 to 2020 at least; downloaded when left out"
    )
    games = parser.parse_args().games

    with initialize_config_dir(str(CONF), version_base=None):
        configs = {model: composed(model, games) for model in TARGETS}
    dataset = data.load(OmegaConf.to_container(configs["glm"].data))
    tested = (dataset.season >= SEASONS[0]) & (dataset.season <= SEASONS[1])
    outcome = dataset.outcome[tested]
    assert dataset.odds is not None
    line = implied_probability(dataset.odds[tested])
    elo = 1 / (1 + 10 ** (-dataset.features["elo"].to_numpy()[tested] / 400))
    priced = ~np.isnan(line)
    closing = scores.auc(outcome[priced], line[priced]), scores.brier(outcome[priced], line[priced])

    print(
        f"{tested.sum()} games of {SEASONS[0]} to {SEASONS[1]}, {dataset.features.shape[1]} features, no market column"
    )
    print(f"{'':34}{'AUC':>8}{'Brier':>8}{'seconds':>9}")
    print(f"{'closing line':34}{closing[0]:8.4f}{closing[1]:8.4f}")
    print(f"{'Elo with margin of victory':34}{scores.auc(outcome, elo):8.4f}{scores.brier(outcome, elo):8.4f}")
    missed = []
    for model, (auc_target, brier_target) in TARGETS.items():
        begin = time.perf_counter()
        default = score(configs[model], {}, dataset)
        print(f"{model + ', as configured':34}{default[0]:8.4f}{default[1]:8.4f}{time.perf_counter() - begin:9.1f}")
        begin = time.perf_counter()
        space = points(configs[model])
        best = max(score(configs[model], point, dataset) for point in space)
        name = f"{model}, best AUC of {len(space)} points"
        print(f"{name:34}{best[0]:8.4f}{best[1]:8.4f}{time.perf_counter() - begin:9.1f}", flush=True)
        if best[0] < auc_target or best[1] > brier_target:
            missed.append(f"{model} misses AUC {auc_target} or Brier {brier_target}")
        if best[0] > closing[0] or best[1] < closing[1]:
            missed.append(f"{model} is better than the closing line: a feature leaks")
    print("\n".join(missed) or "every target is met")
    return len(missed)


if __name__ == "__main__":
    sys.exit(main())
