"""The `.hydra` files of a job are byte for byte those of OmegaConf's own writer."""

import random

import pytest
from hydra.core.utils import _save_config
from omegaconf import OmegaConf, open_dict

from hydra_plugins.sweeproute import _files
from hydra_plugins.sweeproute._compose import Composer
from hydra_plugins.sweeproute._files import ConfigFiles, dump
from small_app import singletons_kept, start_sweep

CONF = {
    "config.yaml": r"""
defaults: [db: mysql, _self_]
seed: 1
block: "several\nlines\n\n  indented\n"
trailing: "space "
tab: "\t"
quoted: ["yes", "no", "null", "~", "1_000", "0x10", "1e3", "1.5", "12:30", "2026-01-01", "", " ", "a: b", "# c", "- d"]
signs: ["{x}", "[y]", "!z", "&a", "*b", "'", '"', "%", "@", "`", "|", ">"]
unicode: "Zürich, \u2028 \U0001F600, a line so long that the emitter would fold it at its eighty columns, if asked"
numbers: [1, 1.0, 1e-10, 1e300, .inf, -.inf, true, null]
empty: {dict: {}, list: [], text: ""}
deep: [[1, [2, {a: [3]}]], {b: {c: {}}}]
1: integer key
true: boolean key
refers: ${db.port}
all: ${db}
missing: ???
"dotted.key": 1
hydra:
  job: {env_set: {A: "o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o o"}}
  sweep: {dir: out, subdir: "${hydra.job.num}"}
""",
    "db/mysql.yaml": "port: 1\nname: x\n",
    "db/postgres.yaml": "port: 2\nextra: [1]\n",
}

POINTS = [
    [],
    ["seed=2", "refers=${seed}"],
    ["db=postgres", "db.port=9"],
    ["db=postgres", "all={port:3}"],
    ["+new.key=[1,{a:b}]", "++more='yes'"],
    ["~block", "~deep"],
    ["+empty.dict={a:1}", "numbers=[]"],
    ["deep.0=5", "quoted=[null]"],
    ["missing=now"],
    ["block='" + "many words that make a long line " * 5 + "'", "missing='" + "x" * 200 + "'"],
    ["trailing='a=b,c '"],
    ["db={port:7}"],
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with singletons_kept():
        loader, master = start_sweep(tmp_path_factory.mktemp("app"), CONF)
        yield loader, master


def by_hydra(config, task, overrides, folder):
    # Hydra's own three lines
    hydra = OmegaConf.masked_copy(config, "hydra")
    for name, content in {"config.yaml": task, "hydra.yaml": hydra, "overrides.yaml": overrides}.items():
        _save_config(content, name, folder)


def without_hydra(config):
    task = config.copy()
    with open_dict(task):
        del task["hydra"]
    return task


@pytest.mark.parametrize("overrides", POINTS, ids=" ".join)
@pytest.mark.parametrize("dumper", ["C", "Python"])
def test_files_are_hydras_byte_for_byte(app, tmp_path, monkeypatch, overrides, dumper):
    if dumper == "Python":
        monkeypatch.setattr(_files, "_ConfigDumper", _files.get_omega_conf_dumper())
    composer = Composer(*app)
    base, point = composer.point(overrides)
    config = composer.compose(overrides, 12)
    with open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = "/out/12"
    task = without_hydra(config)
    ConfigFiles(base.config()).write(tmp_path / "ours", task, config, point.values)
    by_hydra(config, task, config.hydra.overrides.task, tmp_path / "theirs")
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes(), name
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == [
        "config.yaml",
        "hydra.yaml",
        "overrides.yaml",
    ]


def test_one_text_serves_many_jobs(app, tmp_path):
    composer = Composer(*app)
    files = ConfigFiles(composer.base(()).config())
    for number, overrides in enumerate((["seed=5"], [], ["~block"], [])):
        config = composer.compose(overrides, number)
        with open_dict(config.hydra.runtime):
            config.hydra.runtime.output_dir = f"/out/{number}"
        _, values = composer.split(overrides)
        files.write(tmp_path / str(number), without_hydra(config), config, values)
    assert (tmp_path / "1" / "config.yaml").read_text() == (tmp_path / "3" / "config.yaml").read_text()
    assert "output_dir: /out/3" in (tmp_path / "3" / "hydra.yaml").read_text()
    assert "seed: 5" in (tmp_path / "0" / "config.yaml").read_text()


def test_an_empty_config_is_an_empty_mapping(tmp_path, monkeypatch, hydra_restore_singletons):
    monkeypatch.chdir(tmp_path)
    loader, master = start_sweep(tmp_path, {"config.yaml": "{}\n"})
    composer = Composer(loader, master)
    config = composer.compose([], 0)
    with open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = "/out/0"
    ConfigFiles(composer.base(()).config()).write(tmp_path / "ours", without_hydra(config), config, ())
    by_hydra(config, without_hydra(config), config.hydra.overrides.task, tmp_path / "theirs")
    for path in (tmp_path / "theirs").iterdir():
        assert (tmp_path / "ours" / path.name).read_bytes() == path.read_bytes()


def test_any_text_is_dumped_as_omegaconf_dumps_it():
    rng = random.Random(0)
    parts = [
        *"ab XY 01 :#-?,[]{}&*!|>'%@`\\/~=.\t\n\r\"",
        "é",
        "\u2028",
        "\U0001f600",
        "\x85",
        "yes",
        "null",
        "many " * 20,
    ]
    for _ in range(500):
        content = {"text": "".join(rng.choices(parts, k=rng.randint(0, 30)))}
        assert dump(content) == OmegaConf.to_yaml(content), content
