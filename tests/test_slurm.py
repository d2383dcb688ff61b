"""The SLURM backend: on a real cluster of one node, jobs answer in JSON, fail by class, and leave nothing behind."""

import json
import os
import pickle
import subprocess
import time
from pathlib import Path

import cloudpickle
import psutil
import pytest
import submitit
from hydra._internal.callbacks import Callbacks
from hydra.core.singleton import Singleton
from hydra.version import VersionBase

import slurm
from hydra_plugins.sweeproute import _slurm_queue, _worker
from hydra_plugins.sweeproute._admission import JobClass
from hydra_plugins.sweeproute._backend import Died, Events, Finished, Moved, Platform
from hydra_plugins.sweeproute._compose import Composer, Point
from hydra_plugins.sweeproute._condition import Condition
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._slurm import SlurmBackend
from hydra_plugins.sweeproute._slurm_queue import End, SlurmSettings
from small_app import singletons_kept, start_sweep

CONF = {"config.yaml": "do: answer\nx: 1\n"}
UNREACHABLE = "slurm_load: Unable to contact slurm controller (connect failure)"
SMALL = JobClass((), memory_gb=0.2)


def task(cfg):
    """Do what the config says, and answer with what a test wants to know of this process."""
    import os
    import signal
    import time
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    if cfg.do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.do == "exit":
        os._exit(3)
    if cfg.do == "raise":
        raise LookupError("no such season")
    if cfg.do == "hog":
        held = []
        while True:
            held.append(bytearray(20_000_000))
            time.sleep(0.02)
    if cfg.do in ("listen", "deaf"):
        out = Path(HydraConfig.get().runtime.output_dir)
        (out / "progress.jsonl").write_text('{"step": 1, "auc": 0.5}\n')
        Path(f"waits-{cfg.x}").write_text(str(os.getpid()))
        while cfg.do == "deaf" or not (out / "stop").exists():
            time.sleep(0.02)
        return {"status": "pruned", "reason": (out / "stop").read_text().strip(), "auc": 0.6}
    if cfg.do == "wait":
        Path(f"waits-{cfg.x}").write_text(str(os.getpid()))
        while True:
            time.sleep(0.05)
    names = ("OMP_NUM_THREADS", "SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID", "GREETING", "SLURM_GPUS_ON_NODE")
    return {"x": cfg.x, **{name: os.environ.get(name) for name in names}}


class Resumable:
    """Counts how far it came, and goes on from there when its job is started again."""

    def __init__(self, folder, came=0):
        self.folder = folder
        self.came = came

    def __call__(self):
        import time

        self.came += 1
        (self.folder / f"start{self.came}").touch()
        while self.came < 2:
            time.sleep(0.05)
        return self.came

    def checkpoint(self):
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Resumable(self.folder, self.came))


cloudpickle.register_pickle_by_value(__import__(__name__))


class Unpicklable:
    """A payload that cannot be read where it arrives."""

    def __reduce__(self):
        return refuse, ()


def refuse():
    raise ImportError("not here")


