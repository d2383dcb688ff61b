"""Sweeps of an app that knows nothing of sweeproute, in real processes: routed, killed, stopped and gone on with."""

import itertools
import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from app_folder import AppFolder

APP = '''
import os
import signal
import time
from pathlib import Path

import hydra


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    """Do to this process what the config says."""
    with open("ran.txt", "a") as ran:
        ran.write(f"{cfg.x}\\n")
    first = Path(f"first-{cfg.x}")
    again = first.exists()
    first.touch()
    while cfg.x in cfg.wait and not Path("go").exists():
        time.sleep(0.02)
    if cfg.x in cfg.dies and (cfg.always or not again):
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.x in cfg.hungry and not again:
        raise MemoryError("no room")
    if cfg.x in cfg.raises:
        raise ValueError(f"{cfg.x} is unlucky")
    if cfg.x in cfg.odd:
        return object()
    return {"double": cfg.x * 2}


if __name__ == "__main__":
    main()
'''

CONF = """
defaults:
  - override hydra/launcher: routed
  - override hydra/sweeper: search
  - _self_
kind: light
priority: 5
memory: 0.1
x: 0
wait: []
dies: []
always: false
hungry: []
raises: []
odd: []
hydra:
  sweep: {dir: out, subdir: "${hydra.job.num}"}
  launcher:
    overflow: never
    platforms:
      here: {max_concurrent_jobs: 2, specs: {memory_gb: 4}}
      there: {max_concurrent_jobs: 1, backend: joblib, specs: {memory_gb: 2}}
      box: {max_concurrent_jobs: 1, specs: {gpu: true, memory_gb: 64}}
    rules:
      - {kind: light, route_to: here, reason: starts at once}
      - {kind: slow, route_to: there, reason: is in no hurry}
      - {kind: big, route_to: box, reason: needs the GPU}
    fields: {kind: kind, priority: priority, memory_gb: memory}
"""

# Where nothing is said of two jobs at once, a second worker would be started for nothing.
ONE_WORKER = "hydra.launcher.joblib.n_jobs=1"

pytestmark = pytest.mark.spawn


class App(AppFolder):
    """The app of this file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, APP, {"config.yaml": CONF})

    def launches(self, job: int) -> list[dict]:
        """The launch records of a job, by attempt."""
        records = [json.loads(path.read_text()) for path in self.folder.glob(f"out/{job}*/launch.json")]
        return sorted((r for r in records if r["job"] == job), key=lambda r: r["attempt"])

    def launch(self, job: int) -> dict:
        (record,) = self.launches(job)
        return record

    def ran(self) -> Counter:
        path = self.folder / "ran.txt"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def go(self) -> None:
        (self.folder / "go").touch()


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path)


def wait_until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]


def settled(processes: list[psutil.Process]) -> Iterator[psutil.Process]:
    """Those that are still there, but for loky's own bookkeeper, which ends when it notices."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    return (p for p in alive if p.is_running())


def test_each_job_goes_where_its_rule_says_and_the_reason_is_recorded(app: App) -> None:
    app.sweep("kind=light,slow", "x=1")
    light, slow = app.launch(0), app.launch(1)
    assert (light["platform"], light["decision"], light["reason"]) == ("here", "scheduled", "starts at once")
    assert (slow["platform"], slow["decision"], slow["reason"]) == ("there", "scheduled", "is in no hurry")
    for record in (light, slow):
        assert record["state"] == "FINISHED"
        assert record["value"] == {"double": 2}
        assert record["attempt"] == 1
        assert 0 <= record["queue_s"] < 60


def test_what_has_no_host_falls_back_and_says_so_once(app: App) -> None:
    output = app.sweep("kind=big", "x=1,2,3", ONE_WORKER)
    reason = "box has no host configured (set hydra.launcher.platforms.box.host)"
    assert output.count(reason) == 1
    for job in range(3):
        record = app.launch(job)
        assert (record["platform"], record["decision"], record["reason"]) == ("here", "scheduled_fallback", reason)


def test_a_worker_that_is_killed_costs_its_own_job_one_attempt_and_no_other_job_anything(app: App) -> None:
    app.sweep("x=range(8)", "dies=[3]")
    first, second = app.launches(3)
    assert (first["state"], first["error"]["class"], first["current"]) == ("KILLED", "killed", False)
    assert (second["state"], second["current"], second["value"]) == ("FINISHED", True, {"double": 6})
    for job in set(range(8)) - {3}:
        assert app.launch(job)["state"] == "FINISHED"
    assert app.ran() == Counter({str(x): 2 if x == 3 else 1 for x in range(8)})


def test_a_job_that_always_dies_fails_after_its_attempts_and_alone(app: App) -> None:
    output = app.sweep("x=range(4)", "dies=[2]", "always=true", "hydra.launcher.max_attempts=2", code=1)
    tried = app.launches(2)
    # Two attempts on its platform, then as many on the fallback.
    assert [record["platform"] for record in tried] == ["here", "here", "there", "there"]
    assert [record["current"] for record in tried] == [False, False, False, True]
    assert "1 of 4 jobs failed" in output
    assert "SIGKILL" in output


