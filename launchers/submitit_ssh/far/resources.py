"""Measures what a machine has free: memory, disk, GPUs, with what the jobs on it use."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .processes import read

_PAGE = os.sysconf("SC_PAGE_SIZE")
# Seconds that a measurement of free memory holds.
_FRESH_S = 0.1
_NVIDIA_SMI = (
    "/usr/bin/nvidia-smi",
    "/usr/local/bin/nvidia-smi",
    "/usr/local/nvidia/bin/nvidia-smi",
    "/usr/lib/wsl/lib/nvidia-smi",
    "/opt/bin/nvidia-smi",
)
GPU_QUERY = ("--query-gpu=index,uuid,name,memory.total,memory.free,utilization.gpu", "--format=csv,noheader,nounits")
USE_QUERY = ("--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader,nounits")
# nvidia-smi says MiB; a GB here is 10^9 bytes.
_MIB_GB = 1048576 / 1e9


@dataclass
class Gpu:
    """One GPU as nvidia-smi told of it last.

    Attributes:
        index: Its number in PCI order.
        uuid, name: Its own.
        memory_gb, memory_free_gb: GB in all, and free of everybody's use.
        utilisation: Per cent of the time in which it was busy; None where it does not say.
        used_gb: GB by process, where it says so.
    """

    index: int
    uuid: str
    name: str
    memory_gb: float
    memory_free_gb: float
    utilisation: float | None
    used_gb: dict[int, float] = field(default_factory=dict)


def nvidia_smi() -> str | None:
    """Path of nvidia-smi, also where a shell that nobody types into does not find it; None without one."""
    found = shutil.which("nvidia-smi")
    return found or next((path for path in _NVIDIA_SMI if os.access(path, os.X_OK)), None)


def parse_gpus(gpus: str, uses: str) -> list[Gpu]:
    """The GPUs that nvidia-smi tells of.

    Args:
        gpus: What it says to GPU_QUERY.
        uses: What it says to USE_QUERY.
    """
    found: dict[str, Gpu] = {}
    for line in gpus.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != 6 or not cells[0].isdigit():
            continue
        total, free = _number(cells[3]), _number(cells[4])
        found[cells[1]] = Gpu(
            index=int(cells[0]),
            uuid=cells[1],
            name=cells[2],
            memory_gb=(total or 0.0) * _MIB_GB,
            memory_free_gb=(free or 0.0) * _MIB_GB,
            utilisation=_number(cells[5]),
        )
    for line in uses.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 3 and cells[0] in found and cells[1].isdigit():
            used = _number(cells[2])  # in a container and under WSL it does not say
            if used is not None:
                found[cells[0]].used_gb[int(cells[1])] = used * _MIB_GB
    return sorted(found.values(), key=lambda gpu: gpu.index)


def memory() -> tuple[float, float]:
    """GB of memory in all, and available, within the limits of the control group that this process is in."""
    total = free = 0.0
    for line in read("/proc/meminfo").splitlines():
        if line.startswith(b"MemTotal:"):
            total = int(line.split()[1]) * 1024
        elif line.startswith(b"MemAvailable:"):
            free = int(line.split()[1]) * 1024
            break
    for limit, used in _limits():
        if limit < total:
            total = limit
        free = min(free, limit - used)
    return total / 1e9, max(0.0, free) / 1e9


def memory_kills() -> int:
    """How many processes the kernel has killed since the boot because memory ran out."""
    for line in read("/proc/vmstat").splitlines():
        if line.startswith(b"oom_kill "):
            return int(line.split()[1])
    return 0


class Memory:
    """Free memory as it is looked at when many jobs start: measured anew after a moment, not for each.

    Attributes:
        kills: What `memory_kills` gave by then.
    """

    def __init__(self) -> None:
        self._at = float("-inf")
        self._free_gb = 0.0
        self.kills = 0

    def free_gb(self) -> float:
        """GB that are available."""
        now = time.monotonic()
        if now - self._at > _FRESH_S:
            self._at, self._free_gb, self.kills = now, memory()[1], memory_kills()
        return self._free_gb


def disk_free_gb(path: Path) -> float:
    """GB that this user can still write where a path lies."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize / 1e9


def load(root: Path) -> dict[str, Any]:
    """What is said of the machine as a whole, GPUs aside."""
    total, free = memory()
    return {
        "memory_gb": round(total, 3),
        "memory_free_gb": round(free, 3),
        "disk_free_gb": round(disk_free_gb(root), 3),
        "cores": len(os.sched_getaffinity(0)),
        "load1": os.getloadavg()[0],
    }


def upper_memory_gb(pids: list[int]) -> float:
    """GB that processes use at most: what they share by having been forked counts for each of them."""
    pages = 0
    for pid in pids:
        fields = read(f"/proc/{pid}/statm").split()
        if len(fields) > 2:
            pages += int(fields[1]) - int(fields[2])
    return pages * _PAGE / 1e9


def private_memory_gb(pids: list[int]) -> float:
    """GB that nobody else uses: what would be free again without these processes.

    It takes milliseconds per GB: the kernel walks the pages.
    """
    kilobytes = 0
    for pid in pids:
        for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith((b"Private_", b"Swap:")):
                kilobytes += int(line.split()[1])
    return kilobytes * 1024 / 1e9


def _limits() -> list[tuple[int, int]]:
    """Limit and use, in bytes, of each control group above this process that has a limit on memory."""
    found = []
    for line in read("/proc/self/cgroup").decode(errors="replace").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, names = Path("/sys/fs/cgroup"), ("memory.max", "memory.current", b"inactive_file ")
        elif "memory" in controllers.split(","):
            top = Path("/sys/fs/cgroup/memory")
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file ")
        else:
            continue
        folder = top / path.lstrip("/")
        # A container may see its own group as the top, under the name that it has outside.
        for place in [folder, *folder.parents]:
            limit, used = read(f"{place}/{names[0]}").strip(), read(f"{place}/{names[1]}").strip()
            if limit.isdigit() and used.isdigit():
                found.append((int(limit), int(used) - _cached(place, names[2])))
            if place == top:
                break
    return found


def _cached(group: Path, name: bytes) -> int:
    """Bytes of a control group that the kernel takes back before anybody goes without."""
    for line in read(f"{group}/memory.stat").splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None  # "[N/A]"
