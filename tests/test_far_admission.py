"""The job at the head of the queue starts where there is room, waits with a reason, or can never start here."""

from collections.abc import Sequence
from typing import Any

import pytest

from submitit_ssh.far.admission import Machine, Verdict, admit
from submitit_ssh.far.gpus import Sight
from submitit_ssh.far.job_folder import Run
from submitit_ssh.far.records import Job
from submitit_ssh.far.resources import Gpu

NOW = 1000.0


def job(age_s: float | None = None, gpu: Sequence[int] = (), pid: int = 7, **fields: Any) -> Job:
    """A job; with an age it runs, on these GPUs."""
    wanted: dict[str, Any] = {"memory_gb": 1.0, "gpu_memory_gb": 0.0, "gpus": 0, "alone": False, **fields}
    one = Job("0" * 32, "", "", **wanted)
    if age_s is not None:
        one.run, one.gpu = Run(pid, 1, "", 0, list(gpu), 0.0, NOW - age_s), list(gpu)
    return one


def machine(*active: Job, gpus: Sequence[Gpu] | Sight = (), **fields: Any) -> Machine:
    wanted: dict[str, Any] = {"slots": 4, "paused": False, "memory_free_gb": 10.0, **fields}
    sight = gpus if isinstance(gpus, Sight) else Sight(tuple(gpus), tuple(gpus))
    return Machine(active=active, gpus=sight, now=NOW, **wanted)


def gpu(index: int, free_gb: float, used_gb: dict[int, float] | None = None) -> Gpu:
    return Gpu(index, f"GPU-{index}", "a GPU", 24.0, free_gb, None, used_gb or {})


@pytest.mark.parametrize(
    ("one", "where", "waits"),
    [
        (job(), machine(), ""),
        (job(), machine(paused=True), "the machine is paused"),
        (job(), machine(job(9.0), slots=1), "the slot is taken"),
        (job(), machine(job(9.0), job(9.0), slots=2), "all 2 slots are taken"),
        (job(alone=True), machine(), ""),
        (job(alone=True), machine(job(9.0)), "it is to run alone, and others run"),
        (job(), machine(job(9.0, alone=True)), "a job that is to run alone runs"),
        # One is always admitted where nothing runs: a limit that is too high must not keep it for ever.
        (job(memory_gb=99), machine(), ""),
        (job(memory_gb=99), machine(job(9.0)), "it needs 99 GB of memory, and 10.0 GB are free"),
        # What has just started has not taken its memory yet.
        (job(memory_gb=4), machine(job(1.0, memory_gb=7)), "it needs 4 GB of memory, and 3.0 GB are free"),
        (job(memory_gb=4), machine(job(None, memory_gb=7)), "it needs 4 GB of memory, and 3.0 GB are free"),
        (job(memory_gb=4), machine(job(9.0, memory_gb=7)), ""),
        (job(gpu_memory_gb=1), machine(gpus=Sight()), "the GPUs are being looked at"),
    ],
)
def test_a_job_starts_or_waits_for_the_first_thing_that_is_missing(one: Job, where: Machine, waits: str) -> None:
    verdict = admit(one, where)
    assert (verdict.waits, verdict.never) == (waits, "")


def test_a_gpu_is_chosen_by_what_is_free_of_everybodys_use() -> None:
    two = [gpu(0, 8), gpu(1, 20)]
    assert admit(job(gpu_memory_gb=6), machine(gpus=two)).gpus == [1]
    assert admit(job(gpus=1), machine(gpus=two)).gpus == [1]
    assert admit(job(gpus=2), machine(gpus=two)).gpus == [0, 1]
    # Jobs spread over GPUs that have room.
    assert admit(job(gpu_memory_gb=6), machine(job(99.0, gpu=[1]), gpus=two)).gpus == [0]
    # Others' use counts, without our promise.
    waits = admit(job(gpu_memory_gb=21), machine(gpus=two)).waits
    assert waits == "it needs 21 GB on a GPU, and GPU 1 has 20.0 GB free"
    waits = admit(job(gpu_memory_gb=10, gpus=2), machine(gpus=two)).waits
    assert waits.startswith("it needs 10 GB on each of 2 GPUs, and GPU 1 has")


@pytest.mark.parametrize(
    ("age_s", "used", "fits"),
    [
        # Promised, and nothing taken yet.
        (2.0, None, False),
        (2.0, 1.0, False),
        # All of it taken: it shows in what is free.
        (2.0, 8.0, True),
        # Where use by process is not told, what is free is believed after a while.
        (60.0, None, True),
        # Where it is told, the promise holds for as long as it runs.
        (60.0, 1.0, False),
    ],
)
def test_what_a_running_job_was_promised_on_a_gpu_is_kept_for_it(age_s: float, used: float | None, fits: bool) -> None:
    one = gpu(0, 12.0, {} if used is None else {7: used})
    verdict = admit(job(gpu_memory_gb=8), machine(job(age_s, gpu=[0], gpu_memory_gb=8), gpus=[one]))
    assert (verdict.waits == "") == fits


TWO = (gpu(0, 20), gpu(1, 20))


@pytest.mark.parametrize(
    ("one", "sight", "waits"),
    [
        # Nothing is known yet of what is here.
        (job(gpus=9), Sight(trouble="nvidia-smi fails: no driver"), "nvidia-smi fails: no driver"),
        # What was seen last may not be so any more.
        (job(gpus=1), Sight(TWO, TWO, "nvidia-smi fails: no driver"), "nvidia-smi fails: no driver"),
        # One has fallen out of its slot, and the other is as good as ever; or all have.
        (job(gpus=2), Sight(TWO[:1], TWO), "it needs 2 GPU, and nvidia-smi shows 1 of 2 just now"),
        (job(gpu_memory_gb=20), Sight((), TWO), "it needs 1 GPU, and nvidia-smi shows 0 of 2 just now"),
        (job(gpus=1), Sight(TWO[:1], TWO), ""),
        # Who needs none does not mind.
        (job(), Sight(TWO, TWO, "nvidia-smi fails: no driver"), ""),
    ],
)
def test_a_gpu_that_was_here_is_waited_for(one: Job, sight: Sight, waits: str) -> None:
    verdict = admit(one, machine(gpus=sight))
    assert (verdict.waits, verdict.never) == (waits, "")


def test_what_no_look_has_ever_shown_is_refused_also_while_looks_fail() -> None:
    failing = Sight(TWO, TWO, "nvidia-smi fails: no driver")
    assert admit(job(gpus=3), machine(gpus=failing)) == Verdict(never="it needs 3 GPU, and nvidia-smi shows 2 here")


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (job(gpus=2), "it needs 2 GPU, and nvidia-smi shows 1 here"),
        (job(gpu_memory_gb=30), "it needs 30 GB on a GPU, and the largest has 24.0 GB"),
    ],
)
def test_what_the_machine_can_never_serve_is_said_at_once_also_while_it_is_full(one: Job, said: str) -> None:
    assert admit(one, machine(job(9.0), slots=1, gpus=[gpu(0, 24)])) == Verdict(never=said)
