"""Decides whether the job at the head of the queue may start now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .gpus import Sight
from .records import Job
from .resources import Gpu

# Seconds until what a job uses shows in what is measured: of memory, and of a GPU's where use by process is not told.
_SETTLES_S = 5.0
_GPU_SETTLES_S = 30.0


@dataclass(frozen=True)
class Machine:
    """What a decision is made from.

    Attributes:
        slots: Jobs that may run at once.
        paused: Whether nothing may start.
        active: Jobs that run, or are about to.
        memory_free_gb: GB of memory that are free now.
        gpus: What is known of the GPUs.
        now: The monotonic clock.
    """

    slots: int
    paused: bool
    active: Sequence[Job]
    memory_free_gb: float
    gpus: Sight
    now: float


@dataclass(frozen=True)
class Verdict:
    """Whether a job may start.

    Attributes:
        waits: Why not yet, as a clause; empty where it may.
        never: Why this machine can never run it; empty where it can.
        gpus: The indexes of those that it gets.
    """

    waits: str = ""
    never: str = ""
    gpus: list[int] = field(default_factory=list)


def admit(job: Job, machine: Machine) -> Verdict:
    """Whether a job may start, and on which GPUs; the first rule that speaks against it is the reason."""
    wanted = max(job.gpus, 1 if job.gpu_memory_gb > 0 else 0)
    if wanted and machine.gpus.gpus is not None:
        # One that has been here may be so again: a driver comes back.
        ever = machine.gpus.ever
        largest = max((gpu.memory_gb for gpu in ever), default=0.0)
        if len(ever) < wanted:
            return Verdict(never=f"it needs {wanted} GPU, and nvidia-smi shows {len(ever)} here")
        if largest < job.gpu_memory_gb:
            return Verdict(never=f"it needs {job.gpu_memory_gb:g} GB on a GPU, and the largest has {largest:.1f} GB")
    if machine.paused:
        return Verdict("the machine is paused")
    if len(machine.active) >= machine.slots:
        return Verdict(f"all {machine.slots} slots are taken" if machine.slots != 1 else "the slot is taken")
    if machine.active:
        if job.alone:
            return Verdict("it is to run alone, and others run")
        if any(other.alone for other in machine.active):
            return Verdict("a job that is to run alone runs")
        fresh = [other for other in machine.active if other.run is None or machine.now - other.run.began < _SETTLES_S]
        free = machine.memory_free_gb - sum(other.memory_gb for other in fresh)
        if job.memory_gb > free:
            return Verdict(f"it needs {job.memory_gb:g} GB of memory, and {max(0.0, free):.1f} GB are free")
    return _gpus(job, machine, wanted) if wanted else Verdict()


def _gpus(job: Job, machine: Machine, wanted: int) -> Verdict:
    if machine.gpus.trouble:
        return Verdict(machine.gpus.trouble)
    gpus = machine.gpus.gpus
    if gpus is None:
        return Verdict("the GPUs are being looked at")
    if len(gpus) < wanted:
        return Verdict(f"it needs {wanted} GPU, and nvidia-smi shows {len(gpus)} of {len(machine.gpus.ever)} just now")
    free = {gpu.index: gpu.memory_free_gb - _promised(gpu, machine) for gpu in gpus}
    jobs = {gpu.index: sum(gpu.index in other.gpu for other in machine.active) for gpu in gpus}
    # The emptiest first, so that jobs spread; of equally free ones that with the fewest of ours.
    fitting = sorted(
        (index for index in free if free[index] >= job.gpu_memory_gb),
        key=lambda index: (jobs[index], -free[index], index),
    )
    if len(fitting) >= wanted:
        return Verdict(gpus=sorted(fitting[:wanted]))
    most = max(free, key=lambda index: free[index])
    return Verdict(
        f"it needs {job.gpu_memory_gb:g} GB on {'a GPU' if wanted == 1 else f'each of {wanted} GPUs'}, "
        f"and GPU {most} has {max(0.0, free[most]):.1f} GB free"
    )


def _promised(gpu: Gpu, machine: Machine) -> float:
    """GB that jobs on a GPU were promised, and have not taken yet."""
    promised = 0.0
    for other in machine.active:
        if gpu.index not in other.gpu:
            continue
        used = None if other.run is None else gpu.used_gb.get(other.run.pid)
        if used is not None:
            promised += max(0.0, other.gpu_memory_gb - used)
        elif other.run is None or machine.now - other.run.began < _GPU_SETTLES_S:
            promised += other.gpu_memory_gb
    return promised
