"""Writes the message that is handed on when a sweep's training is complete: what there is, what was reached."""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweeproute.chapter import Chapter
from sweeproute.comparable import span
from sweeproute.comparison import Comparison, SetOfSeasons
from sweeproute.deliverables import DOCUMENT, FIGURES, TEXT, model_folders
from sweeproute.ensemble import PREFIX
from sweeproute.execution import Execution, execution
from sweeproute.figures import NAMES
from sweeproute.report_config import Report
from sweeproute.request_kept import Kept
from sweeproute.sweep_facts import DEADLINE, TARGETS
from sweeproute.sweep_runs import HOLDOUT, SELECTION

FILE = "training_complete.yaml"
_COMPARED = "ensemble_comparison.csv"
# What those are called who are asked to run what has not finished.
_ENDS = {"FAILED": "failed", "LOST": "lost", "KILLED": "stopped", "RUNNING": "unfinished"}


def message(
    chapters: Sequence[Chapter],
    best: Mapping[str, Any],
    settings: Report,
    folder: Path,
    request: Kept | None = None,
    *,
    copied: bool = True,
) -> str:
    """Make the message, in the keys and the form of a hand-kept one; each path in it is looked for now.

    Args:
        chapters: The tables of each set of seasons.
        best: What was chosen; see `deliverables.chosen`.
        settings: Of the report; `copy_to` is where tables and figures lie, where it is said.
        folder: The report's.
        request: What the sweep answers; None where it answers none.
        copied: Whether they lie there; what has the same names there is somebody else's otherwise.

    Returns:
        YAML, the same for the same store and paths.
    """
    # lazy import: a command that shows its help writes none
    import yaml

    comparison = chapters[0].comparison
    went = execution(comparison.sweep)
    ready, missing = _looked_for(chapters, settings, folder, copied=copied)
    told: dict[str, Any] = {
        "trigger": "training_complete",
        "context": _context(comparison, went, request),
        "results_summary": _results(comparison, best, folder),
        "deliverables_ready": ready,
        "deliverables_missing": missing,
    }
    if request is not None and request.deliverables:
        told["expected_deliverables"] = list(_expected(request.deliverables, settings, folder, ready))
    told["targets"] = list(_targets(comparison, went, request, settings))
    told["action_required"] = _actions(comparison, went, best, settings, folder, missing)
    told["next_steps"] = (
        f"Predict the games to come with the best model: sweeproute predict --sweep {comparison.sweep.id}"
    )
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=1000)


def _context(comparison: Comparison, went: Execution, request: Kept | None) -> list[dict[str, Any]]:
    rows = comparison.sets[0].rows
    told: list[dict[str, Any]] = [
        {"search_id": comparison.sweep.id},
        {"models_trained": len({row.model for row in rows})},
        # Models by calibrations: what stands side by side.
        {"total_experiments": len(rows)},
        {"jobs_finished": went.done},
        {"jobs_not_finished": sum(went.without.values()) + went.not_started},
        {"execution_time": _took(went)},
        {"platform_utilization": [{one.platform: _used(one)} for one in went.platforms]},
    ]
    if went.started is not None and went.ended is not None:
        told += [{"started": _clock(went.started)}, {"ended": _clock(went.ended)}]
    if request is not None:
        told += [{name: value} for name, value in request.said.items()]
        if request.estimate:
            told.append({"resource_estimate": request.estimate})
    return told


def _took(went: Execution) -> str:
    return f"{_hours(went.parallel_s)} (parallel), {_hours(went.sequential_s)} (sequential)"


