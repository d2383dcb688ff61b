"""Keeps every test away from the state, the caches and the tracking store of whoever runs the suite."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins

import slurm
import workstation as machines

# Hydra 1.4 loads its plugins once in a process, 1.3 anew at each look: loaded inside a test whose singletons are put
# back at its end, they would be missing from the next.
Plugins.instance()


@pytest.fixture(autouse=True, scope="session")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Folders of this session's own; the cache is shared by its tests, so that the league is simulated once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPROUTE_STATE", str(tmp_path_factory.mktemp("state")))
        patch.setenv("SWEEPROUTE_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """A SLURM cluster of one node; where there is none, the test that asks for it is skipped with the reason."""
    slurm.or_skip()
    with slurm.one_node() as folder:
        yield folder


@pytest.fixture(scope="session")
def _workstation() -> Iterator[machines.Workstation]:
    machines.or_skip()
    with machines.Workstation.start() as box:
        yield box


@pytest.fixture
def workstation(_workstation: machines.Workstation) -> Iterator[machines.Workstation]:
    """Another machine behind a line; each test finds it up, without faults, nothing running and the home as new."""
    yield _workstation
    _workstation.restore()
