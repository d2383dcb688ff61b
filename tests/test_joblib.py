"""The local backend: real workers that stay warm, die alone, and leave nothing behind."""

import contextlib
import os
import queue
import signal
import time
from pathlib import Path

import cloudpickle
import psutil
import pytest
from hydra._internal.callbacks import Callbacks
from hydra_plugins.hydra_joblib_launcher.config import JobLibLauncherConf

from hydra_plugins.sweeproute import _joblib, _worker
from hydra_plugins.sweeproute._admission import JobClass
from hydra_plugins.sweeproute._backend import Died, Events, Finished, Platform, is_answer
from hydra_plugins.sweeproute._compose import Composer, Point
from hydra_plugins.sweeproute._joblib import JoblibBackend
from processes import until
from small_app import singletons_kept, start_sweep

# What admission reads means nothing to this backend.
ANY = JobClass(())
CONF = {"config.yaml": "do: answer\nx: 1\n"}

pytestmark = pytest.mark.spawn


def task(cfg):
    """Do what the config says, and answer with what a test wants to know of this process."""
    import os
    import signal
    import subprocess
    import time
    from pathlib import Path

    if cfg.do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.do == "exit":
        os._exit(3)
    if cfg.do in ("deaf", "listen"):
        Path("progress.jsonl").write_text('{"step": 1, "auc": 0.4}\n{"step": 2, "auc": 0.5}\n{"step": 3, "auc": 0.')
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        Path("waits~").write_text(str(child.pid))
        Path("waits~").replace("waits")
        while cfg.do == "deaf" or not Path("stop").exists():
            time.sleep(0.02)
        child.kill()
        child.wait()
        return {"status": "pruned", "reason": Path("stop").read_text().strip(), "auc": 0.6}
    if cfg.do == "wait":
        Path("waits").touch()
        while True:
            time.sleep(0.05)
    return {"pid": os.getpid(), "x": cfg.x, "omp": os.environ.get("OMP_NUM_THREADS"), "session": os.getsid(0)}


class Bench:
    """A backend with two slots, and messages for it."""

    def __init__(self, folder: Path, loader, master) -> None:
        self.folder = folder
        self.composer = Composer(loader, master)
        base = self.composer.base(())
        self.base = folder / "base.pkl"
        self.base.write_bytes(base.blob)
        self.payload = folder / "payload.pkl"
        self.events = Events()
        self.number = 0

    def open(self, slots=2, threads=1, payload=None, preload=None, jobs=None, **settings) -> JoblibBackend:
        whole = payload or _worker.Payload(task, Callbacks(), {}, {}, **self.more())
        self.payload.write_bytes(cloudpickle.dumps(whole))
        self.platform = Platform("here", slots, threads, "cpu")
        backend = JoblibBackend(self.platform, slots, JobLibLauncherConf(**settings), self.events, jobs)
        point = Point((), (), "")
        backend.start(str(self.payload), _worker.Message(str(self.base), point, (), 0, "", preload=preload))
        return backend

    def more(self):
        known = {"version_base": "1.3", "cwd": str(self.folder), "allowed_targets": None}
        return {name: known[name] for name in known if name in _worker.Payload.__dataclass_fields__}

    def message(self, *overrides) -> _worker.Message:
        self.number += 1
        folder = self.folder / "out" / str(self.number)
        folder.mkdir(parents=True)
        _, point = self.composer.point(overrides)
        return _worker.Message(str(self.base), point, (), self.number, str(folder))

    def child_of(self, message) -> psutil.Process:
        """What a job that waits to be told has started."""
        said = Path(message.folder) / "waits"
        until(said.exists, "the job")
        return psutil.Process(int(said.read_text()))

    def next(self):
        return self.events.get(timeout=60)

    def answer(self, backend, slot, *overrides):
        backend.submit(slot, self.message(*overrides), ANY)
        event = self.next()
        assert isinstance(event, Finished), event
        assert event.answer["status"] == "COMPLETED", event.answer
        assert (event.platform, event.place) == ("here", slot)
        return event.answer["value"]


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    with singletons_kept():
        loader, master = start_sweep(tmp_path_factory.mktemp("app"), CONF)
        yield loader, master


