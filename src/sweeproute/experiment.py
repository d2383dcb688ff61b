"""Runs one trial: the only module that knows data, folds, models, scores and the journal together."""

import logging
import math
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from sweeproute import (
    capabilities,
    ensemble_members,
    estimators,
    fingerprint,
    pruning,
    run_facts,
    shared_fit,
    system_metrics,
    trial_journal,
)
from sweeproute.checkpoint import Checkpoint
from sweeproute.config import ConfigError, plain
from sweeproute.journal import Journal
from sweeproute.stakes import calibrations
from sweeproute.trial_checks import validate
from sweeproute.trial_steps import PrunedError, Steps, of_own_calibration

if TYPE_CHECKING:
    from sweeproute.betting import BettingRule
    from sweeproute.data.dataset import Dataset
    from sweeproute.ensemble import Members
    from sweeproute.evaluation import Prefixes, Report

log = logging.getLogger(__name__)


def preload(cfg: DictConfig) -> None:
    """Warm a worker: import what the model needs, read the data.

    Args:
        cfg: The config that its jobs share.
    """
    from hydra.utils import get_class

    from sweeproute import evaluation  # noqa: F401  (imported so that the first job does not wait for it)

    if "_target_" in cfg.model.params:
        # A model of this project imports its library late.
        getattr(get_class(cfg.model.params._target_), "preload", lambda: None)()
    _load(cfg)


def identity(cfg: DictConfig) -> dict[str, str]:
    """Hash what makes a trial what it is.

    Args:
        cfg: A trial's config.

    Returns:
        fingerprint, data_hash, code_hash, and games_hash, which is of the games alone, whatever is known of them.
    """
    dataset, members = _load(cfg), ensemble_members.members(cfg)
    hashes = fingerprint.hashes(cfg, dataset.hash, _app_folder(), made_from=members.made_from if members else None)
    return hashes | {"games_hash": dataset.games_hash}


def run_trial(cfg: DictConfig) -> dict[str, Any]:
    """Evaluate one config, and journal all that is to be known of it.

    Where the output folder holds the checkpoint of a former attempt, the trial goes on from it, to the same result.
    After each fold, and at times inside a fit, it reports the metrics so far, those of the calibration that the sweep
    chooses by among them, and ends there where the rest of it is not needed; see `trial_steps`.
    Where it is asked for other points of its grid whose fits are the beginning of its own, it leaves what a trial of
    each would have left; see `shared_fit`.

    Args:
        cfg: The trial's config.

    Returns:
        Metrics over the selection seasons, see `evaluation.Report`, with those of further calibrations under names
        such as platt/brier; over the seasons that it has come to, with `status` pruned and the `reason`, where it was
        told to stop.

    Raises:
        Exception: What the data, the folds or the model raise; the journal then ends as FAILED.
    """
    _refuse_alone(cfg)
    _say_here(cfg.platform.name)
    validate(cfg)
    capabilities.refuse(cfg)
    folder = Path(HydraConfig.get().runtime.output_dir)
    settle(cfg)
    hydra = HydraConfig.get()
    number = None if OmegaConf.is_missing(hydra.job, "num") else int(hydra.job.num)
    overrides = tuple(hydra.overrides.task)
    began_ms = time.time_ns() // 1_000_000
    members = ensemble_members.members(cfg)
    made_from = members.made_from if members else None
    apart = "holdout" if cfg.validation.scoring else "ensemble" if members and members.own else None
    kind = {"sweeproute.kind": apart} if apart else {}
    with (
        trial_journal.open_journal(trial_journal.kind(cfg), number, overrides, folder, kind) as journal,
        run_facts.adding() as tell,
    ):
        dataset, app = _load(cfg), _app_folder()
        settled = fingerprint.settled_config(cfg)
        outside = estimators.outside_versions(cfg.model)
        device_class = fingerprint.device_class(estimators.device_name(cfg.device), cfg.threads, outside)
        more = {"device_class": device_class, **{f"version.{name}": version for name, version in outside.items()}}
        more |= members.tags(cfg.model.params.method) if members else {}

        def trial(number: int | None, overrides: Sequence[str], settled: dict[str, Any]) -> trial_journal.Trial:
            hashes = fingerprint.hashes(cfg, dataset.hash, app, settled, made_from)
            identity = hashes | {"games_hash": dataset.games_hash} | more
            return trial_journal.Trial(cfg, settled, dataset, number, overrides, identity, app)

        own = trial(number, overrides, settled)
        # For runs that a model's own code makes by MLflow's fluent calls; see `mlflow_context`.
        tell({"seed": cfg.seed, "platform": cfg.platform.name, "device": cfg.device, "trial": number, **own.identity})
        tell({run_facts.EXPERIMENT: cfg.tracking.experiment})
        trial_journal.start(journal, own)
        checkpoint = Checkpoint.open(folder, own.identity["fingerprint"], device_class, cfg.checkpoint.minutes)
        shorter, prefixes = _prefixes(cfg, settled, shared_fit.offered(folder))
        result: dict[str, Any]
        try:
            with system_metrics.sampled(journal, cfg.tracking.system_metrics_s):
                if members:
                    report = _combine(cfg, members, dataset, journal)
                else:
                    report = _evaluate(cfg, dataset, journal, checkpoint, prefixes)
        except PrunedError as early:
            _journal_pruned(journal, early)
            metrics, result = early.metrics, pruning.pruned(early.reason, early.metrics)
        else:
            if report.alone is not None:
                log.info("This fit serves no other point: %s.", report.alone)
            trial_journal.end(journal, own, report)
            for point, theirs in shorter if report.shorter else ():
                other = trial(point.job, point.overrides, theirs)
                _journal_shorter(other, point.folder, report.shorter[point.value], number, began_ms)
                point.answer(trial_journal.returned(report.shorter[point.value]))
            metrics = report.metrics
            result = trial_journal.returned(report)
    checkpoint.remove()
    log.info("%s", "  ".join(f"{key}={value:.4f}" for key, value in metrics.items() if not math.isnan(value)))
    return result


