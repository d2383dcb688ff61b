"""Tests of what becomes of a source of games: the data set, its caches, and what is refused."""

import functools
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sweeproute.data
from sweeproute.data import DataError, Dataset, load, load_games
from sweeproute.data.league import simulate

ROW = 20  # a row in the middle of the first season; the header is row 1 of the file, so it is row 22 there


@functools.cache
def league() -> pd.DataFrame:
    return simulate(2010, 2012, 1)


def write_games(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None] = lambda table: table) -> Path:
    table = league().copy()
    changed = change(table)
    file = folder / "games.csv"
    (table if changed is None else changed).to_csv(file, index=False)
    return file


def set_cell(column: str, value: Any, row: int = ROW) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
        return table

    return change


def feature_table() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    n_games = 80
    strength = generator.normal(size=n_games)
    return pd.DataFrame(
        {
            "game": [f"g{number:03d}" for number in range(n_games)],
            "season": np.repeat([2020, 2021], n_games // 2),
            "played_on": [f"{2020 + number // 40}-09-{1 + number % 30:02d}" for number in range(n_games)],
            "home_won": (strength + generator.normal(size=n_games) > 0).astype(int),
            "price_home": 1.9,
            "price_away": 2.0,
            "elo_diff": strength,
            "form_home": generator.normal(size=n_games),
            "form_away": generator.normal(size=n_games),
            "referee": "someone",
        }
    )


CSV = {"source": "csv", "outcome": "home_won", "season": "season", "date": "played_on", "game_id": "game"}


def load_csv(folder: Path, table: pd.DataFrame, **settings: Any) -> Dataset:
    file = folder / "features.csv"
    table.to_csv(file, index=False)
    return load({**CSV, "path": str(file), **settings})


def same(one: Dataset, two: Dataset) -> bool:
    return one.hash == two.hash and one.features.equals(two.features)


# The data set


def test_games_stand_in_the_order_of_their_kick_off() -> None:
    data = load({"source": "league"})
    order = np.lexsort((data.game_id, data.kickoff))
    assert (order == np.arange(len(data.outcome))).all()
    assert list(data.features.index) == list(range(len(data.outcome)))
    assert data.outcome.dtype == np.int8
    assert data.kickoff.dtype == np.dtype("datetime64[ns]")
    assert not data.features.isna().any().any()


def test_market_columns_are_features_only_when_asked_for() -> None:
    data, market = load({"source": "league"}), load({"source": "league", "market_features": True})
    added = ["market_probability", "spread_line", "total_line"]
    assert list(market.features.columns) == [*data.features.columns, *added]
    assert data.feature_hash != market.feature_hash


def test_the_truth_about_the_league_is_no_feature() -> None:
    table = load_games({"source": "league"})
    assert "home_win_probability" in table.columns
    assert "home_win_probability" not in load({"source": "league", "market_features": True}).features.columns


def test_moneylines_become_decimal_odds(tmp_path: Path) -> None:
    def change(table: pd.DataFrame) -> None:
        table.loc[0, ["home_moneyline", "away_moneyline"]] = [-150, 130]
        table.loc[1, ["home_moneyline", "away_moneyline"]] = np.nan

    data = load({"source": "nfl", "path": str(write_games(tmp_path, change))})
    first, second = (np.flatnonzero(data.game_id == league()["game_id"][row])[0] for row in (0, 1))
    assert data.odds is not None
    assert data.odds[first] == pytest.approx([1 + 100 / 150, 2.3])
    assert np.isnan(data.odds[second]).all()


def test_the_hash_follows_every_part_of_the_content(tmp_path: Path) -> None:
    data = load_csv(tmp_path, feature_table(), odds_home="price_home", odds_away="price_away")
    changes = {
        "elo_diff": 3.5,
        "home_won": 1 - feature_table()["home_won"][0],
        "played_on": "2020-09-02",
        "price_home": 1.7,
        "game": "another",
    }
    hashes = {data.hash}
    for column, value in changes.items():
        table = set_cell(column, value, 0)(feature_table())
        hashes.add(load_csv(tmp_path, table, odds_home="price_home", odds_away="price_away").hash)
    renamed = feature_table().rename(columns={"elo_diff": "rating"})
    hashes.add(load_csv(tmp_path, renamed, odds_home="price_home", odds_away="price_away").hash)
    assert len(hashes) == len(changes) + 2
    assert all(len(each) == 64 for each in hashes)


def test_selecting_seasons_keeps_their_rows_alone(tmp_path: Path) -> None:
    data = load_csv(tmp_path, feature_table())
    chosen = data.select((2021, 2021))
    assert set(chosen.season.tolist()) == {2021}
    assert list(chosen.features.index) == list(range(40))
    assert chosen.hash != data.hash
    assert data.select((2020, 2021)).hash == data.hash
    with pytest.raises(DataError, match=r"1990 to 1991.*2020 to 2021"):
        data.select((1990, 1991))


# Ties, unplayed games, franchises


def test_ties_and_unplayed_games_are_set_aside_and_counted(tmp_path: Path) -> None:
    def change(table: pd.DataFrame) -> None:
        ties = table["home_score"] == table["away_score"]
        table.loc[ties, ["home_score", "result"]] += 3
        table.loc[ROW, ["home_score", "away_score", "result"]] = [20, 20, 0]
        table.loc[len(table) - 2 :, ["home_score", "away_score", "result"]] = np.nan

    data = load({"source": "nfl", "path": str(write_games(tmp_path, change))})
    assert data.set_aside == {"ties": 1, "unplayed": 2}
    assert len(data.outcome) == len(league()) - 3
    assert data.unplayed is not None
    assert list(data.unplayed.game_id) == list(league()["game_id"][-2:])
    assert list(data.unplayed.features.columns) == list(data.features.columns)
    assert not data.unplayed.features.isna().any().any()
    assert data.unplayed.odds is not None


def test_unplayed_games_survive_the_cache_on_disk(tmp_path: Path) -> None:
    def change(table: pd.DataFrame) -> None:
        table.loc[len(table) - 2 :, ["home_score", "away_score", "result"]] = np.nan

    settings = {"source": "nfl", "path": str(write_games(tmp_path, change))}
    made = load(settings)
    sweeproute.data._loaded.clear()
    read = load(settings)
    assert read is not made
    assert same(read, made)
    assert read.set_aside == made.set_aside
    assert read.unplayed is not None
    assert made.unplayed is not None
    assert read.unplayed.features.equals(made.unplayed.features)
    assert list(read.unplayed.game_id) == list(made.unplayed.game_id)


@pytest.mark.parametrize(("old", "new"), [("OAK", "LV"), ("SD", "LAC"), ("STL", "LA"), ("LAR", "LA")])
def test_a_franchise_that_moved_is_one(tmp_path: Path, old: str, new: str) -> None:
    def named(before: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
        def change(table: pd.DataFrame) -> pd.DataFrame:
            moved = table["season"] < 2012
            for side in ("home_team", "away_team"):
                table[side] = table[side].mask(moved, table[side].replace("AE1", before)).replace("AE1", new)
            return table

        return change

    one = load({"source": "nfl", "path": str(write_games(tmp_path, named(old)))})
    two = load({"source": "nfl", "path": str(write_games(tmp_path, named(new)))})
    assert same(one, two)


def test_seasons_of_a_games_table_can_be_chosen(tmp_path: Path) -> None:
    file = str(write_games(tmp_path))
    data = load({"source": "nfl", "path": file, "first_season": 2011, "last_season": 2011})
    assert set(data.season.tolist()) == {2011}
    with pytest.raises(DataError, match=r"seasons 1950 to 1960.*2010 to 2012"):
        load({"source": "nfl", "path": file, "first_season": 1950, "last_season": 1960})


# What is refused in a games table


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda table: table.rename(columns={"home_score": "home_scores"}),
            ["Column home_score", "did you mean home_sco"],
        ),
        (set_cell("home_score", -3), ["row 22, column home_score", "-3"]),
        (set_cell("home_score", "x"), ["row 22, column home_score", "'x' is not a number"]),
        (set_cell("home_score", np.nan), ["row 22, column home_score", "empty cell"]),
        (set_cell("result", 99), ["row 22, column result", "99"]),
        (set_cell("gameday", "2010-13-01"), ["row 22, column gameday", "2010-13-01"]),
        (set_cell("gametime", "25:61"), ["row 22, column gametime", "25:61"]),
        (set_cell("week", 1.5), ["row 22, column week", "1.5"]),
        (set_cell("home_rest", np.nan), ["row 22, column home_rest", "empty cell"]),
        (set_cell("away_moneyline", 50), ["row 22, column away_moneyline", "50", "-100 or less"]),
        (set_cell("home_team", np.nan), ["row 22, column home_team", "empty cell"]),
        (set_cell("gameday", "2010-09-06"), ["row 22, column gameday", "2010-09-06", "runs backwards"]),
        (set_cell("gameday", "2009-10-06", 40), ["row 42, column gameday", "runs backwards"]),
        (set_cell("gameday", "2010-12-12", 300), ["row 302, column gameday", "2010-12-12", "runs backwards"]),
        (set_cell("gameday", "2011-12-12", 255), ["row 257, column gameday", "2011-12-12", "runs backwards"]),
        (lambda table: pd.concat([table, table.iloc[[ROW]]]), ["column game_id", "duplicate game", "row 803"]),
        (
            lambda table: pd.concat([table, table.iloc[[ROW]].assign(game_id="again")]),
            ["column home_team", "duplicate game"],
        ),
        (lambda table: table.assign(away_team=table["home_team"]), ["row 2, column away_team", "against itself"]),
        (lambda table: table.iloc[:0], ["no rows"]),
    ],
)
def test_bad_games_are_named_with_row_and_column(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], words: list[str]
) -> None:
    file = write_games(tmp_path, change)
    with pytest.raises(DataError) as refused:
        load({"source": "nfl", "path": str(file)})
    for word in words:
        assert word in str(refused.value)


