"""Marks every run that MLflow's fluent calls make inside a trial; MLflow finds it by an entry point.

MLflow loads it while it is being imported itself: nothing but the abstract class is there yet.
"""

from mlflow.tracking.context.abstract_context import RunContextProvider

from sweeproute import run_facts


class SweeprouteRunContext(RunContextProvider):
    """The tags: seed, fingerprint, data and code hash, platform, device, sweep and trial, as far as they are known."""

    def in_context(self) -> bool:
        """Whether this process belongs to a trial, or to another app's job that was routed."""
        return bool(run_facts.read())

    def tags(self) -> dict[str, str]:
        """The tags, under the names that the trial's own run has them by."""
        return {f"sweeproute.{name}": fact for name, fact in run_facts.read().items()}