def _refuse_alone(cfg: DictConfig) -> None:
    """Refuse what needs a sweep, and our launcher: a plan, and what is made of what a sweep chose."""
    config = HydraConfig.get()
    routed = str(config.launcher.get("_target_")).startswith("hydra_plugins.sweeproute.")
    word = f"holdout={cfg.holdout}" if str(cfg.holdout).lower() != "false" else ""
    if cfg.validation.scoring:
        word, again = f"validation.scoring={cfg.validation.scoring}", ", with holdout=true"
    else:
        again = ""
    if not word and cfg.ensemble:
        word = f"ensemble=[{','.join(cfg.ensemble)}]"
    if word and config.mode == RunMode.RUN and not cfg.validation.scoring:
        # The overrides of a sweep's best, which are to be repeated as they stand.
        log.info("%s is for what a sweep has chosen, when it has ended; one trial does without.", word)
    elif word and (config.mode == RunMode.RUN or not routed):
        cure = "add -m" if config.mode == RunMode.RUN else "leave hydra/launcher as it is"
        raise ConfigError(f"{word} is for what a routed sweep has chosen, when it has ended: {cure}{again}.")
    if config.mode == RunMode.RUN and config.launcher.get("dry_run"):
        raise ConfigError("hydra.launcher.dry_run=true plans a sweep, and this is one trial: add -m.")


def _say_here(platform: str | None) -> None:
    """A trial alone asks no launcher, so it runs in this very process."""
    if platform is not None and HydraConfig.get().mode == RunMode.RUN:
        log.info("One trial runs in this process, whatever platform says; add -m to have it sent to %s.", platform)


def _betting_rule(cfg: DictConfig) -> "BettingRule":
    from sweeproute.betting import BettingRule

    return BettingRule(**plain(cfg.betting))


def _app_folder() -> Path:
    """The folder that holds `conf`, from wherever the command was typed."""
    for source in HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else ():
        if source.provider == "main" and source.schema == "file":
            return Path(source.path).parent
    return Path.cwd()


def _load(cfg: DictConfig) -> "Dataset":
    from sweeproute import data

    return data.load(plain(cfg.data))


def settle(cfg: DictConfig) -> None:
    """Settle in place what no launcher has: the device that is there, every core that this process may use."""
    with open_dict(cfg):
        cfg.device = estimators.settle_device(cfg.device, cfg.model.devices)
        if cfg.threads is None:
            cfg.threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _pin_seeds(seed: int) -> None:
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)


