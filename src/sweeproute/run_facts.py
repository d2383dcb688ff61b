"""What a task may know of its own run: in the environment, where its child processes find it, too."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

# The launcher sets it around each job; a trial adds what it knows itself.
VARIABLE = "SWEEPROUTE_RUN"
# The fact that is no tag: a run is in an experiment, and need not say which.
EXPERIMENT = "experiment"


def read() -> dict[str, str]:
    """What is known of the run that this process belongs to, by name; empty outside of one."""
    try:
        facts = json.loads(os.environ.get(VARIABLE, "{}"))
    except ValueError:
        return {}
    return {str(name): str(fact) for name, fact in facts.items()} if isinstance(facts, dict) else {}


@contextmanager
def adding() -> Iterator[Callable[[Mapping[str, object]], None]]:
    """Have what is known of a run added to, until it has ended.

    Returns:
        What takes facts, by name; None is no fact.
    """
    before = os.environ.get(VARIABLE)

    def add(facts: Mapping[str, object]) -> None:
        known = read() | {name: str(fact) for name, fact in facts.items() if fact is not None}
        os.environ[VARIABLE] = json.dumps(known)

    try:
        yield add
    finally:
        # A worker stays warm for other runs.
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before
