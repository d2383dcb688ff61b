"""The points of a grid: the command line against the search space of each choice of groups."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from hydra_plugins.sweeproute._compose import Composer
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._grid import points
from small_app import singletons_kept, start_sweep

CONF = {
    "config.yaml": """
defaults:
  - model: tree
  - optional search_space: ${model}
  - db: mysql
  - db@backup: mysql
  - _self_
seed: 1
text: plain
value: null
params: {}
""",
    "model/tree.yaml": "type: Tree\ndepth: 3\nrate: 0.1\n",
    "model/line.yaml": "type: Line\npenalty: 1.0\n",
    "model/bare.yaml": "type: Bare\n",
    "db/mysql.yaml": "port: 1\n",
    "db/postgres.yaml": "port: 2\n",
    "search_space/tree.yaml": "axes:\n  model.depth: [1, 2]\n  model.rate: [0.1, 0.01]\n",
    "search_space/line.yaml": "axes:\n  model.penalty: [1, 10, 100]\n",
    "search_space/none.yaml": "axes: {}\n",
    "search_space/ranged.yaml": 'axes:\n  model.depth: "range(1,4)"\n  model.rate: choice(0.5,0.25)\n  seed: "1,2"\n',
    "search_space/fixed.yaml": "axes:\n  model.depth: 9\n",
    "search_space/misspelt.yaml": "axes:\n  model.dept: [1, 2]\n",
    "search_space/wrong_later.yaml": "axes:\n  model.depth: [1, 2]\n  db.port.x: [1]\n",
    "search_space/continuous.yaml": 'axes:\n  model.rate: "interval(0,1)"\n',
    "search_space/log.yaml": "axes:\n  model.rate: {low: 0.01, high: 0.5, log: true}\n",
    "search_space/whole.yaml": """
axes:
  model.depth: {low: 1, high: 3}
  model.rate: {low: 0.1, high: 0.7, step: 0.3}
""",
    "search_space/conditional.yaml": """
axes:
  text: [plain, deep]
  model.depth: {low: 1, high: 2, when: {text: deep}}
  seed: [1, 2]
""",
    "search_space/constrained.yaml": """
axes:
  model.depth: int(interval(1,3))
  model.rate: [1, 2, 4, 8]
constraints:
  - model.rate <= 2 ** model.depth
  - not model.rate == 1
""",
    "search_space/empty.yaml": "axes:\n  model.depth: []\n",
    "search_space/groups.yaml": "axes:\n  db: [mysql, postgres]\n  db@backup: [mysql, postgres]\n",
    "search_space/unknown_option.yaml": "axes:\n  db: [mysql, oracle]\n",
    "search_space/ours_hydra.yaml": "axes:\n  hydra.job.chdir: [true, false]\n",
    "search_space/added.yaml": "axes:\n  +params.new: [1, 2]\n",
    "search_space/odd.yaml": """
axes:
  value:
    - "a, b"
    - "  spaced "
    - ""
    - "null"
    - "1"
    - "1e-3"
    - "true"
    - "it's"
    - "k=v"
    - "choice(1,2)"
    - "[1, 2]"
    - "${seed}x"
    - null
    - true
    - 1
    - 0.001
    - 1.0e-10
    - .inf
    - [1, "2", [a, null]]
    - {a: 1, b: ["x,y"]}
