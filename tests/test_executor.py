"""Holds the ssh executor to what submitit's users expect, on another machine."""

import asyncio
import os
import pickle
import shutil
import subprocess
import sys
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import submitit
from submitit.core.plugins import get_executors, get_job_environments
from submitit.core.test_plugins import test_env, test_executors  # noqa: F401  (what submitit asks of every plugin)
from submitit.core.utils import FailedJobError, UncompletedJobError

import far_tasks
from loopback import Loopback
from loopback import missing as missing_loopback
from sshd import skip_for
from submitit_ssh import FarError, ResultError, SettingError, SshExecutor, SshJob, connections
from submitit_ssh.listener import Ended
from workstation import Workstation
from workstation import missing as missing_workstation

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of somebody's own, the same for all tests, so that one warm parent serves them."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(HERE / "far_tasks.py", folder)
    (folder / "data").mkdir()
    (folder / "data" / "numbers.txt").write_text("1 2 3")
    return folder


@pytest.fixture(autouse=True)
def in_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))


@pytest.fixture(scope="module")
def box() -> Iterator[Workstation | Loopback]:
    """One machine for all tests of this file; where none can be made of namespaces, this one over its loopback."""
    other = Workstation if not missing_workstation() or missing_loopback() else Loopback
    skip_for(missing_workstation() if other is Workstation else "")
    with other.start() as box:
        yield box
        # No connection is left when the machine goes.
        connections.close()


def over_there(box: Workstation | Loopback, command: str) -> str:
    """Run a command on the machine."""
    ssh = ["ssh", "-F", str(box.ssh_config), box.host, command]
    return subprocess.run(ssh, capture_output=True, text=True, check=True).stdout


def sleepers(box: Workstation | Loopback) -> str:
    """What `start_processes` has started and still runs."""
    return over_there(box, "ps axo args | grep '^sleep 424' || true")


@pytest.fixture
def executor(box: Workstation | Loopback, tmp_path: Path) -> submitit.AutoExecutor:
    return an_executor(box, tmp_path / "log")


def an_executor(box: Workstation | Loopback, folder: Path, **parameters: Any) -> submitit.AutoExecutor:
    executor = submitit.AutoExecutor(folder=folder, cluster="ssh")
    given = {"ssh_host": box.host, "ssh_config": str(box.ssh_config), "ssh_python": box.python, "ssh_slots": 2}
    executor.update_parameters(**{**given, **parameters})
    return executor


@pytest.fixture
def release(box: Workstation) -> Iterator[Callable[[str], None]]:
    """Lets a job over there that waits for a name go on."""
    names = []

    def lay(name: str) -> None:
        names.append(name)
        over_there(box, f"touch {name}")

    yield lay
    if names:
        over_there(box, f"rm -f {' '.join(names)}")


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"go-{uuid.uuid4().hex}"


