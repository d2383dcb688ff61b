"""What a job of the SSH executor knows of itself: `submitit.JobEnvironment()` inside of one."""

from __future__ import annotations

from typing import NoReturn

from submitit.core.job_environment import JobEnvironment

from .far_submitit import NAME, VARIABLES, Requeued


class SshJobEnvironment(JobEnvironment):
    """The environment of a job on a machine that is reached over SSH.

    `paths.folder` is the job's output folder, which comes back when the job ends.
    """

    _env = VARIABLES

    @classmethod
    def name(cls) -> str:
        """See JobEnvironment."""
        return NAME

    def _requeue(self, countdown: int) -> NoReturn:
        """See JobEnvironment: the machine's queue takes the job again once its process has ended."""
        raise Requeued(f"queued again, {countdown} time-outs from its end")
