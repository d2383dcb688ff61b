"""The spaces of a sweep: the command line against what is written for each choice of groups."""

import subprocess
import sys

import pytest
from hydra.errors import HydraException

from hydra_plugins.sweeproute._adaptive import searched
from hydra_plugins.sweeproute._axis import asked, written
from hydra_plugins.sweeproute._compose import Composer
from hydra_plugins.sweeproute._dimension import Dimension
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._spaces import spaces
from hydra_plugins.sweeproute.config import SearchSweeperConf
from small_app import singletons_kept, start_sweep
from small_trial import ROOT
from sweeproute.trial_checks import validate
from test_layers import HEAVY

CONF = {
    "config.yaml": """
defaults:
  - model: tree
  - optional search_space: ${model}
  - _self_
seed: 1
""",
    "model/tree.yaml": "depth: 3\nleaves: 4\nrate: 0.1\nbooster: tree\ndrop: 0.0\n",
    "model/line.yaml": "penalty: 1.0\n",
    "search_space/none.yaml": "axes: {}\n",
    "search_space/line_wide.yaml": "axes:\n  model.penalty: {low: 0.001, high: 100, log: true}\n",
    "search_space/tree_wide.yaml": "axes:\n  model.depth: {low: 1, high: 20}\n",
    "search_space/line.yaml": "axes:\n  model.penalty: {low: 0.01, high: 10, log: true}\n",
    "search_space/tree.yaml": """
axes:
  model.drop: {low: 0.0, high: 0.5, when: {model.booster: dart}}
  model.depth: {low: 1, high: 6}
  model.booster: [tree, dart]
  model.leaves: {choices: [2, 4, 8, 64]}
  model.rate: tag(log, interval(0.01, 0.3))
constraints:
  - model.leaves <= 2 ** model.depth
""",
    "search_space/misspelt.yaml": "axes:\n  model.dept: {low: 1, high: 3}\n",
    "search_space/wrong_type.yaml": "axes: {}\nconstraints: model.depth < 3\n",
}


@pytest.fixture(scope="module")
def composer(tmp_path_factory):
    with singletons_kept():
        loader, master = start_sweep(tmp_path_factory.mktemp("app"), CONF)
        yield Composer(loader, master)


def found(composer, *words, params=None, repeats=(), validate=None, constraints="search_space.constraints"):
    return spaces(words, params or {}, composer, "search_space.axes", constraints, repeats, validate)


TREE = {
    "model.depth": Dimension("model.depth", low=1, high=6, whole=True),
    "model.booster": Dimension("model.booster", choices=("tree", "dart")),
    "model.drop": Dimension("model.drop", low=0.0, high=0.5, when=(("model.booster", ("dart",)),)),
    "model.leaves": Dimension("model.leaves", choices=("2", "4", "8", "64")),
    "model.rate": Dimension("model.rate", low=0.01, high=0.3, log=True),
}


def test_what_is_written_becomes_dimensions_in_order_each_behind_what_it_depends_on(composer):
    (space,) = found(composer)
    assert space.order == ("model.drop", "model.depth", "model.booster", "model.leaves", "model.rate")
    assert [one.key for one in space.dimensions] == [*space.order[1:3], "model.drop", *space.order[3:]]
    assert {one.key: one for one in space.dimensions} == TREE
    assert [one.text for one in space.constraints] == ["model.leaves <= 2 ** model.depth"]
    assert (space.name, space.fixed, space.repeats) == ("", (), ())


def test_one_word_chooses_the_space_of_each_model(composer):
    line, tree = found(composer, "model=line,tree", "search_space=${model}_wide")
    assert [one.high for one in (*line.dimensions, *tree.dimensions)] == [100, 20]
    with pytest.raises(SettingsError, match=r"There is no search_space=line_wode. .* nearest match first: line_wide"):
        found(composer, "model=line,tree", "search_space=${model}_wode")


def test_each_choice_of_groups_has_its_space_by_its_name(composer):
    tree, line = found(composer, "model=tree,line", "seed=1")
    assert (tree.name, line.name) == ("model=tree", "model=line")
    assert line.fixed == (("model", "model=line"), ("seed", "seed=1"))
    assert line.dimensions == (Dimension("model.penalty", low=0.01, high=10.0, log=True),)
    assert found(composer, "model=line")[0].name == ""


def test_without_a_key_no_constraint_is_read(composer):
    assert found(composer, constraints=None)[0].constraints == ()


