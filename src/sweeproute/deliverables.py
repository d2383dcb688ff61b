"""The files of a report, by name: tables in every form, all rows, all runs, what each model did, the best of all."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sweeproute import latex
from sweeproute.chapter import Chapter
from sweeproute.comparison import Comparison, Row
from sweeproute.configuration import Estimate
from sweeproute.report_config import Report
from sweeproute.runs_best import BestRun, Front
from sweeproute.selection import finite, maximize
from sweeproute.tables import json_text, rows_to_csv, to_csv, to_json, to_text

# The document that shows all tables, and every figure that lies in this folder; the tables as text.
DOCUMENT, FIGURES, TEXT = "report.tex", "figures", "tables.txt"


def files(
    comparison: Comparison, chapters: Sequence[Chapter], best: Mapping[str, Any], settings: Report, command: str
) -> dict[str, str]:
    """Make every file of a report but its document.

    Args:
        comparison: What was found.
        chapters: The tables of each set of seasons.
        best: What was chosen; see `chosen`.
        settings: Names and folders.
        command: What makes the report again.

    Returns:
        Text by path, relative to the report's folder; the same for the same runs, to the last byte.
    """
    found: dict[str, str] = {}
    for chapter in chapters:
        for table in chapter.tables:
            found[f"{table.name}.tex"] = latex.table(table, command)
            found[f"tables/{table.name}.csv"] = to_csv(table)
            found[f"tables/{table.name}.json"] = to_json(table)
    found[TEXT] = "\n\n\n".join(to_text(table) for chapter in chapters for table in chapter.tables) + "\n"
    tests = [_tests(chapter) for chapter in chapters]
    found["significance.csv"] = rows_to_csv(tests[0][0], [row for _, rows in tests for row in rows])
    every = [_facts(chapter, row) for chapter in chapters for row in chapter.found.rows]
    every += [one for chapter in chapters for one in _of_baselines(chapter)]
    found["ensemble_comparison.json"] = json_text(every)
    found["ensemble_comparison.csv"] = _flat_csv([_flat(one) for one in every])
    found["aggregated.csv"] = _flat_csv(_all_runs(comparison))
    found["best_config.json"] = json_text(best)
    for folder, rows in _by_folder(chapters, settings).items():
        found[f"{folder}/results.json"] = json_text([_facts(chapter, row, seasons=True) for chapter, row in rows])
        found[f"{folder}/results.csv"] = _flat_csv([line for chapter, row in rows for line in _lines(chapter, row)])
        if lines := _leaning(chapters, rows[0][1].model):
            found[f"{folder}/importances.csv"] = _flat_csv(lines)
    return found


def document(chapters: Sequence[Chapter], figures: Sequence[str], captions: Mapping[str, str]) -> str:
    """The document that shows the tables, and figures.

    Args:
        chapters: The tables of each set of seasons.
        figures: Paths of the figures, relative to the document.
        captions: By a figure's name; another, which somebody has put there, is called by its own.
    """
    named = {path: path.rpartition("/")[2].removesuffix(".pdf") for path in sorted(figures)}
    comparison = chapters[0].comparison
    names = [table.name for chapter in chapters for table in chapter.tables]
    shown = {path: captions.get(name, name.replace("_", " ")) for path, name in named.items()}
    return latex.document(f"Sweep {comparison.sweep.id}", names, shown)


def _tests(chapter: Chapter) -> tuple[list[str], list[list[object]]]:
    """Every test of two rows, and of a row against a baseline, in full precision.

    Returns:
        The heads of the columns, and the rows.
    """
    heads = ["set", "metric", "model", "calibration", "other_model", "other_calibration"]
    heads += ["difference", "standard_error", "p", "p_holm", "better"]
    lines: list[list[object]] = []
    rows = chapter.found.rows
    for metric, tests in chapter.verdicts.tests.items():
        up = maximize(metric)

        def told(
            row: Row, other: tuple[str, str], values: Sequence[float], metric: str = metric, up: bool = up
        ) -> list[object]:
            difference, _, _, adjusted = values
            significant = adjusted <= chapter.settings.alpha
            better = "" if not significant or not difference else "first" if (difference > 0) == up else "second"
            own = [chapter.found.name, metric, row.model, row.calibration, *other]
            return [*own, *(float(value) for value in values), better]

        pairs, versus = tests.pairs, tests.against
        for one, row in enumerate(rows):
            for place in range(one + 1, len(rows)):
                at = one, place
                values = [part[at] for part in (pairs.difference, pairs.standard_error, pairs.p_value, tests.adjusted)]
                lines.append(told(row, (rows[place].model, rows[place].calibration), values))
        for one, row in enumerate(rows):
            for place, baseline in enumerate(chapter.found.baselines):
                at = one, place
                parts = (versus.difference, versus.standard_error, versus.p_value, tests.against_adjusted)
                lines.append(told(row, (baseline.name, ""), [part[at] for part in parts]))
    return heads, lines


def _facts(chapter: Chapter, row: Row, *, seasons: bool = False) -> dict[str, Any]:
    """A row with all that is known of it."""
    told: dict[str, Any] = {
        "set": chapter.found.name,
        "model": row.model,
        "calibration": row.calibration,
        "metrics": {name: one.mean for name, one in sorted(row.metrics.items())},
        "standard_errors": {name: one.sem for name, one in sorted(row.metrics.items()) if one.sem is not None},
        "n_repeats": len(row.runs),
        "seeds": list(row.seeds),
        "overrides": list(row.overrides),
        "run_ids": [run.run_id for run in row.runs],
        "jobs": [run.job for run in row.runs],
        "data_hash": row.runs[0].data_hash,
        "code_hashes": _once(row, "sweeproute.code_hash"),
        "device_classes": list(row.device_classes),
        "platforms": _once(row, "sweeproute.platform"),
        "folds": row.folds,
        "params": {name: value for name, value in sorted(row.runs[0].params.items()) if name != "seed"},
    }
    if seasons:
        told["seasons"] = {season: means(found) for season, found in row.seasons.items()}
        told["repeats"] = [{"run_id": run.run_id, "metrics": dict(run.metrics)} for run in row.runs]
    return told


def _of_baselines(chapter: Chapter) -> list[dict[str, Any]]:
    found = chapter.found
    return [
        {
            "set": found.name,
            "model": one.name,
            "calibration": None,
            "metrics": dict(sorted(one.metrics.items())),
            "standard_errors": {},
            "data_hash": found.data_hash,
        }
        for one in found.baselines
    ]


def _once(row: Row, tag: str) -> list[str]:
    return list(dict.fromkeys(run.tags[tag] for run in row.runs if tag in run.tags))


def means(found: Mapping[str, Estimate]) -> dict[str, float]:
    """Means over repeats, in the order of their names."""
    return {name: one.mean for name, one in sorted(found.items())}


def _flat(told: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a comparison as one line of values: its metrics by their names, lists as JSON."""
    line: dict[str, Any] = {name: told[name] for name in ("set", "model", "calibration")}
    line |= told["metrics"]
    line |= {f"{name}_se": value for name, value in told["standard_errors"].items()}
    rest = ("n_repeats", "seeds", "overrides", "run_ids", "data_hash", "device_classes", "platforms")
    line |= {name: told[name] for name in rest if name in told}
    return {name: _text(value) if isinstance(value, list) else value for name, value in line.items()}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(chapter: Chapter, row: Row) -> list[dict[str, Any]]:
    """A row season by season, then all seasons together."""
    own = {"set": chapter.found.name, "model": row.model, "calibration": row.calibration}
    seasons = [{**own, "season": str(season), **means(found)} for season, found in row.seasons.items()]
    return [*seasons, {**own, "season": "all", **means(row.metrics)}]


