"""Hydra's own contract suites for launchers, against ours: with Hydra's sweeper, and with ours."""

import pytest
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite
from hydra.version import VersionBase

from hydra_plugins.sweeproute.launcher import RoutedLauncher
from hydra_plugins.sweeproute.sweeper import SearchSweeper

SWEEPERS = ["basic", "search"]
# Where there is one job, a worker for each core would be started for nothing.
ONE_SLOT = "+hydra.launcher.platforms.here.max_concurrent_jobs=1"


@pytest.fixture(autouse=True)
def unspecified_version_base():
    """The suites expect what an app gets that names no version_base; other tests name one, for the whole process."""
    kept = Singleton._instances.pop(VersionBase, None)
    yield
    Singleton._instances.pop(VersionBase, None)
    if kept is not None:
        Singleton._instances[VersionBase] = kept


def test_hydra_discovers_both():
    assert RoutedLauncher.__name__ in [x.__name__ for x in Plugins.instance().discover(Launcher)]
    assert SearchSweeper.__name__ in [x.__name__ for x in Plugins.instance().discover(Sweeper)]


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [
        pytest.param("routed", [f"hydra/sweeper={sweeper}"], id=sweeper, marks=marks)
        # Workers are the launcher's, whichever sweeper asks.
        for sweeper, marks in (("basic", pytest.mark.spawn), ("search", ()))
    ],
)
class TestRoutedLauncher(LauncherTestSuite):
    """Single batches."""


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [("routed", [f"hydra/sweeper={sweeper}", "hydra.sweeper.max_batch_size=2"]) for sweeper in SWEEPERS],
    ids=SWEEPERS,
)
class TestRoutedLauncherInBatches(BatchedSweeperTestSuite):
    """Batches of two."""


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [({}, ["-m", "hydra/launcher=routed", f"hydra/sweeper={sweeper}", ONE_SLOT]) for sweeper in SWEEPERS],
    ids=SWEEPERS,
)
class TestRoutedLauncherInAnApp(IntegrationTestSuite):
    """Real processes."""
