"""What the policy reads of a job, what its platform settles, and what is written before it runs."""

import sys

import pytest
from omegaconf import OmegaConf

from hydra_plugins.sweeproute import _platforms
from hydra_plugins.sweeproute._compose import Composer, build
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._jobs import Jobs
from hydra_plugins.sweeproute._platforms import read
from hydra_plugins.sweeproute._policy import Alternative, Decision, JobClass
from hydra_plugins.sweeproute._records import SweepFolder, read_json
from hydra_plugins.sweeproute._scheduler import Assignment, Job
from hydra_plugins.sweeproute.config import RoutedLauncherConf
from small_app import singletons_kept, start_sweep

CONF = {
    "config.yaml": """
defaults: [model: glm, place: auto, _self_]
trial: {device: auto, threads: null, depth: 3}
follows: {device: "${trial.device}", size: "${model.size}"}
priority: 5
memory: 1.5
gpu: 0
long: 2
hydra:
  sweep: {dir: out, subdir: "${hydra.job.num}"}
""",
    "model/glm.yaml": "type: GLM\nsize: 1\ndeep: {kind: a}\n",
    "model/net.yaml": "type: Net\nsize: 2\ndeep: {kind: b}\n",
    "place/auto.yaml": "name: null\n",
    "place/box.yaml": "name: box\n",
}
FIELDS = {
    "model_type": "model.type",
    "platform": "place.name",
    "priority": "priority",
    "memory_gb": "memory",
    "gpu_memory_gb": "gpu",
    "minutes": "long",
}
SETS = {"device": "trial.device", "threads": "trial.threads"}
PLATFORMS = {
    "here": {"max_concurrent_jobs": 2, "specs": {"memory_gb": 8}},
    "box": {"max_concurrent_jobs": 4, "backend": "joblib", "specs": {"cpu_cores": 4, "memory_gb": 64, "gpu": "24GB"}},
    "far": {"max_concurrent_jobs": 1, "specs": {"memory_gb": 64}},
}


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    with singletons_kept():
        yield start_sweep(tmp_path_factory.mktemp("app"), CONF)


@pytest.fixture
def jobs_of(tmp_path, monkeypatch, composed):
    """From settings of the launcher to the jobs of a sweep."""
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(_platforms, "_cores_here", lambda: 8)
    monkeypatch.setattr(_platforms.Registry, "memory_gb", lambda self, name: self.settings[name].specs.memory_gb)
    loader, master = composed
    opened = []

    def make(subdir=None, **settings):
        conf = RoutedLauncherConf(**{"platforms": PLATFORMS, "fields": FIELDS, "sets": SETS} | settings)
        config = OmegaConf.create({"hydra": {"launcher": {"platforms": {}}}})
        sweep = SweepFolder.open(tmp_path / "out", {"id": "sweep_1"})
        opened.append(sweep)
        return Jobs(conf, read(conf, config), Composer(loader, master), sweep)

    yield make
    for sweep in opened:
        sweep._lock.release()


def test_a_class_is_all_that_the_policy_reads_of_a_job(jobs_of):
    assert jobs_of().job_class(0, ("model=net", "priority=7", "gpu=0.5")) == JobClass(
        fields=(("model_type", "Net"),), priority=7, memory_gb=1.5, gpu_memory_gb=0.5, minutes=2.0
    )


def test_what_a_config_leaves_out_has_its_default(jobs_of):
    jobs = jobs_of(fields={"model_type": "model.type", "kind": "no.such.key", "priority": "nor.this"})
    found = jobs.job_class(0, ("memory=9",))
    assert found == JobClass(fields=(("kind", None), ("model_type", "GLM")))
    assert (found.priority, found.memory_gb, found.minutes) == (5, 1.0, 60.0)


@pytest.mark.parametrize("word", ["null", "auto"])
def test_a_platform_that_is_null_or_auto_is_left_to_the_rules(jobs_of, word):
    assert jobs_of().job_class(0, (f"place.name={word}",)).asked is None


