"""Journals what a trial is, and what came of it: a run, with one below it for each further calibration."""

import functools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from sweeproute import estimators, fingerprint
from sweeproute.config import WHERE_AND_HOW
from sweeproute.journal import Journal
from sweeproute.stakes import calibrations

if TYPE_CHECKING:
    from sweeproute.calibration import Calibrator
    from sweeproute.data.dataset import Dataset
    from sweeproute.evaluation import Report

log = logging.getLogger(__name__)

# Groups of the config whose leaves are a run's parameters.
_PARAMETERS = ("data", "validation", "betting")
# Overrides that tell nothing of a run beside its type, or are the same in all runs of a sweep.
_NAMED_OTHERWISE = (
    "model",
    "experiment",
    "validation.scoring",
    *(f"model.params.{name}" for name in ("method", "sweep", "members")),
)
PREDICTIONS = "predictions.parquet"
COEFFICIENTS = "coefficients.csv"
MODEL = "model"
# Beside a model's files: what its probabilities are calibrated by, and some games as it is asked about them.
CALIBRATION = "calibration.json"
EXAMPLE = "example.json"
# Games of an example.
_EXAMPLES = 5
# The folder of the runs below a trial's own.
_CALIBRATED = "calibrated"


@dataclass(frozen=True)
class Trial:
    """What is known of a trial before it has run.

    Attributes:
        cfg: Its config, settled in place.
        settled: The same as plain data, with references where they say where and how it runs.
        dataset: What it is evaluated on.
        number: Its job's; None where it is no job of a sweep.
        overrides: As they were requested.
        identity: fingerprint, data_hash, code_hash and device_class, with versions from outside Python.
        app: The folder that holds the configuration.
    """

    cfg: DictConfig
    settled: dict[str, Any]
    dataset: "Dataset"
    number: int | None
    overrides: Sequence[str]
    identity: dict[str, str]
    app: Path

    @property
    def method(self) -> str:
        """The calibration that its own run has."""
        return calibrations(self.cfg)[0]


def open_journal(
    model_type: str,
    number: int | None,
    overrides: Sequence[str],
    folder: Path,
    tags: dict[str, str] | None = None,
    started: int | None = None,
) -> Journal:
    """Start the journal of a trial, or go on with an unfinished one; see `Journal.open`."""
    name = run_name(model_type, number, overrides)
    return Journal.open(folder, name, {"sweeproute.kind": "trial", **(tags or {})}, started)


def start(journal: Journal, trial: Trial) -> None:
    """Journal what is known before the first fold."""
    _describe(journal, trial, trial.method)
    config = journal.folder / "config.yaml"
    text = "".join(_yaml(key, json.dumps(value)) for key, value in trial.settled.items())
    config.write_text(text, encoding="utf-8")
    journal.artifact(config)
    features = journal.folder / "features.txt"
    features.write_text("\n".join(map(str, trial.dataset.features.columns)) + "\n", encoding="utf-8")
    journal.artifact(features)


def end(journal: Journal, trial: Trial, report: "Report") -> None:
    """Journal what came of a trial whose seasons stand in its journal already.

    Args:
        journal: The trial's.
        trial: What it is.
        report: What came of it. Each of its other calibrations becomes a run below the trial's.
    """
    journal.metrics(returned(report), step=_behind(report))
    journal.metrics({"fit_s": report.fit_seconds, "predict_s": report.predict_seconds})
    _keep_predictions(journal, report)
    _say_how_it_was_fitted(journal, trial, report)
    if report.importances is not None:
        # lazy import: with the evaluation, which is there by now
        from sweeproute import importance

        report.importances.to_csv(journal.folder / importance.FILE, index=False)
        journal.artifact(importance.FILE)
        journal.tags({importance.TAG: str(trial.cfg.importances.repeats)})
    if trial.cfg.tracking.models != "none" and report.model is not None:
        _save_model(journal.folder / MODEL, trial.dataset, report)
    for method, other in report.calibrated.items():
        folder = journal.folder / _CALIBRATED / method
        name = run_name(f"{kind(trial.cfg)} {method}", trial.number, trial.overrides)
        with Journal.open(folder, name, {"sweeproute.kind": "calibration"}) as below:
            _describe(below, trial, method)
            for season, metrics in other.by_season.items():
                below.metrics(metrics, step=season)
            below.metrics(other.metrics, step=_behind(other))
            _keep_predictions(below, other)
        journal.nested(folder)


def returned(report: "Report") -> dict[str, float]:
    """The metrics of a trial, those of its other calibrations under names such as platt/brier."""
    others = report.calibrated.items()
    return report.metrics | {f"{method}/{name}": value for method, one in others for name, value in one.metrics.items()}


def kind(cfg: DictConfig) -> str:
    """The type of a trial's model, and that it was scored on the holdout, where it was: what its name begins with."""
    return f"{cfg.model.type} holdout" if cfg.validation.scoring else str(cfg.model.type)


def run_name(model_type: str, number: int | None, overrides: Sequence[str]) -> str:
    """A name that tells a run apart by its first words, as MLflow's pages cut the rest: type, job, own overrides."""
    words = [model_type] if number is None else [model_type, f"#{number}"]
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key not in _NAMED_OTHERWISE and key.partition(".")[0] not in WHERE_AND_HOW:
            words.append(override.removeprefix("model.params."))
    return " ".join(words)


