"""Opens a folder of journals as MLflow's tracking store `journal:FOLDER`; MLflow finds it by an entry point.

MLflow loads this module while it is being imported itself: the store's own class comes with the first call.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sweeproute.mlflow_journal_store import JournalStore

SCHEME = "journal:"


def is_journal(uri: str) -> bool:
    """Whether an address names a folder of journals."""
    return uri.startswith(SCHEME)


def folder_of(uri: str) -> Path:
    """The folder that an address names, absolute.

    Args:
        uri: `journal:FOLDER`, the folder relative to the working directory or absolute; `journal:///FOLDER`.

    Raises:
        ValueError: No folder is named, or a machine is.

    Example:
        >>> folder_of("journal:///scratch/me/runs").as_posix()
        '/scratch/me/runs'
    """
    path = uri.removeprefix(SCHEME)
    if path.startswith("///"):
        path = path[2:]
    if not path or path.startswith("//"):
        raise ValueError(
            f"The tracking address {uri!r} names no folder; write journal:FOLDER, relative to the working directory or "
            "absolute."
        )
    return Path(path).absolute()


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> "JournalStore":  # noqa: ARG001 (MLflow's names)
    """The store that MLflow's calls are answered by.

    Args:
        store_uri: See `folder_of`.
        artifact_uri: Artifacts lie beside the journals, whatever this says.

    Raises:
        mlflow.exceptions.MlflowException: The address names no folder.
    """
    from mlflow.exceptions import MlflowException

    from sweeproute.mlflow_journal_store import JournalStore

    try:
        # What the class itself does not answer its decorator refuses.
        return JournalStore(folder_of(store_uri))  # type: ignore[abstract]
    except ValueError as error:
        raise MlflowException.invalid_parameter_value(str(error)) from None


def model_registry_store(store_uri: str) -> NoReturn:
    """There is none; without this MLflow would list the schemes that it knows, and not say what to do.

    Raises:
        mlflow.exceptions.MlflowException: Always.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import NOT_IMPLEMENTED

    folder = store_uri.removeprefix(SCHEME)
    raise MlflowException(
        f"{store_uri} has no model registry; write its runs and models into a real store with `sweeproute sync "
        f"{folder} --uri URI`, and register the model there.",
        error_code=NOT_IMPLEMENTED,
    )
