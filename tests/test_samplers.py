"""A sampler is what its name says, takes its own options alone, and says what it cannot do."""

import importlib.util
import subprocess
import sys

import optuna
import pytest

from hydra_plugins.sweeproute._dimension import Dimension
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._samplers import SAMPLERS, distributions, sampler
from small_study import MIXED, continuous, opened, plain, space_of, whole, worth

OPTUNA = int(optuna.__version__.partition(".")[0])
PLANE = space_of(continuous("x"), continuous("y"))


def test_every_name_makes_its_sampler():
    made = {name: type(sampler(name, {}, PLANE).seeded(1, 2)).__mro__ for name in SAMPLERS}
    assert {
        name: next(one.__name__ for one in mro if one.__module__.startswith("optuna")) for name, mro in made.items()
    } == {
        "random": "RandomSampler",
        "tpe": "TPESampler",
        "cmaes": "CmaEsSampler",
        "qmc": "QMCSampler",
        "nsga": "NSGAIISampler",
        "gp": "GPSampler",
    }


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("tpee", {}, "hydra.sweeper.sampler is 'tpee'. Allowed: tpe, "),
        ("tpe", {"n_startup_trails": 5}, "'n_startup_trails', which tpe does not take. Allowed: n_startup_trials, "),
        ("tpe", {"seed": 5}, "'seed', which tpe does not take"),
        ("tpe", {"gamma": 5}, "'gamma', which tpe does not take"),
        ("tpe", {"n_startup_trials": "five"}, "n_startup_trials is 'five'. tpe takes an integer there"),
        ("tpe", {"n_startup_trials": None}, "n_startup_trials is None"),
        ("tpe", {"n_startup_trials": 2.5}, "n_startup_trials is 2.5"),
        ("tpe", {"constant_liar": 1}, "constant_liar is 1. tpe takes true or false there"),
        ("tpe", {"group": True, "multivariate": False}, "was refused by tpe: "),
        ("random", {"n_startup_trials": 5}, "'n_startup_trials', which random does not take. It takes none"),
        ("qmc", {"qmc_type": "sobl"}, "was refused by qmc: "),
        ("nsga", {"population_size": 1}, "was refused by nsga: `population_size` must be greater than or equal to 2."),
        ("nsga", {"crossover": "sbx"}, "'crossover', which nsga does not take"),
        ("cmaes", {"use_separable_cma": True, "with_margin": True}, "was refused by cmaes: "),
    ],
)
def test_an_option_that_a_sampler_does_not_take_is_said(name, options, sentence):
    with pytest.raises(SettingsError) as caught:
        sampler(name, options, PLANE)
    assert sentence in str(caught.value)


def test_options_reach_the_sampler(tmp_path):
    study = opened(tmp_path, "nsga", PLANE, {"population_size": 3})
    for _ in range(8):
        proposal = study.ask()
        study.tell(proposal.trial, [worth(proposal)], "complete")
    assert plain(tmp_path).trials[-1].system_attrs["NSGAIISampler:generation"] == 2


def test_an_option_that_only_a_trial_shows_to_be_wrong_is_said(tmp_path):
    study = opened(tmp_path, "cmaes", PLANE, {"popsize": -2})
    study.tell(study.ask().trial, [1.0], "complete")
    with pytest.raises(SettingsError, match=r"The sampler cmaes could not propose a point: .*sampler_options"):
        study.ask()


@pytest.mark.parametrize(("name", "package"), [("cmaes", "cmaes"), ("gp", "torch")])
def test_a_missing_package_is_named_with_the_command(name, package, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda one: None if one == package else found(one))
    with pytest.raises(SettingsError, match=f"needs {package}, not installed here: pip install {package}"):
        sampler(name, {}, PLANE)


def test_cmaes_refuses_what_it_cannot_search():
    with pytest.raises(SettingsError, match=r"cmaes takes one objective, and there are 2\. Of several: random, tpe, "):
        sampler("cmaes", {}, PLANE, 2)
    choices = space_of(Dimension("act", choices=("a", "b")), continuous("x", when=(("act", ("a",)),)))
    with pytest.raises(SettingsError, match="searches numbers that every point has, and this space has none"):
        sampler("cmaes", {}, choices)