def in_queue(name: str) -> list[str]:
    """The ids of the jobs of this name in SLURM's queue."""
    asked = ["squeue", "--noheader", "--format=%i", f"--name={name}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


class Bench:
    """A backend, and messages for it."""

    def __init__(self, folder: Path, loader, master) -> None:
        self.folder = folder
        self.sweep = folder / folder.name
        self.ours = self.sweep / ".sweeproute"
        self.ours.mkdir(parents=True)
        self.composer = Composer(loader, master)
        self.base = self.ours / "base.pkl"
        self.base.write_bytes(self.composer.base(()).blob)
        self.events = Events()
        self.number = 0

    def backend(self, slots=2, device="cpu", payload=None, **settings) -> SlurmBackend:
        version = {kind: one for kind, one in Singleton._instances.items() if kind is VersionBase}
        whole = payload or _worker.Payload(task, Callbacks(), version, {}, str(self.folder))
        (self.ours / "payload.pkl").write_bytes(cloudpickle.dumps(whole))
        return SlurmBackend(Platform("cluster", slots, 1, device), SlurmSettings(**settings), self.events)

    def start(self, backend) -> SlurmBackend:
        backend.start(str(self.ours / "payload.pkl"), _worker.Message(str(self.base), Point((), (), ""), (), 0, ""))
        return backend

    def message(self, *overrides, threads=1) -> _worker.Message:
        self.number += 1
        folder = self.sweep / str(self.number)
        folder.mkdir(parents=True)
        _, point = self.composer.point(overrides)
        return _worker.Message(str(self.base), point, (), self.number, str(folder), threads=threads)

    def next(self):
        return self.events.get(timeout=60)

    def run(self, backend, *overrides, job_class=SMALL, **message):
        backend.submit(0, self.message(*overrides, **message), job_class)
        return self.next()

    def value(self, backend, *overrides, **more):
        event = self.run(backend, *overrides, **more)
        assert isinstance(event, Finished), event
        assert event.answer["status"] == "COMPLETED", event.answer
        return event.answer["value"]

    def queued(self) -> list[str]:
        """The ids of this sweep's jobs in SLURM's queue."""
        return in_queue(self.sweep.name)

    def waiting(self, x) -> int:
        """The process of a job that waits, once it does."""
        path = self.folder / f"waits-{x}"
        slurm.wait_for(f"job {x}", self.folder, lambda: path.exists() and path.read_text())
        return int(path.read_text())


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    with singletons_kept():
        yield start_sweep(tmp_path_factory.mktemp("app"), CONF)


@pytest.fixture(scope="module")
def over_time(tmp_path_factory, composed, cluster):
    """A job whose time is up; SLURM looks for those every 30 s, while the other tests run."""
    bench = Bench(tmp_path_factory.mktemp("over_time"), *composed)
    backend = bench.start(bench.backend())
    backend.submit(0, bench.message("do=wait"), SMALL)
    bench.waiting(1)
    # The shortest limit is a minute; its end can be brought nearer.
    subprocess.run(["scontrol", "update", f"JobId={bench.queued()[0]}", "EndTime=now+1"], check=True)
    yield bench
    backend.close(10.0)


@pytest.fixture
def bench(tmp_path, monkeypatch, composed, over_time):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return Bench(tmp_path, *composed)


@pytest.fixture
def opened(bench):
    backend = bench.start(bench.backend())
    yield bench, backend
    backend.close(10.0)


@pytest.fixture
def unreachable(tmp_path):
    """SLURM's commands as they are when the controller is not there."""
    folder = tmp_path / "unreachable"
    folder.mkdir()
    for name in _slurm_queue.COMMANDS:
        (folder / name).write_text(f'#!/bin/sh\necho "{UNREACHABLE}" >&2\nexit 1\n')
        (folder / name).chmod(0o755)
    return folder


def test_a_job_answers_from_its_own_process_with_its_threads_and_settings(bench):
    backend = bench.start(bench.backend(setup=("export GREETING=hello",)))
    answer = bench.value(backend, "x=7", threads=3)
    assert (answer["x"], answer["OMP_NUM_THREADS"], answer["GREETING"]) == (7, "3", "hello")
    asked = subprocess.run(["scontrol", "show", "job", answer["SLURM_JOB_ID"]], capture_output=True, text=True).stdout
    assert "CPUs/Task=3" in asked
    assert "mem=204M" in asked
    assert "TimeLimit=02:00:00" in asked  # what the partition allows
    assert "Requeue=0" in asked
    backend.close(10.0)
    assert bench.queued() == []
    assert bench.events.empty()


def test_what_comes_back_is_json_and_nothing_is_unpickled(opened, monkeypatch):
    bench, backend = opened
    monkeypatch.setattr(pickle, "load", lambda *_: pytest.fail("something was unpickled"))
    message = bench.message("x=2")
    backend.submit(0, message, SMALL)
    assert bench.next().answer["value"]["x"] == 2
    assert json.loads((Path(message.folder) / "answer.json").read_text())["status"] == "COMPLETED"
    monkeypatch.undo()
    (result,) = (bench.ours / "slurm").glob("*_result.pkl")
    assert pickle.loads(result.read_bytes()) == ("success", None)


def test_ten_jobs_go_out_as_one_array(opened):
    bench, backend = opened
    for slot in range(10):
        backend.submit(slot, bench.message(f"x={slot}"), SMALL)
    events = [bench.next() for _ in range(10)]
    assert {event.place: event.answer["value"]["x"] for event in events} == {slot: slot for slot in range(10)}
    assert len({event.answer["value"]["SLURM_ARRAY_JOB_ID"] for event in events} - {None}) == 1


def test_a_task_that_raises_is_the_users_error(opened):
    bench, backend = opened
    error = bench.run(backend, "do=raise").answer["error"]
    assert (error["class"], error["type"], error["message"]) == ("user", "LookupError", "no such season")


@pytest.mark.parametrize(
    ("does", "said"), [("die", "was killed by signal 9"), ("exit", "ended without an answer, with the exit code 3")]
)
def test_a_process_that_dies_is_reported_as_killed(opened, does, said):
    bench, backend = opened
    event = bench.run(backend, f"do={does}")
    assert isinstance(event, Died)
    assert (event.error_class, event.place) == ("killed", 0)
    assert said in event.message


def test_a_job_over_its_memory_is_told_from_one_that_was_killed(opened):
    bench, backend = opened
    event = bench.run(backend, "do=hog")
    assert event.error_class == "out_of_memory"
    assert "used more memory than it had asked for" in event.message


@pytest.mark.parametrize(("do", "auc"), [("listen", 0.6), ("deaf", 0.5)])
def test_a_job_that_is_told_to_stop_ends_within_two_seconds_and_is_pruned(opened, do, auc):
    bench, backend = opened
    backend.submit(0, bench.message(f"do={do}"), SMALL)
    bench.waiting(1)
    told = time.monotonic()
    backend.stop(0, "below the median")
    backend.stop(0, "said again")
    event = bench.next()
    assert time.monotonic() - told < 2.0
    assert isinstance(event, Finished)
    assert event.answer["value"] == {"status": "pruned", "reason": "below the median", "auc": auc}
    slurm.wait_for("the job to leave", bench.folder, lambda: not bench.queued())
    assert bench.events.empty()


def test_a_job_that_somebody_else_cancels_is_reported_as_killed(opened):
    bench, backend = opened
    backend.submit(0, bench.message("do=wait"), SMALL)
    bench.waiting(1)
    subprocess.run(["scancel", *bench.queued()], check=True)
    assert bench.next().error_class == "killed"


def test_a_job_that_is_cancelled_leaves_no_process_and_no_event(opened):
    bench, backend = opened
    backend.submit(0, bench.message("do=wait"), SMALL)
    pid = bench.waiting(1)
    backend.cancel(0)
    assert bench.value(backend, "x=3")["x"] == 3  # its slot goes on
    slurm.wait_for("the end of the cancelled job", bench.folder, lambda: not psutil.pid_exists(pid))
    assert bench.events.empty()


def test_closing_ends_running_and_queued_jobs(bench):
    backend = bench.start(bench.backend(slots=12))
    for slot in range(12):  # more than the node has room for
        backend.submit(slot, bench.message("do=wait", f"x={slot}"), SMALL)
    pids = [bench.waiting(slot) for slot in range(3)]
    backend.close(10.0)
    assert bench.queued() == []
    slurm.wait_for("the end of its processes", bench.folder, lambda: not any(map(psutil.pid_exists, pids)))
    assert bench.events.empty()


def test_a_limit_of_one_minute_ends_no_job_at_its_start(bench):
    backend = bench.start(bench.backend(timeout_min=1))
    assert bench.value(backend, "x=6")["x"] == 6
    backend.close(10.0)


def test_a_platform_with_a_gpu_gives_one_to_each_job(bench):
    backend = bench.start(bench.backend(device="cuda"))
    assert bench.value(backend)["SLURM_GPUS_ON_NODE"] == "1"
    backend.close(10.0)


def test_a_coordinator_that_is_a_job_itself_hands_nothing_of_it_down(bench, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "77")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    backend = bench.start(bench.backend())
    assert bench.value(backend)["SLURM_ARRAY_JOB_ID"] is None
    backend.close(10.0)


def test_what_cannot_be_loaded_on_the_node_is_a_precheck(bench):
    backend = bench.start(bench.backend(payload=Unpicklable()))
    error = bench.run(backend).answer["error"]
    assert (error["class"], error["message"]) == ("precheck", "not here")
    backend.close(10.0)


def test_a_node_that_cannot_start_python_is_a_precheck_with_its_log(bench):
    backend = bench.start(bench.backend(setup=("export PYTHONHOME=/nowhere",)))
    event = bench.run(backend)
    assert event.error_class == "precheck"
    assert event.message.startswith("cannot start this sweep's jobs: SLURM job ")
    assert "with the exit code 1: " in event.message
    (log,) = (bench.ours / "slurm").glob("*_log.err")
    assert f"(its log: {log})" in event.message
    assert "No module named 'encodings'" in log.read_text()
    backend.close(10.0)


@pytest.mark.parametrize(
    ("settings", "job_class", "said"),
    [
        ({"partition": "large", "timeout_min": 5}, SMALL, "Invalid partition name specified"),
        ({}, JobClass((), memory_gb=900.0), "Requested node configuration is not available"),
    ],
)
def test_what_sbatch_refuses_is_a_precheck_in_its_words(bench, settings, job_class, said):
    backend = bench.start(bench.backend(**settings))
    event = bench.run(backend, job_class=job_class)
    assert event.error_class == "precheck"
    assert event.message.startswith("does not take this sweep's jobs: sbatch: error: ")
    assert said in event.message
    backend.close(10.0)


def test_a_job_that_would_wait_for_good_is_a_precheck(bench):
    backend = bench.start(bench.backend(timeout_min=500))  # the partition allows 120
    event = bench.run(backend)
    assert event.error_class == "precheck"
    assert event.message.startswith("lets jobs wait for good: PartitionConfig (`scontrol show job ")
    backend.close(10.0)
    assert bench.queued() == []


def test_a_controller_out_of_reach_loses_attempts_but_not_the_platform(bench, monkeypatch, unreachable):
    backend = bench.start(bench.backend(timeout_min=5))
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{unreachable}{os.pathsep}{os.environ['PATH']}")
        moved = bench.run(backend)
        assert isinstance(moved, Moved)
        assert moved.condition is Condition.SUSPECT
        assert moved.why == f"has a SLURM that does not answer: {UNREACHABLE}"
        assert bench.next().error_class == "lost"
    while (event := bench.next()).condition is not Condition.AVAILABLE:
        assert event.condition is Condition.SUSPECT
    assert bench.value(backend)["x"] == 1
    backend.close(10.0)


def test_what_could_not_be_ended_is_ended_when_the_sweep_starts_again(bench, monkeypatch, unreachable):
    first = bench.start(bench.backend())
    first.submit(0, bench.message("do=wait"), SMALL)
    orphan = bench.waiting(1)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{unreachable}{os.pathsep}{os.environ['PATH']}")
        began = time.monotonic()
        first.close(20.0)
        assert time.monotonic() - began < 10  # it does not wait for who is not there
    assert psutil.pid_exists(orphan)
    bench.events = Events()
    second = bench.start(bench.backend())
    slurm.wait_for("the orphan's end", bench.folder, lambda: not psutil.pid_exists(orphan))
    assert bench.value(second)["x"] == 1
    second.close(10.0)
    assert bench.events.empty()


def test_a_cluster_without_a_fault_has_nothing_against_it(cluster):
    assert _slurm_queue.why_not(SlurmSettings(), "registry.platforms.slurm") == ""
    assert _slurm_queue.why_not(SlurmSettings(partition="main", timeout_min=120), "registry.platforms.slurm") == ""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"partition": "mian"}, "has no partition 'mian' (set registry.platforms.slurm.partition to one of main)"),
        (
            {"partition": "closed"},
            "has its partition closed DOWN (wait for it, or set registry.platforms.slurm.partition to one of main)",
        ),
        (
            {"timeout_min": 500},
            "allows 120 minutes in its partition main, and registry.platforms.slurm.timeout_min is 500 (lower it)",
        ),
    ],
)
def test_a_platform_that_cannot_run_jobs_is_told_why_with_the_next_step(cluster, settings, said):
    assert _slurm_queue.why_not(SlurmSettings(**settings), "registry.platforms.slurm") == said


