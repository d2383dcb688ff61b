"""Settles the device that a model is trained on."""

import ctypes
import os
import re
import sys
from pathlib import Path

from sweeproute.estimators.errors import ModelError

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


def settle_device(device: str) -> str:
    """Turn `auto` into the device that this machine has; other devices are taken as they are.

    Args:
        device: auto, cpu, cuda, or cuda:N for the N-th GPU.

    Returns:
        cpu, cuda or cuda:N; auto gives cuda where a CUDA device is visible, else cpu.

    Raises:
        ModelError: The device is none of these.
    """
    if device == "auto":
        return "cuda" if _sees_cuda() else "cpu"
    if not _DEVICE.fullmatch(device):
        raise ModelError(f"device={device} is not known; use auto, cpu, cuda or cuda:N.")
    return device


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
        device: cpu, cuda or cuda:N.

    Returns:
        cpu as it is; else such as "cuda (NVIDIA GeForce RTX 4090)", with all models where the machine has several, and
        without any where the driver tells none.
    """
    models = " + ".join(sorted(set(_nvml_names()))) if device != "cpu" else ""
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