def _describe(journal: Journal, trial: Trial, method: str) -> None:
    cfg, settled, dataset = trial.cfg, trial.settled, trial.dataset
    params = {"seed": cfg.seed, **_flat({group: settled[group] for group in _PARAMETERS})}
    params |= _flat({"model": {"type": cfg.model.type, "params": settled["model"]["params"]}})
    params["calibration"] = method
    # What stays a reference says where and how the trial ran; tags tell that.
    journal.params({name: value for name, value in params.items() if "${" not in str(value)})
    versions = {f"version.{name}": version for name, version in fingerprint.library_versions().items()}
    tags = trial.identity | fingerprint.git_state(trial.app) | versions
    tags |= {
        "seed": str(cfg.seed),
        "model_type": cfg.model.type,
        "calibration": method,
        "set": "holdout" if cfg.validation.scoring else "selection",
        "seasons": _tested(cfg.validation),
        "device": cfg.device,
        "threads": str(cfg.threads),
        "features_hash": dataset.feature_hash,
        "n_features": str(dataset.features.shape[1]),
        "overrides": json.dumps(list(trial.overrides)),
    }
    if cfg.validation.scoring:
        tags["scoring"] = str(cfg.validation.scoring)
    journal.tags({f"sweeproute.{name}": value for name, value in tags.items()})
    journal.input(
        dataset.name,
        dataset.hash,
        source=str(cfg.data.get("path") or dataset.name),
        profile={"n_games": len(dataset.outcome), "n_features": dataset.features.shape[1], **dataset.set_aside},
    )


def _tested(validation: DictConfig) -> str:
    """The first and last season that a trial is scored on: scores of others do not compare."""
    first, last = validation.holdout_seasons if validation.scoring else validation.selection_seasons
    return f"{max(first, validation.first_test_season)}-{last}"


def _keep_predictions(journal: Journal, report: "Report") -> None:
    report.predictions.to_parquet(journal.folder / PREDICTIONS, index=False)
    journal.artifact(PREDICTIONS)


def predictions_path(folder: Path, method: str) -> Path:
    """Where a trial keeps what it says under one of its calibrations.

    Args:
        folder: The trial's own.
        method: The calibration; the trial's own, or another of its fits.
    """
    below = folder / _CALIBRATED / method / PREDICTIONS
    return below if below.exists() else folder / PREDICTIONS


def _say_how_it_was_fitted(journal: Journal, trial: Trial, report: "Report") -> None:
    """What a model says of its fits: by what, what to know of them, and what the last season's has learned."""
    told = None if report.model is None else estimators.telling(report.model)
    if told is None:
        return
    warnings = [f"{', '.join(map(str, seasons))}: {text}" for text, seasons in report.warnings.items()]
    for warning in warnings:
        log.warning("%s", warning)
    said = {"sweeproute.warnings": " ".join(warnings)} if warnings else {}
    journal.tags({"sweeproute.engine": told.engine_} | said)
    told.coefficients(list(trial.dataset.features.columns)).to_csv(journal.folder / COEFFICIENTS)
    journal.artifact(COEFFICIENTS)


def _save_model(folder: Path, dataset: "Dataset", report: "Report") -> None:
    from sweeproute.calibration import to_json

    estimators.save(report.model, folder)
    # The first games of the last tested season, which this model has not learned from.
    content = json.dumps(example(dataset, (dataset.season == max(report.by_season)).nonzero()[0][:_EXAMPLES].tolist()))
    (folder / EXAMPLE).write_text(content + "\n", encoding="utf-8")
    reports = (report, *report.calibrated.values())
    if any(one.calibrator.method != "none" for one in reports):
        # The trial's own stands first.
        content = json.dumps([to_json(one.calibrator) for one in reports])
        (folder / CALIBRATION).write_text(content + "\n", encoding="utf-8")


def example(dataset: "Dataset", rows: Sequence[int]) -> dict[str, Any]:
    """Games as a model is asked about them, as plain data.

    Args:
        dataset: The games.
        rows: Positions of those that are wanted.

    Returns:
        game_id, a name each; features, in the order of the data set's columns, a list each with None for what is not
        known; teams, the names of home and away each, or None where the source has none.
    """
    values = dataset.features.iloc[list(rows)].to_numpy().tolist()
    return {
        "game_id": dataset.game_id[rows].tolist(),
        "features": [[None if value != value else value for value in game] for game in values],
        "teams": None
        if dataset.teams is None
        else [[dataset.team_names[n] for n in pair] for pair in dataset.teams[rows]],
    }


def saved_calibration(folder: Path, metric: str = "") -> "Calibrator":
    """What the probabilities of a saved model are calibrated by.

    Args:
        folder: The folder of its files.
        metric: What it was chosen by; one as in platt/brier says which calibration, any other means the trial's own.

    Raises:
        sweeproute.calibration.CalibrationError: What stands there is no calibration.
    """
    from sweeproute.calibration import AsItIs, from_json

    path = folder / CALIBRATION
    if not path.is_file():
        return AsItIs()
    kept = [from_json(one) for one in json.loads(path.read_text(encoding="utf-8"))]
    named = metric.rpartition("/")[0]
    return next((one for one in kept if one.method == named), kept[0])


def _behind(report: "Report") -> int:
    """The step behind all seasons: the store shows the value of the last one, which is to be the pooled one."""
    return max(report.by_season) + 1


@functools.lru_cache(maxsize=256)
def _yaml(key: str, value: str) -> str:
    """A block of a config in YAML, from its value in JSON; most are alike in all trials of a process."""
    return OmegaConf.to_yaml(OmegaConf.create({key: json.loads(value)}))


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """A nested mapping as dotted keys."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        key: value
        for name, sub in tree.items()
        for key, value in _flat(sub, f"{prefix}.{name}" if prefix else name).items()
    }
