"""Tests of `sweeproute report`, from the tracking store to the files of a chapter."""

import csv
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from handmade_sweep import HandmadeSweep, fresh_store
from reported_sweep import forecasts, games, trial
from small_trial import ONE_SLOT, ROOT, SMALL, end, start
from sweeproute import __main__, completion, registry, report, report_config
from sweeproute.chapter import ChapterError
from sweeproute.commands import composing
from sweeproute.comparison import Comparison
from sweeproute.data import load
from sweeproute.report import Question, make
from sweeproute.store import connect
from sweeproute.tracking import sync
from sweeproute.whole_folder import COPIED, FolderError
from typeset import typeset

PLAYED = games()
UNPRICED, PARTLY = games(priced=0.0), games(priced=0.3)
LONG = games(tuple(range(2012, 2019)))
ODD = "Odd_model & 50% #1"
TABLES = (
    *("multimodel_comparison_table", "calibration_table", "betting_table", "season_table"),
    *("subset_table", "significance_table"),
)


def says(played: pd.DataFrame, *noises: float, seed: int = 0) -> dict[str, np.ndarray]:
    methods = ("none", "platt", "isotonic")
    return {method: forecasts(played, noise, seed) for method, noise in zip(methods, noises, strict=False)}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("reported")
    made = {
        id: HandmadeSweep(root / id, id, metric="brier", direction=None)
        for id in ("sweep_tied", "sweep_odd", "sweep_long")
    }
    # Equals tie; one model is far better.
    for job, (model, noise) in enumerate([("GLM", 3.0), ("XGBoost", 3.0), ("RandomForest", 0.01)]):
        trial(made["sweep_tied"], job, model, says(PLAYED, noise), PLAYED)
    trial(made["sweep_odd"], 0, ODD, says(UNPRICED, 0.4, 0.5), UNPRICED)
    trial(made["sweep_odd"], 1, "GLM", says(UNPRICED, 0.4, 0.5), UNPRICED, tags={"device_class": "cpu;arm64;threads=1"})
    partly = made["sweep_partly"] = HandmadeSweep(root / "partly", "sweep_partly", metric="auc", repeats=["seed"])
    for job, (model, seed) in enumerate([("GLM", 1), ("GLM", 2), ("XGBoost", 1), ("XGBoost", 2)]):
        words = [f"model={model.lower()}", f"seed={seed}"]
        trial(partly, job, model, says(PARTLY, 0.5, 0.6, 0.7, seed=job), PARTLY, words, seed=seed)
    words, held = ["model=glm", "seed=1"], games((2020,))
    trial(partly, 4, "GLM", says(held, 0.5, 0.6), held, words, seed=1, kind="holdout", tags={"set": "holdout"})
    ensembled = made["sweep_ensembled"] = HandmadeSweep(root / "e", "sweep_ensembled", metric="brier", direction=None)
    for job, model in enumerate(("GLM", "XGBoost")):
        trial(ensembled, job, model, says(PLAYED, 0.5, seed=job), PLAYED)
    tags = {"ensemble": "stacking", "members": json.dumps({"none": [{"model": "GLM"}, {"model": "XGBoost"}]})}
    for job, on in enumerate((PLAYED, held), 2):
        name, told = ("holdout" if on is held else "selection"), ["model=ensemble"]
        tags |= {"set": name}
        trial(ensembled, job, "Ensemble_stacking", says(on, 0.4), on, told, tags=tags, kind="ensemble")
    trial(made["sweep_long"], 0, "GLM", says(LONG, 0.5), LONG)
    many = made["sweep_many"] = HandmadeSweep(root / "many", "sweep_many", metric="brier", direction=None)
    for job in range(6):
        trial(many, job, f"Model{job}", says(PLAYED, 0.2 + job / 10, 0.3, 0.4), PLAYED)
    uri = fresh_store(root)
    for one in made.values():
        one.save(state="FINISHED", ended=time.time())
        status = sync(one.root, uri=uri)
        assert status.written == status.total, status
    return root


