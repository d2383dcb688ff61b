"""A request is understood as it is handed over, or answered before anything trains."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from small_trial import ROOT, compose, composed
from sweeproute import request_kept
from sweeproute.__main__ import main
from sweeproute.commands.forecast import forecast
from sweeproute.data import load, load_games
from sweeproute.experiment import run_trial
from sweeproute.request import RequestError, Understood, read
from sweeproute.request.table import known_afterwards

CONF = Path(__file__).parents[1] / "conf"
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
# In the form in which people write them: lists of single keys, a range in brackets, plain words.
REQUEST = """
trigger: parallel_training_request
context:
  - requested_by: "Research Agent"
  - task: "Chapter 4 - it's a comparison"
  - models: ["GLM", "XGBoost", "RandomForest"]
  - dataset: "games.csv"
  - seasons: [2003-2024]
  - validation: "walk-forward cross-validation"
  - deadline: "2026-11-15"

requirements:
  - reproducibility: "fixed random seeds"
  - calibration: ["platt", "isotonic"]
  - metrics: ["AUC", "Brier", "LogLoss", "ROI"]
  - output_format: "LaTeX tables for dissertation"

expected_deliverables:
  - Comparison table (LaTeX)

resource_estimate: "4-6 hours (parallel)"
"""


def games(first: int = 2003, last: int = 2024, a_season: int = 12) -> pd.DataFrame:
    """A table of features: two that are known before a game, and no more."""
    rng = np.random.default_rng(5)
    years = np.repeat(np.arange(first, last + 1), a_season)
    days = np.tile(np.arange(a_season), last - first + 1)
    return pd.DataFrame(
        {
            "game": [f"g{number}" for number in range(len(years))],
            "season": years,
            "gameday": [f"{year}-10-{day + 1:02d}" for year, day in zip(years, days, strict=True)],
            "home_win": rng.integers(0, 2, len(years)),
            "elo": rng.normal(size=len(years)),
            "home_points_avg": rng.normal(22, 3, len(years)),
        }
    )


def with_scores(table: pd.DataFrame) -> pd.DataFrame:
    """The same with what is known once a game has ended; no column tells every win alone."""
    rng = np.random.default_rng(6)
    away = rng.integers(3, 40, len(table))
    margin = rng.integers(1, 20, len(table)) * np.where(table["home_win"] == 1, 1, -1)
    return table.assign(home_score=away + margin, away_score=away, overtime=rng.integers(0, 2, len(table)))


def request(folder: Path, text: str = REQUEST, table: pd.DataFrame | None = None) -> Path:
    path = folder / "request.yaml"
    path.write_text(text)
    (games() if table is None else table).to_csv(folder / "games.csv", index=False)
    return path


def understood(folder: Path, text: str = REQUEST, *behind: str, table: pd.DataFrame | None = None) -> Understood:
    return read(request(folder, text, table), CONF, NOW, behind)


def words(found: Understood) -> dict[str, str]:
    return dict(word.split("=", 1) for word in found.overrides)


def line(found: Understood, part: str) -> str:
    """What a part means; of the lines without a part, what stands second names them."""
    return next(meaning for first, second, meaning in found.lines if part in (first, second))


def test_every_part_becomes_words_of_the_command_and_they_compose(tmp_path: Path):
    found = understood(tmp_path)
    assert found.problems == []
    said = words(found)
    assert said["model"] == "glm,xgboost,random_forest"
    assert said["calibration.methods"] == "[none,platt,isotonic]"
    assert said["hydra.launcher.deadline"] == "2026-11-15T23:59"
    assert [part[0] for part in found.lines if part[0]] == [
        *("models", "seasons", "dataset", "validation", "calibration", "metrics", "reproducibility", "deadline"),
        *("output_format", "resource_estimate", "task"),
    ]
    kept = [word for word in found.overrides if not word.startswith(("model=", "hydra."))]
    cfg = compose("model=glm", *kept)
    assert (cfg.data.path, cfg.data.outcome, cfg.data.date) == (str(tmp_path / "games.csv"), "home_win", "gameday")
    assert (cfg.validation.first_test_season, list(cfg.validation.selection_seasons)) == (2013, [2013, 2022])
    assert list(cfg.validation.holdout_seasons) == [2023, 2024]
    assert (cfg.validation.calibration_seasons, cfg.holdout, cfg.seed) == (1, True, 42)
    assert cfg.sweep.note == "Chapter 4 - it's a comparison"


def test_an_ensemble_among_the_models_is_made_of_what_has_won_of_the_others(tmp_path: Path):
    found = understood(tmp_path, REQUEST.replace('"RandomForest"]', '"RandomForest", "Ensemble"]'))
    assert found.problems == []
    assert words(found)["model"] == "glm,xgboost,random_forest"
    assert words(found)["ensemble"] == "[average,stacking,best_of]"
    assert "what has won together" in line(found, "models")
    assert "ensemble" not in words(understood(tmp_path))


def test_parts_may_be_mappings_too(tmp_path: Path):
    content = yaml.safe_load(REQUEST)
    for part in ("context", "requirements"):
        content[part] = {key: value for one in content[part] for key, value in one.items()}
    assert understood(tmp_path, yaml.safe_dump(content)).overrides == understood(tmp_path).overrides


@pytest.mark.parametrize("written", ["[2003-2024]", "2003-2024", "[2003, 2024]", '"2003 to 2024"', "[2003–2024]"])
def test_a_range_of_seasons_is_read_as_people_write_it(tmp_path: Path, written: str):
    found = understood(tmp_path, REQUEST.replace("[2003-2024]", written))
    assert "validation.selection_seasons=[2013,2022]" in found.overrides


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("XGBoost", "XGBost", "models has 'XGBost', which is not known; allowed, nearest first: XGBoost, "),
        ('["GLM", "XGBoost", "RandomForest"]', "[]", "The request names no models; write models: ["),
        ("games.csv", "gone.csv", "dataset gone.csv is no file (looked in "),
        ("2026-11-15", "2025-10-15", "The deadline 2025-10-15 has passed: it is 2026-11-01 12:00."),
        ("2026-11-15", "soon", "deadline is 'soon'; write a day or a time, as in 2026-11-01T18:00."),
        ("[2003-2024]", "[2015-2024]", "seasons 2015 to 2024 are 10; 13 or more are needed"),
        ("[2003-2024]", "all", "seasons is 'all'; write a first and a last one"),
        ("walk-forward", "k-fold", "validation is 'k-fold cross-validation'; what there is: walk-forward"),
        (
            '"isotonic"',
            '"isotonik"',
            "calibration has 'isotonik', which is not known; allowed, nearest first: isotonic",
        ),
        ('"Brier"', '"Sharpe"', "metrics has 'Sharpe', which is not known"),
        ("deadline:", "dead_line:", "context has 'dead_line', which is not known; allowed, nearest first: deadline"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_sentence(tmp_path: Path, before: str, after: str, sentence: str):
    found = understood(tmp_path, REQUEST.replace(before, after))
    assert len(found.problems) == 1
    assert found.problems[0].startswith(sentence)


def test_a_table_whose_columns_have_other_names_is_asked_about(tmp_path: Path):
    other = games().rename(columns={"gameday": "when", "season": "y"})
    first, second = understood(tmp_path, table=other).problems
    assert first.endswith("say which one is: data.season=COLUMN.")
    assert second.endswith("say which one is: data.date=COLUMN.")
    # Each has a word of its own that mends it, and none mends another.
    (left,) = understood(tmp_path, REQUEST, "data.outcome=home_win", "data.season=y", table=other).problems
    assert left.endswith("data.date=COLUMN.")
    assert understood(tmp_path, REQUEST, "data.date=when", "data.season=y", table=other).problems == []


@pytest.mark.parametrize(
    "name",
    [
        *(
            "home_score",
            "away_score",
            "AwayScore",
            "visitor_score",
            "home_points",
            "result",
            "total",
            "overtime",
            "score",
        ),
        *(
            "home_margin",
            "point_diff",
            "score_differential",
            "final_margin",
            "winner",
            "home_won",
            "ats_result",
            "home_q4",
        ),
    ],
)
def test_a_column_of_a_game_that_has_ended_is_told_by_its_name(name: str):
    assert known_afterwards(name)


@pytest.mark.parametrize(
    "name",
    [
        *("elo", "elo_diff", "home_points_avg", "home_score_last_5", "avg_margin_l3", "total_line", "spread_line"),
        *("home_win_pct", "rest_diff", "implied_points", "home_win_probability", "home_win_streak", "week", "div_game"),
    ],
)
def test_a_column_that_is_known_before_a_game_is_told_by_its_name(name: str):
    assert not known_afterwards(name)


def test_no_model_trains_on_the_score(tmp_path: Path):
    found = understood(tmp_path, table=with_scores(games()))
    assert found.problems == []
    assert words(found)["data.exclude"] == "[home_score,away_score,overtime]"
    assert line(found, "features") == "2: elo, home_points_avg"
    assert line(found, "no features").startswith("home_score, away_score, overtime (known only afterwards")
    cfg = compose("model=glm", *[word for word in found.overrides if word.startswith("data")])
    assert list(load(cfg.data).features.columns) == ["elo", "home_points_avg"]
    # The table would have let them in: what is excluded is what keeps them out.
    cfg.data.exclude = []
    assert "home_score" in load(cfg.data).features.columns


def test_a_feature_that_tells_too_much_is_pointed_at(tmp_path: Path):
    hidden = with_scores(games(a_season=28)).rename(columns={"home_score": "hs", "away_score": "as"})
    found = understood(tmp_path, table=hidden)
    assert line(found, "look again").startswith("hs: each alone tells winners from losers better than closing odds do")
    assert line(found, "look again").endswith("say data.exclude=[overtime,hs]")
    assert not [one for one in understood(tmp_path).lines if one[1] == "look again"]
    missing = hidden.assign(hs=hidden["hs"].where(hidden["season"] > 2010))
    assert line(understood(tmp_path, table=missing), "look again").startswith("hs: ")


def test_an_exclusion_behind_the_file_does_not_let_the_score_in(tmp_path: Path):
    table = with_scores(games())
    (problem,) = understood(tmp_path, REQUEST, "data.exclude=[elo]", table=table).problems
    assert "say data.exclude=[elo,home_score,away_score,overtime]" in problem
    assert understood(tmp_path, REQUEST, "data.exclude=[elo,'*_score',overtime]", table=table).problems == []
    named = understood(tmp_path, REQUEST, "data.features=[elo,overtime]", table=table)
    assert line(named, "features") == "2: elo, overtime"


@pytest.mark.parametrize("name", ["null", "a column, with a comma", "it's [odd]", "7", "home team ${x}"])
def test_a_column_may_have_any_name(tmp_path: Path, name: str):
    found = understood(tmp_path, table=games().rename(columns={"elo": f"{name}_id"}).assign(**{f"{name} id": 1}))
    assert found.problems == []
    cfg = compose("model=glm", *[word for word in found.overrides if word.startswith("data")])
    assert list(cfg.data.exclude) == [f"{name}_id", f"{name} id"]


def test_odds_teams_and_ids_are_found_by_their_names(tmp_path: Path):
    table = games().rename(columns={"game": "game_id"})
    table = table.assign(home_odds=1.9, away_odds=1.95, home_team="A", away_team="B", stadium_id=3)
    found = understood(tmp_path, table=table)
    assert found.problems == []
    cfg = compose("model=glm", *[word for word in found.overrides if word.startswith("data")])
    assert (cfg.data.odds_home, cfg.data.odds_away, cfg.data.game_id) == ("home_odds", "away_odds", "game_id")
    assert (cfg.data.home_team, cfg.data.away_team) == ("home_team", "away_team")
    assert list(load(cfg.data).features.columns) == ["elo", "home_points_avg"]
    assert "roi" in line(found, "metrics")
    assert "no roi" not in line(found, "metrics")


def test_where_roi_is_asked_for_and_there_are_no_odds_it_is_said(tmp_path: Path):
    assert "no roi, as the table has no decimal odds" in line(understood(tmp_path), "metrics")
    first = REQUEST.replace('["AUC", "Brier", "LogLoss", "ROI"]', '["ROI", "Brier"]')
    assert words(understood(tmp_path, first))["hydra.sweeper.metric"] == "brier"
    alone = REQUEST.replace('["AUC", "Brier", "LogLoss", "ROI"]', '["ROI"]')
    (problem,) = understood(tmp_path, alone).problems
    assert problem.startswith("metrics asks for roi alone, and there is no roi")
    american = games().assign(home_moneyline=-150, away_moneyline=130)
    found = understood(tmp_path, table=american)
    assert "home_moneyline, away_moneyline are American" in line(found, "metrics")
    assert line(found, "features") == "2: elo, home_points_avg"
    assert words(understood(tmp_path, alone.replace("games.csv", "league")))["hydra.sweeper.metric"] == "roi"


def test_what_the_table_itself_refuses_is_said_before_anything_trains(tmp_path: Path):
    (problem,) = understood(tmp_path, table=games().assign(home_odds=-110.0, away_odds=-110.0)).problems
    assert "odds of -110 are not above 1" in problem
    (problem,) = understood(tmp_path, table=games().assign(home_win=2)).problems
    assert "column home_win: 2 is a third outcome" in problem


@pytest.mark.parametrize(("encoding", "quoting"), [("utf-8-sig", 0), ("utf-8", 1), ("utf-8-sig", 1)])
def test_a_header_may_be_quoted_and_begin_with_a_mark_of_its_encoding(tmp_path: Path, encoding: str, quoting: int):
    path = request(tmp_path)
    games()[["season", "gameday", "home_win", "elo"]].to_csv(
        tmp_path / "games.csv", index=False, encoding=encoding, quoting=quoting
    )
    found = read(path, CONF, NOW)
    assert found.problems == []
    assert words(found)["data.season"] == "season"


def test_a_table_may_be_parquet(tmp_path: Path):
    path = request(tmp_path, REQUEST.replace("games.csv", "games.parquet"))
    with_scores(games()).to_parquet(tmp_path / "games.parquet")
    found = read(path, CONF, NOW)
    assert found.problems == []
    assert line(found, "features") == "2: elo, home_points_avg"
    (tmp_path / "games.parquet").write_bytes(b"\xff\xfe no table")
    (problem,) = read(path, CONF, NOW).problems
    assert problem.startswith(f"dataset {tmp_path / 'games.parquet'} is no table (")


def test_games_in_the_schema_of_nflverse_are_read_as_such(tmp_path: Path):
    table = load_games({"source": "league", "first_season": 2003, "last_season": 2024})
    found = understood(tmp_path, table=table)
    assert found.problems == []
    said = words(found)
    assert (said["data"], said["data.first_season"], said["data.path"]) == ("nfl", "2003", f"{tmp_path}/games.csv")
    assert "by models of the seasons from 2003 on" in line(found, "seasons")
    assert "no roi" not in line(found, "metrics")


def test_a_table_has_no_first_season_but_its_own(tmp_path: Path):
    found = understood(tmp_path, table=games(first=1999, last=2025))
    assert "by models of all earlier seasons of the table, which has 1999 to 2025;" in line(found, "seasons")
    league = understood(tmp_path, REQUEST.replace("games.csv", "league"))
    assert "by models of the seasons from 2003 on;" in line(league, "seasons")
    assert words(league)["data.first_season"] == "2003"


def test_seasons_that_the_table_does_not_have_are_said(tmp_path: Path):
    (problem,) = understood(tmp_path, table=games(last=2023)).problems
    assert problem.startswith("seasons has 2024 in its holdout")
    (problem,) = understood(tmp_path, table=games(first=2013)).problems
    assert problem.startswith("seasons and table do not fit: The first fold tests 2013 and needs 2 earlier seasons")
    unsaid = REQUEST.replace("  - seasons: [2003-2024]\n", "")
    (problem,) = understood(tmp_path, unsaid).problems
    assert problem.endswith("write a first and a last one: seasons: [2003-2024].")


@pytest.mark.parametrize(
    ("written", "calibration", "window", "tested"),
    [
        ("rolling walk-forward", True, 10, 2014),
        ("rolling walk-forward", False, 10, 2013),
        ("rolling window of 8 seasons", True, 8, 2012),
        ("walk-forward, an 8-season rolling window", False, 8, 2011),
        ("rolling walk-forward over six years", False, 6, 2009),
        ("walk-forward", True, None, 2013),
        ("walk-forward over an expanding window", False, None, 2012),
    ],
)
def test_the_first_tested_season_leaves_the_window_its_seasons(
    tmp_path: Path, written: str, calibration: bool, window: int | None, tested: int
):
    text = REQUEST.replace("walk-forward cross-validation", written)
    if not calibration:
        text = text.replace('  - calibration: ["platt", "isotonic"]\n', "")
    found = understood(tmp_path, text)
    # Folds of the very table were cut with these, or there would be a problem.
    assert found.problems == []
    said = words(found)
    assert said["validation.first_test_season"] == str(tested)
    assert said.get("validation.window_seasons") == (None if window is None else str(window))
    assert (said.get("validation.window") == "rolling") == (window is not None)


def test_seasons_behind_the_file_count_too(tmp_path: Path):
    rolling = REQUEST.replace("walk-forward cross-validation", "rolling walk-forward")
    behind = ("validation.window_seasons=5", "validation.calibration_seasons=2", "validation.gap_seasons=1")
    found = understood(tmp_path, rolling, *behind)
    assert found.problems == []
    assert words(found)["validation.first_test_season"] == "2011"
    assert not words(found).keys() & {word.partition("=")[0] for word in behind}


@pytest.mark.parametrize("written", ["rolling walk-forward in 5 folds", "walk-forward in 5 folds"])
def test_a_number_of_a_validation_that_is_not_understood_is_refused(tmp_path: Path, written: str):
    (problem,) = understood(tmp_path, REQUEST.replace("walk-forward cross-validation", written)).problems
    assert problem.startswith(f"validation is {written!r}")


@pytest.mark.parametrize(
    ("written", "seed"),
    [
        *(("{seed: 7}", 7), ("[{seed: 7}]", 7), ("{random_state: 0}", 0), ("7", 7), ('"seed 7"', 7), ('"Seed=7."', 7)),
        *(('"fixed seeds, seed: 12"', 12), ('"fixed random seeds"', 42), ('"with a random seed of 3"', 3)),
    ],
)
def test_the_seed_is_the_one_that_is_written(tmp_path: Path, written: str, seed: int):
    found = understood(tmp_path, REQUEST.replace('"fixed random seeds"', written))
    assert found.problems == []
    assert words(found)["seed"] == str(seed)


@pytest.mark.parametrize(
    "written", ["{sed: 7}", "{seed: many}", "{seed: -1}", '"seeds 1, 2"', '"3 repeats"', '"seed=-1"', '"seed 1.5"']
)
def test_a_seed_that_is_none_is_refused(tmp_path: Path, written: str):
    text = REQUEST.replace('"fixed random seeds"', written)
    (problem,) = understood(tmp_path, text).problems
    assert problem.startswith("reproducibility ")
    mended = understood(tmp_path, text, "seed=8")
    assert mended.problems == []
    assert "seed" not in words(mended)


def test_another_source_behind_the_file_takes_its_words_along(tmp_path: Path):
    found = understood(tmp_path, REQUEST, "data=nfl")
    assert found.problems == []
    assert {key for key in words(found) if key.startswith("data")} == {"data.first_season", "data.last_season"}
    kept = [word for word in found.overrides if not word.startswith(("model=", "hydra."))]
    assert compose("model=glm", *kept, "data=nfl").data.first_season == 2003
    assert compose("model=glm", *kept, "data=league").data.source == "league"


def test_another_table_behind_the_file_is_the_one_that_is_looked_at(tmp_path: Path):
    with_scores(games()).to_csv(tmp_path / "it's other.csv", index=False)
    other = f"data.path='{tmp_path}/it\\'s other.csv'"
    found = understood(tmp_path, REQUEST.replace("games.csv", "gone.csv"), other)
    assert found.problems == []
    assert "home_score" in words(found)["data.exclude"]
    assert "data.path" not in words(found)


def test_each_problem_has_the_words_that_mend_it(tmp_path: Path):
    wrong = REQUEST.replace("XGBoost", "XGBost").replace("2026-11-15", "soon").replace('"Brier"', '"Sharpe"')
    assert len(understood(tmp_path, wrong).problems) == 3
    assert len(understood(tmp_path, wrong, "model=glm").problems) == 2
    behind = ("model=glm", "hydra.launcher.deadline=2026-11-20", "hydra.sweeper.metric=auc")
    found = understood(tmp_path, wrong, *behind)
    assert found.problems == []
    assert line(found, "models") == "model=glm, as said behind the request"
    with pytest.raises(RequestError, match=r"'model=\[glm' is no word of Hydra's"):
        understood(tmp_path, wrong, "model=[glm")


def test_a_calibration_behind_the_file_is_not_overruled_by_it(tmp_path: Path):
    found = understood(tmp_path, REQUEST, "calibration=none")
    assert found.problems == []
    assert not [key for key in words(found) if "calibration" in key]
    assert words(found)["validation.first_test_season"] == "2012"
    every = understood(tmp_path, REQUEST.replace('  - calibration: ["platt", "isotonic"]\n', ""), "calibration=all")
    assert words(every)["validation.calibration_seasons"] == "1"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("trigger: [", "is no YAML at line 1; mend it"),
        ("trigger: training_complete", "has trigger 'training_complete'; a request has trigger: parallel_training_"),
        ("- a list", "has trigger None; a request has"),
        (REQUEST + "\nurgency: high", "has 'urgency', which is not known; allowed, nearest first: "),
    ],
)
def test_what_is_no_request_is_refused(tmp_path: Path, text: str, sentence: str):
    with pytest.raises(RequestError) as caught:
        understood(tmp_path, text)
    assert sentence in str(caught.value)


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["request", *words])
    return int(ended.value.code or 0)


def test_the_command_is_shown_and_words_behind_it_go_before(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(CONF.parent)
    path = str(request(tmp_path, REQUEST.replace("2026-11-15", "2099-01-01")))
    assert run(path) == 0
    assert "\npython train.py -m model=glm,xgboost,random_forest " in capsys.readouterr().out
    assert run(path, "model=glm", "data=league") == 0
    shown = capsys.readouterr().out
    assert " data=league" in shown
    assert "data.path" not in shown
    assert "model=glm,xgboost" not in shown.splitlines()[-2]


def test_all_problems_are_said_at_once_and_what_is_said_behind_the_file_mends_them(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(CONF.parent)
    path = request(tmp_path, REQUEST.replace("2026-11-15", "2020-01-01"))
    (tmp_path / "games.csv").unlink()
    assert run(str(path)) == 1
    said = capsys.readouterr().err
    assert "This request cannot be served as it is (2):" in said
    assert "Traceback" not in said
    assert run(str(path), "data=league", "hydra.launcher.deadline=2099-01-01") == 0


def test_a_deadline_behind_the_file_that_has_passed_is_refused_too(tmp_path: Path):
    (problem,) = understood(tmp_path, REQUEST, "hydra.launcher.deadline=2026-10-31").problems
    assert problem.startswith("The deadline 2026-10-31 has passed: it is 2026-11-01 12:00.")
    without = REQUEST.replace('  - deadline: "2026-11-15"\n', "")
    assert understood(tmp_path, without, "hydra.launcher.deadline=2026-10-31").problems == [problem]


def test_the_report_is_made_at_the_end_of_what_was_asked_for(tmp_path: Path):
    assert "report.at_end=true" in understood(tmp_path).overrides
    assert "report.at_end=true" not in understood(tmp_path, REQUEST, "report.at_end=false").overrides


@pytest.mark.parametrize(
    ("hours", "sentences"),
    [
        # Twelve jobs of half an hour each on one slot.
        (7.0, ()),
        (
            5.1,
            (
                "It would end at 2026-11-01 18:00, 54 min 0 s after its deadline. What would fit: ",
                ": model=glm,random_forest, in 4 h 0 min; 3 points of each model's space, in 4 h 30 min: ",
                ": hydra.sweeper.sampler=tpe hydra.sweeper.n_trials=9; all of it in 2 h 0 min with remote_4090, which",
            ),
        ),
        (0.4, ("18:00, 5 h 36 min after its deadline. No part of it would fit.",)),
    ],
)
def test_an_estimate_that_misses_the_deadline_is_a_warning_with_what_would_fit(
    tmp_path: Path, monkeypatch, hours: float, sentences: tuple[str, ...]
):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path))
    here = datetime(2026, 11, 1, 12, 0).astimezone()
    deadline = f"{here + timedelta(hours=hours):%Y-%m-%dT%H:%M}"
    words = ["model=glm,random_forest,lightgbm", "search_space=none", "data.seed=1,2,3,4"]
    words += ["registry.platforms.local_m4.max_concurrent_jobs=1", "job.estimated_duration_minutes=30"]
    found = forecast(ROOT / "train.py", [*words, f"hydra.launcher.deadline={deadline}"], here)
    assert found.lines[0].startswith("12 jobs would take about 6 h 0 min on 1 slot (6 h 0 min one after another)")
    assert "Durations from job.estimated_duration_minutes" in found.lines[1]
    assert len(found.warnings) == bool(sentences)
    for sentence in sentences:
        assert sentence in found.warnings[0]


def test_what_follows_the_search_counts_in_the_estimate_and_starts_when_that_has_ended(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path))
    here = datetime(2026, 11, 1, 12, 0).astimezone()
    words = ["model=glm,random_forest", "search_space=none", "seed=1,2", "job.estimated_duration_minutes=30"]
    words += ["holdout=true", "ensemble=[average,stacking]", "registry.platforms.local_m4.max_concurrent_jobs=1"]
    # Four of half an hour, the same again on the holdout, and two ensembles twice, which are a tenth of a minute.
    found = forecast(ROOT / "train.py", [*words, "hydra.launcher.deadline=2026-11-01T15:30"], here)
    assert found.lines[0] == "4 jobs would take about 2 h 0 min on 1 slot (2 h 0 min one after another)."
    assert found.lines[1:5] == (
        "When all of these have ended well: 4 jobs on the holdout, seasons 2023 to 2024: GLM and RandomForest under "
        "none.",
        "When all of these have ended well: 2 ensembles (average, stacking) of GLM and RandomForest.",
        "When those have ended, too: 2 ensembles (average, stacking) of GLM and RandomForest, on the holdout.",
        "What follows would take about 2 h 0 min more (2 h 0 min one after another), and all of it 4 h 0 min.",
    )
    assert found.warnings[0].startswith("It would end at 2026-11-01 16:00, 30 min 24 s after its deadline.")
    # One model alone makes no ensemble: two of half an hour, and two on the holdout.
    assert "What would fit: model=glm, in 2 h 0 min" in found.warnings[0]
    assert not forecast(ROOT / "train.py", [*words, "hydra.launcher.deadline=2026-11-01T16:01"], here).warnings
    quick = [word for word in words if not word.startswith("job.")]
    lines = forecast(ROOT / "train.py", quick, here).lines
    # By their own files the models' jobs are 6 s and 18 s.
    more = "What follows would take about 1 min 12 s more (1 min 12 s one after another), and all of it 2 min 0 s."
    assert more in lines


def test_what_a_sampler_chooses_is_not_estimated(tmp_path: Path):
    words = ["model=glm", "hydra.sweeper.sampler=tpe", "hydra.sweeper.n_trials=5"]
    found = forecast(ROOT / "train.py", words, NOW)
    assert found.lines == ("The sampler chooses on the way: how long it takes is not estimated beforehand.",)


def test_a_folder_without_a_configuration_is_said(tmp_path: Path, monkeypatch, capsys):
    path = str(request(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run(path) == 1
    said = capsys.readouterr().err
    assert f"There is no configuration in {tmp_path / 'conf'}" in said
    assert "Go to the folder that holds conf and train.py" in said
    assert "Traceback" not in said


def test_the_sweep_runs_in_the_place_of_the_command(tmp_path: Path):
    path = request(tmp_path, REQUEST.replace("2026-11-15", "2099-01-01"))
    shutil.copytree(CONF, tmp_path / "conf")
    # It stands for the sweep's command: it says which process it is, and ends as it likes.
    (tmp_path / "train.py").write_text("import os, sys\nprint(os.getpid(), sys.argv[1:3])\nsys.exit(5)\n")
    command = [sys.executable, "-m", "sweeproute", "request", str(path), "--run", "model=glm"]
    environment = {**os.environ, "SWEEPROUTE_STATE": str(tmp_path / "state")}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "\npython train.py -m " in said
    (kept,) = (tmp_path / "state" / "requests").iterdir()
    assert said.splitlines()[-1] == f"{process.pid} ['-m', 'sweep.request={kept}']"
    # The sweep takes along what was asked, and how it was understood.
    content = yaml.safe_load(kept.read_text())
    assert content["request"] == yaml.safe_load(path.read_text())
    assert {"part": "seasons", "written": '["2003-2024"]'}.items() <= content["understood"][1].items()
    found = request_kept.parse(kept.read_text())
    assert (found.models, found.calibrations) == (("GLM", "XGBoost", "RandomForest"), ("platt", "isotonic"))
    assert found.deliverables == ("Comparison table (LaTeX)",)
    assert list(found.hours()) == [("parallel", 6 * 3600.0, "4 to 6 hours")]


def test_a_trial_with_the_words_of_a_request_has_not_seen_the_score(tmp_path: Path):
    rolling = REQUEST.replace("[2003-2024]", "[2009-2024]").replace("walk-forward", "rolling window of 10 seasons,")
    found = understood(tmp_path, rolling, table=with_scores(games(first=2009, a_season=28)))
    assert found.problems == []
    kept = [word for word in found.overrides if not word.startswith(("model=", "hydra.", "holdout="))]
    auc = {}
    for excluded in ("kept", "nothing"):
        further = () if excluded == "kept" else ("data.exclude=[]",)
        with composed(tmp_path / excluded, "model=glm", *kept, *further) as cfg:
            auc[excluded] = run_trial(cfg)["auc"]
    # Nothing else here tells who wins: what is left out is what would have told.
    assert auc["kept"] < 0.7
    assert auc["nothing"] > 0.85
