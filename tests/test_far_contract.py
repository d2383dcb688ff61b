"""Hydra's own contract suites for launchers, through ssh to a machine that shares nothing with this one."""

import pytest
from hydra.core.singleton import Singleton
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, LauncherTestSuite
from hydra.version import VersionBase

from workstation import Workstation

# Every job goes to the far machine, and to no other.
FAR = [
    "hydra.launcher.default_platform=box",
    "hydra.launcher.overflow=never",
    "+hydra.launcher.platforms.here={max_concurrent_jobs: 1}",
    "+hydra.launcher.platforms.box={max_concurrent_jobs: 2, specs: {cpu_cores: 2, memory_gb: 8},"
    f" host: {Workstation.host}, python: {Workstation.python}, ssh_config: '${{oc.env:FAR_SSH_CONFIG}}'}}",
]
SWEEPERS = ["basic", "search"]


@pytest.fixture(autouse=True)
def far(workstation, monkeypatch, tmp_path):
    """Name the machine, and let nothing of a test reach the person's own files."""
    monkeypatch.setenv("FAR_SSH_CONFIG", str(workstation.ssh_config))
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    kept = Singleton._instances.pop(VersionBase, None)
    yield
    Singleton._instances.pop(VersionBase, None)
    if kept is not None:
        Singleton._instances[VersionBase] = kept


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [("routed", [f"hydra/sweeper={sweeper}", *FAR]) for sweeper in SWEEPERS],
    ids=SWEEPERS,
)
class TestFarLauncher(LauncherTestSuite):
    """Single batches."""


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [("routed", [f"hydra/sweeper={sweeper}", "hydra.sweeper.max_batch_size=2", *FAR]) for sweeper in SWEEPERS],
    ids=SWEEPERS,
)
class TestFarLauncherInBatches(BatchedSweeperTestSuite):
    """Batches of two."""
