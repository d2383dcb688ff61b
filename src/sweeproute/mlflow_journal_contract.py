"""Says which calls of MLflow's contract for a tracking store are served by `journal:`, and refuses the others."""

import inspect
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import NOT_IMPLEMENTED
from mlflow.store.tracking.abstract_store import AbstractStore

# The calls of MLflow's contract that are served, and what of the contract works by these.
SERVED = (
    *("create_experiment", "get_experiment", "get_experiment_by_name", "set_experiment_tag"),
    *("create_run", "get_run", "update_run_info"),
    *("log_batch", "log_metric", "log_param", "set_tag", "get_metric_history"),
    *("log_batch_async", "log_metric_async", "log_param_async", "set_tag_async"),
    *("end_async_logging", "flush_async_logging", "shut_down_async_logging"),
    *("log_inputs", "log_outputs"),
    *("create_logged_model", "finalize_logged_model", "get_logged_model", "search_logged_models"),
    *("set_logged_model_tags", "log_logged_model_params"),
)
# What MLflow's client calls though its contract does not name it.
_BESIDE_THE_CONTRACT = ("delete_tag", "get_metric_history_bulk", "log_logged_model_params")
Served = TypeVar("Served", bound=type[AbstractStore])


def contract() -> set[str]:
    """The names of all calls that the contract has, and of those that MLflow's client makes beside it."""
    calls = {name for name, _ in inspect.getmembers(AbstractStore, inspect.isfunction) if not name.startswith("_")}
    return calls | {"_search_runs"} | set(_BESIDE_THE_CONTRACT)


def only_served(store: Served) -> Served:
    """Have a store refuse every call of the contract that is not served."""
    for call in contract() - set(SERVED):
        setattr(store, call, _refusing(call))
    return store


def refuse(call: str, folder: object) -> NoReturn:
    """Say what `journal:` serves, and what to do.

    Raises:
        mlflow.exceptions.MlflowException: Always.
    """
    raise MlflowException(
        f"journal: does not serve {call}; it takes what is logged, and gives runs, experiments and logged models back "
        f"by their id or name. Write it into a real store, and ask that: sweeproute sync {folder} --uri URI.",
        error_code=NOT_IMPLEMENTED,
    )


def _refusing(call: str) -> Callable[..., NoReturn]:
    def refused(self: Any, *_: Any, **__: Any) -> NoReturn:
        refuse(call, self.files.root)

    refused.__name__ = call
    refused.__doc__ = "Refused."
    return refused
