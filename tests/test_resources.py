"""What is said to be free and used is what there is."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from submitit_ssh.far import resources

GROW = """
import os, sys
held = bytearray(60_000_000)
for at in range(0, len(held), 4096): held[at] = 1
if os.fork() == 0:
    own = bytearray(20_000_000)
    for at in range(0, len(own), 4096): own[at] = 1
    print(os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
os.wait()
"""


def test_memory_is_what_there_is() -> None:
    total, free = resources.memory()
    known = psutil.virtual_memory()
    assert 0 < free <= total <= known.total / 1e9 + 0.001
    assert free <= psutil.virtual_memory().available / 1e9 + 0.5
    assert resources.Memory().free_gb() == pytest.approx(free, abs=0.5)


def test_the_load_says_all_that_a_decision_needs(tmp_path: Path) -> None:
    load = resources.load(tmp_path)
    assert load.keys() == {"memory_gb", "memory_free_gb", "disk_free_gb", "cores", "load1"}
    assert load["disk_free_gb"] == pytest.approx(psutil.disk_usage(str(tmp_path)).free / 1e9, abs=1)
    assert load["cores"] == len(os.sched_getaffinity(0))
    assert resources.memory_kills() >= 0


def test_what_forked_processes_share_counts_once_where_it_is_measured_exactly() -> None:
    process = subprocess.Popen([sys.executable, "-c", GROW], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    child = int(process.stdout.readline())
    pids = [process.pid, child]
    private, upper = resources.private_memory_gb(pids), resources.upper_memory_gb(pids)
    one = resources.private_memory_gb([child])
    process.stdin.close()
    process.stdout.close()
    process.wait()
    # 60 MB are shared by both, 20 MB are one's own.
    assert 0.02 <= one <= 0.04
    assert 0.14 <= upper <= 0.20
    assert private <= 0.05
    assert resources.private_memory_gb(pids) == 0.0


def test_gpus_are_read_as_nvidia_smi_tells_of_them() -> None:
    gpus = resources.parse_gpus(
        "1, GPU-b, NVIDIA GeForce RTX 4090, 24564, 23000, 3\n0, GPU-a, NVIDIA GeForce RTX 4090, 24564, 1000, [N/A]\n",
        "GPU-b, 4711, 1200\nGPU-b, 4712, [N/A]\nGPU-x, 1, 5\n",
    )
    assert [gpu.index for gpu in gpus] == [0, 1]
    assert gpus[0].memory_gb == pytest.approx(25.757, abs=0.001)
    assert gpus[0].memory_free_gb == pytest.approx(1.049, abs=0.001)
    assert [gpu.utilisation for gpu in gpus] == [None, 3.0]
    assert gpus[1].used_gb == {4711: pytest.approx(1.258, abs=0.001)}


@pytest.mark.parametrize(
    "said",
    ["", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", "No devices were found\n"],
)
def test_a_driver_in_trouble_shows_no_gpu(said: str) -> None:
    assert resources.parse_gpus(said, said) == []
