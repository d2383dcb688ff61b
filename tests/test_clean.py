"""`sweeproute clean`: says what it frees, and removes it when it is told to."""

import argparse
import os

import pytest

from handmade_sweep import HandmadeSweep
from sweeproute.commands import clean

NOW = 1_700_000_000.0


@pytest.fixture
def said(capsys, monkeypatch, tmp_path):
    """From words to what the command says."""
    monkeypatch.setenv("SWEEPROUTE_CACHE", str(tmp_path / "cache"))
    parser = argparse.ArgumentParser()
    clean.add(parser.add_subparsers())

    def run(*words):
        asked = parser.parse_args(["clean", *words])
        asked.run(asked)
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A sweep of long ago, of two jobs."""
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    made = HandmadeSweep(tmp_path / "sweep_a", state="FINISHED", ended=NOW)
    made.run(0, auc=0.7)
    made.run(1, auc=0.7)
    made.point(tmp_path / "state")
    return made


def cached(tmp_path):
    path = tmp_path / "cache" / "old.parquet"
    path.parent.mkdir()
    path.write_bytes(b"x" * 2_000_000)
    os.utime(path, (NOW, NOW))
    return path


def test_without_yes_it_is_said_what_would_be_freed(sweep, said, tmp_path):
    path = cached(tmp_path)
    for words, hint in (((), "; say --yes to remove it."), (("--dry-run",), ".")):
        text = said(*words)
        assert text[0] == "Sweeps to remove: 1 (0.0 MB)"
        assert text[1].startswith("  sweep_a: ended 2023-11-14 ")
        assert text[1].endswith(f"2 jobs, 0.0 MB, {sweep.root}")
        assert text[2] == f"Files of the cache to remove: 1 (2.0 MB) in {tmp_path / 'cache'}"
        assert text[-1] == f"Nothing has been removed{hint}"
    assert sweep.root.exists()
    assert path.exists()


def test_with_yes_it_is_gone(sweep, said, tmp_path):
    path = cached(tmp_path)
    assert said("--yes")[-1] == "Done."
    assert not sweep.root.exists()
    assert not path.exists()
    assert said() == ["Nothing is that old."]


def test_what_is_kept_is_said_with_the_reason(sweep, said):
    sweep.save(state="RUNNING", ended=None, host="elsewhere")
    assert said("--yes")[2:] == ["Kept: sweep_a is running", "Done."]
    assert sweep.root.exists()


@pytest.mark.parametrize(("text", "seconds"), [("12h", 43200.0), ("30d", 2592000.0), ("1.5w", 907200.0), (" 0h", 0.0)])
def test_an_age_is_hours_days_or_weeks(text, seconds):
    assert clean.age(text) == seconds


@pytest.mark.parametrize("text", ["30", "d", "-1d", "30 days", ""])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no age; write hours, days or weeks, as in 12h"):
        clean.age(text)