def test_a_machine_without_slurm_is_told_where_to_go(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _slurm_queue.why_not(SlurmSettings(), "registry.platforms.slurm") == (
        "needs SLURM's sbatch, which is not on the PATH here (start the sweep on a login node of the cluster, "
        "with its SLURM module loaded)"
    )


def test_a_slurm_that_is_silent_is_told_in_its_own_words(monkeypatch, unreachable):
    monkeypatch.setenv("PATH", f"{unreachable}{os.pathsep}{os.environ['PATH']}")
    assert _slurm_queue.why_not(SlurmSettings(), "registry.platforms.slurm") == (
        f"has a SLURM that does not answer: scontrol: {UNREACHABLE} (ask it by `scontrol ping`)"
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"parameters": {"acount": "me"}},
            "registry.platforms.slurm.slurm has acount, which submitit does not know. Allowed: account, ",
        ),
        (
            {"parameters": {"mem": "4G"}},
            "registry.platforms.slurm.slurm has mem, which is settled by the platform's other keys",
        ),
        ({"timeout_min": 0}, "registry.platforms.slurm.timeout_min is 0. It takes 1 or more minutes."),
    ],
)
def test_a_parameter_that_slurm_is_not_to_have_is_refused(settings, said):
    with pytest.raises(SettingsError) as refused:
        _slurm_queue.check(SlurmSettings(**settings), "registry.platforms.slurm")
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("state", "log", "error_class"),
    [
        ("OUT_OF_MEMORY", "", "out_of_memory"),
        ("FAILED", "slurmstepd: error: Detected 1 oom_kill event in StepId=3.batch.", "out_of_memory"),
        ("NODE_FAIL", "", "lost"),
        ("PREEMPTED", "", "killed"),
        ("DEADLINE", "", "time_limit"),
        ("", "", "killed"),
    ],
)
def test_each_end_that_slurm_knows_has_its_class(state, log, error_class):
    found, said = _slurm_queue.how_it_ended("3", state, End(), log)
    assert found == error_class
    assert said.startswith("SLURM job 3 ")


