"""A job's config, built from a base, is the one that Hydra itself would have composed."""

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict

from hydra_plugins.sweeproute._compose import Composer, as_written, parse
from small_app import singletons_kept, start_sweep

CONF = {
    "config.yaml": """
defaults:
  - db: mysql
  - db@backup: mysql
  - net/layer: dense
  - optional space: ${db}
  - _self_
seed: 1
text: hello
list: [1, two, [3, 4], {five: 6}]
nested: {a: {b: {c: 1}}, d: "${.a.b.c}"}
stamp: ${now:%H%M%S%f}
free: {}
hydra:
  sweep: {dir: out, subdir: "${hydra.job.num}"}
  job:
    env_set: {SET: "1"}
    config: {override_dirname: {exclude_keys: [seed]}}
""",
    "db/mysql.yaml": "driver: mysql\nport: 3306\noptions: {tls: false}\n",
    "db/postgres.yaml": "driver: postgres\nport: 5432\noptions: {}\n",
    "net/layer/dense.yaml": "units: 3\n",
    "net/layer/sparse.yaml": "units: 4\nrate: 0.5\n",
    "space/postgres.yaml": "axes: {db.port: [1, 2]}\n",
    "extra/more.yaml": "# @package _global_\nadded: {by: extra}\n",
}

