"""An interrupt is answered where it does no harm, and never lost."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from omegaconf import OmegaConf

from hydra_plugins.sweeproute._interrupt import HeldInterrupt

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_it_is_held_until_somebody_looks(number: signal.Signals) -> None:
    done = []

    def work() -> None:
        with HeldInterrupt() as interrupt:
            interrupt.look()
            os.kill(os.getpid(), number)
            done.append("what was under way")
            interrupt.look()
            done.append("something more")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["what was under way"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_wait_is_left_at_once(number: signal.Signals) -> None:
    def wait() -> None:
        with HeldInterrupt() as interrupt, interrupt.waiting():
            threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
            signal.pause()

    with pytest.raises(KeyboardInterrupt):
        wait()


def test_one_that_came_before_the_wait_is_answered_before_it() -> None:
    def wait() -> None:
        with HeldInterrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGINT)
            with interrupt.waiting():
                raise AssertionError("it waited")

    with pytest.raises(KeyboardInterrupt):
        wait()


def test_handlers_are_as_they_were_afterwards() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with HeldInterrupt():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_what_is_to_be_ignored_stays_ignored_and_a_request_to_end_is_heard() -> None:
    code = (
        "import os, signal\n"
        "from hydra_plugins.sweeproute._interrupt import HeldInterrupt\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with HeldInterrupt() as interrupt:\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    interrupt.look()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    interrupt.look()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("KeyboardInterrupt\n")
    assert "line 8" in done.stderr


def test_a_config_that_is_being_made_does_not_swallow_it() -> None:
    """Without the hold, OmegaConf takes an interrupt that comes in the midst of a list for an error of the config."""

    def compose() -> None:
        with HeldInterrupt() as interrupt:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            ends = time.monotonic() + 0.2
            while time.monotonic() < ends:
                OmegaConf.create({"wait": list(range(50))})
            interrupt.look()

    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt):
            compose()
    finally:
        signal.signal(signal.SIGALRM, before)