def until(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"{what} within {seconds:g} s"
        time.sleep(0.02)


def printed(job: submitit.Job[Any], text: str, times: int = 1) -> None:
    """Wait until a job has printed something."""
    until(lambda: (job.stdout() or "").count(text) >= times, f"{text!r} in the log of {job}")


# ---- a function somewhere else


def test_it_is_found_by_its_name_and_never_chosen_by_itself() -> None:
    assert get_executors()["ssh"] is SshExecutor
    assert "ssh" in get_job_environments()
    assert submitit.AutoExecutor.which() != "ssh"


def test_the_result_of_a_function_comes_back_with_what_it_printed(executor: submitit.AutoExecutor) -> None:
    job = executor.submit(far_tasks.square, 3)
    assert job.result() == 9
    assert job.done()
    assert job.state == "COMPLETED"
    assert job.exception() is None
    assert job.stdout() == "squaring 3\n"
    assert job.stderr() == "on the other stream\n"
    assert job.paths.stdout.exists()


def test_a_function_of_the_script_itself_runs_too(executor: submitit.AutoExecutor) -> None:
    offset = 5

    def add(x: int) -> int:
        return far_tasks.same(x) + offset

    assert executor.submit(add, 2).result() == 7


def test_an_array_of_jobs_gives_its_results_in_order(executor: submitit.AutoExecutor) -> None:
    jobs = executor.map_array(far_tasks.same, range(30))
    assert [job.result() for job in jobs] == list(range(30))


def test_a_batch_is_submitted_when_its_block_ends(executor: submitit.AutoExecutor) -> None:
    with executor.batch():
        jobs = [executor.submit(far_tasks.same, x) for x in range(3)]
    assert [job.result() for job in jobs] == [0, 1, 2]


def test_as_many_jobs_run_at_once_as_the_machine_has_slots(
    executor: submitit.AutoExecutor, name: str, release: Callable[[str], None]
) -> None:
    jobs = [executor.submit(far_tasks.meet, f"{name}-{a}", f"{name}-{b}") for a, b in ((0, 1), (1, 0))]
    assert [job.result() for job in jobs] == [None, None]
    release(f"{name}-0")
    release(f"{name}-1")


@pytest.mark.parametrize(
    ("value", "there"),
    [
        ({"auc": 0.5, "of": [1, None, "x"]}, {"auc": 0.5, "of": [1, None, "x"]}),
        ((1, 2), [1, 2]),
        (np.float32(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        (np.array(7), 7),
    ],
)
def test_a_value_comes_back_as_data(executor: submitit.AutoExecutor, value: Any, there: Any) -> None:
    assert executor.submit(far_tasks.same, value).result() == there


def test_a_value_that_is_no_data_leaves_the_job_completed_and_says_where_its_files_are(
    executor: submitit.AutoExecutor,
) -> None:
    job = executor.submit(far_tasks.plant)
    with pytest.raises(ResultError, match=r"has returned an object of type Bomb, which does not travel") as raised:
        job.result()
    assert str(job.outputs) in str(raised.value)
    assert job.state == "COMPLETED"
    assert job.exception() is None


def test_nothing_that_comes_back_is_unpickled(executor: submitit.AutoExecutor, project: Path) -> None:
    job = executor.submit(far_tasks.plant)
    job.wait()
    assert (job.outputs / "checkpoint.pkl").exists()
    again = SshJob(executor.folder, job.job_id)
    for one in (job, again):
        with pytest.raises(ResultError):
            one.result()
    assert again.submission().function is far_tasks.plant
    assert not (project / "exploded").exists()


@pytest.mark.parametrize(
    "result",
    [None, "x", {}, {"outcome": "x"}, {"outcome": "success"}, {"outcome": "error", "trace": 3}, {"outcome": ["x"]}],
)
def test_what_is_no_outcome_of_a_job_is_refused(result: Any) -> None:
    ended = Ended("0" * 32, None, "", result, 0.0, 0.0, 0.0)
    outcome = connections._outcome(ended)
    assert (outcome["outcome"], outcome["class"]) == ("ended", "outputs")


def test_arguments_that_do_not_fit_a_frame_arrive_all_the_same(executor: submitit.AutoExecutor) -> None:
    large = [os.urandom(300_000).hex() for _ in range(3)]
    assert [job.result() for job in executor.map_array(len, large)] == [600_000] * 3


def test_files_of_a_job_come_back_and_those_of_the_project_are_found_there(executor: submitit.AutoExecutor) -> None:
    job = executor.submit(far_tasks.write_files)
    assert job.result() == ["1 2 3", "ssh", job.job_id, "1"]
    assert (job.outputs / "relative.txt").read_text() == "in the working directory"
    assert (job.outputs / "deep" / "absolute.txt").read_text() == "in the folder of the environment"
    logs = {job.paths.stdout.name, job.paths.stderr.name}
    assert {path.name for path in job.outputs.iterdir()} == {"relative.txt", "deep"} | logs


def test_a_bare_python_is_enough(box: Workstation | Loopback, tmp_path: Path) -> None:
    if isinstance(box, Loopback):
        pytest.skip("a loopback has no bare Python of this version for certain")
    executor = an_executor(box, tmp_path, ssh_python=box.bare_python)

    def late() -> str:
        import submitit

        return submitit.JobEnvironment().job_id

    jobs = [executor.submit(far_tasks.write_files), executor.submit(late)]
    assert jobs[0].result()[1] == "ssh"
    assert jobs[1].result() == jobs[1].job_id


def test_a_folder_per_job_can_be_asked_for(box: Workstation | Loopback, tmp_path: Path) -> None:
    job = an_executor(box, tmp_path / "%j").submit(far_tasks.square, 2)
    assert job.result() == 4
    assert job.paths.stdout.parent == tmp_path / job.job_id


def test_a_job_can_be_awaited(executor: submitit.AutoExecutor) -> None:
    job = executor.submit(far_tasks.same, 8)
    assert asyncio.run(job.awaitable().result(poll_interval=0.05)) == 8


def test_without_code_only_what_is_installed_there_can_be_used(box: Workstation | Loopback, tmp_path: Path) -> None:
    executor = an_executor(box, tmp_path, ssh_stage=False)
    assert executor.submit(len, "four").result() == 4
    with pytest.raises(FailedJobError, match="No module named 'far_tasks'"):
        executor.submit(far_tasks.same, 1).result()


def test_gpus_are_hidden_from_a_job_that_asks_for_none(box: Workstation | Loopback, tmp_path: Path) -> None:
    executor = an_executor(box, tmp_path, gpus_per_node=0, cpus_per_task=3)
    assert executor.submit(far_tasks.variable, "CUDA_VISIBLE_DEVICES").result() == ""
    assert executor.submit(far_tasks.variable, "OMP_NUM_THREADS").result() == "3"


# ---- ends


def test_what_a_function_raises_comes_back_with_its_traceback(executor: submitit.AutoExecutor) -> None:
    job = executor.submit(far_tasks.fail, "no such season")
    with pytest.raises(FailedJobError, match=r"(?s)in fail\n.*ValueError: no such season"):
        job.result()
    assert isinstance(job.exception(), FailedJobError)
    assert job.state == "FAILED"
    assert job.done()


def test_a_function_that_calls_exit_has_failed(executor: submitit.AutoExecutor) -> None:
    with pytest.raises(FailedJobError, match="SystemExit: 3"):
        executor.submit(far_tasks.leave, 3).result()


def test_a_process_that_is_killed_says_so(box: Workstation | Loopback, executor: submitit.AutoExecutor) -> None:
    job = executor.submit(far_tasks.die)
    with pytest.raises(UncompletedJobError, match=rf"was killed on {box.host}: .*SIGKILL"):
        job.result()
    assert not isinstance(job.exception(), FailedJobError)
    assert job.state == "FAILED"


def test_a_job_that_takes_more_memory_than_it_asked_for_says_so(box: Workstation | Loopback, tmp_path: Path) -> None:
    job = an_executor(box, tmp_path, mem_gb=0.2).submit(far_tasks.grow, 600)
    with pytest.raises(UncompletedJobError, match=f"ran out of memory on {box.host}"):
        job.result()
    assert job.state == "OUT_OF_MEMORY"


def test_a_cancelled_job_leaves_nothing_behind(box: Workstation | Loopback, executor: submitit.AutoExecutor) -> None:
    job = executor.submit(far_tasks.start_processes)
    printed(job, "started")
    assert job.state == "RUNNING"
    job.cancel()
    assert job.state == "CANCELLED"
    assert sleepers(box) == ""
    with pytest.raises(UncompletedJobError, match="was cancelled"):
        job.result()


def test_a_job_that_is_cancelled_in_the_queue_never_starts(
    box: Workstation | Loopback, executor: submitit.AutoExecutor, name: str, release: Callable[[str], None]
) -> None:
    executor.update_parameters(ssh_slots=1)
    first, second = executor.map_array(far_tasks.wait_for, [name, "never"])
    printed(first, "waiting")
    assert second.state == "PENDING"
    second.cancel()
    assert second.state == "CANCELLED"
    release(name)
    assert first.result() == name
    assert second.stdout() is None


def test_a_cancel_that_could_not_be_delivered_is_at_the_next_contact(executor: submitit.AutoExecutor) -> None:
    job = executor.submit(far_tasks.wait_for, "never")
    printed(job, "waiting")
    job._follow().files.cancel.touch()
    connections.close()
    again = SshJob[str](executor.folder, job.job_id)
    until(again.done, "the end of the job")
    assert again.state == "CANCELLED"


def test_a_job_whose_object_goes_may_be_cancelled_with_it(
    box: Workstation | Loopback, executor: submitit.AutoExecutor
) -> None:
    job = executor.submit(far_tasks.start_processes).cancel_at_deletion()
    printed(job, "started")
    gone = weakref.ref(job)
    del job
    assert gone() is None
    until(lambda: not sleepers(box), "the end of the job")


# ---- again


def test_a_preempted_job_is_queued_again_and_goes_on(
    executor: submitit.AutoExecutor, name: str, release: Callable[[str], None]
) -> None:
    job = executor.submit(far_tasks.Counter(), name)
    printed(job, "step", times=3)
    job._interrupt()
    printed(job, "start 2")
    release(name)
    starts, steps = job.result()
    assert starts == 2
    assert steps >= 3


def test_a_job_goes_on_after_its_time_as_often_as_is_allowed(
    box: Workstation | Loopback, tmp_path: Path, name: str, release: Callable[[str], None]
) -> None:
    executor = an_executor(box, tmp_path, timeout_min=1)
    executor._executor.max_num_timeout = 2
    executor._executor.update_parameters(timeout_min=1 / 60, signal_delay_s=0.5)
    job = executor.submit(far_tasks.Counter(), name)
    with pytest.raises(FailedJobError, match="timed-out too many times"):
        job.result()
    assert (job.stdout() or "").count("start") == 3


def test_a_job_that_cannot_be_kept_ends_with_its_time(box: Workstation | Loopback, tmp_path: Path) -> None:
    executor = an_executor(box, tmp_path)
    executor._executor.update_parameters(timeout_min=1 / 60, signal_delay_s=0.5)
    with pytest.raises(FailedJobError, match="timed-out and not checkpointable"):
        executor.submit(far_tasks.wait_for, "never").result()


# ---- lines and processes that end


def test_a_job_outlives_its_connection(
    box: Workstation | Loopback, executor: submitit.AutoExecutor, name: str, release: Callable[[str], None]
) -> None:
    if isinstance(box, Loopback):
        pytest.skip("a loopback does not kill its connections")
    job = executor.submit(far_tasks.wait_for, name)
    printed(job, "waiting")
    box.kill_connections()
    assert not job.done()
    release(name)
    assert job.result() == name


SCRIPT = """
import sys, submitit, far_tasks
executor = submitit.AutoExecutor(folder=sys.argv[1], cluster="ssh")
executor.update_parameters(ssh_host=sys.argv[2], ssh_config=sys.argv[3], ssh_python=sys.argv[4])
print(executor.submit(far_tasks.wait_for, sys.argv[5]).job_id)
"""


def test_another_process_goes_on_with_a_job(
    box: Workstation | Loopback, project: Path, tmp_path: Path, name: str, release: Callable[[str], None]
) -> None:
    (project / "script.py").write_text(SCRIPT)
    arguments = [str(tmp_path), box.host, str(box.ssh_config), box.python, name]
    done = subprocess.run(
        [sys.executable, "script.py", *arguments], cwd=project, capture_output=True, text=True, check=True
    )
    job: SshJob[str] = SshJob(tmp_path, done.stdout.strip())
    assert not job.done()
    assert job.state in ("PENDING", "RUNNING")
    printed(job, "waiting")
    assert not job.done()
    release(name)
    assert job.result() == name
    assert SshJob[str](tmp_path, job.job_id).done()


FOLLOWER = """
import sys
from submitit_ssh import SshJob
from submitit_ssh.listener import Ended
job = SshJob(sys.argv[1], sys.argv[2])
print(job.state, flush=True)
print(job.result())
"""


def test_two_processes_may_wait_for_one_job(
    executor: submitit.AutoExecutor, name: str, release: Callable[[str], None]
) -> None:
    job = executor.submit(far_tasks.wait_for, name)
    printed(job, "waiting")
    command = [sys.executable, "-c", FOLLOWER, str(executor.folder), job.job_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "RUNNING\n"
        release(name)
        assert job.result() == name
        assert other.stdout.read() == f"{name}\n"


def test_a_pickled_job_is_the_same_job(executor: submitit.AutoExecutor) -> None:
    job = executor.submit(far_tasks.same, 4)
    assert pickle.loads(pickle.dumps(job)).result() == 4


def test_a_forked_process_makes_a_connection_of_its_own(executor: submitit.AutoExecutor) -> None:
    job = executor.submit(far_tasks.same, 4)
    before = list(connections._connections.values())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            other = executor.submit(far_tasks.same, 6)
            code = 10 * job.result() + other.result()
            code += 100 * any(one in before for one in connections._connections.values())
            connections.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 46
    assert job.result() == 4
    assert executor.submit(far_tasks.same, 5).result() == 5


def test_a_machine_that_cannot_be_reached_is_said_and_makes_no_job_done(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host nowhere\n  HostName 127.0.0.1\n  Port 1\n")
    executor = submitit.AutoExecutor(folder=tmp_path / "log", cluster="ssh")
    executor.update_parameters(ssh_host="nowhere", ssh_config=str(config))
    job = executor.submit(len, "four")
    with pytest.raises(FarError, match=r"nowhere cannot be reached \(.*refused.*\)\. Job .* has not reached it"):
        job.result()
    assert job.state == "UNKNOWN"
    assert not job.done()
    assert not SshJob[int](tmp_path / "log", job.job_id).done()
    job.cancel()
    assert job.state == "CANCELLED"


def test_a_job_that_never_was_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="there is no job 123 of the ssh executor"):
        SshJob[int](tmp_path, "123").done()


def test_another_version_of_python_is_refused_before_anything_is_read(
    box: Workstation | Loopback, executor: submitit.AutoExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("submitit_ssh.executor._PYTHON", "3.8")
    job = executor.submit(far_tasks.same, 1)
    version = "{}.{}".format(*sys.version_info)
    sentence = (
        rf"could not be started on {box.host}: \S+ is Python {version}, and the jobs come from Python 3\.8, whose"
    )
    with pytest.raises(UncompletedJobError, match=sentence):
        job.result()


# ---- mistakes


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"hots": "me@box"}, r"no parameter 'hots'\. Did you mean ssh_host\?"),
        ({"mem": 3}, r"no parameter 'mem'\. Did you mean mem_gb\?"),
        ({"host": ""}, r"ssh_host is '', where what ssh is given"),
        ({"config": "/nowhere/config"}, "ssh_config is '/nowhere/config', where an ssh configuration file is needed"),
        ({"slots": 0}, "ssh_slots is 0, where a number of jobs from 1 up is needed"),
        ({"nodes": 2}, "nodes is 2, where 1, for a machine of one's own is one node"),
        ({"timeout_min": -1}, "timeout_min is -1, where a number of minutes above 0 is needed"),
        ({"python": "it's"}, 'python is "it\'s", which not every login shell takes'),
        ({"stage": "/nowhere"}, "ssh_stage is '/nowhere', where a folder of the project, or False"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_when_it_is_given(
    tmp_path: Path, parameters: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingError, match=sentence):
        SshExecutor(tmp_path).update_parameters(**parameters)


def test_a_missing_host_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="has no host"):
        submitit.AutoExecutor(folder=tmp_path, cluster="ssh").submit(len, "four")


def test_submissions_that_are_too_large_are_refused(box: Workstation | Loopback, tmp_path: Path) -> None:
    executor = an_executor(box, tmp_path)
    executor._executor.max_pickle_size_gb = 1e-5
    with pytest.raises(SettingError, match="let the function read its data from a file"):
        executor.map_array(len, ["x" * 10_000] * 10)
