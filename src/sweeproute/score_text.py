"""Puts what was chosen into words: numbers with their errors, jobs, the table of a front."""

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sweeproute.choice import Choice
from sweeproute.configuration import Estimate, split
from sweeproute.selection import ALWAYS, CALIBRATIONS, DETAILS, OURS
from sweeproute.sweep_folder import Outcome


def number(value: float) -> str:
    """A score in four digits; what is whole as it is.

    Example:
        >>> number(0.57309), number(4800.0)
        ('0.5731', '4800')
    """
    return str(int(value)) if value.is_integer() else f"{value:.4f}"


def estimated(estimate: Estimate) -> str:
    """A mean with its standard error, where there is one.

    Example:
        >>> estimated(Estimate(mean=0.5731, sem=0.0021, n=5))
        '0.5731 ± 0.0021'
    """
    return number(estimate.mean) + ("" if estimate.sem is None else f" ± {number(estimate.sem)}")


def scores(estimates: Mapping[str, Estimate], first: Sequence[str], indent: str = "  ") -> str:
    """The metrics on one line, those that decide first, the others in their order.

    Those of a trial's further calibrations, as in platt/brier, follow on a line for each; of all that a trial has, the
    finer metrics are left out, and what it does not have, as no score of probabilities where a model gives stakes.
    Another app's metrics are all shown, whatever their names and values.
    """
    methods = ("", *CALIBRATIONS)
    # Where all that each trial has is there; another app may have metrics of the same names.
    whole = {method for method in methods if all(f"{method}/{name}".lstrip("/") in estimates for name in ALWAYS)}
    lines: dict[str, list[str]] = {"": []}
    for name in sorted(estimates, key=lambda name: first.index(name) if name in first else len(first)):
        method, _, metric = name.rpartition("/")
        if method in whole and metric in OURS and math.isnan(estimates[name].mean):
            continue
        if name in first or method not in methods or metric not in OURS:
            method, metric = "", name
        elif method in whole and metric in DETAILS:
            continue
        lines.setdefault(method, []).append(f"{metric}={estimated(estimates[name])}")
    told = ("  ".join([*([f"{method}:"] if method else []), *cells]) for method, cells in lines.items() if cells)
    return f"\n{indent}".join(told)


def repeats(n: int, keys: Sequence[str]) -> str:
    """How many repeats there are, by the name that they go by.

    Example:
        >>> repeats(5, ["seed"]), repeats(1, ["data.fold"])
        ('5 seeds', '1 repeat')
    """
    word = "seed" if [key.rpartition(".")[2] for key in keys] == ["seed"] else "repeat"
    return f"{n} {word}{'' if n == 1 else 's'}"


def jobs(numbers: Sequence[int | None]) -> str:
    """Name jobs by their numbers, neighbours as a range.

    Example:
        >>> jobs([5, 6, 7, 12]), jobs([3])
        ('jobs 5-7, 12', 'job 3')
    """
    ranges: list[list[int]] = []
    for job in sorted(job for job in numbers if job is not None):
        if ranges and job == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], job]
        else:
            ranges.append([job])
    return f"job{'' if len(numbers) == 1 else 's'} {', '.join('-'.join(map(str, ends)) for ends in ranges)}"


def headline(choice: Choice[Any]) -> str:
    """What was looked for."""
    rule = choice.rule
    if len(rule.objectives) == 1:
        return f"Best {rule.metrics[0]}"
    pairs = [(objective.metric, objective.direction) for objective in rule.objectives]
    return front_title(pairs, len(choice.front), choice.compared)


def front_title(objectives: Sequence[tuple[str, str]], size: int, compared: int) -> str:
    """What a front is of.

    Args:
        objectives: The metrics that decide, with their directions.
        size: Points on the front.
        compared: Points that were compared.

    Example:
        >>> front_title([("auc", "maximize"), ("brier", "minimize")], 3, 24)
        'Front of auc (maximize) and brier (minimize): 3 of 24'
    """
    asked = [f"{metric} ({direction})" for metric, direction in objectives]
    return f"Front of {', '.join(asked[:-1])} and {asked[-1]}: {size} of {compared}"


def result(choice: Choice[Outcome], link: str | None) -> str:
    """What won a sweep, in Markdown.

    Args:
        choice: The choice, with a winner.
        link: Where the winner's run is shown.

    Returns:
        A paragraph, then the overrides that reproduce it.
    """
    chosen, rule = choice.winner, choice.rule
    assert chosen is not None
    numbers = [outcome.attempt.job for outcome in chosen.repeats]
    told = jobs(numbers)
    if link:
        told = f"[{told}]({link})"
    kept, _ = split(chosen.repeats[0].overrides, rule.repeats)
    decided = {name: chosen.estimates[name] for name in rule.metrics}
    value = scores(decided, rule.metrics) if len(decided) > 1 else estimated(decided[rule.metrics[0]])
    what = f"{headline(choice)}; its knee" if len(decided) > 1 else headline(choice)
    more = f" ({repeats(len(numbers), rule.repeats)})" if rule.repeats else ""
    return f"{what}: **{value}**{more}, {told}\n\n    {shlex.join(kept)}"


def lacking(choice: Choice[Any]) -> str | None:
    """What is to be said of configurations that lack repeats; None where none does."""
    whole = repeats(choice.repeats, choice.rule.repeats)
    if choice.incomplete:
        return f"No configuration has finished its {whole} yet; those with {choice.finished_repeats} were compared."
    if choice.passed_over == 1:
        return f"1 configuration lacks some of its {whole}, and was not compared."
    if choice.passed_over:
        return f"{choice.passed_over} configurations lack some of their {whole}, and were not compared."
    return None


def front_table(
    metrics: Sequence[str], points: Sequence[tuple[str, Mapping[str, Estimate], str]], knee: int, most: int
) -> list[str]:
    """The points of a front under each other, the knee marked.

    Args:
        metrics: The metrics that decide.
        points: Jobs, scores and what else is to be said of each.
        knee: The knee's position.
        most: Points that are shown; the knee always is.

    Returns:
        A line a point, below a line of titles.
    """
    shown = sorted({*range(min(most, len(points))), knee})
    rows = [("job", *metrics, "")]
    for position in shown:
        told, values, more = points[position]
        mark = "  ".join(part for part in (more, "knee" if position == knee else "") if part)
        rows.append((told, *(estimated(values[metric]) for metric in metrics), mark))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, *([f"and {len(points) - len(shown)} more"] if len(points) > len(shown) else [])]