@pytest.fixture
def uri(store, tmp_path, monkeypatch) -> str:
    """The store, for somebody who has neither the sweeps' folders nor pointers to them."""
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    return f"sqlite:///{store / 'mlflow.db'}"


def settings(folder: Path, *overrides: str) -> report_config.Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        told = composing.report(["report.resamples=200", *overrides])
    told.to = str(folder)
    return told


def told(folder: Path, sweep: str, uri: str, *overrides: str, **question) -> report.Made:
    return make(Question(sweep, uri=uri, **question), settings(folder, *overrides))


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Callable[[str, str], Path]:
    """The folder of a sweep's report as the settings are, made once for all that only read it."""
    root, made = tmp_path_factory.mktemp("plain"), {}

    def folder(sweep: str, uri: str) -> Path:
        if sweep not in made:
            told(root / sweep, sweep, uri)
            made[sweep] = root / sweep
        return made[sweep]

    return folder


def files(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def cells(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_deliverable_is_there_and_made_again_the_same_to_the_last_byte(uri, tmp_path):
    folder = tmp_path / "report"
    made = told(folder, "sweep_partly", uri)
    first = files(folder)
    expected = {f"{name}{end}.tex" for name in TABLES for end in ("", "_holdout")}
    expected |= {"ensemble_comparison.csv", "ensemble_comparison.json", "aggregated.csv", "best_config.json"}
    expected |= {"report.tex", "significance.csv", "tables.txt", "training_complete.yaml"}
    expected |= {f"{model}/results.{kind}" for model in ("glm", "xgb") for kind in ("json", "csv")}
    assert expected <= set(first)
    assert set(made.files) == set(first) - {"contents.json"}
    told(folder, "sweep_partly", uri)
    assert files(folder) == first
    told(tmp_path / "other", "sweep_partly", uri)
    elsewhere = files(tmp_path / "other")
    # It alone says where everything lies.
    told_there, told_here = elsewhere.pop(completion.FILE), first.pop(completion.FILE)
    assert told_there.replace(b"/other", b"/report") == told_here
    assert elsewhere == first


def test_the_numbers_are_those_of_the_store(uri, plain):
    folder = plain("sweep_partly", uri)
    trials = registry.frame("sweep_partly", uri=uri)
    expected = trials[trials["tags.sweeproute.model_type"] == "XGBoost"]["metrics.brier"].mean()
    rows = cells(folder, TABLES[0])
    assert [(row["model"], row["calibration"]) for row in rows[:6]] == [
        *(("GLM", name) for name in ("None", "Platt", "Isotonic")),
        *(("XGBoost", name) for name in ("None", "Platt", "Isotonic")),
    ]
    assert float(rows[3]["brier"]) == pytest.approx(expected, abs=1e-15)
    assert float(rows[3]["brier_low"]) < float(rows[3]["brier"]) < float(rows[3]["brier_high"])
    every = json.loads((folder / "ensemble_comparison.json").read_text())
    assert [one["set"] for one in every] == ["selection"] * 6 + ["holdout"] * 2 + ["selection"] * 3 + ["holdout"] * 3
    assert every[3]["metrics"]["brier"] == float(rows[3]["brier"])
    assert every[3]["seeds"] == ["1", "2"]
    with (folder / "aggregated.csv").open(newline="") as file:
        runs = list(csv.DictReader(file))
    assert len(runs) == 4 * 3 + 2
    kinds = pd.Series([run["kind"] for run in runs]).value_counts().to_dict()
    assert kinds == {"calibration": 9, "trial": 4, "holdout": 1}
    best = json.loads((folder / "best_config.json").read_text())
    chosen = registry.best("sweep_partly", "auc", uri=uri)
    assert best["overrides"] == list(chosen.overrides)
    assert best["run_ids"] == list(chosen.repeats.run_ids)
    assert best["metrics"]["auc"] == chosen.value
    seasons = pd.read_csv(folder / "xgb" / "results.csv", dtype={"season": str})
    assert list(seasons["season"][:3]) == ["2018", "2019", "all"]
    assert seasons["brier"][2] == pytest.approx(expected)


def test_the_holdout_stands_in_tables_of_its_own_that_say_so(uri, plain):
    folder = plain("sweep_partly", uri)
    assert "tab:calibration-holdout" in (folder / "calibration_table_holdout.tex").read_text()
    text = (folder / "multimodel_comparison_table_holdout.tex").read_text()
    assert "238 games of 2020 (holdout seasons)" in text
    assert "Nothing is chosen on these seasons" in text
    assert "others would have been chosen" not in text
    assert "Home-win rate: the share in the tested seasons before, those of the selection among them. " in text
    text = (folder / "multimodel_comparison_table.tex").read_text()
    assert "Home-win rate: the share in the tested seasons before, 0.5 in the first. " in text
    assert "holdout" not in text
    assert "chosen by AUC (maximize) on these seasons, which flatters them" in text


def test_the_home_win_rate_of_the_holdout_is_that_of_the_selection_seasons(uri, plain, tmp_path):
    every = json.loads((plain("sweep_partly", uri) / "ensemble_comparison.json").read_text())
    (home,) = (one["metrics"]["brier"] for one in every if (one["set"], one["model"]) == ("holdout", "home"))
    expected = np.mean((games((2020,))["outcome"] - PARTLY["outcome"].mean()) ** 2)
    assert home == pytest.approx(expected, abs=1e-15)
    # Of the holdout's runs alone there is nothing before them, and that is what is said.
    told(tmp_path / "r", "sweep_partly", uri, where={"set": "holdout"})
    (home,) = (row["brier"] for row in cells(tmp_path / "r", f"{TABLES[0]}_holdout") if row["model"] == "Home-win rate")
    assert float(home) == 0.25
    assert "tested seasons before, 0.5 in the first. " in (tmp_path / "r/season_table_holdout.tex").read_text()


def test_of_many_seasons_there_is_a_learning_curve_and_of_few_there_is_none(uri, plain):
    folder = plain("sweep_long", uri)
    rows = cells(folder, "learning_table")
    assert list(rows[0])[2:] == ["2012_2014", "2015_2016", "2017_2018", "slope", "slope_error"]
    by_season = cells(folder, "season_table")
    model, home = by_season[0], by_season[-1]
    gained = np.mean([float(home[season]) - float(model[season]) for season in ("2015", "2016")])
    assert float(rows[0]["2015_2016"]) == pytest.approx(gained, abs=1e-12)
    # Without ratings the home side's record is what a model is compared with.
    assert rows[-1]["model"] == "Home-win rate"
    assert {rows[-1][key] for key in ("2012_2014", "2015_2016", "2017_2018", "slope")} == {"0.0"}
    assert "beside that of Home-win rate" in (folder / "learning_table.tex").read_text()
    assert not (plain("sweep_tied", uri) / "learning_table.tex").exists()


def test_who_is_significantly_best_is_bold_and_equals_are_ties(uri, plain, tmp_path):
    folder = plain("sweep_tied", uri)
    rows = {row["model"]: row for row in cells(folder, TABLES[0])}
    assert rows["Random forest"]["brier_standing"] == "best"
    assert rows["GLM"]["brier_standing"] == rows["XGBoost"]["brier_standing"] == ""
    assert rows["GLM"]["brier"] == rows["XGBoost"]["brier"]
    assert rows["Market, de-vigged"]["brier_standing"] == ""
    lines = (folder / f"{TABLES[0]}.tex").read_text().splitlines()
    (forest,) = (line for line in lines if line.strip().startswith("Random forest"))
    assert forest.count(r"\bfseries") >= 2
    assert not any(r"\bfseries" in line for line in lines if "Random forest" not in line)
    # Without the one that is better, the two are equal, and tie.
    told(tmp_path / "r", "sweep_tied", uri, "report.alpha=1e-300")
    rows = {row["model"]: row for row in cells(tmp_path / "r", TABLES[0])}
    assert {rows[name]["brier_standing"] for name in ("GLM", "XGBoost", "Random forest")} == {"tied"}
    assert r"\bfseries" not in (tmp_path / "r" / f"{TABLES[0]}.tex").read_text()


def test_the_notes_say_which_scores_were_tested(uri, plain):
    folder = plain("sweep_tied", uri)
    said = [(folder / f"{name}.tex").read_text() for name in (TABLES[0], "calibration_table", "betting_table")]
    assert "Tested are AUC, Brier, Log loss, Accuracy (\\%), ROI (\\%); baselines" in said[0]
    assert "Tested is Brier; baselines" in said[1]
    assert "Tested is ROI (\\%); baselines" in said[2]


def test_the_season_that_no_ensemble_could_learn_for_is_named_where_it_is(uri, plain):
    folder = plain("sweep_ensembled", uri)
    for name, begins in (("season_table", True), ("season_table_holdout", False)):
        notes = (folder / f"{name}.tex").read_text()
        assert "Ensembles are of GLM and XGBoost, each as it won" in notes
        assert ("The first of all tested seasons has the average" in notes) == begins


def test_what_is_missing_stays_missing(uri, plain):
    folder = plain("sweep_odd", uri)
    for row in cells(folder, "betting_table"):
        assert [row[name] for name in ("roi", "roi_kelly", "roi_flat", "drawdown", "log_growth")] == [""] * 5
        assert "roi_low" not in row
    assert "No game has odds" in (folder / f"{TABLES[0]}.tex").read_text()
    (market,) = (row for row in cells(folder, TABLES[0]) if row["model"] == "Market, de-vigged")
    assert {value for name, value in market.items() if name != "model"} == {""}
    (line,) = (line for line in (folder / "betting_table.tex").read_text().splitlines() if "Market" in line)
    assert line.count("{--}") == 8
    every = json.loads((folder / "ensemble_comparison.json").read_text())
    assert every[0]["metrics"]["roi"] is None
    assert every[0]["metrics"]["n_bets"] == 0


def test_a_market_that_prices_some_games_says_which(uri, plain):
    folder = plain("sweep_partly", uri)
    rows = cells(folder, TABLES[0])
    assert [row["model_mark"] for row in rows if row["model"] == "Market, de-vigged"] == ["m"]
    assert "m: on the 143 games that have odds" in (folder / f"{TABLES[0]}.tex").read_text()


def test_rows_that_were_made_on_other_classes_of_device_are_marked(uri, plain):
    folder = plain("sweep_odd", uri)
    rows = cells(folder, TABLES[0])
    assert [row["model_mark"] for row in rows[:4]] == ["a", "a", "b", "b"]
    assert "last digits do not compare (a: x86\\_64; b: arm64)" in (folder / f"{TABLES[0]}.tex").read_text()
    assert "model_mark" not in cells(plain("sweep_tied", uri), TABLES[0])[0]


def test_with_many_rows_the_p_values_are_those_of_each_models_best(uri, tmp_path):
    told(tmp_path / "r", "sweep_many", uri, "report.significance.most=12")
    text = (tmp_path / "r" / "significance_table.tex").read_text()
    assert "Each model with its best calibration" in text
    assert "(6)" in text
    assert "(7)" not in text
    with (tmp_path / "r" / "significance.csv").open(newline="") as file:
        tests = [row for row in csv.DictReader(file) if row["metric"] == "brier"]
    assert len(tests) == 18 * 17 // 2 + 18 * 3
    told(tmp_path / "r", "sweep_many", uri, "report.significance.most=18")
    assert "(18)" in (tmp_path / "r" / "significance_table.tex").read_text()


@pytest.mark.parametrize("sweep", ["sweep_odd", "sweep_partly", "sweep_tied", "sweep_many"])
def test_the_document_is_typeset_and_nothing_juts_out(uri, tmp_path, sweep):
    folder = tmp_path / "r"

    @contextmanager
    def draw(_: Comparison) -> Iterator[Callable[[Path], None]]:
        from matplotlib.figure import Figure

        def finish(beside: Path) -> None:
            (beside / "figures").mkdir(exist_ok=True)
            for name in ("model_roc_curves", "model_roc_curves_holdout", "bankroll", "my_own"):
                Figure().savefig(beside / "figures" / f"{name}.pdf")

        yield finish

    words = ["report.figure_captions.bankroll='{n_models} bankrolls of a_b & 5 % in {sweep}'"]
    made = make(Question(sweep, uri=uri), settings(folder, *words), also=draw)
    document = folder / "report.tex"
    text = document.read_text()
    assert r"\includegraphics" in text
    n_models = len({row.model for row in made.comparison.sets[0].rows})
    escaped = sweep.replace("_", r"\_")
    assert rf"\caption{{{n_models} bankrolls of a\_b \& 5 \% in {escaped}}}" in text
    assert r"\caption{ROC curves of models on the 476 games of 2018--2019 (selection seasons)}" in text
    held = r"\caption{ROC curves of models on the 238 games of 2020 (holdout seasons)}"
    assert (held in text) == (sweep == "sweep_partly")
    assert r"\caption{my own}" in text
    pdf, complaints = typeset(document, tmp_path / "out")
    assert complaints == []
    assert "(1 page, " in pdf.with_suffix(".log").read_text(errors="replace")


def test_tables_and_figures_are_copied_into_a_thesis(uri, tmp_path):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("mine")
    folder = tmp_path / "r"
    told(folder, "sweep_tied", uri)
    (folder / "figures").mkdir()
    (folder / "figures" / "roc.pdf").write_bytes(b"%PDF")
    told(folder, "sweep_tied", uri, f"report.copy_to={thesis}")
    copied = files(thesis)
    assert set(copied) == {*(f"{name}.tex" for name in TABLES), "roc.pdf", "chapter.tex", COPIED}
    assert copied["chapter.tex"] == b"mine"
    assert copied["season_table.tex"] == (folder / "season_table.tex").read_bytes()
    assert b"figures/roc.pdf" in (folder / "report.tex").read_bytes()


def test_a_thesis_that_cannot_be_written_is_said_and_is_missing_from_what_is_handed_on(uri, tmp_path):
    (tmp_path / "thesis").write_text("a file")
    with pytest.raises(FolderError, match=r"thesis cannot be written \(.*\); make room, or name another folder"):
        told(tmp_path / "r", "sweep_tied", uri, f"report.copy_to={tmp_path / 'thesis'}", "report.figures=false")
    message = yaml.safe_load((tmp_path / "r" / completion.FILE).read_text())
    assert f"{tmp_path}/thesis/season_table.tex" in message["deliverables_missing"]
    assert f"{tmp_path}/r/report.tex" in message["deliverables_ready"]
    assert message["action_required"][0] == "Make what is missing: sweeproute report sweep_tied"


def test_a_thesis_that_has_a_table_of_its_own_keeps_it_and_the_report_is_there_all_the_same(sweeproute, uri, tmp_path):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "betting_table.tex").write_text("mine")
    words = ("report", "sweep_tied", "--copy-to", "thesis", "--tables-only", "--log", "report.resamples=50")
    code, said, complaint = sweeproute(*words)
    assert (code, said) == (1, "")
    assert complaint.startswith("thesis has betting_table.tex, which this command has not made, or which was changed")
    assert complaint.endswith(" The report itself is in reports/sweep_tied.\n")
    assert len(complaint.splitlines()) == 1
    assert files(thesis) == {"betting_table.tex": b"mine"}
    message = yaml.safe_load((tmp_path / "reports/sweep_tied" / completion.FILE).read_text())
    assert set(message["deliverables_missing"]) == {f"thesis/{name}.tex" for name in TABLES}
    (thesis / "betting_table.tex").rename(thesis / "mine.tex")
    code, said, complaint = sweeproute(*words)
    assert (code, complaint) == (0, "")
    assert "thesis: 6 tables and figures\n" in said
    assert files(thesis).keys() == {*(f"{name}.tex" for name in TABLES), "mine.tex", COPIED}
    # A report of fewer models takes the others' files along, and says so.
    code, _, complaint = sweeproute(
        "report", "sweep_tied", "--tables-only", "--where", "model_type=GLM", "report.resamples=50"
    )
    assert code == 0
    assert "Gone with the report that was there, since this one has no such: " in complaint


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("report.significance.metrics=[ece]", r"has 'ece', of which pairs are not tested; allowed are auc, brier"),
        ("report.comparison.caption='{game} games'", r"names what is not known; allowed in braces are games, seasons"),
        ("report.figure_captions.bankroll='{game}'", r"caption '{game}' of bankroll names what is not known; allowed"),
        ("report.season.metric=acu", r"report.season.metric=acu is no metric of these runs; .*first: auc"),
        ("report.learning.against=elos", r"report.learning.against=elos is no baseline; .*first: elo"),
    ],
)
def test_settings_that_ask_for_what_is_not_known_are_said(uri, tmp_path, override, sentence):
    with pytest.raises(ChapterError, match=sentence):
        told(tmp_path / "r", "sweep_tied", uri, override)
    assert not (tmp_path / "r").exists()