def _hours(seconds: float) -> str:
    """A length as people write it: hours where there are some, else minutes or seconds."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.1f} seconds"


def _used(one: Any) -> str:
    share = "" if one.share is None else f"; busy {one.share:.0%} of {one.slots} slot{'' if one.slots == 1 else 's'}"
    return f"{', '.join(one.models)} ({one.concurrent} concurrent{share.replace('%', ' %')})"


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _results(comparison: Comparison, best: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    first = comparison.sets[0]
    run = next(run for run in comparison.sweep.runs if run.run_id in best["run_ids"])
    device = "CPU" if run.tags.get("sweeproute.device", "cpu") == "cpu" else "GPU"
    told: list[dict[str, Any]] = [
        {"best_model": f"{best['model']} ({device})"},
        {"best_calibration": best["calibration"]},
        {"best_auc": _number(best["metrics"].get("auc"))},
        {"best_roi": _percent(best["metrics"].get("roi"))},
        {"chosen_by": ", ".join(f"{one['metric']} ({one['direction']})" for one in best["chosen_by"])},
        {"scored_on": _seasons(first)},
    ]
    others = [one for one in comparison.sets if one.name == HOLDOUT]
    rows = [(one, row) for one in others for row in one.rows if row.model == best["model"]]
    for one, row in rows:
        if row.calibration == best["calibration"]:
            metrics = {name: row.metrics[name].mean for name in ("auc", "brier", "roi") if name in row.metrics}
            told += [
                {"holdout_auc": _number(metrics.get("auc"))},
                {"holdout_roi": _percent(metrics.get("roi"))},
                {"holdout_scored_on": _seasons(one)},
            ]
    return [*told, {"comparison_file": _shown(folder / _COMPARED)}]


def _seasons(found: SetOfSeasons) -> str:
    return f"{len(found.games)} games of {span(found.games['season'])} ({found.name} seasons)"


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)


def _percent(value: float | None) -> str | None:
    return None if value is None or not math.isfinite(value) else f"{100 * value:.1f}%"


def _looked_for(
    chapters: Sequence[Chapter], settings: Report, folder: Path, *, copied: bool
) -> tuple[list[str], list[str]]:
    """The paths that are there, and those that are not."""
    wanted = [f"{_shown(folder / name)}/" for name in model_folders(chapters, settings)]
    tables = [f"{table.name}.tex" for chapter in chapters for table in chapter.tables]
    sets = ["" if chapter.found.name == SELECTION else f"_{chapter.found.name}" for chapter in chapters]
    figures = [f"{name}{end}.pdf" for end in sets for name in NAMES if settings.figures]
    own = [*tables, *(f"{FIGURES}/{name}" for name in figures)]
    if settings.copy_to:
        shown = [_shown(Path(settings.copy_to) / Path(name).name) for name in own]
    else:
        shown = [_shown(folder / name) for name in own]
    wanted += shown
    wanted += [_shown(folder / name) for name in (DOCUMENT, TEXT, _COMPARED, "best_config.json")]
    there = [path for path in wanted if Path(path).exists() and (copied or path not in shown)]
    return there, [path for path in wanted if path not in there]


# By which words of an expected deliverable a file is known.
_KNOWN = (
    (("roc",), "model_roc_curves.pdf"),
    (("calibration", "plot"), "reliability.pdf"),
    (("calibration", "curve"), "reliability.pdf"),
    (("reliability",), "reliability.pdf"),
    (("calibration", "table"), "calibration_table.tex"),
    (("bankroll",), "bankroll.pdf"),
    (("season", "table"), "season_table.tex"),
    (("betting",), "betting_table.tex"),
    (("significance",), "significance_table.tex"),
    (("comparison", "table"), "multimodel_comparison_table.tex"),
    (("comparison",), _COMPARED),
)


def _expected(asked: Sequence[str], settings: Report, folder: Path, ready: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What a request expected, each with the files that are it."""
    names = {
        "multimodel_comparison_table.tex": settings.comparison.name,
        "calibration_table.tex": settings.calibration.name,
        "betting_table.tex": settings.betting.name,
        "season_table.tex": settings.season.name,
        "significance_table.tex": settings.significance.name,
    }
    for one in asked:
        words = one.lower()
        if "individual" in words or "each model" in words:
            found = [path for path in ready if path.endswith("/")]
        else:
            known = next((name for parts, name in _KNOWN if all(part in words for part in parts)), None)
            if known is None:
                yield {one: f"not known by these words; look through {_shown(folder)}"}
                continue
            file = f"{names[known]}.tex" if known in names else known
            found = [path for path in ready if path.rpartition("/")[2] == file]
        yield {one: found or "missing"}


