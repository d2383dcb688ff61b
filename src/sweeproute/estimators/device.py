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
    return any(Path("/dev").glob("nvidia[0-9]*")) or _nvml_count() > 0


def _nvml_count() -> int:
    """Number of GPUs by the driver's management library, which also answers where there are no device nodes (WSL)."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return 0
    if nvml.nvmlInit_v2() != 0:
        return 0
    count = ctypes.c_uint(0)
    try:
        return count.value if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0 else 0
    finally:
        nvml.nvmlShutdown()
