"""Seasons that an earlier sweep chose by are said where they are to be a holdout."""

from pathlib import Path

import pytest

from handmade_sweep import HandmadeSweep
from sweeproute.holdout_seen import sentence
from sweeproute.journal import Journal

GAMES = "ab" * 32


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def chose(state: Path, id: str, seasons: str, games: str = GAMES, **launch: object) -> None:
    """A sweep of one job that failed, one that finished, and one of what followed."""
    sweep = HandmadeSweep(state.parent / id, id)
    sweep.change(sweep.start(0), state="FAILED")
    for job, tested, more in ((1, seasons, launch), (2, "2030-2031", {"follow_up": True})):
        folder = sweep.start(job, identity={"games_hash": games}, **more)
        with Journal.open(folder, "one", {"sweeproute.seasons": tested}) as journal:
            journal.metrics({"auc": 0.6}, step=2012)
        sweep.finish(folder, {"auc": 0.6}, **more)
    sweep.point(state)


def test_sweeps_that_chose_by_any_of_the_seasons_are_named(state: Path) -> None:
    assert sentence(GAMES, (2023, 2024)) is None
    chose(state, "before", "2012-2022")
    chose(state, "others", "2012-2024", games="cd" * 32)
    assert sentence(GAMES, (2023, 2024)) is None
    chose(state, "seen", "2012-2023")
    chose(state, "late", "2024-2024")
    told = sentence(GAMES, (2023, 2024))
    assert told is not None
    assert told.startswith("Seasons of the holdout 2023 to 2024 were chosen by before, by sweep ")
    assert "seen (2012 to 2023)" in told
    assert "late (2024 to 2024)" in told
    assert "before" not in told.partition("by sweep ")[2].partition(":")[0]
    # What scored the holdout chose by nothing, and a sweep that goes on is no earlier one.
    assert sentence(GAMES, (2030, 2031)) is None
    assert "seen" not in str(sentence(GAMES, (2023, 2023), sweep="seen"))


def test_many_are_counted_and_a_folder_that_is_gone_says_nothing(state: Path) -> None:
    for number in range(5):
        chose(state, f"s{number}", "2020-2024")
    assert " and 2 more: " in str(sentence(GAMES, (2023, 2024)))
    for number in range(5):
        (state.parent / f"s{number}").rename(state.parent / f"gone{number}")
    assert sentence(GAMES, (2023, 2024)) is None
