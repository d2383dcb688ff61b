"""The points that one fit serves are found by what the app declares, and wait for the job that answers for them."""

import pytest
from hydra.core.utils import JobReturn

from hydra_plugins.sweeproute._compose import Composer
from hydra_plugins.sweeproute._durations import Durations
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._policy import JobClass
from hydra_plugins.sweeproute._prefix import Prefix
from hydra_plugins.sweeproute._source import Points
from small_app import singletons_kept, start_sweep

CONF = {
    "config.yaml": "defaults: [_self_, model: trees]\nseed: 1\nopen: null\nrest: 0\n",
    "model/trees.yaml": """
length: 10
booster: null
shape: {depth: 3}
prefix: {key: model.length, when: {model.booster: [null, plain], seed: 1, model.absent: null}}
""",
    "model/other.yaml": "length: 10\nprefix: null\n",
    "model/worse.yaml": "length: 10\nprefix: [model.length]\n",
    "model/strange.yaml": "length: 10\nprefix: {key: model.length, if: {seed: 1}}\n",
}
CLASS = JobClass(())


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    with singletons_kept():
        yield Prefix("model.prefix", Composer(*start_sweep(tmp_path_factory.mktemp("app"), CONF)))


def points_of(*lines):
    return {number: tuple(line.split()) for number, line in enumerate(lines)}


def led(prefix, *lines, fields=None):
    """By its leader's number the numbers behind it."""
    found = prefix.groups(points_of(*lines), fields or {})
    return {number: [one.number for one in group.followers] for number, group in found.items()}


def test_points_that_differ_in_the_axis_alone_are_behind_the_one_with_the_highest_value(prefix):
    lines = [f"model=trees seed=1 model.length={n} rest={r}" for r in (1, 2) for n in (300, 500, 100)]
    groups = prefix.groups(points_of(*lines), {})
    assert {number: [one.number for one in group.followers] for number, group in groups.items()} == {
        1: [2, 0],
        4: [5, 3],
    }
    group = groups[1]
    assert (group.key, group.value) == ("model.length", 500)
    assert [(one.value, one.overrides) for one in group.followers] == [
        (n, ("model=trees", "seed=1", f"model.length={n}", "rest=1")) for n in (100, 300)
    ]


APART = {
    "another value of another axis": ["model.length=1 rest=1", "model.length=2 rest=2"],
    "a value that another one replaces": [f"model.length={n} model={{length:7}}" for n in (1, 2)],
    "a model that declares none": ["model=other model.length=1", "model=other model.length=2"],
    "no such axis": ["rest=1", "rest=2"],
    "one of them has no value of it": ["rest=1", "rest=1 model.length=2"],
    "a value under which it is not so": ["model.booster=dart model.length=1", "model.booster=dart model.length=2"],
    "a condition outside the model": ["seed=2 model.length=1", "seed=2 model.length=2"],
    "a condition that the model lacks": ["+model.absent=1 model.length=1", "+model.absent=1 model.length=2"],
    "a point that takes the declaration back": ["model.prefix=null model.length=1", "model.prefix=null model.length=2"],
    "no whole numbers": ["model.length=1.5", "model.length=2.5"],
    "no number at all": ["model.length=true", "model.length=null"],
    "nothing to leave out": ["model.length=0", "model.length=-3"],
    "the same point twice": ["model.length=2", "model.length=2"],
    "two values in one": ["model.length=1 model.length=3", "model.length=2 model.length=3"],
}


@pytest.mark.parametrize("lines", APART.values(), ids=APART.keys())
def test_points_are_apart_where_it_is_not_so(prefix, lines):
    assert led(prefix, *lines) == {}


TOGETHER = {
    "a listed value of a condition": ["model.booster=plain model.length=1", "model.booster=plain model.length=2"],
    "an axis that is added or forced": ["++model.length=1 +open2=1", "++model.length=2 +open2=1"],
    "what changes nothing of it": ["model.shape.depth=9 model.length=1", "model.shape.depth=9 model.length=2"],
}


@pytest.mark.parametrize("lines", TOGETHER.values(), ids=TOGETHER.keys())
def test_points_are_together_where_it_is_so(prefix, lines):
    assert led(prefix, *lines) == {1: [0]}


def test_points_that_are_planned_on_different_machines_are_apart(prefix):
    lines = [f"model.length={n}" for n in (1, 2, 3)]
    here, box = {"planned": "here"}, {"planned": "box"}
    assert led(prefix, *lines, fields={0: here, 1: box, 2: here}) == {2: [0]}


@pytest.mark.parametrize("model", ["worse", "strange"])
def test_a_declaration_that_is_none_is_refused_with_its_form(prefix, model):
    with pytest.raises(SettingsError, match=r"model\.prefix is .*It takes null, or a mapping as in \{key: "):
        led(prefix, f"model={model} model.length=1")


# ---- how they wait


def opened(prefix, *lines, done=()):
    points = Points(points_of(*lines), prefix=prefix)
    for number in done:
        points.told(number, JobReturn())
    points.open(50.0, Durations(), lambda words: words[0], lambda *_: CLASS)
    return points


LINES = [f"model.length={n} rest={r}" for r in (1, 2) for n in (100, 300, 500)]


def taken(points):
    jobs = {}
    while points.waiting():
        job = points.take(CLASS)
        jobs[job.num] = [one.number for one in job.group.followers] if job.group else []
    return jobs


def test_only_the_job_that_answers_is_handed_out(prefix):
    points = opened(prefix, *LINES)
    assert points.waiting() == {CLASS: 2}
    assert points.behind() == {CLASS: 4}
    assert points.total() == 6
    assert taken(points) == {2: [0, 1], 5: [3, 4]}
    assert not points.closed()


def test_a_point_that_was_not_answered_for_is_handed_out_once_that_has_ended(prefix):
    points = opened(prefix, *LINES)
    taken(points)
    points.told(1, JobReturn())
    points.told(2, JobReturn())
    assert points.waiting() == {CLASS: 1}
    assert points.behind() == {CLASS: 2}
    assert taken(points) == {0: []}
    assert not points.closed()
    for number in (3, 4, 5):
        points.told(number, JobReturn())
    assert points.closed()
    assert points.waiting() == {}


def test_what_is_done_already_is_neither_answered_for_nor_answers(prefix):
    assert taken(opened(prefix, *LINES, done=(0, 5))) == {2: [1], 4: [3]}


def test_a_point_that_runs_already_is_taken_from_behind_the_other(prefix):
    points = opened(prefix, *LINES)
    assert points.withdraw(1).group is None
    assert [one.number for one in points.withdraw(5).group.followers] == [3, 4]
    assert taken(points) == {2: [0]}
    points.told(0, JobReturn())  # by the job that runs already
    points.told(2, JobReturn())
    assert points.waiting() == {}


def test_without_a_declaration_every_point_is_handed_out(prefix):
    points = opened(None, *LINES)
    assert taken(points) == {number: [] for number in range(6)}
    assert points.closed()
