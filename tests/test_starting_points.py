"""A search begins with points by hand, the defaults, or the best of an earlier sweep, each in the spaces it is for."""

from pathlib import Path

import pytest

from hydra_plugins.sweeproute._compose import Composer
from hydra_plugins.sweeproute._constraint import Constraint
from hydra_plugins.sweeproute._dimension import Dimension
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._objective import Objective
from hydra_plugins.sweeproute._records import SweepFolder
from hydra_plugins.sweeproute._space import Space
from hydra_plugins.sweeproute._starting_points import starting_points
from small_app import singletons_kept, start_sweep

CONF = {
    "config.yaml": """
defaults:
  - model: tree
  - platform: here
  - optional search_space: ${model}
  - _self_
seed: 1
name: plain
""",
    "model/tree.yaml": "depth: 3\nrate: 0.1\n",
    "model/line.yaml": "penalty: 1.0\nrate: 0.5\n",
    "search_space/wide.yaml": "axes: {}\n",
    "platform/here.yaml": "where: here\n",
    "platform/there.yaml": "where: there\n",
}
DEPTH = Dimension("model.depth", low=1, high=6, whole=True)
RATE = Dimension("model.rate", low=0.0, high=1.0)
PENALTY = Dimension("+model.penalty", low=0.0, high=9.0)
SEED = Dimension("seed", low=0, high=2, whole=True)
LOSS = Objective(("loss",), ("minimize",))


def space(*dimensions, fixed=(), repeats=(), name="", constraints=()):
    keys = [*(key for key, _ in fixed), *(one.key for one in (*dimensions, *repeats))]
    return Space(name, tuple(keys), tuple(fixed), dimensions, tuple(map(Constraint, constraints)), tuple(repeats))


TREE = space(DEPTH, RATE, fixed=[("model", "model=tree")], name="model=tree")
LINE = space(PENALTY, RATE, fixed=[("model", "model=line")], name="model=line")
ALONE = space(DEPTH, RATE)


@pytest.fixture(scope="module")
def composer(tmp_path_factory):
    with singletons_kept():
        loader, master = start_sweep(tmp_path_factory.mktemp("app"), CONF)
        yield Composer(loader, master)


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))


def sweep(folder: Path, name: str, *jobs, repeats=()):
    """A sweep that ended, with jobs that finished: overrides in a line, and what each returned."""
    record = {"id": f"id_{name}", "name": name, "argv": [], "overrides": [], "repeats": list(repeats)}
    with SweepFolder.open(folder, record) as made:
        for number, (overrides, value) in enumerate(jobs):
            job = made.open_job(str(number), number, 1)
            launch = {"job": number, "attempt": 1, "state": "FINISHED", "current": True}
            made.record_job(job, launch | {"overrides": overrides.split(" "), "value": value})
    return folder.resolve()


def begun(composer, asked, *spaces, objective=LOSS, own=None):
    return starting_points([asked], spaces, objective, composer, own)


# By hand.


def test_a_point_by_hand_goes_to_each_space_that_has_its_keys(composer):
    assert begun(composer, {"model.rate": 0.25}, TREE, LINE) == [[{"model.rate": 0.25}], [{"model.rate": 0.25}]]
    assert begun(composer, {"model.depth": 2}, TREE, LINE) == [[{"model.depth": 2}], []]
    assert begun(composer, {"model.penalty": 2, "model.rate": 1}, TREE, LINE) == [
        [],
        [{"+model.penalty": 2.0, "model.rate": 1.0}],
    ]


def test_a_fixed_key_says_which_space_is_meant(composer):
    assert begun(composer, {"model": "line", "model.rate": 0.25}, TREE, LINE) == [[], [{"model.rate": 0.25}]]
    fixed = [("rate", "rate=1e-3"), ("seed", "seed=1"), ("note", "note='a, b'"), ("~gone", "~gone")]
    for values in ({"rate": 0.001}, {"seed": 1}, {"note": "a, b"}):
        assert begun(composer, values | {"model.depth": 2}, space(DEPTH, fixed=fixed)) == [[{"model.depth": 2}]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model.dept": 3}, "has 'model.dept', which the search space does not have. Its keys: model.depth, "),
        ({"model": "lin"}, "has model=lin. Allowed: line, tree."),
        ({"model": "tree", "model.penalty": 2}, "has {model:tree,model.penalty:2}, and no space of the sweep has all"),
        ({"model.depth": 9}, "has model.depth=9. Allowed: {low: 1, high: 6}."),
        ({"model.depth": 2, "model.penalty": 2}, "and no space of the sweep has all of these"),
    ],
)
def test_a_point_that_no_space_takes_is_said(composer, values, said):
    with pytest.raises(SettingsError) as caught:
        begun(composer, values, TREE, LINE)
    assert said in str(caught.value)


