"""Predicts games that are not played yet, with the best configuration of a sweep."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class PredictionError(LookupError):
    """There is nothing to predict."""


def predict_upcoming(sweep: str, metric: str, overrides: Sequence[str]) -> tuple["pd.DataFrame", str]:
    """Fit the best configuration of a sweep on every game that has been played, and predict those that have not.

    Args:
        sweep: Its id, its name, or `last`.
        metric: What decides which configuration is the best.
        overrides: More overrides, such as the path of a newer games table.

    Returns:
        One row a game: game_id, season, kickoff, probability (of a home win), odds_home and odds_away (decimal, where
        the source has them); with it, in a sentence, what predicted.

    Raises:
        PredictionError: The data has no game to come.
        sweeproute.registry.RegistryError: The sweep has no run that could win.
    """
    import hydra
    import pandas as pd

    from sweeproute import config, data, estimators, pointers, registry
    from sweeproute.experiment import settle, validate

    pointer = pointers.find(sweep)
    best = registry.best(sweep, metric)
    overrides = [_from_here(override) for override in overrides]
    # Relative paths of the configuration are meant from where the sweep was started.
    os.chdir(pointer.cwd)
    config.register()
    folder = (pointer.cwd / pointer.argv[0]).resolve().parent / "conf"
    with hydra.initialize_config_dir(str(folder), version_base="1.3"):
        cfg = hydra.compose("config", [*best.overrides, *overrides])
    validate(cfg)
    settle(cfg)
    dataset = data.load(config.plain(cfg.data))
    games = dataset.unplayed
    if games is None or not len(games.game_id):
        raise PredictionError(
            f"The data ({dataset.name}) has no game to come: all {len(dataset.outcome)} have a result. Name a newer "
            "table, one with games whose scores are still empty: sweeproute predict data=nfl data.path=games.csv"
        )
    model = estimators.build(cfg.model)
    model.fit(dataset.features.to_numpy(), dataset.outcome)
    estimators.predict_on_one_thread(model)
    table = pd.DataFrame(
        {
            "game_id": games.game_id,
            "season": games.season,
            "kickoff": games.kickoff,
            "probability": model.predict_proba(games.features.to_numpy())[:, 1],
        }
    )
    if games.odds is not None:
        table[["odds_home", "odds_away"]] = games.odds
    last = pd.Timestamp(dataset.kickoff[-1]).date()
    how = (
        f"{cfg.model.type} with {' '.join(best.overrides)} (best {metric} of {best.sweep}: {best.value:.4f}), "
        f"fitted on {len(dataset.outcome)} games up to {last}."
    )
    return table, how


def _from_here(override: str) -> str:
    """A table that is named now lies where the person stands now, not where the sweep was started."""
    from hydra.core.override_parser.types import Quote, QuotedString

    key, _, path = override.partition("=")
    if key != "data.path" or not Path(path).is_file():
        return override
    return f"{key}={QuotedString(str(Path(path).absolute()), Quote.single).with_quotes()}"