def test_a_job_that_runs_out_of_memory_is_tried_again_where_it_has_more_or_alone(app: App) -> None:
    app.sweep("x=range(4)", "hungry=[1]")
    first, second = app.launches(1)
    assert (first["state"], first["error"]["class"]) == ("FAILED", "out_of_memory")
    assert second["state"] == "FINISHED"
    assert sum(app.ran().values()) == 5


def test_a_job_that_raises_fails_alone_and_the_last_lines_say_why(app: App) -> None:
    output = app.sweep("x=range(5)", "raises=[1,3]", ONE_WORKER, code=1)
    assert "2 of 5 jobs failed" in output
    assert "x=3 raises=[1,3]: 3 is unlucky" in output
    assert "Traceback" not in output
    assert [app.launch(job)["state"] for job in range(5)] == ["FINISHED", "FAILED", "FINISHED", "FAILED", "FINISHED"]
    assert "ValueError: 1 is unlucky" in (app.folder / "out" / "1" / "console.log").read_text()
    assert app.record()["state"] == "FAILED"


def test_a_job_that_raises_is_tried_again_where_that_is_asked_for(app: App) -> None:
    app.sweep("x=1", "raises=[1]", "hydra.launcher.retry_user_errors=true", "hydra.launcher.max_attempts=2", code=1)
    assert len(app.launches(0)) >= 2
    assert app.ran()["1"] == len(app.launches(0))


def test_a_value_that_json_cannot_hold_leaves_the_job_finished(app: App) -> None:
    app.sweep("x=0,1", "odd=[1]", ONE_WORKER)
    record = app.launch(1)
    assert record["state"] == "FINISHED"
    assert record["unfit"] == "an object of type object"


def test_a_job_starts_when_a_slot_frees_not_when_a_batch_ends(app: App) -> None:
    process = app.start("x=range(7)", "wait=[0]")
    try:
        wait_until(lambda: sum(app.ran().values()) == 7, "six jobs to pass the one that waits")
        assert app.launch(0)["state"] == "RUNNING"
    finally:
        app.go()
        process.communicate(timeout=60)
    assert app.record()["state"] == "FINISHED"


def test_the_more_urgent_job_starts_first(app: App) -> None:
    app.sweep("kind=slow", "priority=1,10,5", "x=1")
    started = {app.launch(job)["started_at"]: app.launch(job)["overrides"][1] for job in range(3)}
    assert [started[at] for at in sorted(started)] == ["priority=10", "priority=5", "priority=1"]


def test_two_jobs_that_need_most_of_the_memory_do_not_run_side_by_side(app: App) -> None:
    app.sweep("x=1,2,3", "memory=1.5", "kind=slow", "hydra.launcher.platforms.there.max_concurrent_jobs=2")
    spans = sorted((app.launch(job)["started_at"], app.launch(job)["ended_at"]) for job in range(3))
    assert {app.launch(job)["platform"] for job in range(3)} == {"there"}
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))


def test_a_job_that_fits_nowhere_is_refused_before_any_other_runs(app: App) -> None:
    output = app.sweep("x=1,2", "memory=1,100000", code=1)
    assert "100000 GB needed" in output.replace("100,000", "100000")
    assert not app.ran()


