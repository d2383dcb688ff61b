"""What runs a job here is held to Hydra's own `run_job`: the same files, the same surroundings, the same return."""

import copy
import json
import logging
import os
import pickle
import sys
from pathlib import Path

import pytest
from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobStatus, run_job, setup_globals
from hydra.experimental.callback import Callback
from hydra.types import HydraContext, RunMode
from hydra.utils import instantiate
from omegaconf import OmegaConf, open_dict

from hydra_plugins.sweeproute import _hydra_versions, _worker
from hydra_plugins.sweeproute._compose import Composer

CONF = {
    "config.yaml": """
defaults:
  - db: mysql
  - optional extra: none
  - _self_
seed: 1
text: "yes"
number: "1_000"
unicode: "Zürich, a line that is long enough for the emitter to fold it, were it asked to fold lines at eighty columns"
list: [1, two, [3, 4], {five: 6}]
nothing: null
refers: ${db.driver}/${seed}
stamp: ${now:%H%M%S%f}
name_of_job: ${hydra:job.name}
empty: {}
nested: {a: {b: {c: 1}}, d: "${.a.b.c}"}
hydra:
  sweep: {dir: sweep, subdir: "${hydra.job.num}-${now:%H%M%S%f}"}
  job: {env_set: {SWEEPROUTE_TEST: "set in ${hydra.job.num}"}, chdir: true}
""",
    "db/mysql.yaml": "driver: mysql\nport: 3306\n",
    "db/postgres.yaml": "driver: postgres\nport: 5432\nschema: public\n",
}

POINTS = [
    [],
    ["seed=7"],
    ["db=postgres", "db.port=1"],
    ["db=postgres", "+added.deep.key=[1,2]", "text=no", "seed=0x10"],
    ["~text", "nested.a.b.c=2.5", "++seed=3", "list=[]"],
    ["refers=${db.port}", "nested.a={b: {c: 9}}"],
]


