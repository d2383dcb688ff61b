"""Hydra's suite of whole apps through ssh: its task writes to a path of the near side, so both sides share one tree."""

import pytest
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite

from loopback import Loopback

# Every job goes through ssh, to this machine.
FAR = [
    "-m",
    "hydra/launcher=routed",
    "hydra.launcher.default_platform=box",
    "hydra.launcher.overflow=never",
    "+hydra.launcher.platforms.here={max_concurrent_jobs: 1}",
    "+hydra.launcher.platforms.box={max_concurrent_jobs: 2, specs: {cpu_cores: 2, memory_gb: 8}, shared_disk: true,"
    f" host: {Loopback.host}, python: '${{oc.env:FAR_PYTHON}}', ssh_config: '${{oc.env:FAR_SSH_CONFIG}}'}}",
]
SWEEPERS = ["basic", "search"]


@pytest.fixture(autouse=True)
def far(loopback, monkeypatch, tmp_path):
    """Name the machine, and let nothing of a test reach the person's own files."""
    monkeypatch.setenv("FAR_SSH_CONFIG", str(loopback.ssh_config))
    monkeypatch.setenv("FAR_PYTHON", str(loopback.python))
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [({}, [*FAR, f"hydra/sweeper={sweeper}"]) for sweeper in SWEEPERS],
    ids=SWEEPERS,
)
class TestFarLauncherInAnApp(IntegrationTestSuite):
    """Real processes."""
