"""A request is understood as it is handed over, or answered before anything trains."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from small_trial import compose
from sweeproute.__main__ import main
from sweeproute.request import RequestError, Understood, read

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


def request(folder: Path, text: str = REQUEST, header: str | None = "game,season,gameday,home_win,elo") -> Path:
    path = folder / "request.yaml"
    path.write_text(text)
    if header is not None:
        (folder / "games.csv").write_text(f"{header}\n")
    return path


def understood(
    folder: Path, text: str = REQUEST, header: str | None = "game,season,gameday,home_win,elo"
) -> Understood:
    return read(request(folder, text, header), CONF, NOW)


def test_every_part_becomes_words_of_the_command_and_they_compose(tmp_path: Path):
    found = understood(tmp_path)
    assert found.problems == []
    words = dict(word.split("=", 1) for word in found.overrides)
    assert words["model"] == "glm,xgboost,random_forest"
    assert words["calibration.methods"] == "[none,platt,isotonic]"
    assert words["hydra.launcher.deadline"] == "2026-11-15T23:59"
    assert [line[0] for line in found.lines] == [
        *("models", "seasons", "dataset", "validation", "calibration", "metrics", "reproducibility", "deadline"),
        *("output_format", "task"),
    ]
    kept = [word for word in found.overrides if not word.startswith(("model=", "hydra."))]
    cfg = compose("model=glm", *kept)
    assert (cfg.data.path, cfg.data.outcome, cfg.data.date) == (str(tmp_path / "games.csv"), "home_win", "gameday")
    assert list(cfg.validation.selection_seasons) == [2012, 2022]
    assert list(cfg.validation.holdout_seasons) == [2023, 2024]
    assert (cfg.validation.calibration_seasons, cfg.holdout, cfg.seed) == (1, True, 42)
    assert cfg.sweep.note == "Chapter 4 - it's a comparison"


def test_parts_may_be_mappings_too(tmp_path: Path):
    content = yaml.safe_load(REQUEST)
    for part in ("context", "requirements"):
        content[part] = {key: value for one in content[part] for key, value in one.items()}
    assert understood(tmp_path, yaml.safe_dump(content)).overrides == understood(tmp_path).overrides


@pytest.mark.parametrize("written", ["[2003-2024]", "2003-2024", "[2003, 2024]", '"2003 to 2024"', "[2003–2024]"])
def test_a_range_of_seasons_is_read_as_people_write_it(tmp_path: Path, written: str):
    found = understood(tmp_path, REQUEST.replace("[2003-2024]", written))
    assert "validation.selection_seasons=[2012,2022]" in found.overrides


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("XGBoost", "XGBost", "models has 'XGBost', which is not known; allowed, nearest first: XGBoost, "),
        ('["GLM", "XGBoost", "RandomForest"]', "[]", "The request names no models; write models: ["),
        ("games.csv", "gone.csv", "dataset gone.csv is no file (looked in "),
        ("2026-11-15", "2025-10-15", "The deadline 2025-10-15 has passed: it is 2026-11-01 12:00."),
        ("2026-11-15", "soon", "deadline is 'soon'; write a day or a time, as in 2026-11-01T18:00."),
        ("[2003-2024]", "[2015-2024]", "seasons 2015 to 2024 are 10; 12 or more are needed"),
        ("[2003-2024]", "all", "seasons is 'all'; write a first and a last one"),
        ("walk-forward", "k-fold", "validation is 'k-fold cross-validation'; what there is: walk-forward"),
        (
            '"isotonic"',
            '"isotonik"',
            "calibration has 'isotonik', which is not known; allowed, nearest first: isotonic",
        ),
        ('"Brier"', '"Sharpe"', "metrics has 'Sharpe', which is not known"),
        ("seasons:", "season:", "context has 'season', which is not known; allowed, nearest first: seasons"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_sentence(tmp_path: Path, before: str, after: str, sentence: str):
    found = understood(tmp_path, REQUEST.replace(before, after))
    assert len(found.problems) == 1
    assert found.problems[0].startswith(sentence)


def test_a_table_whose_columns_have_other_names_is_asked_about(tmp_path: Path):
    (problem,) = understood(tmp_path, header="game,season,when,home_win").problems
    assert problem.endswith("say which one is: data.date=COLUMN.")


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
    assert "model=glm,xgboost" not in shown.splitlines()[-2]


def test_all_problems_are_said_at_once_and_what_is_said_behind_the_file_mends_them(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(CONF.parent)
    path = str(
        request(tmp_path, REQUEST.replace("2026-11-15", "2020-01-01"), header=None)
    )  # no table, and a deadline that has passed
    assert run(path) == 1
    said = capsys.readouterr().err
    assert "This request cannot be served as it is (2):" in said
    assert "Traceback" not in said
    assert run(path, "data=league", "hydra.launcher.deadline=2099-01-01") == 0