def test_a_postponed_game_is_not_refused(tmp_path: Path) -> None:
    after_the_next_week = set_cell("gameday", "2010-09-28")
    data = load({"source": "nfl", "path": str(write_games(tmp_path, after_the_next_week))})
    assert len(data.outcome)


# Where games come from


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server of the folder `tmp_path / served`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEPROUTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sweeproute.data, "_loaded", {})
    return tmp_path / "cache" / "data"


def test_a_download_is_kept_with_its_checksum_beside_it(tmp_path: Path, address: str, cache: Path) -> None:
    served = write_games(tmp_path / "served")
    digest = hashlib.sha256(served.read_bytes()).hexdigest()
    settings = {"source": "nfl", "url": f"{address}/games.csv"}
    data = load(settings)
    (kept,) = cache.glob("games-*.csv")
    assert kept.with_name(kept.name + ".sha256").read_text(encoding="utf-8") == f"{digest}  {kept.name}\n"
    served.unlink()
    sweeproute.data._loaded.clear()
    assert load(settings).hash == data.hash
    sweeproute.data._loaded.clear()
    kept.write_bytes(kept.read_bytes() + b"\n")
    with pytest.raises(DataError, match="delete it to download it again"):
        load(settings)


def test_an_expected_checksum_is_held_to(tmp_path: Path, address: str, cache: Path) -> None:
    served = write_games(tmp_path / "served")
    digest = hashlib.sha256(served.read_bytes()).hexdigest()
    wrong = "0" * 64
    for place in ({"path": str(served)}, {"url": f"{address}/games.csv"}):
        assert load({"source": "nfl", "sha256": digest.upper(), **place}).name == "nfl"
        with pytest.raises(DataError, match=rf"{digest}.*{wrong}"):
            load({"source": "nfl", "sha256": wrong, **place})
    with pytest.raises(DataError, match="64 hexadecimal digits"):
        load({"source": "nfl", "sha256": "abc", "path": str(served)})


