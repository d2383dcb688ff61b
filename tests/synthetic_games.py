"""Makes small data sets of games that can be learned from."""

import numpy as np
import pandas as pd

from sweeproute.data.dataset import Dataset


def games(
    seasons: tuple[int, int] = (2003, 2010),
    per_season: int = 60,
    n_features: int = 6,
    seed: int = 0,
    missing: bool = True,
) -> Dataset:
    """Games whose home side wins more often the greater the first features are, with fair odds less a margin."""
    generator = np.random.default_rng(seed)
    season = np.repeat(np.arange(seasons[0], seasons[1] + 1), per_season)
    n_games = season.size
    values = generator.normal(size=(n_games, n_features))
    chance = 1 / (1 + np.exp(-values[:, 0] - 0.5 * values[:, 1]))
    outcome = (generator.random(n_games) < chance).astype(np.int8)
    if missing:
        values[generator.random(values.shape) < 0.05] = np.nan
        values[season == seasons[0], -1] = np.nan
    day = np.tile(np.arange(per_season) * 120 // per_season, seasons[1] - seasons[0] + 1)
    kickoff = (season - 1970).astype("datetime64[Y]").astype("datetime64[D]") + 240 + day
    odds = 0.975 / np.column_stack([chance, 1 - chance]) * generator.uniform(0.9, 1.1, size=(n_games, 2))
    odds[generator.random(n_games) < 0.1] = np.nan
    return Dataset(
        name="synthetic",
        features=pd.DataFrame(values, columns=[f"feature_{number}" for number in range(n_features)]),
        outcome=outcome,
        season=season,
        kickoff=kickoff.astype("datetime64[ns]"),
        week=day // 7 + 1,
        game_id=np.array([f"{year}_{number:03d}" for number, year in enumerate(season)]),
        odds=np.maximum(odds, 1.01),
        set_aside={},
        unplayed=None,
    )