def _targets(
    comparison: Comparison, went: Execution, request: Kept | None, settings: Report
) -> Iterator[dict[str, Any]]:
    """What was aimed at, each as met, missed or not measured."""
    told = comparison.sweep.told
    if request is not None:
        yield from _asked_for(comparison, request, settings)
        yield from _estimated(went, request)
    seeds = sorted({seed for one in comparison.sets for row in one.rows for seed in row.seeds})
    pinned = all(seeds) and bool(seeds)
    shown = f"seed {', '.join(seeds)}" if pinned else None
    yield _target("reproducibility", "every run pinned to a seed", shown, pinned)
    if DEADLINE in told:
        by = datetime.fromisoformat(told[DEADLINE]).timestamp()
        yield _target(
            "deadline",
            _clock(by),
            None if went.ended is None else _clock(went.ended),
            went.ended is not None and went.ended <= by,
        )
    for one in json.loads(told.get(TARGETS, "[]")):
        yield {name: one[name] for name in ("name", "aim", "value", "verdict")}


def _asked_for(comparison: Comparison, request: Kept, settings: Report) -> Iterator[dict[str, Any]]:
    rows = comparison.sets[0].rows
    models = {row.model for row in rows}
    # A request names a model by its type, or by what it is called otherwise; ensembles together.
    models |= {name for model in models for names in (settings.titles, settings.folders) if (name := names.get(model))}
    models |= {name for model in models if model.startswith(PREFIX) for name in ("ensemble", "ensembles")}
    for name, asked, there in (
        ("models", request.models, models),
        ("calibration", request.calibrations, {row.calibration for row in rows}),
    ):
        if asked:
            known = set(map(_plain, there))
            found = [one for one in asked if _plain(one) in known]
            yield _target(name, ", ".join(asked), ", ".join(found) or "none", len(found) == len(asked))


def _plain(word: str) -> str:
    """A word without case, blanks and marks."""
    return re.sub(r"[^a-z0-9]", "", word.lower())


def _estimated(went: Execution, request: Kept) -> Iterator[dict[str, Any]]:
    """How long it took, held to what the request expected; an upper end that is kept is met."""
    for how, most_s, aim in request.hours():
        seconds = went.parallel_s if how == "parallel" else went.sequential_s
        yield _target(f"{how} time", aim, _hours(seconds), seconds <= most_s)


def _target(name: str, aim: str, value: str | None, met: bool) -> dict[str, Any]:
    verdict = "not measured" if value is None else "met" if met else "missed"
    return {"name": name, "aim": aim, "value": value or "not measured", "verdict": verdict}


def _actions(
    comparison: Comparison,
    went: Execution,
    best: Mapping[str, Any],
    settings: Report,
    folder: Path,
    missing: Sequence[str],
) -> list[str]:
    id = comparison.sweep.id
    told = [f"Review {_shown(folder / _COMPARED)} and select a model; {best['model']} was best by the sweep's own rule"]
    if went.without or went.not_started:
        parts = [f"{number} {_ENDS.get(state, state.lower())}" for state, number in went.without.items()]
        parts += [f"{went.not_started} not started"] if went.not_started else []
        told.insert(0, f"Run the jobs that have not finished ({', '.join(parts)}): sweeproute resume {id}")
    if missing:
        told.insert(0, f"Make what is missing: sweeproute report {id}")
    where = settings.copy_to if settings.copy_to else _shown(folder)
    return [
        *told,
        f"Put the tables of {where} into the chapter, by \\input",
        "Describe the method in the chapter: the notes below each table say how models were chosen and tested",
    ]


def _shown(path: Path) -> str:
    """A path as a person here would type it."""
    path = Path(os.path.normpath(path))
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return path.as_posix()
