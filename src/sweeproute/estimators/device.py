"""Settles the device that a model is trained on."""

import ctypes
import os
import platform
import re
import sys
from collections.abc import Collection
from pathlib import Path

from sweeproute.estimators.errors import ModelError

_DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")


def settle_device(device: str, usable: Collection[str] = ("cpu", "cuda")) -> str:
    """Turn `auto` into the device that this machine has; other devices are taken as they are.

    Args:
        device: auto, cpu, cuda, cuda:N for the N-th GPU, or mps for the GPU of an Apple chip.
        usable: Devices that the model can use, of cpu, cuda and mps.

    Returns:
        cpu, cuda, cuda:N or mps; auto gives the first of cuda, mps and cpu that is there for this model.

    Raises:
        ModelError: The device is none of these, or mps for a model that cannot use it.
    """
    if device == "auto":
        if "cuda" in usable and _sees_cuda():
            return "cuda"
        return "mps" if "mps" in usable and _sees_mps() else "cpu"
    if not _DEVICE.fullmatch(device):
        raise ModelError(f"device={device} is not known; use auto, cpu, cuda, cuda:N or mps.")
    if device == "mps" and "mps" not in usable:
        raise ModelError(
            f"device=mps is not for this model, which can use {' and '.join(usable)}; use device=auto, which gives "
            "each model what it can use."
        )
    return device


def _sees_mps() -> bool:
    """Whether torch would find the GPU of an Apple chip; elsewhere nobody pays for its import to know that."""
    if sys.platform != "darwin" or platform.machine() != "arm64":
        return False
    from sweeproute.models.network_training import sees_mps

    return sees_mps()


def _sees_cuda() -> bool:
    """Whether CUDA would find a device, told without torch or a CUDA context, in about a millisecond."""
    if sys.platform == "darwin":
        return False
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    # CUDA stops at the first entry that is no device, so these two hide all of them.
    if visible is not None and (not visible.strip() or visible.strip().startswith("-1")):
        return False
    return any(Path("/dev").glob("nvidia[0-9]*")) or len(_nvml_names()) > 0


def device_name(device: str) -> str:
    """A device with the GPU's model, on which the last bits of a result depend.

    Args:
        device: cpu, cuda, cuda:N or mps.

    Returns:
        cpu and mps as they are; else such as "cuda (NVIDIA GeForce RTX 4090)", with all models where the machine has
        several, and without any where the driver tells none.
    """
    models = " + ".join(sorted(set(_nvml_names()))) if device.startswith("cuda") else ""
    return f"{device.partition(':')[0]} ({models})" if models else device


def _nvml_names() -> list[str]:
    """Models of the GPUs by the driver's management library, which answers without device nodes (WSL), too."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return []
    if nvml.nvmlInit_v2() != 0:
        return []
    count, names = ctypes.c_uint(0), []
    try:
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        for index in range(count.value):
            handle, name = ctypes.c_void_p(), ctypes.create_string_buffer(96)
            if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) == 0:
                nvml.nvmlDeviceGetName(handle, name, len(name))
            names.append(name.value.decode())
        return names
    finally:
        nvml.nvmlShutdown()