@pytest.fixture
def bench(tmp_path, monkeypatch, composed):
    for name in ("OMP_NUM_THREADS", "JOBLIB_TEMP_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    return Bench(tmp_path, *composed)


@pytest.fixture
def warm(bench):
    backend = bench.open()
    yield bench, backend
    backend.close(3.0)


@pytest.fixture
def warm_slot(bench):
    backend = bench.open(slots=1)
    yield bench, backend
    backend.close(3.0)


def test_each_slot_has_a_worker_that_stays_warm(warm):
    bench, backend = warm
    first = [bench.answer(backend, slot, f"x={slot}") for slot in (0, 1)]
    second = [bench.answer(backend, slot, "x=5") for slot in (0, 1)]
    assert [answer["x"] for answer in first] == [0, 1]
    assert [answer["pid"] for answer in first] == [answer["pid"] for answer in second]
    assert len({answer["pid"] for answer in first} | {os.getpid()}) == 3


def test_no_more_workers_come_up_beforehand_than_there_are_jobs(bench):
    backend = bench.open(slots=2, jobs=1)
    try:
        assert len(backend._executors) == 1
        # What is wanted besides, where one is tried again elsewhere, comes up when it is.
        assert [bench.answer(backend, place, f"x={place}")["x"] for place in (0, 1)] == [0, 1]
        assert len(backend._executors) == 2
    finally:
        backend.close(0)


def test_a_worker_is_held_to_its_threads_and_has_a_session_of_its_own(warm_slot):
    bench, backend = warm_slot
    answer = bench.answer(backend, 0)
    if os.environ.get("SWEEPROUTE_START_METHOD", "loky") == "loky":  # others do not set a process's environment
        assert answer["omp"] == "1"
    assert answer["session"] == answer["pid"] != os.getsid(0)


def test_an_end_says_which_attempt_it_is_of_for_a_slot_that_may_have_another_by_then(warm_slot):
    bench, backend = warm_slot
    message = bench.message("do=die")
    backend.submit(0, message, ANY)
    assert bench.next().folder == message.folder
    message = bench.message()
    backend.submit(0, message, ANY)
    assert bench.next().folder == message.folder


def test_a_worker_that_the_kernel_kills_for_memory_ran_out_of_it(warm_slot, tmp_path, monkeypatch):
    bench, backend = warm_slot
    counts = tmp_path / "vmstat"
    counts.write_text("nr_free_pages 7\noom_kill 4\n")
    monkeypatch.setattr(_joblib, "_VMSTAT", counts)
    backend.submit(0, bench.message("do=wait"), ANY)
    counts.write_text("nr_free_pages 7\noom_kill 5\n")
    for pid in backend._pids():
        os.kill(pid, signal.SIGKILL)
    assert bench.next().error_class == "out_of_memory"


@pytest.mark.parametrize("how", ["die", "exit"])
def test_a_worker_that_dies_takes_its_own_job_alone_and_its_slot_goes_on(warm, how):
    bench, backend = warm
    before = bench.answer(backend, 0)["pid"]
    waiting = bench.message("do=wait")
    backend.submit(1, waiting, ANY)
    backend.submit(0, bench.message(f"do={how}"), ANY)
    event = bench.next()
    assert isinstance(event, Died)
    assert (event.platform, event.place, event.error_class) == ("here", 0, "killed")
    assert ("SIGKILL" if how == "die" else "3") in event.message
    after = bench.answer(backend, 0)["pid"]
    assert after != before
    assert bench.events.empty()


def test_a_job_that_listens_keeps_its_worker_and_one_that_does_not_is_ended_and_is_pruned_too(warm_slot):
    bench, backend = warm_slot
    before = bench.answer(backend, 0)["pid"]
    answers = {}
    for do in ("listen", "deaf"):
        message = bench.message(f"do={do}")
        backend.submit(0, message, ANY)
        child = bench.child_of(message)
        asked = time.monotonic()
        backend.stop(0, "below the median")
        backend.stop(0, "said again")
        event = bench.next()
        answers[do] = event.answer["value"]
        assert isinstance(event, Finished)
        assert event.folder == message.folder
        assert is_answer(event.answer)
        took_s = time.monotonic() - asked
        assert (took_s < 0.9) if do == "listen" else (1.0 <= took_s < 2.0)
        # Where nobody reaps orphans it stays as a zombie.
        until(lambda child=child: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "its end")
        if do == "listen":
            assert bench.answer(backend, 0)["pid"] == before
    # A torn last line is no report.
    told = {"status": "pruned", "reason": "below the median"}
    assert answers == {"listen": {**told, "auc": 0.6}, "deaf": {**told, "auc": 0.5}}
    assert bench.answer(backend, 0)["pid"] != before
    assert bench.events.empty()


def test_a_job_that_has_ended_when_it_is_told_stays_as_it_was(warm_slot):
    bench, backend = warm_slot
    message = bench.message()
    backend.submit(0, message, ANY)
    event = bench.next()
    backend.stop(0, "late")
    assert not (Path(message.folder) / "stop").exists()
    assert event.answer["value"]["pid"] == bench.answer(backend, 0)["pid"]
    assert bench.events.empty()


def test_a_word_to_one_job_does_not_reach_the_next_in_its_slot(warm_slot):
    bench, backend = warm_slot
    first, second = bench.message("do=listen"), bench.message("do=deaf")
    backend.submit(0, first, ANY)
    bench.child_of(first)
    backend.stop(0, "below the median")
    assert bench.next().answer["value"]["status"] == "pruned"
    backend.submit(0, second, ANY)
    bench.child_of(second)
    with pytest.raises(queue.Empty):
        bench.events.get(timeout=1.5)  # longer than what was told to stop may go on
    backend.cancel(0)


def test_a_worker_that_dies_idle_is_replaced_and_costs_no_job_an_attempt(warm_slot):
    bench, backend = warm_slot
    idle = psutil.Process(bench.answer(backend, 0)["pid"])
    executor = backend._executors[0]
    idle.kill()
    psutil.wait_procs([idle], timeout=10)
    executor._executor_manager_thread.join(10)  # it has noticed
    assert bench.answer(backend, 0)["pid"] != idle.pid


def test_a_worker_that_dies_while_it_warms_up_is_replaced(bench, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "deadly.py").write_text(
        "import os, pathlib\n"
        "def once(cfg):\n"
        "    if not pathlib.Path('been').exists():\n"
        "        pathlib.Path('been').touch()\n"
        "        os.abort()\n"
    )
    monkeypatch.chdir(tmp_path)
    backend = bench.open(slots=1, preload="deadly.once")
    try:
        backend._executors[0]._executor_manager_thread.join(30)
        assert bench.answer(backend, 0)["x"] == 1
    finally:
        backend.close(3.0)


def test_a_warm_up_that_raises_leaves_the_worker_to_its_jobs(bench):
    backend = bench.open(slots=1, preload="os.no_such_function")
    try:
        assert bench.answer(backend, 0)["x"] == 1
    finally:
        backend.close(3.0)


def test_a_job_that_is_cancelled_ends_at_once_without_an_event_and_its_slot_goes_on(warm_slot):
    bench, backend = warm_slot
    pid = bench.answer(backend, 0)["pid"]
    backend.submit(0, bench.message("do=wait"), ANY)
    backend.cancel(0)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert bench.answer(backend, 0)["pid"] != pid
    assert bench.events.empty()


def test_what_cannot_be_loaded_in_a_worker_is_said_by_every_job(bench):
    backend = bench.open(slots=1, payload=Unloadable())
    try:
        for _ in range(2):
            backend.submit(0, bench.message(), ANY)
            error = bench.next().answer["error"]
            assert (error["class"], error["message"]) == ("precheck", "not here")
    finally:
        backend.close(3.0)


class Unloadable:
    """A payload that does not unpickle, as one that needs a module that is not there."""

    def __reduce__(self):
        return refuse, ()


def refuse():
    raise ImportError("not here")


cloudpickle.register_pickle_by_value(__import__(__name__))


def test_closing_leaves_no_process_though_jobs_run(bench):
    backend = bench.open()
    pids = [bench.answer(backend, slot)["pid"] for slot in (0, 1)]
    backend.submit(0, bench.message("do=wait"), ANY)
    backend.close(3.0)
    alive = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            alive += [process for process in [psutil.Process(pid)] if process.status() != psutil.STATUS_ZOMBIE]
    assert alive == []
    assert bench.events.empty()


def test_closing_does_not_wait_for_a_worker_that_is_stopped(bench):
    backend = bench.open(slots=1)
    pid = bench.answer(backend, 0)["pid"]
    os.kill(pid, signal.SIGSTOP)
    backend.close(0.5)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_free_memory_is_read(warm_slot):
    _, backend = warm_slot
    assert 0 < backend.memory_free_gb() <= psutil.virtual_memory().total / 1e9
