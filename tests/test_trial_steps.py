"""Tests of the steps of a trial: which there are, what is said at them, and a trial that ends inside a fit."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hydra_plugins.sweeproute._objective import objective
from hydra_plugins.sweeproute._pruning import read_reports
from small_trial import ONE_SLOT, SMALL, composed, end, start
from sweeproute import data, estimators, experiment, journal
from sweeproute.config import plain
from sweeproute.evaluation import evaluate
from sweeproute.journal import Journal
from sweeproute.selection import OURS
from sweeproute.trial_steps import EPOCHS, PrunedError, Steps

NETWORK = (*SMALL, "model=neural_network", "device=cpu", "threads=1", "tracking.models=none")


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path, "trial", {}) as opened:
        yield opened


def reported(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]


def said(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["auc"]) for line in reported(folder)]


def walk(steps: Steps, seasons: list[int], epochs: list[int]) -> None:
    """Folds whose fits take so many epochs: at epoch e the n-th says n + e / 1000, and the n-th fold says n + 1."""
    for number, (season, count) in enumerate(zip(seasons, epochs, strict=True)):
        for epoch in range(1, count + 1):
            steps.epoch(season, epoch, lambda value=number + epoch / 1000: {"auc": value})
        steps.fold(season, {"auc": 0.5}, {"auc": number + 1.0})


def test_without_epochs_a_step_is_a_fold(told: Journal) -> None:
    steps = Steps(told, 2020, inside=False)
    walk(steps, [2018, 2019, 2020], [0, 0, 0])
    assert said(told.folder) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert [line["step/auc"] for line in reported(told.folder)] == [0.5] * 3


def test_a_fit_that_ended_early_stands_with_what_it_kept_so_that_steps_mean_the_same_in_all_trials(
    tmp_path: Path,
) -> None:
    found = {}
    for name, epochs in {"long": [200, 200], "short": [3, 40]}.items():
        (tmp_path / name).mkdir()
        with Journal.open(tmp_path / name, name, {}) as told:
            walk(Steps(told, 2019, inside=True), [2018, 2019], epochs)
        found[name] = said(tmp_path / name)
    assert [step for step, _ in found["long"]] == [step for step, _ in found["short"]] == list(range(1, 19))
    assert EPOCHS == (1, 2, 4, 8, 16, 32, 64, 128)
    assert [value for _, value in found["long"]] == [
        *(epoch / 1000 for epoch in EPOCHS), 1.0, *(1 + epoch / 1000 for epoch in EPOCHS), 2.0
    ]  # fmt: skip
    assert [value for _, value in found["short"]] == [
        *(min(epoch, 3) / 1000 for epoch in EPOCHS), 1.0, *(1 + min(epoch, 40) / 1000 for epoch in EPOCHS), 2.0
    ]  # fmt: skip


def test_a_fold_of_a_former_attempt_keeps_its_number(told: Journal) -> None:
    steps = Steps(told, 2019, inside=True)
    steps.fold(2018, {"auc": 0.5}, {"auc": 1.0})
    walk(steps, [2019], [2])
    assert [step for step, _ in said(told.folder)] == list(range(9, 19))


def test_a_pruner_that_compares_step_by_step_takes_each_fold_once(told: Journal) -> None:
    walk(Steps(told, 2018, inside=True), [2018], [1])
    assert [line["step/auc"] for line in reported(told.folder)] == ["NaN"] * 8 + [0.5]
    reports, _ = read_reports(told.folder, 0)
    aim = objective("auc", None, searched=True)
    assert [aim.on_the_way(one.metrics, alone=True) for one in reports] == [None] * 8 + [0.5]
    assert [aim.on_the_way(one.metrics) for one in reports] == [0.001] * 8 + [1.0]


def test_what_another_calibration_gives_is_reported_and_stands_in_no_run_of_this_trial(told: Journal) -> None:
    steps = Steps(told, 2019, inside=False)
    steps.fold(2018, {"auc": 0.5, "platt/auc": 0.6}, {"auc": 0.7, "platt/auc": 0.8})
    (report,), _ = read_reports(told.folder, 0)
    aim = objective("platt/auc", None, searched=True)
    assert (aim.on_the_way(report.metrics), aim.on_the_way(report.metrics, alone=True)) == (0.8, 0.6)
    assert [row[:3] for row in journal.merge(journal.read(told.folder)[0]).metrics] == [("auc", 0.5, 2018)]


@pytest.mark.parametrize(("stopped", "epoch"), [(4, 4), (5, 5), (200, 200)])
def test_word_is_heard_at_every_epoch(told: Journal, stopped: int, epoch: int) -> None:
    steps = Steps(told, 2019, inside=True)
    steps.fold(2018, {"auc": 0.5}, {"auc": 1.0})
    with pytest.raises(PrunedError) as early:  # noqa: PT012  (the word comes in between)
        for number in range(1, 300):
            if number == stopped:
                (told.folder / "stop").write_text("worse than the median")
            steps.epoch(2019, number, lambda: {"auc": 0.0})
    assert str(early.value) == "worse than the median"
    assert early.value.where == f"after {epoch} epochs of season 2019"
    assert (early.value.season, early.value.metrics) == (2018, {"auc": 1.0})


def run(folder: Path, *words: str) -> dict[str, Any]:
    with composed(folder, *NETWORK, *words) as config:
        return experiment.run_trial(config)


def test_a_network_reports_inside_its_folds_and_says_at_their_ends_what_other_models_say(tmp_path: Path) -> None:
    metrics = run(tmp_path, "model.params.max_epochs=5")
    lines = reported(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 19))
    written = journal.merge(journal.read(tmp_path)[0])
    of_season = {step: value for name, value, step, _ in written.metrics if name == "auc"}
    assert [lines[8]["auc"], lines[17]["step/auc"]] == [of_season[2018], of_season[2019]]
    assert lines[17]["auc"] == metrics["auc"]
    # Five epochs are the fourth step's kept weights, or better ones, and nothing comes after them.
    assert [line["brier"] for line in lines[4:8]] == [lines[4]["brier"]] * 4


@pytest.mark.parametrize("calibration", [0, 1])
def test_what_is_reported_inside_a_fold_is_of_seasons_before_the_tested_one(tmp_path: Path, calibration: int) -> None:
    words = ("model.params.max_epochs=3", f"validation.calibration_seasons={calibration}")
    run(tmp_path, *words)
    lines = reported(tmp_path)
    with composed(tmp_path, *NETWORK) as config:
        season = data.load(plain(config.data)).season
    played = {year: int((season == year).sum()) for year in (2017, 2018, 2019)}
    inside = [{line["n_games"] for line in lines[first : first + 8]} for first in (0, 9)]
    assert inside == [{played[2017]}, {2 * played[2018]}]  # tested by the first fold, watched by the second


def test_a_season_that_is_watched_is_scored_by_what_the_kept_weights_say(tmp_path: Path) -> None:
    with composed(tmp_path, *NETWORK, "model.params.max_epochs=4") as config:
        experiment.settle(config)
        dataset = data.load(plain(config.data))
        network = estimators.build(config.model)
        run(tmp_path, "model.params.max_epochs=4")
    games = estimators.Games(dataset.features.to_numpy(), dataset.teams, dataset.team_names)
    train, watched = (np.flatnonzero(rows) for rows in (dataset.season < 2017, dataset.season == 2017))
    apart = games.rows(watched), dataset.outcome[watched]
    estimators.fit_games(network, games.rows(train), dataset.outcome[train], apart)
    says = network.predict_games(games.rows(watched))[:, 1]
    brier = float(((says - dataset.outcome[watched]) ** 2).mean())
    assert reported(tmp_path)[3]["brier"] == pytest.approx(brier, rel=1e-6)


FOLLOWED = ("calibration=all", "validation.calibration_seasons=1", "hydra.sweeper.metric=platt/brier")


def test_the_calibration_that_a_sweep_chooses_by_is_reported_inside_a_fold_as_after_it(tmp_path: Path) -> None:
    metrics = run(tmp_path, *FOLLOWED, "model.params.max_epochs=3")
    lines = reported(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 19))
    assert lines[17]["platt/brier"] == metrics["platt/brier"]
    assert all(0 < line["platt/brier"] < 1 and line["platt/brier"] != line["brier"] for line in lines)
    assert [line["step/platt/brier"] == "NaN" for line in lines] == ([True] * 8 + [False]) * 2
    assert not any("isotonic" in name for line in lines for name in line)
    written = journal.merge(journal.read(tmp_path)[0])
    below = journal.merge(journal.read(tmp_path / "calibrated" / "platt")[0])
    of_season = {step: value for name, value, step, _ in below.metrics if name == "brier"}
    assert [lines[8]["step/platt/brier"], lines[17]["step/platt/brier"]] == [of_season[2018], of_season[2019]]
    assert {name for name, _, step, _ in written.metrics if step in (2018, 2019)} == OURS


def test_a_trial_that_ends_early_says_how_it_does_by_the_calibration_that_the_sweep_chooses_by(tmp_path: Path) -> None:
    words = (*SMALL, "model=glm", "threads=1", "tracking.models=none", *FOLLOWED)
    (tmp_path / "stop").write_text("worse than the median")
    with composed(tmp_path, *words) as config:
        returned = experiment.run_trial(config)
    (line,) = reported(tmp_path)
    assert (returned["status"], returned["platt/brier"]) == ("pruned", line["platt/brier"])
    written = journal.merge(journal.read(tmp_path)[0])
    assert {name for name, *_ in written.metrics} == OURS


def test_a_trial_that_is_told_to_stop_in_its_first_fit_ends_there_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("worse than the median")
    returned = run(tmp_path, "model.params.max_epochs=1000", "model.params.patience=1000")
    written = journal.merge(journal.read(tmp_path)[0])
    assert returned == {"status": "pruned", "reason": "worse than the median"}
    assert written.status == "PRUNED"
    assert written.tags["sweeproute.pruned"] == "worse than the median"
    assert [line["step"] for line in reported(tmp_path)] == [1]


# A good trial of eight epochs a fold, and one that learns nothing and would take a thousand.
GOOD, IDLE = ({"learning_rate": 0.003, "max_epochs": 8}, {"learning_rate": 1e-7, "max_epochs": 1000})
SEARCH = (
    "model.params.learning_rate=choice(0.003,1e-7)",
    "model.params.max_epochs=choice(8,1000)",
    "model.params.patience=1000",
    "model.params.batch_size=16",
    "hydra.sweeper.sampler=random",
    "hydra.sweeper.n_trials=2",
    "hydra.sweeper.metric=brier",
    "search_space=none",
    ONE_SLOT,
)


def enqueued() -> str:
    points = [",".join(f"model.params.{name}:{value}" for name, value in one.items()) for one in (GOOD, IDLE)]
    return f"hydra.sweeper.enqueue=[{','.join(f'{{{point}}}' for point in points)}]"


@pytest.mark.parametrize(
    ("pruner", "metric"),
    [("median", ()), ("halving", ()), ("median", FOLLOWED)],
    ids=["median", "halving", "median by a calibrated metric"],
)
def test_a_sweep_ends_a_network_without_prospects_in_the_middle_of_a_fold(
    tmp_path: Path, pruner: str, metric: tuple[str, ...]
) -> None:
    options = {"median": "{n_startup_trials:1,n_warmup_steps:0}", "halving": "{min_resource:1,reduction_factor:2}"}
    words = (
        "-m",
        *NETWORK,
        *(word for word in SEARCH if not metric or not word.startswith("hydra.sweeper.metric=")),
        *metric,
        f"hydra.sweeper.pruner={pruner}",
        f"hydra.sweeper.pruner_options={options[pruner]}",
    )
    process: subprocess.Popen[str] = start(tmp_path, *words, enqueued(), "hydra.sweep.dir=out")
    output = end(process)
    assert "1 done, 1 pruned" in output
    good, idle = (reported(tmp_path / "out" / number) for number in "01")
    assert [line["step"] for line in good] == list(range(1, 19))
    assert 1 <= idle[-1]["step"] < 9
    pages = [journal.merge(journal.read(tmp_path / "out" / number)[0]) for number in "01"]
    assert [page.status for page in pages] == ["FINISHED", "PRUNED"]
    told = pages[1].tags["sweeproute.pruned"]
    assert told.startswith(f"pruned by {pruner} at step ")
    assert f": {'platt/brier' if metric else 'brier'} was 0." in told
    assert not [name for name, *_ in pages[1].metrics if name == "brier"]


def test_a_model_that_tells_nothing_has_no_steps_inside(tmp_path: Path) -> None:
    with composed(tmp_path, *SMALL, "model=glm", "threads=1", "tracking.models=none") as config:
        experiment.run_trial(config)
    assert [line["step"] for line in reported(tmp_path)] == [1, 2]


def test_telling_changes_nothing_of_what_is_learned(tmp_path: Path) -> None:
    from sweeproute.betting import BettingRule
    from sweeproute.validation import walk_forward

    with composed(tmp_path, *NETWORK, "model.params.max_epochs=4") as config:
        experiment.settle(config)
        dataset = data.load(plain(config.data))
        folds = walk_forward(
            dataset.season,
            dataset.kickoff,
            window="expanding",
            window_seasons=None,
            first_test_season=2018,
            gap_seasons=0,
            calibration_seasons=0,
            selection_seasons=[2018, 2019],
        )
        heard: list[dict[str, float]] = []

        def hear(season: int, epoch: int, measure: Any) -> None:
            heard.append(measure())

        one = evaluate(lambda: estimators.build(config.model), dataset, folds, BettingRule(), on_epoch=hear)
        two = evaluate(lambda: estimators.build(config.model), dataset, folds, BettingRule())
    assert len(heard) == 8
    assert one == two
