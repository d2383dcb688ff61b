"""Runs commands of `sweeproute` where an app with a far side is at home."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from far_app import FarApp
from sweeproute import __main__


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


def at_home(app: FarApp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """What runs a command in this process, as a person would in the app's folder."""
    monkeypatch.chdir(app.folder)
    for name, value in app.environment.items():
        monkeypatch.setenv(name, value)
    # `command` sets this for good, as befits a process that ends with it.
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def run(*words: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            __main__.main(words)
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return run