def test_ctrl_c_stops_in_order_and_resume_runs_only_what_is_not_finished(app: App) -> None:
    process = app.start("x=range(6)", "wait=[2,3,4,5]")
    wait_until(lambda: len(app.ran()) == 4, "two jobs to finish and two to wait")
    wait_until(lambda: all(app.launch(job)["state"] == "FINISHED" for job in (0, 1)), "the records of the first two")
    processes = family(process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert not list(settled(processes))
    assert app.record()["state"] == "KILLED"
    assert [app.launch(job)["state"] for job in (2, 3)] == ["KILLED", "KILLED"]

    app.go()
    app.sweep("x=range(6)", "wait=[2,3,4,5]", "hydra.sweeper.resume=true")
    assert app.ran() == Counter({"0": 1, "1": 1, "2": 2, "3": 2, "4": 1, "5": 1})
    assert [record["attempt"] for record in app.launches(2)] == [1, 2]
    assert app.record()["state"] == "FINISHED"


def test_kill_9_of_the_coordinator_loses_nothing_that_was_finished(app: App) -> None:
    process = app.start("x=range(6)", "wait=[2,3,4,5]")
    wait_until(lambda: len(app.ran()) == 4, "two jobs to finish and two to wait")
    wait_until(lambda: all(app.launch(job)["state"] == "FINISHED" for job in (0, 1)), "the records of the first two")
    processes = family(process)
    process.kill()
    process.communicate(timeout=30)
    assert not list(settled(processes)), "workers outlived their coordinator"

    app.go()
    app.sweep("x=range(6)", "wait=[2,3,4,5]", "hydra.sweeper.resume=true")
    assert app.ran() == Counter({"0": 1, "1": 1, "2": 2, "3": 2, "4": 1, "5": 1})
    assert app.launches(2)[0]["state"] == "KILLED"
    assert app.record()["state"] == "FINISHED"


def test_resume_keeps_numbers_when_the_command_has_more_points(app: App) -> None:
    app.sweep("x=1,2,3", "raises=[2]", ONE_WORKER, code=1)
    app.sweep("raises=[2]", "x=1,2,3", ONE_WORKER, "hydra.sweeper.resume=true", code=1)  # its words in another order
    assert app.ran() == Counter({"1": 1, "2": 2, "3": 1})
    assert [record["current"] for record in app.launches(1)] == [False, True]


def test_a_second_coordinator_is_refused_while_the_first_lives(app: App) -> None:
    process = app.start("x=range(3)", "wait=[0,1,2]")
    try:
        wait_until(lambda: len(app.ran()) == 2, "the first jobs")
        output = app.sweep("x=range(3)", "hydra.sweeper.resume=true", code=1)
        assert f"is being run by process {process.pid}" in output
    finally:
        app.go()
        process.communicate(timeout=60)
    assert app.ran() == Counter({"0": 1, "1": 1, "2": 1})


def test_a_closed_lid_changes_nothing(app: App) -> None:
    process = app.start("x=range(6)", "wait=[2,3]")
    wait_until(lambda: len(app.ran()) == 4, "two jobs to wait")
    processes = family(process)
    for one in processes:
        one.suspend()
    app.go()
    time.sleep(3)  # the lid is closed: that nothing happens meanwhile is what is tested
    assert len(app.ran()) == 4
    for one in reversed(processes):
        one.resume()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert app.ran() == Counter({str(x): 1 for x in range(6)})


def test_sigterm_stops_as_ctrl_c_does(app: App) -> None:
    process = app.start("x=range(4)", "wait=[0,1,2,3]")
    wait_until(lambda: len(app.ran()) == 2, "two jobs to wait")
    processes = family(process)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert not list(settled(processes))
    assert app.record()["state"] == "KILLED"


def test_debug_runs_one_job_in_this_process_and_lets_its_error_through(app: App) -> None:
    output = app.sweep("x=1", "hydra.launcher.debug=true")
    assert app.launch(0)["state"] == "FINISHED"
    assert app.ran() == Counter({"1": 1})
    output = app.sweep("x=1", "raises=[1]", "hydra.launcher.debug=true", code=1)
    assert "ValueError: 1 is unlucky" in output
    output = app.sweep("x=1,2", "hydra.launcher.debug=true", code=1)
    assert "runs one job in this process; this sweep has 2" in output


def test_a_worker_that_dies_while_it_warms_up_costs_no_job_anything(app: App) -> None:
    (app.folder / "warming.py").write_text(
        "import os\nfrom pathlib import Path\n\n\ndef die_once(config):\n"
        "    try:\n        Path('warmed').touch(exist_ok=False)\n    except FileExistsError:\n        return\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    app.sweep("x=range(4)", "hydra.launcher.preload=warming.die_once", ONE_WORKER)
    attempts = [len(app.launches(job)) for job in range(4)]
    assert all(app.launches(job)[-1]["state"] == "FINISHED" for job in range(4))
    # The job may have been sent before the death was noticed: then it costs that one an attempt.
    assert sum(attempts) <= 5


def test_a_full_disk_is_one_sentence_and_resume_goes_on(app: App) -> None:
    process = app.start("x=range(4)", "wait=[2,3]")
    wait_until(lambda: len(app.ran()) == 4, "two jobs to wait")
    # What a full disk does to the coordinator: a job's record cannot be written.
    blocker = app.folder / "out" / "2" / f"launch.json.{process.pid}~"
    blocker.mkdir()
    app.go()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The sweep stopped" in output
    assert "Traceback" not in output
    blocker.rmdir()
    app.sweep("x=range(4)", "wait=[2,3]", "hydra.sweeper.resume=true")
    assert all(app.launches(job)[-1]["state"] == "FINISHED" for job in range(4))


def test_it_does_not_matter_in_which_order_hydra_scans_the_plugins(app: App) -> None:
    # As under `mlflow run`: our folder stands before the one that the other plugins are installed in.
    app.environment["PYTHONPATH"] = str(Path(__file__).parents[1] / "launchers")
    app.sweep("x=1,2", ONE_WORKER)
    assert [app.launch(job)["state"] for job in range(2)] == ["FINISHED", "FINISHED"]


def test_resume_asks_when_the_apps_code_has_changed(app: App) -> None:
    words = ("x=1,2", "raises=[2]", ONE_WORKER)
    app.sweep(*words, code=1)
    with (app.folder / "app.py").open("a") as code:
        code.write("# another version\n")
    output = app.sweep(*words, "hydra.sweeper.resume=true", code=1)
    assert "this has changed: code_hash" in output
    assert app.ran() == Counter({"1": 1, "2": 1})
    app.sweep(*words, "hydra.sweeper.resume=keep", code=1)
    assert app.ran() == Counter({"1": 1, "2": 2})
