"""Tests of choosing among the trials of a sweep."""

import math

import hypothesis
import hypothesis.strategies as st
import pytest

from sweeproute.choice import Scored, choose
from sweeproute.selection import Objective, Rule

AUC, BRIER = Objective("auc", True), Objective("brier", False)
SEEDS = Rule((AUC,), ("seed",))


def trial(number: int, configuration: str = "", seed: int | None = None, finished: bool = True, **metrics: float):
    return Scored(number, finished, configuration, seed, metrics)


def repeated(**values: list[float | None]) -> list[Scored[int]]:
    """Configurations by name, with the auc of each seed; None of one that failed."""
    pairs = [(name, seed, auc) for name, each in values.items() for seed, auc in enumerate(each)]
    return [
        trial(number, name, seed, auc is not None, **({} if auc is None else {"auc": auc}))
        for number, (name, seed, auc) in enumerate(pairs)
    ]


def test_the_best_mean_wins_over_the_luckiest_repeat():
    choice = choose(repeated(lucky=[0.9, 0.5, 0.5], even=[0.7, 0.71, 0.72]), SEEDS)
    assert choice.winner.repeats == (3, 4, 5)
    assert choice.winner.estimates["auc"].mean == pytest.approx(0.71)
    assert choice.winner.estimates["auc"].sem == pytest.approx(0.01 / math.sqrt(3))
    assert (choice.compared, choice.repeats, choice.finished_repeats, choice.incomplete) == (2, 3, 3, False)


def test_a_configuration_that_lacks_repeats_is_passed_over_while_one_is_complete():
    choice = choose(repeated(best=[0.9, 0.9, None], odd=[0.9, math.nan, 0.9], whole=[0.6, 0.6, 0.6]), SEEDS)
    assert choice.winner.repeats == (6, 7, 8)
    assert (choice.compared, choice.passed_over, choice.not_finite) == (1, 2, 1)


def test_while_none_is_complete_those_with_most_repeats_are_compared_and_it_is_known():
    choice = choose(repeated(few=[0.9, None, None], most=[0.6, 0.61, None], other=[0.5, None, 0.5]), SEEDS)
    assert choice.winner.repeats == (3, 4)
    assert (choice.repeats, choice.finished_repeats, choice.incomplete) == (3, 2, True)


def test_of_the_same_repeat_the_first_counts():
    trials = [*repeated(twice=[0.6, 0.7], once=[0.5, 0.5]), trial(4, "twice", 1, auc=0.99)]
    choice = choose(trials, SEEDS)
    assert choice.winner.repeats == (0, 1)
    assert choice.repeats == 2


def test_of_equal_means_the_earlier_configuration_wins():
    assert choose(repeated(a=[0.5, 0.7], b=[0.7, 0.5]), SEEDS).winner.repeats == (0, 1)


def test_without_repeats_the_same_overrides_are_two_trials():
    choice = choose([trial(0, "a", auc=0.5), trial(1, "a", auc=0.6)], Rule((AUC,)))
    assert (choice.winner.repeats, choice.compared) == ((1,), 2)
    assert choice.winner.estimates["auc"].sem is None


def test_where_all_are_of_one_seed_nothing_is_repeated():
    choice = choose([trial(0, "a", 7, auc=0.5), trial(1, "a", 7, auc=0.6), trial(2, "b", 7, auc=0.4)], SEEDS)
    assert (choice.winner.repeats, choice.compared, choice.repeats, choice.incomplete) == ((1,), 3, 1, False)
    assert choice.rule.repeats == ()


def test_several_objectives_leave_a_front_with_its_knee_over_the_means():
    points = {"a": (0.6, 0.20), "b": (0.7, 0.21), "c": (0.72, 0.30), "d": (0.65, 0.25)}
    trials = []
    for configuration, (auc, brier) in points.items():
        for seed, away in enumerate((-0.01, 0.01)):
            metrics = {"auc": auc + away, "brier": brier + away, "roi": away}
            trials.append(trial(len(trials), configuration, seed, **metrics))
    choice = choose(trials, Rule((AUC, BRIER), ("seed",)))
    assert [chosen.repeats for chosen in choice.front] == [(4, 5), (2, 3), (0, 1)]
    assert choice.winner.repeats == (2, 3)
    assert set(choice.winner.estimates) == {"auc", "brier", "roi"}


def test_a_value_of_either_objective_that_is_not_finite_never_wins_and_is_counted():
    trials = [trial(0, auc=math.inf, brier=0.1), trial(1, auc=0.9, brier=math.nan), trial(2, auc=0.5, brier=0.3)]
    trials += [trial(3, auc=0.99), trial(4, finished=False, auc=0.99, brier=0.0)]
    choice = choose(trials, Rule((AUC, BRIER)))
    assert [chosen.repeats for chosen in choice.front] == [(2,)]
    assert (choice.not_finite, choice.compared) == (2, 1)


def test_where_none_can_win_there_is_no_winner():
    choice = choose([trial(0, auc=math.nan)], Rule((AUC,)))
    assert (choice.winner, choice.front, choice.not_finite, choice.incomplete) == (None, (), 1, False)
    assert choose([], SEEDS).winner is None


@hypothesis.settings(derandomize=True, deadline=None)
@hypothesis.given(st.lists(st.lists(st.sampled_from([0.25, 0.5, 0.75, None]), min_size=3, max_size=3), min_size=1))
def test_the_winner_is_what_a_plain_search_finds(rows):
    choice = choose(repeated(**{f"c{place}": row for place, row in enumerate(rows)}), SEEDS)
    kept = [[auc for auc in row if auc is not None] for row in rows]
    most = max(map(len, kept))
    means = [sum(row) / most if row and len(row) == most else -1 for row in kept]
    if most == 0:
        assert choice.winner is None
        return
    place = means.index(max(means))
    assert choice.repeats == 3
    assert choice.winner.repeats == tuple(3 * place + seed for seed in range(3) if rows[place][seed] is not None)
    assert choice.incomplete == (most < 3)
