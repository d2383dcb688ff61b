"""What is known of the GPUs outlives an nvidia-smi that fails for a moment."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from far_side import PATIENCE_S, FarSide, living
from submitit_ssh.far import gpus
from submitit_ssh.far.gpus import Gpus, Sight
from submitit_ssh.far.loop import Loop

ONE = "0, GPU-a, Some GPU, 24000, 20000, 3"
TWO = f"{ONE}\n1, GPU-b, Some GPU, 24000, 20000, 3"


class Smi:
    """An nvidia-smi of a test's own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "programs" / "nvidia-smi"
        self.path.parent.mkdir()
        self.variable = f"{self.path.parent}:{os.environ['PATH']}"

    def shows(self, rows: str) -> None:
        self.does(f'case "$1" in --query-gpu*) echo "{rows}";; esac')

    def does(self, what: str) -> None:
        beside = self.path.with_name("new")
        beside.write_text(f"#!/bin/sh\n{what}\n")
        beside.chmod(0o755)
        beside.replace(self.path)


@pytest.fixture
def smi(tmp_path: Path) -> Smi:
    return Smi(tmp_path)


class Watch:
    """Looks at the GPUs when it is told to."""

    def __init__(self) -> None:
        self._until: Callable[[], bool] = lambda: False
        self._loop = Loop(self._turned)
        self.gpus = Gpus(self._loop)

    def look(self) -> Sight:
        """What is known once another look is over."""
        before = self.gpus.found
        self._until = lambda: self.gpus.found is not before
        self._loop._stopped = False
        late = self._loop.after(PATIENCE_S, self._loop.stop)
        self.gpus.look()
        self._loop.run()
        late.cancel()
        assert self._until(), "no look has ended"
        return self.gpus.found

    def _turned(self) -> None:
        if self._until():
            self._loop.after(0.0, self._loop.stop)


@pytest.fixture
def watch(smi: Smi, monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(gpus, "_EVERY_S", 0.0)
    monkeypatch.setenv("PATH", smi.variable)
    smi.shows(TWO)
    return Watch()


def shown(sight: Sight) -> list[int] | None:
    return None if sight.gpus is None else [gpu.index for gpu in sight.gpus]


def test_a_look_that_succeeds_is_what_is_known(smi: Smi, watch: Watch) -> None:
    assert watch.gpus.found == Sight()
    both = watch.look()
    assert (shown(both), both.trouble, both.ever) == ([0, 1], "", both.gpus)
    smi.shows(ONE)
    sight = watch.look()
    assert (shown(sight), sight.trouble, len(sight.ever)) == ([0], "", 2)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("exit 9", "nvidia-smi fails: it says nothing and ends with code 9"),
        ("exit 0", "nvidia-smi fails: it says nothing and ends with code 0"),
        ("echo NVIDIA-SMI has failed.; echo; echo No driver. >&2; exit 9", "nvidia-smi fails: No driver."),
        ("echo No driver.; exit 0", "nvidia-smi fails: No driver."),
        ("exec sleep 1000", "nvidia-smi has not answered within 0.2 s"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_look_that_fails_is_said_and_takes_nothing_of_what_is_known(
    smi: Smi, watch: Watch, monkeypatch: pytest.MonkeyPatch, does: str, said: str, first: bool
) -> None:
    before = Sight() if first else watch.look()
    if "sleep" in does:
        monkeypatch.setattr(gpus, "_GIVEN_UP_S", 0.2)
    smi.does(does)
    assert watch.look() == Sight(before.gpus, before.ever, said)
    monkeypatch.undo()
    monkeypatch.setattr(gpus, "_EVERY_S", 0.0)
    smi.shows(TWO)
    sight = watch.look()
    assert (shown(sight), sight.trouble) == ([0, 1], "")


def test_that_there_is_no_gpu_is_an_answer(smi: Smi, watch: Watch) -> None:
    smi.does("echo No devices were found; exit 6")
    assert watch.look() == Sight(())


def test_where_there_is_no_nvidia_smi_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "nvidia_smi", lambda: None)
    assert Watch().gpus.found == Sight(())


def test_an_nvidia_smi_that_cannot_be_started_any_more_has_failed(smi: Smi, watch: Watch) -> None:
    watch.look()
    smi.path.unlink()
    sight = watch.look()
    assert shown(sight) == [0, 1]
    assert sight.trouble.startswith("nvidia-smi fails: ")


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FarSide]:
    yield from living(tmp_path)


def test_a_job_waits_while_nvidia_smi_fails_and_then_starts(far: FarSide, smi: Smi) -> None:
    far.variables["PATH"] = smi.variable
    smi.does("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    near = far.near()
    spec = far.spec(gpus=1)
    near.submit(spec)
    said = "nvidia-smi fails: Failed to initialize NVML: Driver/library version mismatch"
    near.until(lambda load: load["waits"] == said)
    smi.shows(ONE)
    assert near.ended(spec["id"])["class"] is None
    # It fails again under one that waits for room, and what is known stays.
    again = far.spec(gpu_memory_gb=23)
    near.submit(again)
    near.until(lambda load: load["waits"].startswith("it needs 23 GB on a GPU"))
    smi.does("exit 9")
    load = near.until(lambda load: load["waits"].startswith("nvidia-smi fails: it says nothing"))
    assert len(load["gpus"]) == 1
    smi.shows(ONE.replace("20000", "24000"))
    assert near.ended(again["id"])["class"] is None
