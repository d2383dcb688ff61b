"""The process of a search takes the memory of its arithmetic once."""

import platform
import resource
import subprocess
import sys

import pytest

from hydra_plugins.sweeproute import _kept_memory

# As many arrays as one point of tpe needs, 2 MB each; prints how often a page had to be fetched.
WORK = """
import resource, sys
import numpy as np
from hydra_plugins.sweeproute import _kept_memory

if sys.argv[1] == "kept":
    assert _kept_memory.keep()
np.ones(250_000) * 2
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    first = np.ones(250_000)
    second = first * 2 + first
    del first, second
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", WORK, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library has no mallopt")
def test_pages_are_fetched_once() -> None:
    assert resource.getpagesize() > 0
    assert faults("kept") < faults("not") / 5


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kept_memory.ctypes, "CDLL", lambda name: object())
    assert not _kept_memory.keep()
