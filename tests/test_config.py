"""Tests of the configuration: every option of every group composes and builds, and what is misspelt does not."""

import hydra
import pytest
import yaml
from hydra.errors import HydraException
from omegaconf import OmegaConf

from small_trial import ROOT, compose
from sweeproute import config, estimators
from sweeproute.config import ConfigError, check_keys
from sweeproute.trial_checks import validate

CONF = ROOT / "conf"
# Groups whose options Hydra itself takes, and values that a group's option leaves to the person.
HYDRA_GROUPS = ("hydra/callbacks", "hydra/launcher", "hydra/sweeper")
# Models that take no parameter which is worth a search.
NOTHING_TO_SEARCH = {"glm_r"}
MANDATORY = {"data=csv": ("data.path=games.csv", "data.outcome=won", "data.season=season", "data.date=day")}


def options() -> list[str]:
    """Every option of every group, as one writes it: group=option."""
    files = sorted(path for path in CONF.rglob("*.yaml") if path.parent != CONF)
    return [f"{path.parent.relative_to(CONF).as_posix()}={path.stem}" for path in files]


def models() -> list[str]:
    """Every model that is fitted; an ensemble is made of what such have said."""
    return [one.partition("=")[2] for one in options() if one.startswith("model=") and one != "model=ensemble"]


@pytest.mark.parametrize("option", options())
def test_every_option_composes_against_the_schema(option: str) -> None:
    # An experiment stands in no list of defaults: who wants one adds it.
    written_so = f"+{option}" if option.startswith("experiment=") else option
    # What a report says is no part of a trial's config.
    primary = "report_alone" if option.startswith("report=") else "config"
    composed = compose(written_so, *MANDATORY.get(option, ()), primary=primary)
    OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    group, _, name = option.partition("=")
    if group not in HYDRA_GROUPS:
        written = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
        told = OmegaConf.create({k: v for k, v in written.items() if k not in ("defaults", "hydra")})
        if group not in ("model", "tracking", "experiment"):
            told = OmegaConf.create({group: told})
        # The file's own values stand in the config, and none of its keys was dropped.
        merged = OmegaConf.merge(composed, told)
        assert merged == composed


@pytest.mark.parametrize("model", models())
def test_every_model_is_valid_with_its_search_space_and_builds(model: str) -> None:
    composed = compose(f"model={model}", "threads=1", "device=cpu")
    validate(composed)
    assert bool(composed.search_space.axes) == (model not in NOTHING_TO_SEARCH), f"{model} has no search space"
    built = estimators.build(composed.model)
    gives = ("fit_bets", "stakes") if composed.model.gives == "stakes" else ("fit", "predict_proba")
    assert all(callable(getattr(built, name)) for name in gives)


def test_without_a_search_space_there_are_no_axes() -> None:
    assert compose("search_space=none").search_space.axes == {}


@pytest.mark.parametrize("model", sorted(set(models()) - NOTHING_TO_SEARCH))
def test_every_model_has_a_space_of_ranges_too(model: str) -> None:
    searched = compose(f"model={model}", f"search_space={model}_ranges").search_space
    assert any("low" in axis for axis in searched.axes.values() if OmegaConf.is_dict(axis))


def test_a_space_may_have_constraints_and_a_misspelt_part_of_it_fails() -> None:
    assert compose("model=lightgbm", "search_space=lightgbm_ranges").search_space.constraints == [
        "model.params.num_leaves <= 2 ** model.params.max_depth"
    ]
    assert compose("model=glm").search_space.constraints == []
    for wrong in ("search_space.constraint=[a]", "search_space.constraints=3"):
        with pytest.raises(HydraException):
            compose(wrong)


def test_the_wide_grid_has_324_points() -> None:
    points = 1
    for values in compose("model=xgboost", "search_space=xgboost_wide").search_space.axes.values():
        points *= len(values)
    assert points == 324


@pytest.mark.parametrize(
    "override",
    [
        "sed=1",
        "model=xgbost",
        "platform=local_m5",
        "data=cvs",
        "model.typ=GLM",
        "model.params.c=1",
        "data.path=games.csv",
        "job.prioritty=3",
        "data.frist_season=2004",
        "tracking.experment=x",
        "registry.platforms.local_m4.max_jobs=2",
        "hydra.launcher.max_attempt=2",
        "hydra.sweeper.metrc=auc",
        "seed=abc",
        "data.market_features=perhaps",
        "validation.selection_seasons=2018",
        "betting.stake=lots",
        "registry.platforms.local_m4.max_concurrent_jobs=four",
    ],
)
def test_what_is_misspelt_or_of_the_wrong_type_fails_at_composition(override: str) -> None:
    with pytest.raises(HydraException):
        compose(override)


def test_the_keys_that_people_and_scripts_rely_on_exist() -> None:
    composed = compose("data=nfl")
    for key, value in {
        "data.path": None,
        "validation.first_test_season": 2012,
        "validation.selection_seasons": [2012, 2022],
        "validation.holdout_seasons": [2023, 2024],
        "seed": 42,
        "resume": False,
        "reuse": False,
        "job.priority": 5,
        "job.required_memory_gb": 1,
        "tracking.models": "best",
        "checkpoint.minutes": 30,
        "sweep.name": None,
        "sweep.note": None,
        "registry.platforms.local_m4.max_concurrent_jobs": 4,
        "registry.platforms.remote_4090.host": None,
        "registry.platforms.remote_4090.ssh_config": None,
        "registry.platforms.remote_4090.python": None,
    }.items():
        assert OmegaConf.select(composed, key, throw_on_missing=True) == value, key
    assert "job" in composed
    assert config.Job.estimated_duration_minutes == 60


def test_hydras_own_keys_of_the_launcher_and_the_sweeper_exist() -> None:
    launcher = ("platforms", "rules", "fields", "debug", "max_attempts", "overflow", "preload")
    sweeper = ("sampler", "direction", "metric", "resume", "id", "name", "note")
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        own = hydra.compose("config", return_hydra_config=True).hydra
    assert not {*launcher} - {*own.launcher}
    assert not {*sweeper} - {*own.sweeper}
    assert "dir" in own.sweep


def test_the_tracking_store_and_the_experiment_follow_mlflows_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    composed = compose()
    assert (composed.tracking.uri, composed.tracking.experiment) == ("sqlite:///mlflow.db", "sweeproute")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "thesis")
    composed = compose()
    assert (composed.tracking.uri, composed.tracking.experiment) == ("http://127.0.0.1:5000", "thesis")


def test_where_and_how_names_only_keys_that_exist() -> None:
    assert set(config.WHERE_AND_HOW) <= set(compose())


def test_a_key_that_a_group_does_not_have_cannot_be_added_to_it() -> None:
    check_keys(compose("+mine=1", "+note.of=me", "data=nfl", "data.path=x"))
    for word, said in (("report.copyto=x", "copy_to"), ("betting.min_egde=0.1", "min_edge"), ("model.typ=x", "type")):
        with pytest.raises(ConfigError, match=rf"no key {word.partition('=')[0]}\. Keys of .*first: {said}"):
            check_keys(compose(f"+{word}"))