def test_the_command_that_makes_a_table_again_stands_below_it(uri, tmp_path):
    told(tmp_path / "r", "sweep_tied", uri, metric="roi", where={"model_type": "GLM"})
    text = (tmp_path / "r" / "season_table.tex").read_text()
    assert text.startswith("% Made by `sweeproute report sweep_tied --metric roi --where model_type=GLM`;")
    assert "ROI season by season" in text
    best = json.loads((tmp_path / "r" / "best_config.json").read_text())
    assert (best["model"], best["chosen_by"]) == ("GLM", [{"metric": "roi", "direction": "maximize"}])


@pytest.fixture
def sweeproute(uri, tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; its exit code, what it printed, what it complained of."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    # `command` sets this for good, as befits a process that ends with it.
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").symlink_to(ROOT / "conf")

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            __main__.main(words)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_the_command_prints_the_table_and_names_the_folder(sweeproute, tmp_path):
    code, said, complaint = sweeproute("report", "sweep_tied", "report.resamples=200")
    assert (code, complaint) == (0, "")
    lines = said.splitlines()
    assert lines[0] == "Models on the 476 games of 2018–2019 (selection seasons)"
    assert any(line.startswith("Random forest") and "*" in line for line in lines)
    assert "data abababababab, seed 42." in said
    assert "reports/sweep_tied: " in lines[-1]
    assert (tmp_path / "reports" / "sweep_tied" / "report.tex").is_file()


def test_the_command_keeps_a_report_in_the_sweeps_own_run(sweeproute, uri):
    code, said, _ = sweeproute("report", "sweep_tied", "--to", "there", "--log", "report.resamples=50")
    assert code == 0
    (run_id,) = (line.split()[-1] for line in said.splitlines() if line.startswith("Kept in MLflow"))
    client = connect(uri)
    assert client.get_run(run_id).data.tags["sweeproute.kind"] == "sweep"
    assert "report/report.tex" in {one.path for one in client.list_artifacts(run_id, "report")}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("sweep_tie",), "There is no sweep 'sweep_tie'; the nearest are sweep_tied"),
        (("sweep_tied", "--metric", "acu"), "Metrics of a trial, nearest match first: auc, "),
        (("sweep_tied", "--uri", "sqlite:///nowhere.db"), "There is no tracking store "),
        (("sweep_tied", "--where", "model_type=GLMM"), "No run has model_type=GLMM; there are GLM"),
        (("sweep_tied", "--to", "mine"), "mine is there already, and was not made by this command"),
        (("sweep_tied", "report.alpa=0.1"), "There is no key report.alpa. Keys of report, nearest match first: alpha"),
        (("sweep_tied", "report=thsis"), "There is no report=thsis. Options of report, nearest match first: thesis"),
    ],
)
def test_what_is_not_there_is_a_sentence_with_what_is(sweeproute, tmp_path, words, sentence):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "chapter.tex").touch()
    code, said, complaint = sweeproute("report", *words)
    assert (code, said) == (1, "")
    assert sentence in complaint
    assert len(complaint.splitlines()) == 1


