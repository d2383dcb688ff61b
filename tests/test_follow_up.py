"""When a sweep has ended well its results are asked for further jobs, which run once and decide nothing."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from app_folder import AppFolder
from far_app import wait_until

APP = '''
from pathlib import Path

import hydra


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    """Be the better the nearer x is to a half; afterwards, say something better still."""
    with open("ran.txt", "a") as ran:
        ran.write(f"{cfg.x} {cfg.after}\\n")
    if cfg.after and Path("hold").exists():
        Path("hold").read_text()  # a pipe, to which nobody ever writes
    if (cfg.x == 9 or cfg.after) and Path("fail").exists():
        raise ValueError("so it is")
    return {"loss": -1.0 if cfg.after else (cfg.x - 0.5) ** 2}


if __name__ == "__main__":
    main()
'''
HOOK = '''
import os


def best(results, rule, cfg):
    """One more job for the best, and one for the worst."""
    assert (rule["metric"], rule["direction"], rule["repeats"]) == ("loss", "minimize", [])
    assert rule["failed"] is any(one["state"] == "FAILED" for one in results)
    if rule["failed"]:
        return [["after=true"]]  # which is not listened to
    assert cfg.after is False and "hydra" not in cfg
    ranked = sorted(results, key=lambda one: one["value"]["loss"])
    assert all(one["state"] == "FINISHED" for one in results)
    return [[*one["overrides"], "after=true"] for one in (ranked[0], ranked[-1])]


def twice(results, rule, cfg):
    """First one more job for the best, and when that has ended one for the worst."""
    ranked = sorted(results, key=lambda one: one["value"]["loss"])
    wanted = [[*one["overrides"], "after=true"] for one in (ranked[0], ranked[-1])]
    assert all(one["state"] == "FINISHED" and one["follow_up"] for one in rule["followed"])
    return wanted if any(one["overrides"] == wanted[0] for one in rule["followed"]) else wanted[:1]


def held(results, rule, cfg):
    """The same, with a pipe in the way of the second."""
    wanted = twice(results, rule, cfg)
    if len(wanted) == 2 and not os.path.exists("hold"):
        os.mkfifo("hold")
    return wanted


def none(results, rule, cfg):
    return []


def wrong(results, rule, cfg):
    return ["after=true"]


def refuses(results, rule, cfg):
    raise RuntimeError("not today")


def admit(cfg, rule):
    if cfg.x > 5:
        raise RuntimeError("not with that")
    with open("admitted.txt", "a") as told:
        told.write(f"{rule['sweep']} {rule['resumed']}\\n")
'''
CONF = """
defaults:
  - override hydra/launcher: ours
  - override hydra/sweeper: search
  - _self_
x: 0.0
after: false
axes: {x: {low: 0.0, high: 1.0}}
hydra:
  sweep: {dir: out, subdir: "${hydra.job.num}"}
  sweeper: {metric: loss}
"""
LAUNCHER = """
defaults: [routed]
platforms:
  here: {max_concurrent_jobs: 2, specs: {memory_gb: 4}}
