"""`sweeproute clean`: says what it frees, and removes it when it is told to."""

import argparse
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from hydra.core.singleton import Singleton

from far_app import FarApp, wait_until
from far_commands import Command, at_home
from handmade_sweep import HandmadeSweep
from small_trial import ROOT
from sweeproute.commands import clean

NOW = 1_700_000_000.0


@pytest.fixture
def said(capsys, monkeypatch, tmp_path):
    """From words to what the command says."""
    monkeypatch.setenv("SWEEPROUTE_CACHE", str(tmp_path / "cache"))
    # Its registry names no far machine that is there.
    monkeypatch.chdir(ROOT)
    state = Singleton.get_state()
    parser = argparse.ArgumentParser()
    clean.add(parser.add_subparsers())

    def run(*words):
        asked = parser.parse_args(["clean", *words])
        asked.run(asked)
        return capsys.readouterr().out.splitlines()

    yield run
    Singleton.set_state(state)


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


def test_where_no_app_is_the_far_machines_are_left_out_with_the_reason(said, sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = said("--yes")
    assert text[-2].startswith("Far machines are left out: There is no conf/config.yaml here, ")
    assert text[-1] == "Done."
    assert not sweep.root.exists()


def test_overrides_of_no_app_are_an_error_before_anything_is_removed(said, sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LookupError, match=r"There is no conf/config\.yaml here"):
        said("--yes", "registry.platforms.remote_4090.host=me@box")
    assert sweep.root.exists()


@pytest.fixture
def app(tmp_path: Path):
    app = FarApp(tmp_path)
    # Commands compose the app's own configuration: the machine is in it.
    conf = app.folder / "conf" / "config.yaml"
    (python,) = [word.partition("=")[2] for word in app.words if "python=" in word]
    conf.write_text(conf.read_text().replace("python: null", f"python: {python}").replace("at: ???", f"at: {app.at}"))
    yield app
    app.close()


@pytest.fixture
def sweeproute(app: FarApp, monkeypatch, capsys) -> Command:
    return at_home(app, monkeypatch, capsys)


def staged(app: FarApp) -> list[Path]:
    assert app.shell is not None
    return sorted(path for kind in ("store", "trees") for path in (app.shell.root / kind).glob("[!~]" * 64))


def grow_old(app: FarApp, days: float = 40) -> None:
    """Let so many days pass on the far disk."""
    assert app.shell is not None
    at = time.time() - days * 86400
    for path in [*staged(app), *(app.shell.root / "environments").iterdir()]:
        os.utime(path, (at, at))


def test_a_far_machine_says_what_it_would_free_and_frees_it_with_yes(app: FarApp, sweeproute: Command):
    app.sweep("kind=heavy", "x=1")
    assert sweeproute("clean").out.splitlines() == ["Nothing is that old."]
    grow_old(app)
    number = len(staged(app))
    dry = sweeproute("clean")
    there, end = dry.out.splitlines()
    assert (dry.code, dry.err) == (0, "")
    assert there.startswith(f"box: {number} files and trees of its cache (")
    assert end == "Nothing has been removed; say --yes to remove it."
    assert len(staged(app)) == number
    assert sweeproute("clean", "--older-than", "41d").out.splitlines() == ["Nothing is that old."]
    assert sweeproute("clean", "--yes").out.splitlines() == [there, "Done."]
    assert staged(app) == []
    # Whoever comes next brings what is missing.
    app.sweep("kind=heavy", "x=2")
    assert app.launch(0)["state"] == "FINISHED"


def test_what_a_dead_coordinator_has_left_there_is_needed_until_it_is_given_up(app: FarApp, sweeproute: Command):
    process = app.start("kind=heavy", "x=1,2,3", "wait=[all]")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    grow_old(app)
    before = staged(app)
    assert "box:" not in sweeproute("clean", "--older-than", "0h", "--yes").out
    assert staged(app) == before
    app.go()
    wait_until(lambda: len(app.executions()) == 3, "the queue to be worked through")
    assert len(app.far_jobs()) == 3

    def ended() -> str:
        return sweeproute("clean", "--older-than", "0h").out

    wait_until(lambda: "3 ended jobs that nobody has fetched (" in ended(), "the last to end")
    assert f"{len(before)} files and trees" in ended()
    assert sweeproute("clean", "--older-than", "0h", "--yes").out.splitlines()[-1] == "Done."
    assert (app.far_jobs(), staged(app)) == ([], [])


def test_a_machine_that_cannot_be_reached_is_left_out_in_a_sentence(app: FarApp, sweeproute: Command):
    assert app.shell is not None
    app.shell.cut(True)
    said = sweeproute("clean", "--yes")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "box is left out: far cannot be reached (ssh: connect to host far port 22: Network is unreachable).",
        "Nothing is that old.",
    ]


def test_two_platforms_on_one_machine_are_one_machine(app: FarApp, sweeproute: Command):
    app.sweep("kind=heavy", "x=1")
    grow_old(app)
    python = json.dumps(str(next(word.partition("=")[2] for word in app.words if "python=" in word)))
    twin = f"+hydra.launcher.platforms.twin={{host: far, python: {python}, max_concurrent_jobs: 1}}"
    said = sweeproute("clean", twin).out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["box", "Nothing has been removed; say --yes to remove it."]


def test_a_sweep_keeps_the_cache_within_its_limit(app: FarApp):
    app.sweep("kind=heavy", "x=1")
    grow_old(app, days=2)
    (tree,) = [path for path in staged(app) if path.parent.name == "trees"]
    (app.folder / "kinds.py").write_text("def double(x):\n    return x + x\n")
    app.sweep("kind=heavy", "x=1", "+hydra.launcher.platforms.box.cache_gb=1e-9")
    wait_until(lambda: not tree.exists(), "what is too much to go")
    assert [path.parent.name for path in staged(app)].count("trees") == 1


def test_what_was_taken_away_under_a_sweep_comes_again_with_a_later_job(app: FarApp):
    script = app.folder / "app.py"
    at_once = "from hydra_plugins.sweeproute import _shipping\n\n_shipping._STAGED_S = -1.0\n"
    script.write_text(script.read_text().replace("from kinds import double\n", f"from kinds import double\n{at_once}"))
    process = app.start("kind=heavy", "x=1", "wait=[1]", "dies=[1]")
    wait_until(app.executions, "the job to run")
    before = staged(app)
    for path in before:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    app.go()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert app.executions() == {1: 2}
    assert set(before) <= set(staged(app))
