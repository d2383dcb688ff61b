"""Writes a promoted model's card: what a person has to know who is to rely on it."""

import math
from collections.abc import Mapping

from sweeproute import verdicts
from sweeproute.betting import BettingRule
from sweeproute.comparable import FOLDS, span
from sweeproute.promotion.candidate import Candidate

# The metrics of a card, in its order; those that a run lacks are left out.
_METRICS = {
    "auc": "AUC",
    "brier": "Brier score",
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "ece": "ECE",
    "ace": "ACE",
    "roi": "ROI of the rule's bets",
    "roi_flat": "ROI of a bet on every game",
}
_BETTING = ("min_edge", "stake", "kelly_fraction")


def card(one: Candidate, name: str) -> str:
    """Describe a model in Markdown.

    Args:
        one: The run that it is of.
        name: The registered model's.

    Returns:
        Its card: data, folds, metrics with 95 % intervals by a bootstrap of whole weeks, seed, platform, code, and what
        makes it again.
    """
    params, games = one.run.data.params, one.games
    kind = one.tag("model_type") or params.get("model.type", "model")
    calibrated = "" if one.method == "none" else f", calibrated by {one.method}"
    tested, last = span(games["season"]), int(games["season"].max())
    before = int(params.get("validation.calibration_seasons", 0)) + int(params.get("validation.gap_seasons", 0))
    apart = f", less the {before} directly before it, which it has not learned from" if before else ""
    takes = f"{len(one.features)} features by name" + (", and home_team and away_team, if known" if one.teams else "")
    parts = [
        f"# {name}: {kind}{calibrated}",
        f"Probabilities of a home win, from {takes}. It is the model of run `{one.run.info.run_id}` "
        f"({one.run.info.run_name}) by which season {last} was tested: fitted on seasons before that{apart}.",
        "## Data",
        _lines(
            {
                "source": params.get("data.source"),
                "hash": one.tag("data_hash"),
                "tested": f"{len(games)} games of {tested} ({one.tag('set') or 'selection'} seasons)",
                **_some(params, "data.", leave=("source",)),
            }
        ),
        "## Folds",
        "Walk-forward: each tested season by a model that was fitted on earlier ones alone.",
        _lines({**_some(params, FOLDS), "calibration": one.method}),
        "## Metrics",
        _metrics(one),
        "## Parameters",
        _lines(_some(params, "model.params.")),
        "## Made by",
        _lines(
            {
                "seed": one.tag("seed") or params.get("seed"),
                "platform": one.tag("platform") or "the machine of the command",
                "device class": one.tag("device_class") or one.tag("device"),
                "sweep": " trial ".join(filter(None, (one.tag("sweep"), one.tag("trial")))),
                "commit": _commit(one),
                "code hash": one.tag("code_hash"),
                "fingerprint": one.tag("fingerprint"),
            }
        ),
        f"Made again by `sweeproute reproduce {one.trial.info.run_id}`.",
    ]
    if one.no_example:
        parts.append(one.no_example)
    return "\n\n".join(part for part in parts if part) + "\n"


def _metrics(one: Candidate) -> str:
    params, found = one.run.data.params, one.run.data.metrics
    rule = BettingRule(**{name: float(params[f"betting.{name}"]) for name in _BETTING if f"betting.{name}" in params})
    ends = verdicts.intervals(one.games, rule, verdicts.Settings())
    rows = ["| | | 95 % interval |", "| --- | --- | --- |"]
    for metric, told in _METRICS.items():
        value = found.get(metric, math.nan)
        if math.isfinite(value):
            low, high = ends.get(metric, (math.nan, math.nan))
            between = f"{low:.4f} to {high:.4f}" if math.isfinite(low) and math.isfinite(high) else ""
            rows.append(f"| {told} | {value:.4f} | {between} |")
    return "\n".join(rows) + "\n\nIntervals by a bootstrap of whole weeks; of AUC DeLong's, by week."


def _commit(one: Candidate) -> str:
    commit = one.tag("git_commit")
    if not commit:
        return "unknown: no repository"
    return f"{commit}, with changes that were not committed" if one.tag("git_dirty") == "true" else commit


def _some(params: Mapping[str, str], prefix: str, leave: tuple[str, ...] = ()) -> dict[str, str]:
    """The parameters below a prefix that have a value."""
    found = {name.removeprefix(prefix): value for name, value in sorted(params.items()) if name.startswith(prefix)}
    return {name: value for name, value in found.items() if name not in leave and value not in ("None", "")}


def _lines(facts: Mapping[str, str | None]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items() if value)
