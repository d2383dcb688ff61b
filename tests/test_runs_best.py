"""Tests of what a sweep of repeats or of several metrics chose, as the tracking store tells it."""

import argparse
import json
import sqlite3
import time
from pathlib import Path

import pytest

from handmade_sweep import HandmadeSweep, fresh_store
from sweeproute import runs_sqlite, sqlite_layout
from sweeproute.commands import WordsError
from sweeproute.commands import best as command
from sweeproute.registry import BestRun, Front, RegistryError, best, chosen
from sweeproute.runs_api import ApiRuns
from sweeproute.runs_query import Question
from sweeproute.runs_sqlite import SqliteRuns
from sweeproute.selection import DirectionError
from sweeproute.tracking import sync

# auc and brier of each seed, by depth: the luckiest run, the best mean, one that was pruned under a seed.
REPEATED = {3: [(0.9, 0.2), (0.5, 0.2)], 4: [(0.72, 0.21), (0.74, 0.23)], 5: [(0.8, 0.3), (0.81, 0.3)]}
TRADED = [(0.60, 0.200), (0.70, 0.205), (0.72, 0.25), (0.65, 0.24), (0.70, 0.205)]


def repeat(sweep: HandmadeSweep) -> list[Path]:
    points = [(depth, seed, *pair) for depth, pairs in REPEATED.items() for seed, pair in enumerate(pairs)]
    return [
        sweep.configured(
            job, ["model=xgboost", f"seed={seed}", f"model.params.max_depth={depth}"], auc=auc, brier=brier
        )
        for job, (depth, seed, auc, brier) in enumerate(points)
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("searched")
    uri = fresh_store(root)
    repeated = HandmadeSweep(root / "repeated", "sweep_repeated", repeats=["seed"], metric="auc")
    repeated.change(repeat(repeated)[-1], state="PRUNED")
    traded = HandmadeSweep(root / "traded", "sweep_traded", metric=["auc", "brier"], direction=["maximize", None])
    for job, (auc, brier) in enumerate(TRADED):
        traded.run(job, auc=auc, brier=brier)
    traded.run(5, auc=0.99, brier=float("inf"))
    traded.run(6, auc=float("nan"), brier=0.1)
    traded.change(traded.run(7, auc=0.99, brier=0.1), state="FAILED")
    traded.change(traded.run(8, auc=0.99, brier=0.1), state="PRUNED")
    both = HandmadeSweep(root / "both", "sweep_both", repeats=["seed"], metric=["auc", "brier"], direction=None)
    repeat(both)
    early = HandmadeSweep(root / "early", "sweep_early", repeats=["seed"], metric="brier", direction=None)
    for folder in repeat(early)[1::2]:
        early.change(folder, state="FAILED")
    seeded = HandmadeSweep(root / "seeded", "sweep_seeded", repeats=["seed"], metric="auc")
    for job, depth in enumerate((3, 4)):
        seeded.configured(job, [f"model.params.max_depth={depth}", "seed=7"], auc=0.98, brier=0.35)
    plain = HandmadeSweep(root / "plain", "sweep_plain", repeats=["seed"], metric=["auc", "brier"], direction=None)
    for job, (auc, brier) in enumerate(TRADED):
        plain.run(job, auc=auc, brier=brier)
    for sweep in (repeated, traded, both, early, seeded, plain):
        sweep.save(state="FINISHED", ended=time.time())
        status = sync(sweep.root, uri=uri)
        assert status.written == status.total
    return root


@pytest.fixture(params=["query", "query without indexes", "api"])
def uri(request, written, tmp_path, monkeypatch) -> str:
    """The store, asked in both ways, by whoever has neither the sweeps' folders nor pointers to them."""
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    if request.param == "api":
        monkeypatch.setattr(sqlite_layout, "KNOWN_REVISIONS", frozenset())
    if request.param == "query without indexes":
        monkeypatch.setattr(runs_sqlite, "indexes", lambda connection: frozenset())
    return f"sqlite:///{written / 'mlflow.db'}"


def test_the_best_mean_is_found_with_all_of_its_repeats(uri):
    found = best("sweep_repeated", uri=uri)
    assert (found.job, found.value, found.metrics["brier"]) == (2, pytest.approx(0.73), pytest.approx(0.22))
    assert found.overrides == ("model=xgboost", "model.params.max_depth=4")
    together = found.repeats
    assert (together.keys, together.n, together.of, together.jobs) == (("seed",), 2, 2, (2, 3))
    assert together.overrides == (("seed=0",), ("seed=1",))
    assert together.metrics["auc"].sem == pytest.approx(0.01)
    client = ApiRuns(uri).client
    assert [client.get_run(id).data.metrics["auc"] for id in together.run_ids] == [0.72, 0.74]
    assert found.warnings == ("1 configuration lacks some of its 2 seeds, and was not compared.",)


def test_repeats_share_a_tag_in_the_store(uri):
    runs = list(ApiRuns(uri).search(Question("", True, "sweep_repeated"), ["tags.`sweeproute.kind` = 'trial'"]))
    tags = [run.data.tags for run in runs]
    pairs = {(own["sweeproute.configuration"], json.loads(own["sweeproute.overrides"])[2]) for own in tags}
    assert len(runs) == 6
    assert len(pairs) == len({tag for tag, _ in pairs}) == 3


def test_the_best_mean_by_another_metric_is_asked_for_by_name(uri):
    assert best("sweep_repeated", "brier", uri=uri).job == 0
    assert best("sweep_repeated", "brier", "maximize", uri=uri).job == 2


def test_while_no_configuration_is_complete_it_is_said(uri):
    found = chosen("sweep_early", uri=uri)
    assert (found.metric, found.job, found.repeats.n, found.repeats.of) == ("brier", 0, 1, 2)
    assert found.repeats.metrics["brier"].sem is None
    assert "No configuration has finished its 2 seeds yet; those with 1 were compared." in found.warnings


def test_without_a_sweep_runs_are_compared_one_by_one_and_the_luck_is_said(uri):
    found = best(uri=uri)
    assert (found.value, found.repeats) == (0.99, None)
    assert found.job == 5
    assert not any("luckiest" in warning for warning in found.warnings)
    lucky = best(metric="brier", direction="maximize", uri=uri)
    assert lucky.value == 0.35
    assert not any("luckiest" in warning for warning in lucky.warnings)
    lucky = best(direction="minimize", uri=uri)
    assert lucky.value == 0.5
    assert any(f"`sweeproute best --sweep {lucky.sweep}`" in warning for warning in lucky.warnings)


def test_where_nothing_was_repeated_each_run_stands_for_itself(uri):
    found = best("sweep_seeded", uri=uri)
    assert (found.job, found.repeats, found.warnings) == (0, None, ())
    assert found.overrides == ("model.params.max_depth=3", "seed=7")
    front = chosen("sweep_plain", uri=uri)
    assert ([run.job for run in front.front], front.compared, front.warnings) == ([2, 1, 0], 5, ())


def test_several_metrics_are_answered_with_the_front_and_its_knee(uri):
    found = chosen("sweep_traded", uri=uri)
    assert isinstance(found, Front)
    assert (found.metrics, found.directions) == (("auc", "brier"), ("maximize", "minimize"))
    assert [run.job for run in found.front] == [2, 1, 0]
    assert (found.knee, found.compared, found.not_finite) == (1, 5, 2)
    assert found.front[1].overrides == ("model=xgboost", "model.params.max_depth=4")
    assert found.front[1].repeats is None
    assert "2 runs have a value that is not finite, and cannot win." in found.warnings


def test_one_of_several_metrics_is_still_asked_alone(uri):
    found = chosen("sweep_traded", "brier", uri=uri)
    assert isinstance(found, BestRun)
    assert (found.job, found.direction, found.not_finite) == (6, "minimize", 1)
    with pytest.raises(DirectionError, match="give one direction for each metric"):
        chosen("sweep_traded", direction="maximize", uri=uri)


def test_the_front_of_repeats_is_one_of_means(uri):
    found = chosen("sweep_both", uri=uri)
    assert [run.repeats.jobs for run in found.front] == [(4, 5), (2, 3), (0, 1)]
    assert found.front[found.knee].repeats.jobs == (2, 3)
    assert found.front[found.knee].metrics["auc"] == pytest.approx(0.73)
    assert found.front[found.knee].overrides == ("model=xgboost", "model.params.max_depth=4")


def test_a_metric_that_one_of_them_lacks_is_said(uri, written, monkeypatch):
    monkeypatch.setattr("sweeproute.runs_best.told_rule", lambda _: {"metric": ["auc", "roi"]})
    with pytest.raises(RegistryError, match="has a metric 'roi'; logged are brier, auc"):
        chosen("sweep_traded", uri=uri)


def test_a_kind_without_a_value_is_a_sentence(capsys):
    with pytest.raises(WordsError, match=r"^--where foo says no value; write KEY=VALUE"):
        said(capsys, "--where", "foo")


def test_runs_of_one_kind_alone_can_be_asked_for(uri):
    assert best("sweep_seeded", uri=uri, where={"model.params.p1": "1", "seed": "42", "data_hash": "abab"}).job == 0
    with pytest.raises(RegistryError, match=r"No trial of sweep sweep_seeded has seed=7 and data_hash=ab; `"):
        best("sweep_seeded", uri=uri, where={"seed": "7", "data_hash": "ab"})


def test_different_devices_and_data_are_said(written, tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    (tmp_path / "mlflow.db").write_bytes((written / "mlflow.db").read_bytes())
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert chosen("sweep_both", uri=uri).warnings == ()
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        odd = chosen("sweep_both", uri=uri).front[0].repeats.run_ids[1]
        for tag in ("data_hash", "device_class"):
            change = "UPDATE tags SET value = 'odd' WHERE key = ? AND run_uuid = ?"
            store.execute(change, [f"sweeproute.{tag}", odd])
    store.close()
    for known in (sqlite_layout.KNOWN_REVISIONS, frozenset()):
        monkeypatch.setattr(sqlite_layout, "KNOWN_REVISIONS", known)
        with pytest.raises(
            RegistryError, match=r"different data, of other games \(abab.* and odd\).*--where data_hash=abab.*--mixed"
        ):
            chosen("sweep_both", uri=uri)
        said = chosen("sweep_both", uri=uri, mixed=True).warnings
        assert any("different data" in warning for warning in said)
        assert any("(cpu and odd)" in warning for warning in said)


def test_both_ways_of_asking_see_the_same_trials(written, monkeypatch):
    monkeypatch.setattr(runs_sqlite, "_CHUNK", 4)
    path = written / "mlflow.db"
    for sweep in ("sweep_repeated", "sweep_traded"):
        question = Question("auc", True, sweep)
        fast, slow = SqliteRuns(path), ApiRuns(f"sqlite:///{path}")
        ours, theirs = (runs.trials(question, ("auc", "brier")) for runs in (fast, slow))
        assert [trial.tags["sweeproute.trial"] for trial in ours] == [str(job) for job in range(len(ours))]
        assert [repr(trial.metrics.get("auc")) for trial in ours] == [repr(t.metrics.get("auc")) for t in theirs]
        assert [(t.run_id, t.finished, t.tags) for t in ours] == [(t.run_id, t.finished, t.tags) for t in theirs]
        assert fast.sweep_tags(sweep) == slow.sweep_tags(sweep) != {}


def test_a_sweeps_own_run_says_what_won_and_keeps_its_model(written):
    client = ApiRuns(f"sqlite:///{written / 'mlflow.db'}").client

    def won(sweep: str) -> tuple[str, list[str]]:
        question = Question("", True, sweep)
        runs = list(ApiRuns(f"sqlite:///{written / 'mlflow.db'}").search(question, []))
        (note,) = (run.data.tags["mlflow.note.content"] for run in runs if "mlflow.note.content" in run.data.tags)
        kept = [run for run in runs if any(file.path == "model" for file in client.list_artifacts(run.info.run_id))]
        return note, [run.data.tags["sweeproute.trial"] for run in kept]

    note, kept = won("sweep_repeated")
    assert kept == ["2"]
    assert "6 jobs: 5 finished, 1 pruned.\n\nBest auc: **0.7300 ± 0.0100** (2 seeds), [jobs 2-3](#/exp" in note
    assert note.endswith("\n\n    model=xgboost model.params.max_depth=4")
    note, kept = won("sweep_traded")
    assert kept == ["1"]
    assert "3 of 5; its knee: **auc=0.7000  brier=0.2050**, [job 1](#/exp" in note


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    asked = parser.parse_args(["best", *words])
    asked.run(asked)
    return capsys.readouterr().out


def test_the_command_says_the_mean_its_error_and_the_runs(uri, capsys):
    text = said(capsys, "--sweep", "sweep_repeated", "--uri", uri).splitlines()
    ids = best("sweep_repeated", uri=uri).repeats.run_ids
    assert text[0] == "auc=0.7300 ± 0.0100 (2 seeds): jobs 2-3 of sweep_repeated, on local_m4 (cpu)"
    assert text[2:5] == [
        "  python train.py model=xgboost model.params.max_depth=4",
        f"  run {ids[0]}: seed=0",
        f"  run {ids[1]}: seed=1",
    ]
    assert said(capsys, "--sweep", "sweep_repeated", "--uri", uri, "--overrides") == (
        "model=xgboost model.params.max_depth=4\n"
    )
    answer = json.loads(said(capsys, "--sweep", "sweep_repeated", "--uri", uri, "--json"))
    assert answer["repeats"]["run_ids"] == list(ids)
    assert answer["repeats"]["metrics"]["auc"] == {"mean": answer["value"], "sem": pytest.approx(0.01), "n": 2}


def test_the_command_says_the_front_and_gives_the_knee(uri, capsys):
    text = said(capsys, "--sweep", "sweep_traded", "--uri", uri).splitlines()
    assert text[0] == "Front of auc (maximize) and brier (minimize): 3 of 5 in sweep_traded"
    assert [line.split()[0] for line in text[2:5]] == ["2", "1", "0"]
    assert [line.endswith("knee") for line in text[2:5]] == [False, True, False]
    assert "  python train.py model=xgboost model.params.max_depth=4" in text
    assert said(capsys, "--sweep", "sweep_traded", "--uri", uri, "--overrides") == (
        "model=xgboost model.params.max_depth=4\n"
    )
    answer = json.loads(said(capsys, "--sweep", "sweep_traded", "--uri", uri, "--json"))
    assert [point["job"] for point in answer["front"]] == [2, 1, 0]
    assert answer["knee"] == 1


def test_what_a_model_of_stakes_lacks_the_command_leaves_out_and_a_program_is_told_of_as_null(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    uri, sweep = fresh_store(tmp_path), HandmadeSweep(tmp_path / "sweep", "sweep_bets", metric="roi")
    lacks = dict.fromkeys(("auc", "brier", "log_loss", "ece", "roi_kelly"), float("nan"))
    sweep.run(0, roi=0.02, n_bets=40.0, n_games=256.0, **lacks)
    sync(sweep.root, uri=uri)
    assert "  roi=0.0200  n_bets=40  n_games=256" in said(capsys, "--sweep", "sweep_bets", "--uri", uri).splitlines()

    def no_json(word):
        raise AssertionError(f"{word} is no JSON")

    answer = json.loads(said(capsys, "--sweep", "sweep_bets", "--uri", uri, "--json"), parse_constant=no_json)
    assert (answer["metrics"]["roi"], answer["metrics"]["auc"]) == (0.02, None)