POINTS = [
    [],
    ["seed=2"],
    ["db=postgres"],
    ["db.port=7", "db=postgres"],
    ["db@backup=postgres", "backup.port=1"],
    ["db=postgres", "db@backup=postgres"],
    ["+db@third=postgres", "third.port=9"],
    ["~db@backup"],
    ["~net/layer"],
    ["net/layer=sparse", "net.layer.rate=1e-3"],
    ["+extra=more", "added.by=me"],
    ["+free.deep.key=[1,{a:2}]"],
    ["++seed=3", "++free.x=1"],
    ["~text", "~nested.a.b"],
    ["~seed=1"],
    ["list=[]"],
    ["list=[1,[2,3],{a:b}]", "list.0=5"],
    ["nested.a={b:{c:9}}"],
    ["nested.a={b:{c:2}}", "nested.a.b.c=3"],
    ["db={port:1}"],
    ["text=null", "seed=true"],
    ["text='a, b = c'", 'nested.d="quoted \\" one"'],
    ["text=${db.driver}/${seed}"],
    ["text=${now:%H%M%S%f}"],
    ["text=${hydra:job.num}"],
    ["seed=1e-5", "text=1_000"],
    ["text=", "list=[null,true,1.0,'1']"],
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with singletons_kept():
        loader, master = start_sweep(tmp_path_factory.mktemp("app"), CONF)
        yield loader, master


def by_hydra(loader, master, overrides, number):
    config = loader.load_sweep_config(master, list(overrides))
    with open_dict(config):
        config.hydra.job.id = number
        config.hydra.job.num = number
    return config


def flags(config):
    return {key: config._get_flag(key) for key in ("struct", "readonly")} | {
        f"{name}.{key}": config._get_node(name)._get_flag(key)
        for name in config
        if OmegaConf.is_config(config._get_node(name))
        for key in ("struct", "readonly")
    }


@pytest.mark.parametrize("overrides", POINTS, ids=" ".join)
def test_a_config_is_hydras_to_the_last_leaf(app, overrides):
    loader, master = app
    theirs = by_hydra(loader, master, overrides, 4)
    ours = Composer(loader, master).compose(overrides, 4)
    # As written: an interpolation has to stay one. With the order of keys, which files show.
    assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(theirs)
    assert flags(ours) == flags(theirs)


def test_a_config_resolves_as_hydras(app):
    loader, master = app
    overrides = ["db=postgres", "seed=7", "text=${db.driver}/${seed}", "db.port=1"]
    theirs = by_hydra(loader, master, overrides, 4)
    ours = Composer(loader, master).compose(overrides, 4)
    for config in (ours, theirs):
        assert config.text == "postgres/7"
        assert config.space.axes["db.port"] == [1, 2]
        assert config.hydra.sweep.subdir == "4"
        assert config.hydra.job.override_dirname == "db.port=1,db=postgres,text=postgres/7"


def test_now_is_the_same_in_every_job_of_a_sweep(app):
    loader, master = app
    stamp = master.stamp
    composer = Composer(loader, master)
    jobs = [composer.compose(o, n) for n, o in enumerate((["seed=1"], ["db=postgres"], ["text=${now:%H%M%S%f}"]))]
    assert {job.stamp for job in jobs} == {stamp}
    assert jobs[2].text == stamp


def test_jobs_do_not_share_what_one_of_them_changes(app):
    composer = Composer(*app)
    first = composer.compose(["db=postgres"], 0)
    first.db.port = 1
    first.hydra.job.env_set.SET = "2"
    second = composer.compose(["db=postgres"], 1)
    assert (second.db.port, second.hydra.job.env_set.SET, second.hydra.job.num) == (5432, "1", 1)
    assert first.hydra.job.num == 0


def test_the_same_choice_of_groups_is_composed_once(app, monkeypatch):
    loader, master = app
    composed = []
    original = loader.load_sweep_config
    monkeypatch.setattr(loader, "load_sweep_config", lambda m, o: composed.append(o) or original(m, o))
    composer = Composer(loader, master)
    for seed in range(5):
        for db in ("mysql", "postgres"):
            composer.compose([f"db={db}", f"seed={seed}"], seed)
    assert composed == [["db=mysql"], ["db=postgres"]]


def test_overrides_are_parted_into_groups_and_values(app):
    composer = Composer(*app)
    words = ["db@backup=postgres", "seed=1", "net/layer=sparse", "db={port: 1}", "+net.layer.x=1", "~space"]
    groups, values = composer.split(words)
    assert groups == ("db@backup=postgres", "net/layer=sparse", "~space")
    assert [value.input_line for value in values] == ["seed=1", "db={port: 1}", "+net.layer.x=1"]


def test_the_options_of_a_group_are_listed(app):
    composer = Composer(*app)
    assert composer.options("db") == ["mysql", "postgres"]
    assert composer.options("net/layer") == ["dense", "sparse"]
    assert composer.options("nothing") == []


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["db=oracle"], "oracle"),
        (["sead=1"], "sead"),
        (["db.port.x=1"], "db.port.x"),
        (["+seed=1"], "seed"),
        (["~nothing"], "nothing"),
        (["++db=postgres"], "force-add"),
        (["nothing@backup=postgres"], "nothing"),
    ],
)
def test_what_hydra_refuses_is_refused_in_its_words(app, overrides, says):
    loader, master = app
    with pytest.raises(HydraException, match=says) as theirs:
        loader.load_sweep_config(master, overrides)
    with pytest.raises(HydraException, match=says) as ours:
        Composer(loader, master).compose(overrides, 0)
    assert str(ours.value) == str(theirs.value)


def test_overrides_of_hydra_itself_reach_every_job(tmp_path, monkeypatch, hydra_restore_singletons):
    monkeypatch.chdir(tmp_path)
    words = ["hydra.job.name=${.num}-named", "hydra.verbose=true", "seed=3"]
    loader, master = start_sweep(tmp_path, CONF, words)
    assert as_written(master.hydra.overrides.hydra) == words[:2]
    theirs = by_hydra(loader, master, ["seed=3", "db=postgres"], 2)
    ours = Composer(loader, master).compose(["seed=3", "db=postgres"], 2)
    assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(theirs)


def test_groups_of_a_searchpath_from_the_command_line_are_known(tmp_path, monkeypatch, hydra_restore_singletons):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more" / "db").mkdir(parents=True)
    (tmp_path / "more" / "db" / "sqlite.yaml").write_text("driver: sqlite\nport: 0\noptions: {}\n")
    loader, master = start_sweep(tmp_path, CONF, [f"hydra.searchpath=[file://{tmp_path}/more]"])
    composer = Composer(loader, master)
    assert "sqlite" in composer.options("db")
    assert composer.compose(["db=sqlite"], 0).db.driver == "sqlite"


def test_an_override_is_parsed_once():
    assert parse("seed=1") is parse("seed=1")
