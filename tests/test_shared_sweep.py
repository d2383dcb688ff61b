"""Sweeps of an app that is not ours whose tasks answer for other points, here and on another machine."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from disturbed_sweep import counts
from far_app import FarApp, wait_until
from hydra_plugins.sweeproute._records import read_lines
from workstation import Workstation

# Of the standard library alone: all that a task has to know is what it finds in its folder.
APP = '''
import json
import os
import signal
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig


def train(n, x):
    """One state for each round."""
    return [10 * x + round for round in range(1, n + 1)]


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    """Answer for all that is asked for, or do to this process what the config says."""
    out, at = Path(HydraConfig.get().runtime.output_dir), Path(cfg.at)
    with (at / "executions").open("a") as stream:
        stream.write(f"{cfg.n} {cfg.x}\\n")
    first = at / f"first-{cfg.n}-{cfg.x}"
    again = first.exists()
    first.touch()
    rounds = train(cfg.n, cfg.x)
    while cfg.n in cfg.wait and not (at / "go").exists():
        time.sleep(0.02)
    offered = json.loads((out / "prefix.json").read_text()) if (out / "prefix.json").exists() else {"points": []}
    for position, point in enumerate(offered["points"]):
        if cfg.n in cfg.keeps:
            break
        folder = out / point["folder"]
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "rounds").write_text(str(rounds[: point["value"]]))
        if cfg.n in cfg.dies and not again:
            os.kill(os.getpid(), signal.SIGKILL)
        (folder / "value.json").write_text(json.dumps({"last": rounds[point["value"] - 1]}))
    if cfg.n in cfg.raises:
        raise ValueError(f"{cfg.n} is unlucky")
    if cfg.n in cfg.prunes:
        return {"status": "pruned", "reason": "it has no prospects", "last": 0}
    (out / "deep").mkdir()
    (out / "deep" / "rounds").write_text(str(rounds))
    return {"last": rounds[-1]}


if __name__ == "__main__":
    main()
'''


class SharedApp(FarApp):
    """The app; `n` is the axis along which a fit holds shorter ones."""

    def __init__(self, folder: Path, **more: Any) -> None:
        super().__init__(folder, **more)
        (self.folder / "app.py").write_text(APP)
        config = self.folder / "conf" / "config.yaml"
        text = config.read_text().replace(
            "x: 0\n", "x: 0\nn: 1\nprefix: {key: n, when: {mode: null}}\nmode: null\nkeeps: []\nprunes: []\n"
        )
        config.write_text(text.replace("hydra:\n", "hydra:\n  sweeper: {prefix: prefix}\n", 1))

    def ran(self) -> list[str]:
        """`n x` of each execution, sorted."""
        path = self.at / "executions"
        return sorted(path.read_text().splitlines()) if path.exists() else []

    def assert_done(self, points: int) -> None:
        """Each point has one record that counts, its own files, the value of its own task."""
        records = [record for record in self.launches() if record["current"]]
        assert len(records) == points
        for record in records:
            n, x = (next(int(o[2:]) for o in record["overrides"] if o.startswith(f"{key}=")) for key in "nx")
            assert record["state"] == "FINISHED"
            assert record["value"] == {"last": 10 * x + n}
            attempt = "" if record["attempt"] == 1 else f".attempt{record['attempt']}"
            folder = self.folder / "out" / f"{record['job']}{attempt}"
            assert (folder / "deep" / "rounds").read_text() == str([10 * x + one for one in range(1, n + 1)])
            assert f"- n={n}" in (folder / ".hydra" / "overrides.yaml").read_text()
            assert yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())["n"] == n
            assert not (folder / "prefix").exists()
        listed = list(read_lines(self.folder / "out" / ".sweeproute" / "jobs.jsonl"))
        assert sorted({line["job"] for line in listed}) == [record["job"] for record in records]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[SharedApp]:
    app = SharedApp(tmp_path)
    yield app
    app.close()


GRID = ("n=1,3,5", "x=1,2", "hydra.launcher.platforms.here.max_concurrent_jobs=2")
MACHINES = pytest.mark.parametrize("kind", ["light", "heavy"])


@MACHINES
def test_one_fit_serves_all_and_each_point_is_a_job_of_its_own(app: SharedApp, kind: str) -> None:
    output = app.sweep(f"kind={kind}", *GRID)
    assert app.ran() == ["5 1", "5 2"]
    app.assert_done(6)
    platform = {"light": "here", "heavy": "box"}[kind]
    assert {record["platform"] for record in app.launches()} == {platform}
    reason = {"light": "starts at once", "heavy": "needs the box"}[kind]
    assert [record["reason"] for record in app.launches()] == [
        f"{reason}; shared the fit of job 4", f"{reason}; shared the fit of job 5",
        f"{reason}; shared the fit of job 4", f"{reason}; shared the fit of job 5", reason, reason,
    ]  # fmt: skip
    assert "6 of 6 done" in output
    assert f"{platform}: 6 done" in output
    # What was learned of durations is of the fits that were run, at their full length.
    history = list(read_lines(app.state / "history.jsonl"))
    assert all("n=5" in line["overrides"] for line in history)
    for x, line in zip(("x=1", "x=2"), sorted(history, key=lambda line: "x=2" in line["overrides"]), strict=True):
        mine = [record["run_s"] for record in app.launches() if x in record["overrides"]]
        assert sum(mine) == pytest.approx(line["seconds"])
        assert mine == pytest.approx([line["seconds"] * n / 9 for n in (1, 3, 5)])
    app.sweep(f"kind={kind}", *GRID, "hydra.sweeper.resume=true")
    assert len(app.ran()) == 2


def test_it_can_be_turned_off_by_the_sweeper_and_by_what_the_app_declares(app: SharedApp) -> None:
    app.sweep(*GRID, "hydra.sweeper.prefix=null")
    assert len(app.ran()) == 6
    app.sweep(*GRID, "mode=other", "hydra.sweep.dir=other")
    assert len(app.ran()) == 12


@MACHINES
def test_a_job_that_is_killed_is_tried_again_and_then_answers_for_all(app: SharedApp, kind: str) -> None:
    app.sweep(f"kind={kind}", "n=1,3,5", "x=1", "dies=[5]")
    assert app.ran() == ["5 1", "5 1"]
    app.assert_done(3)
    assert app.launch(2)["attempt"] == 2


def test_where_a_job_fails_the_others_run_by_themselves(app: SharedApp) -> None:
    output = app.sweep(*GRID, "raises=[5]", code=1)
    assert app.ran() == [f"{n} {x}" for n in (1, 3, 5) for x in (1, 2)]
    assert [record["state"] for record in app.launches()] == ["FINISHED"] * 4 + ["FAILED"] * 2
    assert "2 of 6 jobs failed" in output


def test_where_a_job_is_pruned_the_others_run_by_themselves(app: SharedApp) -> None:
    app.sweep(*GRID, "prunes=[5]")
    assert app.ran() == [f"{n} {x}" for n in (1, 3, 5) for x in (1, 2)]
    assert [record["state"] for record in app.launches()] == ["FINISHED"] * 4 + ["PRUNED"] * 2


def test_a_task_that_answers_for_none_costs_nothing_but_the_order(app: SharedApp) -> None:
    app.sweep(*GRID, "keeps=[5]")
    assert app.ran() == [f"{n} {x}" for n in (1, 3, 5) for x in (1, 2)]
    app.assert_done(6)
    assert not list((app.folder / "out").glob("*/prefix.json"))


def test_a_sweep_whose_coordinator_was_killed_goes_on(app: SharedApp) -> None:
    words = [*GRID, "wait=[5]"]
    process = app.start(*words)
    wait_until(lambda: len(app.ran()) == 2, "both jobs to run")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    app.go()
    app.sweep(*words, "hydra.sweeper.resume=true")
    assert app.ran() == ["5 1", "5 1", "5 2", "5 2"]
    app.assert_done(6)


def test_a_far_job_that_outlived_its_coordinator_still_answers_for_all(app: SharedApp) -> None:
    words = ["kind=heavy", *GRID, "wait=[5]"]
    process = app.start(*words)
    wait_until(lambda: len(app.ran()) == 2, "both jobs to run")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    app.go()
    app.sweep(*words, "hydra.sweeper.resume=true")
    assert app.ran() == ["5 1", "5 2"]
    app.assert_done(6)


def test_a_far_job_answers_although_the_axis_has_been_widened_since(app: SharedApp) -> None:
    process = app.start("kind=heavy", "n=1,3,5", "x=1", "wait=[5]")
    wait_until(lambda: len(app.ran()) == 1, "the job to run")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    app.go()
    app.sweep("kind=heavy", "n=1,3,5,8", "x=1", "wait=[5]", "hydra.sweeper.resume=true")
    assert app.ran() == ["5 1", "8 1"]
    app.assert_done(4)


RESUMED = {
    "the longest is done": ("n=5", "n=1,3,5", ["3 1", "5 1"]),
    "the shorter ones are done": ("n=1,3", "n=1,3,5", ["3 1", "5 1"]),
    "a longer one was added": ("n=1,3,5", "n=1,3,5,8", ["5 1", "8 1"]),
    "shorter ones were added": ("n=1,5", "n=1,2,4,5", ["4 1", "5 1"]),
    "all is to run again": ("n=1,5", "n=1,5 hydra.sweeper.resume=rerun", ["5 1", "5 1"]),
}


@pytest.mark.parametrize(("before", "after", "ran"), RESUMED.values(), ids=RESUMED.keys())
def test_what_is_done_is_kept_and_the_rest_is_shared(app: SharedApp, before: str, after: str, ran: list[str]) -> None:
    app.sweep(before, "x=1")
    axis, *words = after.split()
    app.sweep(axis, "x=1", *(words or ["hydra.sweeper.resume=true"]))
    assert app.ran() == ran
    app.assert_done(axis.count(",") + 1)


def test_a_plan_counts_points_and_times_fits_and_runs_as_planned(app: SharedApp) -> None:
    output = app.sweep(*GRID, "hydra.launcher.dry_run=true")
    assert "Plan of 6 jobs, of which 4 share the fit of another; nothing runs." in output
    plan = json.loads((app.folder / "out" / "plan.json").read_text())
    assert plan["total_configs"] == 6
    assert [job["shared_fit"] for job in plan["jobs"]] == [4, 5, 4, 5, None, None]
    assert plan["sequential_duration_minutes"] == pytest.approx(2 * plan["jobs"][4]["estimated_minutes"])
    assert app.ran() == []
    app.sweep(*GRID, "hydra.launcher.plan=out/plan.json", "hydra.sweep.dir=out")
    assert app.ran() == ["5 1", "5 2"]
    app.assert_done(6)


def test_a_sampler_shares_nothing(app: SharedApp) -> None:
    words = ["hydra.sweeper.sampler=random", "hydra.sweeper.n_trials=4", "hydra.sweeper.metric=last"]
    app.sweep(*words, "n=1,3", "x=1,2", "hydra.sweeper.direction=maximize")
    assert len(app.ran()) == 4


def test_a_real_machine_answers_for_all(workstation: Workstation, tmp_path: Path) -> None:
    with counts(workstation) as at:
        app = SharedApp(
            tmp_path, python=workstation.python, ssh_config=workstation.ssh_config, host=workstation.host, at=at
        )
        app.sweep("kind=heavy", *GRID)
        app.assert_done(6)
        assert sum("shared_fit" not in record for record in app.launches()) == 2
        assert {record["platform"] for record in app.launches()} == {"box"}
