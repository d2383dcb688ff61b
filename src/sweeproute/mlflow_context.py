"""Marks the runs that MLflow's fluent calls make inside a trial, and says where they go; MLflow finds both classes.

MLflow loads them while it is being imported itself: nothing but the abstract classes is there yet.
"""

import functools

from mlflow.tracking.context.abstract_context import RunContextProvider
from mlflow.tracking.default_experiment.abstract_context import DefaultExperimentProvider

from sweeproute import run_facts


class SweeprouteRunContext(RunContextProvider):
    """The tags: seed, fingerprint, data and code hash, platform, device, sweep and trial, as far as they are known."""

    def in_context(self) -> bool:
        """Whether this process belongs to a trial, or to another app's job that was routed."""
        return bool(run_facts.read())

    def tags(self) -> dict[str, str]:
        """The tags, under the names that the trial's own run has them by."""
        return {f"sweeproute.{name}": fact for name, fact in run_facts.read().items() if name != run_facts.EXPERIMENT}


class SweeprouteExperiment(DefaultExperimentProvider):
    """The experiment that the trial's own run goes to, where neither code nor environment names another."""

    def in_context(self) -> bool:
        """Whether this process belongs to a trial whose config names an experiment."""
        return run_facts.EXPERIMENT in run_facts.read()

    def get_experiment_id(self) -> str:
        """Its id in the store that MLflow talks to, where it is made if it is missing.

        Raises:
            StoreError: It was deleted there; MLflow warns, and takes its own default.
        """
        from mlflow.tracking import get_tracking_uri

        return _id(str(get_tracking_uri()), run_facts.read()[run_facts.EXPERIMENT])


@functools.cache
def _id(uri: str, experiment: str) -> str:
    from sweeproute.store import absolute, open_store

    return open_store(absolute(uri), experiment).experiment_id
