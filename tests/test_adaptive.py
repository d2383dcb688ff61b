"""Searches of an app that knows nothing of sweeproute, in real processes: steered by results, killed, gone on with."""

import json
import re
import signal
from collections import Counter
from pathlib import Path

import optuna
import pytest
import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig

from app_folder import AppFolder
from processes import until
from small_app import sweep_here

APP = '''
import time
from pathlib import Path

import hydra


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    """Be the better the nearer x is to a half."""
    with open("ran.txt", "a") as ran:
        ran.write(f"{cfg.kind} {cfg.x} {cfg.y} {cfg.seed}\\n")
    while cfg.held and not Path("go").exists():
        time.sleep(0.02)
    if cfg.y == "bad":
        raise ValueError("y is bad")
    loss = (cfg.x - 0.5) ** 2 + 0.01 * cfg.seed
    return {"loss": loss, "size": cfg.x, "kind": cfg.kind} if cfg.named else loss


if __name__ == "__main__":
    main()
'''

CONF = """
defaults:
  - kind: light
  - override hydra/launcher: ours
  - override hydra/sweeper: search
  - _self_
x: 0.0
y: good
seed: 0
held: false
named: true
axes: {x: {low: 0.0, high: 1.0}}
hydra:
  sweep: {dir: out, subdir: "${hydra.job.num}"}
  sweeper: {sampler: tpe, metric: loss, n_trials: 8, space: axes, repeats: [seed]}
"""
LAUNCHER = """
defaults: [routed]
platforms:
  here: {max_concurrent_jobs: 1, specs: {memory_gb: 4}}
fields: {kind: kind}
"""
EMPTY = "# @package _global_\nkind: {}\n"


FILES = {
    "config.yaml": CONF,
    "hydra/launcher/ours.yaml": LAUNCHER,
    **{f"kind/{kind}.yaml": EMPTY.format(kind) for kind in ("light", "heavy")},
}
# A second worker imports all that the first one did; where nothing is said of two jobs at once, one is enough.
TWO_SLOTS = "hydra.launcher.platforms.here.max_concurrent_jobs=2"