def _prefixes(
    cfg: DictConfig, settled: dict[str, Any], offer: shared_fit.Offer
) -> tuple[list[tuple[shared_fit.Point, dict[str, Any]]], "Prefixes | None"]:
    """The points that the fit of this trial may serve, too, each with its settled config."""
    group, _, parameter = offer.key.rpartition(".")
    if not offer.points or group != "model.params":
        return [], None
    from sweeproute.evaluation import Prefixes

    mine = settled["model"]["params"][parameter]
    shorter = []
    for point in offer.points:
        OmegaConf.update(cfg, offer.key, point.value)
        theirs = fingerprint.settled_config(cfg)
        params = theirs["model"]["params"]
        if {**theirs, "model": {**theirs["model"], "params": {**params, parameter: mine}}} == settled:
            shorter.append((point, theirs))  # else something else follows from the value
    OmegaConf.update(cfg, offer.key, mine)
    return shorter, Prefixes(parameter, mine, tuple(point.value for point, _ in shorter))


def _evaluate(
    cfg: DictConfig, dataset: "Dataset", journal: Journal, checkpoint: Checkpoint, prefixes: "Prefixes | None"
) -> "Report":
    from sweeproute.calibration import named_by
    from sweeproute.evaluation import evaluate
    from sweeproute.importance import Shuffles
    from sweeproute.validation import walk_forward

    validation = cfg.validation
    tested = validation.holdout_seasons if validation.scoring else validation.selection_seasons
    folds = walk_forward(
        dataset.season,
        dataset.kickoff,
        window=validation.window,
        window_seasons=validation.window_seasons,
        first_test_season=validation.first_test_season,
        gap_seasons=validation.gap_seasons,
        calibration_seasons=validation.calibration_seasons,
        selection_seasons=tuple(tested),
    )

    _say_where_it_starts(checkpoint, [fold.season for fold in folds], journal)
    methods, rule = calibrations(cfg), _betting_rule(cfg)
    if others := [method for method in cfg.calibration.methods if method not in methods]:
        log.info("%s gives stakes, which are not calibrated: it has no %s.", cfg.model.type, ", ".join(others))

    def build() -> Any:
        # At each fold, so that what a fold draws does not depend on those before it, which may be passed over.
        _pin_seeds(cfg.seed)
        return estimators.build(cfg.model)

    # The same for all trials of a model, also for those whose folds were fitted by a former attempt.
    inside = isinstance(estimators.build(cfg.model), estimators.LearnsFromGames)
    steps = Steps(journal, folds[-1].season, inside=inside)
    asked = cfg.importances.of == "all" or (cfg.importances.of == "holdout" and validation.scoring)
    shuffles = Shuffles(cfg.importances.repeats, cfg.seed) if asked else None
    # Of the sweep, not of the trial: what it reports hangs on it, what comes of it does not.
    followed = named_by(HydraConfig.get().sweeper.get("metric") or (), methods)
    on_fold, on_epoch = steps.fold, steps.epoch
    return evaluate(build, dataset, folds, rule, on_fold, checkpoint, prefixes, methods, on_epoch, shuffles, followed)


def _combine(cfg: DictConfig, members: "Members", dataset: "Dataset", journal: Journal) -> "Report":
    from sweeproute import ensemble_report

    report, weights = ensemble_report.evaluate(cfg, members, dataset.hash)
    for season, metrics in report.by_season.items():
        journal.metrics(metrics, step=season)
    weights.to_csv(journal.folder / "weights.csv", index=False)
    journal.artifact("weights.csv")
    return report


def _say_where_it_starts(checkpoint: Checkpoint, seasons: list[int], journal: Journal) -> None:
    resumed_from = checkpoint.resumed_from(seasons)
    if resumed_from is not None:
        log.info("Going on from a checkpoint: %s.", resumed_from)
        journal.tags({"sweeproute.resumed_from": resumed_from})
    if checkpoint.unused is not None:
        log.warning("%s", checkpoint.unused)
        journal.tags({"sweeproute.checkpoint_unused": checkpoint.unused})


def _journal_shorter(
    trial: trial_journal.Trial, folder: Path, report: "Report", whole: int | None, began_ms: int
) -> None:
    """Journal a trial whose fit was the beginning of another's, as one of its own would have."""
    kind, tags = trial.cfg.model.type, {"sweeproute.shared_fit": str(whole)}
    with trial_journal.open_journal(kind, trial.number, trial.overrides, folder, tags, began_ms) as journal:
        trial_journal.start(journal, trial)
        for season, metrics in report.by_season.items():
            journal.metrics(metrics, step=season)
        trial_journal.end(journal, trial, report)


def _journal_pruned(journal: Journal, early: PrunedError) -> None:
    log.info("Pruned %s: %s", early.where, early.reason)
    if early.season is not None:
        journal.metrics(of_own_calibration(early.metrics), step=early.season + 1)
    journal.tags({"sweeproute.pruned": early.reason})
    journal.end("PRUNED")
