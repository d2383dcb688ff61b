"""What the policy reads of a job's config, and what is refused there before any job runs."""

import sys

import pytest

from hydra_plugins.sweeproute._classes import Classes
from hydra_plugins.sweeproute._compose import Composer
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._platforms import read
from hydra_plugins.sweeproute._policy import JobClass
from routed_app import CONF, MASTER, on_eight_cores, settings
from small_app import singletons_kept, start_sweep


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    with singletons_kept():
        yield start_sweep(tmp_path_factory.mktemp("app"), CONF)


@pytest.fixture
def classes_of(monkeypatch, composed):
    """From settings of the launcher to what reads classes."""
    on_eight_cores(monkeypatch)

    def make(**changes):
        conf = settings(**changes)
        return Classes(conf, read(conf, MASTER), Composer(*composed))

    return make


def test_a_class_is_all_that_the_policy_reads_of_a_job(classes_of):
    assert classes_of().job_class(0, ("model=net", "priority=7", "gpu=0.5")) == JobClass(
        fields=(("model_type", "Net"),), priority=7, memory_gb=1.5, gpu_memory_gb=0.5, minutes=2.0
    )


def test_what_a_job_requires_is_a_list(classes_of):
    assert classes_of().job_class(0, ("needs=[R,R]",)).capabilities == ("R",)
    assert classes_of().job_class(0, ()).capabilities == ()
    assert dict(classes_of().job_class(0, ("needs=[R]",)).fields) == {"model_type": "GLM"}


def test_what_a_config_leaves_out_has_its_default(classes_of):
    classes = classes_of(fields={"model_type": "model.type", "kind": "no.such.key", "priority": "nor.this"})
    found = classes.job_class(0, ("memory=9",))
    assert found == JobClass(fields=(("kind", None), ("model_type", "GLM")))
    assert (found.priority, found.memory_gb, found.minutes) == (5, 1.0, 60.0)


@pytest.mark.parametrize("word", ["null", "auto"])
def test_a_platform_that_is_null_or_auto_is_left_to_the_rules(classes_of, word):
    assert classes_of().job_class(0, (f"place.name={word}",)).asked is None


def test_a_platform_may_be_asked_for(classes_of):
    assert classes_of().job_class(0, ("place=box",)).asked == "box"


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
        (["needs=R"], "needs is 'R'. It takes a list of capabilities, as in [R]."),
        (
            ["needs=[S]"],
            "A job requires S, and no platform that it may use can do that. The registry's platforms have: R.",
        ),
        (["needs=[R]", "place.name=here"], "here, which was asked for, has: no capabilities."),
        (["model.type=[GLM,Net]"], "model.type is ['GLM', 'Net']. Jobs are routed by single values"),
    ],
)
def test_a_job_that_could_not_run_is_refused_in_a_sentence(classes_of, overrides, says):
    with pytest.raises(SettingsError) as refused:
        classes_of().job_class(0, tuple(overrides))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_apps_own_check_sees_the_config_that_the_task_would(classes_of, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "checks.py").write_text(
        "def depth(cfg):\n"
        "    assert 'hydra' not in cfg\n"
        "    if cfg.trial.depth > 5:\n"
        "        raise ValueError(f'too deep: {cfg.trial.depth}')\n"
    )
    classes = classes_of(validate="checks.depth")
    classes.job_class(0, ("trial.depth=5",))
    with pytest.raises(ValueError, match="too deep: 6"):
        classes.job_class(0, ("trial.depth=6",))
    del sys.modules["checks"]


@pytest.mark.parametrize("dotted", ["no_such_module.check", "os.no_such_function", "word"])
def test_a_hook_that_cannot_be_had_is_refused(classes_of, dotted):
    with pytest.raises(SettingsError, match=f"hydra.launcher.validate is '{dotted}', which cannot be had"):
        classes_of(validate=dotted)


def test_what_this_machine_is_known_to_lack_is_refused_with_the_apps_own_words(classes_of, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "looks.py").write_text("def lacks(name):\n    return f'nobody installed it' if name == 'R' else None\n")
    classes = classes_of(lacks="looks.lacks")
    classes.job_class(0, ())
    with pytest.raises(SettingsError, match="box claims R, and nobody installed it"):
        classes.job_class(0, ("needs=[R]",))
    del sys.modules["looks"]


def test_points_that_agree_in_what_decides_form_a_stratum(classes_of):
    classes = classes_of()
    assert classes.stratum(("model=net", "trial.depth=1")) == classes.stratum(("model=net", "trial.depth=2"))
    different = [
        ("model=glm",),
        ("model=net",),
        ("needs=[R]",),
        ("priority=1",),
        ("priority=2",),
        ("model={type:X}",),
        ("place=box",),
    ]
    assert len({classes.stratum(point) for point in different}) == len(different)


def test_where_a_key_that_decides_is_an_interpolation_each_point_is_looked_at(classes_of):
    classes = classes_of(fields={"size": "follows.size"})
    points = [("model.size=1",), ("model.size=2",)]
    assert len({classes.stratum(point) for point in points}) == 2
    assert [dict(classes.job_class(0, point).fields)["size"] for point in points] == [1, 2]