""",
}


@pytest.fixture(scope="module")
def composer(tmp_path_factory):
    with singletons_kept():
        loader, master = start_sweep(tmp_path_factory.mktemp("app"), CONF)
        yield Composer(loader, master)


def grid(composer, *words, params=None, space="search_space.axes"):
    return [" ".join(point) for point in points(words, params or {}, composer, space)]


def test_the_space_of_the_default_model_is_walked_with_the_last_axis_fastest(composer):
    assert grid(composer) == [
        "model.depth=1 model.rate=0.1",
        "model.depth=1 model.rate=0.01",
        "model.depth=2 model.rate=0.1",
        "model.depth=2 model.rate=0.01",
    ]


def test_each_model_has_its_own_space(composer):
    listed = grid(composer, "model=line,bare,tree")
    assert listed[:4] == [
        "model=line model.penalty=1",
        "model=line model.penalty=10",
        "model=line model.penalty=100",
        "model=bare",
    ]
    assert listed[4:] == [
        f"model=tree model.depth={depth} model.rate={rate}" for depth in (1, 2) for rate in (0.1, 0.01)
    ]


def test_a_list_on_the_command_line_replaces_an_axis(composer):
    listed = grid(composer, "model.depth=7,8,9")
    assert listed == [f"model.depth={depth} model.rate={rate}" for depth in (7, 8, 9) for rate in (0.1, 0.01)]


def test_a_single_value_fixes_an_axis(composer):
    assert grid(composer, "model.depth=7") == ["model.depth=7 model.rate=0.1", "model.depth=7 model.rate=0.01"]


@pytest.mark.parametrize("sign", ["++", ""])
def test_an_axis_is_the_same_however_the_command_line_sets_it(composer, sign):
    assert grid(composer, f"{sign}model.depth=7") == [
        f"{sign}model.depth=7 model.rate=0.1",
        f"{sign}model.depth=7 model.rate=0.01",
    ]


def test_an_axis_of_a_key_that_is_deleted_goes_with_it(composer):
    assert grid(composer, "~model.depth") == ["~model.depth model.rate=0.1", "~model.depth model.rate=0.01"]


def test_a_name_that_is_no_axis_is_crossed(composer):
    listed = grid(composer, "seed=1,2,3", "model.rate=0.5")
    assert listed == [f"seed={seed} model.rate=0.5 model.depth={depth}" for seed in (1, 2, 3) for depth in (1, 2)]


def test_a_command_line_without_the_space_is_crossed_alone(composer):
    assert grid(composer, "search_space=none", "seed=1,2") == ["search_space=none seed=1", "search_space=none seed=2"]
    assert grid(composer, "seed=1,2", space=None) == ["seed=1", "seed=2"]


def test_ranges_and_choices_are_understood_in_a_space_and_on_the_command_line(composer):
    listed = grid(composer, "search_space=ranged")
    assert len(listed) == 3 * 2 * 2
    assert listed[0] == "search_space=ranged model.depth=1 model.rate=0.5 seed=1"
    assert grid(composer, "search_space=none", "model.depth=range(1,6,2)") == [
        f"search_space=none model.depth={depth}" for depth in (1, 3, 5)
    ]


def test_a_glob_takes_the_options_of_its_group(composer):
    assert grid(composer, "model=glob(*)", "search_space=none") == [
        f"model={model} search_space=none" for model in ("bare", "line", "tree")
    ]
    assert grid(composer, "model=glob(*,exclude=b*)", "search_space=none", "db=glob([m*,p*])")[0] == (
        "model=line search_space=none db=mysql"
    )
    assert grid(composer, "db@backup=glob(p*)", "search_space=none", "seed=1,2") == [
        f"db@backup=postgres search_space=none seed={seed}" for seed in (1, 2)
    ]


def test_a_glob_over_a_key_that_is_no_group_has_no_values(composer):
    with pytest.raises(SettingsError, match="seed=glob"):
        grid(composer, "seed=glob(*)")


def test_axes_of_the_sweeper_hold_for_every_model_and_give_way_to_the_command_line(composer):
    params = {"seed": "1,2", "text": ["x", "y"]}
    assert grid(composer, "model=bare", params=params) == [
        f"model=bare seed={seed} text={text}" for seed in (1, 2) for text in "xy"
    ]
    assert grid(composer, "model=bare", "seed=5", params=params) == [f"model=bare seed=5 text={text}" for text in "xy"]


def test_groups_among_the_sweepers_axes_bring_their_own_space(composer):
    listed = grid(composer, params={"model": "line,bare"})
    assert sorted(listed) == ["model=bare", *(f"model=line model.penalty={penalty}" for penalty in (1, 10, 100))]


def test_an_axis_may_be_a_group(composer):
    listed = grid(composer, "search_space=groups")
    assert listed == [
        f"search_space=groups db={db} db@backup={backup}"
        for db in ("mysql", "postgres")
        for backup in ("mysql", "postgres")
    ]
    with pytest.raises(HydraException, match="oracle"):
        grid(composer, "search_space=unknown_option")


def test_an_axis_may_add_a_key(composer):
    assert grid(composer, "search_space=added") == [f"search_space=added +params.new={new}" for new in (1, 2)]


def test_values_come_out_of_a_space_as_they_stand_in_it(composer):
    """Text stays text, whatever Hydra's grammar would make of it; each override is one that a person could type."""
    written = OmegaConf.create(CONF["search_space/odd.yaml"]).axes.value
    expected = OmegaConf.to_container(written, resolve=False)
    listed = points(["search_space=odd"], {}, composer, "search_space.axes")
    got = []
    for point in listed:
        (override,) = (text for text in point if text.startswith("value="))
        parsed = OverridesParser.create().parse_override(override)
        assert not parsed.is_sweep_override()
        config = composer.compose(point, 0)
        got.append(OmegaConf.to_container(config, resolve=False)["value"])
    assert got[:11] == expected[:11]
    assert got[11] == "1x"  # a space may refer to the config
    assert got[12:] == expected[12:]
    assert [type(value) for value in got[12:]] == [type(value) for value in expected[12:]]


def test_a_continuous_axis_is_refused_with_the_cure(composer):
    with pytest.raises(SettingsError, match=r"cannot walk the continuous axis 'model.rate=interval\(0,1\)'.*1,2,3"):
        grid(composer, "search_space=continuous")


