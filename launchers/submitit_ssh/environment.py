"""What a job of the SSH executor knows of itself: `submitit.JobEnvironment()` inside of one."""

from __future__ import annotations

from typing import NoReturn

from submitit.core.job_environment import JobEnvironment


class Requeued(SystemExit):
    """Ends a job's process, because the job is to be run once more; raised where a signal has met the job's code."""


class SshJobEnvironment(JobEnvironment):
    """The environment of a job on a machine that is reached over SSH.

    `paths.folder` is the job's output folder, which comes back when the job ends.
    """

    _env = {  # noqa: RUF012  (submitit's own form of it)
        "job_id": "SUBMITIT_SSH_JOB_ID",
        "num_tasks": "SUBMITIT_SSH_NTASKS",
        "num_nodes": "SUBMITIT_SSH_JOB_NUM_NODES",
        "node": "SUBMITIT_SSH_NODEID",
        "global_rank": "SUBMITIT_SSH_GLOBALID",
        "local_rank": "SUBMITIT_SSH_LOCALID",
    }

    def _requeue(self, countdown: int) -> NoReturn:
        """See JobEnvironment: the machine's queue takes the job again once its process has ended."""
        raise Requeued(f"queued again, {countdown} time-outs from its end")
