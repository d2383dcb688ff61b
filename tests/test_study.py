"""A study asks for distinct points, is told results once, and goes on after any cut as if there had been none."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from hydra_plugins.sweeproute._compose import parse
from hydra_plugins.sweeproute._dimension import Dimension
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._point import point_of
from hydra_plugins.sweeproute._pruners import pruner
from hydra_plugins.sweeproute._samplers import SAMPLERS, sampler
from hydra_plugins.sweeproute._study import Study
from hydra_plugins.sweeproute._study_log import open_storage
from small_study import MIXED, continuous, events, happen, opened, plain, space_of, whole, worth

NINE = space_of(whole("a", 1, 3), Dimension("b", choices=("x", "y", "z")))
LINE = space_of(continuous("x"))
PLANE = space_of(continuous("x"), continuous("y"))


def told_all(study, limit=50):
    """Ask and tell until nothing is left; the points."""
    found = []
    while len(found) < limit and (proposal := study.ask()) is not None:
        found.append(proposal)
        study.tell(proposal.trial, [worth(proposal)], "complete")
    return found


# Going on after a cut.


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_search_cut_anywhere_goes_on_with_the_same_points(name, tmp_path):
    # A fit of gp takes its time: a smaller space, where few are forbidden, and fewer cuts.
    space, count, apart = (PLANE, 10, 3) if name == "gp" else (MIXED, 34, 1)
    script = list(events(count))
    study, asked, cuts = opened(tmp_path / "whole", name, space), [], []
    for place in range(len(script)):
        if place % apart == 0:
            cuts.append((place, tmp_path / str(place), len(asked)))
            shutil.copytree(tmp_path / "whole", tmp_path / str(place))
        happen(study, script[place : place + 1], asked)
    assert len({point_of(proposal.values) for proposal in asked}) == len(asked) > 5
    for place, folder, known in cuts:
        again = asked[:known]
        happen(opened(folder, name, space), script[place:], again)
        assert again == asked, f"cut before {script[place]}"
        assert [proposal.values for proposal in again] == [proposal.values for proposal in asked]


GO_ON = """
import sys, json
from pathlib import Path
from small_study import MIXED, opened
from test_study import PLANE
for name in sys.argv[2:]:
    study = opened(Path(sys.argv[1]) / name, name, PLANE if name == "gp" else MIXED)
    print(json.dumps([study.ask().values for _ in range(2)]))
