"""Turns what journals say into MLflow's entities, and data sets back into lines."""

from typing import Any

from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    ExperimentTag,
    InputTag,
    LifecycleStage,
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunTag,
)

from sweeproute.mlflow_journal_folder import ARTIFACTS, Entry, JournalFolder, experiment_id
from sweeproute.mlflow_journal_records import ExperimentRecord, ModelRecord, Row, RunRecord

_CONTEXT = "mlflow.data.context"


def metric(row: Row, run_id: str | None = None) -> Metric:
    """A metric, with the model and the data set that it belongs to."""
    name, digest = row.dataset or (None, None)
    return Metric(row.name, row.value, row.time, row.step, row.model, name, digest, run_id)


def run_info(record: RunRecord) -> RunInfo:
    """What MLflow's calls say of a run in short."""
    return RunInfo(
        record.id,
        experiment_id(record.experiment),
        record.user,
        record.status,
        record.started,
        record.ended,
        LifecycleStage.ACTIVE,
        record.artifacts,
        record.name,
    )


def run(record: RunRecord) -> Run:
    """A run as MLflow's calls give it."""
    data = RunData(
        [metric(row, record.id) for row in record.newest],
        [Param(name, value) for name, value in record.params.items()],
        [RunTag(name, value) for name, value in record.tags.items()],
    )
    inputs = RunInputs(
        [dataset_input(entry) for entry in record.inputs], [LoggedModelInput(id) for id in record.model_inputs]
    )
    outputs = RunOutputs([LoggedModelOutput(id, step) for id, step in record.outputs.items()])
    return Run(run_info(record), data, inputs, outputs)


def model(record: ModelRecord, files: JournalFolder) -> LoggedModel:
    """A logged model as MLflow's calls give it, with the metrics that were logged of it in any run."""
    runs = [RunRecord.of(files.run(id), rows=True) for id in record.measured_in]
    metrics = [metric(row, one.id) for one in runs for row in one.rows or () if row.model == record.id]
    return LoggedModel(
        experiment_id(record.experiment),
        record.id,
        record.name,
        (record.folder / ARTIFACTS).as_uri(),
        record.created,
        record.updated,
        record.type,
        record.run,
        LoggedModelStatus(record.status),
        tags=dict(record.tags),
        params=dict(record.params),
        metrics=metrics,
    )


def experiment(record: ExperimentRecord, files: JournalFolder) -> Experiment:
    """An experiment as MLflow's calls give it."""
    id = experiment_id(record.name)
    location = record.location or (files.experiment(id) / ARTIFACTS).as_uri()
    tags = [ExperimentTag(name, value) for name, value in record.tags.items()]
    return Experiment(id, record.name, location, LifecycleStage.ACTIVE, tags, record.created, record.created)


def input_entry(used: DatasetInput) -> Entry:
    """A line that says what a trial's own journal would of a data set, and beside it all that MLflow knows."""
    dataset, tags = used.dataset, {tag.key: tag.value for tag in used.tags or ()}
    return {
        "verb": "log_input",
        "name": dataset.name,
        "digest": dataset.digest,
        "source": dataset.source,
        "context": tags.get(_CONTEXT, ""),
        "mlflow": {
            "source_type": dataset.source_type,
            "schema": dataset.schema,
            "profile": dataset.profile,
            "tags": tags,
        },
    }


def dataset_input(entry: Entry) -> DatasetInput:
    """The data set of a line of `input_entry`."""
    more: dict[str, Any] = entry["mlflow"]
    dataset = Dataset(
        entry["name"], entry["digest"], more["source_type"], entry["source"], more["schema"], more["profile"]
    )
    return DatasetInput(dataset, [InputTag(key, value) for key, value in more["tags"].items()])
