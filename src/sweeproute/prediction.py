"""Predicts games that are not played yet, with the best configuration of a sweep or with a registered model."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from omegaconf import DictConfig

    from sweeproute.calibration import Calibrator
    from sweeproute.data import Dataset, Upcoming
    from sweeproute.estimators import Bettor, Games
    from sweeproute.pointers import Pointer
    from sweeproute.registry import ChosenRun


class PredictionError(LookupError):
    """There is nothing to predict."""


def predict_upcoming(
    sweep: str, metric: str | None, overrides: Sequence[str], model: str | None = None
) -> tuple["pd.DataFrame", str]:
    """Predict the games that have not been played.

    By the best configuration of a sweep, fitted on every game that has been played, but for the last seasons where it
    is calibrated on those; or by a registered model as it is.

    Args:
        sweep: Its id, its name, or `last`; where a model is named, it only says from which folder it was started.
        metric: What decides which configuration is the best; None for what the sweep was told.
        overrides: More overrides, such as the path of a newer games table.
        model: NAME@ALIAS or NAME/VERSION of a registered model; None for the best configuration.

    Returns:
        One row a game: game_id, season, kickoff, probability (of a home win), odds_home and odds_away (decimal, where
        the source has them); of a model that gives stakes, in place of the probability, bet ("home", "away" or missing)
        and stake (fraction of the bankroll; missing where there is no bet). With it, in a sentence, what predicted.

    Raises:
        PredictionError: The data has no game to come, other features than the registered model knows, or no odds for a
            model that gives stakes.
        sweeproute.registry.RegistryError: The sweep has no run that could win, or there is no such model.
    """
    import pandas as pd

    from sweeproute import ensemble, estimators, pointers, registry
    from sweeproute.stakes import calibrations
    from sweeproute.trial_journal import saved_calibration

    pointer = pointers.find(sweep)
    overrides = [_from_here(override) for override in overrides]
    if model is not None:
        with tempfile.TemporaryDirectory() as folder:
            found = registry.registered(model, Path(folder))
            dataset, games, cfg = _compose(pointer, [*found.overrides, *overrides])
            if found.features_hash != dataset.feature_hash:
                raise PredictionError(
                    f"{found.name} version {found.version} was fitted on other features than this data has "
                    f"({dataset.features.shape[1]} of them). Name the data that it was fitted on: data=..."
                )
            estimator = estimators.load(found.files)
            calibrator = saved_calibration(found.files, metric or "")
        how = f"{found.name} version {found.version} ({cfg.model.type} of run {found.run_id}), as it was registered."
    else:
        best, by = _best(sweep, metric)
        dataset, games, cfg = _compose(pointer, [*best.overrides, *overrides])
        if ensemble.is_one(cfg):
            raise PredictionError(
                f"The best of sweep {best.sweep} is an ensemble, of which no model is kept; its members are models of "
                f"sweep {cfg.model.params.sweep}: sweeproute predict --sweep {cfg.model.params.sweep}"
            )
        method = by[0].rpartition("/")[0] or calibrations(cfg)[0]
        estimator, calibrator, learned = _fitted(cfg, dataset, method)
        scored = ", ".join(f"{best.metrics[one]:.4f}" for one in by)
        how = (
            f"{cfg.model.type} with {' '.join(best.overrides)} (best {' and '.join(by)} of {best.sweep}: {scored}), "
            f"fitted on {learned} games up to {pd.Timestamp(dataset.kickoff[learned - 1]).date()}"
        )
        later = len(dataset.outcome) - learned
        use = "stopped by" if method == "none" else f"calibrated ({method}) on"
        how += f", {use} the {later} after them." if later else "."
    to_come = estimators.Games(games.features.to_numpy(), games.teams, dataset.team_names)
    table = pd.DataFrame(
        {
            "game_id": games.game_id,
            "season": games.season,
            "kickoff": games.kickoff,
        }
    )
    if isinstance(estimator, estimators.Bettor):
        _add_bets(table, estimator, to_come, games.odds, cfg.betting.stake)
    else:
        table["probability"] = calibrator(estimators.predict(estimator, to_come)[:, 1])
    if games.odds is not None:
        table[["odds_home", "odds_away"]] = games.odds
    return table, how


def _best(sweep: str, metric: str | None) -> "tuple[ChosenRun, tuple[str, ...]]":
    """The best run of a sweep, of several metrics the knee of their front; and what it was chosen by."""
    from sweeproute import registry

    found = registry.chosen(sweep, metric, mixed=True)
    if isinstance(found, registry.Front):
        return found.front[found.knee], found.metrics
    return found, (found.metric,)


def _add_bets(
    table: "pd.DataFrame", bettor: "Bettor", games: "Games", odds: "NDArray[np.float64] | None", stake: float
) -> None:
    import numpy as np
    import pandas as pd

    if odds is None or np.isnan(odds).any(axis=1).all():
        raise PredictionError(
            f"{type(bettor).__name__} bets at odds, and no game to come has any yet; name a table that has them, "
            "data.path=games.csv, or ask a model that gives probabilities."
        )
    units = bettor.stakes(games, odds)
    table["bet"] = pd.array(np.select([units > 0, units < 0], ["home", "away"], "").tolist(), "string")
    table["bet"] = table["bet"].mask(units == 0)
    table["stake"] = np.where(units == 0, np.nan, np.abs(units) * stake)


def _fitted(cfg: "DictConfig", dataset: "Dataset", method: str) -> "tuple[Any, Calibrator, int]":
    """A model fitted on every game, but for those that its calibration needs or by which it stops; that calibration;
    and on how many games it was fitted."""
    import numpy as np

    from sweeproute import estimators
    from sweeproute.calibration import calibrate
    from sweeproute.measures import odds_of

    seasons = np.unique(dataset.season)
    learned = len(dataset.outcome)
    if method != "none":
        first = seasons[-min(cfg.validation.calibration_seasons, len(seasons) - 1)]
        learned = int(np.count_nonzero(dataset.season < first))  # games are in the order of time, and so are seasons
    games = estimators.Games(dataset.features.to_numpy(), dataset.teams, dataset.team_names)
    early, late = np.arange(learned), np.arange(learned, len(dataset.outcome))
    estimator = estimators.build(cfg.model)
    if isinstance(estimator, estimators.Bettor):
        priced = estimators.Priced(games, odds_of(dataset, early), dataset.season)
        estimator.fit_bets(priced, dataset.outcome, None)
        return estimator, calibrate(method, np.empty(0), dataset.outcome[late]), learned
    train, apart = estimators.divided(estimator, dataset.season, early, late)
    watched = games.rows(apart), dataset.outcome[apart]
    estimators.fit_games(estimator, games.rows(train), dataset.outcome[train], watched)
    estimators.predict_on_one_thread(estimator)
    if method == "none":
        return estimator, calibrate(method, np.empty(0), dataset.outcome[late]), len(train)
    says = estimators.predict(estimator, games.rows(late))[:, 1]
    return estimator, calibrate(method, says, dataset.outcome[late]), len(train)


def _compose(pointer: "Pointer", overrides: Sequence[str]) -> "tuple[Dataset, Upcoming, DictConfig]":
    """The data that a trial's overrides name, its games to come, and the trial's config."""
    import hydra

    from sweeproute import config, data
    from sweeproute.experiment import settle
    from sweeproute.trial_checks import validate

    # Relative paths of the configuration are meant from where the sweep was started.
    os.chdir(pointer.cwd)
    config.register()
    folder = (pointer.cwd / pointer.argv[0]).resolve().parent / "conf"
    with hydra.initialize_config_dir(str(folder), version_base="1.3"):
        cfg = hydra.compose("config", list(overrides))
    validate(cfg)
    settle(cfg)
    dataset = data.load(config.plain(cfg.data))
    if dataset.unplayed is None or not len(dataset.unplayed.game_id):
        words = "data=nfl data.path=games.csv" if cfg.data.source == "league" else "data.path=games.csv"
        raise PredictionError(
            f"The data ({dataset.name}) has no game to come: all {len(dataset.outcome)} have a result. Name a newer "
            f"table, one with games whose scores are still empty, behind the same command: {words}"
        )
    return dataset, dataset.unplayed, cfg


def _from_here(override: str) -> str:
    """A table that is named now lies where the person stands now, not where the sweep was started."""
    from hydra.core.override_parser.types import Quote, QuotedString

    key, _, path = override.partition("=")
    if key != "data.path" or not Path(path).is_file():
        return override
    return f"{key}={QuotedString(str(Path(path).absolute()), Quote.single).with_quotes()}"