def _leaning(chapters: Sequence[Chapter], model: str) -> list[dict[str, Any]]:
    """How much a model leans on each feature, season by season."""
    return [
        {"set": chapter.found.name, **{str(name): value for name, value in line.items()}}
        for chapter in chapters
        if model in chapter.found.leaning
        for line in chapter.found.leaning[model].to_dict("records")
    ]


def _all_runs(comparison: Comparison) -> list[dict[str, Any]]:
    """Every finished run of the sweep with its parameters and metrics."""
    lines = []
    for run in comparison.sweep.runs:
        line: dict[str, Any] = {
            "run_id": run.run_id,
            "kind": run.kind,
            "set": run.set,
            "job": run.job,
            "model": run.model,
            "calibration": run.calibration,
            "overrides": _text(list(run.overrides)),
            "platform": run.tags.get("sweeproute.platform"),
            "device_class": run.device_class,
            "data_hash": run.data_hash,
            "run_s": run.tags.get("sweeproute.run_s"),
        }
        line |= {f"params.{name}": value for name, value in sorted(run.params.items())}
        lines.append(line | {f"metrics.{name}": value for name, value in sorted(run.metrics.items())})
    return lines


def _flat_csv(lines: Sequence[Mapping[str, Any]]) -> str:
    """Lines with names, a column for each name that comes up: what all have first, in the order of the first line."""
    heads = list(dict.fromkeys(name for line in lines for name in line))
    groups = {"": 0, "params": 1, "metrics": 2}
    heads.sort(key=lambda name: groups.get(name.partition(".")[0] if "." in name else "", 0))
    return rows_to_csv(heads, [[line.get(name) for name in heads] for line in lines])


