"""The return of a job that ran elsewhere is the one that Hydra would have given."""

from pathlib import Path

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.utils import JobReturn, JobStatus, run_job
from hydra.types import HydraContext
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import ReadonlyConfigError

from hydra_plugins.sweeproute._compose import Composer
from hydra_plugins.sweeproute._errors import JobFailedError
from hydra_plugins.sweeproute._returns import RoutedReturn
from small_app import start_sweep

CONF = {
    "config.yaml": """
defaults: [db: mysql, _self_]
seed: 1
refers: ${db.port}-${hydra:job.num}
hydra:
  job: {chdir: CHDIR}
  sweep: {dir: out, subdir: "${hydra.job.num}"}
""",
    "db/mysql.yaml": "port: 1\n",
    "db/postgres.yaml": "port: 2\n",
}


def launch(**more):
    return {"overrides": ["db=postgres", "seed=5"], "job": 3, "state": "FINISHED", "value": 7, "unfit": None} | more


def failed(**error):
    whole = {"message": "bad", "type": "ValueError", "class": "user", "traceback": "Traceback ..."} | error
    return launch(state="FAILED", value=None, error=whole)


def no_config():
    raise AssertionError("composed although nobody looked")


def by_hydra(loader, master, overrides, number):
    config = loader.load_sweep_config(master, list(overrides))
    with open_dict(config):
        config.hydra.job.id = number
        config.hydra.job.num = number
    context = HydraContext(config_loader=loader, callbacks=Callbacks())
    return run_job(lambda cfg: 7, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)


@pytest.mark.parametrize("chdir", ["true", "false", "null"])
def test_it_equals_hydras_in_all_that_a_callback_or_a_sweeper_may_read(
    tmp_path, monkeypatch, hydra_restore_singletons, chdir
):
    monkeypatch.chdir(tmp_path)
    files = CONF | {"config.yaml": CONF["config.yaml"].replace("CHDIR", chdir)}
    loader, master = start_sweep(tmp_path, files)
    theirs = by_hydra(loader, master, ["db=postgres", "seed=5"], 3)
    composer = Composer(loader, master)
    folder = Path(theirs.hydra_cfg.hydra.runtime.output_dir)
    ours = RoutedReturn(launch(), folder, lambda: composer.compose(["db=postgres", "seed=5"], 3))
    assert OmegaConf.to_yaml(ours.cfg) == OmegaConf.to_yaml(theirs.cfg)
    assert OmegaConf.to_yaml(ours.hydra_cfg) == OmegaConf.to_yaml(theirs.hydra_cfg)
    assert ours.hydra_cfg.hydra.sweep.subdir == theirs.hydra_cfg.hydra.sweep.subdir == "3"
    for config in (ours, theirs):
        assert "hydra" not in config.cfg
        assert list(config.hydra_cfg) == ["hydra"]
    with pytest.raises(ReadonlyConfigError):
        ours.hydra_cfg.hydra.job.num = 4
    assert Path(ours.working_dir).resolve() == Path(theirs.working_dir).resolve()
    for name in ("overrides", "task_name", "status", "return_value"):
        assert getattr(ours, name) == getattr(theirs, name), name


def test_the_config_is_composed_when_it_is_first_read_and_kept():
    composed = []

    def compose():
        composed.append(1)
        return OmegaConf.create({"x": 1, "hydra": {"runtime": {}, "job": {"chdir": True}}})

    one = RoutedReturn(launch(), Path("/out/3"), compose)
    assert one.return_value == 7
    assert composed == []
    assert one.cfg is one.cfg
    assert one.hydra_cfg.hydra.runtime.output_dir == "/out/3"
    number = len(composed)
    one.cfg.x = 2
    assert (one.cfg.x, len(composed)) == (2, number)


def test_a_failed_job_raises_what_it_failed_with():
    one = RoutedReturn(failed(), Path("/out/3"), no_config)
    assert isinstance(one, JobReturn)
    assert one.status == JobStatus.FAILED
    with pytest.raises(JobFailedError, match=r"(?s)ValueError: bad.*Traceback \.\.\.") as raised:
        _ = one.return_value
    assert (raised.value.error_type, raised.value.error_class, raised.value.message) == ("ValueError", "user", "bad")


@pytest.mark.parametrize("state", ["KILLED", "LOST"])
def test_a_job_that_was_killed_or_lost_has_failed(state):
    one = RoutedReturn(failed(type="", traceback="") | {"state": state}, Path("/out/3"), no_config)
    assert one.status == JobStatus.FAILED
    with pytest.raises(JobFailedError, match=r"^bad$"):
        _ = one.return_value


def test_a_value_that_could_not_be_sent_raises_when_it_is_read_and_the_job_stays_completed():
    one = RoutedReturn(launch(value=None, unfit="an object of type Odd"), Path("/out/3"), no_config)
    assert one.status == JobStatus.COMPLETED
    with pytest.raises(TypeError, match=r"job finished.*an object of type Odd"):
        _ = one.return_value


def test_a_value_of_none_is_a_value():
    assert RoutedReturn(launch(value=None), Path("/out/3"), no_config).return_value is None


def test_a_job_that_was_pruned_has_completed(tmp_path):
    value = {"status": "pruned", "auc": 0.5}
    pruned = RoutedReturn(launch(state="PRUNED", pruned="below the median", value=value), tmp_path, no_config)
    assert (pruned.status, pruned.return_value) == (JobStatus.COMPLETED, value)
