"""Reads all that a tracking store holds, in words that do not depend on ids."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path

# Tags that are about ids and about our replay.
OURS = re.compile(r"sweeproute\.(journal.*|clock_offset_ms)$")


def content(uri: str, times: bool = False) -> dict[str, Any]:
    """Experiments, runs and logged models by their names.

    Args:
        uri: The store.
        times: Whether the times of runs and metrics are told, too.
    """
    client = MlflowClient(uri)
    told: dict[str, Any] = {}
    for experiment in client.search_experiments(view_type=ViewType.ALL):
        runs = list(client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL, max_results=10_000))
        names = {run.info.run_id: run.info.run_name for run in runs}
        models = client.search_logged_models([experiment.experiment_id])
        model_names = {model.model_id: model.name for model in models}
        told[experiment.name] = {
            "tags": {key: value for key, value in experiment.tags.items() if not key.startswith("mlflow.experiment")},
            "runs": sorted((_run(client, run, names, model_names, times) for run in runs), key=_text),
            "models": sorted((_model(client, model, names) for model in models), key=_text),
        }
    return told


def _run(client: MlflowClient, run: Run, names: dict[str, str], models: dict[str, str], times: bool) -> dict[str, Any]:
    tags = {key: value for key, value in run.data.tags.items() if not OURS.match(key)}
    parent = tags.pop("mlflow.parentRunId", None)
    history = {
        key: [
            (metric.step, str(metric.value), metric.timestamp if times else None)
            for metric in sorted(client.get_metric_history(run.info.run_id, key), key=lambda one: one.step)
        ]
        for key in sorted(run.data.metrics)
    }
    return {
        "name": run.info.run_name,
        "user": run.info.user_id,
        "status": run.info.status,
        "stage": run.info.lifecycle_stage,
        "times": (run.info.start_time, run.info.end_time) if times else run.info.end_time is not None,
        "parent": parent and names[parent],
        "params": dict(sorted(run.data.params.items())),
        "tags": dict(sorted(tags.items())),
        "newest": {key: str(value) for key, value in sorted(run.data.metrics.items())},
        "history": history,
        "inputs": sorted(
            (json.dumps([dict(used.dataset), {tag.key: tag.value for tag in used.tags}], sort_keys=True, default=str))
            for used in run.inputs.dataset_inputs
        ),
        "model inputs": sorted(models.get(model.model_id, "deleted") for model in run.inputs.model_inputs),
        "outputs": sorted((models.get(model.model_id, "deleted"), model.step) for model in run.outputs.model_outputs),
        "artifacts": _files(Path(local_file_uri_to_path(run.info.artifact_uri))),
    }


def _model(client: MlflowClient, model: Any, names: dict[str, str]) -> dict[str, Any]:
    # The list comes without some of it.
    model = client.get_logged_model(model.model_id)
    files = _files(Path(local_file_uri_to_path(model.artifact_location)))
    return {
        "name": model.name,
        "run": names.get(model.source_run_id, model.source_run_id),
        "type": model.model_type,
        "status": str(model.status),
        "params": dict(sorted(model.params.items())),
        "tags": {key: value for key, value in sorted(model.tags.items()) if not OURS.match(key)},
        "metrics": sorted((one.key, one.step, str(one.value), names[one.run_id]) for one in model.metrics or ()),
        "files": {
            # MLmodel holds ids and times, and skops writes no file twice the same: these are checked by loading the
            # model. The last is a mark of loading.
            name: "there" if name in ("MLmodel", "model.skops") else digest
            for name, digest in files.items()
            if name != "registered_model_meta"
        },
    }


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _text(entry: dict[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True, default=str)
