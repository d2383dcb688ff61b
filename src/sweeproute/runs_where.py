"""Finds the store that the runs of a sweep went to."""

import difflib
import os
from collections.abc import Sequence

from sweeproute import pointers
from sweeproute.runs_query import Runs
from sweeproute.store import DEFAULT_URI, absolute, sqlite_path
from sweeproute.tracking_status import saved_settings


class RegistryError(LookupError):
    """What was asked for is not in the store."""


def locate(sweep: str | None, uri: str | None) -> tuple[pointers.Pointer | None, str]:
    """Find a sweep's pointer, if it was started here, and the store that its runs went to.

    Args:
        sweep: Its id, its name, or `last`; None for none.
        uri: The store; where the sweep's runs went, else MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db` when None.

    Returns:
        The pointer, and the store's address.

    Raises:
        RegistryError: No such store.
        sweeproute.pointers.NoSuchSweepError: No sweep was started here, where the last one is asked for.
    """
    pointer = None
    if sweep is not None:
        try:
            pointer = pointers.find(sweep)
        except pointers.NoSuchSweepError:
            # It may have been started on another machine: the store is asked next.
            if sweep == pointers.LAST:
                raise
    if uri is None and pointer is not None and (settings := saved_settings(pointer.folder)):
        uri = settings.uri
    uri = absolute(uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI)
    path = sqlite_path(uri)
    if path is not None and not path.exists():
        raise RegistryError(
            f"There is no tracking store {str(path)!r} yet; run something first, or say where it is "
            f"with MLFLOW_TRACKING_URI."
        )
    return pointer, uri


def locate_of_any(uri: str | None) -> str:
    """Find the store of a run of whose sweep nothing is known.

    Args:
        uri: The store; MLFLOW_TRACKING_URI, else where the newest sweep went, else `sqlite:///mlflow.db` when None.

    Raises:
        RegistryError: No such store.
    """
    named = uri is not None or os.environ.get("MLFLOW_TRACKING_URI")
    return locate(pointers.LAST if pointers.pointers() and not named else None, uri)[1]


def open_runs(uri: str) -> Runs:
    """Open a store in the fastest way in which its runs can be read for certain."""
    path = sqlite_path(uri)
    # With workspaces a run's visibility is MLflow's own business.
    if path is not None and not os.environ.get("MLFLOW_WORKSPACE"):
        import sqlite3

        from sweeproute.runs_sqlite import SqliteRuns, UnknownSchemaError

        try:
            return SqliteRuns(path)
        except (UnknownSchemaError, sqlite3.Error):
            # A wrong answer would be worse than a slow one.
            pass
    from sweeproute.runs_api import ApiRuns

    return ApiRuns(uri)


def identify(sweep: str, runs: Runs) -> str:
    """Find the id of a sweep of another machine, by its id or name.

    Raises:
        sweeproute.pointers.NoSuchSweepError: The store has no such sweep.
    """
    known = runs.sweeps()
    for id, name in known:
        if sweep in (id, name):
            return id
    here = [(pointer.id, pointer.name or "") for pointer in pointers.pointers()]
    names = [name for pair in here + known for name in pair if name]
    raise pointers.NoSuchSweepError(pointers.no_such_sweep(sweep, list(dict.fromkeys(names))))


def nearest(name: str, known: Sequence[str]) -> str:
    """Known names on one line, those like this name first."""
    near = difflib.get_close_matches(name, known, n=len(known) or 1, cutoff=0.4)
    return ", ".join([*near, *(other for other in known if other not in near)][:20])