def test_the_command_line_goes_before_params_and_these_before_the_space(composer):
    params = {"model.depth": {"low": 2, "high": 3}, "model.rate": [0.1, 0.2], "seed": "interval(0,1)"}
    (space,) = found(composer, "model.rate=interval(0.5,1)", params=params)
    told = {one.key: one for one in space.dimensions}
    assert told["model.rate"] == Dimension("model.rate", low=0.5, high=1.0)
    assert told["model.depth"] == Dimension("model.depth", low=2, high=3, whole=True)
    assert told["seed"] == Dimension("seed", low=0.0, high=1.0)


def test_the_axis_of_a_repeated_key_is_not_searched(composer):
    (space,) = found(composer, "seed=range(5)", repeats=["seed"])
    assert space.repeats == (Dimension("seed", low=0, high=4, whole=True),)
    assert {one.key for one in space.dimensions} == TREE.keys()
    assert space.order[0] == "seed"
    assert found(composer, "seed=3", repeats=["seed"])[0].fixed == (("seed", "seed=3"),)
    with pytest.raises(SettingsError, match=r"repeated over seed, which is continuous.*seed=1,2,3"):
        found(composer, "seed=interval(0,1)", repeats=["seed"])
    with pytest.raises(SettingsError, match="repeated over model, a group"):
        found(composer, "model=tree,line", repeats=["model"])
    with pytest.raises(SettingsError, match="repeated over seed, which exists only sometimes"):
        found(composer, params={"seed": {"low": 1, "high": 2, "when": {"model.booster": "dart"}}}, repeats=["seed"])


def test_a_fixed_value_settles_what_depends_on_it(composer):
    (with_dart,) = found(composer, "model.booster=dart")
    assert TREE["model.drop"].when
    (drop,) = (one for one in with_dart.dimensions if one.key == "model.drop")
    assert drop.when == ()
    (without,) = found(composer, "model.booster=tree")
    assert "model.drop" not in without.order
    assert "model.drop" not in {one.key for one in without.dimensions}


def test_a_list_that_leaves_out_the_value_of_a_condition_leaves_out_what_depends_on_it(composer):
    (space,) = found(composer, "model.booster=tree,linear")
    assert "model.drop" not in space.order


def test_what_depends_on_something_that_cannot_exist_cannot_exist_itself(composer):
    params = {"+model.deeper": {"choices": [1, 2], "when": {"model.drop": 0.5}}}
    (space,) = found(composer, "model.drop=0.25,0.5", params=params)
    assert {"+model.deeper", "model.drop"} <= {*space.order}
    (space,) = found(composer, "model.drop=0.25,0.5", "model.booster=tree", params=params)
    assert not {"+model.deeper", "model.drop"} & {*space.order}


def test_a_list_that_replaces_an_axis_exists_when_that_does_and_a_fixed_value_always(composer):
    (space,) = found(composer, "++model.drop=0.25,0.5")
    assert Dimension("++model.drop", choices=("0.25", "0.5"), when=(("model.booster", ("dart",)),)) in space.dimensions
    (space,) = found(composer, "model.drop=0.25")
    assert space.fixed == (("model.drop", "model.drop=0.25"),)


def test_a_condition_may_be_over_a_group_a_number_and_a_list(composer):
    params = {
        "+only": {"low": 1, "high": 2, "when": {"model": "line"}},
        "+deep": {"choices": ["x"], "when": {"seed": [1, 2.0], "+quoted": "it's"}},
        "seed": [1, 2, 3],
        "+quoted": ["it's", "b"],
    }
    tree, line = found(composer, "model=tree,line", params=params)
    assert "+only" not in tree.order
    assert Dimension("+only", low=1, high=2, whole=True) in line.dimensions
    (deep,) = (one for one in tree.dimensions if one.key == "+deep")
    assert deep.when == (("seed", ("1", "2")), ("+quoted", ("'it\\'s'",)))
    assert deep.exists({"seed": "1", "+quoted": "'it\\'s'"})


def test_both_ends_of_a_range_are_shown_to_the_apps_own_check(composer):
    seen = []
    found(composer, validate=lambda config: seen.append((config.model.depth, config.model.rate)))
    assert {1, 6} <= {depth for depth, _ in seen}
    assert {0.01, 0.3} <= {rate for _, rate in seen}
    assert not {2, 3, 4, 5} & {depth for depth, _ in seen}