def test_a_platform_may_be_asked_for(jobs_of):
    assert jobs_of().job_class(0, ("place=box",)).asked == "box"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["place.name=bx"], "The job names the platform 'bx', which is not in the registry. Allowed: box, "),
        (
            ["place.name=far"],
            "far was asked for, and it has no host configured (set hydra.launcher.platforms.",
        ),
        (["place.name=far"], "(place.name=null)"),
        (["priority=11"], "A job has the priority 11. Allowed: 1 to 10"),
        (["priority=high"], "priority is 'high'. It takes a number."),
        (["memory=1GB"], "memory is '1GB'. It takes a number."),
        (["memory=100"], "64 GB of memory in all, 100 GB needed"),
        (["place=box", "memory=65"], "box, which was asked for, has 64 GB of memory in all, 65 GB needed"),
        (["model.type=[GLM,Net]"], "model.type is ['GLM', 'Net']. Jobs are routed by single values"),
    ],
)
def test_a_job_that_could_not_run_is_refused_in_a_sentence(jobs_of, overrides, says):
    with pytest.raises(SettingsError) as refused:
        jobs_of().job_class(0, tuple(overrides))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_apps_own_check_sees_the_config_that_the_task_would(jobs_of, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "checks.py").write_text(
        "def depth(cfg):\n"
        "    assert 'hydra' not in cfg\n"
        "    if cfg.trial.depth > 5:\n"
        "        raise ValueError(f'too deep: {cfg.trial.depth}')\n"
    )
    jobs = jobs_of(validate="checks.depth")
    jobs.job_class(0, ("trial.depth=5",))
    with pytest.raises(ValueError, match="too deep: 6"):
        jobs.job_class(0, ("trial.depth=6",))
    del sys.modules["checks"]


@pytest.mark.parametrize("hook", ["validate", "identity"])
@pytest.mark.parametrize("dotted", ["no_such_module.check", "os.no_such_function", "word"])
def test_a_hook_that_cannot_be_had_is_refused(jobs_of, hook, dotted):
    with pytest.raises(SettingsError, match=f"hydra.launcher.{hook} is '{dotted}', which cannot be had"):
        jobs_of(**{hook: dotted})


def test_points_that_agree_in_what_decides_form_a_stratum(jobs_of):
    jobs = jobs_of()
    assert jobs.stratum(("model=net", "trial.depth=1")) == jobs.stratum(("model=net", "trial.depth=2"))
    different = [("model=glm",), ("model=net",), ("priority=1",), ("priority=2",), ("model={type:X}",), ("place=box",)]
    assert len({jobs.stratum(point) for point in different}) == len(different)


def test_where_a_key_that_decides_is_an_interpolation_each_point_is_looked_at(jobs_of):
    jobs = jobs_of(fields={"size": "follows.size"})
    points = [("model.size=1",), ("model.size=2",)]
    assert len({jobs.stratum(point) for point in points}) == 2
    assert [dict(jobs.job_class(0, point).fields)["size"] for point in points] == [1, 2]


@pytest.mark.parametrize(
    ("platform", "overrides", "device", "threads", "sets"),
    [
        ("here", [], "cpu", 4, ["trial.device=cpu", "trial.threads=4"]),
        ("box", [], "cuda", 1, ["trial.device=cuda", "trial.threads=1"]),
        ("box", ["trial.device=cpu"], "cpu", 1, ["trial.threads=1"]),
        ("here", ["trial.device=cuda", "trial.threads=3"], "cuda", 3, []),
        ("far", [], "cpu", None, ["trial.device=cpu"]),
        ("far", ["trial={threads:2}"], "cpu", 2, ["trial.device=cpu"]),
    ],
)
def test_a_platform_settles_what_was_left_open_and_nothing_else(jobs_of, platform, overrides, device, threads, sets):
    jobs = jobs_of()
    settled = jobs.settle(jobs._composer.compose(overrides, 0), platform)
    assert (settled.device, settled.threads) == (device, threads)
    assert [override.input_line for override in settled.overrides] == sets


def test_the_registrys_overrides_go_before_what_the_platform_has_and_behind_what_the_person_says(jobs_of):
    jobs = jobs_of(platforms={"here": PLATFORMS["here"] | {"overrides": ["trial.device=cuda", "trial.threads=1"]}})
    compose = jobs._composer.compose
    assert jobs.settle(compose([], 0), "here").device == "cuda"
    assert jobs.settle(compose([], 0), "here").threads == 1
    assert jobs.settle(compose(["trial.device=cpu"], 0), "here").device == "cpu"