@pytest.mark.parametrize(("value", "fixed"), [("godo", "good"), (True, "1"), (2, "1")])
def test_a_value_that_the_sweep_fixes_otherwise_is_said(composer, value, fixed):
    with pytest.raises(SettingsError, match=rf"has y=.*\. Allowed: {fixed}\."):
        begun(composer, {"y": value, "model.depth": 2}, space(DEPTH, fixed=[("y", f"y={fixed}")]))


def test_a_point_by_hand_that_constraints_forbid_is_said(composer):
    with pytest.raises(SettingsError, match=r"has model.depth=4, which the constraints forbid"):
        begun(composer, {"model.depth": 4}, space(DEPTH, constraints=["model.depth < 4"]))


def test_what_is_no_starting_point_is_said(composer):
    for word in ("worst", "best:", 3):
        with pytest.raises(SettingsError, match="Allowed: defaults, best:SWEEP, or a mapping"):
            begun(composer, word, ALONE)


# The defaults.


def test_the_defaults_are_those_of_each_choice_of_groups(composer):
    assert begun(composer, "defaults", TREE, LINE) == [
        [{"model.depth": 3, "model.rate": 0.1}],
        [{"+model.penalty": 1.0, "model.rate": 0.5}],
    ]


# The best of an earlier sweep.


def test_the_best_is_found_for_each_choice_of_groups(composer, tmp_path):
    sweep(
        tmp_path / "a",
        "first",
        ("model=tree model.depth=2 model.rate=0.25", {"loss": 3.0}),
        ("model=tree model.depth=4 model.rate=0.5", {"loss": 2.0}),
        ("model=line +model.penalty=3.0 model.rate=0.75", {"loss": 1.0}),
        ("model=line +model.penalty=4.0 model.rate=0.75", {"other": 0.0}),
    )
    for name in ("first", "id_first", "last"):
        assert begun(composer, f"best:{name}", TREE, LINE) == [
            [{"model.depth": 4, "model.rate": 0.5}],
            [{"+model.penalty": 3.0, "model.rate": 0.75}],
        ]


@pytest.mark.parametrize("here", [ALONE, space(DEPTH, RATE, fixed=[("model", "model=tree"), ("seed", "seed=1")])])
def test_one_space_alone_takes_no_other_models_best(composer, tmp_path, here):
    """Whether the model is named there or here, or is the default."""
    sweep(
        tmp_path / "a",
        "first",
        ("model=line model.rate=0.75", {"loss": 1.0}),
        ("model=tree model.rate=0.5", {"loss": 2.0}),
        ("model.rate=0.25", {"loss": 3.0}),
        ("model=none_here model.rate=0.0", {"loss": 0.0}),
    )
    assert begun(composer, "best:first", here) == [[{"model.rate": 0.5}]]
    sweep(tmp_path / "b", "second", ("model.rate=0.25", {"loss": 3.0}))
    assert begun(composer, "best:second", here) == [[{"model.rate": 0.25}]]
    sweep(tmp_path / "c", "third", ("model=line model.rate=0.75", {"loss": 1.0}))
    with pytest.raises(SettingsError, match=r"has best:third, and no finished job.* with loss is in that sweep"):
        begun(composer, "best:third", here)


@pytest.mark.parametrize("group", ["search_space=wide", "platform=there"])
def test_what_was_searched_there_and_where_makes_no_other_model(composer, tmp_path, group):
    sweep(tmp_path / "a", "first", (f"model=tree {group} model.depth=2", {"loss": 3.0}))
    assert begun(composer, "best:first", TREE) == [[{"model.depth": 2}]]


def test_a_space_of_which_the_sweep_has_nothing_has_no_best(composer, tmp_path):
    sweep(tmp_path / "a", "first", ("model=tree model.depth=2", {"loss": 3.0}))
    assert begun(composer, "best:first", LINE, TREE) == [[], [{"model.depth": 2}]]
    with pytest.raises(SettingsError, match="no finished job of model=line with loss is in that sweep"):
        begun(composer, "best:first", LINE)


@pytest.mark.parametrize(
    ("here", "there"), [([SEED], []), ([], ["seed"]), ([Dimension("+seed", low=0, high=9, whole=True)], ["seed"])]
)
def test_a_point_counts_by_the_mean_of_its_repeats(composer, tmp_path, here, there):
    """Whether they are repeated now, or were then."""
    sweep(
        tmp_path / "a",
        "first",
        ("model.depth=2 seed=0", {"loss": 0.0}),
        ("model.depth=2 seed=1", {"loss": 9.0}),
        ("model.depth=4 seed=0", {"loss": 3.0}),
        ("model.depth=4 seed=1", {"loss": 4.0}),
        repeats=there,
    )
    assert begun(composer, "best:first", space(DEPTH, repeats=here)) == [[{"model.depth": 4}]]