def test_a_conditional_parameter_is_shown_to_the_check_where_it_exists(composer):
    seen = []
    found(composer, validate=lambda config: seen.append((config.model.booster, config.model.drop)))
    assert ("dart", 0.5) in seen
    assert {booster for booster, drop in seen if drop} == {"dart"}


def test_the_check_sees_no_point_that_constraints_exclude(composer):
    seen = []
    found(composer, validate=lambda config: seen.append((config.model.leaves, config.model.depth)))
    assert {leaves for leaves, _ in seen} == {2, 4, 8, 64}
    assert all(leaves <= 2**depth for leaves, depth in seen)


def test_a_repeat_s_values_are_shown_to_the_check(composer):
    seen = []
    found(composer, "seed=7,8,9", repeats=["seed"], validate=lambda config: seen.append(config.seed))
    assert {*seen} == {7, 8, 9}


@pytest.mark.parametrize("value", [0.01, 0.3])
def test_an_end_that_the_app_refuses_ends_the_sweep_before_it_begins(composer, value):
    def check(config):
        if config.model.rate == value:
            raise SettingsError(f"rate={value} cannot be")

    with pytest.raises(SettingsError, match="cannot be"):
        found(composer, validate=check)


def test_a_key_that_the_model_lacks_does_not_compose(composer):
    with pytest.raises(HydraException, match=r"model\.dept"):
        found(composer, "search_space=misspelt")


def test_a_group_has_options_and_no_range(composer):
    with pytest.raises(SettingsError, match=r"model is a group.*model=a,b"):
        found(composer, "model=interval(0,1)")


def test_constraints_are_a_list(composer):
    with pytest.raises(SettingsError, match=r"search_space\.constraints is 'model.depth < 3'. It is a list"):
        found(composer, "search_space=wrong_type", "seed=1,2")


def test_a_constraint_that_no_point_meets_is_refused(composer):
    params = {"model.depth": [1, 2], "model.leaves": [64, 128], "model.rate": 0.1, "model.drop": 0.1}
    with pytest.raises(SettingsError, match=r"No point of model=tree meets its constraints: model.leaves <= 2"):
        found(composer, "model=tree,line", params=params)


def test_a_constraint_may_speak_of_what_the_command_line_fixes_or_deletes(composer):
    (space,) = found(composer, "model.depth=2")
    assert not space.allows({"model.leaves": "8", "model.rate": 0.1, "model.booster": "tree"})
    (space,) = found(composer, "~model.depth")
    assert space.allows({"model.leaves": "64", "model.rate": 0.1, "model.booster": "tree"})


@pytest.mark.parametrize(
    ("override", "dimension"),
    [
        ("a=interval(0,1)", Dimension("a", low=0.0, high=1.0)),
        ("+a=tag(log,interval(0.1,1))", Dimension("+a", low=0.1, high=1.0, log=True)),
        ("a=int(interval(1,6))", Dimension("a", low=1, high=6, whole=True)),
        ("a=tag(log,int(interval(1,60)))", Dimension("a", low=1, high=60, log=True, whole=True)),
        ("a=int(tag(log,interval(1,60)))", Dimension("a", low=1, high=60, log=True, whole=True)),
        ("a=range(1,4)", Dimension("a", low=1, high=3, whole=True)),
        ("a=range(1,10,4)", Dimension("a", low=1, high=9, step=4, whole=True)),
        ("a=tag(log,range(1,10))", Dimension("a", low=1, high=9, log=True, whole=True)),
        ("a=float(range(1,4))", Dimension("a", low=1.0, high=3.0, step=1.0)),
        ("a=range(0.4,1.01,0.2)", Dimension("a", low=0.4, high=1.0, step=0.2)),
        ("a=sort(range(5,1,-1))", Dimension("a", low=2, high=5, whole=True)),
        ("a=range(5,1,-1)", Dimension("a", choices=("5", "4", "3", "2"))),
        ("a=sort(3,1,2)", Dimension("a", choices=("1", "2", "3"))),
        ("a=bool(0,1)", Dimension("a", choices=("False", "True"))),
        ("a=1", "a=1"),
        ("a=range(1,2)", "a=1"),
        ("a=choice(x)", "a=x"),
        ("~a", "~a"),
    ],
)
def test_a_sweep_override_is_read_as_hydra_means_it(composer, override, dimension):
    assert asked(override, composer) == dimension


