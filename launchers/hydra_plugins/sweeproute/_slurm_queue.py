"""Asks SLURM's own commands what a cluster offers, and what became of jobs."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._errors import SettingsError, nearest_first
from ._retry import ErrorClass

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol")
# Minutes that a job gets where neither the platform nor its partition says.
DAY = 24 * 60
# A job's id that is never given.
_NO_JOB = "999999999"
# Seconds within which a controller that is alive has answered.
_PATIENCE_S = 30.0

ACTIVE = {
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "COMPLETING",
    "STAGE_OUT",
    "SUSPENDED",
    "STOPPED",
    "SIGNALING",
    "RESIZING",
}
# Why a job waits that nobody but a person can change.
HOPELESS = {
    "AccountNotAllowed",
    "BadConstraints",
    "InvalidAccount",
    "InvalidQOS",
    "MaxMemPerLimit",
    "PartitionConfig",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOSMaxWallDurationPerJobLimit",
    "QOSNotAllowed",
}
# What of submitit's SLURM parameters a platform says by keys of its own, or a job by its class.
_OURS = {
    "array_parallelism",
    "cpus_per_task",
    "job_name",
    "mem",
    "mem_per_cpu",
    "mem_per_gpu",
    "nodes",
    "ntasks_per_node",
    "num_gpus",
    "partition",
    "setup",
    "srun_args",
    "stderr_to_stdout",
    "time",
    "use_srun",
}


@dataclass(frozen=True)
class SlurmSettings:
    """What a platform's entry says to SLURM.

    Attributes:
        partition: Its partition; None is the cluster's default.
        timeout_min: Minutes that a job may take; None is what the partition allows, a day at most.
        setup: Shell lines that run before a job's Python.
        parameters: Further parameters of submitit's SLURM executor, by its names.
    """

    partition: str | None = None
    timeout_min: int | None = None
    setup: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Partition:
    name: str
    state: str
    default: bool
    max_min: int | None


@dataclass(frozen=True)
class End:
    """What SLURM remembers of a job's end.

    Attributes:
        code: Exit code.
        signal: The signal that killed it; 0 for none.
        run_s: Seconds that it ran, in whole seconds; None where that is not known.
    """

    code: int = 0
    signal: int = 0
    run_s: float | None = None


class SlurmSilentError(RuntimeError):
    """SLURM's controller gave no answer, or an error in its stead."""


def check(settings: SlurmSettings, where: str) -> None:
    """Refuse parameters that submitit does not have, or that have a place of their own.

    Args:
        settings: The platform's.
        where: The platform's key in the config.

    Raises:
        SettingsError: Such a parameter.
    """
    if settings.timeout_min is not None and settings.timeout_min < 1:
        raise SettingsError(f"{where}.timeout_min is {settings.timeout_min}. It takes 1 or more minutes.")
    if not settings.parameters:
        return
    from submitit import SlurmExecutor

    allowed = SlurmExecutor._valid_parameters() - _OURS
    for name in settings.parameters:
        if name in _OURS:
            raise SettingsError(
                f"{where}.slurm has {name}, which is settled by the platform's other keys (partition, timeout_min, "
                "setup) or by the job (memory, threads, GPU). Take it out."
            )
        if name not in allowed:
            raise SettingsError(
                f"{where}.slurm has {name}, which submitit does not know. Allowed: {nearest_first(name, allowed)}. "
                f"Any other option of sbatch goes into {where}.slurm.additional_parameters."
            )


def why_not(settings: SlurmSettings, where: str) -> str:
    """Say why no job can be submitted from here.

    Args:
        settings: The platform's.
        where: The platform's key in the config.

    Returns:
        A clause that follows the platform's name, with what to do; empty where jobs can be submitted.
    """
    gone = next((command for command in COMMANDS if shutil.which(command) is None), None)
    if gone is not None:
        return (
            f"needs SLURM's {gone}, which is not on the PATH here (start the sweep on a login node of the cluster, "
            "with its SLURM module loaded)"
        )
    try:
        partitions = _partitions()
    except SlurmSilentError as error:
        return f"has a SLURM that does not answer: {error} (ask it by `scontrol ping`)"
    names = [one.name for one in partitions if one.state == "UP"]
    partition = _chosen(settings, partitions)
    if partition is None and settings.partition is None:
        return f"has no default partition (set {where}.partition to one of {', '.join(names)})"
    if partition is None:
        known = nearest_first(str(settings.partition), names)
        return f"has no partition {settings.partition!r} (set {where}.partition to one of {known})"
    if partition.state != "UP":
        return (
            f"has its partition {partition.name} {partition.state} "
            f"(wait for it, or set {where}.partition to one of {nearest_first('', names) or 'those to come'})"
        )
    if settings.timeout_min and partition.max_min and settings.timeout_min > partition.max_min:
        return (
            f"allows {partition.max_min} minutes in its partition {partition.name}, "
            f"and {where}.timeout_min is {settings.timeout_min} (lower it)"
        )
    return ""


