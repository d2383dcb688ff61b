"""Says in the tracking store's terms which data a run has used."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeproute import journal
from sweeproute.store import masked

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput


def data_tags(page: journal.Page) -> dict[str, str]:
    """The hash of the last data set that a stretch of a journal names, whole."""
    # MLflow's digest holds the first half of a hash only.
    hashes = [str(entry["hash"]) for entry in page.inputs if entry.get("hash")]
    return {"sweeproute.data_hash": hashes[-1]} if hashes else {}


def dataset_input(entry: Mapping[str, Any]) -> "DatasetInput":
    """A data set in MLflow's own terms; `mlflow.data.get_source` understands its source."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = masked(str(entry.get("source") or ""))
    if source.startswith(("http://", "https://")):
        kind, content = "http", json.dumps({"url": source})
    elif Path(source).is_absolute():
        kind, content = "local", json.dumps({"uri": source})
    else:
        kind, content = "code", json.dumps({"tags": {"mlflow.source.name": source}})
    profile = json.dumps(entry.get("profile") or {})
    dataset = Dataset(str(entry["name"]), str(entry["digest"])[:36], kind, content, profile=profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", str(entry.get("context") or "training"))])