def test_of_several_objectives_all_that_none_is_better_than_are_taken(composer, tmp_path):
    both = Objective(("loss", "gain"), ("minimize", "maximize"))
    sweep(
        tmp_path / "a",
        "first",
        ("model.depth=1", {"loss": 1.0, "gain": 1.0}),
        ("model.depth=2", {"loss": 2.0, "gain": 2.0}),
        ("model.depth=3", {"loss": 2.0, "gain": 1.5}),
        ("model.depth=4", {"loss": 1.0, "gain": 1.0}),
    )
    found = begun(composer, "best:first", ALONE, objective=both)
    assert found == [[{"model.depth": 1}, {"model.depth": 2}, {"model.depth": 4}]]


def test_a_best_value_is_taken_as_it_was_written_and_left_out_where_the_space_has_it_not(composer, tmp_path):
    sweep(tmp_path / "a", "first", ("name='b' model.depth=2 model.rate=3.0", {"loss": 1.0}))
    spaced = Dimension("name", choices=("plain", "'b'"))
    assert begun(composer, "best:first", space(DEPTH, RATE, spaced)) == [[{"model.depth": 2, "name": "'b'"}]]
    assert begun(composer, "best:first", space(RATE)) == [[]]


# A sweep that is gone on with.


def test_on_resume_the_last_is_the_newest_other_one(composer, tmp_path):
    sweep(tmp_path / "a", "first", ("model.depth=2", {"loss": 3.0}))
    own = sweep(tmp_path / "b", "mine", ("model.depth=4", {"loss": 1.0}))
    assert begun(composer, "best:last", ALONE) == [[{"model.depth": 4}]]
    assert begun(composer, "best:last", ALONE, own=own) == [[{"model.depth": 2}]]


def test_on_resume_a_sweep_of_the_same_name_is_another(composer, tmp_path):
    sweep(tmp_path / "a", "mine", ("model.depth=2", {"loss": 3.0}))
    pointer = tmp_path / "state" / "sweeps" / "id_mine.json"
    pointer.rename(pointer.with_name("older.json"))
    older = pointer.with_name("older.json")
    older.write_text(older.read_text().replace("id_mine", "older"))
    own = sweep(tmp_path / "b", "mine", ("model.depth=4", {"loss": 1.0}))
    assert begun(composer, "best:mine", ALONE, own=own) == [[{"model.depth": 2}]]


@pytest.mark.parametrize("name", ["last", "mine", "id_mine"])
def test_on_resume_there_need_be_no_other_sweep(composer, tmp_path, name):
    own = sweep(tmp_path / "b", "mine", ("model.depth=4", {"loss": 1.0}))
    assert begun(composer, f"best:{name}", ALONE, LINE, own=own) == [[], []]
    with pytest.raises(SettingsError, match="has best:mien, and there is no such sweep"):
        begun(composer, "best:mien", ALONE, own=own)


def test_on_resume_the_newest_other_one_need_have_no_best(composer, tmp_path):
    own = sweep(tmp_path / "b", "mine", ("model.depth=4", {"loss": 1.0}))
    sweep(tmp_path / "c", "later")
    assert begun(composer, "best:last", ALONE, own=own) == [[]]


def test_a_moved_sweep_is_still_its_own(composer, tmp_path):
    sweep(tmp_path / "a", "first", ("model.depth=2", {"loss": 3.0}))
    sweep(tmp_path / "b", "mine", ("model.depth=4", {"loss": 1.0}))
    moved = (tmp_path / "b").rename(tmp_path / "moved")
    assert begun(composer, "best:last", ALONE, own=moved.resolve()) == [[{"model.depth": 2}]]


def test_what_was_in_its_folder_before_is_no_other_sweep(composer, tmp_path):
    sweep(tmp_path / "b", "old", ("model.depth=2", {"loss": 1.0}))
    own = sweep(tmp_path / "b", "mine", ("model.depth=4", {"loss": 1.0}))
    assert begun(composer, "best:last", ALONE, own=own) == [[]]


def test_a_first_start_with_no_other_sweep_says_that_there_is_none(composer, tmp_path):
    for name in ("last", "first"):
        with pytest.raises(SettingsError, match=f"has best:{name}, and there is no such sweep. There is none yet"):
            begun(composer, f"best:{name}", ALONE, own=tmp_path / "new")


def test_a_name_that_no_sweep_has_gets_the_nearest(composer, tmp_path):
    sweep(tmp_path / "a", "first", ("model.depth=2", {"loss": 3.0}))
    with pytest.raises(SettingsError, match=r"no such sweep. Sweeps, nearest match first: id_first\."):
        begun(composer, "best:frist", ALONE)
