"""A job on a far machine as submitit's users know a job."""

import atexit
import os
import pickle
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from submitit.core import core
from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import DelayedSubmission, UncompletedJobError

from .connections import Connection, Followed, connect
from .errors import FarError, ResultError
from .far_submitit import MismatchError
from .job_files import JobFiles, state_of

R = TypeVar("R", covariant=True)

# Seconds: between looks at what a wait depends on, that a machine may take to say what it knows of an older job, to
# send the outputs of one that has ended, and to end one that is cancelled.
_LOOK_S = 1.0
_ANSWER_S = 15.0
_OUTPUTS_S = 5.0
_CANCEL_S = 15.0


class SshWatcher(core.InfoWatcher):
    """Knows how jobs stand from what their machines tell; nothing is asked at intervals."""

    def __init__(self) -> None:
        super().__init__()
        self._jobs: weakref.WeakValueDictionary[str, Followed] = weakref.WeakValueDictionary()

    def follow(self, files: JobFiles) -> Followed:
        """What this process knows of a job, the same for all who ask."""
        job = self._jobs.get(files.job_id)
        if job is None or job.pid != os.getpid():
            job = self._jobs[files.job_id] = Followed(files)
        return job

    def get_info(self, job_id: str, mode: str = "standard") -> dict[str, str]:
        """See InfoWatcher; `mode` "cache" asks no machine."""
        job = self._jobs.get(job_id)
        return {} if job is None else {"jobState": state(job, ask=mode != "cache")}

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        """See InfoWatcher."""
        return self.get_info(job_id, mode).get("jobState", "UNKNOWN")

    def register_job(self, job_id: str) -> None:
        """See InfoWatcher; a job is known from `follow` on."""

    def update(self) -> None:
        """See InfoWatcher; there is nothing to ask."""

    def update_if_long_enough(self, mode: str) -> None:
        """See InfoWatcher."""


def attach(job: Followed) -> Connection | None:
    """Follow a job, if nobody does so yet.

    Returns:
        The connection to its machine; None where it is over.

    Raises:
        SettingError: There is no such job.
    """
    with job.lock:
        if job.over.is_set():
            return None
        outcome = job.files.read_result()
        if job.connection is not None and not job.connection.closed:
            if outcome is not None:  # another process follows it too
                job.connection.leave(job, outcome)
                return None
            if job.absent:
                job.connection.adopt(job)
            return job.connection
        if outcome is not None:
            job.finish(outcome)
            return None
        connection = connect(job.files.read_record())
        connection.adopt(job)
        if job.files.cancel.exists():
            connection.cancel(job)
        return connection


def state(job: Followed, ask: bool = True) -> str:
    """How a job stands, in SLURM's words; UNKNOWN while its machine cannot be reached.

    Args:
        job: The job.
        ask: Whether its machine may be asked, the first time.
    """
    connection = attach(job) if ask else job.connection
    if connection is not None and job.adopted and ask:
        _hear(job, connection)
    if job.outcome is not None:
        return state_of(job.outcome)
    if connection is None or not connection.reachable or (job.adopted and not job.answered.done()):
        return "UNKNOWN"
    if job.adopted and job.answered.result() == "ended":
        return "COMPLETING"
    return "RUNNING" if job.started else "PENDING"


def _hear(job: Followed, connection: Connection) -> None:
    """Wait for the first word on an older job, as long as there is hope of one."""
    deadline = time.monotonic() + _ANSWER_S
    while not job.answered.done() and connection.reachable and time.monotonic() < deadline:
        wait([job.answered], timeout=0.1)
    if job.answered.done() and not job.heard:
        job.heard = True
        if job.answered.result() == "ended":
            job.over.wait(_OUTPUTS_S)  # the end itself comes behind the outputs