class Noting(Callback):
    """Notes which of Hydra's events it has seen."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_job_start(self, config, **kwargs):
        self.seen.append(f"start {config.seed}")

    def on_job_end(self, config, job_return, **kwargs):
        self.seen.append(f"end {job_return.status.name}")


def task(cfg):
    """Look at everything that a task can see."""
    logging.getLogger("task").info("hello from %s", cfg.seed)
    return {
        "cfg": OmegaConf.to_yaml(cfg),
        "resolved": OmegaConf.to_container(cfg, resolve=True),
        "cwd": Path.cwd().name,
        "env": os.environ["SWEEPROUTE_TEST"],
        "num": HydraConfig.get().job.num,
        "folder": Path(HydraConfig.get().runtime.output_dir).name,
        "overrides": list(HydraConfig.get().overrides.task),
        "choices": dict(HydraConfig.get().runtime.choices),
        "dirname": HydraConfig.get().job.override_dirname,
    }


@pytest.fixture
def app(tmp_path, monkeypatch, hydra_restore_singletons):
    for name, text in CONF.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    version.setbase("1.3")
    setup_globals()
    hydra = Hydra.create_main_hydra2("app", create_config_search_path(f"file://{tmp_path}/conf"))
    master = hydra.compose_config("config", [], RunMode.MULTIRUN)
    master.stamp  # noqa: B018  (resolves ${now:} once for all jobs, as the folder of a sweep does)
    return hydra.config_loader, master


def by_hydra(loader, master, overrides, number, callbacks):
    config = loader.load_sweep_config(master, list(overrides))
    with open_dict(config):
        config.hydra.job.id = str(number)
        config.hydra.job.num = number
    context = HydraContext(config_loader=loader, callbacks=callbacks)
    return run_job(task, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)


def by_us(loader, master, overrides, number, callbacks, tmp_path, folder, run=_worker.run_job, allowed=None):
    composer = Composer(loader, master)
    base_config, point = composer.point(overrides)
    base = tmp_path / "base.pkl"
    base.write_bytes(base_config.blob)
    _worker._process = _worker._Process(payload=_worker.Payload(task, callbacks, {}, {}, str(Path.cwd()), allowed))
    folder.mkdir(parents=True, exist_ok=True)
    return run(_worker.Message(str(base), point, (), number, str(folder)))


@pytest.mark.parametrize("overrides", POINTS, ids=" ".join)
def test_a_job_sees_and_leaves_what_hydra_would_have(app, tmp_path, overrides):
    loader, master = app
    theirs_noting, ours_noting = Callbacks(), Callbacks()
    theirs_noting.callbacks, ours_noting.callbacks = [Noting()], [Noting()]
    theirs = by_hydra(loader, master, overrides, 3, theirs_noting)
    folder = Path(theirs.hydra_cfg.hydra.runtime.output_dir)
    kept = tmp_path / "theirs"
    folder.rename(kept)
    ours, _ = by_us(loader, master, overrides, 3, ours_noting, tmp_path, folder)

    assert ours.status == theirs.status == JobStatus.COMPLETED
    assert ours.return_value == theirs.return_value
    assert ours.overrides == theirs.overrides
    assert ours.task_name == theirs.task_name
    assert ours_noting.callbacks[0].seen == theirs_noting.callbacks[0].seen
    names = sorted(str(p.relative_to(kept)) for p in kept.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    for name in names:
        if name.endswith(".yaml"):
            assert (folder / name).read_text() == (kept / name).read_text(), name
    assert (folder / "app.log").read_text().split(" - ", 1)[1] == (kept / "app.log").read_text().split(" - ", 1)[1]


def test_the_surroundings_are_as_before_when_a_job_has_ended(app, tmp_path):
    loader, master = app
    before = str(Path.cwd()), HydraConfig.instance().cfg, dict(os.environ)
    by_us(loader, master, [], 0, Callbacks(), tmp_path, tmp_path / "job")
    assert (str(Path.cwd()), HydraConfig.instance().cfg, dict(os.environ)) == before


def test_an_error_comes_back_as_text_and_is_in_the_console_log(app, tmp_path, monkeypatch, capfd):
    loader, master = app

    class Unpicklable(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    def broken(cfg):
        print("before the end")
        raise Unpicklable(1, 2)

    monkeypatch.setattr(f"{__name__}.task", broken)
    with capfd.disabled():  # pytest's own capture would stand before the file
        text = by_us(loader, master, [], 0, Callbacks(), tmp_path, tmp_path / "job", run=_worker.run)
    answer = json.loads(text)
    assert answer["status"] == "FAILED"
    assert answer["error"]["message"] == "1 and 2"
    assert answer["error"]["type"].endswith("Unpicklable")
    assert answer["error"]["class"] == "user"
    console = (tmp_path / "job" / "console.log").read_text()
    assert "Unpicklable: 1 and 2" in console
    assert pickle.loads(pickle.dumps(copy.copy(answer))) == answer


def test_a_failed_job_leaves_in_its_log_what_hydra_would_have(app, tmp_path, monkeypatch):
    loader, master = app

    def broken(cfg):
        raise ValueError("a value")

    monkeypatch.setattr(f"{__name__}.task", broken)
    theirs = by_hydra(loader, master, [], 3, Callbacks())
    folder = Path(theirs.hydra_cfg.hydra.runtime.output_dir)
    kept = tmp_path / "theirs"
    folder.rename(kept)
    by_us(loader, master, [], 3, Callbacks(), tmp_path, folder)

    def told(log):
        """All but the time of a line, and the frame of the job's run."""
        lines = log.read_text().splitlines()
        return [line.split("]", 1)[-1] for line in lines if "ret.return_value" not in line and "run_job" not in line]

    ours = [line for line in told(folder / "app.log") if "returned.return_value" not in line]
    assert [line for line in ours if not line.lstrip().startswith("^")] == [
        line for line in told(kept / "app.log") if not line.lstrip().startswith("^")
    ]


@pytest.mark.skipif(_hydra_versions.RELEASE < (1, 4), reason="Hydra 1.3 has no list of what configs may instantiate")
def test_what_the_app_does_not_let_configs_instantiate_is_refused_in_its_jobs(app, tmp_path, monkeypatch):
    loader, master = app
    monkeypatch.setattr(f"{__name__}.task", lambda cfg: instantiate({"_target_": "collections.OrderedDict"}))
    for allowed, status in (
        (None, JobStatus.COMPLETED),
        (("collections.*",), JobStatus.COMPLETED),
        (("decimal.*",), JobStatus.FAILED),
    ):
        returned, _ = by_us(loader, master, [], 3, Callbacks(), tmp_path, tmp_path / "job", allowed=allowed)
        assert returned.status == status


def test_memory_that_ran_out_is_told_apart(app, tmp_path, monkeypatch):
    loader, master = app

    def hungry(cfg):
        raise MemoryError("no room")

    monkeypatch.setattr(f"{__name__}.task", hungry)
    answer = json.loads(by_us(loader, master, [], 0, Callbacks(), tmp_path, tmp_path / "job", run=_worker.run))
    assert answer["error"]["class"] == "out_of_memory"


def test_a_task_that_exits_has_failed_by_itself(app, tmp_path, monkeypatch):
    loader, master = app
    monkeypatch.setattr(f"{__name__}.task", lambda cfg: sys.exit(3))
    answer = json.loads(by_us(loader, master, [], 0, Callbacks(), tmp_path, tmp_path / "job", run=_worker.run))
    assert (answer["status"], answer["error"]["class"], answer["error"]["type"]) == ("FAILED", "user", "SystemExit")