def test_a_continuous_axis_is_refused_with_the_sampler_that_could(composer):
    with pytest.raises(SettingsError, match=r"'model\.rate=tag\(log,interval\(0\.01,0\.5\)\)'.*sampler=tpe"):
        grid(composer, "search_space=log")


def test_values_on_the_command_line_make_a_grid_of_a_continuous_axis(composer):
    assert grid(composer, "search_space=continuous", "model.rate=0.5,1") == [
        f"search_space=continuous model.rate={rate}" for rate in (0.5, 1)
    ]


def test_whole_ranges_and_ranges_with_a_step_are_walked(composer):
    assert grid(composer, "search_space=whole") == [
        f"search_space=whole model.depth={depth} model.rate={rate}" for depth in (1, 2, 3) for rate in (0.1, 0.4, 0.7)
    ]


def test_a_parameter_that_does_not_exist_in_a_point_is_left_out_and_each_point_is_there_once(composer):
    assert grid(composer, "search_space=conditional") == [
        *(f"search_space=conditional text=plain seed={seed}" for seed in (1, 2)),
        *(f"search_space=conditional text=deep model.depth={depth} seed={seed}" for depth in (1, 2) for seed in (1, 2)),
    ]


@pytest.mark.parametrize("constraints", [None, "search_space.constraints"])
def test_only_points_that_meet_the_constraints_run_where_a_key_names_these(composer, constraints):
    listed = points(["search_space=constrained"], {}, composer, "search_space.axes", None, constraints)
    assert [" ".join(point).removeprefix("search_space=constrained ") for point in listed] == [
        f"model.depth={depth} model.rate={rate}"
        for depth in (1, 2, 3)
        for rate in (1, 2, 4, 8)
        if constraints is None or 1 < rate <= 2**depth
    ]


def test_the_app_is_shown_no_point_that_constraints_exclude(composer):
    def check(config):
        if config.model.rate > 2**config.model.depth:
            raise SettingsError("no such tree")

    words = ["search_space=constrained", "seed=1,2"]
    assert len(points(words, {}, composer, "search_space.axes", check, "search_space.constraints")) == 2 * 6
    with pytest.raises(SettingsError, match="no such tree"):
        points(words, {}, composer, "search_space.axes", check)


def test_an_axis_without_values_is_refused(composer):
    with pytest.raises(SettingsError, match=r"model\.depth"):
        grid(composer, "search_space=empty")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["search_space=misspelt"], "model.dept"),
        (["search_space=wrong_later"], "db.port.x"),
        (["model=line,tree", "model.dept=1,2"], "model.dept"),
        (["model=tree,bare", "model.depth=1,2"], "model.depth"),
        (["model=tree,forest"], "forest"),
        (["seed=1,2", "+seed=3"], "seed"),
    ],
)
def test_what_does_not_compose_is_refused_before_anything_runs(composer, words, names):
    with pytest.raises(HydraException, match=names):
        grid(composer, *words)


def test_an_axis_of_hydras_own_configuration_is_refused(composer):
    with pytest.raises(HydraException, match=r"hydra\.job\.chdir"):
        grid(composer, "search_space=ours_hydra")


def test_a_space_whose_every_axis_is_fixed_is_one_job(composer):
    assert grid(composer, "model.depth=1", "model.rate=1") == ["model.depth=1 model.rate=1"]


@pytest.mark.parametrize("words", [["model=bare"], ["search_space=none"], ["search_space=fixed"]])
def test_nothing_to_sweep_says_what_could_be(composer, words):
    with pytest.raises(SettingsError) as refusal:
        grid(composer, *words)
    said = str(refusal.value)
    assert said.startswith("There is nothing to sweep")
    assert "model=bare,line,tree" in said
    assert "seed=1,2,3" in said


def test_an_app_without_spaces_runs_one_job_as_under_hydras_own_sweeper(composer):
    assert grid(composer, "seed=4", space=None) == ["seed=4"]


def test_a_misspelt_option_of_an_optional_group_is_refused_though_something_else_is_swept(composer):
    with pytest.raises(SettingsError, match=r"There is no search_space=fixd.*nearest match first: fixed"):
        grid(composer, "search_space=fixd", "seed=1,2")


def test_each_value_of_each_axis_is_shown_to_the_apps_own_check(composer):
    seen = []

    def check(config):
        assert "hydra" not in config
        seen.append((config.model.get("depth"), config.seed))
        if config.seed == 3:
            raise SettingsError("seed=3 is unlucky")

    with pytest.raises(SettingsError, match="unlucky"):
        points(["seed=1,2,3"], {}, composer, "search_space.axes", check)
    assert [seed for _, seed in seen] == [1, 2, 3]
