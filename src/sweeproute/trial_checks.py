"""Refuses, before anything is trained, a trial that cannot run and a sweep that must not begin."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sweeproute import ensemble, ensemble_members, estimators, stakes
from sweeproute.config import ConfigError, check_keys, plain
from sweeproute.selection import CALIBRATIONS, HIGHER_IS_BETTER, OURS, objectives

# Which trials may keep their fitted model.
_KEPT_MODELS = ("best", "all", "none")
# Of which jobs it is to be found on which features they lean: those that score the holdout, all, none.
_LEANING = ("holdout", "all", "none")
# What this process has told already: a sweep of several models is admitted for each.
_said: set[str] = set()


def admit(cfg: DictConfig, decides: Mapping[str, Any]) -> None:
    """Refuse a sweep that must not begin: a model lacks what decides, or what is to be made at its end cannot be.

    One that goes on has begun: it claims the holdout again, since its claim ended with its coordinator.

    Args:
        cfg: The config of one of its trials.
        decides: What the sweep chooses by: metric, direction, repeats; `sweep`, its id; `resumed`, whether it goes on;
            `on`, the platform to which it is yet to be sent, where an ensemble's members then have to be.

    Raises:
        sweeproute.config.ConfigError: It is to choose by a metric that no trial has, or a model that gives stakes by a
            score of probabilities.
        sweeproute.selection.DirectionError: It is not known whether more of what decides is better.
        sweeproute.calibration.CalibrationError: It is to be chosen by a calibration that its trials do not have.
        sweeproute.holdout.HoldoutError: It was scored before, another sweep that runs is going to score it, or the data
            does not have its seasons.
        sweeproute.ensemble.EnsembleError: An ensemble whose members were made from other data, or not scored there.
    """
    from sweeproute import data, holdout
    from sweeproute.calibration import check_metrics

    sweep = decides.get("sweep")
    if decides.get("resumed"):
        if holdout.is_wanted(cfg):
            holdout.claim(cfg, data.load(plain(cfg.data)).games_hash, _ensembles(cfg), sweep=sweep, resumed=True)
        return
    _check_decides(decides)
    stakes.check_decides(cfg, decides)
    if cfg.model.gives != stakes.STAKES and decides.get("metric"):
        check_metrics(decides["metric"], list(cfg.calibration.methods))
    holdout.check(cfg)
    if holdout.is_wanted(cfg):
        dataset = data.load(plain(cfg.data))
        holdout.check_seasons(cfg, dataset.season)
        holdout.claim(cfg, dataset.games_hash, _ensembles(cfg), sweep=sweep)
        _say_seen(cfg, dataset.games_hash, sweep)
    if ensemble.is_one(cfg) and decides.get("on") is None:
        ensemble.check_data(ensemble_members.find(cfg, scored=holdout.is_wanted(cfg)), data.load(plain(cfg.data)).hash)


def _say_seen(cfg: DictConfig, games_hash: str, sweep: str | None) -> None:
    """Say once, before the first trial, that an earlier sweep chose by seasons of the holdout."""
    from sweeproute import holdout_seen

    first, last = cfg.validation.holdout_seasons
    told = holdout_seen.sentence(games_hash, (first, last), sweep)
    if told is not None and told not in _said:
        _said.add(told)
        print(told, flush=True)


def _ensembles(cfg: DictConfig) -> list[str]:
    return [f"{ensemble.PREFIX}{method}" for method in cfg.ensemble]


def validate(cfg: DictConfig) -> None:
    """Refuse a config that composes but cannot run.

    Args:
        cfg: A trial's config.

    Raises:
        sweeproute.config.ConfigError: A setting of the data that is missing, odds that a bettor needs, a file that is
            not there, a word that `tracking.models` or `importances.of` does not know, no shuffles, a time between
            checkpoints, or between samples of the machine, that is none.
        sweeproute.estimators.ModelError: A parameter that the model does not have, a model that cannot be found, or a
            device that is none.
        sweeproute.ensemble.EnsembleError: A way to combine models that is none, or an ensemble that has no members.
        sweeproute.betting.BettingError: A betting rule that cannot be.
        sweeproute.calibration.CalibrationError: A calibration that is none, or has no games to learn from.
        sweeproute.validation.ValidationError: Seasons that overlap, or that the league does not have, or a window that
            is none.
    """
    from sweeproute import holdout
    from sweeproute.betting import BettingRule
    from sweeproute.calibration import check_methods
    from sweeproute.validation import check_fits, check_holdout, check_window

    check_keys(cfg)
    stakes.check(cfg)
    estimators.check_parameters(cfg.model)
    estimators.check_axes(cfg.model, cfg.search_space.axes)
    BettingRule(**plain(cfg.betting))
    if cfg.device != "auto":
        estimators.settle_device(cfg.device, cfg.model.devices)
    _check_data(cfg.data)
    validation = cfg.validation
    check_window(validation.window, validation.window_seasons, validation.gap_seasons, validation.calibration_seasons)
    holdout.check(cfg)
    _check_importances(cfg.importances.of, cfg.importances.repeats)
    check_methods(list(cfg.calibration.methods), validation.calibration_seasons)
    check_holdout(list(validation.selection_seasons), _optional_list(validation.holdout_seasons))
    if cfg.data.source == "league" and cfg.data.first_season <= cfg.data.last_season:
        # The one source whose seasons are known before it is read.
        seasons = list(range(cfg.data.first_season, cfg.data.last_season + 1))
        check_fits(seasons, validation.first_test_season, list(validation.selection_seasons))
    ensemble_members.check(cfg)
    if cfg.tracking.models not in _KEPT_MODELS:
        raise ConfigError(
            f"tracking.models={cfg.tracking.models} is not known; which fitted models are kept is one of "
            f"{', '.join(_KEPT_MODELS)}."
        )
    if cfg.tracking.system_metrics_s and cfg.tracking.system_metrics_s < 1:
        raise ConfigError(
            f"tracking.system_metrics_s={cfg.tracking.system_metrics_s} is no time between two samples of the machine; "
            "use 1 second or more, or null for none."
        )
    if (cfg.checkpoint.minutes or 0) < 0:
        raise ConfigError(
            f"checkpoint.minutes={cfg.checkpoint.minutes} is no time between checkpoints; use a number of minutes, or "
            "null for no checkpoints."
        )


def _check_decides(decides: Mapping[str, Any]) -> None:
    """Find before any job starts what would let the whole search end without a winner."""
    metric = decides.get("metric")
    for name in [metric] if isinstance(metric, str) else list(metric or ()):
        method, _, own = name.rpartition("/")
        if own not in OURS or (method and method not in CALIBRATIONS):
            near = difflib.get_close_matches(own, HIGHER_IS_BETTER, n=len(HIGHER_IS_BETTER), cutoff=0)
            raise ConfigError(
                f"hydra.sweeper.metric={name} is no metric of a trial; allowed, nearest match first: "
                f"{', '.join(near)}; those of a calibration as in platt/brier."
            )
    if metric:
        objectives(metric, decides.get("direction"))


def _check_data(data: DictConfig) -> None:
    """Find before any job starts what would fail in each: neither the table nor pandas is read for it."""
    missing = [f"data.{key}" for key in map(str, data) if OmegaConf.is_missing(data, key)]
    if missing:
        raise ConfigError(
            f"data={data.source} needs {' and '.join(missing)}; give {'it' if len(missing) == 1 else 'them'}, as in "
            f"{' '.join(f'{key}=VALUE' for key in missing)}."
        )
    path = None if data.get("path") is None else Path(data.path).expanduser()
    if path is not None and not path.is_file():
        there = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, there, n=1, cutoff=0.6)
        cure = f"did you mean {path.with_name(near[0])}?" if near else "give the path of the table, from here or whole."
        raise ConfigError(f"data.path={data.path} is no file (looked in {path.parent.absolute()}); {cure}")


def _optional_list(values: Any) -> list[int] | None:
    return None if values is None else list(values)


def _check_importances(of: str, repeats: int) -> None:
    if of not in _LEANING:
        near = difflib.get_close_matches(of, _LEANING, n=1, cutoff=0.4)
        allowed = [*near, *(word for word in _LEANING if word not in near)]
        raise ConfigError(f"importances.of={of} is not known; it is one of {', '.join(allowed)}.")
    if repeats < 1:
        raise ConfigError(
            f"importances.repeats={repeats} shuffles nothing; use 1 or more, or importances.of=none for no importances."
        )