class App(AppFolder):
    """The app of this file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, APP, FILES)

    def ran(self) -> list[str]:
        path = self.folder / "ran.txt"
        return path.read_text().splitlines() if path.exists() else []

    def launches(self, folder: str = "out") -> list[dict[str, object]]:
        paths = (self.folder / folder).rglob("launch.json")
        return sorted((json.loads(path.read_text()) for path in paths), key=lambda one: (one["job"], one["attempt"]))

    def study(self, name: str = "search", folder: str = "out") -> optuna.Study:
        """The study, as whoever knows plain Optuna opens it."""
        log = self.folder / folder / ".sweeproute" / "study.log"
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(log)))
        return optuna.load_study(study_name=name, storage=storage)


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path)


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "qmc", "nsga"])
def test_a_search_runs_as_many_points_as_it_is_to(app: App, sampler: str):
    app.sweep(f"hydra.sweeper.sampler={sampler}", "hydra.sweeper.seed=3", TWO_SLOTS)
    assert len(app.ran()) == len(set(app.ran())) == 8
    assert [one["state"] for one in app.launches()] == ["FINISHED"] * 8
    assert app.record()["total"] == 8
    study = app.study()
    assert [one.state.name for one in study.trials] == ["COMPLETE"] * 8
    told = {f"x={one.params['x']!r}": one.value for one in study.trials}
    assert told == {one["overrides"][0]: one["value"]["loss"] for one in app.launches()}


def test_the_same_seed_proposes_the_same_points_and_another_one_others(app: App):
    words = ("hydra.sweeper.sampler=random", "hydra.sweeper.n_trials=4")
    for folder, seed in (("one", 5), ("two", 5), ("three", 6)):
        app.sweep(*words, f"hydra.sweeper.seed={seed}", f"hydra.sweep.dir={folder}")
    points = {name: {one["overrides"][0] for one in app.launches(name)} for name in ("one", "two", "three")}
    assert points["one"] == points["two"]
    assert not points["one"] & points["three"]


def test_a_study_for_each_choice_of_groups_in_one_sweep(app: App):
    app.sweep("kind=light,heavy", "hydra.sweeper.n_trials=6")
    assert Counter(line.split()[0] for line in app.ran()) == {"light": 3, "heavy": 3}
    for kind in ("light", "heavy"):
        assert len(app.study(f"kind={kind}").trials) == 3


def test_a_killed_search_goes_on_towards_the_same_number_and_tells_nothing_twice(app: App):
    words = ("hydra.sweeper.n_trials=6", "held=true", TWO_SLOTS)
    process = app.start(*words)
    until(lambda: len(app.ran()) == 2, "two jobs to run")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    first = app.ran()
    (app.folder / "go").touch()
    app.sweep(*words, "hydra.sweeper.resume=true")
    # What ran when it was killed is run again, under its own number; nothing else is.
    assert Counter(Counter(app.ran()).values()) == {2: 2, 1: 4}
    assert set(first) == {line for line, times in Counter(app.ran()).items() if times == 2}
    current = [one for one in app.launches() if one["current"]]
    assert [one["job"] for one in current] == list(range(6))
    assert [one.state.name for one in app.study().trials] == ["COMPLETE"] * 6
    said = app.sweep(*words, "hydra.sweep.dir=out", "hydra.sweeper.resume=true")
    assert len(app.ran()) == 8, said
    assert "Nothing is left to run: 6 points are done, n_trials is 6." in said


def test_two_platforms_that_are_one_machine_have_their_slots_beside_each_other(app: App):
    there = "+hydra.launcher.platforms.there={max_concurrent_jobs:1,backend:joblib}"
    process = app.start("hydra.sweeper.n_trials=2", "held=true", there, "hydra.launcher.overflow=always")
    until(lambda: len(app.ran()) == 2, "two jobs to run")
    (app.folder / "go").touch()
    assert process.wait(60) == 0
    assert {one["platform"] for one in app.launches()} == {"here", "there"}


def test_a_longer_search_goes_on_where_a_shorter_one_ended(app: App):
    app.sweep("hydra.sweeper.n_trials=3")
    app.sweep("hydra.sweeper.n_trials=5", "hydra.sweeper.resume=true", "hydra.sweep.dir=out")
    assert len(app.ran()) == 5
    assert len(app.study().trials) == 5
    assert app.record()["total"] == 5


def test_a_wider_space_is_said_and_a_narrower_one_refused(app: App):
    app.sweep("x=interval(0.2,0.8)", "hydra.sweeper.n_trials=3")
    resumed = ("hydra.sweeper.n_trials=4", "hydra.sweeper.resume=true", "hydra.sweep.dir=out")
    said = app.sweep("x=interval(0.3,0.8)", *resumed, code=1)
    assert "Traceback" not in said
    assert "x was {low: 0.2, high: 0.8}, is {low: 0.3, high: 0.8}" in said
    assert len(app.ran()) == 3
    said = app.sweep("x=interval(0.1,0.8)", *resumed)
    assert "x was {low: 0.2, high: 0.8}, is {low: 0.1, high: 0.8}" in said
    assert len(app.study().trials) == 4


def test_each_point_is_run_under_each_seed_and_the_study_hears_their_mean(app: App):
    app.sweep("seed=0,1,2", "hydra.sweeper.n_trials=2")
    assert Counter(line.split()[3] for line in app.ran()) == {"0": 2, "1": 2, "2": 2}
    for trial in app.study().trials:
        assert trial.value == pytest.approx((trial.params["x"] - 0.5) ** 2 + 0.01)
    assert app.record()["repeats"] == ["seed"]


def test_several_objectives(app: App):
    app.sweep("hydra.sweeper.metric=[loss,size]", "hydra.sweeper.direction=[minimize,maximize]")
    assert app.record()["direction"] == ["minimize", "maximize"]
    assert all(len(one.values) == 2 for one in app.study().trials)


def test_a_number_alone_steers_it_too(app: App):
    app.sweep(
        "named=false", "hydra.sweeper.metric=null", "hydra.sweeper.direction=minimize", "hydra.sweeper.n_trials=3"
    )
    assert sorted(one.value for one in app.study().trials) == sorted(one["value"] for one in app.launches())


def test_what_fails_is_no_result_and_the_search_goes_on(app: App):
    said = app.sweep("y=good,bad", "x=0.1,0.2,0.3", "hydra.sweeper.n_trials=6", code=1)
    assert "3 of 6 jobs failed:" in said
    assert "y is bad" in said
    ran = [one.state.name for one in app.study().trials if "copy_of" not in one.user_attrs]
    assert Counter(ran) == {"COMPLETE": 3, "FAIL": 3}


def test_what_failed_is_tried_again_on_resume_under_its_own_number(app: App):
    words = ("y=good,bad", "x=0.1,0.2", "hydra.sweeper.n_trials=4")
    app.sweep(*words, code=1)
    failed = {one["job"] for one in app.launches() if one["state"] == "FAILED"}
    assert len(failed) == 2
    (app.folder / "app.py").write_text(APP.replace('cfg.y == "bad"', "False"))
    app.sweep(*words, "hydra.sweeper.resume=keep")
    assert len(app.ran()) == 6
    assert {one["job"] for one in app.launches() if one["attempt"] == 2} == failed
    assert app.record()["total"] == 4
    app.sweep(*words, "hydra.sweeper.resume=keep", "hydra.sweep.dir=out")
    assert len(app.ran()) == 6


def test_a_space_that_is_smaller_than_the_budget_ends_the_search_and_it_says_so(app: App):
    said = app.sweep("x=0.1,0.2", "hydra.sweeper.n_trials=50")
    assert "There are 2 points to search, fewer than n_trials=50: the search ends with them." in said
    assert sorted(line.split()[1] for line in app.ran()) == ["0.1", "0.2"]


def test_it_begins_with_the_points_that_it_is_given(app: App):
    app.sweep("hydra.sweeper.n_trials=3", "hydra.sweeper.enqueue=[{x:0.25},defaults]")
    assert [line.split()[1] for line in app.ran()][:2] == ["0.25", "0.0"]
    (app.folder / "ran.txt").unlink()
    app.sweep("hydra.sweeper.n_trials=1", "hydra.sweeper.enqueue=[best:last]", "hydra.sweep.dir=next")
    best = min(app.launches(), key=lambda one: one["value"]["loss"])
    assert app.ran()[0].split()[1] == best["overrides"][0].partition("=")[2]


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_launcher_that_takes_batches_serves_a_search(app: App, launcher: str):
    app.sweep(f"hydra/launcher={launcher}")
    assert len(set(app.ran())) == 8
    assert [one.state.name for one in app.study().trials] == ["COMPLETE"] * 8


def test_the_time_for_new_points_can_be_limited(app: App):
    app.sweep("hydra.sweeper.n_trials=null", "hydra.sweeper.timeout_min=0.05")
    assert app.ran()
    assert app.record()["total"] == len(app.ran())
    assert app.record()["state"] == "FINISHED"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["hydra.sweeper.sampler=tpee"], "hydra.sweeper.sampler is 'tpee'. Allowed: tpe, "),
        (["hydra.sweeper.sampler_options={n_start:3}"], "hydra.sweeper.sampler_options has 'n_start'"),
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials is 0. It takes 1 or more."),
        (["hydra.sweeper.n_trials=null"], "hydra.sweeper.sampler=tpe would never end"),
        (["hydra.sweeper.timeout_min=-1"], "hydra.sweeper.timeout_min is -1."),
        (["hydra.sweeper.ask_ahead=-2"], "hydra.sweeper.ask_ahead is -2. It takes 0 or more."),
        (["hydra.sweeper.direction=up"], "hydra.sweeper.direction is 'up'. Allowed: "),
        (["hydra.sweeper.metric=fun"], "Whether more or less fun is better is not known."),
        (["hydra.sweeper.metric=[loss,loss]"], "hydra.sweeper.metric names one twice: loss, loss."),
        (
            ["hydra.sweeper.metric=[loss,size]", "hydra.sweeper.direction=[minimize]"],
            "hydra.sweeper.direction has 1 and hydra.sweeper.metric 2",
        ),
        (
            [
                "hydra.sweeper.metric=[loss,size]",
                "hydra.sweeper.direction=[minimize,maximize]",
                "hydra.sweeper.pruner=median",
            ],
            "hydra.sweeper.pruner is 'median', and there are 2 objectives",
        ),
        (["hydra.sweeper.pruner=median", "seed=1,2"], "each point is run under several values of seed"),
        (["hydra.sweeper.sampler=grid", "x=1,2"], "hydra.sweeper.n_trials is set, and a grid runs each of its points."),
        (["hydra.sweeper.pruner=median", "hydra/launcher=basic"], "BasicLauncher tells nothing of jobs that run"),
        (["hydra.launcher.dry_run=true"], "hydra.launcher.dry_run takes a sweep of which each point is known"),
        (["hydra.sweeper.enqueue=[{z:1}]"], "hydra.sweeper.enqueue has 'z'"),
        (["hydra.sweeper.enqueue=[{x:7}]"], "hydra.sweeper.enqueue has x=7. Allowed: "),
        (["hydra.sweeper.enqueue=[worst]"], "hydra.sweeper.enqueue has 'worst'. Allowed: defaults, best:SWEEP"),
        (
            ["hydra.sweeper.enqueue=[best:sweep_9]"],
            "hydra.sweeper.enqueue has best:sweep_9, and there is no such sweep.",
        ),
        (["+z=interval(0,1)", "x=interval(1,0)"], "x"),
    ],
)
def test_a_mistake_is_said_in_a_sentence_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hydra_restore_singletons: None, words: list[str], says: str
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    ran = []

    def main(cfg: DictConfig) -> float:
        ran.append(cfg)
        return 0.0

    # What Hydra prints of these is their text, without a traceback; the real processes below are seen to do so.
    with pytest.raises(HydraException, match=re.escape(says)):
        sweep_here(tmp_path, FILES, main, words)
    assert ran == []
    assert not (tmp_path / "out" / ".sweeproute" / "study.log").exists()


def test_a_metric_that_the_task_does_not_return_ends_it_with_the_nearest(app: App):
    said = app.sweep("hydra.sweeper.metric=los", "hydra.sweeper.direction=minimize", code=1)
    assert "hydra.sweeper.metric is 'los', and the task returned none. It returned, nearest match first: loss" in said
    assert "Traceback" not in said


def test_another_start_in_the_same_folder_begins_anew(app: App):
    for _ in range(2):
        app.sweep("hydra.sweeper.n_trials=3")
    assert len(app.ran()) == 6
    assert len(app.study().trials) == 3


def test_a_repeat_that_failed_is_run_again_though_the_study_has_a_mean(app: App):
    (app.folder / "app.py").write_text(APP.replace('cfg.y == "bad"', "cfg.seed == 1"))
    app.sweep("seed=0,1", "hydra.sweeper.n_trials=2", code=1)
    (app.folder / "app.py").write_text(APP)
    app.sweep("seed=0,1", "hydra.sweeper.n_trials=2", "hydra.sweeper.resume=keep")
    assert Counter(line.split()[3] for line in app.ran()) == {"0": 2, "1": 4}
    assert (app.record()["state"], app.record()["total"]) == ("FINISHED", 4)


def test_models_take_turns_where_time_is_what_ends_it(app: App):
    app.sweep("kind=light,heavy", "hydra.sweeper.n_trials=8")
    kinds = [line.split()[0] for line in app.ran()]
    assert all(abs(kinds[:end].count("light") - kinds[:end].count("heavy")) <= 1 for end in range(1, 9))


def test_a_rerun_leaves_no_earlier_result_that_counts(app: App):
    app.sweep("hydra.sweeper.n_trials=3")
    app.sweep("hydra.sweeper.n_trials=2", "hydra.sweeper.seed=9", "hydra.sweeper.resume=rerun", "hydra.sweep.dir=out")
    assert sum(bool(one["current"]) for one in app.launches()) == 2
    assert app.record()["state"] == "FINISHED"


def test_another_choice_of_models_is_another_search(app: App):
    app.sweep("hydra.sweeper.n_trials=2")
    said = app.sweep("kind=light,heavy", "hydra.sweeper.resume=true", "hydra.sweep.dir=out", code=1)
    assert "was begun over search, and now is to search kind=heavy, kind=light" in said


def test_a_longer_search_is_found_by_what_it_searches(app: App):
    process = app.start("hydra.sweeper.n_trials=3", "held=true", TWO_SLOTS)
    until(lambda: len(app.ran()) == 2, "two jobs to run")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (app.folder / "go").touch()
    app.sweep("hydra.sweeper.n_trials=5", "held=true", TWO_SLOTS, "hydra.sweeper.resume=true")
    assert len({line.split()[1] for line in app.ran()}) == 5


def test_a_value_that_cannot_be_kept_ends_it_with_a_sentence(app: App):
    (app.folder / "app.py").write_text(APP.replace('"size": cfg.x', '"size": object()'))
    said = app.sweep("hydra.sweeper.n_trials=3", code=1)
    assert "A search is steered by what the task returns." in said
    assert "Return numbers, strings, lists or mappings" in said
    assert "Traceback" not in said


def test_the_home_settings_name_a_space_its_constraints_and_the_repeats():
    home = yaml.safe_load((Path(__file__).parents[1] / "conf" / "hydra" / "sweeper" / "home.yaml").read_text())
    assert (home["space"], home["constraints"], home["repeats"]) == (
        "search_space.axes",
        "search_space.constraints",
        ["seed"],
    )