def chosen(best: BestRun | Front | None, comparison: Comparison) -> dict[str, Any]:
    """What was chosen as `sweeproute best` chooses it, as plain data; of several metrics the knee, beside the front.

    Args:
        best: That; None where only some runs are told of, whose best row is taken.
        comparison: What was found.
    """
    rule = comparison.rule
    told: dict[str, Any] = {
        "sweep": comparison.sweep.id,
        "chosen_by": [{"metric": one.metric, "direction": one.direction} for one in rule.objectives],
    }
    if best is None:
        first = rule.objectives[0]
        rows = comparison.sets[0].rows
        able = [row for row in rows if finite(row.metrics[first.metric].mean)]
        row = min(able or rows, key=lambda row: first.loss(row.metrics[first.metric].mean))
        run_ids, overrides, metrics = [run.run_id for run in row.runs], row.overrides, means(row.metrics)
    else:
        one = best.front[best.knee] if isinstance(best, Front) else best
        run_ids = list(one.repeats.run_ids) if one.repeats is not None else [one.run_id]
        overrides, metrics = one.overrides, dict(sorted(one.metrics.items()))
    run = next(run for run in comparison.sweep.runs if run.run_id == run_ids[0])
    told |= {
        "model": run.model,
        "calibration": run.calibration,
        "overrides": list(overrides),
        "run_ids": run_ids,
        "seeds": [one.tags.get("sweeproute.seed") for one in comparison.sweep.runs if one.run_id in run_ids],
        "metrics": metrics,
        "params": {name: value for name, value in sorted(run.params.items()) if name != "seed"},
        "device_class": run.device_class,
        "data_hash": run.data_hash,
        "code_hash": run.tags.get("sweeproute.code_hash"),
        "fingerprint": run.tags.get("sweeproute.fingerprint"),
    }
    if isinstance(best, Front):
        names = best.metrics
        told["front"] = [
            {
                "run_id": one.run_id,
                "overrides": list(one.overrides),
                "metrics": {name: one.metrics[name] for name in names},
            }
            for one in best.front
        ]
    return told


def model_folders(chapters: Sequence[Chapter], settings: Report) -> list[str]:
    """The names of the models' folders."""
    return list(_by_folder(chapters, settings))


def _by_folder(chapters: Sequence[Chapter], settings: Report) -> dict[str, list[tuple[Chapter, Row]]]:
    """The rows of each model, by the name of its folder."""
    names: dict[str, str] = {}
    found: dict[str, list[tuple[Chapter, Row]]] = {}
    for chapter in chapters:
        for row in chapter.found.rows:
            if row.model not in names:
                name = settings.folders.get(row.model, row.model.lower())
                name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name) or "model"
                while name in {*names.values(), "tables", FIGURES}:
                    name += "_"
                names[row.model] = name
            found.setdefault(names[row.model], []).append((chapter, row))
    return found