def test_a_real_sweep_with_its_holdout_is_reported_when_its_folder_is_gone(tmp_path, monkeypatch):
    uri = fresh_store(tmp_path)
    words = ["model=glm,xgboost", "search_space=none", "calibration=all", "validation.calibration_seasons=1"]
    words += ["validation.selection_seasons=[2018,2018]", "validation.holdout_seasons=[2019,2019]", "holdout=true"]
    words += ["importances.repeats=3", "tracking.models=none"]
    environment = {"SWEEPROUTE_STATE": str(tmp_path / "state")}
    end(start(tmp_path, "-m", *words, "sweep.name=chapter", *SMALL[:3], ONE_SLOT, uri=uri, **environment))
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "elsewhere"))
    (tmp_path / "multirun").rename(tmp_path / "away")
    made = told(tmp_path / "r", "chapter", uri)
    rows = cells(tmp_path / "r", TABLES[0])
    baselines = [row["model"] for row in rows[2 * 3 :]]
    assert baselines == ["Market, de-vigged", "Elo", "Always 0.5", "Home-win rate"]
    trials = registry.frame("chapter", uri=uri)
    for row, model in ((rows[0], "GLM"), (rows[3], "XGBoost")):
        (brier,) = trials[trials["tags.sweeproute.model_type"] == model]["metrics.brier"]
        assert float(row["brier"]) == brier
    selection, holdout = made.comparison.sets
    assert [(row.model, row.calibration) for row in holdout.rows] == [
        (row.model, row.calibration) for row in selection.rows
    ]
    assert [row.configuration for row in holdout.rows] == [row.configuration for row in selection.rows]
    assert set(holdout.games["season"]) == {2019}
    assert {row.scoring for row in holdout.rows} == {1}
    # The return of bets by the rule is the same, taken from the games.
    for row in (*selection.rows, *holdout.rows):
        (table,) = row.games
        assert row.metrics["roi"].mean == pytest.approx(table["profit"].sum() / table["stake"].sum())
    # What needs no model knows what was before the holdout: home sides the selection season, ratings every season.
    by_name = {one.name: one.games for one in holdout.baselines}
    assert set(by_name["home"]["probability"]) == {selection.games["outcome"].mean()}
    data = load({"source": "league", "first_season": 2015, "last_season": 2019, "seed": 7})
    rated = pd.Series(data.elo, data.game_id)
    for found in (selection, holdout):
        games_of = {one.name: one.games for one in found.baselines}["elo"]
        np.testing.assert_array_equal(games_of["probability"], rated[games_of["game_id"]])
    # On which features models lean is found where the holdout is scored, from one fit for all calibrations.
    leans = cells(tmp_path / "r", "importance_table_holdout")
    assert list(leans[0]) == ["feature", "GLM", "XGBoost"]
    by_season = pd.read_csv(tmp_path / "r" / "glm" / "importances.csv").set_index("feature")["increase"]
    assert len(by_season) == int(trials["tags.sweeproute.n_features"].iloc[0])
    assert float(leans[0]["GLM"]) == by_season[leans[0]["feature"]]
    assert max(float(leans[0][model]) for model in ("GLM", "XGBoost")) > 0
    # Below it stands what is in it, and how it was found.
    notes = (tmp_path / "r" / "importance_table_holdout.tex").read_text()
    assert "Notes.} In 2019 a feature was shuffled 3 times among the games, for models as they are" in notes
    assert not [word for word in ("Home-win", "Elo", "market", "Ensembles are of") if word in notes]
    assert not (tmp_path / "r" / "importance_table.tex").exists()
    _, complaints = typeset(tmp_path / "r" / "report.tex", tmp_path / "out")
    assert complaints == []
