"""Tests of who plays: what a data set knows of it, and how it comes to a model that asks for it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import sweeproute.data
from sweeproute.betting import BettingRule
from sweeproute.checkpoint import Progress
from sweeproute.data import DataError, Dataset, load, load_games
from sweeproute.estimators import Games
from sweeproute.evaluation import evaluate
from sweeproute.validation import Fold, walk_forward
from synthetic_games import games

LEAGUE = {"source": "league", "first_season": 2010, "last_season": 2012}
CSV = {"source": "csv", "outcome": "home_won", "season": "season", "date": "day", "game_id": "game"}
NAMED = {"home_team": "host", "away_team": "guest"}


def names(data: Any, team_names: tuple[str, ...]) -> list[list[str]]:
    return np.asarray(team_names)[data.teams].tolist()


def feature_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "game": [f"g{number}" for number in range(6)],
            "season": [2020] * 3 + [2021] * 3,
            "day": [f"{year}-09-{day:02d}" for year in (2020, 2021) for day in (1, 2, 3)],
            "home_won": [1, 0, 1, 0, 1, np.nan],
            "host": ["Seals", "Owls", "Bears", "Seals", "Owls", "Bears"],
            "guest": ["Owls", "Bears", "Seals", "Bears", "Seals", "Newts"],
            "elo": [0.1, 0.2, 0.9, 0.3, 0.4, 0.5],
        }
    )


def load_csv(folder: Path, table: pd.DataFrame, **settings: Any) -> Dataset:
    table.to_csv(folder / "features.csv", index=False)
    sweeproute.data._loaded.clear()
    return load({**CSV, **NAMED, "path": str(folder / "features.csv"), **settings})


def test_a_league_knows_who_plays_each_game() -> None:
    data = load(LEAGUE)
    table = load_games(LEAGUE).set_index("game_id").loc[data.game_id]
    assert data.teams is not None
    assert data.teams.dtype == np.int64
    assert list(data.team_names) == sorted(set(table["home_team"]))
    assert names(data, data.team_names) == table[["home_team", "away_team"]].to_numpy().tolist()


def test_franchises_that_moved_are_one_team_and_the_cache_keeps_the_games_to_come(tmp_path: Path) -> None:
    table = load_games(LEAGUE)
    early = table["season"] < 2012
    for side in ("home_team", "away_team"):
        table[side] = table[side].mask(early, table[side].replace("AE1", "OAK")).replace("AE1", "LV")
    table.loc[len(table) - 2 :, ["home_score", "away_score", "result"]] = np.nan
    table.to_csv(tmp_path / "games.csv", index=False)
    settings = {"source": "nfl", "path": str(tmp_path / "games.csv")}
    made = load(settings)
    sweeproute.data._loaded.clear()
    read = load(settings)
    assert read is not made
    assert len(made.team_names) == len(load(LEAGUE).team_names)
    assert "OAK" not in made.team_names
    assert made.unplayed is not None
    assert read.unplayed is not None
    assert read.team_names == made.team_names
    assert read.hash == made.hash
    np.testing.assert_array_equal(read.teams, made.teams)
    to_come = names(read.unplayed, read.team_names)
    assert to_come == names(made.unplayed, made.team_names)
    assert to_come == table[["home_team", "away_team"]].replace("OAK", "LV").to_numpy().tolist()[-2:]


def test_a_table_of_features_has_teams_where_their_columns_are_named(tmp_path: Path) -> None:
    data = load_csv(tmp_path, feature_table())
    assert data.team_names == ("Bears", "Newts", "Owls", "Seals")
    assert names(data, data.team_names)[0] == ["Seals", "Owls"]
    assert list(data.features.columns) == ["elo"]
    assert data.unplayed is not None
    assert names(data.unplayed, data.team_names) == [["Bears", "Newts"]]
    without = load_csv(tmp_path, feature_table(), home_team=None, away_team=None, features=["elo"])
    assert without.teams is None
    assert without.team_names == ()
    assert without.hash != data.hash


def test_numbers_are_names_of_teams_and_no_features(tmp_path: Path) -> None:
    numbers = {"Bears": 3, "Newts": 1, "Owls": 20, "Seals": 7}
    table = feature_table()
    data = load_csv(tmp_path, table.assign(host=table["host"].map(numbers), guest=table["guest"].map(numbers)))
    assert data.team_names == ("1", "20", "3", "7")
    assert names(data, data.team_names)[0] == ["7", "20"]
    assert list(data.features.columns) == ["elo"]


def test_the_hash_follows_the_teams_of_played_games_alone(tmp_path: Path) -> None:
    table = feature_table()
    data = load_csv(tmp_path, table)
    to_come = load_csv(tmp_path, table.replace({"guest": {"Newts": "Adders"}}))
    assert to_come.team_names != data.team_names
    assert to_come.hash == data.hash
    table.loc[0, ["host", "guest"]] = ["Owls", "Seals"]
    assert load_csv(tmp_path, table).hash != data.hash


def test_selected_seasons_keep_their_teams(tmp_path: Path) -> None:
    data = load_csv(tmp_path, feature_table())
    chosen = data.select((2021, 2021))
    assert names(chosen, chosen.team_names) == [["Seals", "Bears"], ["Owls", "Seals"]]
    assert chosen.unplayed is not None
    assert names(chosen.unplayed, chosen.team_names) == [["Bears", "Newts"]]


def blank(table: pd.DataFrame) -> None:
    table.loc[1, "host"] = np.nan


def alone(table: pd.DataFrame) -> None:
    table.loc[2, "guest"] = "Bears"


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        (blank, {}, ["row 3, column host", "an empty cell is no team"]),
        (alone, {}, ["row 4, column guest", "'Bears' plays against itself"]),
        (len, {"away_team": None}, ["data.away_team is null while the other side's team is named"]),
        (len, {"home_team": "hosts"}, ["Column hosts (data.home_team)", "did you mean host"]),
    ],
)
def test_teams_that_cannot_be_are_named(
    tmp_path: Path, change: Callable[[pd.DataFrame], Any], settings: dict[str, Any], words: list[str]
) -> None:
    table = feature_table()
    change(table)
    with pytest.raises(DataError) as refused:
        load_csv(tmp_path, table, **settings)
    for word in words:
        assert word in str(refused.value)


# What a model is shown

PLAIN = games(missing=False)
SIDES = np.random.default_rng(3).permuted(np.tile(np.arange(6), (len(PLAIN.outcome), 1)), axis=1)[:, :2]
DATASET = replace(PLAIN, teams=SIDES.astype(np.int64), team_names=tuple("ABCDEF"))


def folds(calibration_seasons: int, first: int = 2006) -> list[Fold]:
    return walk_forward(
        DATASET.season,
        DATASET.kickoff,
        window="expanding",
        window_seasons=None,
        first_test_season=first,
        gap_seasons=0,
        calibration_seasons=calibration_seasons,
        selection_seasons=[first, 2008],
    )


class Curious:
    """Remembers which games it was shown, by their rows; says 0.5."""

    made: ClassVar[list["Curious"]] = []

    def __init__(self) -> None:
        self.made.append(self)

    def rows(self, games: Games) -> list[int]:
        """Positions of games in the data set, found by their first feature."""
        known = DATASET.features.to_numpy()[:, 0]
        found = [int(np.flatnonzero(known == value)[0]) for value in games.features[:, 0]]
        np.testing.assert_array_equal(games.features, DATASET.features.to_numpy()[found])
        np.testing.assert_array_equal(games.teams, DATASET.teams[found])
        assert games.team_names == DATASET.team_names
        return found

    def fit_games(
        self,
        games: Games,
        outcome: np.ndarray,
        watched: tuple[Games, np.ndarray] | None,
        progress: Progress | None,
        told: Any,
    ) -> None:
        self.learned = self.rows(games)
        assert outcome.tolist() == DATASET.outcome[self.learned].tolist()
        self.watched = [] if watched is None else self.rows(watched[0])
        assert watched is None or watched[1].tolist() == DATASET.outcome[self.watched].tolist()

    def predict_games(self, games: Games) -> np.ndarray:
        self.asked = self.rows(games)
        return np.full((len(games), 2), 0.5)


@pytest.mark.parametrize("calibration_seasons", [0, 1, 2])
def test_a_model_that_asks_sees_teams_and_watches_the_games_before_those_that_are_tested(
    calibration_seasons: int,
) -> None:
    Curious.made.clear()
    cut = folds(calibration_seasons)
    evaluate(Curious, DATASET, cut, BettingRule())
    for model, fold in zip(Curious.made, cut, strict=True):
        seasons = {part: set(DATASET.season[getattr(model, part)].tolist()) for part in ("learned", "watched")}
        calibration = set(range(fold.season - calibration_seasons, fold.season)) or {fold.season - 1}
        assert seasons == {"learned": set(range(2003, min(calibration))), "watched": calibration}
        assert model.asked == fold.test.tolist()


def test_of_a_single_season_nothing_is_taken_to_be_watched() -> None:
    Curious.made.clear()
    (fold, *_) = folds(0, first=2004)
    evaluate(Curious, DATASET, [fold], BettingRule())
    (model,) = Curious.made
    assert (model.learned, model.watched) == (fold.train.tolist(), [])


def test_other_models_learn_bitwise_the_same_whoever_plays() -> None:
    reports = [evaluate(LogisticRegression, data, folds(1), BettingRule()) for data in (PLAIN, DATASET)]
    assert reports[0] == reports[1]
    assert reports[0].model.coef_.tobytes() == reports[1].model.coef_.tobytes()