@pytest.mark.parametrize("sets", [{}, {"device": "trial.nothing", "threads": "nothing.at_all"}])
def test_without_such_keys_nothing_is_set(jobs_of, sets):
    settled = jobs_of(sets=sets).settle(OmegaConf.create({"trial": {}}), "here")
    assert (settled.overrides, settled.device, settled.threads) == ((), "cpu", 4)


def assignment(job_class, number=3, platform="box", overrides=("model=net", "trial.depth=7")):
    decision = Decision("scheduled_fallback", platform, "far is down", (Alternative("here", "is full"),))
    return Assignment(Job(number, overrides, job_class, 100.0), platform, 0, 1, decision)


def test_an_attempt_has_its_folder_its_record_and_what_its_process_needs(jobs_of):
    jobs = jobs_of()
    overrides = ("model=net", "trial.depth=7")
    attempt = jobs.prepare(assignment(jobs.job_class(3, overrides)))
    assert attempt.folder.is_dir()
    assert attempt.folder.name == "3"
    launch = attempt.launch
    assert (launch["sweep"], launch["job"], launch["attempt"]) == ("sweep_1", 3, 1)
    assert launch["overrides"] == ["model=net", "trial.depth=7"]
    assert (launch["platform"], launch["decision"], launch["reason"]) == ("box", "scheduled_fallback", "far is down")
    assert launch["considered"] == [{"platform": "here", "verdict": "is full"}]
    assert (launch["state"], launch["current"], launch["device"], launch["threads"]) == ("RUNNING", False, "cuda", 1)
    assert launch["queue_s"] == launch["started_at"] - 100.0
    assert launch["fields"] == {"model_type": "Net"}
    message = attempt.message
    assert (message.number, message.folder, message.threads) == (3, str(attempt.folder), 1)
    with open(message.base, "rb") as stream:  # noqa: PTH123
        config = build(stream.read(), message.point, message.settled, 3)
    assert (config.model.type, config.trial.depth, config.trial.device, config.trial.threads) == ("Net", 7, "cuda", 1)
    assert list(config.hydra.overrides.task) == ["model=net", "trial.depth=7"]
    assert config.follows.device == "cuda"


def test_a_job_that_sets_its_own_device_keeps_it_beside_jobs_that_do_not(jobs_of):
    jobs = jobs_of()
    for overrides, expected in [((), "cuda"), (("trial.device=cpu",), "cpu"), ((), "cuda")]:
        attempt = jobs.prepare(assignment(jobs.job_class(0, overrides), overrides=overrides))
        assert attempt.launch["device"] == expected


def test_a_later_attempt_counts_on_and_has_a_folder_of_its_own(jobs_of):
    jobs = jobs_of()
    job_class = jobs.job_class(3, ("model=net",))
    first = jobs.prepare(assignment(job_class))
    jobs._sweep.record_job(first.folder, first.launch | {"state": "KILLED"})
    second = jobs.prepare(assignment(job_class, platform="here"))
    assert second.launch["attempt"] == 2
    assert (first.folder.name, second.folder.name) == ("3", "3.attempt2")
    assert read_json(first.folder / "launch.json")["state"] == "KILLED"


@pytest.mark.parametrize(
    ("subdir", "name"),
    [
        ("${hydra.job.num}", "3"),
        ("${hydra.job.override_dirname}", "model=net,trial.depth=7"),
        ("${model.type}/${trial.depth}", "Net/7"),
        ("job_${hydra.job.id}-${hydra:job.num}", "job_3-3"),
    ],
)
def test_a_job_lies_where_its_config_says(tmp_path, monkeypatch, hydra_restore_singletons, subdir, name):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    files = CONF | {"config.yaml": CONF["config.yaml"].replace('"${hydra.job.num}"', f'"{subdir}"')}
    loader, master = start_sweep(tmp_path, files)
    conf = RoutedLauncherConf(platforms=PLATFORMS, fields=FIELDS, sets=SETS)
    config = OmegaConf.create({"hydra": {"launcher": {"platforms": {}}}})
    with SweepFolder.open(tmp_path / "out", {"id": "sweep_1"}) as sweep:
        jobs = Jobs(conf, read(conf, config), Composer(loader, master), sweep)
        attempt = jobs.prepare(assignment(JobClass(fields=())))
        assert str(attempt.folder.relative_to(sweep.folder)) == name