follow_up: further.best
"""
GRID = ("x=0.1,0.4,0.9",)


class App(AppFolder):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, APP, {"config.yaml": CONF, "hydra/launcher/ours.yaml": LAUNCHER})
        (folder / "further.py").write_text(HOOK)
        self.environment |= {"PYTHONPATH": f"{folder}:{self.environment.get('PYTHONPATH', '')}"}

    def ran(self) -> list[str]:
        path = self.folder / "ran.txt"
        return sorted(path.read_text().splitlines()) if path.exists() else []

    def launches(self) -> dict[int, dict]:
        paths = (self.folder / "out").rglob("launch.json")
        found = [json.loads(path.read_text()) for path in paths]
        return {one["job"]: one for one in sorted(found, key=lambda one: one["attempt"])}


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path)


AFTER = ["0.1 False", "0.4 False", "0.4 True", "0.9 False", "0.9 True"]


def test_what_the_results_call_for_runs_behind_the_others_and_is_on_record(app: App):
    said = app.sweep(*GRID)
    assert "2 further jobs by further.best:" in said
    assert app.ran() == AFTER
    launches = app.launches()
    assert {number: one.get("follow_up") for number, one in launches.items()} == {
        **dict.fromkeys((0, 1, 2)),
        **dict.fromkeys((3, 4), True),
    }
    assert launches[3]["overrides"] == ["x=0.4", "after=true"]
    assert (app.record()["total"], app.record()["state"]) == (5, "FINISHED")


def test_it_runs_behind_a_search_by_a_sampler_which_goes_no_further_for_it(app: App):
    app.sweep("hydra.sweeper.sampler=tpe", "hydra.sweeper.n_trials=3", "hydra.sweeper.space=axes")
    assert sum(line.endswith("False") for line in app.ran()) == 3
    assert sum(line.endswith("True") for line in app.ran()) == 2
    words = ("hydra.sweeper.sampler=tpe", "hydra.sweeper.space=axes", "hydra.sweeper.resume=keep")
    app.sweep(*words, "hydra.sweeper.n_trials=4")
    assert sum(line.endswith("False") for line in app.ran()) == 4
    known = [number for number, one in app.launches().items() if one.get("follow_up")]
    assert {3, 4} <= set(known)  # and the new trial has a number of its own
    assert all("after=true" in app.launches()[number]["overrides"] for number in known)


def test_nothing_follows_where_a_job_has_failed_and_all_does_once_it_is_mended(app: App):
    (app.folder / "fail").touch()
    said = app.sweep("x=0.1,0.4,9", code=1)
    assert "further" not in said
    assert all("after" not in line or line.endswith("False") for line in app.ran())
    (app.folder / "fail").unlink()
    app.sweep("x=0.1,0.4,9", "hydra.sweeper.resume=keep")
    assert [line for line in app.ran() if line.endswith("True")] == ["0.4 True", "9 True"]


def test_one_that_fails_fails_the_sweep_and_alone_runs_again(app: App):
    (app.folder / "fail").touch()
    said = app.sweep(*GRID, code=1)
    assert "2 of 5 jobs failed" in said
    (app.folder / "fail").unlink()
    app.sweep(*GRID, "hydra.sweeper.resume=keep")
    ran = app.ran()
    assert [ran.count(line) for line in sorted(set(AFTER))] == [1, 1, 2, 1, 2]
    assert sorted(app.launches()) == [0, 1, 2, 3, 4]


def test_a_sweep_that_was_killed_among_them_goes_on_with_those_that_are_missing(app: App):
    os.mkfifo(app.folder / "hold")
    process = app.start(*GRID)
    wait_until(lambda: len(app.ran()) == 5, "both to run", 120)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (app.folder / "hold").unlink()
    app.sweep(*GRID, "hydra.sweeper.resume=keep")
    assert sorted(app.launches()) == [0, 1, 2, 3, 4]
    assert all(one["state"] == "FINISHED" for one in app.launches().values())
    assert [line for line in app.ran() if line.endswith("False")] == ["0.1 False", "0.4 False", "0.9 False"]
    app.sweep(*GRID, "hydra.sweeper.resume=keep")  # all is done
    assert sum(line.endswith("True") for line in app.ran()) <= 4


@pytest.mark.parametrize(
    ("hook", "sentence"),
    [
        ("further.wrong", r"gave ['after=true']. It gives a list of lists of overrides."),
        ("further.refuses", "not today"),
    ],
)
def test_a_hook_that_answers_wrongly_fails_the_sweep_with_all_results_kept(app: App, hook: str, sentence: str):
    assert sentence in app.sweep(*GRID, f"hydra.launcher.follow_up={hook}", code=1)
    assert {one["state"] for one in app.launches().values()} == {"FINISHED"}


def test_a_hook_that_is_not_there_is_said_before_anything_runs(app: App):
    said = app.sweep(*GRID, "hydra.launcher.follow_up=further.bets", code=1)
    assert "hydra.launcher.follow_up is 'further.bets', which cannot be had" in said
    assert not (app.folder / "ran.txt").exists()


def test_who_may_refuse_a_sweep_is_asked_once_before_it_begins_and_told_when_it_goes_on(app: App):
    admit = "hydra.launcher.admit=further.admit"
    app.sweep(*GRID, admit, "hydra.launcher.dry_run=true", "hydra.sweep.dir=plan")
    assert not (app.folder / "admitted.txt").exists()
    app.sweep(*GRID, admit)
    id = app.record()["id"]
    app.sweep(*GRID, admit, "hydra.sweeper.resume=keep", "hydra.sweeper.id=anew")
    assert (app.folder / "admitted.txt").read_text() == f"{id} False\n{id} True\n"
    said = app.sweep("x=9", admit, "hydra.sweep.dir=other", code=1)
    assert "not with that" in said
    assert not (app.folder / "other" / "0").exists()


def test_no_search_begins_with_what_followed_another_and_nobody_is_told_that_it_was_the_best(app: App):
    note = app.folder / "note.py"
    note.write_text("import sys; open('noted.txt', 'a').write(sys.stdin.read())")
    app.sweep(*GRID, f"hydra.launcher.notify=[{sys.executable},{note}]")
    assert json.loads((app.folder / "noted.txt").read_text())["best_job"] == 1
    words = ("hydra.sweeper.sampler=random", "hydra.sweeper.n_trials=1", "hydra.sweeper.space=axes")
    app.sweep(*words, "hydra.sweeper.enqueue=[best:last]", "hydra.sweep.dir=other", "hydra.launcher.follow_up=null")
    assert (app.folder / "ran.txt").read_text().splitlines()[-1] == "0.4 False"


def test_a_hook_may_want_nothing(app: App):
    assert "further" not in app.sweep(*GRID, "hydra.launcher.follow_up=further.none")
    assert len(app.ran()) == 3


def test_it_is_asked_again_with_what_has_followed_until_it_wants_nothing_more(app: App):
    said = app.sweep(*GRID, "hydra.launcher.follow_up=further.twice")
    assert said.count("1 further job by further.twice:") == 2
    assert app.ran() == ["0.1 False", "0.4 False", "0.4 True", "0.9 False", "0.9 True"]
    launches = app.launches()
    assert launches[4]["overrides"] == ["x=0.9", "after=true"]
    assert launches[4]["started_at"] >= launches[3]["ended_at"]
    assert (app.record()["total"], app.record()["state"]) == (5, "FINISHED")


def test_it_is_not_asked_again_where_one_has_failed_and_all_goes_on_once_it_is_mended(app: App):
    twice = "hydra.launcher.follow_up=further.twice"
    (app.folder / "fail").touch()
    assert "1 of 4 jobs failed" in app.sweep(*GRID, twice, code=1)
    assert sorted(app.launches()) == [0, 1, 2, 3]
    (app.folder / "fail").unlink()
    app.sweep(*GRID, twice, "hydra.sweeper.resume=keep")
    assert [line for line in app.ran() if line.endswith("True")] == ["0.4 True", "0.4 True", "0.9 True"]
    assert sorted(app.launches()) == [0, 1, 2, 3, 4]


def test_a_sweep_that_was_killed_among_the_second_goes_on_with_those_alone(app: App):
    twice = "hydra.launcher.follow_up=further.twice"
    process = app.start(*GRID, "hydra.launcher.follow_up=further.held")
    wait_until(lambda: "0.9 True" in app.ran(), "the second to run", 120)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (app.folder / "hold").unlink()
    app.sweep(*GRID, twice, "hydra.sweeper.resume=keep")
    assert [line for line in app.ran() if line.endswith("True")] == ["0.4 True", "0.9 True", "0.9 True"]
    assert sorted(app.launches()) == [0, 1, 2, 3, 4]
    assert all(one["state"] == "FINISHED" for one in app.launches().values())