def time_limit_min(settings: SlurmSettings) -> int:
    """Minutes that a job of a platform may take.

    Raises:
        SlurmSilentError: SLURM was asked, and did not answer.
    """
    if settings.timeout_min is not None:
        return settings.timeout_min
    partition = _chosen(settings, _partitions())
    return min(DAY, partition.max_min) if partition and partition.max_min else DAY


def _chosen(settings: SlurmSettings, partitions: Iterable[_Partition]) -> _Partition | None:
    for one in partitions:
        if one.name == settings.partition or (settings.partition is None and one.default):
            return one
    return None


def _partitions() -> list[_Partition]:
    found = []
    for line in ask("scontrol", "show", "partition", "--oneliner").splitlines():
        said = _pairs(line)
        if "PartitionName" in said:
            found.append(
                _Partition(said["PartitionName"], said["State"], said["Default"] == "YES", _minutes(said["MaxTime"]))
            )
    return found


def _pairs(line: str) -> dict[str, str]:
    return {key: value for key, equals, value in (word.partition("=") for word in line.split()) if equals}


def _minutes(written: str) -> int | None:
    """Minutes of days-hours:minutes:seconds; None where there is no limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", written)
    if found is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes


def ask(*command: str) -> str:
    """What one of SLURM's commands prints.

    Raises:
        SlurmSilentError: It failed, or took too long.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmSilentError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise SlurmSilentError(f"{command[0]}: {_last_line(done.stderr)}")
    return done.stdout


def states(jobs: Iterable[str]) -> dict[str, tuple[str, str]]:
    """State and reason of jobs, by id; a job that SLURM has forgotten is left out.

    Args:
        jobs: Ids as submitit gives them: "12", or "12_3" in an array. With none, it is asked whether it is there.

    Raises:
        SlurmSilentError: SLURM did not answer, so that nothing is known.
    """
    mains = ",".join(sorted({job.split("_")[0] for job in jobs})) or _NO_JOB
    try:
        # Every state: a job that has just ended is kept for some minutes, also where there is no accounting.
        said = ask("squeue", "--noheader", "--array", "--states=all", f"--jobs={mains}", "--format=%i|%T|%r")
    except SlurmSilentError as error:
        if "Invalid job id" in str(error):  # none of them is known any more
            return {}
        raise
    lines = (line.strip().split("|") for line in said.splitlines())
    return {parts[0]: (parts[1], parts[2]) for parts in lines if len(parts) == 3}


def cancel(jobs: Iterable[str]) -> None:
    """End jobs, if they are there.

    Raises:
        SlurmSilentError: SLURM did not answer.
    """
    ids = sorted(jobs)
    if ids:
        ask("scancel", "--quiet", *ids)


def end_of(job: str) -> End:
    """What SLURM remembers of a job's end; as little as nothing."""
    try:
        said = ask("scontrol", "show", "job", "--oneliner", job)
    except SlurmSilentError:
        return End()
    found = re.search(r"\bExitCode=(\d+):(\d+) RunTime=(?:(\d+)-)?(\d+):(\d+):(\d+)", said)
    if found is None:
        return End()
    code, signal, days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    if code > 128:  # so a shell says that its last command was killed
        code, signal = 0, code - 128
    return End(code, signal, ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds)


def how_it_ended(job: str, state: str, end: End, log: str) -> tuple[ErrorClass, str]:
    """Tell what became of a job that left no answer.

    Args:
        job: Its id.
        state: Its last state; empty where SLURM has forgotten it.
        end: What SLURM remembers of its end.
        log: The last of what its own process and SLURM's wrote.

    Returns:
        The class of the failure, and what is known, as a sentence.
    """
    last = _last_line(log)
    more = f": {last}" if last else ""
    if state in ("TIMEOUT", "DEADLINE"):
        return "time_limit", f"SLURM job {job} reached its time limit (timeout_min of the platform)"
    if state == "OUT_OF_MEMORY" or re.search(r"oom.kill|out of memory|exceeded \w* ?memory limit", log, re.IGNORECASE):
        return "out_of_memory", f"SLURM job {job} used more memory than it had asked for{more}"
    if state in ("NODE_FAIL", "BOOT_FAIL"):
        return "lost", f"SLURM job {job} lost its node ({state})"
    if state == "PREEMPTED":
        return "killed", f"SLURM job {job} was preempted"
    if state == "CANCELLED":
        return "killed", f"SLURM job {job} was cancelled from outside"
    if end.signal:
        return "killed", f"SLURM job {job} was killed by signal {end.signal}{more}"
    if end.code:
        return "killed", f"SLURM job {job} ended without an answer, with the exit code {end.code}{more}"
    return (
        "killed",
        f"SLURM job {job} has gone without an answer (is the sweep's folder on storage that its node shares?)",
    )


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