def test_without_a_network_the_sentence_says_what_to_do(cache: Path) -> None:
    with pytest.raises(DataError, match=r"could not be downloaded .*data\.path.*data=league"):
        load({"source": "nfl", "url": "http://127.0.0.1:9/games.csv"})
    assert not list(cache.glob("games-*.csv"))


def test_an_answer_that_is_no_games_table_is_not_kept(tmp_path: Path, address: str, cache: Path) -> None:
    (tmp_path / "served" / "games.csv").write_text("<html>please log in</html>", encoding="utf-8")
    with pytest.raises(DataError, match="please log in"):
        load({"source": "nfl", "url": f"{address}/games.csv"})
    assert not list(cache.glob("games-*.csv"))


def test_a_missing_file_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    write_games(tmp_path)
    with pytest.raises(DataError, match=r"game\.csv does not exist.*did you mean games\.csv"):
        load({"source": "nfl", "path": str(tmp_path / "game.csv")})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"source": "leage"}, "did you mean league"),
        ({"source": "league", "sed": 3}, "did you mean seed"),
        ({"source": "csv", "outcome": "o", "season": "s", "date": "d", "path": "???"}, "data.path is not set"),
        ({"source": "league", "first_season": 2010, "last_season": 2009}, "no range of seasons"),
    ],
)
def test_a_wrong_setting_is_named(config: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(config)


# The caches


def test_a_process_reads_the_same_configuration_once(tmp_path: Path) -> None:
    file = write_games(tmp_path)
    settings = {"source": "nfl", "path": str(file)}
    first = load(settings)
    assert load(dict(settings)) is first
    write_games(tmp_path, lambda table: table.iloc[:-1])
    assert len(load(settings).outcome) == len(first.outcome) - 1


def test_a_torn_file_in_the_cache_is_made_anew(cache: Path) -> None:
    settings = {"source": "league", "first_season": 2010, "last_season": 2011}
    data = load(settings)
    for file in cache.glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:1000])
    sweeproute.data._loaded.clear()
    assert same(load(settings), data)


