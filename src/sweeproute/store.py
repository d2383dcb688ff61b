"""Opens the MLflow store that runs are written to."""

import hashlib
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sweeproute import pointers
from sweeproute.runs_query import LOOKED_FOR_TAGS
from sweeproute.sqlite_layout import add_indexes

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# The store that MLflow itself takes when none is named.
DEFAULT_URI = "sqlite:///mlflow.db"
DEFAULT_EXPERIMENT = "sweeproute"
# What stands in the place of a secret.
MASK = "***"
# A user, with or without a password, before the host; a secret behind the question mark.
_USER = re.compile(r"(?<=://)(?:[^/\s'\"]*|[^:/\s'\"@]*:[^@\s'\"]*)@")
_SECRET = re.compile(r"(?<=[?&;])((?:password|passwd|pwd|sslpassword|token|odbc_connect)=)[^&\s'\"]+", re.IGNORECASE)
# What talks to a database on a server, by the scheme of its address; none of them comes with sweeproute.
_DRIVERS = {"postgresql": "psycopg[binary]", "mysql": "pymysql", "mssql": "pymssql"}


class StoreError(Exception):
    """The tracking store cannot be used as asked."""


class DeletedExperimentError(StoreError):
    """A person has deleted the experiment."""


@dataclass(frozen=True)
class Store:
    """An open store: MLflow's client and the experiment that runs go to."""

    client: "MlflowClient"
    uri: str
    experiment: str
    experiment_id: str


def absolute(uri: str, cwd: Path | str | None = None) -> str:
    """Make a relative SQLite path absolute, so that the store is the same one wherever a process stands.

    Args:
        uri: A tracking URI.
        cwd: What a relative path is relative to; the working directory when absent.

    Returns:
        The URI; others than SQLite's as they are.

    Example:
        >>> absolute("sqlite:///mlflow.db", "/home/me")
        'sqlite:////home/me/mlflow.db'
    """
    path = sqlite_path(uri)
    if path is None or path.is_absolute():
        return uri
    return f"sqlite:///{Path(cwd or Path.cwd()).absolute() / path}"


def sqlite_path(uri: str) -> Path | None:
    """The file of a local SQLite store, or None where the store is something else."""
    scheme, separator, rest = uri.partition(":///")
    if not separator or scheme.split("+")[0] != "sqlite":
        return None
    return Path(unquote(rest.partition("?")[0])) if rest else None


def masked(text: str) -> str:
    """A text with the users and passwords of its addresses left out.

    A password may hold a slash, as SQLAlchemy reads an address, or stand among the values behind the question mark.

    Example:
        >>> masked("https://me:secret@mlflow.example.org")
        'https://***@mlflow.example.org'
    """
    if "://" not in text:
        return text
    return _SECRET.sub(rf"\1{MASK}", _USER.sub(f"{MASK}@", text))


def refusal(error: BaseException, verb: str = "does not take them") -> str:
    """What a store did, from the error that MLflow made of it: that it does not answer, or the verb and its words."""
    origin = error
    while (deeper := origin.__cause__ or origin.__context__) is not None:
        origin = deeper
    if isinstance(origin, ConnectionError | TimeoutError | socket.gaierror):
        return f"does not answer ({origin.strerror or origin})"
    text = " ".join(masked(str(error)).split()) or type(error).__name__
    return f"{verb} ({text if len(text) <= 300 else text[:297] + '...'})"


def open_store(uri: str, experiment: str, parent_run: str | None = None, location: str | None = None) -> Store:
    """Open a store, making its database and its experiment where they are missing.

    A database is made under a lock: of several processes that start on a fresh one at once, all but one would fail in
    MLflow's schema migration. A SQLite file has it beside it; of a server's database it lies in the state directory.

    Args:
        uri: An absolute tracking URI.
        experiment: The experiment's name.
        parent_run: A run that exists already; its experiment is taken instead.
        location: Where a new experiment keeps its artifacts; beside a local database, or as a server has it, when None.

    Returns:
        The open store.

    Raises:
        DeletedExperimentError: The experiment was deleted.
        StoreError: The driver of the database is not installed.
        mlflow.exceptions.MlflowException: The store does not answer, or refuses.
    """
    path = sqlite_path(uri)
    if path is None and _scheme(uri) not in _DRIVERS:
        return _open(uri, experiment, parent_run, location)
    from filelock import FileLock

    if path is None:
        lock = pointers.state_directory() / "stores" / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            return _open(uri, experiment, parent_run, location)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        # A path relative to the working directory would lose the artifacts for whoever stands elsewhere.
        beside = path.parent / "mlartifacts" / re.sub(r"[^\w.-]+", "_", experiment)
        opened = _open(uri, experiment, parent_run, location or beside.as_uri())
        add_indexes(path, LOOKED_FOR_TAGS)
    return opened


def connect(uri: str) -> "MlflowClient":
    """MLflow's client of a store, which is not asked for anything yet.

    A server that does not answer is given up soon: whoever writes tries again, and whoever reads wants to know.

    Raises:
        StoreError: The driver of its database is not installed.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # A server's address of each run's page, on standard output, is not what was asked for.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # Tracking talks to the store that was named, not to MLflow's makers.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    try:
        return MlflowClient(uri)
    except ModuleNotFoundError as error:
        if (driver := _DRIVERS.get(_scheme(uri))) is None:
            raise
        raise StoreError(
            f"{masked(uri)} needs {error.name}, which is not installed here: pip install '{driver}'."
        ) from None


def _scheme(uri: str) -> str:
    """postgresql, of postgresql+psycopg://host/db."""
    return uri.partition(":")[0].partition("+")[0]


def _open(uri: str, experiment: str, parent_run: str | None, location: str | None) -> Store:
    from mlflow.exceptions import MlflowException

    client = connect(uri)
    if parent_run is not None:
        experiment_id = client.get_run(parent_run).info.experiment_id
        return Store(client, uri, client.get_experiment(experiment_id).name, experiment_id)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        try:
            client.create_experiment(experiment, artifact_location=location)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(experiment)
    if found is None or found.lifecycle_stage == "deleted":
        raise DeletedExperimentError(
            f"The experiment {experiment!r} was deleted in {masked(uri)}; restore it there, or name another one with "
            f"tracking.experiment=NAME."
        )
    return Store(client, uri, experiment, found.experiment_id)