class SshJob(core.Job[R], Generic[R]):
    """A job on a far machine; another process makes it anew from its folder and its id.

    Args:
        folder: The executor's.
        job_id: Its id.
        tasks: submitit's; one task is all that there is.
    """

    watcher = SshWatcher()

    def __init__(self, folder: Path | str, job_id: str, tasks: Sequence[int] = (0,)) -> None:
        super().__init__(folder, job_id, tasks)

    @property
    def outputs(self) -> Path:
        """Folder of what the job has written into its own; complete once it is done."""
        return JobFiles(self.paths).outputs

    def submission(self) -> DelayedSubmission:
        """See Job."""
        function, args, kwargs = pickle.loads(self.paths.submitted_pickle.read_bytes())  # noqa: S301  (this side's own)
        return DelayedSubmission(function, *args, **kwargs)

    def done(self, force_check: bool = False) -> bool:  # noqa: ARG002
        """See Job; a machine that cannot be reached does not make a job done."""
        job = self._follow()
        if not job.over.is_set():
            state(job)
        return job.over.is_set()

    @property
    def state(self) -> str:
        """See Job: PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, TIMEOUT, OUT_OF_MEMORY, NODE_FAIL or UNKNOWN."""
        return state(self._follow())

    def get_info(self, mode: str = "force") -> dict[str, str]:
        """See Job."""
        return {"jobState": state(self._follow(), ask=mode != "cache")}

    def wait(self) -> None:
        """Wait for the end of the job, also while its machine is away.

        Raises:
            FarError: Its machine cannot be used, or was never reached; says why.
        """
        job = self._follow()
        while not job.over.is_set():
            connection = attach(job)
            if connection is None or job.over.wait(_LOOK_S):
                return
            self._check(job, connection)

    def results(self) -> list[R]:
        """See Job.

        Raises:
            ResultError: The job has returned what JSON does not hold; its files are here.
            FailedJobError: Its function has raised; the message holds the traceback.
            UncompletedJobError: It was ended from outside; the message says by what.
            FarError: Its machine cannot be used, or was never reached.
        """
        results = super().results()
        outcome = self._outcome()
        if outcome["outcome"] == "unfit":
            raise ResultError(
                f"Job {self.job_id} has returned {outcome['what']}, which does not travel. Its files are in "
                f"{self.outputs}. Return numbers, strings, None, and lists and dicts of them, and write everything "
                "else to a file in submitit.JobEnvironment().paths.folder."
            )
        return list(results)

    def cancel(self, check: bool = True) -> None:
        """End the job, with every process that it has started.

        Args:
            check: Whether to wait until it has ended.

        Raises:
            FarError: Its machine cannot be told now; it will be when it answers, or when the job is looked at again.
        """
        job = self._follow()
        connection = attach(job)
        if connection is None:
            return
        machine = connection.settings
        asked = connection.cancel(job)
        if check:
            deadline = time.monotonic() + _CANCEL_S
            while not asked.done() and connection.reachable and time.monotonic() < deadline:
                wait([asked], timeout=0.1)
        if not asked.done():
            job.files.cancel.touch()
        if not check:
            return
        if not asked.done():
            raise FarError(
                f"{machine.host} {connection.why or 'does not answer'}: job {self.job_id} is cancelled when it does."
            )
        job.over.wait(_CANCEL_S)

    def cancel_at_deletion(self, value: bool = True) -> "SshJob[R]":
        """See Job; the end of the process counts as well."""
        super().cancel_at_deletion(value)
        (_to_cancel.add if value else _to_cancel.discard)(self)
        return self

    def _interrupt(self) -> None:
        """Preempt the job, as a cluster would: it is kept, and goes on when its turn comes again."""
        connection = attach(self._follow())
        if connection is not None:
            connection.machine.request("signal", id=self.job_id, signal=JobEnvironment.USR_SIG).result(_ANSWER_S)

    def _check(self, job: Followed, connection: Connection) -> None:
        host, why = connection.settings.host, connection.why
        if connection.refused:
            goes_on = "goes on" if job.answered.done() or job.adopted else "has not reached it, and does so"
            raise FarError(f"{host} {why}. Job {self.job_id} {goes_on} when it can be used again.")
        if not connection.reachable and not job.adopted and not job.answered.done():
            raise FarError(f"{host} {why}. Job {self.job_id} has not reached it, and does so when it can be reached.")

    def _outcome(self) -> dict[str, Any]:
        outcome = self._follow().outcome
        assert outcome is not None
        return dict(outcome)

    def _get_outcome_and_result(self) -> tuple[str, Any]:
        """See Job; what is read is data, and nothing is unpickled."""
        outcome = self._outcome()
        kind = outcome["outcome"]
        if kind == "ended":
            host = JobFiles(self.paths).read_record().host
            raise UncompletedJobError(self._epitaph(host, outcome["class"], outcome["message"]))
        return ("error", outcome["trace"]) if kind == "error" else ("success", outcome.get("value"))

    def _epitaph(self, host: str, error_class: str, message: str) -> str:
        words = {
            "cancelled": f"Job {self.job_id} on {host} was cancelled",
            "killed": f"Job {self.job_id} was killed on {host}",
            "out_of_memory": f"Job {self.job_id} ran out of memory on {host}",
            "time_limit": f"Job {self.job_id} reached its time limit on {host}",
            "lost": f"Job {self.job_id} was lost on {host}",
            "precheck": f"Job {self.job_id} could not be started on {host}",
            "outputs": f"The outputs of job {self.job_id} on {host} are not complete here",
        }.get(error_class, f"Job {self.job_id} ended on {host} as {error_class}")
        first, _, rest = message.partition("\n")
        if MismatchError.__name__ in first:  # nobody needs to know where that was noticed
            first, rest = first.partition(f"{MismatchError.__name__}: ")[2], ""
        lines = [f"{words}: {first}." if first else f"{words}."]
        lines += [rest.rstrip()] if rest else []
        if self.paths.stderr.exists():
            lines.append(f"What it printed: {self.paths.stderr} and {self.paths.stdout}")
        return "\n".join(lines)

    # ---- following

    def _follow(self) -> Followed:
        if self._followed.pid != os.getpid():  # this process was forked
            self._register_in_watcher()
        return self._followed

    def _register_in_watcher(self) -> None:
        self._followed = self.watcher.follow(JobFiles(self.paths))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_followed"}


_to_cancel: "weakref.WeakSet[SshJob[Any]]" = weakref.WeakSet()


def _cancel_all() -> None:
    for job in list(_to_cancel):
        if not job._follow().over.is_set():
            job.cancel(check=False)


# Before the connections are closed, and not in a process that was forked.
atexit.register(_cancel_all)
os.register_at_fork(after_in_child=_to_cancel.clear)
