"""Keeps every test away from the state, the caches and the tracking store of whoever runs the suite."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins

import slurm
from loopback import Loopback
from loopback import missing as missing_loopback
from sshd import skip_for
from workstation import Workstation
from workstation import missing as missing_workstation

# Hydra 1.4 loads its plugins once in a process, 1.3 anew at each look: loaded inside a test whose singletons are put
# back at its end, they would be missing from the next.
Plugins.instance()
# Started with & by a script, or under nohup, all that the tests start would ignore Ctrl-C, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Files that take half a minute or more, the longest first. Handed out in this order, none is begun when all others end.
LONGEST = (
    *("test_ssh_sweep", "test_launcher_contract", "test_report", "test_adaptive", "test_reproduce", "test_home_sweep"),
    *("test_holdout", "test_experiment", "test_promote", "test_sweep", "test_main", "test_mlflow_journal_sync"),
    *("test_promotion", "test_search", "test_run_on_workstation", "test_reproducible", "test_estimator_prefix"),
    *("test_slurm", "test_job_log", "test_compose", "test_faults", "test_project", "test_setup", "test_bettor_sweep"),
    *("test_network", "test_ensemble_far", "test_request", "test_models", "test_leakage", "test_final_report"),
    *("test_checkpoint", "test_ensemble_sweep", "test_config", "test_errors", "test_study", "test_shared_runs"),
    *("test_bettor", "test_home_plan", "test_far_jobs", "test_readme", "test_r_sweep", "test_grid"),
    *("test_mlflow_backend", "test_figures", "test_tracking", "test_trial_steps", "test_predict_network"),
    *("test_comparison", "test_registry", "test_far_sweep", "test_run_on", "test_joblib"),
)


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist hand files out as they were collected, where by itself those of the most tests go first."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Collect the longest files first."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(autouse=True, scope="session")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Folders of this session's own; the cache is shared by its tests, so that a league is simulated once."""
    root = tmp_path_factory.getbasetemp()
    # The workers of pytest-xdist are processes with a folder each, below that of the session.
    cache = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPROUTE_STATE", str(tmp_path_factory.mktemp("state")))
        patch.setenv("SWEEPROUTE_CACHE", str(cache))
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        # Of a slow machine a trial may last long enough for samples, and two that are compared differ in them.
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "3600")
        yield


@pytest.fixture(autouse=True)
def no_store_left_to_the_next() -> Iterator[None]:
    """Where MLflow logs to is the process's: `mlflow.set_tracking_uri` alone would send the next test there, too."""
    before = store_settings()
    yield
    left = store_settings()
    for name in left.keys() - before.keys():
        del os.environ[name]
    assert left == before


def store_settings() -> dict[str, str]:
    whose = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")
    return {name: os.environ[name] for name in whose if name in os.environ}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A SLURM cluster of one node, which later modules do not see; where there is none, a test says so and skips."""
    slurm.or_skip()
    with slurm.one_node() as folder:
        yield folder


@pytest.fixture
def workstation() -> Iterator[Workstation]:
    """A machine of this test's own behind a line that can fail; where there can be none, the test is skipped."""
    skip_for(missing_workstation())
    with Workstation.start() as box:
        yield box


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """An sshd of this test's own on this machine; where there can be none, the test is skipped."""
    skip_for(missing_loopback())
    with Loopback.start() as box:
        yield box