def test_a_shuffled_range_has_its_values_in_another_order(composer):
    shuffled = asked("a=shuffle(range(50))", composer)
    assert sorted(map(int, shuffled.choices)) == [*range(50)]
    assert [*map(int, shuffled.choices)] != [*range(50)]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a=1", ["a=1"]),
        ("a=1,2", ["a=1", "a=2"]),
        ("a='x,y',z", ["a='x,y'", "a=z"]),
        ("a=[1,2],[3]", ["a=[1,2]", "a=[3]"]),
        ("+a=1,2", ["+a=1", "+a=2"]),
        ("++a.b=choice(x,y)", ["++a.b=x", "++a.b=y"]),
        ("db@backup=x,y", ["db@backup=x", "db@backup=y"]),
        ("a=range(3)", ["a=0", "a=1", "a=2"]),
        ("a=null,1e-3", ["a=null", "a=0.001"]),
        ("a={b:1},{b:2}", ["a={b:1}", "a={b:2}"]),
        ("~a", ["~a"]),
    ],
)
def test_a_sweep_override_stands_for_its_choices(composer, override, expected):
    axis = asked(override, composer)
    listed = [axis] if isinstance(axis, str) else [axis.override(value) for value in axis.values()]
    assert listed == expected


@pytest.mark.parametrize(
    ("values", "dimension"),
    [
        ({"low": 1, "high": 6}, Dimension("a", low=1, high=6, whole=True)),
        ({"low": 1, "high": 6.0}, Dimension("a", low=1.0, high=6.0)),
        ({"low": 1, "high": 6, "log": True}, Dimension("a", low=1, high=6, log=True, whole=True)),
        ({"low": 0.005, "high": 0.3, "log": True}, Dimension("a", low=0.005, high=0.3, log=True)),
        ({"low": 0.4, "high": 1.0, "step": 0.05}, Dimension("a", low=0.4, high=1.0, step=0.05)),
        ({"low": 1, "high": 6, "step": 0.5}, Dimension("a", low=1.0, high=6.0, step=0.5)),
        ({"low": 50, "high": 400, "step": 10}, Dimension("a", low=50, high=400, step=10, whole=True)),
        ({"low": 1, "high": 6, "step": 1}, Dimension("a", low=1, high=6, whole=True)),
        ({"low": 1, "high": 6, "step": None, "log": False}, Dimension("a", low=1, high=6, whole=True)),
        ({"choices": [1, "a, b"]}, Dimension("a", choices=("1", "'a, b'"))),
        ({"choices": [1]}, "a=1"),
        ({"choices": [1], "when": {"b": "x"}}, Dimension("a", choices=("1",), when=(("b", ("x",)),))),
        (
            {"low": 1, "high": 2, "when": {"b": [1, "y"]}},
            Dimension("a", low=1, high=2, whole=True, when=(("b", ("1", "y")),)),
        ),
        ("interval(0,1)", Dimension("a", low=0.0, high=1.0)),
        ("1,2", Dimension("a", choices=("1", "2"))),
        ([1, 2], Dimension("a", choices=("1", "2"))),
        (3, "a=3"),
        ("x", "a=x"),
    ],
)
def test_an_axis_is_read_as_it_is_written(composer, values, dimension):
    axis = written("a", values, composer)
    assert axis == dimension
    if isinstance(axis, Dimension) and axis.choices is None:
        assert [type(end) for end in axis.ends()] == [type(end) for end in dimension.ends()]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"lwo": 1, "high": 3}, r"'lwo'.*nearest match first: low.*\{low: 1, high: 6\}"),
        ({"low": 1}, "has no high"),
        ({"high": 1}, "has no low"),
        ({}, "has no low"),
        ({"low": 3, "high": 1}, "begins at 3 and ends at 1. Write low 1 and high 3"),
        ({"low": 3, "high": 3}, "begins at 3 and ends at 3. Write one value"),
        ({"low": 0, "high": 1, "log": True}, "logarithmic and begins at 0. It has to begin above 0"),
        ({"low": -0.1, "high": 1.0, "log": True}, "begins at -0.1"),
        ({"low": 0.1, "high": 1.0, "log": True, "step": 0.1}, "log and a step of 0.1.*leave the other out"),
        ({"low": 0.1, "high": 1.0, "log": "yes"}, "log: yes. Allowed: true, false"),
        ({"low": 0.1, "high": 1.0, "step": 0.4}, "from 0.1 to 0.9 and then past 1.0. Write high: 0.9"),
        ({"low": 50, "high": 405, "step": 10}, "from 50 to 400 and then past 405. Write high: 400"),
        ({"low": 1, "high": 3, "step": 0}, "a step of 0. It is above 0"),
        ({"low": 1, "high": 3, "step": 5}, "a step of 5. It is above 0, and no longer than the range"),
        ({"low": "a", "high": 3}, "low: a. It is a number"),
        ({"low": True, "high": 3}, "low: true. It is a number"),
        ({"low": 1.0, "high": float("inf")}, "high: inf. It is a number"),
        ({"choices": [1], "low": 1}, "choices and low"),
        ({"choices": 1}, r"are 1. They are a list: \[1\]"),
        ({"choices": []}, "has no values"),
        ({"low": 1, "high": 3, "when": "dart"}, "when: dart. It is a mapping"),
        ({"low": 1, "high": 3, "when": {"b": []}}, "under no value of b"),
        ([], "has no values"),
        ("interval(1,0)", "begins at 1.0 and ends at 0.0"),
        ("interval(0,inf)", "has no end"),
        ("tag(log,interval(0,1))", "logarithmic and begins at 0.0"),
        ("tag(lgo,interval(0.1,1))", "tag 'lgo'. Allowed: log"),
        ("tag(log,range(1,10,2))", "log and a step of 2"),
        ("range(1,10,0)", "a step of 0"),
        ("range(3,1)", "has no values"),
    ],
)
def test_an_axis_that_cannot_be_is_refused_with_what_is_allowed(composer, values, said):
    with pytest.raises(SettingsError, match=said) as refusal:
        written("model.depth", values, composer)
    assert "model.depth" in str(refusal.value)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            {"model.depth": {"low": 1, "high": 3, "when": {"model.boster": "dart"}}},
            r"no model\.boster\. Its other keys, nearest match first: model\.booster",
        ),
        (
            {"model.depth": {"low": 1, "high": 3, "when": {"model.booster": "drat"}}},
            "drat is none of its values. Allowed, nearest match first: dart",
        ),
        ({"model.depth": {"low": 1, "high": 3, "when": {"model.rate": 0.1}}}, "that is continuous"),
        ({"model.depth": {"low": 1, "high": 3, "when": {"model.depth": 1}}}, "values of each other alone: model.depth"),
        (
            {
                "model.depth": {"low": 1, "high": 3, "when": {"model.booster": "dart"}},
                "model.booster": {"choices": ["dart"], "when": {"model.depth": 1}},
            },
            r"model.booster when \{model.depth: 1\}",
        ),
    ],
)
def test_a_condition_that_cannot_be_is_refused_with_what_is_allowed(composer, params, said):
    with pytest.raises(SettingsError, match=said):
        found(composer, params=params)


