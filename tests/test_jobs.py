"""What a platform settles of a job, and what is written before it runs."""

import pytest
from omegaconf import OmegaConf

from hydra_plugins.sweeproute._compose import Composer, build
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._jobs import Jobs
from hydra_plugins.sweeproute._platforms import read
from hydra_plugins.sweeproute._policy import Alternative, Decision, JobClass
from hydra_plugins.sweeproute._records import SweepFolder, read_json
from hydra_plugins.sweeproute._scheduler import Assignment, Job
from routed_app import CONF, MASTER, PLATFORMS, on_eight_cores, settings
from small_app import singletons_kept, start_sweep


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    with singletons_kept():
        yield start_sweep(tmp_path_factory.mktemp("app"), CONF)


@pytest.fixture
def jobs_of(tmp_path, monkeypatch, composed):
    """From settings of the launcher to the jobs of a sweep."""
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    on_eight_cores(monkeypatch)
    loader, master = composed
    opened = []

    def make(**changes):
        conf = settings(**changes)
        sweep = SweepFolder.open(tmp_path / "out", {"id": "sweep_1"})
        opened.append(sweep)
        return Jobs(conf, read(conf, MASTER), Composer(loader, master), sweep)

    yield make
    for sweep in opened:
        sweep._lock.release()


@pytest.mark.parametrize("dotted", ["no_such_module.check", "os.no_such_function", "word"])
def test_a_hook_that_cannot_be_had_is_refused(jobs_of, dotted):
    with pytest.raises(SettingsError, match=f"hydra.launcher.identity is '{dotted}', which cannot be had"):
        jobs_of(identity=dotted)


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
    conf = settings()
    with SweepFolder.open(tmp_path / "out", {"id": "sweep_1"}) as sweep:
        jobs = Jobs(conf, read(conf, MASTER), Composer(loader, master), sweep)
        attempt = jobs.prepare(assignment(JobClass(fields=())))
        assert str(attempt.folder.relative_to(sweep.folder)) == name