"""


def test_another_process_goes_on_with_the_same_points(tmp_path):
    expected = []
    for name in SAMPLERS:
        study = opened(tmp_path / name, name, PLANE if name == "gp" else MIXED)
        happen(study, list(events(9 if name == "gp" else 16)), [])
        shutil.copytree(tmp_path / name, tmp_path / "cut" / name)
        expected.append([study.ask().values for _ in range(2)])
    done = subprocess.run(
        [sys.executable, "-c", GO_ON, str(tmp_path / "cut"), *SAMPLERS],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected, done.stderr
    assert done.stderr == ""  # and Optuna says nothing


def test_another_seed_and_another_name_of_the_study_give_other_points(tmp_path):
    points = [opened(tmp_path / str(seed), "random", LINE, seed=seed).ask().values["x"] for seed in (1, 2)]
    assert points[0] != points[1]


def test_trials_that_ran_when_a_sweep_stopped_are_known_to_the_next(tmp_path):
    study = opened(tmp_path, "tpe")
    first, second, third = (study.ask() for _ in range(3))
    study.tell(second.trial, [1.0], "complete")
    again = opened(tmp_path, "tpe")
    assert again.running() == [first, third]
    assert [one.values for one in again.running()] == [first.values, third.values]
    assert list(again.running()[0].values) == list(first.values)  # in the space's order
    assert again.distinct() == 3
    again.tell(first.trial, [0.5], "complete")
    assert again.running() == [third]


def test_a_key_under_a_condition_on_a_decimal_is_known_to_the_next_start(tmp_path):
    steps = continuous("a", 0.1, 0.9, step=0.1)
    space = space_of(steps, whole("b", 1, 3, when=(("a", ("0.3", "0.7")),)))
    for value in (0.3, 0.7):
        study = opened(tmp_path / str(value), space=space)
        study.enqueue({"a": value, "b": 2})
        asked = study.ask()
        again = opened(tmp_path / str(value), space=space)
        assert [dict(one.values) for one in again.running()] == [dict(asked.values)] == [{"a": value, "b": 2}]


# Distinct points.


@pytest.mark.parametrize("name", ["random", "tpe", "cmaes", "qmc", "nsga"])
def test_every_point_of_a_finite_space_is_asked_for_once(name, tmp_path):
    study = opened(tmp_path, name, NINE)
    found = told_all(study)
    assert len({point_of(proposal.values) for proposal in found}) == len(found) == NINE.size() == 9
    assert study.ask() is None
    assert study.distinct() == 9
    assert opened(tmp_path, name, NINE).ask() is None


def test_a_point_that_was_told_is_told_again_to_its_copies(tmp_path):
    found = told_all(opened(tmp_path, "tpe", NINE))
    trials = plain(tmp_path).trials
    copies = [one for one in trials if "copy_of" in one.user_attrs]
    assert copies, "tpe proposes no point twice here: the test sees nothing"
    for one in copies:
        original = trials[one.user_attrs["copy_of"]]
        assert "copy_of" not in original.user_attrs
        assert (one.params, one.values, one.state) == (original.params, original.values, original.state)
    assert len(trials) == len(found) + len(copies)


@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
@pytest.mark.parametrize("resumed", [False, True])
def test_a_point_that_runs_is_told_to_its_twins_when_it_ends(state, resumed, tmp_path):
    study = opened(tmp_path, "random", NINE, prune="median")
    asked = [study.ask() for _ in range(9)]
    twins = [one for one in plain(tmp_path).trials if "copy_of" in one.user_attrs]
    assert twins
    assert {one.state for one in twins} == {TrialState.RUNNING}
    original = twins[0].user_attrs["copy_of"]
    study.report(original, 0, 9.0)
    study.report(original, 2, 0.75)
    if resumed:
        study = opened(tmp_path, "random", NINE, prune="median")
        assert study.running() == asked
    study.tell(original, [0.5] if state == "complete" else None, state)
    told = [one for one in plain(tmp_path).trials if one.user_attrs.get("copy_of") == original]
    expected = {"complete": (TrialState.COMPLETE, 0.5), "pruned": (TrialState.PRUNED, 0.75)}
    assert {(one.state, one.value) for one in told} == {expected.get(state, (TrialState.FAIL, None))}
    others = [one for one in twins if one.user_attrs["copy_of"] != original]
    assert {plain(tmp_path).trials[one.number].state for one in others} <= {TrialState.RUNNING}


def test_only_points_that_the_constraints_allow_are_asked_for(tmp_path):
    space = space_of(continuous("x"), continuous("y"), constraints=["x < 0.3 * y"])
    for name in ("random", "tpe", "cmaes", "qmc", "nsga"):
        found = told_all(opened(tmp_path / name, name, space), 15)
        assert len(found) == 15
        assert all(one.values["x"] < 0.3 * one.values["y"] for one in found)
        forbidden = [one for one in plain(tmp_path / name).trials if "forbidden" in one.user_attrs]
        assert forbidden
        assert {one.state for one in forbidden} == {TrialState.FAIL}


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_a_point_for_which_a_constraint_cannot_be_told_is_forbidden(name, tmp_path):
    space = space_of(whole("k", 1, 6), continuous("x"), constraints=["1 / (k - 3) < 5"])
    found = told_all(opened(tmp_path, name, space), 30)
    assert {one.values["k"] for one in found} == {1, 2, 4, 5, 6}
    untold = [one for one in plain(tmp_path).trials if one.params["k"] == 3]
    assert untold
    assert all("forbidden" in one.user_attrs and one.state == TrialState.FAIL for one in untold)
    assert len(told_all(opened(tmp_path, name, space), 5)) == 5


def test_points_drawn_without_a_sampler_pass_over_constraints_that_cannot_be_told(tmp_path):
    space = space_of(whole("k", 2, 4), continuous("x"), constraints=["1 / (k - 3) < 5"])
    study = opened(tmp_path, "random", space)
    drawn = [study._untried.draw((), seed, study._study) for seed in range(20)]
    assert {one["k"] for one in drawn} == {2, 4}


def test_a_finite_space_with_constraints_is_gone_through(tmp_path):
    space = space_of(whole("a", 1, 4), whole("b", 1, 4), constraints=["a < b"])
    found = told_all(opened(tmp_path, "tpe", space))
    assert sorted((one.values["a"], one.values["b"]) for one in found) == [
        (a, b) for a in range(1, 5) for b in range(a + 1, 5)
    ]


def test_the_last_points_of_a_space_too_large_to_be_listed_are_found(tmp_path):
    space = space_of(whole("a", 1, 6000), constraints=["a > 5990"])
    study = opened(tmp_path, "random", space)
    assert sorted(one.values["a"] for one in told_all(study)) == list(range(5991, 6001))
    assert study.ask() is None


def test_constraints_that_nothing_meets_are_said(tmp_path):
    study = opened(tmp_path, "random", space_of(continuous("x"), constraints=["x > 1 + x"]))
    with pytest.raises(SettingsError, match=r"None of 2000 points drawn .* meets its constraints"):
        study.ask()


# Parameters.


def test_a_key_with_a_condition_is_proposed_only_where_it_exists(tmp_path):
    found = told_all(opened(tmp_path, "tpe"), 30)
    assert {one.values["booster"] for one in found} == {"tree", "dart"}
    for one in found:
        assert ("drop" in one.values) == (one.values["booster"] == "dart")
        assert list(one.values) == [key.key for key in MIXED.dimensions if key.key in one.values]


def test_values_come_back_from_their_overrides_as_the_very_same(tmp_path):
    space = space_of(
        continuous("linear", -3.0, 5.0),
        continuous("tiny", 1e-12, 1e-3, log=True),
        continuous("stepped", 0.1, 1.0, step=0.05),
        whole("count", 2, 100, step=7),
        whole("size", 1, 4096, log=True),
        Dimension("act", choices=("relu", "[1,2]", "null", "'a b'")),
    )
    by_key = {one.key: one for one in space.dimensions}
    for name in ("random", "tpe", "qmc", "nsga"):
        for proposal in told_all(opened(tmp_path / name, name, space), 40):
            for key, value in proposal.values.items():
                read = parse(by_key[key].override(value)).value()
                if key != "act":
                    assert (read, type(read)) == (value, type(value))
            assert proposal.values["stepped"] in by_key["stepped"].values()
            assert proposal.values["count"] in by_key["count"].values()
            assert proposal.values["act"] in by_key["act"].choices


def test_each_sampler_but_cmaes_serves_two_objectives(tmp_path):
    for name in ("random", "tpe", "qmc", "nsga", "gp"):
        study = opened(tmp_path / name, name, directions=("maximize", "minimize"))
        for _ in range(5):
            proposal = study.ask()
            study.tell(proposal.trial, [worth(proposal), proposal.values["rate"]], "complete")
        told = plain(tmp_path / name)
        assert [one.name for one in told.directions] == ["MAXIMIZE", "MINIMIZE"]
        assert len(told.trials[0].values) == 2
        assert told.best_trials


# Telling.


def test_the_first_result_of_a_trial_counts(tmp_path):
    study = opened(tmp_path, space=LINE)
    proposal = study.ask()
    study.tell(proposal.trial, [0.25], "complete")
    study.tell(proposal.trial, [0.25], "complete")
    study.tell(proposal.trial, [0.75], "complete")
    study.tell(proposal.trial, None, "failed")
    (trial,) = plain(tmp_path).trials
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.25)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_told_as_failed(value, tmp_path):
    study = opened(tmp_path, space=LINE)
    study.tell(study.ask().trial, [value], "complete")
    assert plain(tmp_path).trials[0].state == TrialState.FAIL


def test_a_pruned_trial_has_its_last_value(tmp_path):
    study = opened(tmp_path, space=LINE)
    reported, silent = (study.ask().trial for _ in range(2))
    study.report(reported, 0, 0.5)
    study.report(reported, 4, 0.25)
    study.tell(reported, None, "pruned")
    study.tell(silent, None, "pruned")
    trials = plain(tmp_path).trials
    assert {one.state for one in trials} == {TrialState.PRUNED}
    assert [one.value for one in trials] == [0.25, None]


def test_a_state_that_there_is_not_is_refused(tmp_path):
    study = opened(tmp_path, space=LINE)
    with pytest.raises(ValueError, match="'done'; allowed"):
        study.tell(study.ask().trial, None, "done")


# Starting points.


def test_starting_points_come_first_and_only_once(tmp_path):
    study = opened(tmp_path, "tpe")
    starts = [
        {"booster": "dart", "depth": 2, "share": 0.75, "rate": 0.1, "drop": 0.25},
        {"booster": "tree", "depth": 1, "share": 1, "rate": 1e-4},
    ]
    for _ in range(2):
        for start in starts:
            study.enqueue(start)
        study = opened(tmp_path, "tpe")
    first, second = study.ask(), study.ask()
    assert [dict(first.values), dict(second.values)] == starts
    study.tell(first.trial, [0.5], "complete")
    study = opened(tmp_path, "tpe")
    for start in starts:
        study.enqueue(start)
    assert dict(study.ask().values) not in starts
    assert len(plain(tmp_path).trials) == 3


def test_a_part_of_a_starting_point_is_filled_by_the_sampler(tmp_path):
    study = opened(tmp_path, "tpe")
    study.enqueue({"booster": "dart", "rate": 0.5})
    values = study.ask().values
    assert (values["booster"], values["rate"]) == ("dart", 0.5)
    assert len(values) == 5


@pytest.mark.parametrize("depths", [8, 6000])  # listed, and too many for that
def test_a_part_of_a_starting_point_is_filled_within_the_constraints(depths, tmp_path):
    space = space_of(
        whole("depth", 1, depths), whole("leaves", 2, 256), constraints=[f"leaves <= 256 * depth / {depths}"]
    )
    for seed in range(10):
        study = opened(tmp_path / str(seed), "tpe", space, seed=seed)
        study.enqueue({"leaves": 200})
        values = study.ask().values
        assert values["leaves"] == 200
        assert values["depth"] >= 200 * depths / 256
        study = opened(tmp_path / str(seed), "tpe", space, seed=seed)
        study.enqueue({"leaves": 200})
        assert study.ask().values["leaves"] != 200  # it was tried


def test_more_starting_points_than_misses_are_all_tried(tmp_path):
    study = opened(tmp_path, "random", space_of(whole("n", 1, 100)))
    study.tell(study.ask().trial, [1.0], "complete")
    for n in range(1, 31):
        study.enqueue({"n": n})
    asked = [study.ask().values["n"] for _ in range(29)]
    assert set(asked) < set(range(1, 31))
    assert len(set(asked)) == 29


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"dept": 3}, "has 'dept', which the search space does not search. Its keys: depth"),
        ({"depth": 9}, "has depth=9. Allowed: {low: 1, high: 4}"),
        ({"depth": 2.5}, "has depth=2.5"),
        ({"depth": True}, "has depth=True"),
        ({"depth": "2"}, "has depth=2"),
        ({"share": 0.3}, "has share=0.3"),
        ({"booster": "linear"}, "has booster=linear. Allowed: tree, dart"),
        ({"booster": "tree", "drop": 0.1}, "has 'drop', which exists only with {booster: dart}"),
        ({"depth": 4, "share": 1.0}, "has depth=4, share=1.0, which the constraints forbid"),
    ],
)
def test_a_starting_point_outside_of_the_space_is_refused(values, sentence, tmp_path):
    study = opened(tmp_path)
    with pytest.raises(SettingsError) as caught:
        study.enqueue(values)
    assert sentence in str(caught.value)
    assert plain(tmp_path).trials == []


# A later start.


def test_points_that_failed_are_tried_again_when_asked_to_and_only_then(tmp_path):
    study = opened(tmp_path, "tpe", NINE)
    first, second = study.ask(), study.ask()
    study.tell(first.trial, None, "failed")
    study.tell(second.trial, [1.0], "complete")
    other = opened(tmp_path, "tpe", NINE).ask()
    assert other.values != first.values
    for _ in range(2):  # a start that ends before it asks changes nothing
        study = opened(tmp_path, "tpe", NINE)
        study.retry()
    again = study.ask()
    assert (again.values, again.trial > first.trial) == (first.values, True)
    study.tell(again.trial, [0.5], "complete")
    found = told_all(study)
    assert study.distinct() == 9
    assert point_of(first.values) not in {point_of(one.values) for one in found}
    assert opened(tmp_path, "tpe", NINE).running() == [other]


def test_a_study_that_is_forgotten_begins_anew(tmp_path):
    study = opened(tmp_path, "tpe", NINE)
    asked = [study.ask().values for _ in range(3)]
    study._storage.forget("search")
    study._storage.forget("none of this name")
    study = opened(tmp_path, "tpe", NINE)
    assert study.distinct() == 0
    assert [study.ask().values for _ in range(3)] == asked


def test_a_wider_space_goes_on_with_what_was_told(tmp_path):
    narrow = space_of(Dimension("act", choices=("relu", "tanh")), continuous("rate", 0.1, 0.5), whole("n", 1, 3))
    wide = space_of(Dimension("act", choices=("gelu", "tanh", "relu")), continuous("rate", 0.01, 0.5), whole("n", 1, 8))
    study = opened(tmp_path, "tpe", narrow)
    study.enqueue({"act": "relu", "rate": 0.25, "n": 2})
    done = told_all(study, 8)
    running = study.ask()
    study.report(running.trial, 3, 0.5)
    study.enqueue({"act": "tanh", "rate": 0.25, "n": 1})
    before = plain(tmp_path).trials
    again = opened(tmp_path, "tpe", wide)
    assert again.running() == [running]
    assert again.distinct() == len(done) + 1
    told = plain(tmp_path)
    for old, new in zip(before, told.trials, strict=True):
        assert (old.number, old.state, old.values, old.params) == (new.number, new.state, new.values, new.params)
        assert (old.user_attrs, old.intermediate_values) == (new.user_attrs, new.intermediate_values)
        assert (old.datetime_start, old.datetime_complete) == (new.datetime_start, new.datetime_complete)
    assert dict(again.ask().values) == {"act": "tanh", "rate": 0.25, "n": 1}
    found = [again.ask() for _ in range(20)]
    assert "gelu" in {one.values["act"] for one in found}
    again.tell(running.trial, [0.5], "complete")
    assert optuna.get_all_study_names(again._storage.optuna) == ["search"]
    # Every trial is modelled jointly with the others: they have one distribution each.
    assert len({str(one.distributions) for one in told.trials if one.distributions}) == 1


def test_a_space_that_does_not_contain_the_earlier_one_is_refused(tmp_path):
    opened(tmp_path, space=LINE)
    with pytest.raises(SettingsError, match=r"begun in another space: x was .*high: 1.0.*, is .*high: 0.5"):
        opened(tmp_path, space=space_of(continuous("x", 0.0, 0.5)))


def test_another_direction_is_refused(tmp_path):
    opened(tmp_path, space=LINE)
    with pytest.raises(SettingsError, match="begun with direction minimize, and now is to maximize"):
        opened(tmp_path, space=LINE, directions=("maximize",))


def after(folder, metrics, space=LINE):
    """A study that follows a metric, begun or gone on with."""
    how = (sampler("random", {}, space), pruner("median", {}))
    return Study.open(open_storage(folder / "study.log"), "search", space, *how, ["minimize"], 1, metrics)


def test_another_metric_is_refused_where_one_was_told(tmp_path):
    study = after(tmp_path, ["los"])
    study.tell(study.ask().trial, None, "failed")
    study = after(tmp_path, ["loss"])  # the first was misspelt, so that nothing came of it
    study.tell(study.ask().trial, [1.0], "complete")
    wider = space_of(continuous("x", 0.0, 2.0))
    after(tmp_path, ["loss"], wider)
    for metrics, said in ((["size"], "size"), ([], "null"), (["los"], "los")):
        with pytest.raises(SettingsError) as caught:
            after(tmp_path, metrics, wider)
        assert str(caught.value) == (
            f"The search was begun with metric loss, and now is to follow {said}. Set hydra.sweeper.metric back, or "
            "begin a new sweep."
        )
    assert after(tmp_path, ["loss"], wider).distinct() == 2


def test_another_metric_is_refused_where_one_was_reported(tmp_path):
    study = after(tmp_path, [])
    study.report(study.ask().trial, 0, 0.5)
    with pytest.raises(SettingsError, match="begun with metric null, and now is to follow size"):
        after(tmp_path, ["size"])


def test_a_study_that_names_no_metric_yet_takes_the_one_of_now(tmp_path):
    study = after(tmp_path, [])
    study.tell(study.ask().trial, [1.0], "complete")
    lines = (tmp_path / "study.log").read_text().splitlines()
    kept = [line for line in lines if "metrics" not in line]
    assert len(kept) == len(lines) - 1
    (tmp_path / "study.log").write_text("\n".join([*kept, ""]))
    after(tmp_path, ["loss"])
    with pytest.raises(SettingsError, match="begun with metric loss"):
        after(tmp_path, ["size"])


def test_another_sampler_takes_over(tmp_path):
    told_all(opened(tmp_path, "random"), 6)
    for name in ("cmaes", "tpe", "qmc", "nsga"):
        study = opened(tmp_path, name)
        known = study.distinct()
        told_all(study, 3)
        assert study.distinct() == known + 3


def test_a_database_keeps_a_study_as_the_log_does(tmp_path):
    script = list(events(20))
    url = f"sqlite:///{tmp_path}/study.db"
    in_log, in_database = [], []
    happen(opened(tmp_path, "tpe"), script, in_log)
    happen(opened(tmp_path, "tpe", storage=url), script[:9], in_database)
    # An ask that was cut in the middle: a database writes each of its parts.
    optuna.load_study(study_name="search", storage=url).ask().suggest_categorical("booster", ["dart", "tree"])
    again = opened(tmp_path, "tpe", storage=url)
    assert [one.values for one in in_database] == [one.values for one in in_log[: len(in_database)]]
    assert len(again.running()) == sum(1 if what == "ask" else -1 for what, _ in script[:9])
    happen(again, script[9:], in_database)
    assert len({point_of(one.values) for one in in_database}) == len(in_log)
    cut = [one for one in plain(tmp_path, url).trials if len(one.params) == 1]
    assert [one.state for one in cut] == [TrialState.FAIL]


def test_studies_of_several_spaces_share_a_log(tmp_path):
    storage = open_storage(tmp_path / "study.log")
    none = pruner("none", {})
    one, two = (
        Study.open(storage, name, space, sampler("tpe", {}, space), none, ["minimize"], 1)
        for name, space in (("model=a", LINE), ("model=b", NINE))
    )
    for _ in range(4):
        for study in (one, two):
            proposal = study.ask()
            study.tell(proposal.trial, [1.0], "complete")
    assert (one.distinct(), two.distinct()) == (4, 4)
    assert set(optuna.get_all_study_names(open_storage(tmp_path / "study.log").optuna)) == {"model=a", "model=b"}


def test_optuna_says_nothing(tmp_path, capfd, recwarn):
    for name in SAMPLERS:
        study = opened(tmp_path / name, name, PLANE if name == "gp" else MIXED, prune="hyperband")
        happen(study, list(events(9)), [])
        study.report(study.ask().trial, 0, math.nan)
        told_all(study, 2)
    assert capfd.readouterr() == ("", "")
    assert recwarn.list == []
