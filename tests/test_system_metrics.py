"""What a trial's machine is busy with, beside the trial's own metrics."""

import sys
import threading
from pathlib import Path

import psutil
import pytest

from sweeproute import journal as journals
from sweeproute import system_metrics
from sweeproute.journal import Journal

NAMES = {"cpu_utilization_percentage", "system_memory_usage_megabytes", "system_memory_usage_percentage"}


def rows(folder: Path) -> list[tuple[str, float, int, int]]:
    return journals.merge(journals.read(folder)[0]).metrics


def test_samples_follow_each_other_until_the_fits_are_over(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "trial") as journal:
        with system_metrics.sampled(journal, 0.05):
            while max((row[2] for row in rows(tmp_path)), default=-1) < 2:
                threading.Event().wait(0.02)
        found = len(rows(tmp_path))
        journal.metrics({"auc": 0.6})
    assert {name.removeprefix("system/") for name, *_ in rows(tmp_path)[:found]} >= NAMES
    steps = [step for name, _, step, _ in rows(tmp_path) if name == "system/cpu_utilization_percentage"]
    assert steps == list(range(len(steps)))
    used = [value for name, value, *_ in rows(tmp_path) if name == "system/system_memory_usage_percentage"]
    total = psutil.virtual_memory().total
    megabytes = [value for name, value, *_ in rows(tmp_path) if name == "system/system_memory_usage_megabytes"]
    assert used == [pytest.approx(one * 1e6 / total * 100, abs=0.1) for one in megabytes]
    times = [moment for *_, moment in rows(tmp_path)]
    assert times == sorted(times)


@pytest.mark.parametrize("every_s", [None, 0, 3600.0])
def test_a_trial_shorter_than_one_interval_has_none(tmp_path: Path, every_s: float | None) -> None:
    with Journal.open(tmp_path, "trial") as journal, system_metrics.sampled(journal, every_s):
        pass
    assert rows(tmp_path) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "system-metrics"]


def test_what_a_fit_raises_ends_the_samples(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "trial") as journal:
        with pytest.raises(ZeroDivisionError), system_metrics.sampled(journal, 3600.0):
            raise ZeroDivisionError
        assert not [thread for thread in threading.enumerate() if thread.name == "system-metrics"]


class Card:
    """Answers as NVIDIA's binding does, for a GPU that tells no power."""

    class NVMLError(Exception):
        """Its own."""

    nvmlInit = nvmlShutdown = staticmethod(lambda: None)
    nvmlDeviceGetCount = staticmethod(lambda: 2)

    @classmethod
    def nvmlDeviceGetHandleByIndex(cls, index):
        if index == 0:
            raise cls.NVMLError  # another user's
        return index

    @staticmethod
    def nvmlDeviceGetMemoryInfo(handle):
        return type("Memory", (), {"used": 6e9, "total": 24e9})

    @staticmethod
    def nvmlDeviceGetUtilizationRates(handle):
        return type("Rates", (), {"gpu": 97})

    @classmethod
    def nvmlDeviceGetPowerUsage(cls, handle):
        raise cls.NVMLError

    nvmlDeviceGetEnforcedPowerLimit = nvmlDeviceGetPowerUsage


def test_a_gpu_says_what_it_tells_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Card)
    gpus = system_metrics.Gpus()
    with gpus:
        assert gpus.read() == {
            "gpu_1_memory_usage_megabytes": 6000.0,
            "gpu_1_memory_usage_percentage": 25.0,
            "gpu_1_utilization_percentage": 97,
        }


@pytest.mark.parametrize("binding", [None, "refuses"])
def test_without_a_driver_or_its_binding_cores_and_memory_are_told(tmp_path, monkeypatch, binding) -> None:
    refuses = type(
        "Binding", (), {"NVMLError": OSError, "nvmlInit": staticmethod(lambda: (_ for _ in ()).throw(OSError))}
    )
    monkeypatch.setitem(sys.modules, "pynvml", refuses if binding else None)
    with Journal.open(tmp_path, "trial") as journal, system_metrics.sampled(journal, 0.01):
        while not rows(tmp_path):
            threading.Event().wait(0.02)
    assert {name.removeprefix("system/") for name, *_ in rows(tmp_path)} == NAMES
    assert journals.merge(journals.read(tmp_path)[0]).last_metrics() == {}