def test_two_processes_at_once_get_the_same_games(cache: Path) -> None:
    code = "from sweeproute.data import load; print(load({'source': 'league', 'last_season': 2006}).hash)"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    hashes = {process.communicate(timeout=120)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(hashes) == 1
    assert sorted(file.name.split("-")[0] for file in cache.glob("*.parquet")) == ["features", "league"]


def test_a_cached_data_set_is_read_without_scikit_learn() -> None:
    load({"source": "league"})
    code = (
        "import sys, time, pandas, sweeproute.data; begin = time.perf_counter(); "
        "sweeproute.data.load({'source': 'league'}); print(time.perf_counter() - begin, 'sklearn' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, loaded = answer.stdout.split()
    assert loaded == "False"
    assert float(seconds) < 0.5  # 0.03 on an idle machine


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SWEEPROUTE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set SWEEPROUTE_CACHE"):
        load({"source": "league", "first_season": 2015, "last_season": 2016})


# Feature tables


def test_a_feature_table_takes_every_numeric_column_without_a_role(tmp_path: Path) -> None:
    data = load_csv(tmp_path, feature_table(), odds_home="price_home", odds_away="price_away")
    assert list(data.features.columns) == ["elo_diff", "form_home", "form_away"]
    assert data.odds is not None
    assert data.odds[0].tolist() == [1.9, 2.0]
    assert data.week is None
    assert data.unplayed is None


def test_features_are_chosen_by_name_or_glob_and_excluded(tmp_path: Path) -> None:
    columns = load_csv(tmp_path, feature_table(), features=["form_*", "elo_diff"], exclude=["*_away"]).features.columns
    assert list(columns) == ["form_home", "elo_diff"]


def test_parquet_reads_as_csv_does(tmp_path: Path) -> None:
    table = feature_table()
    table.to_parquet(tmp_path / "features.parquet")
    assert same(load({**CSV, "path": str(tmp_path / "features.parquet")}), load_csv(tmp_path, table))


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    shuffled = feature_table().sample(frac=1, random_state=3)
    assert same(load_csv(tmp_path, shuffled), load_csv(tmp_path, feature_table()))


def test_rows_without_an_outcome_are_games_to_come(tmp_path: Path) -> None:
    table = set_cell("home_won", np.nan, 79)(feature_table())
    data = load_csv(tmp_path, table)
    assert data.set_aside == {"ties": 0, "unplayed": 1}
    assert data.unplayed is not None
    assert data.unplayed.game_id.tolist() == ["g079"]


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        (set_cell("home_won", 2, 5), {}, ["row 7, column home_won", "2", "third outcome"]),
        (set_cell("home_won", "won", 5), {}, ["row 7, column home_won", "'won'"]),
        (lambda table: table.assign(home_won=1), {}, ["Column home_won has no 0"]),
        (lambda table: table.rename(columns={"home_won": "home_wins"}), {}, ["home_won", "did you mean home_wins"]),
        (lambda table: table, {"outcome": "home_wn"}, ["Column home_wn", "data.outcome", "did you mean home_won"]),
        (set_cell("played_on", "soon", 5), {}, ["row 7, column played_on", "'soon'"]),
        (set_cell("played_on", "2020-09-05", 60), {}, ["row 62, column played_on", "runs backwards"]),
        (set_cell("season", "x", 5), {}, ["row 7, column season", "'x'"]),
        (set_cell("game", "g003", 5), {}, ["row 7, column game", "duplicate game"]),
        (lambda table: pd.concat([table, table.iloc[[4]]]), {"game_id": None}, ["row 82", "duplicate game"]),
        (set_cell("price_home", 0.9, 5), {}, ["row 7, column price_home", "0.9", "not above 1"]),
        (set_cell("price_away", -150, 5), {}, ["row 7, column price_away", "-150"]),
        (lambda table: table, {"odds_away": None}, ["data.odds_away is null"]),
        (lambda table: table.assign(leak=table["home_won"]), {}, ["row 2, column leak", "equals the outcome"]),
        (lambda table: table.assign(leak=1 - table["home_won"]), {}, ["row 2, column leak", "equals the outcome"]),
        (
            lambda table: table.assign(leak=7 * table["home_won"]),
            {},
            ["row 2, column leak", "every win from every loss"],
        ),
        (set_cell("elo_diff", np.inf, 5), {}, ["row 7, column elo_diff", "inf"]),
        (lambda table: table, {"features": ["elo_dif"]}, ["elo_dif", "did you mean elo_diff"]),
        (lambda table: table, {"features": ["home_won"]}, ["home_won has another role"]),
        (lambda table: table, {"features": ["referee"]}, ["row 2, column referee", "'someone' is not a number"]),
        (lambda table: table, {"exclude": ["elo_diff", "form_*"]}, ["No feature is left"]),
        (lambda table: table.assign(void=np.nan), {"features": ["void"]}, ["column void", "empty in every row"]),
        (lambda table: table.iloc[:0], {}, ["no rows"]),
    ],
)
def test_bad_feature_tables_are_named_with_row_and_column(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], settings: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(DataError) as refused:
        load_csv(
            tmp_path, change(feature_table()), **{"odds_home": "price_home", "odds_away": "price_away", **settings}
        )
    for word in words:
        assert word in str(refused.value)


# Real games


def real_games() -> Path:
    beside = Path(__file__).parents[2] / "shared" / "data" / "nfl_games_1999_2021.csv"
    file = Path(os.environ.get("SWEEPROUTE_GAMES", beside))
    if not file.is_file():
        pytest.skip("no real games here: set SWEEPROUTE_GAMES to a games.csv of nflverse")
    return file


def test_real_games_load_whole_and_their_ties_are_counted() -> None:
    data = load({"source": "nfl", "path": str(real_games()), "last_season": 2021})
    assert data.set_aside["ties"] == 12
    assert len(data.outcome) == 6125
    assert not data.features.isna().any().any()