def test_a_default_is_the_option_of_a_group_that_nothing_else_chooses(composer):
    wide = ["search_space={search_space}_wide"]

    def under(*words, defaults=wide):
        return spaces(words, {}, composer, "search_space.axes", None, (), None, defaults)

    line, tree = under("model=line,tree")
    assert (line.dimensions[0].low, dict(line.fixed)["search_space"]) == (0.001, "search_space=line_wide")
    assert tree.dimensions == (Dimension("model.depth", low=1, high=20, whole=True),)
    assert (line.name, tree.name) == ("model=line", "model=tree")
    # What the person chooses stands, and an option that is not there is not missed.
    assert under("model=line", "search_space=line")[0].dimensions[0].low == 0.01
    (plain,) = under("model=line", defaults=["search_space={search_space}_big"])
    assert plain.dimensions[0].low == 0.01


@pytest.mark.parametrize("model", ["dqn", "glm", "lightgbm", "ppo", "random_forest", "xgboost"])
def test_the_ranges_of_each_model_of_this_project_pass_its_own_check(model):
    words = [f"model={model}"]
    with singletons_kept():
        loader, master = start_sweep(ROOT, {}, words)
        settings = SearchSweeperConf(**{str(key): master.hydra.sweeper[key] for key in master.hydra.sweeper})
        (space,) = searched(words, settings, Composer(loader, master), validate)
    assert space.size() is None
    assert any(one.log for one in space.dimensions)
    conditional = {one.key: one.when for one in space.dimensions if one.when}
    leaves = {"+model.params.max_leaves": (("+model.params.grow_policy", ("lossguide",)),)}
    assert conditional == (leaves if model == "xgboost" else {})
    assert bool(space.constraints) == (model in ("lightgbm", "xgboost"))


def test_the_spaces_import_nothing_heavy():
    code = f"import sys, hydra_plugins.sweeproute._grid; print(*sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