def test_a_job_over_its_time_is_told_from_one_that_was_killed(over_time):
    event = over_time.next()
    while isinstance(event, Moved):  # another test has silenced the controller for a moment
        event = over_time.next()
    assert event.error_class == "time_limit"
    assert event.message.endswith(" reached its time limit (timeout_min of the platform)")
    assert event.run_s >= 1


def test_a_job_that_ran_out_of_memory_once_gets_a_node_for_itself(opened):
    bench, backend = opened
    answer = bench.value(backend, job_class=JobClass((), memory_gb=0.2, alone=True))
    asked = subprocess.run(["scontrol", "show", "job", answer["SLURM_JOB_ID"]], capture_output=True, text=True).stdout
    assert "OverSubscribe=NO" in asked
    assert "mem=16000M" in asked


def test_checkpoint_and_requeue_of_submitit_pass_through(cluster, tmp_path):
    executor = submitit.AutoExecutor(folder=tmp_path, cluster="slurm")
    executor.update_parameters(name=tmp_path.name, timeout_min=60, mem_gb=1)
    job = executor.submit(Resumable(tmp_path))
    slurm.wait_for("its first start", tmp_path, (tmp_path / "start1").exists)
    job._interrupt()  # as SLURM does when it preempts a job
    slurm.wait_for("its second start", tmp_path, (tmp_path / "start2").exists)
    slurm.wait_for("its end", tmp_path, lambda: job.job_id not in in_queue(tmp_path.name))
    assert job.result() == 2
