"""Tests of numbers in words."""

import pytest

from sweeproute import selection
from sweeproute.configuration import estimates
from sweeproute.score_text import scores

TRIAL = dict.fromkeys(selection.OURS, 0.25) | {"n_games": 100.0, "n_bets": 7.0}
SHOWN = {"auc", "brier", "log_loss", "ece", "roi", "n_bets", "n_games"}


def line(metrics, first=()) -> str:
    return scores(estimates([metrics]), first)


def test_a_trial_is_told_without_its_finer_metrics_but_for_those_that_decide():
    assert {cell.partition("=")[0] for cell in line(TRIAL).split()} == SHOWN
    told = line(TRIAL, ["accuracy", "auc"])
    assert told.startswith("accuracy=0.2500  auc=0.2500  ")
    assert {cell.partition("=")[0] for cell in told.split()} == SHOWN | {"accuracy"}


def test_what_a_trial_does_not_have_is_left_out_also_where_it_was_asked_for_but_not_what_is_infinite():
    bettor = TRIAL | dict.fromkeys(set(TRIAL) - set(selection.OF_STAKES), float("nan")) | {"roi": float("-inf")}
    for told in (line(bettor, ["auc"]), line(bettor, ["roi"])):
        assert sorted(told.split()) == ["n_bets=7", "n_games=100", "roi=-inf"]
    further = TRIAL | {f"platt/{name}": value for name, value in bettor.items()}
    assert line(further).split("\n")[1].split() == ["platt:", *line(bettor).split()]


def test_another_apps_numbers_are_told_though_they_are_none():
    assert line({"loss": float("nan"), "auc": float("nan")}) == "loss=nan  auc=nan"


def test_further_calibrations_have_lines_of_their_own():
    further = {f"{method}/{name}": value for method in ("platt", "isotonic") for name, value in TRIAL.items()}
    first, platt, isotonic = line(TRIAL | further, ["platt/ace"]).split("\n")
    assert first.startswith("platt/ace=0.2500  ")
    for text, method in ((platt, "platt"), (isotonic, "isotonic")):
        head, *cells = text.split()
        assert head == f"{method}:"
        assert {cell.partition("=")[0] for cell in cells} == SHOWN


@pytest.mark.parametrize(
    "metrics",
    [
        {"loss": 1.5, "accuracy": 0.5, "drawdown": 0.1, "train/loss": 0.1, "val/accuracy": 0.2, "val/auc": 0.7},
        {"auc": 0.7, "brier": 0.2, "accuracy": 0.6},
        {"accuracy": 0.6, "ace": 0.1, "val/auc": 0.7, "val/brier": 0.2, "val/n_games": 100.5, "val/accuracy": 0.6},
    ],
)
def test_another_apps_metrics_are_all_told_by_their_names_on_one_line(metrics):
    assert line(metrics) == "  ".join(f"{name}={value:.4f}" for name, value in metrics.items())