def test_what_is_drawn_at_random_is_said_once():
    assert sampler("tpe", {}, MIXED).remarks(MIXED) == []
    assert sampler("gp", {}, PLANE).remarks(PLANE) == []
    assert sampler("gp", {}, MIXED).remarks(MIXED) == [
        "gp does not model drop and draws from there at random; tpe models all."
    ]
    (said,) = sampler("cmaes", {}, MIXED).remarks(MIXED)
    assert said.startswith("cmaes does not model booster, drop and draws")


def test_cmaes_models_the_numbers_that_every_point_has_whatever_comes_first(tmp_path):
    """By itself it would take `drop` for one of them, if the first trials had it, and later give up."""
    study = opened(tmp_path, "cmaes", MIXED, {"popsize": 4})
    for _ in range(3):
        study.enqueue({"booster": "dart"})
    study.enqueue({"booster": "tree"})
    for _ in range(25):
        proposal = study.ask()
        study.tell(proposal.trial, [worth(proposal)], "complete")
    generations = [one.system_attrs.get("cma:generation", -1) for one in plain(tmp_path).trials]
    assert max(generations) >= 3
    assert generations[-1] >= 3


def test_tpe_draws_jointly_by_default_where_optuna_does(tmp_path):
    study = opened(tmp_path, "tpe", MIXED)
    for _ in range(6):
        proposal = study.ask()
        study.tell(proposal.trial, [worth(proposal)], "complete")
    study.ask()
    drawn = "".join(str(value) for key, value in plain(tmp_path).trials[-1].system_attrs.items() if "relative" in key)
    assert ("rate" in drawn) == (OPTUNA >= 5)
    assert "drop" not in drawn
    assert "constant_liar" in sampler("tpe", {}, MIXED).options


@pytest.mark.parametrize(
    "options", [{"multivariate": True}, {"multivariate": True, "group": True}, {"multivariate": False}]
)
def test_tpe_works_in_each_of_its_ways(options, tmp_path):
    study = opened(tmp_path, "tpe", MIXED, {"n_startup_trials": 3, **options})
    for _ in range(8):
        proposal = study.ask()
        study.tell(proposal.trial, [worth(proposal)], "complete")
    assert study.distinct() == 8


@pytest.mark.skipif(OPTUNA < 5, reason="draws choices at random before Optuna 5")
def test_qmc_spreads_choices_evenly(tmp_path):
    choices = space_of(continuous("x"), Dimension("act", choices=("a", "b", "c", "d")))
    study = opened(tmp_path, "qmc", choices)
    drawn = [study.ask().values["act"] for _ in range(16)]
    assert {drawn.count(one) for one in "abcd"} == {4}
    assert sampler("qmc", {}, choices).remarks(choices) == []


@pytest.mark.skipif(OPTUNA >= 5, reason="draws choices from the sequence since Optuna 5")
def test_qmc_says_that_it_draws_choices_at_random():
    choices = space_of(continuous("x"), Dimension("act", choices=("a", "b")))
    assert sampler("qmc", {}, choices).remarks(choices) == [
        "qmc does not model act and draws from there at random; tpe models all."
    ]


def test_qmc_begins_elsewhere_under_another_seed(tmp_path):
    points = [opened(tmp_path / str(seed), "qmc", PLANE, seed=seed).ask().values for seed in (1, 2)]
    assert points[0] != points[1]
    assert 0.0 not in points[0].values()


def test_the_same_values_are_the_same_distribution():
    one = space_of(Dimension("a", choices=("x", "y")), whole("n", 1, 10, step=4), continuous("s", 0.1, 0.75, step=0.2))
    other = space_of(
        Dimension("a", choices=("y", "x", "x")), whole("n", 1, 9, step=4), continuous("s", 0.1, 0.7, step=0.2)
    )
    assert distributions(one) == distributions(other)
    assert distributions(one)["n"].high == 9
    assert distributions(one)["s"].high == 0.7


def test_names_and_pruners_need_no_optuna():
    code = (
        "import sys; import hydra_plugins.sweeproute._samplers, hydra_plugins.sweeproute._pruners, "
        "hydra_plugins.sweeproute._search; print('optuna' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr
